//! The state word of a coroutine. Pure: no pointers, no queues; see `task/README.md` for who may touch what in which
//! state, and `runtime/tests/loom_state.rs` for the model.
//!
//! ```text
//!                     park                 notify
//!   spawn ─▶ ACTIVE ────────▶ PARKED ───────────────▶ ACTIVE          ACTIVE ── finish ──▶ DONE
//!             │  ▲
//!      notify ▼  │ park (the worker queues it again)
//!            NOTIFIED
//! ```
//!
//! ACTIVE is fresh, queued or running: somebody (a queue or a worker) holds the coroutine's one *queue link*. The word does not tell
//! which, since only the link's holder needs to know, and it does: a coroutine without a home is fresh, one in a queue
//! is queued. So beginning a run is no transition, which saves a locked instruction a run (measured: 6 ns of some 60 of a
//! park and unpark); the price is that a wake-up that comes while the coroutine is queued already is remembered, and costs its next park an
//! extra pass through the queue.
//!
//! Beside the lifecycle the word carries two flags: PERMIT, the public `unpark` token, kept until the coroutine's next
//! public `park`; and CANCELLED, set once and never cleared.
//!
//! Every wake-up is a read-modify-write of this word, also one that changes nothing. A notifier stores its news first.
//! Its read-modify-write either precedes the `park` in the word's modification order, and then leaves NOTIFIED, `park` acquires from it,
//! and the coroutine runs again and sees the news; or it follows, finds PARKED, and schedules the coroutine, which sees
//! the news through the queue. The read-modify-write on NOTIFIED is there for the second of two notifiers: `park`
//! must acquire from both.

use crate::atomic::{AtomicU32, Ordering};

const LIFECYCLE: u32 = 0b11;
const ACTIVE: u32 = 0;
const NOTIFIED: u32 = 1;
const PARKED: u32 = 2;
const DONE: u32 = 3;
/// A public `unpark` waits for the next public `park`.
const PERMIT: u32 = 1 << 2;
/// The coroutine shall unwind at its next blocking call.
const CANCELLED: u32 = 1 << 3;

/// The state word.
pub(crate) struct State(AtomicU32);

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
    /// Nothing: it is active and will look again before it parks, or it has finished.
    Nothing,
}

impl State {
    pub(crate) fn new() -> State {
        State(AtomicU32::new(ACTIVE))
    }

    /// Worker, after the switch away from a coroutine that asked to park.
    #[inline]
    pub(crate) fn park(&self) -> Park {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            let (to, outcome) = match word & LIFECYCLE {
                ACTIVE => (PARKED, Park::Parked),
                _ => (ACTIVE, Park::Requeue),
            };
            let next = word & !LIFECYCLE | to;
            // Release: whoever notifies acquires the stack and the header as the coroutine left them.
            // Acquire: a requeued coroutine sees the news of those who notified it.
            match self
                .0
                .compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Relaxed)
            {
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
                PARKED => (ACTIVE, Notify::Schedule),
                DONE => return Notify::Nothing,
                _ => (NOTIFIED, Notify::Nothing),
            };
            let next = word & !LIFECYCLE | to | flag;
            // Release: the news. Acquire: the stack and the header, for whoever runs it next.
            match self
                .0
                .compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => return outcome,
                Err(now) => word = now,
            }
        }
    }

    /// The coroutine itself: takes the public permit, if there is one.
    #[inline]
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
}
