//! The rounds.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use signal_hook::consts::SIGINT;
use signal_hook::flag;

use super::Options;
use super::cells::{self, Cell, Variant};
use super::process::{self, Cores, Server};
use super::rows::{Load, Round, Row, settle};
use super::tree::Tree;
use crate::descriptors::raise_descriptor_limit;
use crate::ergonomics::{self, Ergonomics};
use crate::load::{self, Asks, Moment, Pace, Plan};

/// Threads or processes of the models that have a number of them.
pub(super) const WORKERS: usize = 2;

/// Of each round, before anything counts.
const WARM_UP: Duration = Duration::from_millis(100);

/// What is left of a round at least.
const DURATION_MIN: Duration = Duration::from_millis(50);

/// The open load offers this part of what the models can do by the median: most are far from their limits then.
const OFFERED_PART: f64 = 0.5;

/// Where it was measured.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) server_cores: usize,
    pub(crate) kernel: String,
    pub(crate) memory_bytes: u64,
}

/// What has come of a comparison.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Results {
    pub(crate) machine: Machine,
    /// In UTC, as RFC 3339 has it.
    pub(crate) date: String,
    pub(crate) workers: usize,
    pub(crate) seconds: f64,
    pub(crate) results: Vec<Row>,
    pub(crate) ergonomics: Vec<Ergonomics>,
}

/// Measures everything, with a bar on the terminal. Ctrl-C ends it after the round that is under way; a second one at once.
///
/// # Errors
/// If the downstream server cannot be started, cores not chosen, or descriptors do not suffice. A model that fails is told in its row.
pub(crate) fn compare(options: &Options) -> io::Result<Results> {
    let cells = cells::of(options);
    check_descriptors(&cells)?;
    let interrupted = Arc::new(AtomicBool::new(false));
    flag::register_conditional_shutdown(SIGINT, 128 + SIGINT, Arc::clone(&interrupted))?;
    flag::register(SIGINT, Arc::clone(&interrupted))?;
    let cores = Cores::split();
    // Before the runtime's workers are started: they inherit it.
    process::bind(&cores.client)?;
    let downstream = Server::start(&["downstream".into()], &cores.client)?;
    let bench = Bench {
        cores: &cores,
        downstream: &downstream,
        duration: (options.seconds / u32::from(options.rounds))
            .saturating_sub(WARM_UP)
            .max(DURATION_MIN),
        idle_bytes: HashMap::new(),
        interrupted: &interrupted,
        bar: bar(cells.len() * usize::from(options.rounds)),
    };
    let rows = bench.measure(&cells, options.rounds);
    Ok(Results {
        machine: machine(&cores),
        date: humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string(),
        workers: WORKERS,
        seconds: options.seconds.as_secs_f64(),
        results: rows,
        ergonomics: ergonomics::all(),
    })
}

/// A session takes two descriptors of a server.
fn check_descriptors(cells: &[Cell]) -> io::Result<()> {
    let limit = raise_descriptor_limit()?;
    let needed = cells.iter().map(descriptors).max().unwrap_or(0);
    if needed <= limit {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "got a limit of {limit} descriptors for a process, expected at least {needed}: ask for fewer by --conns, or raise it (ulimit -Hn)"
    )))
}

fn bar(length: usize) -> ProgressBar {
    let style = ProgressStyle::with_template(
        "{bar:30} {pos}/{len} {elapsed_precise} (about {eta} left) {msg}",
    );
    ProgressBar::new(length as u64).with_style(style.expect("a template without mistakes"))
}

struct Bench<'a> {
    cores: &'a Cores,
    downstream: &'a Server,
    duration: Duration,
    /// What a model takes without connections, by its name and service.
    idle_bytes: HashMap<(&'static str, Asks), u64>,
    interrupted: &'a AtomicBool,
    bar: ProgressBar,
}

