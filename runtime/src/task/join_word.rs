//! The join word: how a result gets from a finished coroutine to whoever waits for it. Pure; the model is
//! `runtime/tests/loom_join.rs`.
//!
//! ```text
//! bits 63..4  the waiter: the address of the joiner's record, or of a future's waker, or 0
//! bit 0       RESULT    the result is stored; the coroutine may still be on its stack
//! bit 1       DONE      the coroutine is off its stack, which is back in the pool
//! bit 2       DETACHED  the handle is gone
//! bit 3       AWAITED   the waiter is a future: its address is that of a waker
//! ```
//!
//! The coroutine sets RESULT on its own stack; its worker sets DONE after the last switch. Whoever comes second of
//! RESULT and DETACHED owns the result: the coroutine drops it on its stack (law 11), or the handle's dropper does.
//!
//! **The waiter is borrowed, not counted** (two locked instructions less a join). From RESULT on the word's waiter is
//! frozen: a joiner that is not in it, or wants out, waits for DONE, which is a few hundred instructions away on the worker that
//! set RESULT. A joiner that is in it does not return before DONE either. So the worker may use the waiter until it sets DONE: it
//! notifies first, sets DONE second, and queues the joiner (whose queue link it then owns) third.
//!
//! **A future's waker is foreign code, and owned by whoever takes it out**: the future, by `retract`, until RESULT; from then
//! on the coroutine, which wakes it on its own stack. The future takes the result after RESULT, and neither waits nor spins for DONE:
//! between the two there is that foreign code.

use crate::atomic::{AtomicUsize, Ordering};

const RESULT: usize = 1;
const DONE: usize = 2;
const DETACHED: usize = 4;
const AWAITED: usize = 8;
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

/// What a coroutine has to do whose result is stored.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Published {
    /// Nothing: the result is the handle's.
    Kept,
    /// The handle is gone: it must drop the result.
    Detached,
    /// A future waits: it must wake the waker at this address, which is its own now.
    Awaited(usize),
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

    /// The coroutine: its result is stored.
    #[inline]
    pub(crate) fn publish_result(&self) -> Published {
        // Release: the result, to the handle's dropper. Acquire: the waiter's record.
        // An addition, since the bit is set once: `fetch_or` whose value is used compiles to a loop.
        let word = self.0.fetch_add(RESULT, Ordering::AcqRel);
        if word & (DETACHED | AWAITED) == 0 {
            return Published::Kept;
        }
        self.published(word)
    }

    #[cold]
    fn published(&self, word: usize) -> Published {
        if word & DETACHED != 0 {
            return Published::Detached;
        }
        // The worker shall not find it. Relaxed: it goes on with the release sequence that RESULT began.
        let waker = word & !FLAGS;
        self.0.fetch_sub(waker | AWAITED, Ordering::Relaxed);
        Published::Awaited(waker)
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
        self.enter(me)
    }

    /// The future: leaves the address of its waker. The outcome that is not `Wait` means that it was not left, and that the
    /// result may be taken.
    pub(crate) fn announce_waker(&self, waker: usize) -> Join {
        debug_assert_eq!(waker & FLAGS, 0, "wakers are 16-byte aligned");
        self.enter(waker | AWAITED)
    }

    #[inline]
    fn enter(&self, waiter: usize) -> Join {
        // A handle is not cloned, so nobody else stands there.
        match self
            .0
            .compare_exchange(0, waiter, Ordering::AcqRel, Ordering::Acquire)
        {
            Ok(_) => Join::Wait,
            Err(word) => Join::of(word),
        }
    }

    /// The joiner that stands in the word and unwinds: takes itself out. False: RESULT is set, and it must spin for DONE.
    ///
    /// The future that stands in it: takes its waker back. False: RESULT is set, the waker is the coroutine's.
    pub(crate) fn retract(&self) -> bool {
        self.0
            .try_update(Ordering::AcqRel, Ordering::Acquire, |word| {
                (word & RESULT == 0).then_some(word & (FLAGS & !AWAITED))
            })
            .is_ok()
    }

    /// The handle's dropper. True: the result is stored and is the dropper's to drop.
    #[inline]
    pub(crate) fn detach(&self) -> bool {
        self.0.fetch_add(DETACHED, Ordering::AcqRel) & RESULT != 0
    }
}
