//! One measurement: a server process, a client process, and what they said.

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use clap::ValueEnum;

use super::Peer;

/// Which cores the two processes may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Layout {
    /// Server with one worker on core 0, client on core 1
    Separate,
    /// Server with two workers, both processes on cores 0 and 1
    Shared,
}

impl Layout {
    fn workers(self) -> usize {
        match self {
            Layout::Separate => 1,
            Layout::Shared => 2,
        }
    }

    /// Cores of the server and of the client, as arguments.
    fn cores(self) -> (&'static str, &'static str) {
        match self {
            Layout::Separate => ("0", "1"),
            Layout::Shared => ("0,1", "0,1"),
        }
    }
}

/// The figures of one measurement.
pub(crate) struct Sample {
    pub(crate) requests_per_s: f64,
    pub(crate) user_us_per_request: f64,
    pub(crate) system_us_per_request: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

impl Sample {
    pub(crate) fn cpu_us_per_request(&self) -> f64 {
        self.user_us_per_request + self.system_us_per_request
    }
}

/// Loads a fresh server process with `connections` connections.
pub(crate) fn measure(
    peer: Peer,
    layout: Layout,
    connections: usize,
    seconds: f64,
) -> Result<Sample, Box<dyn Error>> {
    let (server_cores, client_cores) = layout.cores();
    let protocol = name_of(&peer.protocol())?;
    let peer = name_of(&peer)?;
    let workers = layout.workers().to_string();
    let mut server = Process::start(&[
        "server",
        &peer,
        "--workers",
        &workers,
        "--cores",
        server_cores,
    ])?;
    let [port] = server.expect("listening")?;
    let mut client = Process::start(&[
        "client",
        &format!("127.0.0.1:{port}"),
        "--protocol",
        &protocol,
        "--connections",
        &connections.to_string(),
        "--seconds",
        &seconds.to_string(),
        "--cores",
        client_cores,
    ])?;
    let [] = client.expect("ready")?;
    let [user_before, system_before] = server.ask("cpu")?;
    let [requests, elapsed_ns, p50_ns, p99_ns] = client.ask("done")?;
    let [user, system] = server.ask("cpu")?;
    Ok(Sample {
        requests_per_s: requests / elapsed_ns * 1e9,
        user_us_per_request: (user - user_before) / requests,
        system_us_per_request: (system - system_before) / requests,
        p50_us: p50_ns / 1e3,
        p99_us: p99_ns / 1e3,
    })
}

fn name_of(value: &impl ValueEnum) -> Result<String, &'static str> {
    value
        .to_possible_value()
        .map(|value| value.get_name().to_owned())
        .ok_or("no value is hidden from the command line")
}

/// This program once more, in another role; killed when dropped.
struct Process {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Process {
    fn start(args: &[&str]) -> Result<Process, Box<dyn Error>> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdin = child.stdin.take().ok_or("standard input is piped")?;
        let stdout = BufReader::new(child.stdout.take().ok_or("standard output is piped")?);
        Ok(Process {
            child,
            stdin,
            stdout,
        })
    }

    /// Says "go on" and reads the answer.
    fn ask<const N: usize>(&mut self, word: &str) -> Result<[f64; N], Box<dyn Error>> {
        self.stdin.write_all(b"\n")?;
        self.expect(word)
    }

    /// Reads a line of `word` and N numbers.
    fn expect<const N: usize>(&mut self, word: &str) -> Result<[f64; N], Box<dyn Error>> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        let mut words = line.split_whitespace();
        let numbers = words
            .clone()
            .skip(1)
            .map(str::parse)
            .collect::<Result<Vec<f64>, _>>();
        match numbers.map(<[f64; N]>::try_from) {
            Ok(Ok(numbers)) if words.next() == Some(word) => Ok(numbers),
            _ => Err(format!("a child said {line:?}, expected `{word}` and {N} numbers").into()),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Parses what [`measure`] passes on.
pub(crate) fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_| format!("`{text}` is not a number of seconds"))?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}
