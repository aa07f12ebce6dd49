//! `Notify`: an event to wait for.
//!
//! # Orderings
//! A notification releases what the notifier did: in the word, for those who find the permit there or a later round, and by the node's WOKEN for whom it wakes.
//! Who waits acquires that. WAITING guards nothing: it is changed, relaxed, under the queue's lock, by read-modify-writes that
//! carry on the releases before them.

use core::fmt;
use std::time::Duration;

use crate::atomic::{AtomicU64, Ordering};
use crate::sync::tally::Tally;
use crate::sync::waiters::{Access, Enter, Guarded, Left, Place, Waited};
use crate::time::{self, Moment};

/// There is a permit, and nobody waits.
const PERMIT: u64 = 1;
/// The queue is not empty. It changes under the queue's lock only.
const WAITING: u64 = 2;
/// Above these: how often `notify_waiters` was called.
const ROUND: u64 = 4;

/// Tells one who waits, or all of them, that something has happened; as tokio has it.
///
/// It carries no data: what has happened is found elsewhere, and to look for that is what one is woken for. Coroutines and plain threads wait
/// for it and notify it.
///
/// * [`notify_one`](Notify::notify_one) wakes whoever has waited longest. If nobody waits it keeps one *permit*, and the next who comes does
///   not wait. Permits do not add up, so one who was notified looks for all that may have happened.
/// * [`notify_waiters`](Notify::notify_waiters) wakes all who wait now, and keeps nothing for later ones. So whoever looks for something
///   before it waits, and is told by `notify_waiters`, must begin with [`notified`](Notify::notified).
///
/// # Examples
/// A queue with one reader:
/// ```
/// use std::{collections::VecDeque, sync::Arc};
/// use withy_runtime::{spawn, sync::{Mutex, Notify}};
///
/// #[derive(Default)]
/// struct Queue {
///     values: Mutex<VecDeque<u32>>,
///     grown: Notify,
/// }
///
/// impl Queue {
///     fn push(&self, value: u32) {
///         self.values.lock().unwrap().push_back(value);
///         self.grown.notify_one();
///     }
///
///     fn pop(&self) -> u32 {
///         loop {
///             if let Some(value) = self.values.lock().unwrap().pop_front() {
///                 return value;
///             }
///             self.grown.wait();
///         }
///     }
/// }
///
/// let queue = Arc::new(Queue::default());
/// let reader = spawn({
///     let queue = queue.clone();
///     move || (0..3).map(|_| queue.pop()).sum::<u32>()
/// });
/// (1..=3).for_each(|value| queue.push(value));
/// assert_eq!(reader.join().unwrap(), 6);
/// ```
pub struct Notify {
    word: AtomicU64,
    tally: Tally,
    queue: Guarded<(), Waiter>,
}

/// A waiter, and whether it was woken by `notify_one`: then it owes that to another one if it unwinds.
struct Waiter {
    by_one: bool,
}

/// A wait that was announced: each [`notify_waiters`](Notify::notify_waiters) since counts. Made by [`Notify::notified`].
///
/// To drop it is nothing: it has no place in the queue before it waits, and takes no permit.
#[must_use = "nothing waits unless `wait` is called"]
pub struct Notified<'a> {
    notify: &'a Notify,
    round: u64,
}

impl Notify {
    /// An event of which nobody was notified yet.
    #[must_use]
    pub const fn new() -> Notify {
        Notify {
            word: AtomicU64::new(0),
            tally: Tally::new(),
            queue: Guarded::new(()),
        }
    }

    /// Waits until it is notified: takes the permit if there is one; otherwise it queues up for the next
    /// [`notify_one`](Notify::notify_one) and [`notify_waiters`](Notify::notify_waiters). It does not return for no reason.
    ///
    /// # Cancellation
    /// A blocking call: it unwinds if the coroutine is cancelled, or a [`timeout`](crate::timeout) around it elapses. A `notify_one` that had
    /// reached it goes to the next who waits, or is kept.
    ///
    /// # Panics
    /// Inside [`no_park`](crate::no_park), if it would have to wait.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::{spawn, sync::Notify};
    ///
    /// static DONE: Notify = Notify::new();
    /// spawn(|| DONE.notify_one());
    /// DONE.wait();
    /// ```
    #[inline]
    pub fn wait(&self) {
        self.notified().wait();
    }

