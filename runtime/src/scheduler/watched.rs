//! What a worker shows of itself to whoever watches it: which coroutine runs, or that it sleeps. Pure; the argument is in
//! `scheduler/README.md`, the model in `runtime/tests/loom_watchdog.rs`.

use crate::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering, fence};

/// A sequence lock without a lock: the worker writes plain stores, a watcher reads and asks afterwards whether it may
/// believe what it read.
///
/// The sequence is odd during a run and during a sleep. While it stays at one odd value no coroutine enters or leaves the
/// worker's live list and no record of a member is freed (in fresh-stealing; in full stealing that holds of the running
/// coroutine, and the list has its lock).
pub(crate) struct Watched<T> {
    sequence: AtomicU64,
    /// Who runs; null: the worker sleeps. Means something while the sequence is odd.
    current: AtomicPtr<T>,
    /// The kernel's number of the worker's thread; 0 before it has started.
    thread: AtomicU32,
}

/// A run or a sleep of a worker, as a watcher saw it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Seen {
    sequence: u64,
    /// The address of the running coroutine's record. Not to be followed: it may be gone by now.
    pub(crate) current: Option<usize>,
}

impl<T> Watched<T> {
    pub(crate) fn new() -> Watched<T> {
        Watched {
            sequence: AtomicU64::new(0),
            current: AtomicPtr::new(core::ptr::null_mut()),
            thread: AtomicU32::new(0),
        }
    }

    /// The worker: runs `current` from now on, or (null) sleeps.
    #[inline]
    pub(crate) fn begin(&self, current: *mut T) {
        self.current.store(current, Ordering::Relaxed);
        let sequence = self.sequence.load(Ordering::Relaxed);
        // Release: who sees this number (`look`) sees the list and its records as they are at the beginning.
        self.sequence.store(sequence + 1, Ordering::Release);
    }

    /// The worker: the run or the sleep is over. What it changes from here on may spoil what a watcher reads.
    #[inline]
    pub(crate) fn end(&self) {
        let sequence = self.sequence.load(Ordering::Relaxed);
        self.sequence.store(sequence + 1, Ordering::Relaxed);
        // Between the number and the changes: pairs with the fence of `is_still`. Who reads one of the changes reads
        // this number, or a later one, there.
        fence(Ordering::Release);
    }

    /// A watcher: the run or sleep that goes on just now.
    pub(crate) fn look(&self) -> Option<Seen> {
        // Acquire: pairs with `begin`.
        let sequence = self.sequence.load(Ordering::Acquire);
        if sequence.is_multiple_of(2) {
            return None;
        }
        let current = self.current.load(Ordering::Relaxed).addr();
        let seen = Seen {
            sequence,
            current: (current != 0).then_some(current),
        };
        self.is_still(seen).then_some(seen)
    }

    /// A watcher, after it has read: whether all of it was of that run or sleep, and so is to be believed.
    pub(crate) fn is_still(&self, seen: Seen) -> bool {
        // Between the reads and the number: pairs with the fence of `end`.
        fence(Ordering::Acquire);
        self.sequence.load(Ordering::Relaxed) == seen.sequence
    }

    /// Whether the worker sleeps. After a fence, for whoever decides to sleep itself.
    pub(crate) fn sleeps(&self) -> bool {
        self.look().is_some_and(|seen| seen.current.is_none())
    }

    pub(crate) fn set_thread(&self, thread: u32) {
        self.thread.store(thread, Ordering::Relaxed);
    }

    pub(crate) fn thread(&self) -> u32 {
        self.thread.load(Ordering::Relaxed)
    }
}
