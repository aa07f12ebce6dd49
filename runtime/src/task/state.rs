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
//! Beside the lifecycle the word carries flags. PERMIT is the public `unpark` token, kept until the coroutine's next
//! public `park`. WOKEN is the same for wakers: kept until the `block_on` that they belong to takes it. The others are *reasons to look up* when a wait begins or ends: CANCELLED, set once and never
//! cleared; RAISED, one of the coroutine's frames may have been raised; FIRED, its timer may have expired. WITHHELD asks
//! for a further look once nobody unwinds on its thread.
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
/// A frame of the coroutine may have been raised.
const RAISED: u32 = 1 << 4;
/// The coroutine's timer may have expired. Cleared by the next `park` that parks.
const FIRED: u32 = 1 << 5;
/// An interruption was due and could not be thrown.
const WITHHELD: u32 = 1 << 6;
/// The waker of a `block_on` was woken: of the outermost. Those inside have the bits above it, one a level.
const WOKEN: u32 = 1 << 16;
/// Levels of `block_on` that have a bit of their own.
pub(crate) const LEVELS: u32 = 16;

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

/// What a coroutine must look at when a wait begins or ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pending(u32);

impl Pending {
    #[inline]
    pub(crate) fn any(self) -> bool {
        self.0 & (CANCELLED | RAISED | FIRED) != 0
    }

    #[inline]
    pub(crate) fn cancelled(self) -> bool {
        self.0 & CANCELLED != 0
    }

    #[inline]
    pub(crate) fn cancelled_or_raised(self) -> bool {
        self.0 & (CANCELLED | RAISED) != 0
    }

    #[inline]
    pub(crate) fn fired(self) -> bool {
        self.0 & FIRED != 0
    }
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
            // A FIRED that is found ACTIVE was seen before the switch: had it come later, the word would say NOTIFIED.
            let seen = if outcome == Park::Parked { FIRED } else { 0 };
            let next = word & !(LIFECYCLE | seen) | to;
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

    /// Anyone: one of its frames was raised; wakes it.
    pub(crate) fn raise(&self) -> Notify {
        self.notify_with(RAISED)
    }

    /// Anyone: the waker of its `block_on` at that level; kept until that takes it.
    #[inline]
    pub(crate) fn wake_future(&self, level: u32) -> Notify {
        self.notify_with(WOKEN << level)
    }

    /// Its timer, or the end of what withheld an interruption: look up, and wakes it.
    #[inline]
    pub(crate) fn fire(&self) -> Notify {
        self.notify_with(FIRED)
    }

    /// Its worker: a coroutine from which an interruption was withheld is woken to look again.
    pub(crate) fn release_withheld(&self) -> Notify {
        if self.0.load(Ordering::Relaxed) & WITHHELD == 0 {
            return Notify::Nothing;
        }
        self.0.fetch_and(!WITHHELD, Ordering::Relaxed);
        self.fire()
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
        self.take(PERMIT)
    }

    /// The coroutine itself: whether the waker of its `block_on` at that level was woken since it asked last.
    #[inline]
    pub(crate) fn take_woken(&self, level: u32) -> bool {
        self.take(WOKEN << level)
    }

    /// The coroutine itself: as if that waker had just been woken.
    pub(crate) fn put_back_woken(&self, level: u32) {
        self.0.fetch_or(WOKEN << level, Ordering::Relaxed);
    }

    #[inline]
    fn take(&self, flag: u32) -> bool {
        self.0.load(Ordering::Relaxed) & flag != 0
            && self.0.fetch_and(!flag, Ordering::AcqRel) & flag != 0
    }

    /// The coroutine itself: what there is to look at. A flag that is missed here comes with a wake-up, whose `park`
    /// acquires it.
    #[inline]
    pub(crate) fn pending(&self) -> Pending {
        Pending(self.0.load(Ordering::Relaxed))
    }

    /// Whether the coroutine shall unwind.
    #[inline]
    pub(crate) fn is_cancelled(&self) -> bool {
        self.pending().cancelled()
    }

    /// The coroutine itself: before it looks at its frames, since one that is raised later sets the flag again.
    pub(crate) fn lower(&self) {
        if self.0.load(Ordering::Relaxed) & RAISED != 0 {
            // Acquire: the raised frame, in what the coroutine looks at next.
            self.0.fetch_and(!RAISED, Ordering::AcqRel);
        }
    }

    /// The coroutine itself: a frame that is due stays so, or has come back into sight: it must look at the next wait.
    pub(crate) fn stay_raised(&self) {
        self.0.fetch_or(RAISED, Ordering::Relaxed);
    }

    /// The coroutine itself: an interruption is due and cannot be thrown now.
    pub(crate) fn withhold(&self) {
        self.0.fetch_or(WITHHELD, Ordering::Relaxed);
    }

    /// Whether a copy of the word says that its coroutine is fresh, queued or runs. For the watchdog, which reads copies.
    pub(crate) fn is_ready(copy: u32) -> bool {
        matches!(copy & LIFECYCLE, ACTIVE | NOTIFIED)
    }

    /// Worker, after the last switch away: nobody will queue it again.
    #[inline]
    pub(crate) fn finish(&self) {
        // A plain store may overwrite a notifier's NOTIFIED or flag: none of them means anything any more.
        self.0.store(DONE, Ordering::Release);
    }
}
