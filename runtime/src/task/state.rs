//! The state word of a coroutine. Pure: no pointers, no queues; see `task/README.md` for who may touch what in which
//! state, and `runtime/tests/loom_state.rs` for the model.
//!
//! ```text
//!            begin            park                notify
//!  FRESH ───────────▶ RUNNING ──────▶ PARKED ────────────────▶ QUEUED ──begin──▶ RUNNING
//!                      │   ▲ └───────────────── finish ─────▶ DONE
//!               notify │   │ (yield leaves the word alone)
//!                      ▼   │
//!                    NOTIFIED ──park──▶ QUEUED
//! ```
//!
//! Beside the lifecycle the word carries two flags: PERMIT, the public `unpark` token, kept until the coroutine's next
//! public `park`; and CANCELLED, set once and never cleared.
//!
//! Every wake-up is a read-modify-write of this word, also one that changes nothing (on QUEUED, NOTIFIED or FRESH).
//! That is what makes "store the news, then notify" and "begin, then look for news" meet: `begin` is a
//! read-modify-write too, so of the two one comes first in the word's modification order. Either `begin` reads
//! from the notifier (and sees its news), or the notifier sees RUNNING and leaves NOTIFIED behind.

use crate::atomic::{AtomicU32, Ordering};

const LIFECYCLE: u32 = 0b111;
const FRESH: u32 = 0;
const QUEUED: u32 = 1;
const RUNNING: u32 = 2;
const NOTIFIED: u32 = 3;
const PARKED: u32 = 4;
const DONE: u32 = 5;
/// A public `unpark` waits for the next public `park`.
const PERMIT: u32 = 1 << 3;
/// The coroutine shall unwind at its next blocking call.
const CANCELLED: u32 = 1 << 4;

/// The state word.
pub(crate) struct State(AtomicU32);

/// What the worker that took a coroutine from a queue must do.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begin {
    /// First run: give it a stack and enter it in the live list.
    Start,
    /// Resume its stack.
    Resume,
}

/// What the worker must do with a coroutine that has been switched away to park.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Park {
    /// It is parked: let go of it. The queue link belongs to whoever notifies it next.
    Parked,
    /// It was notified meanwhile: queue it again.
    Requeue,
}

/// What the caller of a wake-up must do.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notify {
    /// The caller took it out of PARKED and owns its queue link: it must queue it.
    Schedule,
    /// Nothing: it runs, is queued already, has not started, or has finished.
    Nothing,
}

impl State {
    pub(crate) fn new() -> State {
        State(AtomicU32::new(FRESH))
    }

    /// Worker, on a coroutine out of a queue: it runs from now on. After a plain yield the word says RUNNING already.
    #[inline]
    pub(crate) fn begin(&self) -> Begin {
        // Only the holder of the queue link leaves FRESH and QUEUED, so the lifecycle read here cannot change before
        // the addition; flags may be set in between and survive it.
        match self.0.load(Ordering::Relaxed) & LIFECYCLE {
            FRESH => {
                // Acquire: see what notifiers stored before they found FRESH.
                self.0.fetch_add(RUNNING - FRESH, Ordering::AcqRel);
                Begin::Start
            }
            QUEUED => {
                self.0.fetch_add(RUNNING - QUEUED, Ordering::AcqRel);
                Begin::Resume
            }
            _ => Begin::Resume,
        }
    }

    /// Worker, after the switch away from a coroutine that asked to park.
    #[inline]
    pub(crate) fn park(&self) -> Park {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            let (to, outcome) = match word & LIFECYCLE {
                RUNNING => (PARKED, Park::Parked),
                _ => (QUEUED, Park::Requeue),
            };
            let next = word & !LIFECYCLE | to;
            // Release: whoever notifies acquires the stack and the header as the coroutine left them.
            match self.0.compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return outcome,
                Err(now) => word = now,
            }
        }
    }

    /// Anyone: an internal wake-up. Coalesces.
    #[inline]
    pub(crate) fn notify(&self) -> Notify {
        self.notify_with(0)
    }

    /// Anyone: the public `unpark`; keeps the permit for the next public `park`.
    pub(crate) fn unpark(&self) -> Notify {
        self.notify_with(PERMIT)
    }

    /// Anyone: asks the coroutine to unwind, and wakes it.
    pub(crate) fn cancel(&self) -> Notify {
        self.notify_with(CANCELLED)
    }

    #[inline]
    fn notify_with(&self, flag: u32) -> Notify {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            let (to, outcome) = match word & LIFECYCLE {
                PARKED => (QUEUED, Notify::Schedule),
                RUNNING => (NOTIFIED, Notify::Nothing),
                DONE => return Notify::Nothing,
                same => (same, Notify::Nothing),
            };
            let next = word & !LIFECYCLE | to | flag;
            // AcqRel, also where nothing changes: see the module's text.
            match self.0.compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return outcome,
                Err(now) => word = now,
            }
        }
    }

    /// The coroutine itself: takes the public permit, if there is one.
    pub(crate) fn take_permit(&self) -> bool {
        self.0.load(Ordering::Relaxed) & PERMIT != 0
            && self.0.fetch_and(!PERMIT, Ordering::AcqRel) & PERMIT != 0
    }

    /// Whether the coroutine shall unwind.
    #[inline]
    pub(crate) fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed) & CANCELLED != 0
    }

    /// Worker, after the last switch away: nobody will queue it again.
    #[inline]
    pub(crate) fn finish(&self) {
        // A plain store may overwrite a notifier's NOTIFIED or flag: none of them means anything any more.
        self.0.store(DONE, Ordering::Release);
    }

    /// Whether it has never run. A hint unless the caller holds the queue link.
    #[inline]
    pub(crate) fn is_fresh(&self) -> bool {
        self.0.load(Ordering::Relaxed) & LIFECYCLE == FRESH
    }
}
