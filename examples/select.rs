//! Collects lines from many connections into batches: a batch goes to the writer when it is full, or when its first line has waited for
//! long enough. One loop with one `select!` does all that: it takes lines, accepts connections, hands batches over, keeps
//! the time, and knows when it has to end.
//!
//! `cargo run --release --example select` runs collector and clients in one process and checks what comes out.

mod cli;

use std::collections::HashMap;
use std::error::Error;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::mem;
use std::net::{Shutdown, SocketAddr};
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use withy::net::{TcpListener, TcpStream};
use withy::sync::channel::{Receiver, Sender, after, bounded, never};
use withy::{CancelToken, select};

/// How long nothing is accepted when the system has no descriptor or memory for more.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Collect lines from many connections into batches
#[derive(Parser)]
#[command(
    name = "select",
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage"
)]
struct Options {
    /// Connections
    #[arg(long, value_name = "N", default_value = "50")]
    clients: NonZeroUsize,

    /// Lines of each
    #[arg(long, value_name = "N", default_value = "200")]
    lines: usize,

    /// Lines of a batch at most
    #[arg(long, value_name = "N", default_value = "64")]
    batch: NonZeroUsize,

    /// How long a line may wait for its batch to be full, in seconds
    #[arg(long, value_name = "S", default_value = "0.005", value_parser = cli::positive_seconds)]
    patience: Duration,

    #[command(flatten)]
    runtime: cli::RuntimeOptions,
}

type Batch = Vec<String>;

fn main() -> ExitCode {
    cli::main(run)
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    options.runtime.install()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let addr = listener.local_addr()?;
    let closing = CancelToken::new();
    let collector = Collector {
        listener: Some(listener),
        closing: closing.clone(),
        most: options.batch.get(),
        patience: options.patience,
    };
    let begin = Instant::now();
    let collected = withy::spawn(move || collector.run());
    let clients: Vec<_> = (0..options.clients.get())
        .map(|client| {
            let lines = options.lines;
            withy::spawn(move || send_lines(addr, client, lines))
        })
        .collect();
    for client in clients {
        client.join().expect("a client does not panic")?;
    }
    closing.cancel();
    let batches = collected.join().expect("the collector does not panic")?;
    let seconds = begin.elapsed().as_secs_f64();
    check(&batches, options)?;
    println!(
        "{} lines in {} batches, {seconds:.3} s",
        batches.iter().map(Vec::len).sum::<usize>(),
        batches.len()
    );
    Ok(())
}

struct Collector {
    /// `None` once nothing is accepted any more.
    listener: Option<TcpListener>,
    closing: CancelToken,
    most: usize,
    patience: Duration,
}

impl Collector {
    fn run(mut self) -> io::Result<Vec<Batch>> {
        let (to_us, from_clients) = bounded(16);
        let (to_writer, batches) = bounded(1);
        let mut writer = withy::spawn(move || write(&batches));
        // Ends of channels on which nothing happens: with them an arm is switched off.
        let silent = never();
        let (nowhere, _nobody) = bounded(0);
        // Each connection has a clone; when all are gone, `from_clients` ends.
        let mut to_us = Some(to_us);
        let mut batch = Batch::new();
        let mut full: Option<Batch> = None;
        let mut flush = never();
        loop {
            // While a batch waits for the writer no line is taken, and only then is there something to hand over.
            let (lines, target) = match full {
                None => (&from_clients, &nowhere),
                Some(_) => (&silent, &to_writer),
            };
            select! {
                recv(lines) -> line => match line {
                    Ok(line) => {
                        if batch.is_empty() {
                            flush = after(self.patience);
                        }
                        batch.push(line);
                        if batch.len() == self.most {
                            full = Some(mem::take(&mut batch));
                            flush = never();
                        }
                    }
                    Err(_) => break,
                },
                recv(flush) -> _ => full = Some(mem::take(&mut batch)),
                // What is sent is taken out only when the writer has room for it.
                send(target, full.take().unwrap_or_default()) -> sent => {
                    sent.expect("the writer has the other end");
                }
                readable(self.listener) => self.accept(to_us.as_ref()),
                cancelled(self.closing) => {
                    // Connections go on to their ends. A token stays cancelled: this arm has done its duty.
                    self.listener = None;
                    to_us = None;
                    self.closing = CancelToken::new();
                }
                join(writer) -> ended => {
                    ended.expect("the writer does not panic");
                    return Err(io::Error::other("the writer has ended early"));
                }
            }
        }
        if !batch.is_empty() {
            to_writer.send(batch).expect("the writer has the other end");
        }
        drop(to_writer);
        Ok(writer.join().expect("the writer does not panic"))
    }

    fn accept(&self, to_us: Option<&Sender<String>>) {
        let (Some(listener), Some(to_us)) = (&self.listener, to_us) else {
            return;
        };
        match listener.accept() {
            Ok((stream, _)) => {
                let to_us = to_us.clone();
                withy::spawn(move || receive_lines(stream, &to_us));
            }
            Err(error) => {
                log::warn!("cannot take a connection: {error}");
                withy::sleep(ACCEPT_PAUSE);
            }
        }
    }
}

/// One connection, to its end.
fn receive_lines(stream: TcpStream, collector: &Sender<String>) {
    for line in BufReader::new(stream).lines() {
        match line {
            Ok(line) => collector.send(line).expect("it lives while connections do"),
            Err(error) => return log::warn!("a connection failed: {error}"),
        }
    }
}

/// Stands for a disk: it keeps the batches, each after a moment.
fn write(batches: &Receiver<Batch>) -> Vec<Batch> {
    let mut written = Vec::new();
    for batch in batches {
        withy::sleep(Duration::from_micros(100));
        written.push(batch);
    }
    written
}

/// A client: lines that say whose they are, a few at a time.
fn send_lines(addr: SocketAddr, client: usize, lines: usize) -> io::Result<()> {
    let mut stream = TcpStream::connect(addr)?;
    for line in 0..lines {
        writeln!(stream, "{client} {line}")?;
        if line % 50 == client % 50 {
            withy::sleep(Duration::from_millis(1));
        }
    }
    stream.shutdown(Shutdown::Write)?;
    // The collector closes when it has read all: so none of it is under way when the collector is told to end.
    match stream.read(&mut [0])? {
        0 => Ok(()),
        _ => Err(io::Error::other("the collector has sent something")),
    }
}

/// Each line once, each client's in its order, and no batch empty or too long.
fn check(batches: &[Batch], options: &Options) -> Result<(), Box<dyn Error>> {
    let mut next: HashMap<&str, usize> = HashMap::new();
    for batch in batches {
        if batch.is_empty() || batch.len() > options.batch.get() {
            return Err(format!("a batch has {} lines", batch.len()).into());
        }
        for line in batch {
            let (client, number) = line.split_once(' ').ok_or("a line is no client's")?;
            let expected = next.entry(client).or_default();
            if number.parse() != Ok(*expected) {
                return Err(
                    format!("got line {number} of client {client}, expected {expected}").into(),
                );
            }
            *expected += 1;
        }
    }
    let clients = options.clients.get();
    let complete = options.lines == 0 || next.len() == clients;
    if complete && next.values().all(|&lines| lines == options.lines) {
        Ok(())
    } else {
        Err(format!("lines are missing: {next:?}").into())
    }
}
