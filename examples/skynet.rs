//! The skynet tree: a coroutine spawns ten, each of these ten more, down to the leaves; sums come back by channel.
//!
//! `cargo run --release --example skynet -- --levels 5` has 100,000 leaves, `--levels 6` a million.

mod cli;

use std::error::Error;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use withy::sync::channel::{Sender, bounded};

const CHILDREN: u64 = 10;

/// Spawn a tree of coroutines and add up what its leaves send
#[derive(Parser)]
#[command(
    name = "skynet",
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage"
)]
struct Options {
    /// Levels below the root: 10 to the power of this are the leaves
    #[arg(long, value_name = "N", default_value = "4", value_parser = clap::value_parser!(u32).range(1..=6))]
    levels: u32,

    /// How often; the first round also makes the stacks
    #[arg(long, value_name = "N", default_value = "2", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    #[command(flatten)]
    runtime: cli::RuntimeOptions,
}

fn main() -> ExitCode {
    cli::main(run)
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    options.runtime.install()?;
    let leaves = CHILDREN.pow(options.levels);
    for round in 1..=options.rounds {
        let start = Instant::now();
        let sum = withy::run(|| {
            let (sender, receiver) = bounded(1);
            node(0, leaves, &sender);
            receiver.recv()
        })?;
        let elapsed = start.elapsed();
        println!(
            "round {round}: {leaves} leaves in {elapsed:.1?}, {} ns per leaf",
            elapsed.as_nanos() / u128::from(leaves)
        );
        // Of the numbers from 0 on.
        let expected = leaves * (leaves - 1) / 2;
        if sum != expected {
            return Err(format!("the sum is {sum}, expected {expected}").into());
        }
    }
    Ok(())
}

/// The part of the tree with so many leaves, the first of which has the number `first`.
fn node(first: u64, leaves: u64, parent: &Sender<u64>) {
    let sum = if leaves == 1 {
        first
    } else {
        let (sender, receiver) = bounded(CHILDREN as usize);
        let part = leaves / CHILDREN;
        for child in 0..CHILDREN {
            let sender = sender.clone();
            withy::spawn(move || node(first + child * part, part, &sender));
        }
        // Without this `recv` would wait for ever for a child that has panicked.
        drop(sender);
        receiver.iter().take(CHILDREN as usize).sum()
    };
    // If the parent is gone it has failed already.
    let _ = parent.send(sum);
}