    /// [`wait`](Notify::wait) for `limit` at most. True: it was notified. With zero it takes a permit that is there; a limit that
    /// ends more than 500 years from now is none.
    ///
    /// # Cancellation
    /// As [`wait`](Notify::wait).
    ///
    /// # Panics
    /// As [`wait`](Notify::wait).
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use withy_runtime::sync::Notify;
    ///
    /// let event = Notify::new();
    /// assert!(!event.wait_timeout(Duration::from_millis(2)));
    /// event.notify_one();
    /// assert!(event.wait_timeout(Duration::ZERO));
    /// ```
    #[inline]
    pub fn wait_timeout(&self, limit: Duration) -> bool {
        self.notified().wait_timeout(limit)
    }

    /// Announces a wait, to look at something before it: no [`notify_waiters`](Notify::notify_waiters) between this and
    /// [`Notified::wait`] is missed.
    ///
    /// # Examples
    /// ```
    /// use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
    /// use withy_runtime::{scope, sync::Notify};
    ///
    /// let (ready, event) = (AtomicBool::new(false), Notify::new());
    /// scope(|s| {
    ///     for _ in 0..3 {
    ///         s.spawn(|| {
    ///             let notified = event.notified();
    ///             if !ready.load(SeqCst) {
    ///                 notified.wait();
    ///             }
    ///         });
    ///     }
    ///     ready.store(true, SeqCst);
    ///     event.notify_waiters();
    /// });
    /// ```
    #[inline]
    pub fn notified(&self) -> Notified<'_> {
        // Acquire: what came before the last round.
        let word = self.word.load(Ordering::Acquire);
        Notified {
            notify: self,
            round: word / ROUND,
        }
    }

    /// Wakes whoever has waited longest, or keeps a permit if nobody waits. What the caller did before is seen by who is woken, also
    /// when there was a permit already.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use withy_runtime::sync::Notify;
    ///
    /// let event = Notify::new();
    /// event.notify_one();
    /// event.notify_one(); // the permit is there already
    /// event.wait();
    /// assert!(!event.wait_timeout(Duration::ZERO));
    /// ```
    #[inline]
    pub fn notify_one(&self) {
        let mut word = self.word.load(Ordering::Relaxed);
        while word & WAITING == 0 {
            // A write even if there is a permit, so that whoever takes it sees what we did. Release: that.
            match self.word.compare_exchange(
                word,
                word | PERMIT,
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(now) => word = now,
            }
        }
        self.notify_first();
    }

    #[cold]
    fn notify_first(&self) {
        self.queue.with(|access| self.pass_on(access));
    }

    /// Wakes all who wait now, be it in [`wait`](Notify::wait) or since [`notified`](Notify::notified). Nothing is kept for those who come
    /// later, and a permit that is there stays.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use withy_runtime::sync::Notify;
    ///
    /// let event = Notify::new();
    /// let notified = event.notified();
    /// event.notify_waiters();
    /// notified.wait();
    /// assert!(!event.wait_timeout(Duration::ZERO));
    /// ```
    #[inline]
    pub fn notify_waiters(&self) {
        let mut word = self.word.load(Ordering::Relaxed);
        while word & WAITING == 0 {
            // Release: what the caller did, for those who announced themselves. The count wraps after 2^62 calls.
            match self.word.compare_exchange(
                word,
                word.wrapping_add(ROUND),
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(now) => word = now,
            }
        }
        self.notify_all();
    }

    #[cold]
    fn notify_all(&self) {
        self.queue.with(|access| {
            self.word.fetch_add(ROUND, Ordering::Release);
            self.word.fetch_and(!WAITING, Ordering::Relaxed);
            access.wake_all(0, |_| {});
        });
    }

    /// Under the queue's lock: wakes the first, or keeps a permit.
    fn pass_on(&self, access: &mut Access<'_, (), Waiter>) {
        if access.wake_next(0, |waiter| waiter.by_one = true).is_none() {
            // Release: as in `notify_one`. Nobody waits, so WAITING is not set.
            self.word.fetch_or(PERMIT, Ordering::Release);
        } else if access.is_empty(0) {
            self.word.fetch_and(!WAITING, Ordering::Relaxed);
        }
    }

    /// True: it was notified.
    #[inline]
    fn wait_since(&self, round: u64, deadline: impl FnOnce() -> Moment) -> bool {
        self.tally.count();
        let mut word = self.word.load(Ordering::Acquire);
        while word / ROUND == round && word & PERMIT != 0 {
            // Acquire: what was done before the notification.
            match self.word.compare_exchange(
                word,
                word & !PERMIT,
                Ordering::Acquire,
                Ordering::Acquire,
            ) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
        word / ROUND != round || self.wait_slowly(round, deadline())
    }

    #[cold]
    fn wait_slowly(&self, round: u64, deadline: Moment) -> bool {
        let waited = self.queue.wait(
            deadline,
            |_| self.take_or_enter(round),
            |access, waiter, left| self.leave(access, waiter, left),
        );
        !matches!(waited, Waited::TimedOut(_))
    }

    /// Under the queue's lock.
    fn take_or_enter(&self, round: u64) -> Enter<(), Waiter> {
        let mut word = self.word.load(Ordering::Acquire);
        loop {
            if word / ROUND != round {
                return Enter::Done(());
            }
            let permit = word & PERMIT != 0;
            let next = if permit {
                word & !PERMIT
            } else {
                word | WAITING
            };
            // Acquire: as in `wait_since`.
            match self
                .word
                .compare_exchange_weak(word, next, Ordering::Acquire, Ordering::Acquire)
            {
                Ok(_) if permit => return Enter::Done(()),
                Ok(_) => break,
                Err(now) => word = now,
            }
        }
        Enter::Wait {
            queue: 0,
            place: Place::Back,
            payload: Waiter { by_one: false },
        }
    }

    /// A waiter whose time is over, or that unwinds.
    #[cold]
    fn leave(&self, access: &mut Access<'_, (), Waiter>, waiter: &mut Waiter, left: Left) {
        match left {
            Left::Queue if access.is_empty(0) => {
                self.word.fetch_and(!WAITING, Ordering::Relaxed);
            }
            Left::Woken if waiter.by_one => self.pass_on(access),
            Left::Queue | Left::Woken => {}
        }
    }
}

