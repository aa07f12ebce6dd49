//! Who may work on something that several threads can find ready: one at a time, and whoever comes meanwhile does not wait.

use super::atomic::{AtomicU8, Ordering};

/// Nobody works on it.
const FREE: u8 = 0;
/// Somebody does.
const TAKEN: u8 = 1;
/// Somebody does, and has to look again before he leaves it.
const AGAIN: u8 = 2;

#[derive(Default)]
pub(crate) struct Claim(AtomicU8);

impl Claim {
    /// True: it is the caller's, until he has released it. False: it is another's, who will look again.
    #[must_use]
    pub(crate) fn take(&self) -> bool {
        // Acquire: pairs with the release, so that what the last one wrote is seen. Release: whoever is told to look again
        // finds what the caller has come for.
        let change = |state| Some(if state == FREE { TAKEN } else { AGAIN });
        let before = self
            .0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, change);
        before == Ok(FREE)
    }

    /// True: it is free. False: somebody came meanwhile; it is still the caller's, who has to look again.
    #[must_use]
    pub(crate) fn release(&self) -> bool {
        let freed = self
            .0
            .compare_exchange(TAKEN, FREE, Ordering::AcqRel, Ordering::Acquire);
        if freed.is_err() {
            // Acquire: what those have come for.
            self.0.swap(TAKEN, Ordering::AcqRel);
        }
        freed.is_ok()
    }
}
