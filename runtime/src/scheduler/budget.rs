//! Fairness towards a coroutine that never blocks: a call budget and a time slice.

use core::cell::Cell;
use std::time::{Duration, Instant};

use crate::scheduler::seed::Random;

/// Runtime calls that did not block before a coroutine lets others run.
const CALLS_MAX: u32 = 128;
/// The most that chance gives instead: one call in eight, or so, lets others run.
const CALLS_DRAWN_MAX: usize = 16;
/// How long a coroutine may go on between two blocking calls, as far as its runtime calls let us see.
const SLICE: Duration = Duration::from_millis(10);
/// The clock is read at every so manieth call: `Instant::now` costs 19 ns here, a read of a socket 500.
const CLOCK_EVERY: u32 = 8;

/// What is left to the running coroutine. Reset at each run.
pub(crate) struct Budget {
    calls: Cell<u32>,
    /// What `calls` is reset to.
    calls_max: Cell<u32>,
    /// Start of the slice, as seen at the first look at the clock: short runs never look.
    started: Cell<Option<Instant>>,
    /// There are slices.
    timed: bool,
}

impl Budget {
    /// `timed`: by the clock, too.
    pub(crate) fn new(timed: bool) -> Budget {
        Budget {
            calls: Cell::new(CALLS_MAX),
            calls_max: Cell::new(CALLS_MAX),
            started: Cell::new(None),
            timed,
        }
    }

    /// For the next run, a number of calls by chance.
    pub(crate) fn draw(&self, random: &Random) {
        self.calls_max.set(1 + random.below(CALLS_DRAWN_MAX) as u32);
    }

    #[inline]
    pub(crate) fn reset(&self) {
        self.calls.set(self.calls_max.get());
        self.started.set(None);
    }

    /// One call more. True: let others run.
    #[inline]
    pub(crate) fn spend(&self) -> bool {
        let left = self.calls.get().saturating_sub(1);
        self.calls.set(left);
        left == 0 || (left.is_multiple_of(CLOCK_EVERY) && self.slice_is_over())
    }

    /// So many calls more at once. True: let others run.
    pub(crate) fn spend_many(&self, calls: u32) -> bool {
        let left = self.calls.get().saturating_sub(calls);
        self.calls.set(left);
        left == 0 || self.slice_is_over()
    }

    #[cold]
    fn slice_is_over(&self) -> bool {
        if !self.timed {
            return false;
        }
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
