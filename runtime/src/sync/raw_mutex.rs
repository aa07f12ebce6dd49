//! The lock in a [`Mutex`](super::Mutex), without what it protects.
//!
//! # The word
//! ```text
//! LOCKED    somebody holds it
//! WAITING   the queue is not empty
//! WOKEN     one waiter was woken to compete, and has not yet
//! ```
//! LOCKED is taken by a compare-exchange, by anyone. The other bits change under the queue's lock only; and with LOCKED, the holder
//! gives it up by a compare-exchange that looks at them. So:
//!
//! * *A waiter is not forgotten.* It sets WAITING in a compare-exchange that sees LOCKED. The holder's unlock comes after it in the
//!   word's order, finds WAITING, and wakes it, unless somebody is WOKEN. That one comes to compete: it takes LOCKED, and then its unlock
//!   finds WAITING; or it finds LOCKED taken, and clears WOKEN in the exchange that sees it, so that the holder's unlock
//!   wakes the next. If it leaves instead, it wakes the next itself, unless there is a holder.
//! * *WOKEN is set by whoever gives LOCKED up, or finds it given up*: never while there is a holder. So a holder that found no WOKEN
//!   when it came to unlock finds none under the queue's lock, and changes the word alone there.
//! * *A starving waiter is handed the lock.* It goes to the front, and clears WOKEN, in the exchange that sees LOCKED. So the holder's
//!   unlock finds it there: nobody else is woken, who could get in front of it; and LOCKED is not cleared, so nobody barges in between.
//!
//! # Orderings
//! Taking the lock acquires, giving it up releases; whom it is handed to knows by the node's WOKEN what holders did. All other changes are relaxed:
//! they are read-modify-writes, which carry on the last holder's release, and what they tell is ordered by the word itself, or by the queue's lock.
//!
//! # Fairness
//! A lock that is free is anyone's: whoever runs takes it, and goes on without a switch. The waiter that was woken may find it taken again. One that
//! has lost for [`PATIENCE`], or [`LOSSES_MAX`] times, is given the lock by the next unlock (promise 42).

use std::time::Duration;

use crate::atomic::{AtomicU32, Ordering, spin_loop};
use crate::context;
use crate::sync::waiters::{Access, Enter, Guarded, Left, Place, Waited};
use crate::time::{self, Moment};

const LOCKED: u32 = 1;
const WAITING: u32 = 2;
const WOKEN: u32 = 4;

/// After it was woken in vain for the first time, a waiter competes for so long.
const PATIENCE: Duration = Duration::from_micros(500);
/// And so often: where time stands still (a virtual clock), and where it is short.
const LOSSES_MAX: u32 = 16;
/// Looks at a lock that is held on another core, before it is waited for.
const SPINS: u32 = 40;

pub(crate) struct RawMutex {
    word: AtomicU32,
    queue: Guarded<(), Waiter>,
}

/// What a waiter wants, and what it got.
struct Waiter {
    /// It shall be handed the lock, for it has lost too often.
    starving: bool,
    /// The lock is its own.
    handed_over: bool,
}

impl RawMutex {
    pub(crate) const fn new() -> RawMutex {
        RawMutex {
            word: AtomicU32::new(0),
            queue: Guarded::new(()),
        }
    }

