//! The examples as programs: started as users start them, and spoken to from outside.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::SystemTime;

/// An example that runs. It is killed if it is dropped before it has ended.
pub(crate) struct Example {
    child: Child,
    stdout: BufReader<ChildStdout>,
    pub(crate) address: SocketAddr,
}

impl Example {
    /// Starts example `name`, and returns when it has said where it listens.
    pub(crate) fn start(name: &str, arguments: &[&str]) -> Example {
        Example::start_by(Command::new(program(name)), name, arguments)
    }

    /// The same by a command that runs it and waits for it, such as strace.
    pub(crate) fn start_by(mut command: Command, name: &str, arguments: &[&str]) -> Example {
        let mut child = command
            .args(arguments)
            .env_remove("WITHY_WORKERS")
            .env_remove("WITHY_STACK_SIZE")
            .stdout(Stdio::piped())
            .spawn()
            .expect("the example can be started");
        let mut stdout = BufReader::new(child.stdout.take().expect("it is a pipe"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("it says something");
        let address = line.trim_end().strip_prefix("listening on ");
        let address = address.and_then(|address| address.parse().ok());
        let Some(address) = address else {
            let _ = child.kill();
            panic!("{name} said {line:?}, expected where it listens");
        };
        Example {
            child,
            stdout,
            address,
        }
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

impl Drop for Example {
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
    let entries = std::fs::read_dir(folder)
        .expect("a folder of sources can be read")
        .flatten();
    let changes = entries.filter_map(|entry| match entry.path().is_dir() {
        true => last_change_in(&entry.path()),
        false => entry.metadata().and_then(|file| file.modified()).ok(),
    });
    changes.max()
}
