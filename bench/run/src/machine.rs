//! Where and of what the figures are.

use std::fmt;
use std::fs::read_to_string;
use std::process::Command;

use crate::peers::{Peer, go, output, workspace};

/// What the report begins with.
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    /// Of the last minute, before the measurements.
    pub(crate) load: f64,
    /// Of the peers, by name.
    pub(crate) versions: Vec<(&'static str, String)>,
}

pub(crate) fn describe(peers: &[Peer]) -> Machine {
    let read = |path| read_to_string(path).unwrap_or_default();
    let version = |peer: &Peer| (peer.name(), version(*peer).unwrap_or_else(unknown));
    Machine {
        cpu: value_of(&read("/proc/cpuinfo"), "model name").unwrap_or_else(unknown),
        cores: std::thread::available_parallelism().map_or(1, |cores| cores.get()),
        kernel: read("/proc/sys/kernel/osrelease").trim().into(),
        load: first_number(&read("/proc/loadavg")),
        versions: peers.iter().map(version).collect(),
    }
}

fn unknown() -> String {
    "unknown".into()
}

/// The value of the first line `NAME : VALUE`.
fn value_of(text: &str, name: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().into())
}

fn first_number(text: &str) -> f64 {
    let first = text.split_whitespace().next();
    first.and_then(|load| load.parse().ok()).unwrap_or(0.0)
}

fn version(peer: Peer) -> Option<String> {
    let said_by = |program: &str, args: &[&str]| {
        let mut command = Command::new(program);
        let said = output(command.args(args).current_dir(workspace())).ok()?;
        Some(said.trim().to_owned())
    };
    match peer {
        Peer::Withy | Peer::WithyFull => said_by("git", &["describe", "--always", "--dirty"]),
        Peer::Std => said_by("rustc", &["--version"]),
        Peer::Go => said_by(go().to_str()?, &["version"]),
        Peer::Crossbeam => locked_version("crossbeam-channel"),
        Peer::Tokio => locked_version("tokio"),
        Peer::May => locked_version("may"),
    }
}

/// A crate's version in the workspace's `Cargo.lock`.
fn locked_version(name: &str) -> Option<String> {
    let lock = read_to_string(workspace().join("Cargo.lock")).ok()?;
    let (_, after) = lock.split_once(&format!("name = \"{name}\"\nversion = \""))?;
    Some(after.split_once('"')?.0.into())
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine {
            cpu,
            cores,
            kernel,
            load,
            versions,
        } = self;
        writeln!(f, "{cpu}, {cores} cores, Linux {kernel}, load {load}")?;
        for (peer, version) in versions {
            writeln!(f, "  {peer:11} {version}")?;
        }
        Ok(())
    }
}
