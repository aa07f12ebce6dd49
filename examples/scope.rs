//! Counts words on all workers: coroutines that borrow from the function that starts them.
//!
//! `cargo run --release --example scope -- FILE…` counts the words of files; without files it
//! makes a text up, counts it, and compares that with what it wrote.

mod cli;

use std::collections::HashMap;
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;

/// The bytes that one coroutine counts.
const PART: usize = 256 * 1024;
/// The bytes between two chances for others, and for a cancellation.
const STRETCH: usize = 16 * 1024;

const VOCABULARY: [&str; 10] = [
    "willow", "osier", "basket", "weave", "twig", "bark", "bend", "hedge", "brook", "wind",
];

/// Count the words of files, or of a text that is made up, in parallel
#[derive(Parser)]
#[command(
    name = "scope",
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage"
)]
struct Options {
    /// Files of UTF-8 text [default: a text that is made up and checked]
    files: Vec<PathBuf>,

    /// Words of the text that is made up
    #[arg(
        long,
        value_name = "N",
        default_value = "1000000",
        conflicts_with = "files"
    )]
    words: usize,

    /// How many of the most frequent words to print
    #[arg(long, value_name = "N", default_value = "5")]
    top: usize,

    #[command(flatten)]
    runtime: cli::RuntimeOptions,
}

type Counts<'a> = HashMap<&'a str, u64>;

/// A text and where it is from.
struct Text {
    name: String,
    bytes: Vec<u8>,
}

fn main() -> ExitCode {
    cli::main(run)
}

/// Runs on the main thread, which is no worker: files are read, and figures printed, only here.
fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    options.runtime.install()?;
    if options.files.is_empty() {
        return demo(options);
    }
    let texts = options
        .files
        .iter()
        .map(|path| {
            let name = path.display().to_string();
            match std::fs::read(path) {
                Ok(bytes) => Ok(Text { name, bytes }),
                Err(error) => Err(format!("cannot read {name}: {error}")),
            }
        })
        .collect::<Result<Vec<_>, _>>()?;
    count_and_print(&texts, options.top)?;
    Ok(())
}

fn count_and_print<'a>(texts: &'a [Text], top: usize) -> Result<Counts<'a>, String> {
    let start = Instant::now();
    let counts = count_all(texts)?;
    let elapsed = start.elapsed();
    let mut sorted: Vec<_> = counts.iter().collect();
    sorted.sort_unstable_by(|(a, n), (b, m)| m.cmp(n).then(a.cmp(b)));
    for (word, count) in sorted.into_iter().take(top) {
        println!("{count:>10}  {word}");
    }
    let total: u64 = counts.values().sum();
    println!(
        "{total} words, {} different, in {elapsed:.1?}",
        counts.len()
    );
    Ok(counts)
}

/// Counts all texts at once. The first that cannot be counted ends the others.
fn count_all(texts: &[Text]) -> Result<Counts<'_>, String> {
    withy::try_scope(|s| {
        let counting: Vec<_> = texts
            .iter()
            .map(|text| {
                s.spawn(|| {
                    let readable = str::from_utf8(&text.bytes)
                        .map_err(|error| format!("{} is no text: {error}", text.name))?;
                    Ok(count(readable))
                })
            })
            .collect();
        // None: another has failed, and the scope ends with its error whatever this says.
        let counted = counting
            .into_iter()
            .filter_map(|text| text.join().ok().flatten());
        Ok(merge(counted))
    })
}

/// Counts one text in parts, each in a coroutine that borrows it.
fn count(text: &str) -> Counts<'_> {
    withy::scope(|s| {
        let parts: Vec<_> = split(text, PART)
            .map(|part| s.spawn(move || count_part(part)))
            .collect();
        let counted = parts
            .into_iter()
            .map(|part| part.join().expect("counting does not panic"));
        merge(counted)
    })
}

fn count_part(part: &str) -> Counts<'_> {
    let mut counts = Counts::new();
    for stretch in split(part, STRETCH) {
        for word in stretch.split_whitespace() {
            *counts.entry(word).or_default() += 1;
        }
        // Code that only computes is not interrupted: here it can be.
        withy::yield_now();
    }
    counts
}

/// Splits a text at white space into pieces of about `size` bytes.
fn split(mut text: &str, size: usize) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        if text.is_empty() {
            return None;
        }
        let from = text.ceil_char_boundary(size);
        let end = text[from..].find(char::is_whitespace);
        let (piece, rest) = text.split_at(end.map_or(text.len(), |end| from + end));
        text = rest;
        Some(piece)
    })
}

fn merge<'a>(parts: impl Iterator<Item = Counts<'a>>) -> Counts<'a> {
    parts
        .reduce(|mut all, part| {
            for (word, count) in part {
                *all.entry(word).or_default() += count;
            }
            all
        })
        .unwrap_or_default()
}

/// Counts what it has made up, and finds the text among many that is none.
fn demo(options: &Options) -> Result<(), Box<dyn Error>> {
    let (mut texts, expected) = made_up(options.words);
    let counts = count_and_print(&texts, options.top)?;
    if counts != expected {
        return Err(format!("counted {counts:?}, but wrote {expected:?}").into());
    }
    println!("the counts are right");

    texts[1].bytes.extend(b"\xff");
    match count_all(&texts) {
        Err(error) if error.starts_with(&texts[1].name) => println!("and {error}"),
        Err(error) => return Err(format!("expected another error than: {error}").into()),
        Ok(_) => return Err("a broken text was counted".into()),
    }
    Ok(())
}

/// Four texts of random words, and how often each word is in them.
fn made_up(words: usize) -> (Vec<Text>, Counts<'static>) {
    let mut random = fastrand::Rng::with_seed(7);
    let mut counts = Counts::new();
    let mut texts: Vec<_> = (0..4)
        .map(|n| Text {
            name: format!("text {n}"),
            bytes: Vec::new(),
        })
        .collect();
    for n in 0..words {
        let word = VOCABULARY[random.usize(..VOCABULARY.len())];
        *counts.entry(word).or_default() += 1;
        let bytes = &mut texts[n % 4].bytes;
        bytes.extend(word.bytes());
        bytes.push(if random.u8(..10) == 0 { b'\n' } else { b' ' });
    }
    (texts, counts)
}
