//! Processes that are forked, for models that have several.
//!
//! They die with the process that forked them, whatever ends it. One that fails is replaced, which is half of what one has
//! worker processes for.

use std::io;
use std::process;
use std::thread;
use std::time::Duration;

use crate::server::is_stopping;

/// Before the next is forked in place of one that failed: if they all do, the machine has other things to do meanwhile.
pub(crate) const REPLACE_PAUSE: Duration = Duration::from_millis(100);

/// Starts a process that runs `body` and exits.
///
/// # Safety
/// This process has one thread. Otherwise the child would inherit locks that nobody will ever release.
pub(crate) unsafe fn fork(body: impl FnOnce() -> io::Result<()>) -> io::Result<libc::pid_t> {
    let parent = process::id();
    // SAFETY: the child is an exact copy, as the caller says.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => process::exit(match die_with(parent).and_then(|()| body()) {
            Ok(()) => 0,
            Err(error) => {
                log::warn!("a process fails: {error}");
                1
            }
        }),
        child => Ok(child),
    }
}

/// The kernel kills this process when its parent ends.
fn die_with(parent: u32) -> io::Result<()> {
    // SAFETY: takes numbers only.
    if unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } == -1 {
        return Err(io::Error::last_os_error());
    }
    // It may have ended before that was said.
    if std::os::unix::process::parent_id() != parent {
        return Err(io::Error::other("the parent has ended"));
    }
    Ok(())
}

/// Waits for `child` (-1: any) to end: which it was, and whether all was well. `None`: none has ended yet (`WNOHANG`), or there is none.
pub(crate) fn wait(child: libc::pid_t, flags: libc::c_int) -> Option<(libc::pid_t, bool)> {
    let mut status = 0;
    loop {
        // SAFETY: writes the status.
        match unsafe { libc::waitpid(child, &raw mut status, flags) } {
            -1 if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            0 | -1 => return None,
            child => return Some((child, status == 0)),
        }
    }
}

/// Processes that all do the same until the server is to stop.
pub(crate) struct Workers<F> {
    /// Those that run, and what each is given.
    running: Vec<(libc::pid_t, usize)>,
    body: F,
}

impl<F: Fn(usize) -> io::Result<()>> Workers<F> {
    /// Each runs `body` with its index. This process must have one thread, and keep to it.
    pub(crate) fn start(count: usize, body: F) -> io::Result<Workers<F>> {
        let mut workers = Workers {
            running: Vec::new(),
            body,
        };
        for index in 0..count {
            workers.add(index)?;
        }
        Ok(workers)
    }

    /// Until the server was told to stop and all have ended.
    pub(crate) fn wait(mut self) -> io::Result<()> {
        while let Some((child, is_well)) = wait(-1, 0) {
            let place = self.running.iter().position(|&(id, _)| id == child);
            let Some((_, index)) = place.map(|place| self.running.swap_remove(place)) else {
                continue;
            };
            if !is_well && !is_stopping() {
                log::warn!("worker {index} has failed, another takes its place");
                thread::sleep(REPLACE_PAUSE);
                self.add(index)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, index: usize) -> io::Result<()> {
        // SAFETY: models with worker processes start no threads.
        let child = unsafe { fork(|| (self.body)(index)) }?;
        self.running.push((child, index));
        Ok(())
    }
}
