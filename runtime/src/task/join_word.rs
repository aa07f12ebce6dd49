//! The join word: how a result gets from a finished coroutine to whoever waits for it. Pure; the model is
//! `runtime/tests/loom_join.rs`.
//!
//! ```text
//! bits 63..4  the waiter: the address of the joiner's record, or 0
//! bit 0       RESULT    the result is stored; the coroutine may still be on its stack
//! bit 1       DONE      the coroutine is off its stack, which is back in the pool
//! bit 2       DETACHED  the handle is gone
//! ```
//!
//! The coroutine sets RESULT on its own stack; its worker sets DONE after the last switch. Whoever comes second of
//! RESULT and DETACHED owns the result: the coroutine drops it on its stack (law 11), or the handle's dropper does.
//!
//! **The waiter is borrowed, not counted** (two locked instructions less a join). From RESULT on the word's waiter is
//! frozen: a joiner that is not in it, or wants out, waits for DONE, which is a few hundred instructions away on the worker that
//! set RESULT. A joiner that is in it does not return before DONE either. So the worker may use the waiter until it sets DONE: it
//! notifies first, sets DONE second, and queues the joiner (whose queue link it then owns) third.

use crate::atomic::{AtomicUsize, Ordering};

const RESULT: usize = 1;
const DONE: usize = 2;
const DETACHED: usize = 4;
const FLAGS: usize = 15;

pub(crate) struct JoinWord(AtomicUsize);

/// What a joiner has to do.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Join {
    /// It stands in the word: park, then ask again.
    Wait,
    /// RESULT is set and DONE comes at once: spin for it.
    Spin,
    /// The result may be taken.
    Done,
}

impl Join {
    #[inline]
    fn of(word: usize) -> Join {
        match word & (RESULT | DONE) {
            0 => Join::Wait,
            RESULT => Join::Spin,
            _ => Join::Done,
        }
    }
}

impl JoinWord {
    pub(crate) fn new() -> JoinWord {
        JoinWord(AtomicUsize::new(0))
    }

    /// The coroutine: its result is stored. True: the handle is gone, so the coroutine must drop the result.
    #[inline]
    pub(crate) fn publish_result(&self) -> bool {
        // Release: the result, to the handle's dropper. Acquire: the waiter's record.
        // An addition, since the bit is set once: `fetch_or` whose value is used compiles to a loop.
        self.0.fetch_add(RESULT, Ordering::AcqRel) & DETACHED != 0
    }

    /// The worker, between RESULT and DONE: the address of who waits, or 0.
    #[inline]
    pub(crate) fn waiter(&self) -> usize {
        self.0.load(Ordering::Acquire) & !FLAGS
    }

    /// The worker, after it has notified the waiter.
    #[inline]
    pub(crate) fn set_done(&self) {
        // A plain store: from RESULT on only DETACHED may be set by others, and means nothing any more.
        // Release: the stack is back, and the waiter will not be touched again.
        self.0.store(RESULT | DONE, Ordering::Release);
    }

    /// The joiner: how far it is.
    #[inline]
    pub(crate) fn look(&self) -> Join {
        Join::of(self.0.load(Ordering::Acquire))
    }

    /// The joiner: leaves the address of its record, to be notified.
    #[inline]
    pub(crate) fn announce(&self, me: usize) -> Join {
        debug_assert_eq!(me & FLAGS, 0, "records are 16-byte aligned");
        // A handle is not cloned, so nobody else stands there.
        match self
            .0
            .compare_exchange(0, me, Ordering::AcqRel, Ordering::Acquire)
        {
            Ok(_) => Join::Wait,
            Err(word) => Join::of(word),
        }
    }

    /// The joiner that stands in the word and unwinds: takes itself out. False: RESULT is set, and it must spin for DONE.
    pub(crate) fn retract(&self) -> bool {
        self.0
            .try_update(Ordering::AcqRel, Ordering::Acquire, |word| {
                (word & RESULT == 0).then_some(word & FLAGS)
            })
            .is_ok()
    }

    /// The handle's dropper. True: the result is stored and is the dropper's to drop.
    #[inline]
    pub(crate) fn detach(&self) -> bool {
        self.0.fetch_add(DETACHED, Ordering::AcqRel) & RESULT != 0
    }
}
