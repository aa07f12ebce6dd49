//! What a parked coroutine costs: its stack's pages, their page tables, and its record.
//!
//! `cargo bench --bench memory -- [--coroutines 10000,100000,1000000] [--modes fresh,full]
//! [--stack-size BYTES] [--workers N]`
//!
//! Each figure comes from a process of its own, as the difference between a runtime that has run one
//! coroutine and the same with all of them parked in `withy::park`, one call deep. No limit of the system
//! is touched.

use std::error::Error;
use std::fs;
use std::io;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use withy::{Runtime, Steal};

/// Measures the memory of parked coroutines
#[derive(Parser)]
#[command(name = "memory")]
struct Options {
    /// How many coroutines to park at once [default: 100000]
    #[arg(long, value_delimiter = ',')]
    coroutines: Vec<usize>,

    /// What idle workers may take
    #[arg(long, value_delimiter = ',', default_value = "fresh,full")]
    modes: Vec<Mode>,

    /// Bytes of each stack, guard included
    #[arg(long, default_value_t = 256 * 1024)]
    stack_size: usize,

    /// Worker threads
    #[arg(long, default_value_t = 1)]
    workers: usize,

    /// Set by `cargo bench`; without it (`cargo test --benches`) 1,000 coroutines by default
    #[arg(long, hide = true)]
    bench: bool,

    /// 1,000 coroutines by default, whatever runs it
    #[arg(long)]
    test: bool,

    /// Measure in this process
    #[arg(long, hide = true)]
    here: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Mode {
    /// Fresh coroutines only
    Fresh,
    /// Started ones too
    Full,
}

fn main() -> ExitCode {
    let mut options = Options::parse();
    if options.coroutines.is_empty() {
        let quick = options.test || !options.bench;
        options.coroutines.push(if quick { 1_000 } else { 100_000 });
    }
    let result = if options.here {
        measure_here(&options)
    } else {
        measure_all(&options)
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// One process for each row: memory that was freed would be in the next row's figures.
fn measure_all(options: &Options) -> Result<(), Box<dyn Error>> {
    println!(
        "bytes a parked coroutine, stacks of {} KiB, {} worker(s)",
        options.stack_size / 1024,
        options.workers
    );
    println!(
        "{:>10} {:>6} {:>8} {:>8} {:>8} {:>12} {:>9} {:>12}",
        "coroutines", "mode", "total", "stack", "records", "page tables", "mappings", "ns to start"
    );
    for &coroutines in &options.coroutines {
        for mode in &options.modes {
            let mode = mode.to_possible_value().expect("no mode is hidden");
            let status = Command::new(std::env::current_exe()?)
                .args(["--here", "--coroutines", &coroutines.to_string()])
                .args(["--modes", mode.get_name()])
                .args(["--stack-size", &options.stack_size.to_string()])
                .args(["--workers", &options.workers.to_string()])
                .status()?;
            if !status.success() {
                return Err(
                    format!("{coroutines} coroutines, {}: {status}", mode.get_name()).into(),
                );
            }
        }
    }
    Ok(())
}

fn measure_here(options: &Options) -> Result<(), Box<dyn Error>> {
    let (coroutines, mode) = (options.coroutines[0], options.modes[0]);
    let steal = match mode {
        Mode::Fresh => Steal::fresh(),
        // SAFETY: the coroutines keep an `Arc` and a number over their waits, and use no thread-local.
        Mode::Full => unsafe { Steal::started() },
    };
    let runtime = Runtime::builder()
        .workers(options.workers)
        .stack_size(options.stack_size)
        .steal(steal)
        .build()?;
    runtime.run(withy::yield_now);

    let before = Usage::now()?;
    let begin = Instant::now();
    runtime.run(|| park_all(coroutines));
    let elapsed = begin.elapsed();
    // The last ones have said that they run; let them get from there to their park.
    std::thread::sleep(Duration::from_millis(50));
    let after = Usage::now()?;

    let each = |figure: fn(&Usage) -> usize| {
        figure(&after).saturating_sub(figure(&before)) as f64 / coroutines as f64
    };
    println!(
        "{coroutines:>10} {:>6} {:>8.0} {:>8.0} {:>8.0} {:>12.0} {:>9} {:>12.0}",
        mode.to_possible_value()
            .expect("no mode is hidden")
            .get_name(),
        each(|usage| usage.resident + usage.page_tables),
        each(|usage| usage.resident - usage.heap),
        each(|usage| usage.heap),
        each(|usage| usage.page_tables),
        after.mappings,
        elapsed.as_nanos() as f64 / coroutines as f64,
    );
    // Nobody measures how they unwind, which takes its time for a million of them.
    std::process::exit(0);
}

/// Starts coroutines that park for ever, and comes back when all of them run.
fn park_all(coroutines: usize) {
    let running = Arc::new(AtomicUsize::new(0));
    for n in 1..=coroutines {
        let running = Arc::clone(&running);
        withy::spawn(move || {
            running.fetch_add(1, Ordering::Relaxed);
            loop {
                withy::park();
            }
        });
        if n % 1_000 == 0 {
            withy::yield_now();
        }
    }
    while running.load(Ordering::Relaxed) < coroutines {
        withy::yield_now();
    }
}

/// What this process uses, in bytes.
struct Usage {
    resident: usize,
    /// The part of `resident` that is malloc's: records and what the scheduler keeps in lists.
    heap: usize,
    page_tables: usize,
    /// Number of them.
    mappings: usize,
}

impl Usage {
    fn now() -> io::Result<Usage> {
        // SAFETY: it takes nothing and reads malloc's own counters.
        let malloc = unsafe { libc::mallinfo2() };
        Ok(Usage {
            // Unlike `statm` and `status`, it counts exactly.
            resident: kib("/proc/self/smaps_rollup", "Rss:")? * 1024,
            heap: malloc.uordblks + malloc.hblkhd,
            page_tables: kib("/proc/self/status", "VmPTE:")? * 1024,
            mappings: fs::read_to_string("/proc/self/maps")?.lines().count(),
        })
    }
}

/// The number after `key` in one of the kernel's files.
fn kib(path: &str, key: &str) -> io::Result<usize> {
    let text = fs::read_to_string(path)?;
    text.lines()
        .find_map(|line| {
            line.strip_prefix(key)?
                .split_whitespace()
                .next()?
                .parse()
                .ok()
        })
        .ok_or_else(|| io::Error::other(format!("{path} has no number after {key}")))
}
