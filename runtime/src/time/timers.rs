//! A worker's timers: a sorted map with real removal. The timer wheel takes its place later.

use std::collections::BTreeMap;
use std::time::Instant;

use parking_lot::Mutex;

use crate::atomic::{AtomicUsize, Ordering};
use crate::scheduler::Worker;
use crate::task::park::Unparker;

/// An expiry and a number that tells equal expiries apart.
type Key = (Instant, u64);

/// The timers of one worker. Armed and fired by the worker; disarmed by whichever worker the waiter is on by then
/// (in fresh-stealing the same one, so that the lock is never contended).
pub(crate) struct Timers {
    map: Mutex<Map>,
    /// Size of the map, so that a worker without timers reads no clock.
    armed: AtomicUsize,
}

struct Map {
    waiters: BTreeMap<Key, Unparker>,
    next: u64,
}

impl Timers {
    pub(crate) fn new() -> Timers {
        Timers {
            map: Mutex::new(Map {
                waiters: BTreeMap::new(),
                next: 0,
            }),
            armed: AtomicUsize::new(0),
        }
    }

    /// The next expiry. For the owner worker.
    pub(crate) fn next(&self) -> Option<Instant> {
        if self.is_empty() {
            return None;
        }
        self.map
            .lock()
            .waiters
            .first_key_value()
            .map(|(&(at, _), _)| at)
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.armed.load(Ordering::Relaxed) == 0
    }

    /// Wakes all whose time has come, never early. For the owner worker.
    pub(crate) fn fire(&self, now: Instant) {
        loop {
            // One at a time: a wake-up pushes to a queue and must not hold the lock.
            let due = {
                let mut map = self.map.lock();
                match map.waiters.first_entry() {
                    Some(first) if first.key().0 <= now => {
                        let waiter = first.remove();
                        self.armed.store(map.waiters.len(), Ordering::Relaxed);
                        waiter
                    }
                    _ => return,
                }
            };
            due.unpark();
        }
    }

    fn insert(&self, at: Instant, waiter: Unparker) -> Key {
        let mut map = self.map.lock();
        let key = (at, map.next);
        map.next += 1;
        map.waiters.insert(key, waiter);
        self.armed.store(map.waiters.len(), Ordering::Relaxed);
        key
    }

    fn remove(&self, key: Key) {
        let mut map = self.map.lock();
        let waiter = map.waiters.remove(&key);
        self.armed.store(map.waiters.len(), Ordering::Relaxed);
        drop(map);
        // Outside the lock: the last reference frees a record.
        drop(waiter);
    }
}

/// Wakes the calling coroutine at `at`, unless dropped before.
pub(crate) fn arm(worker: &Worker, at: Instant) -> Armed<'_> {
    let timers = worker.timers();
    Armed {
        timers,
        key: timers.insert(at, Unparker::current()),
    }
}

/// A timer in some worker's map.
pub(crate) struct Armed<'a> {
    timers: &'a Timers,
    key: Key,
}

impl Drop for Armed<'_> {
    fn drop(&mut self) {
        self.timers.remove(self.key);
    }
}
