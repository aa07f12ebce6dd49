//! The mutex (`sync/raw_mutex.rs`) that ships, on the wait queue that ships, under every interleaving.
#![allow(
    unfulfilled_lint_expectations,
    reason = "the library leaves unused what models use"
)]

#[path = "../src/time/moment.rs"]
#[allow(dead_code)]
mod moment;
#[path = "../src/sync/raw_mutex.rs"]
#[allow(dead_code)]
mod raw_mutex;
#[path = "model/sync.rs"]
mod shim;
#[path = "../src/task/state.rs"]
#[allow(dead_code)]
mod state;
#[path = "../src/sync/waiters/mod.rs"]
#[allow(dead_code, unused_imports)]
mod waiters;

mod atomic {
    pub(crate) use crate::shim::{AtomicU32, AtomicUsize, Cell, Ordering, spin_loop};
}
mod context {
    pub(crate) use crate::shim::current_worker;
}
mod sync {
    pub(crate) use crate::waiters;
    pub(crate) mod lock {
        pub(crate) use crate::shim::SpinLock;
    }
}
mod task {
    pub(crate) mod park {
        pub(crate) use crate::shim::{Waiting, Wake, park};
    }
}
mod time {
    pub(crate) use crate::moment::Moment;
    pub(crate) use crate::shim::moment;
}

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

use raw_mutex::RawMutex;
use shim::{Cancelled, Record, at_the_end_of_time, check, coroutine, plain_thread};

/// A lock, and what it protects: how often it was held.
struct Counted {
    lock: RawMutex,
    sections: UnsafeCell<u32>,
}

impl Counted {
    fn new() -> Arc<Counted> {
        let counted = Counted {
            lock: RawMutex::new(),
            sections: UnsafeCell::new(0),
        };
        counted.lock.lock();
        counted.lock.unlock();
        Arc::new(counted)
    }

    fn lock_and_count(&self) {
        self.lock.lock();
        self.count();
        self.lock.unlock();
    }

    /// For the holder: nobody else is here, loom checks that.
    fn count(&self) {
        // SAFETY: as above.
        self.sections.with_mut(|sections| unsafe { *sections += 1 });
    }

    /// The lock is free, and nobody waits.
    fn assert_sections(&self, expected: u32) {
        assert!(self.lock.try_lock(), "it is locked for ever");
        // SAFETY: the lock is held.
        let sections = self.sections.with(|sections| unsafe { *sections });
        assert_eq!(sections, expected);
        self.lock.unlock();
    }
}

/// The body of a thread of a model.
fn start<T: 'static>(f: impl FnOnce() -> T + 'static) -> thread::JoinHandle<T> {
    thread::spawn(f)
}

/// A coroutine that does nothing but lock it, `times` times.
fn locker(counted: &Counted, times: u32) -> Result<(), Cancelled> {
    coroutine(&Record::coroutine(), || {
        for _ in 0..times {
            counted.lock_and_count();
        }
    })
}

/// Three coroutines lock: none is forgotten, and one at a time holds the lock.
///
/// Hangs on: WAITING being set in the exchange that sees LOCKED; the holder's unlock seeing it; the next competitor clearing
/// WOKEN; what lock and unlock acquire and release.
#[test]
fn one_at_a_time_holds_it_and_no_waiter_is_forgotten() {
    check(3, || {
        let counted = Counted::new();
        let others = [(), ()].map(|()| {
            let counted = counted.clone();
            start(move || locker(&counted, 1))
        });
        assert_eq!(locker(&counted, 1), Ok(()));
        for other in others {
            assert_eq!(other.join().unwrap(), Ok(()));
        }
        counted.assert_sections(3);
    });
}

/// A coroutine locks again and again past a plain thread and a coroutine that wait.
#[test]
fn nobody_is_forgotten_when_the_lock_is_taken_again_and_again() {
    check(2, || {
        let counted = Counted::new();
        let again = counted.clone();
        let again = start(move || locker(&again, 3));
        let waiter = counted.clone();
        let waiter = start(move || locker(&waiter, 1));
        plain_thread(&Record::plain_thread(), || counted.lock_and_count());
        assert_eq!(waiter.join().unwrap(), Ok(()));
        assert_eq!(again.join().unwrap(), Ok(()));
        counted.assert_sections(5);
    });
}

/// The same, and whoever has lost once is handed the lock.
///
/// Hangs on: STARVING being set with WAITING in the exchange that sees LOCKED, a starving waiter's place at the front, LOCKED
/// staying set when the lock is handed over, and what the one to whom it is handed acquires.
#[test]
fn a_starving_waiter_is_handed_the_lock() {
    check(2, || {
        at_the_end_of_time();
        let counted = Counted::new();
        let again = counted.clone();
        let again = start(move || locker(&again, 3));
        let waiter = counted.clone();
        let waiter = start(move || locker(&waiter, 1));
        assert_eq!(locker(&counted, 1), Ok(()));
        assert_eq!(waiter.join().unwrap(), Ok(()));
        assert_eq!(again.join().unwrap(), Ok(()));
        counted.assert_sections(5);
    });
}

