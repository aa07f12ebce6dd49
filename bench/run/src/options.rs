//! The command line.

use std::error::Error;
use std::path::PathBuf;
use std::str::FromStr;

use lexopt::prelude::*;

use crate::cases::Case;
use crate::peers::Peer;

pub(crate) const HELP: &str = "\
Measures withy beside its peers, in turn, and compares the figures

Usage: cargo run --release -- [OPTIONS]

  --rounds N       measurements of each kind [default: 7]
  --only PEERS     withy,withy-full,std,crossbeam,tokio,may,go [default: all but withy-full]
  --case CASES     lock,mutex8,pingpong,fanin,skynet [default: all]
  --workers N,M    numbers of workers [default: 1,2, as far as there are cores]
  --cpus N,M       the cores to use, the first of them for one worker [default: 0,1]
  --samples N      samples in one measurement, whose median counts [default: 5]
  --sample-ms N    their length, at least [default: 50]
  --leaves N       leaves of the skynet tree, a power of 10 [default: 100000]
  --json FILE      writes the figures there, too
  --test           runs everything of withy, std and crossbeam once, with tiny counts
";

pub(crate) struct Options {
    pub(crate) rounds: usize,
    pub(crate) peers: Vec<Peer>,
    pub(crate) cases: Vec<Case>,
    pub(crate) workers: Vec<usize>,
    pub(crate) cpus: Vec<usize>,
    pub(crate) samples: usize,
    pub(crate) sample_ms: u64,
    pub(crate) leaves: u64,
    pub(crate) json: Option<PathBuf>,
    pub(crate) test: bool,
}

impl Default for Options {
    fn default() -> Options {
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        Options {
            rounds: 7,
            peers: Peer::BY_DEFAULT.to_vec(),
            cases: Case::ALL.to_vec(),
            workers: (1..=cores.min(2)).collect(),
            cpus: vec![0, 1],
            samples: 5,
            sample_ms: 50,
            leaves: 100_000,
            json: None,
            test: false,
        }
    }
}

impl Options {
    /// `None`: help was asked for.
    pub(crate) fn parse() -> Result<Option<Options>, Box<dyn Error>> {
        let mut options = if std::env::args_os().any(|arg| arg == "--test") {
            Options::quick()
        } else {
            Options::default()
        };
        let mut args = lexopt::Parser::from_env();
        while let Some(arg) = args.next()? {
            match arg {
                Long("rounds") => options.rounds = args.value()?.parse()?,
                Long("only") => options.peers = several(&args.value()?.string()?)?,
                Long("case") => options.cases = several(&args.value()?.string()?)?,
                Long("workers") => options.workers = several(&args.value()?.string()?)?,
                Long("cpus") => options.cpus = several(&args.value()?.string()?)?,
                Long("samples") => options.samples = args.value()?.parse()?,
                Long("sample-ms") => options.sample_ms = args.value()?.parse()?,
                Long("leaves") => options.leaves = args.value()?.parse()?,
                Long("json") => options.json = Some(args.value()?.into()),
                Long("test") => {}
                Short('h') | Long("help") => return Ok(None),
                other => return Err(other.unexpected().into()),
            }
        }
        options.check()?;
        Ok(Some(options))
    }

    /// Tiny counts, and peers that are quickly built.
    fn quick() -> Options {
        Options {
            test: true,
            rounds: 1,
            peers: vec![Peer::Withy, Peer::WithyFull, Peer::Std, Peer::Crossbeam],
            samples: 1,
            sample_ms: 1,
            leaves: 1_000,
            ..Options::default()
        }
    }

    fn check(&self) -> Result<(), String> {
        if self.rounds == 0 || self.samples == 0 {
            return Err("nothing to measure, expected at least 1 round of 1 sample".into());
        }
        if self.leaves == 0 || 10_u64.pow(self.leaves.ilog10()) != self.leaves {
            return Err(format!("{} leaves, expected a power of 10", self.leaves));
        }
        let workers = self.workers.iter().max().copied().unwrap_or(0);
        if workers > self.cpus.len() {
            return Err(format!(
                "{workers} workers on {} cores, expected as many: name them with --cpus",
                self.cpus.len()
            ));
        }
        Ok(())
    }
}

fn several<T: FromStr<Err: std::fmt::Display>>(list: &str) -> Result<Vec<T>, String> {
    let parse = |one: &str| one.parse().map_err(|error| format!("`{one}`: {error}"));
    list.split(',').map(parse).collect()
}
