//! Fairness towards a coroutine that never blocks: a call budget and a time slice.

use core::cell::Cell;
use std::time::{Duration, Instant};

/// Runtime calls that did not block before a coroutine lets others run.
const CALLS_MAX: u32 = 128;
/// How long a coroutine may go on between two blocking calls, as far as its runtime calls let us see.
const SLICE: Duration = Duration::from_millis(10);
/// The clock is read at every so manieth call: `Instant::now` costs 19 ns here, a read of a socket 500.
const CLOCK_EVERY: u32 = 8;

/// What is left to the running coroutine. Reset at each run.
pub(crate) struct Budget {
    calls: Cell<u32>,
    /// Start of the slice, as seen at the first look at the clock: short runs never look.
    started: Cell<Option<Instant>>,
}

impl Budget {
    pub(crate) fn new() -> Budget {
        Budget {
            calls: Cell::new(CALLS_MAX),
            started: Cell::new(None),
        }
    }

    #[inline]
    pub(crate) fn reset(&self) {
        self.calls.set(CALLS_MAX);
        self.started.set(None);
    }

    /// One call more. True: let others run.
    #[inline]
    pub(crate) fn spend(&self) -> bool {
        let left = self.calls.get().saturating_sub(1);
        self.calls.set(left);
        left == 0 || (left.is_multiple_of(CLOCK_EVERY) && self.slice_is_over())
    }

    #[cold]
    fn slice_is_over(&self) -> bool {
        let now = Instant::now();
        match self.started.get() {
            Some(started) => now - started >= SLICE,
            None => {
                self.started.set(Some(now));
                false
            }
        }
    }

    /// The coroutine cannot yield just now (`no_park`): ask again at the next call.
    pub(crate) fn postpone(&self) {
        self.calls.set(1);
    }
}