    #[inline]
    pub(crate) fn try_lock(&self) -> bool {
        // Acquire: what the last holder did.
        self.word
            .compare_exchange(0, LOCKED, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
            || self.try_lock_contended()
    }

    /// Waiters do not keep anybody from a lock that is free.
    #[cold]
    fn try_lock_contended(&self) -> bool {
        let mut word = self.word.load(Ordering::Relaxed);
        while word & LOCKED == 0 {
            match self.word.compare_exchange_weak(
                word,
                word | LOCKED,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
        false
    }

    /// Waits for the lock; it may unwind, and does not hold the lock then.
    #[inline]
    pub(crate) fn lock(&self) {
        if self
            .word
            .compare_exchange(0, LOCKED, Ordering::Acquire, Ordering::Relaxed)
            .is_err()
        {
            self.lock_slowly();
        }
    }

    #[cold]
    fn lock_slowly(&self) {
        if self.spin() {
            return;
        }
        let mut loser = Loser::new();
        loop {
            // Before the queue's lock: it reads the clock.
            let starving = loser.starves();
            let waited = self.queue.wait(
                Moment::NEVER,
                |_| self.take_or_enter(loser.woken, starving),
                |access, waiter, left| self.leave(access, waiter, left),
            );
            match waited {
                Waited::Woken(waiter) if !waiter.handed_over => loser.woken = true,
                Waited::Woken(_) | Waited::Done(()) => return,
                Waited::TimedOut(_) => unreachable!("there was no deadline"),
            }
        }
    }

    /// A holder on another core may be about to unlock. One on this core is not.
    fn spin(&self) -> bool {
        if context::current_worker().is_some_and(|worker| worker.is_alone()) {
            return self.try_lock_contended();
        }
        for _ in 0..SPINS {
            let word = self.word.load(Ordering::Relaxed);
            if word & LOCKED == 0 && self.try_lock_contended() {
                return true;
            }
            if word & WAITING != 0 {
                return false;
            }
            spin_loop();
        }
        false
    }

    /// Under the queue's lock: takes the lock, or says how to wait for it.
    fn take_or_enter(&self, woken: bool, starving: bool) -> Enter<(), Waiter> {
        let cleared = if woken { WOKEN } else { 0 };
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            let free = word & LOCKED == 0;
            let next = word & !cleared | if free { LOCKED } else { WAITING };
            // Acquire: what the last holder did.
            match self
                .word
                .compare_exchange_weak(word, next, Ordering::Acquire, Ordering::Relaxed)
            {
                Ok(_) if free => return Enter::Done(()),
                Ok(_) => break,
                Err(now) => word = now,
            }
        }
        let place = if woken { Place::Front } else { Place::Back };
        Enter::Wait {
            queue: 0,
            place,
            payload: Waiter {
                starving,
                handed_over: false,
            },
        }
    }

    /// For the holder.
    #[inline]
    pub(crate) fn unlock(&self) {
        // Release: what the holder did.
        if self
            .word
            .compare_exchange(LOCKED, 0, Ordering::Release, Ordering::Relaxed)
            .is_err()
        {
            self.unlock_slowly();
        }
    }

    #[cold]
    fn unlock_slowly(&self) {
        let mut word = self.word.load(Ordering::Relaxed);
        while word & (WAITING | WOKEN) != WAITING {
            match self.word.compare_exchange_weak(
                word,
                word & !LOCKED,
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(now) => word = now,
            }
        }
        self.queue.with(|access| self.pass_on(access));
    }

    /// Under the queue's lock, the holder, when nobody is WOKEN: hands the lock over, or gives it up and wakes the next to compete.
    fn pass_on(&self, access: &mut Access<'_, (), Waiter>) {
        // With LOCKED ours and the queue locked nobody else changes the word: plain stores will do.
        debug_assert_eq!(self.word.load(Ordering::Relaxed) & (LOCKED | WOKEN), LOCKED);
        let Some(starving) = access.first(0).map(|first| first.starving) else {
            // It has left meanwhile.
            return self.word.store(0, Ordering::Release);
        };
        if starving {
            // Relaxed: the wake-up hands on what holders did.
            self.word
                .store(LOCKED | waiting_behind(access), Ordering::Relaxed);
            access.wake_next(0, |waiter| waiter.handed_over = true);
        } else {
            self.word
                .store(WOKEN | waiting_behind(access), Ordering::Release);
            access.wake_next(0, |_| {});
        }
    }

    /// A waiter that unwinds.
    #[cold]
    fn leave(&self, access: &mut Access<'_, (), Waiter>, waiter: &mut Waiter, left: Left) {
        match left {
            Left::Queue if access.is_empty(0) => {
                self.word.fetch_and(!WAITING, Ordering::Relaxed);
            }
            Left::Queue => {}
            Left::Woken if waiter.handed_over => self.pass_on(access),
            Left::Woken => self.leave_competition(access),
        }
    }

    /// Somebody relied on us to compete, and so to look after the others.
    fn leave_competition(&self, access: &mut Access<'_, (), Waiter>) {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            let next_competes = word & LOCKED == 0 && !access.is_empty(0);
            let next = if next_competes {
                WOKEN | waiting_behind(access)
            } else {
                // Nobody waits, or the holder sees to it.
                word & !WOKEN
            };
            match self
                .word
                .compare_exchange_weak(word, next, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => {
                    if next_competes {
                        access.wake_next(0, |_| {});
                    }
                    return;
                }
                Err(now) => word = now,
            }
        }
    }
}

/// What is left of WAITING when the first in the queue is taken out.
fn waiting_behind(access: &Access<'_, (), Waiter>) -> u32 {
    if access.is_last(0) { 0 } else { WAITING }
}

/// A caller that may have been woken in vain.
pub(super) struct Loser {
    pub(super) woken: bool,
    losses: u32,
    since: Option<Moment>,
}

impl Loser {
    pub(super) fn new() -> Loser {
        Loser {
            woken: false,
            losses: 0,
            since: None,
        }
    }

    /// Whether it shall be given the lock, if it does not get it now.
    pub(super) fn starves(&mut self) -> bool {
        if !self.woken {
            return false;
        }
        self.losses += 1;
        let now = time::moment();
        let since = *self.since.get_or_insert(now);
        self.losses >= LOSSES_MAX || now >= since.after(PATIENCE)
    }
}
