//! How a plain OS thread parks: on a condition variable, or on a descriptor.
//!
//! A sticky token, as std's: `unpark` before `park` makes that `park` return at once, and any number of them count as
//! one. The runtime's own wake-ups use it, so it is not the permit of the public `park`.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::fork;
use crate::poll::Direction;

/// What the thread does, and whether it holds a token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Runs; no token.
    Running,
    /// Waits on the condition variable.
    Parked,
    /// Waits in poll(2).
    Polling,
    /// A token; the thread waits on nothing, or on the condition variable that is being notified.
    Notified,
    /// A token, given while the thread was in poll(2): the eventfd has been written to.
    Rung,
}

/// The parking place of one thread. Only that thread parks on it; any may unpark.
pub(crate) struct ThreadParker {
    state: Mutex<State>,
    condvar: Condvar,
    /// Ends a poll(2). Made when the thread first waits on a descriptor.
    bell: OnceLock<OwnedFd>,
}

impl ThreadParker {
    pub(crate) const fn new() -> ThreadParker {
        ThreadParker {
            state: Mutex::new(State::Running),
            condvar: Condvar::new(),
            bell: OnceLock::new(),
        }
    }

    /// Blocks the thread until it is unparked or `deadline` has passed; takes the token.
    pub(crate) fn park(&self, deadline: Option<Instant>) {
        fork::refuse_child();
        let mut state = self.state.lock();
        if *state == State::Running {
            *state = State::Parked;
            while *state == State::Parked {
                let timed_out = match deadline {
                    None => {
                        self.condvar.wait(&mut state);
                        false
                    }
                    Some(deadline) => self.condvar.wait_until(&mut state, deadline).timed_out(),
                };
                if timed_out {
                    break;
                }
            }
        }
        *state = State::Running;
    }

    /// Ends the thread's current or next wait.
    pub(crate) fn unpark(&self) {
        let mut state = self.state.lock();
        match *state {
            State::Running => *state = State::Notified,
            State::Parked => {
                *state = State::Notified;
                drop(state);
                self.condvar.notify_one();
            }
            State::Polling => {
                *state = State::Rung;
                // Under the lock: the thread empties the eventfd when it finds `Rung`, and no later.
                self.ring();
            }
            State::Notified | State::Rung => {}
        }
    }

    /// Blocks the thread until `fd` is ready in `direction` (or has failed), the thread is unparked, or `deadline` has
    /// passed. Takes the token.
    ///
    /// # Errors
    /// If the eventfd that this needs cannot be made (out of descriptors), or the kernel is out of memory.
    pub(crate) fn park_on_fd(
        &self,
        fd: BorrowedFd<'_>,
        direction: Direction,
        deadline: Option<Instant>,
    ) -> io::Result<()> {
        self.park_in_poll(|bell| poll(&mut [pollfd(fd, direction), bell_pollfd(bell)], deadline))
    }

    /// As [`park_on_fd`](ThreadParker::park_on_fd), until any of the descriptors is ready.
    ///
    /// # Errors
    /// The same.
    pub(crate) fn park_on_fds(
        &self,
        fds: &[(BorrowedFd<'_>, Direction)],
        deadline: Option<Instant>,
    ) -> io::Result<()> {
        self.park_in_poll(|bell| {
            let fds = fds.iter().map(|&(fd, direction)| pollfd(fd, direction));
            let mut fds: Vec<_> = fds.chain([bell_pollfd(bell)]).collect();
            poll(&mut fds, deadline)
        })
    }

    fn park_in_poll(&self, poll: impl FnOnce(&OwnedFd) -> io::Result<()>) -> io::Result<()> {
        fork::refuse_child();
        let bell = self.bell()?;
        let mut state = self.state.lock();
        if *state == State::Notified {
            *state = State::Running;
            return Ok(());
        }
        *state = State::Polling;
        drop(state);
        let polled = poll(bell);
        let mut state = self.state.lock();
        if *state == State::Rung {
            silence(bell);
        }
        *state = State::Running;
        polled
    }

    fn bell(&self) -> io::Result<&OwnedFd> {
        if let Some(bell) = self.bell.get() {
            return Ok(bell);
        }
        // SAFETY: no pointers.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just given it to us, and nobody else knows it.
        Ok(self
            .bell
            .get_or_init(|| unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    fn ring(&self) {
        let Some(bell) = self.bell.get() else {
            unreachable!("a thread that polls has made its eventfd before")
        };
        let one = 1_u64;
        // SAFETY: eight readable bytes. It cannot fail: the counter is 0 or 1, far from its maximum.
        unsafe {
            libc::write(
                bell.as_raw_fd(),
                ptr::from_ref(&one).cast(),
                size_of::<u64>(),
            )
        };
    }
}

/// Empties the eventfd.
fn silence(bell: &OwnedFd) {
    let mut count = 0_u64;
    // SAFETY: eight writable bytes. It cannot fail: the eventfd was written to, and its flag says not to wait.
    unsafe {
        libc::read(
            bell.as_raw_fd(),
            ptr::from_mut(&mut count).cast(),
            size_of::<u64>(),
        )
    };
}

fn pollfd(fd: BorrowedFd<'_>, direction: Direction) -> libc::pollfd {
    libc::pollfd {
        fd: fd.as_raw_fd(),
        events: direction.poll_events(),
        revents: 0,
    }
}

fn bell_pollfd(bell: &OwnedFd) -> libc::pollfd {
    pollfd(bell.as_fd(), Direction::Read)
}

/// One wait of poll(2) for any of the descriptors; it goes on after a signal.
fn poll(fds: &mut [libc::pollfd], deadline: Option<Instant>) -> io::Result<()> {
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let timeout = left.map(timespec);
        let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
        // SAFETY: writable pollfds, a timeout that is null or valid, and no signal mask.
        let count = unsafe { libc::ppoll(fds.as_mut_ptr(), fds.len() as _, timeout, ptr::null()) };
        if count >= 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// A wait beyond 272 years ends there; the caller looks at its deadline and comes again.
fn timespec(left: Duration) -> libc::timespec {
    const SECONDS_MAX: u64 = 1 << 33;
    libc::timespec {
        tv_sec: left.as_secs().min(SECONDS_MAX) as libc::time_t,
        tv_nsec: left.subsec_nanos() as _,
    }
}