impl Bench<'_> {
    fn measure(mut self, cells: &[Cell], rounds: u8) -> Vec<Row> {
        let mut rows: Vec<Row> = cells.iter().map(row_of).collect();
        let mut measured: Vec<Vec<Round>> = vec![Vec::new(); cells.len()];
        // The closed loads first: they tell what the open ones offer.
        for load in [Load::Closed, Load::Open] {
            offer(cells, &measured, &mut rows);
            for round in 0..usize::from(rounds) {
                for place in 0..cells.len() {
                    // Who is first moves from round to round.
                    let place = (place + round * cells.len() / usize::from(rounds)) % cells.len();
                    if cells[place].load == load {
                        self.step(&cells[place], &mut rows[place], &mut measured[place]);
                    }
                }
            }
        }
        for (row, rounds) in rows.iter_mut().zip(&measured) {
            settle(row, rounds);
        }
        self.bar.finish_and_clear();
        rows
    }

    /// One round of one cell, unless it has failed before.
    fn step(&mut self, cell: &Cell, row: &mut Row, rounds: &mut Vec<Round>) {
        if self.interrupted.load(Ordering::Relaxed) {
            if rounds.is_empty() && row.skipped.is_none() {
                row.skipped = Some("interrupted".into());
            }
            return;
        }
        let what = format!("{} {} {}", row.model, row.service, row.connections);
        self.bar.set_message(what.clone());
        if row.skipped.is_none() {
            match self.round(cell, row.offered_per_s) {
                Ok(round) => rounds.push(round),
                Err(error) => {
                    if !rounds.is_empty() {
                        let text = format!("{what}: round {} failed: {error}", rounds.len() + 1);
                        self.bar.suspend(|| eprintln!("models: {text}"));
                    }
                    row.skipped = Some(error.to_string());
                }
            }
        }
        self.bar.inc(1);
    }

    fn round(&mut self, cell: &Cell, offered_per_s: Option<f64>) -> io::Result<Round> {
        if let Some(why) = impossible(cell) {
            return Err(io::Error::new(io::ErrorKind::Unsupported, why));
        }
        let server = Server::start(&self.arguments(cell), &self.cores.server)?;
        let idle = *self
            .idle_bytes
            .entry((cell.model.name, cell.asks))
            .or_insert_with(|| Tree::of(server.id()).pss_bytes);
        let pace = match cell.load {
            Load::Closed => Pace::Closed,
            Load::Open => Pace::Open(offered_per_s.ok_or_else(no_rate)?),
        };
        let plan = Plan {
            addr: server.addr,
            asks: cell.asks,
            connections: cell.connections,
            reconnects: cell.variant == Variant::ConnectionPerRequest,
            pace,
            warm_up: WARM_UP,
            duration: self.duration,
        };
        let mut full = Tree::default();
        let mut cpu = Duration::ZERO;
        let look = |moment| match moment {
            Moment::Connected => full = Tree::of(server.id()),
            Moment::Answered => cpu = full.cpu_now(),
        };
        let outcome = withy::run(|| load::run(&plan, look))?;
        let used = server.stop()?;
        if plan.reconnects {
            // By processes that may have ended.
            cpu = used.cpu;
        }
        let cpu = cpu.saturating_sub(full.cpu);
        let switches = used.context_switches.saturating_sub(full.context_switches);
        let requests = (outcome.requests_in_all as f64).max(1.0);
        let grown = full.pss_bytes as f64 - idle as f64;
        let connections = if plan.reconnects {
            requests
        } else {
            cell.connections as f64
        };
        Ok(Round {
            latencies: outcome.latencies,
            requests_per_s: outcome.requests_per_s,
            cpu_us_per_request: cpu.as_secs_f64() * 1e6 / requests,
            memory_bytes_per_connection: if plan.reconnects {
                0.0
            } else {
                grown.max(0.0) / cell.connections as f64
            },
            threads: full.threads,
            processes: full.processes(),
            context_switches: switches as f64 / requests,
            errors: outcome.errors,
            wasted_wake_ups: used
                .wasted_wake_ups
                .map(|wasted| wasted as f64 / connections),
        })
    }

    fn arguments(&self, cell: &Cell) -> Vec<String> {
        let mut arguments = vec!["serve".into(), "--model".into(), cell.model.name.into()];
        arguments.extend(["--workers".into(), WORKERS.to_string()]);
        if cell.asks == Asks::Session {
            arguments.extend(["--downstream".into(), self.downstream.addr.to_string()]);
        }
        if let Variant::Poller(name) = cell.variant {
            arguments.extend(["--poller".into(), name.into()]);
        }
        arguments
    }
}

