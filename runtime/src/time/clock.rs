//! What time it is for the caller: the kernel's monotonic clock, or a runtime's virtual one.
//!
//! A virtual clock is moved by its worker alone, and only while that has nothing to run (`scheduler/rest.rs`): to the
//! next timer, unless somebody waits for the world outside ([`Outstanding`]). Then the clock follows real
//! time for as long as the worker sleeps, up to the next timer at most. So no timer fires at another time than its own,
//! and none of a wait for a socket before as much real time has passed.

use std::time::Instant;

use super::moment::Moment;
use crate::atomic::{AtomicU64, Ordering};
use crate::context;

/// A runtime's clock.
pub(crate) enum Clock {
    Real,
    /// Stands still until its runtime has nothing left to do.
    Virtual(AtomicU64),
}

impl Clock {
    pub(crate) fn new(is_virtual: bool) -> Clock {
        if is_virtual {
            Clock::Virtual(AtomicU64::new(Moment::real_now().ns()))
        } else {
            Clock::Real
        }
    }

    #[inline]
    pub(crate) fn now(&self) -> Moment {
        match self {
            Clock::Real => Moment::real_now(),
            // Relaxed: only the one worker moves it, between runs; others may see it a moment late.
            Clock::Virtual(ns) => Moment::from_ns(ns.load(Ordering::Relaxed)),
        }
    }

    /// As `now`, when the kernel's says `real`.
    pub(crate) fn at(&self, real: Instant) -> Moment {
        match self {
            Clock::Real => Moment::from(real),
            Clock::Virtual(_) => self.now(),
        }
    }

    pub(crate) fn is_virtual(&self) -> bool {
        matches!(self, Clock::Virtual(_))
    }

    /// Moves a virtual clock forward; never back.
    pub(crate) fn advance(&self, to: Moment) {
        if let Clock::Virtual(ns) = self {
            ns.fetch_max(to.ns(), Ordering::Relaxed);
        }
    }
}

/// While it lives, the calling coroutine waits for something that takes real time: a socket, a thread. Its runtime's
/// clock does not jump meanwhile.
pub(crate) struct Outstanding {
    counted: bool,
}

impl Outstanding {
    #[inline]
    pub(crate) fn new() -> Outstanding {
        let worker = context::current_worker();
        let counted = worker.is_some_and(|worker| worker.shared().clock.is_virtual());
        if counted {
            count(|waits| waits + 1);
        }
        Outstanding { counted }
    }
}

impl Drop for Outstanding {
    #[inline]
    fn drop(&mut self) {
        if self.counted {
            count(|waits| waits - 1);
        }
    }
}

/// A runtime with virtual time has one worker, so a coroutine begins and ends its wait on the same.
#[cold]
fn count(change: impl FnOnce(usize) -> usize) {
    let worker = context::current_worker().expect("a coroutine runs on a worker");
    worker.socket_waits.set(change(worker.socket_waits.get()));
}

/// The caller's time.
#[inline]
pub(crate) fn moment() -> Moment {
    match context::current_worker() {
        Some(worker) => worker.shared().clock.now(),
        None => Moment::real_now(),
    }
}

/// The caller's time: [`Instant::now`], but for coroutines of a runtime with
/// [virtual time](crate::RuntimeBuilder::virtual_time), whose clock it reads.
///
/// What is given to [`deadline`](crate::deadline) or [`sleep_until`](crate::sleep_until) should be reckoned from it.
/// A virtual clock begins with the real one's time when its runtime is built, and goes its own way from then on:
/// instants of the one say nothing about the other. Plain threads, closures of [`blocking`](crate::blocking) among
/// them, have the real one.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// let until = withy_runtime::now() + Duration::from_millis(2);
/// withy_runtime::sleep_until(until);
/// assert!(withy_runtime::now() >= until);
/// ```
#[must_use]
pub fn now() -> Instant {
    match moment().instant() {
        Some(at) => at,
        None => Instant::now(),
    }
}
