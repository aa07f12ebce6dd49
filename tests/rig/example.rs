//! The examples as programs: started as users start them, and spoken to from outside.

use std::fs::{self, DirEntry};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::SystemTime;

use super::until;

/// An example that serves.
pub(crate) struct Example {
    program: Program,
    pub(crate) address: SocketAddr,
}

impl Example {
    /// Starts example `name`, and returns when it has said where it listens.
    pub(crate) fn start(name: &str, arguments: &[&str]) -> Example {
        Example::start_by(Command::new(program(name)), name, arguments)
    }

    /// The same by a command that runs it and waits for it, such as strace.
    pub(crate) fn start_by(command: Command, name: &str, arguments: &[&str]) -> Example {
        let mut program = Program::start_by(command, arguments);
        let line = program.line();
        let address = ["listening on ", "receiving on "]
            .iter()
            .find_map(|said| line.trim_end().strip_prefix(said)?.parse().ok());
        let Some(address) = address else {
            panic!("{name} said {line:?}, expected where it listens");
        };
        Example { program, address }
    }

    /// Waits until it has ended, and gives the rest of what it said.
    pub(crate) fn end(self) -> (ExitStatus, String) {
        self.program.end()
    }

    /// Tells it to end, and waits for that; gives the rest of what it said.
    pub(crate) fn end_well(self) -> String {
        self.send(libc::SIGTERM);
        let (status, said) = self.end();
        assert!(status.success(), "{status}: {said}");
        said
    }
}

impl Deref for Example {
    type Target = Program;

    fn deref(&self) -> &Program {
        &self.program
    }
}

impl DerefMut for Example {
    fn deref_mut(&mut self) -> &mut Program {
        &mut self.program
    }
}

/// An example that runs. It is killed if it is dropped before it has ended.
pub(crate) struct Program {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Program {
    /// Starts example `name`.
    pub(crate) fn start(name: &str, arguments: &[&str]) -> Program {
        Program::start_by(Command::new(program(name)), arguments)
    }

    fn start_by(mut command: Command, arguments: &[&str]) -> Program {
        let mut child = command
            .args(arguments)
            .env_remove("WITHY_WORKERS")
            .env_remove("WITHY_STACK_SIZE")
            .stdout(Stdio::piped())
            .spawn()
            .expect("the example can be started");
        let stdout = BufReader::new(child.stdout.take().expect("it is a pipe"));
        Program { child, stdout }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn send(&self, signal: libc::c_int) {
        let id = self.child.id() as libc::pid_t;
        // SAFETY: kill touches no memory; the child was not reaped yet, so the id is its own.
        let sent = unsafe { libc::kill(id, signal) };
        assert_eq!(sent, 0);
    }

    /// Stops it where it is, until SIGCONT; returns when all its threads stand.
    pub(crate) fn stop(&self) {
        let stands = |thread: DirEntry| {
            let status = fs::read_to_string(thread.path().join("status"));
            status.is_ok_and(|text| text.contains("State:\tT"))
        };
        self.send(libc::SIGSTOP);
        until(|| {
            let threads = fs::read_dir(format!("/proc/{}/task", self.id()));
            threads.expect("it was not reaped").flatten().all(stands)
        });
    }

    /// Its next line, which it is waited for.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("it says something");
        line
    }

    /// Waits until it has ended, and gives the rest of what it said.
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).expect("it says text");
        (self.child.wait().expect("it can be waited for"), rest)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Fails if it was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where the example is. `cargo test` has built it; `cargo test --test NAME` does not, so that it may be missing, or old: then it is built here.
pub(crate) fn program(name: &str) -> PathBuf {
    static BUILDING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = BUILDING
        .lock()
        .expect("whoever panicked here has failed already");
    // …/target/debug/deps/test
    let test = std::env::current_exe().expect("a test knows its program");
    let folder = test.ancestors().nth(2).expect("tests stand in deps");
    let program = folder.join("examples").join(name);
    let built = program.metadata().and_then(|file| file.modified()).ok();
    if built < last_change() {
        let mut build = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
        build.args(["build", "--quiet", "--offline", "--example", name]);
        if folder.ends_with("release") {
            build.arg("--release");
        }
        assert!(build.status().expect("cargo can be started").success());
    }
    program
}

/// Of all that an example is made of.
fn last_change() -> Option<SystemTime> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["examples", "src", "net/src", "runtime/src"];
    folders
        .iter()
        .filter_map(|folder| last_change_in(&root.join(folder)))
        .max()
}

fn last_change_in(folder: &Path) -> Option<SystemTime> {
    let entries = fs::read_dir(folder)
        .expect("a folder of sources can be read")
        .flatten();
    let changes = entries.filter_map(|entry| match entry.path().is_dir() {
        true => last_change_in(&entry.path()),
        false => entry.metadata().and_then(|file| file.modified()).ok(),
    });
    changes.max()
}
