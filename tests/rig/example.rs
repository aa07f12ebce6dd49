//! The examples as programs: started as users start them, and spoken to from outside.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::OnceLock;

/// An example that runs. It is killed if it is dropped before it has ended.
pub(crate) struct Example {
    child: Child,
    stdout: BufReader<ChildStdout>,
    pub(crate) address: SocketAddr,
}

impl Example {
    /// Starts example `name`, and returns when it has said where it listens.
    pub(crate) fn start(name: &str, arguments: &[&str]) -> Example {
        let mut child = Command::new(program(name))
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
        // SAFETY: kill touches no memory; the child was not reaped yet, so the id is its own.
        assert_eq!(
            unsafe { libc::kill(self.child.id() as libc::pid_t, signal) },
            0
        );
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

/// Where the example is. `cargo test --test NAME` alone does not build it: that is done here, once.
pub(crate) fn program(name: &str) -> PathBuf {
    static BUILT: OnceLock<std::sync::Mutex<Vec<String>>> = OnceLock::new();
    let mut built = BUILT
        .get_or_init(Default::default)
        .lock()
        .expect("nothing panics in there");
    // …/target/debug/deps/test
    let test = std::env::current_exe().expect("a test knows its program");
    let folder = test.ancestors().nth(2).expect("tests stand in deps");
    if !built.iter().any(|one| one == name) {
        let mut build = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
        build.args(["build", "--quiet", "--example", name]);
        if folder.ends_with("release") {
            build.arg("--release");
        }
        assert!(build.status().expect("cargo can be started").success());
        built.push(name.to_owned());
    }
    folder.join("examples").join(name)
}
