//! Channels whose messages are points in time: nobody sends them, they are there when it is time.
//!
//! They have no timers of their own. Whoever waits for one parks until it is due, by the timer that each coroutine has anyway; of
//! several that wait all look then, and one takes.

use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::sync::channel::Receiver;
use crate::sync::channel::exchange::Unreceived;
use crate::sync::tally::Tally;
use crate::task::park;
use crate::time::{self, Moment};

/// What such a channel is inside.
pub(super) trait Timed<T>: Send + Sync {
    /// When its next message can be taken; `NEVER` if there will be none.
    fn due(&self) -> Moment;

    /// The message, once over all receivers, if its time has come. `since`: when the caller began to want it, `moment()` at the latest.
    fn take(&self, since: Moment) -> Option<T>;

    /// The messages that may lie there.
    fn capacity(&self) -> usize {
        1
    }

    /// Whether a message lies there.
    fn is_ready(&self) -> bool {
        time::moment() >= self.due()
    }
}

/// A channel with one message, which comes `duration` from now: the instant at which it came.
///
/// Of several receivers one gets it; then the channel stays empty, and is never disconnected. It has no timer of its own, so that one
/// nobody waits for costs nothing. A duration that ends more than 500 years from now has no end. In a runtime with virtual time it
/// goes by that; see [`now`](crate::now).
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use withy_runtime::sync::channel::{after, unbounded};
///
/// let begin = withy_runtime::now();
/// let message = after(Duration::from_millis(2)).recv().unwrap();
/// assert!(message >= begin + Duration::from_millis(2));
/// ```
#[must_use]
pub fn after(duration: Duration) -> Receiver<Instant> {
    let due = time::moment().after(duration);
    match due.instant() {
        Some(message) => once(due, message),
        None => never(),
    }
}

/// A channel with one message, `instant`, which comes at that instant; at once if it has passed. See [`after`].
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use withy_runtime::sync::channel::at;
///
/// let instant = withy_runtime::now() + Duration::from_millis(2);
/// let receiver = at(instant);
/// assert!(receiver.try_recv().is_err());
/// assert_eq!(receiver.recv(), Ok(instant));
/// ```
#[must_use]
pub fn at(instant: Instant) -> Receiver<Instant> {
    once(Moment::from(instant), instant)
}

fn once(due: Moment, message: Instant) -> Receiver<Instant> {
    Receiver::timed(Arc::new(Once {
        due,
        message,
        taken: AtomicBool::new(false),
    }))
}

/// A channel with a message in every `period`: the instant at which it was due.
///
/// One lies there at most: a message that is taken late makes the next come a whole period after it was taken, and those between
/// are left out. To who waits for them they come in step, with no drift, however late it is woken. A period of zero has a message
/// whenever one is asked for; one of more than 500 years has none.
///
/// Of several receivers each message goes to one. It has no timer of its own, so that one nobody waits for costs nothing.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use withy_runtime::sync::channel::tick;
///
/// # let runtime = withy_runtime::Runtime::builder().virtual_time().build().unwrap();
/// # runtime.run(|| {
/// let period = Duration::from_millis(2);
/// let ticker = tick(period);
/// let first = ticker.recv().unwrap();
/// assert_eq!(ticker.recv(), Ok(first + period));
/// # });
/// ```
#[must_use]
pub fn tick(period: Duration) -> Receiver<Instant> {
    let first = time::moment().after(period);
    if first.instant().is_none() {
        return never();
    }
    Receiver::timed(Arc::new(Ticks {
        next: AtomicU64::new(first.ns()),
        period,
    }))
}

/// A channel that never has a message, and is never disconnected: the arm of a `select!` that is switched off.
///
/// # Examples
/// ```
/// use withy_runtime::sync::channel::{Receiver, TryRecvError, after, never};
/// use std::time::{Duration, Instant};
///
/// let limit: Option<Duration> = None;
/// let timeout: Receiver<Instant> = limit.map_or_else(never, after);
/// assert_eq!(timeout.try_recv(), Err(TryRecvError::Empty));
/// ```
#[must_use]
pub fn never<T>() -> Receiver<T> {
    // One for all, so that all are the same channel and none costs an allocation.
    static NEVER: LazyLock<Arc<Never>> = LazyLock::new(|| Arc::new(Never));
    Receiver::timed(NEVER.clone())
}

/// All uses of all such channels: their cost is the clock's, so a shared line matters little.
static TALLY: Tally = Tally::new();

/// Waits for a message.
#[cold]
pub(super) fn recv<T>(timed: &dyn Timed<T>, deadline: Moment) -> Result<T, Unreceived> {
    TALLY.count();
    let since = time::moment();
    loop {
        if let Some(message) = timed.take(since) {
            return Ok(message);
        }
        let until = timed.due().min(deadline);
        if park::park(until) && until == deadline {
            // What is there all the same counts.
            return timed.take(since).ok_or(Unreceived::Empty);
        }
    }
}

#[cold]
pub(super) fn try_recv<T>(timed: &dyn Timed<T>) -> Result<T, Unreceived> {
    let taken = timed.take(time::moment());
    if taken.is_none() {
        TALLY.count_failure();
    }
    taken.ok_or(Unreceived::Empty)
}

/// One message.
struct Once {
    due: Moment,
    message: Instant,
    taken: AtomicBool,
}

impl Timed<Instant> for Once {
    fn due(&self) -> Moment {
        // Relaxed, here and below: the flag guards nothing but itself.
        if self.taken.load(Ordering::Relaxed) {
            Moment::NEVER
        } else {
            self.due
        }
    }

    fn take(&self, _since: Moment) -> Option<Instant> {
        (self.is_ready() && !self.taken.swap(true, Ordering::Relaxed)).then_some(self.message)
    }
}

/// One message after another.
struct Ticks {
    /// When the next is due. Relaxed: it guards nothing but itself.
    next: AtomicU64,
    period: Duration,
}

impl Timed<Instant> for Ticks {
    fn due(&self) -> Moment {
        Moment::from_ns(self.next.load(Ordering::Relaxed))
    }

    fn take(&self, since: Moment) -> Option<Instant> {
        loop {
            let due = self.due();
            if time::moment() < due {
                return None;
            }
            let message = due.instant()?;
            // Late is who came late, not who was woken late.
            let next = due.max(since).after(self.period);
            let (due, next) = (due.ns(), next.ns());
            if self
                .next
                .compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
            {
                return Some(message);
            }
        }
    }
}

/// No message.
struct Never;

impl<T> Timed<T> for Never {
    fn due(&self) -> Moment {
        Moment::NEVER
    }

    fn take(&self, _since: Moment) -> Option<T> {
        None
    }

    fn capacity(&self) -> usize {
        0
    }
}
