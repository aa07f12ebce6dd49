//! The polite spin before a worker sleeps (law 9).
//!
//! On a virtual machine a sleep and its wake-up cost tens of microseconds, so a worker whose waits are shorter than
//! that does better to look again for a moment. Four things keep that from costing more than it gains:
//! - at most one worker of a runtime spins at a time;
//! - between looks it yields the core. A yield that took long means that someone else wanted the core: it sleeps at
//!   once and leaves out the next 16, 32, … waits;
//! - under load it leaves events no time to come together. So every 64th wait sleeps, and if more than four sockets are
//!   ready when it ends, the next 256 waits sleep too (measured without this: 9 to 18 % more CPU a request at 16 and 64
//!   connections);
//! - spins that found nothing, two in a row, leave out 1, 3, 7, … 63 waits, so that a runtime whose waits are long hardly
//!   spins. Two, since a peer that has slept deeply answers the first one late: with single trials a connection whose
//!   both ends sleep never gets to where both stay awake (measured: 2.4 k requests/s instead of 14 k).

use core::cell::Cell;
use std::time::{Duration, Instant};

use crate::atomic::{AtomicBool, Ordering};
use crate::scheduler::Worker;

/// How long a spin lasts by default.
pub(crate) const LIMIT_DEFAULT: Duration = Duration::from_micros(50);
/// A yield that nobody wanted takes 0.3 µs here; one that ran someone else takes at least a switch there and back.
const YIELD_WANTED: Duration = Duration::from_micros(4);
/// Memory checks between two looks at the netpoller, about a microsecond.
const PAUSES: u32 = 24;
const SKIP_WANTED_MIN: u32 = 16;
const SKIP_MAX: u32 = 1024;
/// A sleep that ended with more events than this was worth it: it served them all at one price.
const BATCH_MAX: usize = 4;
/// Waits left out after such a sleep.
const SKIP_BATCH: u32 = 256;
/// Successful spins between two sleeps that look how many events come together.
const PROBE_EVERY: u32 = 64;
const SKIP_FRUITLESS_MAX: u32 = 63;
/// Fruitless spins in a row before waits are left out.
const TRIALS: u32 = 2;

/// Held by the one worker that spins.
pub(crate) struct SpinSlot(AtomicBool);

impl SpinSlot {
    pub(crate) fn new() -> SpinSlot {
        SpinSlot(AtomicBool::new(false))
    }

    fn take(&self) -> Option<Spinning<'_>> {
        let free = !self.0.load(Ordering::Relaxed) && !self.0.swap(true, Ordering::Relaxed);
        free.then_some(Spinning(self))
    }
}

struct Spinning<'a>(&'a SpinSlot);

impl Drop for Spinning<'_> {
    fn drop(&mut self) {
        self.0.0.store(false, Ordering::Relaxed);
    }
}

/// One worker's experience with spinning.
pub(crate) struct Spinner {
    limit: Duration,
    /// Waits to leave out.
    skip: Cell<u32>,
    /// How many were left out the last time the core was wanted.
    wanted: Cell<u32>,
    /// How many were left out after the last fruitless trials.
    fruitless: Cell<u32>,
    /// Fruitless spins since the last success or pause.
    trials: Cell<u32>,
    /// Successful spins since the last sleep.
    streak: Cell<u32>,
}

impl Spinner {
    pub(crate) fn new(limit: Duration) -> Spinner {
        Spinner {
            limit,
            skip: Cell::new(0),
            wanted: Cell::new(0),
            fruitless: Cell::new(0),
            trials: Cell::new(0),
            streak: Cell::new(0),
        }
    }

    /// The worker has slept, and so many sockets had events when it woke up.
    pub(crate) fn note_sleep(&self, events: usize) {
        self.streak.set(0);
        if events > BATCH_MAX {
            self.skip.set(self.skip.get().max(SKIP_BATCH));
        }
    }

    /// Spins for a while if experience speaks for it. True: there may be work.
    pub(crate) fn spin(&self, worker: &Worker) -> bool {
        if self.limit.is_zero() {
            return false;
        }
        if let Some(left) = self.skip.get().checked_sub(1) {
            self.skip.set(left);
            return false;
        }
        let Some(_only_one) = worker.shared().spinner.take() else {
            return false;
        };
        let started = Instant::now();
        loop {
            if look(worker) {
                self.fruitless.set(0);
                self.trials.set(0);
                self.wanted.set(self.wanted.get() / 2);
                self.streak.set(self.streak.get() + 1);
                if self.streak.get() >= PROBE_EVERY {
                    self.skip.set(1);
                }
                return true;
            }
            let before = Instant::now();
            if before - started >= self.limit {
                self.note_fruitless();
                return false;
            }
            std::thread::yield_now();
            if before.elapsed() >= YIELD_WANTED {
                let skip = (2 * self.wanted.get()).clamp(SKIP_WANTED_MIN, SKIP_MAX);
                self.wanted.set(skip);
                self.skip.set(skip);
                return look(worker);
            }
        }
    }
}

impl Spinner {
    fn note_fruitless(&self) {
        self.trials.set(self.trials.get() + 1);
        if self.trials.get() >= TRIALS {
            self.trials.set(0);
            let skip = (2 * self.fruitless.get() + 1).min(SKIP_FRUITLESS_MAX);
            self.fruitless.set(skip);
            self.skip.set(skip);
        }
    }
}

/// Events first, then memory for about a microsecond.
fn look(worker: &Worker) -> bool {
    let _ = worker.poll(Some(Duration::ZERO));
    for _ in 0..PAUSES {
        if worker.has_work() {
            return true;
        }
        core::hint::spin_loop();
    }
    false
}
