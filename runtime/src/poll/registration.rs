//! A descriptor and its readiness: the one seam that net builds on.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::interest::{Interest, View};
use super::slot::Clear;
use super::visit::{Limit, Queued, ThreadVisit, Visit};
use crate::atomic::{AtomicBool, Ordering};
use crate::context;

/// What a call waits for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Direction {
    /// Data, a connection, or the end of the stream.
    Read,
    /// Room for data, or the end of connecting.
    Write,
}

/// An open descriptor, together with where its readiness is told.
///
/// Coroutines that must wait on it park; plain threads wait in poll(2). Shared by reference: any number of callers
/// may use it at the same time, in both directions. It belongs to no runtime: a coroutine that has to wait registers
/// it with the netpoller of its worker, and it moves along when it is mostly used elsewhere.
pub struct Registration {
    nonblocking: AtomicBool,
    /// Whether the descriptor stays `O_NONBLOCK` whatever the mode is. Locked while the descriptor's flag changes.
    kept_nonblocking: Mutex<bool>,
    // Before `fd`, for fields are dropped in this order: a descriptor is deregistered before it is closed.
    interest: Interest,
    fd: OwnedFd,
}

impl Registration {
    /// Takes a descriptor over. No system call is made: it is registered when a coroutine first has to wait for it.
    #[must_use]
    pub fn new(fd: OwnedFd) -> Registration {
        let interest = Interest::new(fd.as_raw_fd());
        Registration {
            nonblocking: AtomicBool::new(false),
            kept_nonblocking: Mutex::new(false),
            interest,
            fd,
        }
    }

