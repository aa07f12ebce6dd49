//! `Condvar`, as std has it.
//!
//! # No signal is lost (promise 44)
//! A waiter is in the queue before it unlocks its mutex. So whoever changes, under the mutex, what it waits for finds it
//! there.
//!
//! `waiting` says, without the queue's lock, whether the queue is empty; it changes under that lock only. A waiter sets it before it
//! unlocks the mutex. A notifier that has locked the mutex since then has acquired that, and so finds it set, or the waiter is out
//! of the queue again. One that has not comes before or after the waiter as chance has it: it may as well have come
//! before. Whoever passes a signal on has no such excuse, and takes the lock.
//!
//! A signal of `notify_one` is one waiter's. If that unwinds before it is back from `wait` it gives the signal to the next: in `leave`, from the
//! queue; by [`Signal`], while it locks the mutex. Whom `notify_all` has woken has nothing to pass on: it has woken
//! everybody. A signal that nobody waits for any more ends, as one does that comes when nobody waits.
//!
//! # Locks
//! The mutex is unlocked after the queue's lock is free, and notifiers need not hold it: so neither lock is ever waited for under the
//! other.

use core::convert::Infallible;
use core::fmt;
use std::time::Duration;

use crate::atomic::{AtomicBool, Ordering};
use crate::sync::mutex::MutexGuard;
use crate::sync::poison::{LockResult, PoisonError};
use crate::sync::tally::Tally;
use crate::sync::waiters::{Access, Enter, Guarded, Left, Place, Waited};
use crate::time::{self, Moment};

/// Waits for what others do under a [`Mutex`](super::Mutex); [`std::sync::Condvar`] for coroutines and plain threads
/// alike.
///
/// # Differences from std
/// * A wait ends by a notification, or at the end of its time, and never for no reason: there are no spurious wake-ups. What is waited for has to be
///   looked at all the same, since others may lock the mutex first: [`wait_while`](Condvar::wait_while).
/// * Those who wait are notified in the order in which they came.
/// * Waits with different mutexes at the same time are fine. std may panic.
/// * A wait may unwind, like any blocking call (see `# Cancellation` at each), and the mutex is **not** locked then: POSIX locks it for the clean-up handlers of a
///   thread that is cancelled. No notification is lost by it: one that the waiter was given goes to the next.
///
/// # Examples
/// ```
/// use withy_runtime::{scope, sync::{Condvar, Mutex}};
///
/// let (ready, changed) = (Mutex::new(false), Condvar::new());
/// scope(|s| {
///     s.spawn(|| {
///         *ready.lock().unwrap() = true;
///         changed.notify_one();
///     });
///     let ready = changed.wait_while(ready.lock().unwrap(), |ready| !*ready).unwrap();
///     assert!(*ready);
/// });
/// ```
pub struct Condvar {
    /// The queue is not empty.
    waiting: AtomicBool,
    tally: Tally,
    queue: Guarded<(), Notified>,
}

/// By what a waiter was woken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Notified {
    Not,
    /// By a signal that is its alone.
    Alone,
    WithAll,
}

/// Whether a timed wait of a [`Condvar`] has ended since its time was over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    /// True: the time was over before a notification came. A wait that was notified says false, however late it goes on.
    #[must_use]
    #[inline]
    pub fn timed_out(&self) -> bool {
        self.0
    }
}

impl Condvar {
    /// A condition variable that nobody waits for.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::sync::Condvar;
    ///
    /// static CHANGED: Condvar = Condvar::new();
    /// CHANGED.notify_all(); // nobody waits
    /// ```
    #[must_use]
    #[inline]
    pub const fn new() -> Condvar {
        Condvar {
            waiting: AtomicBool::new(false),
            tally: Tally::new(),
            queue: Guarded::new(()),
        }
    }

