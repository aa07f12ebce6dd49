//! Fairness towards a coroutine that only ever uses what it need not wait for.
//!
//! Each runtime call that does not block counts against the budget of its coroutine (`scheduler/budget.rs`). To find that
//! costs a call and a thread-local, a tenth of what an uncontended lock costs. So a primitive counts its own uses, and charges
//! whoever comes at the end of each batch with the whole of it: one coroutine that goes round pays for itself, of several
//! each pays its share on average.

use core::sync::atomic::{AtomicU8, Ordering};

use crate::context;
use crate::task::interrupt::Mask;

/// Uses that are charged together. A power of two.
const BATCH: u8 = 32;

/// Which uses are charged: every 32nd, or all of them once there has been a runtime with a seed, since then each is a
/// point where chance may let others run.
static MASK: AtomicU8 = AtomicU8::new(BATCH - 1);

/// From now on each use is charged by itself.
pub(crate) fn charge_each_use() {
    MASK.store(0, Ordering::Relaxed);
}

/// Uses of one primitive. A count that two threads make at once may be lost. Relaxed, as the mask: they guard nothing.
pub(crate) struct Tally(AtomicU8);

impl Tally {
    pub(crate) const fn new() -> Tally {
        Tally(AtomicU8::new(0))
    }

    /// To be called before anything is taken, for it may let others run, and unwind.
    #[inline]
    pub(crate) fn count(&self) {
        if self.is_due() {
            charge();
        }
    }

    /// For a call that was in vain and does not wait: it may let others run, so that one that is made again and again does
    /// not keep out those who could make it succeed; but it does not unwind.
    #[cold]
    pub(crate) fn count_failure(&self) {
        if self.is_due() {
            let _mask = Mask::new();
            charge();
        }
    }

    #[inline]
    fn is_due(&self) -> bool {
        let uses = self.0.load(Ordering::Relaxed).wrapping_add(1);
        self.0.store(uses, Ordering::Relaxed);
        uses & MASK.load(Ordering::Relaxed) == 0
    }
}

#[cold]
fn charge() {
    if let Some(worker) = context::current_worker() {
        worker.consume_budget_of(u32::from(MASK.load(Ordering::Relaxed)) + 1);
    }
}
