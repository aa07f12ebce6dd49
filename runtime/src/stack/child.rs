//! Tests that end in a signal, or change limits of the process: they run again in a process of
//! their own.

use std::env;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

const ROLE: &str = "WITHY_STACK_TEST_ROLE";

/// The role of this process, if it is a child.
pub(super) fn role() -> Option<String> {
    env::var(ROLE).ok()
}

/// Runs test `name` of module `module` (its `module_path!()`) again, alone in a process of its own,
/// as `role`.
///
/// Fails if the child takes longer than 60 seconds.
pub(super) fn run(module: &str, name: &str, role: &str) -> Output {
    let (_crate, module) = module.split_once("::").expect("a module within the crate");
    let child = Command::new(env::current_exe().expect("the path of this binary"))
        .args([
            "--exact",
            &format!("{module}::{name}"),
            "--nocapture",
            "--test-threads=1",
        ])
        .env(ROLE, role)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start this binary again");
    let id = child.id();
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(child.wait_with_output()));
    match receiver.recv_timeout(Duration::from_secs(60)) {
        Ok(output) => output.expect("wait for the child"),
        Err(_) => {
            // SAFETY: kill touches no memory; the child is not reaped yet, so the id is its own.
            unsafe { libc::kill(id as libc::pid_t, libc::SIGKILL) };
            panic!("the child of {name} as {role} did not end within 60 s");
        }
    }
}

/// As [`run`], and expects the child to pass.
pub(super) fn run_and_pass(module: &str, name: &str, role: &str) {
    let output = run(module, name, role);
    assert!(
        output.status.success(),
        "{name} as {role}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The number of mappings of this process.
pub(super) fn mappings() -> usize {
    std::fs::read_to_string("/proc/self/maps")
        .expect("read /proc/self/maps")
        .lines()
        .count()
}

/// The address space of this process, in KiB.
pub(super) fn address_space_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("read /proc/self/status");
    let line = status
        .lines()
        .find(|line| line.starts_with("VmSize:"))
        .expect("a VmSize line");
    line.split_whitespace()
        .nth(1)
        .and_then(|kib| kib.parse().ok())
        .expect("a number of KiB")
}