    /// Unlocks the mutex, waits for a notification, and locks the mutex again. A notification that comes after the mutex was unlocked is not
    /// missed.
    ///
    /// # Cancellation
    /// A blocking call: it unwinds if the coroutine is cancelled, or a [`timeout`](crate::timeout) around it elapses. The mutex is not locked
    /// then. The notification, if there was one, goes to the next that waits.
    ///
    /// # Errors
    /// The guard all the same, if the mutex is poisoned when it is locked again.
    ///
    /// # Panics
    /// Inside [`no_park`](crate::no_park); the mutex is not locked then.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::{scope, sync::{Condvar, Mutex}};
    ///
    /// let (sum, changed) = (Mutex::new(0), Condvar::new());
    /// scope(|s| {
    ///     for n in 1..=4 {
    ///         let (sum, changed) = (&sum, &changed);
    ///         s.spawn(move || {
    ///             *sum.lock().unwrap() += n;
    ///             changed.notify_one();
    ///         });
    ///     }
    ///     let mut sum = sum.lock().unwrap();
    ///     while *sum < 10 {
    ///         sum = changed.wait(sum).unwrap();
    ///     }
    /// });
    /// ```
    #[inline]
    pub fn wait<'a, T: ?Sized>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        self.wait_until(guard, Moment::NEVER).0
    }

    /// Waits as long as `condition` is true of the value; it is asked under the mutex, at once and after each notification.
    ///
    /// # Cancellation
    /// As [`wait`](Condvar::wait).
    ///
    /// # Errors
    /// The guard all the same, if the mutex is poisoned when it is locked again; what it guards was not looked at then.
    ///
    /// # Panics
    /// Inside [`no_park`](crate::no_park), if it would have to wait.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::{spawn, sync::{Condvar, Mutex}};
    /// use std::sync::Arc;
    ///
    /// let shared = Arc::new((Mutex::new(Vec::new()), Condvar::new()));
    /// let consumer = spawn({
    ///     let shared = shared.clone();
    ///     move || {
    ///         let (queue, filled) = &*shared;
    ///         let mut queue = filled.wait_while(queue.lock().unwrap(), |queue| queue.is_empty()).unwrap();
    ///         queue.pop()
    ///     }
    /// });
    /// shared.0.lock().unwrap().push("a");
    /// shared.1.notify_one();
    /// assert_eq!(consumer.join().unwrap(), Some("a"));
    /// ```
    pub fn wait_while<'a, T: ?Sized, F>(
        &self,
        mut guard: MutexGuard<'a, T>,
        mut condition: F,
    ) -> LockResult<MutexGuard<'a, T>>
    where
        F: FnMut(&mut T) -> bool,
    {
        while condition(&mut *guard) {
            guard = self.wait(guard)?;
        }
        Ok(guard)
    }

    /// [`wait_timeout`](Condvar::wait_timeout) in milliseconds; false: they were over.
    ///
    /// # Cancellation
    /// As [`wait`](Condvar::wait).
    ///
    /// # Errors
    /// As [`wait`](Condvar::wait).
    ///
    /// # Panics
    /// As [`wait`](Condvar::wait).
    #[deprecated(note = "use wait_timeout")]
    pub fn wait_timeout_ms<'a, T: ?Sized>(
        &self,
        guard: MutexGuard<'a, T>,
        ms: u32,
    ) -> LockResult<(MutexGuard<'a, T>, bool)> {
        let ended = self.wait_timeout(guard, Duration::from_millis(ms.into()));
        map(ended, |(guard, result)| (guard, !result.timed_out()))
    }

    /// As [`wait`](Condvar::wait), for `dur` at most, from now on; how long the mutex is waited for then is not limited. Zero lets others have the mutex once.
    ///
    /// Notification and time have one outcome: a waiter whose time is over takes no notification from another.
    ///
    /// # Cancellation
    /// As [`wait`](Condvar::wait).
    ///
    /// # Errors
    /// As [`wait`](Condvar::wait).
    ///
    /// # Panics
    /// As [`wait`](Condvar::wait).
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::sync::{Condvar, Mutex};
    /// use std::time::Duration;
    ///
    /// let (mutex, changed) = (Mutex::new(1), Condvar::new());
    /// let (guard, result) = changed.wait_timeout(mutex.lock().unwrap(), Duration::from_millis(2)).unwrap();
    /// assert!(result.timed_out());
    /// assert_eq!(*guard, 1);
    /// ```
    pub fn wait_timeout<'a, T: ?Sized>(
        &self,
        guard: MutexGuard<'a, T>,
        dur: Duration,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        let (locked, timed_out) = self.wait_until(guard, time::moment().after(dur));
        map(locked, |guard| (guard, WaitTimeoutResult(timed_out)))
    }

    /// As [`wait_while`](Condvar::wait_while), for `dur` at most, from now on. It has timed out only if `condition` is still true then.
    ///
    /// # Cancellation
    /// As [`wait`](Condvar::wait).
    ///
    /// # Errors
    /// As [`wait_while`](Condvar::wait_while).
    ///
    /// # Panics
    /// As [`wait_while`](Condvar::wait_while).
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::sync::{Condvar, Mutex};
    /// use std::time::Duration;
    ///
    /// let (pending, changed) = (Mutex::new(true), Condvar::new());
    /// let limit = Duration::from_millis(2);
    /// let waited = changed.wait_timeout_while(pending.lock().unwrap(), limit, |pending| *pending);
    /// assert!(waited.unwrap().1.timed_out());
    /// ```
    pub fn wait_timeout_while<'a, T: ?Sized, F>(
        &self,
        mut guard: MutexGuard<'a, T>,
        dur: Duration,
        mut condition: F,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)>
    where
        F: FnMut(&mut T) -> bool,
    {
        let deadline = time::moment().after(dur);
        let mut timed_out = false;
        loop {
            if !condition(&mut *guard) {
                return Ok((guard, WaitTimeoutResult(false)));
            }
            if timed_out {
                return Ok((guard, WaitTimeoutResult(true)));
            }
            let locked;
            (locked, timed_out) = self.wait_until(guard, deadline);
            guard = match locked {
                Ok(guard) => guard,
                Err(poisoned) => {
                    let result = WaitTimeoutResult(timed_out);
                    return Err(PoisonError::new((poisoned.into_inner(), result)));
                }
            };
        }
    }

    /// Ends the wait of the one that has waited longest. If nobody waits nothing happens, now or later.
    ///
    /// It does not wait and does not unwind. The mutex need not be locked. A coroutine that notifies nobody again and again lets others
    /// run now and then.
    ///
    /// # Examples
    /// See [`wait`](Condvar::wait).
    #[inline]
    pub fn notify_one(&self) {
        if self.is_waited_for() {
            self.queue.with(|queue| self.signal(queue));
        }
    }

    /// Ends the wait of all that wait now; as [`notify_one`](Condvar::notify_one) otherwise.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::{scope, sync::{Condvar, Mutex}};
    ///
    /// let (open, opened) = (Mutex::new(false), Condvar::new());
    /// scope(|s| {
    ///     for _ in 0..3 {
    ///         s.spawn(|| drop(opened.wait_while(open.lock().unwrap(), |open| !*open)));
    ///     }
    ///     *open.lock().unwrap() = true;
    ///     opened.notify_all();
    /// });
    /// ```
    #[inline]
    pub fn notify_all(&self) {
        if self.is_waited_for() {
            self.queue.with(|queue| {
                queue.wake_all(0, |notified| *notified = Notified::WithAll);
                self.waiting.store(false, Ordering::Relaxed);
            });
        }
    }

    #[inline]
    fn is_waited_for(&self) -> bool {
        // Relaxed: see the module's text.
        let waiting = self.waiting.load(Ordering::Relaxed);
        if !waiting {
            self.tally.count_failure();
        }
        waiting
    }

    /// True: the time was over.
    fn wait_until<'a, T: ?Sized>(
        &self,
        guard: MutexGuard<'a, T>,
        deadline: Moment,
    ) -> (LockResult<MutexGuard<'a, T>>, bool) {
        let mutex = MutexGuard::mutex(&guard);
        // A section that began before its holder panicked is the same after the wait, and poisons at its end: as std's.
        let watch = MutexGuard::watch(&guard);
        let waited = self.queue.wait_and::<Infallible>(
            deadline,
            |_| {
                self.waiting.store(true, Ordering::Relaxed);
                Enter::Wait {
                    queue: 0,
                    place: Place::Back,
                    payload: Notified::Not,
                }
            },
            || MutexGuard::leave(guard),
            |queue, notified, left| self.leave(queue, *notified, left),
        );
        let notified = match waited {
            Waited::Woken(notified) | Waited::TimedOut(notified) => notified,
            Waited::Done(never) => match never {},
        };
        let signal = (notified == Notified::Alone).then(|| Signal(self));
        let locked = map(mutex.lock(), |guard| MutexGuard::come_back(guard, watch));
        core::mem::forget(signal);
        (locked, notified == Notified::Not)
    }

    /// Under the queue's lock: wakes the next, for whom the signal is.
    fn signal(&self, queue: &mut Access<'_, (), Notified>) {
        queue.wake_next(0, |notified| *notified = Notified::Alone);
        self.waiting.store(!queue.is_empty(0), Ordering::Relaxed);
    }

    /// A waiter that is not woken, or unwinds all the same.
    #[cold]
    fn leave(&self, queue: &mut Access<'_, (), Notified>, notified: Notified, left: Left) {
        match left {
            Left::Queue => self.waiting.store(!queue.is_empty(0), Ordering::Relaxed),
            Left::Woken if notified == Notified::Alone => self.signal(queue),
            Left::Woken => {}
        }
    }
}

/// A signal that was given to the caller alone. Dropped, and that is in unwinding, it goes to the next.
struct Signal<'a>(&'a Condvar);

impl Drop for Signal<'_> {
    #[cold]
    fn drop(&mut self) {
        self.0.queue.with(|queue| self.0.signal(queue));
    }
}

/// `change` for a lock's result, poisoned or not.
fn map<A, B>(result: LockResult<A>, change: impl FnOnce(A) -> B) -> LockResult<B> {
    match result {
        Ok(value) => Ok(change(value)),
        Err(poisoned) => Err(PoisonError::new(change(poisoned.into_inner()))),
    }
}

impl core::panic::UnwindSafe for Condvar {}
impl core::panic::RefUnwindSafe for Condvar {}

impl Default for Condvar {
    fn default() -> Condvar {
        Condvar::new()
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condvar").finish_non_exhaustive()
    }
}