impl Notified<'_> {
    /// Waits as [`Notify::wait`]; or not at all, if there was a [`notify_waiters`](Notify::notify_waiters) since this was made. A permit
    /// stays where it is then.
    ///
    /// # Cancellation
    /// As [`Notify::wait`].
    ///
    /// # Panics
    /// As [`Notify::wait`].
    #[inline]
    pub fn wait(self) {
        self.notify.wait_since(self.round, || Moment::NEVER);
    }

    /// [`wait`](Notified::wait) for `limit` at most. True: it was notified.
    ///
    /// # Cancellation
    /// As [`Notify::wait`].
    ///
    /// # Panics
    /// As [`Notify::wait`].
    #[inline]
    pub fn wait_timeout(self, limit: Duration) -> bool {
        self.wait_until(|| time::moment().after(limit))
    }

    /// The deadline is asked for if it has to wait.
    #[inline]
    pub(super) fn wait_until(self, deadline: impl FnOnce() -> Moment) -> bool {
        self.notify.wait_since(self.round, deadline)
    }
}

impl core::panic::UnwindSafe for Notify {}
impl core::panic::RefUnwindSafe for Notify {}

impl Default for Notify {
    fn default() -> Notify {
        Notify::new()
    }
}

impl fmt::Debug for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = self.word.load(Ordering::Relaxed);
        f.debug_struct("Notify")
            .field("permit", &(word & PERMIT != 0))
            .field("waiting", &(word & WAITING != 0))
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Notified<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notified").finish_non_exhaustive()
    }
}
