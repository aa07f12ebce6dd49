//! `sleep`.

use std::time::{Duration, Instant};

use crate::context;
use crate::task::park;

/// Waits for `duration` at least, as [`std::thread::sleep`]: parks a coroutine, blocks a plain thread.
///
/// Never early. On an otherwise idle worker it is late by what the kernel's timer and a wake-up cost; on a busy one
/// by the time until its worker's next turn at its timers: 61 runs at most, about 200 µs if runs are alike in length.
/// May unwind if the coroutine's runtime shuts down.
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
    if !context::in_coroutine() {
        return std::thread::sleep(duration);
    }
    // An end beyond the clock's range is no end.
    let deadline = Instant::now().checked_add(duration);
    loop {
        park::park_until(deadline);
        if deadline.is_some_and(|at| Instant::now() >= at) {
            return;
        }
    }
}

/// [`sleep`] in milliseconds, for what is ported from [`std::thread::sleep_ms`].
#[deprecated(note = "use sleep")]
pub fn sleep_ms(ms: u32) {
    sleep(Duration::from_millis(ms.into()));
}
