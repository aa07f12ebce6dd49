//! Asks several servers at once: a limit for each request, and one for all of them together.
//!
//! `cargo run --release --example timeout` starts servers with different delays in this process,
//! asks them, and prints what answered in time. Nothing in the request's code knows of the limits.

mod cli;

use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr};
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use clap::Parser;
use withy::net::{TcpListener, TcpStream};

/// Ask several servers at once, with a limit for each request and one for all of them
#[derive(Parser)]
#[command(
    name = "timeout",
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage"
)]
struct Options {
    /// Milliseconds that each server takes to answer, or `never`: one server for each
    #[arg(
        long,
        value_name = "MS",
        value_delimiter = ',',
        default_value = "0,20,50,100,400,never"
    )]
    delays: Vec<Delay>,

    /// Limit of each request, in seconds
    #[arg(long, value_name = "S", default_value = "0.25", value_parser = cli::positive_seconds)]
    each: Duration,

    /// Limit of all requests together, in seconds
    #[arg(long, value_name = "S", default_value = "1", value_parser = cli::positive_seconds)]
    overall: Duration,

    #[command(flatten)]
    runtime: cli::RuntimeOptions,
}

/// How long a server takes to answer; `None` if it never does.
#[derive(Clone, Copy)]
struct Delay(Option<Duration>);

impl FromStr for Delay {
    type Err = String;

    fn from_str(text: &str) -> Result<Delay, String> {
        if text == "never" {
            return Ok(Delay(None));
        }
        text.parse()
            .map(|ms| Delay(Some(Duration::from_millis(ms))))
            .map_err(|_| "expected a whole number of milliseconds, or `never`".to_owned())
    }
}

/// What became of one request.
enum Outcome {
    Answer(String),
    /// Its own limit was over.
    Late,
    Failed(io::Error),
}

/// A server's index, what became of its request, and after how long.
type Report = (usize, Outcome, Duration);

fn main() -> ExitCode {
    cli::main(run)
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    options.runtime.install()?;
    let servers = options
        .delays
        .iter()
        .enumerate()
        .map(|(index, &delay)| start_server(index, delay))
        .collect::<io::Result<Vec<_>>>()?;

    let start = Instant::now();
    let (reports, received) = mpsc::channel();
    // If it elapses, the scope cancels those who still ask, waits for them, and is unwound.
    let all = withy::timeout(options.overall, || {
        ask_all(&servers, options.each, start, &reports);
    });
    let elapsed = start.elapsed();
    drop(reports);

    let mut missing = vec![true; servers.len()];
    let mut answers = 0;
    for (index, outcome, after) in received {
        missing[index] = false;
        answers += usize::from(matches!(outcome, Outcome::Answer(_)));
        check(options, index, &outcome, after)?;
        print(index, &outcome, after);
    }
    for (index, _) in missing.iter().enumerate().filter(|(_, missing)| **missing) {
        println!("server {index}: cut off by the limit of all, after {elapsed:.1?}");
    }
    println!("{answers} of {} answered in time", servers.len());
    if missing.contains(&true) && (all.is_ok() || elapsed < options.overall) {
        return Err(format!("the limit of all ended requests early, after {elapsed:.1?}").into());
    }
    Ok(())
}

/// Asks all servers at once, and reports each outcome as it comes.
fn ask_all(servers: &[SocketAddr], each: Duration, start: Instant, reports: &mpsc::Sender<Report>) {
    withy::scope(|s| {
        for (index, &server) in servers.iter().enumerate() {
            s.spawn(move || {
                let outcome = match withy::timeout(each, || ask(server)) {
                    Ok(Ok(answer)) => Outcome::Answer(answer),
                    Ok(Err(error)) => Outcome::Failed(error),
                    Err(withy::Elapsed { .. }) => Outcome::Late,
                };
                // The receiver outlives the scope.
                let _ = reports.send((index, outcome, start.elapsed()));
            });
        }
    });
}

/// One request: the same lines as with `std::net`, and not a word about time.
fn ask(server: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect(server)?;
    stream.write_all(b"who are you?\n")?;
    stream.shutdown(Shutdown::Write)?;
    io::read_to_string(stream)
}

/// A server that answers each line after its delay.
fn start_server(index: usize, Delay(delay): Delay) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    withy::spawn(move || {
        for stream in listener.incoming().flatten() {
            withy::spawn(move || {
                if let Err(error) = answer(stream, index, delay) {
                    log::debug!("server {index}: {error}");
                }
            });
        }
    });
    Ok(address)
}

fn answer(mut stream: TcpStream, index: usize, delay: Option<Duration>) -> io::Result<()> {
    BufReader::new(&mut stream).read_line(&mut String::new())?;
    match delay {
        Some(delay) => withy::sleep(delay),
        // Until the end of the program cancels it.
        None => withy::CancelToken::new().wait(),
    }
    write!(stream, "I am server {index}")
}

/// What holds on any machine however slow: nothing comes early, and nobody answers for another.
fn check(
    options: &Options,
    index: usize,
    outcome: &Outcome,
    after: Duration,
) -> Result<(), String> {
    match outcome {
        Outcome::Answer(text) => match options.delays[index].0 {
            Some(delay) if after >= delay && *text == format!("I am server {index}") => Ok(()),
            _ => Err(format!("server {index} said {text:?} after {after:.1?}")),
        },
        Outcome::Late if after >= options.each => Ok(()),
        Outcome::Late => Err(format!(
            "the limit of server {index} was over early, after {after:.1?}"
        )),
        Outcome::Failed(error) => Err(format!("server {index} cannot be asked: {error}")),
    }
}

fn print(index: usize, outcome: &Outcome, after: Duration) {
    match outcome {
        Outcome::Answer(text) => println!("server {index}: {text:?} after {after:.1?}"),
        Outcome::Late => println!("server {index}: no answer in time, given up after {after:.1?}"),
        Outcome::Failed(error) => println!("server {index}: {error}"),
    }
}
