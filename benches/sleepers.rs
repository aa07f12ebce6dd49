//! What a sleeper costs: CPU time of a coroutine that is spawned, sleeps once for 1 to 100 ms, and is joined.
//!
//! `cargo bench --bench sleepers -- [--coroutines N] [--rounds N] [--modes fresh,full] [--workers N]`
//!
//! The first round of a process is cold: stacks and records are touched for the first time. The others are warm.
//! CPU time is the whole process's, from the first spawn to the last join.

use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use withy::{Runtime, Steal};

#[allow(dead_code)]
#[path = "peers/sys.rs"]
mod sys;

/// Measures the CPU time of sleeping coroutines
#[derive(Parser)]
#[command(name = "sleepers")]
struct Options {
    /// Coroutines that sleep at the same time [default: 100000]
    #[arg(long)]
    coroutines: Option<u64>,

    /// Rounds, of which the first is cold [default: 6]
    #[arg(long)]
    rounds: Option<usize>,

    /// What idle workers may take
    #[arg(long, value_delimiter = ',', default_value = "fresh,full")]
    modes: Vec<Mode>,

    /// Worker threads
    #[arg(long, default_value_t = 1)]
    workers: usize,

    /// Set by `cargo bench`; without it (`cargo test --benches`) one short run
    #[arg(long, hide = true)]
    bench: bool,

    /// One short run, whatever runs it
    #[arg(long)]
    test: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Mode {
    /// Fresh coroutines only
    Fresh,
    /// Started ones too
    Full,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let quick = options.test || !options.bench;
    for &mode in &options.modes {
        if let Err(error) = measure(&options, mode, quick) {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn measure(options: &Options, mode: Mode, quick: bool) -> Result<(), Box<dyn Error>> {
    let coroutines = options
        .coroutines
        .unwrap_or(if quick { 1_000 } else { 100_000 });
    let rounds = options.rounds.unwrap_or(if quick { 2 } else { 6 });
    let steal = match mode {
        Mode::Fresh => Steal::fresh(),
        // SAFETY: the coroutines keep numbers over their waits, and use no thread-local.
        Mode::Full => unsafe { Steal::started() },
    };
    let runtime = Runtime::builder()
        .workers(options.workers)
        .steal(steal)
        .build()?;
    for round in 0..rounds {
        let (cpu, wall) = runtime.run(|| sleep_all(coroutines))?;
        let mode = mode.to_possible_value().expect("no mode is hidden");
        println!(
            "{coroutines} sleepers, {}, {}: {:.2} µs of CPU each, {:.0} ms in all",
            mode.get_name(),
            if round == 0 { "cold" } else { "warm" },
            cpu.as_secs_f64() * 1e6 / coroutines as f64,
            wall.as_secs_f64() * 1e3,
        );
    }
    Ok(())
}

fn sleep_all(coroutines: u64) -> Result<(Duration, Duration), String> {
    let before = cpu_time()?;
    let start = Instant::now();
    let sleepers: Vec<_> = (0..coroutines)
        .map(|n| withy::spawn(move || withy::sleep(Duration::from_millis(1 + n % 100))))
        .collect();
    for sleeper in sleepers {
        sleeper.join().map_err(|_| "a sleeper panicked")?;
    }
    Ok((cpu_time()? - before, start.elapsed()))
}

fn cpu_time() -> Result<Duration, String> {
    let (user, system) = sys::cpu_time().map_err(|error| error.to_string())?;
    Ok(user + system)
}
