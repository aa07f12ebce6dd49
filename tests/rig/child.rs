//! Tests whose subject is the process: limits, signals, the default runtime, descriptors. They run again, alone, in a
//! process of their own.

use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

pub(crate) const ROLE: &str = "WITHY_TEST_ROLE";

/// Longer than any child takes on a busy machine.
const CHILD_LIMIT: Duration = Duration::from_secs(120);

/// The role of this process if it is the child that runs test `name`.
pub(crate) fn role(name: &str) -> Option<String> {
    let all = std::env::var(ROLE).ok()?;
    let (test, role) = all.split_once('=')?;
    (test == name).then(|| role.to_owned())
}

/// Starts test `name` (its full path) again as `role`.
pub(crate) fn start(name: &str, role: &str, variables: &[(&str, &str)]) -> Child {
    Command::new(std::env::current_exe().expect("a test knows its program"))
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env_remove("WITHY_WORKERS")
        .env_remove("WITHY_STACK_SIZE")
        .env(ROLE, format!("{name}={role}"))
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program that runs can be started")
}

/// Waits for a child and gives its status and all that it wrote. Kills it, and fails, if it takes too long.
pub(crate) fn output_of(child: Child) -> (Output, String) {
    let id = child.id() as libc::pid_t;
    let (sender, receiver) = mpsc::channel();
    let waiter = std::thread::spawn(move || sender.send(child.wait_with_output()));
    let Ok(output) = receiver.recv_timeout(CHILD_LIMIT) else {
        // SAFETY: kill touches no memory; the child was not reaped yet, so the id is its own.
        unsafe { libc::kill(id, libc::SIGKILL) };
        panic!("the child did not end within {CHILD_LIMIT:?}");
    };
    waiter
        .join()
        .expect("the waiter only sends")
        .expect("the receiver is still there");
    let output = output.expect("a child can be waited for");
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    (output, text)
}

/// Runs test `name` again as `role` and gives its status and all that it wrote.
pub(crate) fn run(name: &str, role: &str, variables: &[(&str, &str)]) -> (Output, String) {
    output_of(start(name, role, variables))
}

/// Runs test `name` again in a child, in which this returns true; the parent gets false once the child has passed.
pub(crate) fn alone(name: &str, variables: &[(&str, &str)]) -> bool {
    if role(name).is_some() {
        return true;
    }
    let (output, text) = run(name, "alone", variables);
    assert!(
        output.status.success(),
        "the child failed: {}\n{text}",
        output.status
    );
    assert!(
        text.contains("1 passed"),
        "no test of that name ran: {name}\n{text}"
    );
    false
}
