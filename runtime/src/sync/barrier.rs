//! `Barrier`, as std has it.

use core::fmt;

use crate::sync::tally::Tally;
use crate::sync::waiters::{Enter, Guarded, Left, Place, Waited};
use crate::time::Moment;

/// Lets a number of coroutines and plain threads wait for each other; [`std::sync::Barrier`] for both.
///
/// # Differences from std
/// Who waits may be cancelled, or run out of time. It counts as if it had not come then: the barrier waits for another one in its
/// place.
///
/// # Examples
/// ```
/// use withy_runtime::{scope, sync::Barrier};
///
/// let barrier = Barrier::new(10);
/// let leaders = scope(|s| {
///     let all: Vec<_> = (0..10).map(|_| s.spawn(|| barrier.wait())).collect();
///     all.into_iter().map(|one| one.join().unwrap()).filter(|one| one.is_leader()).count()
/// });
/// assert_eq!(leaders, 1);
/// ```
pub struct Barrier {
    size: usize,
    tally: Tally,
    arrived: Guarded<usize, ()>,
}

/// What [`Barrier::wait`] gives: whether its caller is the leader.
pub struct BarrierWaitResult(bool);

impl Barrier {
    /// A barrier that lets callers go `n` at a time. With 0 and with 1, nobody waits, and all are leaders.
    #[must_use]
    #[inline]
    pub const fn new(n: usize) -> Barrier {
        Barrier {
            size: n,
            tally: Tally::new(),
            arrived: Guarded::new(0),
        }
    }

    /// Waits until as many have come as the barrier was made for. One of them, the last, is the leader. They go on, and
    /// the barrier begins anew for those who come next.
    ///
    /// # Cancellation
    /// A blocking call: it unwinds if the coroutine is cancelled, or a [`timeout`](crate::timeout) around it elapses. The caller is taken out
    /// of the count then; but if the last has come already, the round is over for all, the caller included.
    ///
    /// # Panics
    /// Inside [`no_park`](crate::no_park), if it would have to wait.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::{scope, sync::Barrier};
    ///
    /// let (barrier, early) = (Barrier::new(2), std::sync::atomic::AtomicBool::new(false));
    /// scope(|s| {
    ///     s.spawn(|| {
    ///         early.store(true, std::sync::atomic::Ordering::Relaxed);
    ///         barrier.wait();
    ///     });
    ///     barrier.wait();
    ///     assert!(early.load(std::sync::atomic::Ordering::Relaxed));
    /// });
    /// ```
    pub fn wait(&self) -> BarrierWaitResult {
        self.tally.count();
        let waited = self.arrived.wait(
            Moment::NEVER,
            |access| {
                *access.state += 1;
                if *access.state < self.size {
                    return Enter::Wait {
                        queue: 0,
                        place: Place::Back,
                        payload: (),
                    };
                }
                *access.state = 0;
                access.wake_all(0, |()| {});
                Enter::Done(())
            },
            // Woken, it is in no count any more: that of the next round is none of its business.
            |access, (), left| {
                if left == Left::Queue {
                    *access.state -= 1;
                }
            },
        );
        BarrierWaitResult(matches!(waited, Waited::Done(())))
    }
}

impl BarrierWaitResult {
    /// Whether this caller is the leader: exactly one in each round.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.0
    }
}

impl core::panic::UnwindSafe for Barrier {}
impl core::panic::RefUnwindSafe for Barrier {}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier").finish_non_exhaustive()
    }
}

impl fmt::Debug for BarrierWaitResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BarrierWaitResult")
            .field("is_leader", &self.is_leader())
            .finish()
    }
}
