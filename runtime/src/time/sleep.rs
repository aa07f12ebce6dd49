//! `sleep`.

use std::time::{Duration, Instant};

use super::clock;
use super::moment::Moment;
use crate::task::park;

/// Waits for `duration` at least, as [`std::thread::sleep`]: parks a coroutine, blocks a plain thread. Zero is over at once.
///
/// Never early. On an otherwise idle worker it is late by what the kernel's timer and a wake-up cost; on a busy one
/// by the time until its worker's next turn at its timers: 61 runs at most, about 200 µs if runs are alike in length.
/// A duration that ends more than 500 years from now has no end.
///
/// # Cancellation
/// A blocking call: it unwinds if the coroutine is cancelled, or a [`timeout`](crate::timeout) around it elapses.
///
/// # Panics
/// Inside [`no_park`](crate::no_park).
///
/// # Examples
/// ```
/// use std::time::{Duration, Instant};
/// let start = Instant::now();
/// withy_runtime::run(|| withy_runtime::sleep(Duration::from_millis(5)));
/// assert!(start.elapsed() >= Duration::from_millis(5));
/// ```
pub fn sleep(duration: Duration) {
    let deadline = clock::moment().after(duration);
    while !park::park(deadline) {}
}

/// Waits until `at`, as [`std::thread::sleep_until`]; not at all if that has passed. See [`sleep`] and
/// [`now`](crate::now).
///
/// # Cancellation
/// As [`sleep`].
///
/// # Panics
/// Inside [`no_park`](crate::no_park).
///
/// # Examples
/// ```
/// use std::time::Duration;
/// let tick = Duration::from_millis(2);
/// let mut next = withy_runtime::now();
/// for _ in 0..3 {
///     next += tick; // no drift: each wait ends at a multiple of the tick
///     withy_runtime::sleep_until(next);
/// }
/// ```
pub fn sleep_until(at: Instant) {
    let deadline = Moment::from(at);
    while clock::moment() < deadline && !park::park(deadline) {}
}

/// [`sleep`] in milliseconds, for what is ported from [`std::thread::sleep_ms`].
///
/// # Cancellation
/// As [`sleep`].
#[deprecated(note = "use sleep")]
pub fn sleep_ms(ms: u32) {
    sleep(Duration::from_millis(ms.into()));
}
