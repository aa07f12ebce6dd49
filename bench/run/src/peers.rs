//! The programs that are compared: building them, and having them measure something.

use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

use crate::cases::Case;
use crate::options::Options;

/// A measurement that takes longer hangs.
const LIMIT_S: &str = "30";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    Withy,
    WithyFull,
    Std,
    Crossbeam,
    Tokio,
    May,
    Go,
}

/// One thing that one peer can be measured at.
#[derive(Clone)]
pub(crate) struct Job {
    pub(crate) peer: Peer,
    pub(crate) case: Case,
    pub(crate) variant: String,
    pub(crate) workers: usize,
}

impl Peer {
    const ALL: [Peer; 7] = [
        Peer::Withy,
        Peer::WithyFull,
        Peer::Std,
        Peer::Crossbeam,
        Peer::Tokio,
        Peer::May,
        Peer::Go,
    ];

    pub(crate) const BY_DEFAULT: [Peer; 6] = [
        Peer::Withy,
        Peer::Std,
        Peer::Crossbeam,
        Peer::Tokio,
        Peer::May,
        Peer::Go,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Peer::Withy => "withy",
            Peer::WithyFull => "withy-full",
            Peer::Std => "std",
            Peer::Crossbeam => "crossbeam",
            Peer::Tokio => "tokio",
            Peer::May => "may",
            Peer::Go => "go",
        }
    }

    pub(crate) fn is_withy(self) -> bool {
        matches!(self, Peer::Withy | Peer::WithyFull)
    }

    fn program(self) -> &'static str {
        match self {
            Peer::Withy | Peer::WithyFull => "peer-withy",
            Peer::Std => "peer-std",
            Peer::Crossbeam => "peer-crossbeam",
            Peer::Tokio => "peer-tokio",
            Peer::May => "peer-may",
            Peer::Go => "peer-go",
        }
    }

    /// Beside this program, where cargo puts them.
    fn path(self) -> Result<PathBuf, Box<dyn Error>> {
        Ok(std::env::current_exe()?.with_file_name(self.program()))
    }

    pub(crate) fn build(self) -> Result<(), Box<dyn Error>> {
        let mut command = match self {
            Peer::Go => {
                let mut command = Command::new(go());
                command.args(["build", "-o"]).arg(self.path()?).arg(".");
                command.current_dir(workspace().join("peers/go"));
                command
            }
            _ => {
                // Each by itself, as who depends on one of them builds it: together they would unite their features.
                let mut command = Command::new(cargo());
                command.args(["build", "--release", "--locked", "--quiet"]);
                command.args(["--package", self.program()]);
                command.current_dir(workspace());
                command
            }
        };
        output(&mut command).map(drop)
    }

    /// All that it can be measured at.
    pub(crate) fn jobs(self) -> Result<Vec<Job>, Box<dyn Error>> {
        let list = output(Command::new(self.path()?).arg("list"))?;
        list.lines().map(|line| self.job(line)).collect()
    }

    fn job(self, line: &str) -> Result<Job, Box<dyn Error>> {
        let [case, variant, workers] = line.split(' ').collect::<Vec<_>>()[..] else {
            return Err(format!("{self} lists {line:?}, expected CASE VARIANT WORKERS").into());
        };
        Ok(Job {
            peer: self,
            case: case.parse()?,
            variant: variant.into(),
            workers: workers.parse()?,
        })
    }
}

impl Job {
    /// Whether figures of the two can be compared.
    pub(crate) fn same_work(&self, other: &Job) -> bool {
        (self.case, self.workers) == (other.case, other.workers)
    }

    /// Has it measured by a fresh process: samples by their metric.
    pub(crate) fn run(&self, options: &Options) -> Result<Vec<(String, f64)>, Box<dyn Error>> {
        let cpus = options.cpus[..self.workers].iter().map(usize::to_string);
        let mut command = Command::new("timeout");
        command.args([LIMIT_S, "taskset", "--cpu-list"]);
        command.arg(cpus.collect::<Vec<_>>().join(","));
        command.arg(self.peer.path()?);
        command.args([self.case.name(), &self.variant]);
        command.args(["--workers", &self.workers.to_string()]);
        command.args(["--samples", &options.samples.to_string()]);
        command.args(["--sample-ms", &options.sample_ms.to_string()]);
        command.args(["--leaves", &options.leaves.to_string()]);
        if self.peer == Peer::WithyFull {
            command.args(["--mode", "full"]);
        }
        let samples = output(&mut command)?;
        samples.lines().map(|line| self.sample(line)).collect()
    }

    fn sample(&self, line: &str) -> Result<(String, f64), Box<dyn Error>> {
        let (metric, ns) = line
            .split_once(' ')
            .ok_or_else(|| format!("{} said {line:?}, expected METRIC NS", self.peer))?;
        Ok((metric.into(), ns.parse()?))
    }
}

/// The top of this workspace.
pub(crate) fn workspace() -> &'static Path {
    let run = Path::new(env!("CARGO_MANIFEST_DIR"));
    run.parent().unwrap_or(run)
}

/// The Go to build with: `$GO`, or the one in the path.
pub(crate) fn go() -> OsString {
    std::env::var_os("GO").unwrap_or("go".into())
}

fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or("cargo".into())
}

/// What a command prints; as an error, the last thing that it complained of.
pub(crate) fn output(command: &mut Command) -> Result<String, Box<dyn Error>> {
    let program = command.get_program().display().to_string();
    let output = command
        .output()
        .map_err(|error| format!("{program} cannot be run: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8(output.stdout)?);
    }
    let complaints = String::from_utf8_lossy(&output.stderr);
    let complaint = complaint_of(&complaints);
    // What `timeout` ends with.
    if output.status.code() == Some(124) {
        return Err(format!("it took more than {LIMIT_S} s{complaint}").into());
    }
    Err(format!("{}{complaint}", output.status).into())
}

/// What it comes down to: the first error or panic, or the last line.
fn complaint_of(complaints: &str) -> String {
    let lines = complaints.lines().collect::<Vec<_>>();
    // The message of a panic is on the line below.
    if let Some(at) = lines.iter().position(|line| line.contains("panicked at")) {
        let message = lines.get(at + 1).unwrap_or(&"");
        return format!(": {} {message}", lines[at]);
    }
    let error = lines.iter().find(|line| line.contains("error"));
    match error.or(lines.last()) {
        Some(line) => format!(": {line}"),
        None => String::new(),
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Peer {
    type Err = String;

    fn from_str(name: &str) -> Result<Peer, String> {
        let is_it = |peer: &Peer| peer.name() == name;
        let unknown = || {
            format!(
                "unknown peer, expected one of {:?}",
                Peer::ALL.map(Peer::name)
            )
        };
        Peer::ALL.into_iter().find(is_it).ok_or_else(unknown)
    }
}