/// Fills in what open loads offer: the same to all models with one service, by which their latencies can be compared.
fn offer(cells: &[Cell], measured: &[Vec<Round>], rows: &mut [Row]) {
    for (cell, row) in cells.iter().zip(rows) {
        if cell.load == Load::Closed {
            continue;
        }
        let others = cells.iter().zip(measured).filter(|(other, _)| {
            (other.asks, other.connections, other.load)
                == (cell.asks, cell.connections, Load::Closed)
                && other.variant != Variant::ConnectionPerRequest
        });
        let mut rates: Vec<f64> = others
            .flat_map(|(_, rounds)| rounds.iter().map(|round| round.requests_per_s))
            .collect();
        rates.sort_by(f64::total_cmp);
        let middle = rates.get(rates.len() / 2).map(|rate| rate * OFFERED_PART);
        row.offered_per_s = middle.filter(|&rate| rate > 0.0);
    }
}

fn no_rate() -> io::Error {
    io::Error::other("nothing was answered under a closed load, which tells what to offer")
}

/// What is known to fail.
fn impossible(cell: &Cell) -> Option<String> {
    let descriptors = descriptors(cell);
    let too_many = cell.variant == Variant::Poller("select") && descriptors > libc::FD_SETSIZE;
    too_many.then(|| {
        format!(
            "{} connections take {descriptors} descriptors, and select has bits for {}",
            cell.connections,
            libc::FD_SETSIZE
        )
    })
}

/// Of the server, or its clients.
fn descriptors(cell: &Cell) -> usize {
    let of_each = match cell.asks {
        Asks::Echo => 1,
        Asks::Session => 2,
    };
    // Standard streams, the listener, and some to spare.
    cell.connections * of_each + 16
}

fn row_of(cell: &Cell) -> Row {
    Row {
        model: cell.model.name,
        service: match cell.asks {
            Asks::Echo => "echo",
            Asks::Session => "session",
        },
        variant: cell.variant.name(),
        load: cell.load,
        connections: cell.connections,
        offered_per_s: None,
        requests_per_s: 0.0,
        p50_us: 0.0,
        p99_us: 0.0,
        p999_us: 0.0,
        cpu_us_per_request: 0.0,
        memory_bytes_per_connection: 0.0,
        threads: 0,
        processes: 0,
        context_switches: 0.0,
        errors: 0,
        wasted_wake_ups: None,
        rounds: 0,
        spread: 0.0,
        skipped: None,
    }
}

fn machine(cores: &Cores) -> Machine {
    let first = |path: &str, key: &str| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(key));
        line.and_then(|line| line.split_once(':'))
            .map_or_else(|| "unknown".into(), |(_, value)| value.trim().to_owned())
    };
    let memory = first("/proc/meminfo", "MemTotal");
    let kilobytes = memory
        .split(' ')
        .next()
        .and_then(|number| number.parse::<u64>().ok());
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    Machine {
        cpu: first("/proc/cpuinfo", "model name"),
        cores: std::thread::available_parallelism()
            .map_or(1, Into::into)
            .max(cores.server.len() + cores.client.len()),
        server_cores: cores.server.len(),
        kernel: kernel.trim().to_owned(),
        memory_bytes: kilobytes.unwrap_or(0) * 1024,
    }
}