    /// The descriptor.
    #[inline]
    pub fn fd(&self) -> BorrowedFd<'_> {
        use std::os::fd::AsFd;
        self.fd.as_fd()
    }

    /// The descriptor, deregistered.
    #[must_use]
    pub fn into_fd(self) -> OwnedFd {
        let Registration { interest, fd, .. } = self;
        drop(interest);
        fd
    }

    /// Does `op`, and waits for `direction` as often as it gives `WouldBlock`.
    ///
    /// `op` must not block: the descriptor is `O_NONBLOCK`, or the call says `MSG_DONTWAIT`. It is called again when
    /// it is interrupted. `drained` says whether a transfer proves that the kernel has nothing more (no more room),
    /// which saves the call that would show it: a short one on a stream. It is not trusted once the peer has hung up
    /// or urgent data was seen.
    ///
    /// From a coroutine this is a blocking call: it may unwind.
    ///
    /// # Errors
    /// Those of `op`. `WouldBlock` in non-blocking mode, or past the direction's timeout, as std has it on Linux;
    /// `TimedOut` past its deadline. Both come after an attempt that found that it would have to wait.
    /// What goes wrong at the registration (out of memory or of watches, the runtime has shut down). `TimedOut` if it
    /// would have to wait in a coroutine that unwinds from a cancellation.
    #[inline]
    pub fn io<T>(
        &self,
        direction: Direction,
        op: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
        drained: impl Fn(&T) -> bool,
    ) -> io::Result<T> {
        if context::in_coroutine() {
            self.io_in_coroutine(direction, Limit::Shared, op, drained)
        } else {
            self.io_on_thread(direction, Limit::Shared, op)
        }
    }

    /// Does `op` once, whatever is known of the readiness: for a call whose `WouldBlock` is followed by no event, so
    /// that its caller waits in another way. `op` must not block, and is called again when it is interrupted.
    ///
    /// From a coroutine this is a blocking call: it may unwind, before `op`.
    ///
    /// # Errors
    /// Those of `op`.
    pub fn attempt<T>(&self, mut op: impl FnMut(BorrowedFd<'_>) -> io::Result<T>) -> io::Result<T> {
        if context::in_coroutine() {
            context::consume_budget();
        }
        uninterrupted(&mut op, self.fd())
    }

    /// Waits until the descriptor is ready, whatever its limits and its mode.
    ///
    /// # Errors
    /// `TimedOut` past `deadline`; else those of [`io`](Registration::io).
    pub fn wait(&self, direction: Direction, deadline: Option<Instant>) -> io::Result<()> {
        let op = |_: BorrowedFd<'_>| self.poll(direction);
        let limit = Limit::Own(deadline);
        if context::in_coroutine() {
            self.io_in_coroutine(direction, limit, op, |()| false)
        } else {
            self.io_on_thread(direction, limit, op)
        }
    }

    /// Lets those who wait in `direction` try again, as after an event: for a change of the descriptor that the kernel
    /// has no event for. One that has just found that it would have to wait, before the change, is told too. From then on
    /// the direction counts as ready: [`wait`](Registration::wait) and a select return at once.
    pub fn wake(&self, direction: Direction) {
        self.interest.make_ready(direction);
    }

    /// Whether a call in `direction` would not wait: by poll(2), or by what [`wake`](Registration::wake) has told and poll(2) has no bit for.
    ///
    /// # Errors
    /// `WouldBlock` if it would wait; else those of poll(2).
    pub(super) fn poll(&self, direction: Direction) -> io::Result<()> {
        match self.interest.lane(direction).wakes() {
            0 => poll_now(self.fd(), direction),
            _ => Ok(()),
        }
    }

    /// A plain thread's place among those that [`wake`](Registration::wake) wakes.
    pub(super) fn queue_thread(&self, direction: Direction) -> Queued<'_> {
        Queued::enter(self.interest.lane(direction))
    }

    /// How many wait in `direction` now.
    #[cfg(test)]
    pub(super) fn waiting(&self, direction: Direction) -> usize {
        self.interest.waiting(direction)
    }

    /// Limits how long [`io`](Registration::io) waits in `direction`, for all who share this registration. Those who
    /// wait now are bound by it too, counted from now. `None`, and durations beyond 500 years, are no limit; zero is
    /// a nanosecond.
    pub fn set_timeout(&self, direction: Direction, timeout: Option<Duration>) {
        self.interest
            .change_limits(direction, |limits| limits.set_timeout(timeout));
    }

    /// The limit that [`set_timeout`](Registration::set_timeout) has set.
    #[must_use]
    pub fn timeout(&self, direction: Direction) -> Option<Duration> {
        self.interest.lane(direction).limits().timeout()
    }

    /// Ends every wait of [`io`](Registration::io) in `direction` at that point in time, now and later, for all who
    /// share this registration. Those who wait now are bound by it too. `None` is no limit; of timeout and deadline,
    /// the earlier one decides.
    pub fn set_deadline(&self, direction: Direction, deadline: Option<Instant>) {
        self.interest
            .change_limits(direction, |limits| limits.set_deadline(deadline));
    }

    /// The limit that [`set_deadline`](Registration::set_deadline) has set.
    #[must_use]
    pub fn deadline(&self, direction: Direction) -> Option<Instant> {
        self.interest.lane(direction).limits().deadline()
    }

    /// In non-blocking mode [`io`](Registration::io) makes its system call and gives `WouldBlock` instead of waiting.
    /// Those who wait now go on waiting.
    pub fn set_nonblocking(&self, nonblocking: bool) {
        self.nonblocking.store(nonblocking, Ordering::Relaxed);
    }

    /// As [`set_nonblocking`](Registration::set_nonblocking), and makes the descriptor's flag the same; but a flag
    /// that is [kept](Registration::keep_nonblocking) is not taken back.
    ///
    /// # Errors
    /// Those of fcntl(2); then nothing has changed.
    pub fn set_mode(&self, nonblocking: bool) -> io::Result<()> {
        let kept = self.kept_nonblocking.lock();
        if nonblocking || !*kept {
            set_flag(self.fd(), nonblocking)?;
        }
        self.set_nonblocking(nonblocking);
        Ok(())
    }

    /// Makes the descriptor `O_NONBLOCK`, and keeps it so for as long as this lives: for system calls that have no
    /// flag of their own against waiting. The mode, which says what callers of [`io`](Registration::io) want, is as before.
    ///
    /// # Errors
    /// Those of fcntl(2).
    pub fn keep_nonblocking(&self) -> io::Result<()> {
        let mut kept = self.kept_nonblocking.lock();
        set_flag(self.fd(), true)?;
        *kept = true;
        Ok(())
    }

    /// Whether it is in non-blocking mode.
    #[must_use]
    pub fn is_nonblocking(&self) -> bool {
        self.nonblocking.load(Ordering::Relaxed)
    }

    /// Whether a call with this limit gives up instead of waiting.
    #[inline]
    fn refuses_to_wait(&self, limit: Limit) -> bool {
        matches!(limit, Limit::Shared) && self.is_nonblocking()
    }

    pub(super) fn view(&self, direction: Direction) -> Option<View> {
        self.interest.view(direction)
    }

    pub(super) fn visit(&self, direction: Direction, limit: Limit) -> Visit<'_> {
        Visit::new(&self.interest, direction, limit)
    }

    #[inline]
    fn io_in_coroutine<T>(
        &self,
        direction: Direction,
        limit: Limit,
        mut op: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
        drained: impl Fn(&T) -> bool,
    ) -> io::Result<T> {
        let impatient = self.refuses_to_wait(limit);
        let mut visit = Visit::new(&self.interest, direction, limit);
        loop {
            let mut view = visit.view();
            let ready = view.is_none_or(|view| view.seen.is_ready());
            if ready || impatient || visit.expired().is_some() {
                // Before the call, for it may unwind, and what was read would be lost.
                context::consume_budget();
                match uninterrupted(&mut op, self.fd()) {
                    Ok(value) => {
                        if let Some(view) = view
                            && ready
                            && view.seen.trusts_short_transfers()
                            && drained(&value)
                        {
                            // Changed is as good: the next call tries its system call then.
                            let _ = view.word.clear(view.seen);
                        }
                        return Ok(value);
                    }
                    Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                    Err(error) if impatient => return Err(error),
                    Err(_) => {
                        if let Some(end) = visit.expired() {
                            return Err(end.error());
                        }
                    }
                }
                if let Some(view) = &mut view {
                    match view.word.clear(view.seen) {
                        Clear::Cleared(cleared) => view.seen = cleared,
                        Clear::Changed => continue,
                    }
                }
            }
            visit.wait(view)?;
        }
    }

    fn io_on_thread<T>(
        &self,
        direction: Direction,
        limit: Limit,
        mut op: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        let impatient = self.refuses_to_wait(limit);
        let mut visit = ThreadVisit::new(&self.interest, direction, limit);
        loop {
            match uninterrupted(&mut op, self.fd()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && !impatient => {
                    if let Some(end) = visit.expired() {
                        return Err(end.error());
                    }
                }
                result => return result,
            }
            visit.wait(self.fd())?;
        }
    }
}

