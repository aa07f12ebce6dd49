//! The example `models` as others see it: a process for each server, and clients of both its services on std's sockets.
#![allow(dead_code, reason = "each test crate uses its own part")]

pub(crate) mod census;
pub(crate) mod client;

use std::fmt;
use std::io::{self, BufRead, BufReader, Read};
use std::mem;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take on a busy machine: a start, an answer, an end.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The exit code of a model that the system has no means for, see `models --help`.
const UNSUPPORTED: i32 = 77;

/// In all tests.
pub(crate) const WORKERS: usize = 2;

/// A row of `models list`: what a model says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    /// `None`: any number.
    pub(crate) at_once: Option<usize>,
    pub(crate) processes: usize,
    pub(crate) threads: usize,
    pub(crate) epolls: usize,
    /// In which its services are written.
    pub(crate) style: String,
    pub(crate) poller: &'static str,
}

impl Row {
    fn parse(line: &str) -> Row {
        let words: Vec<_> = line.split_ascii_whitespace().collect();
        let [name, at_once, rest @ ..] = &words[..] else {
            panic!("no row of a model: {line:?}");
        };
        let number = |word: &str| word.parse().expect("a number in each column");
        let [processes, threads, epolls, style] = rest else {
            panic!("a row has three counts and a style: {line:?}");
        };
        Row {
            name: (*name).to_owned(),
            at_once: (*at_once != "any").then(|| number(at_once)),
            processes: number(processes),
            threads: number(threads),
            epolls: number(epolls),
            style: (*style).to_owned(),
            poller: "epoll",
        }
    }

    /// Itself; and as it is if it waits by other means, where it can.
    fn by_each_poller(self) -> Vec<Row> {
        if self.name != "reactor" {
            return vec![self];
        }
        let other = |poller| Row {
            epolls: 0,
            poller,
            ..self.clone()
        };
        let others = ["poll", "select"].map(other);
        [self].into_iter().chain(others).collect()
    }

    pub(crate) fn serves(&self, connections: usize) -> bool {
        self.at_once.is_none_or(|max| max >= connections)
    }
}

/// Every model by each poller that it has, as it says it is while `connections` are open.
pub(crate) fn rows(connections: usize) -> Vec<Row> {
    let rows = listed(connections).into_iter();
    rows.flat_map(Row::by_each_poller).collect()
}

/// What `models list` says while `connections` are open.
pub(crate) fn listed(connections: usize) -> Vec<Row> {
    let output = Command::new(program())
        .args(["list", "--workers", &WORKERS.to_string()])
        .args(["--connections", &connections.to_string()])
        .output()
        .expect("the example can be run");
    assert!(output.status.success(), "models list: {}", output.status);
    let text = String::from_utf8(output.stdout).expect("a table is text");
    let rows: Vec<_> = text.lines().skip(1).map(Row::parse).collect();
    assert!(!rows.is_empty(), "models list names none");
    rows
}

