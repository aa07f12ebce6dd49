//! The permits of a [`Semaphore`](super::Semaphore), without their guards.
//!
//! # The word
//! ```text
//!  63                                2         1        0
//!  ├──────── permits that are free ──┤ WAITING │ CLOSED │
//! ```
//! | part | what it says | who changes it |
//! | --- | --- | --- |
//! | permits | so many may be taken, by the first in the queue only if there is one | anyone, by a compare-exchange |
//! | WAITING | the queue is not empty | the holder of the queue's lock |
//! | CLOSED | nothing is taken any more; stays | the holder of the queue's lock |
//!
//! Whenever the queue's lock is free and nobody is on the way to it, the first in the queue wants more than there is.
//!
//! * *A newcomer does not overtake*: it takes in an exchange that sees no WAITING. So what comes back while somebody waits
//!   adds up until it is enough for the first, however many want less (promise 29 and the fairness that `Semaphore` states).
//! * *A waiter is not forgotten.* It sets WAITING in an exchange that sees too few permits. Whoever adds some later does so
//!   in an exchange that finds WAITING, and comes under the lock to give the first ones theirs ([`grant`](RawSemaphore::grant)).
//! * *A waiter that leaves* hands back what it was given; and if it leaves the queue, the next may want less, so that it is looked
//!   at anew.
//!
//! What was done before permits were released is seen by whoever takes them: each change of the word is a
//! read-modify-write, so each belongs to the release sequences of those before it. Who takes them for a waiter acquires, too, and passes it on by
//! the node (`waiters/mod.rs`).

use crate::atomic::{AtomicUsize, Ordering};
use crate::sync::waiters::{Access, Enter, Guarded, Left, Place, Waited};
use crate::time::Moment;

const CLOSED: usize = 1;
const WAITING: usize = 2;
const SHIFT: u32 = 2;

pub(crate) struct RawSemaphore {
    word: AtomicUsize,
    queue: Guarded<(), Waiter>,
}

/// What a waiter wants, and whether it got it. One that is woken without was woken by `close`.
struct Waiter {
    wanted: usize,
    granted: bool,
}

/// Why nothing was taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    /// There are too few, or others wait; or there were, until the deadline.
    NoPermits,
    Closed,
}

impl RawSemaphore {
    /// A bit is to spare, so that no sum of two numbers of permits is more than the word can hold.
    pub(crate) const PERMITS_MAX: usize = usize::MAX >> 3;

    /// `permits` is at most `PERMITS_MAX`.
    pub(crate) const fn new(permits: usize) -> RawSemaphore {
        RawSemaphore {
            word: AtomicUsize::new(permits << SHIFT),
            queue: Guarded::new(()),
        }
    }

    pub(crate) fn available(&self) -> usize {
        self.word.load(Ordering::Acquire) >> SHIFT
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.word.load(Ordering::Acquire) & CLOSED != 0
    }

    pub(crate) fn is_waited_for(&self) -> bool {
        self.word.load(Ordering::Relaxed) & WAITING != 0
    }

    #[inline]
    pub(crate) fn try_acquire(&self, wanted: usize) -> Result<(), Refusal> {
        // Acquire: what was done before a close.
        let mut word = self.word.load(Ordering::Acquire);
        loop {
            let next = without(word, wanted)?;
            // Acquire: what was done before the permits were released.
            match self
                .word
                .compare_exchange(word, next, Ordering::Acquire, Ordering::Acquire)
            {
                Ok(_) => return Ok(()),
                Err(now) => word = now,
            }
        }
    }

    /// Waits for its turn; it may unwind, and has nothing then.
    #[cold]
    pub(crate) fn acquire_slowly(&self, wanted: usize, deadline: Moment) -> Result<(), Refusal> {
        let waited = self.queue.wait(
            deadline,
            |_| self.take_or_enter(wanted),
            |access, waiter, left| self.leave(access, waiter, left),
        );
        match waited {
            Waited::Done(outcome) => outcome,
            Waited::Woken(waiter) if waiter.granted => Ok(()),
            Waited::Woken(_) => Err(Refusal::Closed),
            Waited::TimedOut(_) => Err(Refusal::NoPermits),
        }
    }

    /// Under the queue's lock.
    fn take_or_enter(&self, wanted: usize) -> Enter<Result<(), Refusal>, Waiter> {
        let mut word = self.word.load(Ordering::Acquire);
        loop {
            let taken = without(word, wanted);
            let next = match taken {
                Ok(next) => next,
                Err(Refusal::NoPermits) => word | WAITING,
                Err(Refusal::Closed) => return Enter::Done(taken.map(drop)),
            };
            // Acquire: as in `try_acquire`.
            match self
                .word
                .compare_exchange_weak(word, next, Ordering::Acquire, Ordering::Acquire)
            {
                Ok(_) if taken.is_ok() => return Enter::Done(Ok(())),
                Ok(_) => break,
                Err(now) => word = now,
            }
        }
        Enter::Wait {
            queue: 0,
            place: Place::Back,
            payload: Waiter {
                wanted,
                granted: false,
            },
        }
    }

