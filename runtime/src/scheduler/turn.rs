//! When the netpoller and the other outside sources of work have their turn.

use core::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_utils::CachePadded;

use crate::atomic::{AtomicU32, Ordering};

/// The injector, the inbox, the timers and the netpoller come first at every so manieth run.
pub(crate) const RUNS_MAX: u32 = 61;
/// Turns come after so much time, too: the number of runs between turns shrinks when runs are long.
const TIME: Duration = Duration::from_micros(200);

/// How far one worker's next turn is; for its watchdog, too. Relaxed, all of it: these are numbers that guard nothing.
pub(crate) struct Due {
    /// Written by the worker with each run, by a load and a store: what the watchdog stores in between is lost, and comes
    /// again with its next look.
    runs_left: AtomicU32,
    /// Wraps.
    taken: AtomicU32,
}

impl Due {
    pub(crate) fn new() -> Due {
        Due {
            runs_left: AtomicU32::new(0),
            taken: AtomicU32::new(0),
        }
    }

    /// The watchdog: how many turns there were, to be compared.
    pub(crate) fn taken(&self) -> u32 {
        self.taken.load(Ordering::Relaxed)
    }

    /// The watchdog: the turn shall come before the next run.
    pub(crate) fn demand(&self) {
        self.set(0);
    }

    #[inline]
    fn left(&self) -> u32 {
        self.runs_left.load(Ordering::Relaxed)
    }

    #[inline]
    fn set(&self, runs_left: u32) {
        self.runs_left.store(runs_left, Ordering::Relaxed);
    }

    fn note_turn(&self) {
        let taken = self.taken.load(Ordering::Relaxed);
        self.taken.store(taken.wrapping_add(1), Ordering::Relaxed);
    }
}

/// One worker's count of runs to its next turn.
pub(crate) struct Turn {
    due: Arc<CachePadded<Due>>,
    /// Runs between two turns, 1 to `runs_max`, so that a turn comes about every `TIME`.
    runs: Cell<u32>,
    runs_max: u32,
    last: Cell<Option<Instant>>,
}

impl Turn {
    /// A turn at every `runs_max`-th run at the latest, or with 0 before each.
    pub(crate) fn new(runs_max: u32, due: Arc<CachePadded<Due>>) -> Turn {
        due.set(runs_max);
        Turn {
            due,
            runs: Cell::new(runs_max),
            runs_max,
            last: Cell::new(None),
        }
    }

    /// Counts a run. True: the turn comes first.
    #[inline]
    pub(crate) fn is_due(&self) -> bool {
        let left = self.due.left();
        if left > 0 {
            self.due.set(left - 1);
        }
        left == 0
    }

    /// A coroutine ran for its whole budget: sixty more of that length are too long for whoever waits outside.
    pub(crate) fn end_early(&self) {
        self.runs.set((self.runs.get() - self.due.left()).max(1));
        self.due.set(0);
    }

    /// The turn was taken: adapts the runs to the next one to how long runs take.
    pub(crate) fn tune(&self, now: Instant) {
        self.due.note_turn();
        if let Some(last) = self.last.replace(Some(now)) {
            let ran = self.runs.get().max(1);
            let per_run = (now - last).as_nanos() as u64 / u64::from(ran);
            let fitting = TIME.as_nanos() as u64 / per_run.max(1);
            self.runs.set(fitting.clamp(1, u64::from(RUNS_MAX)) as u32);
        }
        self.due.set(self.runs.get());
    }

    /// The turn was taken in a runtime in whose order of runs real time has no say.
    pub(crate) fn restart(&self) {
        self.runs.set(self.runs_max);
        self.due.set(self.runs_max);
    }

    /// The worker has slept, which was no run: what comes after it is measured anew.
    pub(crate) fn forget(&self) {
        self.last.set(None);
        self.due.set(self.runs.get());
    }
}
