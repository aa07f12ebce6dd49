//! `timeout` and `deadline`: bounds for any code that waits through withy.

use core::fmt;
use std::io;
#[cfg(panic = "unwind")]
use std::time::{Duration, Instant};

#[cfg(panic = "unwind")]
use super::clock;
use super::moment::Moment;
use crate::task::interrupt;

/// The time of a [`timeout`] or [`deadline`] was over before its closure had ended.
///
/// Converts into an [`io::Error`] of kind `TimedOut`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the time for this operation has elapsed")
    }
}

impl std::error::Error for Elapsed {}

impl From<Elapsed> for io::Error {
    fn from(elapsed: Elapsed) -> io::Error {
        io::Error::new(io::ErrorKind::TimedOut, elapsed)
    }
}

/// Runs `f`, and unwinds out of it if it still waits when `limit` is over.
///
/// Bounds whatever waits through withy (sockets, sleep, join, park, …), coroutine or plain thread, on any level below.
/// Once the time is over, the call that waits, or else the next one that has to, unwinds up to here, running the
/// destructors on its way; so code that only computes, or calls that block the thread, are not cut short, and
/// [`blocking`](crate::blocking) work that has begun is waited for. They nest: the outermost one whose time is over
/// is the one that ends. Children of a [`scope`](crate::scope) inherit the bounds around the scope. A region under
/// [`shield`](crate::shield) is not bounded from outside.
///
/// Nothing is lost between a call and its bound: a call that has got its result returns it, and if `f` ends after its
/// time without waiting any more, its value counts. So a limit of zero ends `f` at its first wait, if it has one. A limit
/// that ends more than 500 years from now bounds nothing.
///
/// A function of programs that unwind: with `panic = "abort"` nothing could be cut short, so it does not exist there.
///
/// # Errors
/// [`Elapsed`] if `f` was unwound.
///
/// # Panics
/// If `f` does, with its payload.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use withy_runtime::{sleep, timeout};
///
/// assert_eq!(timeout(Duration::from_secs(60), || 6 * 7), Ok(42));
/// let slow = timeout(Duration::from_millis(1), || sleep(Duration::from_secs(60)));
/// assert!(slow.is_err());
/// ```
#[cfg(panic = "unwind")]
pub fn timeout<T>(limit: Duration, f: impl FnOnce() -> T) -> Result<T, Elapsed> {
    until(clock::moment().after(limit), f)
}

/// [`timeout`] with a point in time, reckoned from [`now`](crate::now). One that has passed ends `f` at its first wait; one
/// more than 500 years away bounds nothing.
///
/// # Errors
/// [`Elapsed`] if `f` was unwound.
///
/// # Panics
/// If `f` does, with its payload.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use withy_runtime::{deadline, now, sleep};
///
/// let end = now() + Duration::from_millis(2);
/// let mut rounds = 0;
/// let ended = deadline(end, || loop {
///     sleep(Duration::from_micros(500));
///     rounds += 1;
/// });
/// assert!(ended.is_err() && now() >= end);
/// ```
#[cfg(panic = "unwind")]
pub fn deadline<T>(at: Instant, f: impl FnOnce() -> T) -> Result<T, Elapsed> {
    until(Moment::from(at), f)
}

/// Runs `f` in a frame with a deadline.
pub(crate) fn until<T>(at: Moment, f: impl FnOnce() -> T) -> Result<T, Elapsed> {
    interrupt::within(at, None, f).map_err(|interrupt::Due| Elapsed)
}
