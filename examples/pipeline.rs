//! A pipeline: lines are made, counted by several coroutines at once, put in order again and added up, each stage in coroutines
//! of its own, with a channel to the next.
//!
//! `cargo run --release --example pipeline` checks itself: against the counts that the first stage kept.

mod cli;

use std::collections::BTreeMap;
use std::error::Error;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use withy::sync::channel::{Receiver, Sender, bounded, oneshot};

const VOCABULARY: [&str; 10] = [
    "willow", "osier", "basket", "weave", "twig", "bark", "bend", "hedge", "brook", "wind",
];

/// Count the words of lines in a pipeline of coroutines
#[derive(Parser)]
#[command(
    name = "pipeline",
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage"
)]
struct Options {
    /// Lines that go through
    #[arg(long, value_name = "N", default_value = "100000")]
    lines: usize,

    /// Coroutines that count
    #[arg(long, value_name = "N", default_value = "8", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    width: u32,

    /// Messages that wait between two stages at most; 0 hands each over
    #[arg(long, value_name = "N", default_value = "64")]
    capacity: usize,

    #[command(flatten)]
    runtime: cli::RuntimeOptions,
}

/// A line, or what is known of it, with its place.
struct Numbered<T> {
    n: usize,
    what: T,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct Counts {
    words: usize,
    letters: usize,
}

impl Counts {
    fn add(&mut self, other: Counts) {
        self.words += other.words;
        self.letters += other.letters;
    }
}

fn main() -> ExitCode {
    cli::main(run)
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    options.runtime.install()?;
    let start = Instant::now();
    let (lines, to_count) = bounded(options.capacity);
    let (counted, to_sort) = bounded(options.capacity);
    let (sorted, to_add) = bounded(options.capacity);
    let (truth, expected) = oneshot();

    let count = options.lines;
    let making = withy::spawn(move || truth.send(make(count, &lines)));
    for _ in 0..options.width {
        let (to_count, counted) = (to_count.clone(), counted.clone());
        withy::spawn(move || count_words(&to_count, &counted));
    }
    // A stage ends when the one before it has: when the last sender is dropped. So we keep none.
    drop((to_count, counted));
    let sorting = withy::spawn(move || sort(&to_sort, &sorted));

    // The last stage is this thread, which is no coroutine: its channel does not mind.
    let (mut total, mut next) = (Counts::default(), 0);
    for Numbered { n, what } in to_add {
        if n != next {
            return Err(format!("line {n} came out where line {next} was expected").into());
        }
        next += 1;
        total.add(what);
    }
    making
        .join()
        .map_err(|_| "the first stage has failed")?
        .ok();
    let most = sorting.join().map_err(|_| "the third stage has failed")?;
    let expected = expected.recv()?;
    if next != options.lines || total != expected {
        return Err(format!(
            "{next} lines with {total:?}, expected {} with {expected:?}",
            options.lines
        )
        .into());
    }
    println!(
        "{next} lines, {} words, {} letters in {:.1?}; {most} lines at most came too soon",
        total.words,
        total.letters,
        start.elapsed()
    );
    Ok(())
}

/// The first stage: lines with words by chance, and what should be counted. It waits while the next is behind.
fn make(count: usize, lines: &Sender<Numbered<String>>) -> Counts {
    let mut rng = fastrand::Rng::with_seed(7);
    let mut made = Counts::default();
    for n in 0..count {
        let mut line = String::new();
        for _ in 0..rng.usize(0..20) {
            let word = VOCABULARY[rng.usize(0..VOCABULARY.len())];
            made.add(Counts {
                words: 1,
                letters: word.len(),
            });
            line.push_str(word);
            line.push(' ');
        }
        if lines.send(Numbered { n, what: line }).is_err() {
            // The next stage has failed. Whoever reads the last says so.
            break;
        }
    }
    made
}

/// The second: each of its coroutines takes the next line that nobody has taken.
fn count_words(lines: &Receiver<Numbered<String>>, counted: &Sender<Numbered<Counts>>) {
    for Numbered { n, what: line } in lines {
        let mut counts = Counts::default();
        for word in line.split_whitespace() {
            counts.words += 1;
            counts.letters += word.len();
        }
        if counted.send(Numbered { n, what: counts }).is_err() {
            break;
        }
    }
}

/// The third: what comes too soon waits for those before it. They are not more than the stages before hold.
fn sort(counted: &Receiver<Numbered<Counts>>, sorted: &Sender<Numbered<Counts>>) -> usize {
    let mut early = BTreeMap::new();
    let (mut next, mut most) = (0, 0);
    for Numbered { n, what } in counted {
        early.insert(n, what);
        most = most.max(early.len() - 1);
        while let Some(what) = early.remove(&next) {
            if sorted.send(Numbered { n: next, what }).is_err() {
                return most;
            }
            next += 1;
        }
    }
    most
}
