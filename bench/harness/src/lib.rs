//! How each peer of the comparison is measured: the same command line, warm-up and samples for all.
//!
//! A peer is a program. `PEER list` names its routines, one `CASE VARIANT WORKERS` a line.
//! `PEER CASE VARIANT --workers N` measures one of them and prints `METRIC NANOSECONDS`, a line per sample.
//! The peer in Go (`peers/go/harness.go`) does the same.

mod routines;

use std::error::Error;
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use lexopt::prelude::*;

pub use routines::{Spawn, Threads, contended, fan_in, lock, ping_pong};

/// One thing that a peer can be measured at.
pub struct Routine {
    /// What is done: the same for all peers.
    pub case: &'static str,
    /// With which of the peer's means.
    pub variant: &'static str,
    /// The numbers of workers (of cores, for threads) with which it makes sense.
    pub workers: &'static [usize],
    /// Measures it: to be ended by one of `Setup`'s functions.
    pub run: fn(&Setup),
}

/// What a routine is told.
pub struct Setup {
    /// Worker threads to use. The driver has bound the process to as many cores.
    pub workers: usize,
    /// Leaves of the skynet tree, a power of 10.
    pub leaves: u64,
    /// What the peer is to do otherwise than by default; empty: nothing.
    pub mode: String,
    samples: usize,
    sample: Duration,
}

impl Setup {
    /// Measures a routine that gets a number of iterations and returns the time they took: metric `each`, per iteration.
    ///
    /// The warm-up finds the number of iterations that lasts for a sample.
    ///
    /// # Panics
    /// If standard output is closed.
    pub fn measure(&self, mut routine: impl FnMut(u64) -> Duration) {
        let mut iters = self.warm_up(&mut routine);
        let mut taken = 0;
        while taken < self.samples {
            let elapsed = routine(iters);
            if elapsed < self.sample {
                // It has become faster since.
                iters = scale(iters, elapsed, self.sample);
                continue;
            }
            print("each", elapsed, iters);
            taken += 1;
        }
    }

    /// Measures a routine whose rounds are long and differ: metrics `first`, `second` and `later`, per `items`.
    ///
    /// # Panics
    /// If standard output is closed.
    pub fn measure_rounds(&self, items: u64, mut round: impl FnMut() -> Duration) {
        print("first", round(), items);
        print("second", round(), items);
        for _ in 0..self.samples {
            print("later", round(), items);
        }
    }

    fn warm_up(&self, routine: &mut impl FnMut(u64) -> Duration) -> u64 {
        let mut iters = 1;
        let mut spent = Duration::ZERO;
        loop {
            let elapsed = routine(iters);
            spent += elapsed;
            if elapsed >= self.sample / 2 && spent >= self.sample {
                return scale(iters, elapsed, self.sample);
            }
            // At most by 8: the first iterations say little about the others.
            iters = scale(iters, elapsed, self.sample).min(iters * 8);
        }
    }
}

/// The number of iterations that lasts for `sample` and a bit, after `iters` lasted for `elapsed`.
fn scale(iters: u64, elapsed: Duration, sample: Duration) -> u64 {
    let ratio = 1.1 * sample.as_secs_f64() / elapsed.as_secs_f64().max(1e-9);
    (iters as f64 * ratio).ceil() as u64
}

fn print(metric: &str, elapsed: Duration, items: u64) {
    let each = elapsed.as_secs_f64() * 1e9 / items as f64;
    writeln!(io::stdout(), "{metric} {each:.3}").expect("the driver reads what is printed");
}

/// The whole of a peer's `main`.
#[must_use]
pub fn main(routines: &[Routine]) -> ExitCode {
    match obey(routines) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn obey(routines: &[Routine]) -> Result<(), Box<dyn Error>> {
    let mut names: Vec<String> = Vec::new();
    let mut setup = Setup {
        workers: 1,
        leaves: 100_000,
        mode: String::new(),
        samples: 5,
        sample: Duration::from_millis(50),
    };
    let mut args = lexopt::Parser::from_env();
    while let Some(arg) = args.next()? {
        match arg {
            Long("workers") => setup.workers = args.value()?.parse()?,
            Long("leaves") => setup.leaves = args.value()?.parse()?,
            Long("mode") => setup.mode = args.value()?.string()?,
            Long("samples") => setup.samples = args.value()?.parse()?,
            Long("sample-ms") => setup.sample = Duration::from_millis(args.value()?.parse()?),
            Value(name) => names.push(name.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    match names.as_slice() {
        [word] if word == "list" => Ok(list(routines)?),
        [case, variant] => {
            let asked = |routine: &&Routine| routine.case == case && routine.variant == variant;
            let routine = routines.iter().find(asked).ok_or_else(|| {
                format!("there is no routine `{case} {variant}`, `list` names those there are")
            })?;
            (routine.run)(&setup);
            Ok(())
        }
        _ => Err(usage().into()),
    }
}

fn list(routines: &[Routine]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for routine in routines {
        for workers in routine.workers {
            writeln!(out, "{} {} {workers}", routine.case, routine.variant)?;
        }
    }
    Ok(())
}

fn usage() -> String {
    let program = std::env::args_os().next().unwrap_or(OsString::from("PEER"));
    format!(
        "usage: {0} list, or {0} CASE VARIANT [--workers N] [--samples N] [--sample-ms N] [--leaves N] [--mode MODE]",
        program.display()
    )
}
