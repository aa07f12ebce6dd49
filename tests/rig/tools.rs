//! Tools and privileges of the machine that a test needs: strace, ss, curl, namespaces of the user's own.
//!
//! `.ci/run` exports `WITHY_CI=1`, and there nothing may be missing: a test that was skipped is a failure. Elsewhere the
//! test says what is missing, and passes.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

/// Set to 1 where every tool and privilege has to be there.
const CI: &str = "WITHY_CI";

/// Whether program `tool` can be found by `PATH`. A test that gets false ends.
///
/// # Panics
///
/// If it is missing in CI.
#[must_use]
pub(crate) fn need(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|folder| is_program(&folder.join(tool)));
    found || missing(&format!("the program {tool}"), "is not on PATH")
}

/// Whether this works on this machine: a command that exits with 0. `what` names the privilege that it tries.
///
/// # Panics
///
/// If it fails in CI.
#[must_use]
pub(crate) fn need_that(what: &str, attempt: &mut Command) -> bool {
    let why = match attempt.stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => return true,
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    missing(what, &format!("is not to be had: {why}"))
}

/// A script that python3 runs beside the test, with the host and the port of `address` as its arguments.
pub(crate) struct Python(Child);

impl Python {
    pub(crate) fn start(script: &str, address: SocketAddr) -> Python {
        let child = Command::new("python3")
            .args(["-c", script])
            .args([address.ip().to_string(), address.port().to_string()])
            .stderr(Stdio::piped())
            .spawn();
        Python(child.expect("python3 can be run"))
    }

    /// Waits until it has ended, without an error.
    pub(crate) fn end_well(self) {
        let output = self.0.wait_with_output().expect("it is our child");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
    }
}

/// Whether nothing may be missing here.
pub(crate) fn in_ci() -> bool {
    std::env::var_os(CI).is_some_and(|value| value == "1")
}

/// False, once it has been told that something is missing.
fn missing(what: &str, how: &str) -> bool {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    assert!(
        !in_ci(),
        "{test} needs {what}, which {how}; with {CI}=1 a test may not be skipped: install it, or unset {CI}"
    );
    eprintln!("SKIPPED {test}: {what} {how}");
    false
}

fn is_program(path: &std::path::Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata()
        .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}
