//! Who sleeps, who searches, and who must be woken. Pure; the proof is in `scheduler/README.md`, the model in
//! `runtime/tests/loom_idle.rs`.

use crate::atomic::{AtomicBool, AtomicU32, Lock, Ordering, fence};

/// How many workers sleep and search, in one word, so that a spawn reads both at once.
///
/// Bits 0..16: searching, bits 16..32: sleeping.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Counts(u32);

const ONE_SEARCHING: u32 = 1;
const ONE_SLEEPING: u32 = 1 << 16;
/// More workers than the counters hold are refused when a runtime is built.
pub(crate) const WORKERS_MAX: usize = 1024;

impl Counts {
    fn searching(self) -> u32 {
        self.0 & 0xffff
    }
    fn sleeping(self) -> u32 {
        self.0 >> 16
    }
}

/// How a worker that slept comes back.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Woken {
    /// By itself (an event, a timer, pinned work): it is not counted as a searcher.
    Itself,
    /// Someone took it out of the sleepers to look for movable work, and counted it as a searcher.
    ToSearch,
}

/// The wake-up state for movable work, shared by all workers.
pub(crate) struct Idle {
    counts: AtomicU32,
    /// Indices of the sleepers; the last to fall asleep is woken first, its caches being warmest.
    sleepers: Lock<Vec<usize>>,
    workers: u32,
}

impl Idle {
    pub(crate) fn new(workers: usize) -> Idle {
        Idle {
            counts: AtomicU32::new(0),
            sleepers: Lock::new(Vec::with_capacity(workers)),
            workers: workers as u32,
        }
    }

    /// A worker without work asks to search. At most half of the workers do at a time, so that a burst of wake-ups
    /// does not have all of them scan the same queues.
    pub(crate) fn start_search(&self) -> bool {
        let counts = Counts(self.counts.load(Ordering::Relaxed));
        if 2 * counts.searching() >= self.workers {
            return false;
        }
        self.counts.fetch_add(ONE_SEARCHING, Ordering::SeqCst);
        true
    }

    /// A searcher has work. True: it was the last one, so it must look for more movable work and wake another.
    pub(crate) fn stop_search(&self) -> bool {
        let before = Counts(self.counts.fetch_sub(ONE_SEARCHING, Ordering::SeqCst));
        // Pairs with the fence of `worker_to_wake`: whoever pushed and saw this searcher is seen by the caller's look.
        fence(Ordering::SeqCst);
        before.searching() == 1
    }

    /// Worker `me` goes to sleep. The caller must look at every queue again afterwards, and only then wait.
    pub(crate) fn sleep(&self, me: usize, searching: bool) {
        self.sleepers.with(|sleepers| {
            sleepers.push(me);
            let searcher = if searching { ONE_SEARCHING } else { 0 };
            self.counts
                .fetch_add(ONE_SLEEPING.wrapping_sub(searcher), Ordering::SeqCst);
        });
        // Before the caller's look at the queues: pairs with the fence of `worker_to_wake`.
        fence(Ordering::SeqCst);
    }

    /// Worker `me` is awake again.
    pub(crate) fn wake(&self, me: usize) -> Woken {
        self.sleepers
            .with(|sleepers| match sleepers.iter().position(|&s| s == me) {
                Some(at) => {
                    sleepers.remove(at);
                    self.counts.fetch_sub(ONE_SLEEPING, Ordering::SeqCst);
                    Woken::Itself
                }
                None => Woken::ToSearch,
            })
    }

    /// After movable work was made visible: the sleeper that the caller must wake, if nobody searches. It is counted
    /// as a searcher from now on.
    #[inline]
    pub(crate) fn worker_to_wake(&self) -> Option<usize> {
        // Between the push and the look at the counters: pairs with the fences of `sleep` and `stop_search`.
        fence(Ordering::SeqCst);
        let counts = Counts(self.counts.load(Ordering::Relaxed));
        if counts.searching() > 0 || counts.sleeping() == 0 {
            return None;
        }
        self.take_sleeper()
    }

    #[cold]
    fn take_sleeper(&self) -> Option<usize> {
        self.sleepers.with(|sleepers| {
            if Counts(self.counts.load(Ordering::SeqCst)).searching() > 0 {
                return None;
            }
            let worker = sleepers.pop()?;
            self.counts
                .fetch_add(ONE_SEARCHING.wrapping_sub(ONE_SLEEPING), Ordering::SeqCst);
            Some(worker)
        })
    }
}

/// Whether one worker sleeps in its netpoller: the flag that whoever hands it pinned work reads.
pub(crate) struct SleepFlag(AtomicBool);

impl SleepFlag {
    pub(crate) fn new() -> SleepFlag {
        SleepFlag(AtomicBool::new(false))
    }

    /// The worker: about to sleep. It must look at its queues again afterwards, and only then wait.
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
        // Before the look at the queues: pairs with the fence of `must_wake`.
        fence(Ordering::SeqCst);
    }

    /// The worker: awake.
    pub(crate) fn clear(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// After work was pushed for this worker: whether the caller must wake it. True for one caller a sleep.
    #[inline]
    pub(crate) fn must_wake(&self) -> bool {
        // Between the push and the look at the flag: pairs with the fence of `set`.
        fence(Ordering::SeqCst);
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::Relaxed)
    }
}
