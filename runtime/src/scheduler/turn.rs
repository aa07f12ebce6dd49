//! When the netpoller and the other outside sources of work have their turn.

use core::cell::Cell;
use std::time::{Duration, Instant};

/// The injector, the inbox, the timers and the netpoller come first at every so manieth run.
pub(crate) const RUNS_MAX: u32 = 61;
/// Turns come after so much time, too: the number of runs between turns shrinks when runs are long.
const TIME: Duration = Duration::from_micros(200);

/// One worker's count of runs to its next turn.
pub(crate) struct Turn {
    runs_left: Cell<u32>,
    /// Runs between two turns, 1 to `runs_max`, so that a turn comes about every `TIME`.
    runs: Cell<u32>,
    runs_max: u32,
    last: Cell<Option<Instant>>,
}

impl Turn {
    /// A turn at every `runs_max`-th run at the latest, or with 0 before each.
    pub(crate) fn new(runs_max: u32) -> Turn {
        Turn {
            runs_left: Cell::new(runs_max),
            runs: Cell::new(runs_max),
            runs_max,
            last: Cell::new(None),
        }
    }

    /// Counts a run. True: the turn comes first.
    #[inline]
    pub(crate) fn is_due(&self) -> bool {
        let left = self.runs_left.get();
        if left > 0 {
            self.runs_left.set(left - 1);
        }
        left == 0
    }

    /// A coroutine ran for its whole budget: sixty more of that length are too long for whoever waits outside.
    pub(crate) fn end_early(&self) {
        self.runs
            .set((self.runs.get() - self.runs_left.get()).max(1));
        self.runs_left.set(0);
    }

    /// The turn was taken: adapts the runs to the next one to how long runs take.
    pub(crate) fn tune(&self, now: Instant) {
        if let Some(last) = self.last.replace(Some(now)) {
            let ran = self.runs.get().max(1);
            let per_run = (now - last).as_nanos() as u64 / u64::from(ran);
            let fitting = TIME.as_nanos() as u64 / per_run.max(1);
            self.runs.set(fitting.clamp(1, u64::from(RUNS_MAX)) as u32);
        }
        self.runs_left.set(self.runs.get());
    }

    /// The turn was taken in a runtime in whose order of runs real time has no say.
    pub(crate) fn restart(&self) {
        self.runs.set(self.runs_max);
        self.runs_left.set(self.runs_max);
    }

    /// The worker has slept, which was no run: what comes after it is measured anew.
    pub(crate) fn forget(&self) {
        self.last.set(None);
        self.runs_left.set(self.runs.get());
    }
}