impl std::fmt::Debug for Registration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registration")
            .field("fd", &self.fd.as_raw_fd())
            .finish_non_exhaustive()
    }
}

/// EINTR surfaces from no blocking call (promise 14).
#[inline]
fn uninterrupted<T>(
    op: &mut impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
    fd: BorrowedFd<'_>,
) -> io::Result<T> {
    loop {
        match op(fd) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// `WouldBlock` unless `fd` is ready in `direction`, or has failed.
fn poll_now(fd: BorrowedFd<'_>, direction: Direction) -> io::Result<()> {
    let mut poll = libc::pollfd {
        fd: fd.as_raw_fd(),
        events: direction.poll_events(),
        revents: 0,
    };
    // SAFETY: one writable pollfd.
    match unsafe { libc::poll(&mut poll, 1, 0) } {
        0 => Err(io::ErrorKind::WouldBlock.into()),
        count if count > 0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Sets `O_NONBLOCK`, or takes it back, if it is not so already.
fn set_flag(fd: BorrowedFd<'_>, nonblocking: bool) -> io::Result<()> {
    // SAFETY: no pointers.
    let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) };
    if flags < 0 {
        return Err(io::Error::last_os_error());
    }
    let wanted = match nonblocking {
        true => flags | libc::O_NONBLOCK,
        false => flags & !libc::O_NONBLOCK,
    };
    // SAFETY: no pointers.
    if wanted != flags && unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, wanted) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

impl Direction {
    /// What poll(2) is asked for.
    pub(crate) fn poll_events(self) -> libc::c_short {
        match self {
            Direction::Read => libc::POLLIN,
            Direction::Write => libc::POLLOUT,
        }
    }
}