pub(crate) fn program() -> PathBuf {
    crate::rig::example::program("models")
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Service {
    Echo,
    Session,
}

/// The server behind the session service.
pub(crate) struct Downstream(Process);

impl Downstream {
    pub(crate) fn start() -> Downstream {
        let process = Process::start(&[], &["downstream".to_owned()]);
        Downstream(process.expect("it needs nothing special"))
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.0.addr
    }

    pub(crate) fn id(&self) -> libc::pid_t {
        self.0.id()
    }
}

/// A server by one model, and one of the services.
pub(crate) struct Server {
    process: Process,
    pub(crate) row: Row,
    pub(crate) service: Service,
}

impl Server {
    /// `None`: this machine's kernel refuses what the model needs.
    pub(crate) fn start(row: &Row, service: Service, downstream: &Downstream) -> Option<Server> {
        Server::start_by(&[], row, service, downstream.addr(), WORKERS)
    }

    /// The same by a command that becomes it, such as `strace -DD`.
    pub(crate) fn start_by(
        wrapper: &[&str],
        row: &Row,
        service: Service,
        downstream: SocketAddr,
        workers: usize,
    ) -> Option<Server> {
        let workers = workers.to_string();
        let mut args = vec!["serve", "--model", &row.name, "--workers", &workers];
        args.extend(["--poller", row.poller]);
        let behind = downstream.to_string();
        if service == Service::Session {
            args.extend(["--downstream", &behind]);
        }
        let args: Vec<_> = args.into_iter().map(str::to_owned).collect();
        match Process::start(wrapper, &args) {
            Ok(process) => Some(Server {
                process,
                row: row.clone(),
                service,
            }),
            Err(why) => {
                println!("{} is left out: {why}", row.name);
                None
            }
        }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.process.addr
    }

    pub(crate) fn id(&self) -> libc::pid_t {
        self.process.id()
    }

    pub(crate) fn sigterm(&self) {
        // SAFETY: takes numbers; the child was not waited for, so the number is its own.
        assert_eq!(unsafe { libc::kill(self.id(), libc::SIGTERM) }, 0);
    }

    /// Has all its threads share one core, so that one stands still while another runs. Those of processes that it forks later, too.
    pub(crate) fn share_one_core(&self) {
        let allowed = affinity();
        let first = (0..libc::CPU_SETSIZE as usize)
            // SAFETY: a number below the size of the set.
            .find(|&core| unsafe { libc::CPU_ISSET(core, &allowed) })
            .expect("this thread runs somewhere");
        // SAFETY: plain numbers; the core is below the size of the set.
        let one = unsafe {
            let mut one: libc::cpu_set_t = mem::zeroed();
            libc::CPU_SET(first, &mut one);
            one
        };
        for thread in census::threads(self.id()) {
            // SAFETY: takes a number, and reads a set. A thread that has ended meanwhile needs no core.
            unsafe { libc::sched_setaffinity(thread, size_of_val(&one), &raw const one) };
        }
    }

    /// While `action` runs, it does not, and nobody whom it forked.
    pub(crate) fn stand_still(&self, action: impl FnOnce()) {
        let signal_all = |signal| {
            // SAFETY: takes numbers; the child was not waited for, so its group is its own.
            assert_eq!(unsafe { libc::kill(-self.id(), signal) }, 0);
        };
        signal_all(libc::SIGSTOP);
        action();
        signal_all(libc::SIGCONT);
    }

    /// Waits until it has ended, well and with all whom it forked. What it said meanwhile.
    pub(crate) fn wait(mut self) -> String {
        let status = soon(&format!("the end of {self}"), || {
            self.process.child.try_wait().expect("it is our child")
        });
        assert!(status.success(), "{self}: {status}");
        let left = census::members(self.id());
        assert!(left.is_empty(), "{self} has left {left:?} behind");
        let mut said = String::new();
        let output = &mut self.process.output;
        output.read_to_string(&mut said).expect("it says text");
        said
    }

    pub(crate) fn stop(self) -> String {
        self.sigterm();
        self.wait()
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Row { name, poller, .. } = &self.row;
        write!(f, "{name} by {poller} with {:?}", self.service)
    }
}

/// The cores on which this thread may run.
fn affinity() -> libc::cpu_set_t {
    // SAFETY: plain numbers, of which zeros are a value; the call writes to a set of that size.
    unsafe {
        let mut set: libc::cpu_set_t = mem::zeroed();
        let got = libc::sched_getaffinity(0, size_of_val(&set), &raw mut set);
        assert_eq!(got, 0, "{}", io::Error::last_os_error());
        set
    }
}

/// A process that listens, in a group of its own: with all whom it forks it ends when this is dropped.
struct Process {
    child: Child,
    output: BufReader<ChildStdout>,
    addr: SocketAddr,
}

impl Process {
    /// `Err`: it says why it cannot serve on this machine.
    fn start(wrapper: &[&str], args: &[String]) -> Result<Process, String> {
        let mut command = match wrapper {
            [] => Command::new(program()),
            [wrapper, rest @ ..] => {
                let mut command = Command::new(wrapper);
                command.args(rest).arg(program());
                command
            }
        };
        command
            .args(args)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let die_with_us = || {
            // SAFETY: takes numbers only.
            match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            }
        };
        // SAFETY: between fork and exec: one system call. It is there for tests that are aborted.
        let mut child = unsafe { command.pre_exec(die_with_us) }
            .spawn()
            .expect("the example can be run");
        let output = child.stdout.take().expect("it was asked for");
        let mut process = Process {
            child,
            output: BufReader::new(output),
            addr: ([127, 0, 0, 1], 0).into(),
        };
        let mut line = String::new();
        process.output.read_line(&mut line).expect("it says text");
        match line.trim_end().split_once(' ') {
            Some(("ready", addr)) => process.addr = addr.parse().expect("an address"),
            Some(_) => panic!("{args:?} says {line:?}, expected ready ADDRESS"),
            None => {
                let status = process.child.wait().expect("it is our child");
                assert_eq!(status.code(), Some(UNSUPPORTED), "{args:?} says {line:?}");
                return Err("the system has no means for it".to_owned());
            }
        }
        Ok(process)
    }

    fn id(&self) -> libc::pid_t {
        self.child.id().cast_signed()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails if it was waited for.
        if let Ok(None) = self.child.try_wait() {
            // SAFETY: takes numbers; the child was not waited for, so its group is its own.
            unsafe { libc::kill(-self.id(), libc::SIGKILL) };
            let _ = self.child.wait();
        }
    }
}

/// What `look` finds, once it finds something.
pub(crate) fn soon<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begin.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Runs `body` for each model that passes, and each service, all with one downstream server. The server is then stopped.
pub(crate) fn each(services: &[Service], passes: impl Fn(&Row) -> bool, body: impl Fn(&Server)) {
    let downstream = Downstream::start();
    let rows: Vec<_> = rows(1).into_iter().filter(passes).collect();
    let cells = rows
        .iter()
        .flat_map(|row| services.iter().map(move |&service| (row, service)));
    for (row, service) in cells {
        let Some(server) = Server::start(row, service, &downstream) else {
            continue;
        };
        let note = Note(server.to_string());
        body(&server);
        server.stop();
        drop(note);
    }
}

/// Says in which model it was, if a test fails.
struct Note(String);

impl Drop for Note {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("failed: {}", self.0);
        }
    }
}