    /// Gives back what was taken. Beyond `PERMITS_MAX`, which takes permits that were added meanwhile, the rest is lost: it is called
    /// by destructors, and must not panic.
    #[inline]
    pub(crate) fn release(&self, count: usize) {
        if self.put(|free| Some(free.saturating_add(count).min(RawSemaphore::PERMITS_MAX)))
            == Ok(true)
        {
            self.grant_locked();
        }
    }

    /// False: there would be more than `PERMITS_MAX`, so nothing was added.
    pub(crate) fn add(&self, count: usize) -> bool {
        let sum = |free: usize| {
            free.checked_add(count)
                .filter(|&sum| sum <= RawSemaphore::PERMITS_MAX)
        };
        match self.put(sum) {
            Ok(waiting) => {
                if waiting {
                    self.grant_locked();
                }
                true
            }
            Err(Full) => false,
        }
    }

    /// Takes up to `count` of those that are free out of the world; says how many.
    pub(crate) fn forget(&self, count: usize) -> usize {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            let forgotten = count.min(word >> SHIFT);
            let next = word - (forgotten << SHIFT);
            // Relaxed: nobody learns anything by it, and it carries on the releases of those before.
            match self
                .word
                .compare_exchange_weak(word, next, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return forgotten,
                Err(now) => word = now,
            }
        }
    }

    /// From now on nothing is taken. Those who wait are told.
    pub(crate) fn close(&self) {
        self.queue.with(|access| {
            // Release: what was done before, to those who find it closed.
            self.word.fetch_or(CLOSED, Ordering::Release);
            self.word.fetch_and(!WAITING, Ordering::Relaxed);
            access.wake_all(0, |_| {});
        });
    }

    /// Makes the free permits what `sum` says they are with some more. Whether somebody waits: then `grant` has to follow.
    #[inline]
    fn put(&self, sum: impl Fn(usize) -> Option<usize>) -> Result<bool, Full> {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            let free = sum(word >> SHIFT).ok_or(Full)?;
            let next = free << SHIFT | word & (WAITING | CLOSED);
            // Release: what was done under the permits.
            match self
                .word
                .compare_exchange(word, next, Ordering::Release, Ordering::Relaxed)
            {
                Ok(_) => return Ok(word & WAITING != 0),
                Err(now) => word = now,
            }
        }
    }

    #[cold]
    fn grant_locked(&self) {
        self.queue.with(|access| self.grant(access));
    }

    /// Gives to those who wait, in turn, for as long as there is enough for the first.
    fn grant(&self, access: &mut Access<'_, (), Waiter>) {
        while let Some(wanted) = access.first(0).map(|first| first.wanted) {
            if !self.take_for_first(wanted, access.is_last(0)) {
                return;
            }
            access.wake_next(0, |waiter| waiter.granted = true);
        }
    }

    /// Under the queue's lock. False: there is too little.
    fn take_for_first(&self, wanted: usize, is_last: bool) -> bool {
        let waiting = if is_last { WAITING } else { 0 };
        let mut word = self.word.load(Ordering::Relaxed);
        while word >> SHIFT >= wanted {
            let next = (word - (wanted << SHIFT)) & !waiting;
            // Acquire: as in `try_acquire`; the waiter sees it by its node.
            match self
                .word
                .compare_exchange_weak(word, next, Ordering::Acquire, Ordering::Relaxed)
            {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
        false
    }

    /// A waiter whose time is over, or that unwinds.
    #[cold]
    fn leave(&self, access: &mut Access<'_, (), Waiter>, waiter: &mut Waiter, left: Left) {
        match left {
            Left::Queue if access.is_empty(0) => {
                self.word.fetch_and(!WAITING, Ordering::Relaxed);
            }
            // It may have been the first, and the next one want less.
            Left::Queue => self.grant(access),
            Left::Woken if waiter.granted => {
                let most = RawSemaphore::PERMITS_MAX;
                let _ = self.put(|free| Some(free.saturating_add(waiter.wanted).min(most)));
                self.grant(access);
            }
            // By `close`.
            Left::Woken => {}
        }
    }
}

/// There would be more permits than there may be.
#[derive(PartialEq, Eq)]
struct Full;

/// The word when `wanted` permits are taken from it.
#[inline]
fn without(word: usize, wanted: usize) -> Result<usize, Refusal> {
    if word & CLOSED != 0 {
        return Err(Refusal::Closed);
    }
    // None at all can be had at any time.
    if wanted != 0 && (word & WAITING != 0 || word >> SHIFT < wanted) {
        return Err(Refusal::NoPermits);
    }
    Ok(word - (wanted << SHIFT))
}
