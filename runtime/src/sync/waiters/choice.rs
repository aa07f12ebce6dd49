//! Which of several queues has taken a waiter out: one word, claimed once.

use core::ptr::NonNull;

use crate::atomic::{AtomicUsize, Ordering};

/// Which of several queues has taken a waiter out: the first that claims it.
pub(crate) struct Choice(AtomicUsize);

/// A node's arm of a choice. The choice outlives the node's time in a queue.
#[derive(Clone, Copy)]
pub(super) struct Arm {
    pub(super) choice: NonNull<Choice>,
    pub(super) number: usize,
}

impl Choice {
    const OPEN: usize = 0;
    /// No arm has this number.
    const NOBODY: usize = usize::MAX - 1;

    pub(crate) fn new() -> Choice {
        Choice(AtomicUsize::new(Choice::OPEN))
    }

    /// Decides for an arm, if nobody has decided yet.
    pub(crate) fn claim(&self, arm: usize) -> bool {
        // Acquire, release: the select, which looks at the choice, sees what was done before, and whoever comes second too.
        self.0
            .compare_exchange(Choice::OPEN, arm + 1, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// Decides for nobody, unless an arm has been decided for: that one's number.
    pub(crate) fn close(&self) -> Option<usize> {
        if self.claim(Choice::NOBODY) {
            None
        } else {
            self.chosen()
        }
    }

    /// The arm that was decided for.
    pub(crate) fn chosen(&self) -> Option<usize> {
        // Acquire: what was done before the claim.
        let arm = self.0.load(Ordering::Acquire).checked_sub(1)?;
        (arm != Choice::NOBODY).then_some(arm)
    }
}

impl Arm {
    /// Whether nobody else has taken the waiter out elsewhere.
    pub(super) fn claim(self) -> bool {
        // SAFETY: called for a QUEUED node; a choice outlives its nodes' time in queues.
        unsafe { self.choice.as_ref() }.claim(self.number)
    }

    /// Whether nobody has decided yet. A look that may be out of date when it is used: only a claim is sure.
    pub(super) fn is_open(self) -> bool {
        // SAFETY: called for a QUEUED node; a choice outlives its nodes' time in queues.
        let choice = unsafe { self.choice.as_ref() };
        // Acquire: as in `chosen`.
        choice.0.load(Ordering::Acquire) == Choice::OPEN
    }
}
