//! Child processes: waiting for one parks the coroutine. What they write and read goes through
//! [`withy::io`](crate::io)'s pipes, and they are started as ever, by [`std::process::Command`].

use std::io;
use std::process::{Child, ExitStatus};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use withy_runtime::poll::{Direction, Registration};

/// Waits for a child to end: [`Child::wait`], but that a coroutine is parked meanwhile. It may be called again, and
/// then gives the same status.
///
/// As std's does, it closes the child's standard input first, if that is still in `child`, so that a child that reads
/// to the end does not wait for us while we wait for it. Whoever pipes the child's output has to read it: a child whose
/// pipe is full waits, too.
///
/// # Errors
///
/// Those of waitpid(2): `ECHILD` if somebody else has waited for it, as a handler of `SIGCHLD` that waits for any
/// child. Those of pidfd_open(2): no descriptor left; it takes one while it waits.
///
/// # Cancellation
///
/// A blocking call: from a coroutine it may unwind, when that is cancelled or a timeout around it elapses. The child
/// goes on, and can be waited for again, or killed. (On Linux before 5.3, or where a filter forbids pidfd_open, it
/// waits on a thread of the blocking pool, and cannot be interrupted.)
///
/// # Examples
///
/// A child with a time limit:
///
/// ```
/// # mod withy { pub use withy_net::process; pub use withy_runtime::*; }
/// use std::process::Command;
/// use std::time::Duration;
///
/// # fn main() -> std::io::Result<()> {
/// let mut child = Command::new("sleep").arg("1000").spawn()?;
/// let ended = withy::timeout(Duration::from_millis(20), || withy::process::wait(&mut child));
/// if ended.is_err() {
///     child.kill()?;
/// }
/// let status = withy::process::wait(&mut child)?;
/// assert!(!status.success());
/// # Ok(())
/// # }
/// ```
pub fn wait(child: &mut Child) -> io::Result<ExitStatus> {
    drop(child.stdin.take());
    // Also since the number of a child that was waited for may be somebody else's by now.
    if let Some(status) = child.try_wait()? {
        return Ok(status);
    }
    let pidfd = match pidfd_open(Pid::from_child(child), PidfdFlags::empty()) {
        // Old kernels, and filters of system calls that are older than this one.
        Err(Errno::NOSYS | Errno::PERM) => return withy_runtime::blocking(|| child.wait()),
        // Somebody else has just waited for it: this says so, and does not wait.
        Err(Errno::SRCH) => return child.wait(),
        opened => opened?,
    };
    Registration::new(pidfd).io(
        Direction::Read,
        |_| child.try_wait()?.ok_or(io::ErrorKind::WouldBlock.into()),
        |_| false,
    )
}