/// One tries while others hold it, unlock it, and wait for it: it is in vain, or the lock is its own.
#[test]
fn a_try_has_the_lock_or_not() {
    check(2, || {
        at_the_end_of_time();
        let counted = Counted::new();
        let others = [(), ()].map(|()| {
            let counted = counted.clone();
            start(move || locker(&counted, 1))
        });
        let mut tries = 0;
        for _ in 0..2 {
            if counted.lock.try_lock() {
                counted.count();
                counted.lock.unlock();
                tries += 1;
            }
        }
        for other in others {
            assert_eq!(other.join().unwrap(), Ok(()));
        }
        counted.assert_sections(2 + tries);
    });
}

/// A coroutine that locks it once, and waits for it, for somebody holds it.
fn waiter(counted: &Arc<Counted>) -> (Arc<Record>, thread::JoinHandle<Result<(), Cancelled>>) {
    let (counted, record) = (counted.clone(), Record::coroutine());
    let own = record.clone();
    let waiter = start(move || coroutine(&own, || counted.lock_and_count()));
    record.wait_until_parked();
    (record, waiter)
}

/// One that holds the lock, and whom of those who wait for it it cancels.
#[derive(Clone, Copy)]
struct Canceller {
    waiters: usize,
    victim: usize,
    /// So often it unlocks it and takes it again, before that.
    again: u32,
    /// After its last unlock, not before.
    after: bool,
}

impl Canceller {
    fn run(self) {
        let counted = Counted::new();
        let got = coroutine(&Record::coroutine(), || {
            counted.lock.lock();
            let mut waiters: Vec<_> = (0..self.waiters).map(|_| waiter(&counted)).collect();
            for _ in 0..self.again {
                counted.count();
                counted.lock.unlock();
                counted.lock.lock();
            }
            counted.count();
            let (record, victim) = waiters.remove(self.victim);
            if !self.after {
                record.cancel();
            }
            counted.lock.unlock();
            if self.after {
                record.cancel();
            }
            for (_, other) in waiters {
                assert_eq!(other.join().unwrap(), Ok(()));
            }
            u32::from(victim.join().unwrap().is_ok())
        });
        let others = u32::try_from(self.waiters).unwrap() - 1;
        counted.assert_sections(got.unwrap() + others + self.again + 1);
    }
}

/// Hangs on: whoever was woken to compete and unwinds waking the next, and leaving WAITING for those behind.
#[test]
fn a_waiter_that_is_cancelled_when_it_is_woken_wakes_the_next() {
    check(2, || {
        Canceller {
            waiters: 2,
            victim: 0,
            again: 0,
            after: true,
        }
        .run()
    });
    check(1, || {
        Canceller {
            waiters: 3,
            victim: 0,
            again: 0,
            after: true,
        }
        .run()
    });
}

/// Hangs on: whoever was woken to compete and unwinds clearing WOKEN, when there is a holder that sees to the others.
#[test]
fn a_waiter_that_is_cancelled_when_it_has_lost_leaves_the_next_to_the_holder() {
    check(2, || {
        Canceller {
            waiters: 2,
            victim: 0,
            again: 1,
            after: false,
        }
        .run()
    });
    check(2, || {
        Canceller {
            waiters: 2,
            victim: 0,
            again: 1,
            after: true,
        }
        .run()
    });
}

/// Hangs on: whoever leaves the queue changing the word in one step, since a holder that sees WOKEN does not ask the queue.
#[test]
fn the_last_waiter_leaves_while_the_lock_is_unlocked() {
    for again in [0, 1] {
        check(2, move || {
            Canceller {
                waiters: 2,
                victim: 1,
                again,
                after: false,
            }
            .run()
        });
    }
}

/// Hangs on: whoever was handed the lock and unwinds passing it on.
#[test]
fn a_waiter_that_is_cancelled_with_the_lock_in_its_hands_passes_it_on() {
    for again in [1, 2] {
        for after in [false, true] {
            check(2, move || {
                at_the_end_of_time();
                Canceller {
                    waiters: 1,
                    victim: 0,
                    again,
                    after,
                }
                .run();
            });
            check(1, move || {
                at_the_end_of_time();
                Canceller {
                    waiters: 2,
                    victim: 0,
                    again,
                    after,
                }
                .run();
            });
        }
    }
}

/// It is cancelled at any time.
///
/// Hangs on: WAITING staying set while one waits.
#[test]
fn a_cancelled_waiter_forgets_nobody() {
    check(2, || {
        let counted = Counted::new();
        let holder = counted.clone();
        let holder = start(move || locker(&holder, 1));
        let (victim, record) = (counted.clone(), Record::coroutine());
        let cancelled = record.clone();
        let victim = start(move || coroutine(&record, || victim.lock_and_count()));
        let canceller = start(move || cancelled.cancel());
        assert_eq!(locker(&counted, 1), Ok(()));
        assert_eq!(holder.join().unwrap(), Ok(()));
        canceller.join().unwrap();
        let got = victim.join().unwrap().is_ok();
        counted.assert_sections(2 + u32::from(got));
    });
}
