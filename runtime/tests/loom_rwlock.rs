//! The readers-writer lock (`sync/raw_rwlock.rs`) that ships, on the wait queue that ships, under every interleaving.
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
#[path = "../src/sync/raw_rwlock.rs"]
#[allow(dead_code)]
mod raw_rwlock;
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
    pub(crate) use crate::{raw_mutex, waiters};
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

use raw_rwlock::{READERS, RawRwLock, WOKEN, WRITERS};
use shim::{Cancelled, Record, at_the_end_of_time, check, coroutine, plain_thread};

/// A lock, and what it protects: how often it was written.
struct Counted {
    lock: RawRwLock,
    writes: UnsafeCell<u32>,
}

/// What a user of the lock does with it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Act {
    Read,
    Write,
    /// Writes, and goes on as a reader.
    Downgrade,
}
use Act::{Downgrade, Read, Write};

impl Counted {
    fn new() -> Arc<Counted> {
        let counted = Counted {
            lock: RawRwLock::new(),
            writes: UnsafeCell::new(0),
        };
        counted.lock.write();
        counted.lock.unlock_write();
        Arc::new(counted)
    }

    fn act(&self, act: Act) {
        match act {
            Read => {
                self.lock.read();
                self.look();
                self.lock.unlock_read();
            }
            Write => {
                self.lock.write();
                self.count();
                self.lock.unlock_write();
            }
            Downgrade => {
                self.lock.write();
                self.count();
                let written = self.look();
                self.lock.downgrade();
                assert_eq!(self.look(), written);
                self.lock.unlock_read();
            }
        }
    }

    /// For a reader: nobody writes, loom checks that.
    fn look(&self) -> u32 {
        // SAFETY: as above.
        self.writes.with(|writes| unsafe { *writes })
    }

    /// For the writer: nobody else is here, loom checks that.
    fn count(&self) {
        // SAFETY: as above.
        self.writes.with_mut(|writes| unsafe { *writes += 1 });
    }

    /// Lets the others go on until the word is like that.
    fn until(&self, is_so: impl Fn(usize) -> bool) {
        while !is_so(self.lock.word.load(atomic::Ordering::Relaxed)) {
            thread::yield_now();
        }
    }

    /// The lock is free, and nobody waits.
    fn assert_writes(&self, expected: u32) {
        assert!(self.lock.try_write(), "it is locked for ever");
        assert_eq!(self.look(), expected);
        self.lock.unlock_write();
        assert!(self.lock.try_read(), "a writer waits for ever");
        self.lock.unlock_read();
    }
}

/// A coroutine that does this, in this order.
fn user(counted: &Counted, acts: &[Act]) -> Result<(), Cancelled> {
    coroutine(&Record::coroutine(), || {
        acts.iter().for_each(|&act| counted.act(act));
    })
}

/// The last of those who do this in parallel is the caller.
fn users_at_once(acts: &'static [&'static [Act]]) {
    let counted = Counted::new();
    let (last, others) = acts.split_last().expect("there is one");
    let others: Vec<_> = others
        .iter()
        .map(|acts| {
            let counted = counted.clone();
            thread::spawn(move || user(&counted, acts))
        })
        .collect();
    assert_eq!(user(&counted, last), Ok(()));
    for other in others {
        assert_eq!(other.join().unwrap(), Ok(()));
    }
    let writes = acts.iter().flat_map(|acts| acts.iter());
    counted.assert_writes(writes.filter(|&&act| act != Read).count() as u32);
}

/// Readers and a writer: nobody is forgotten, and whoever reads sees all that was written.
///
/// Hangs on: READERS and WRITERS being set in the exchanges that see who keeps one out; the last reader's and the writer's unlock
/// seeing them. Fails on what lock, unlock and the letting in of readers acquire and release.
#[test]
fn a_writer_among_readers() {
    check(3, || users_at_once(&[&[Read], &[Write], &[Read]]));
}

#[test]
fn two_writers_and_a_reader() {
    check(3, || users_at_once(&[&[Write], &[Write], &[Read]]));
}

/// A writer that comes again at once competes with one that was woken.
#[test]
fn writers_that_come_again_forget_nobody() {
    check(2, || users_at_once(&[&[Write, Write], &[Read], &[Write]]));
}

/// Readers that come again, while the last one's unlock has still to see to a writer.
#[test]
fn readers_that_come_again_forget_nobody() {
    check(2, || {
        users_at_once(&[&[Read, Write], &[Read, Read], &[Write]])
    });
}

/// Whoever has lost once is handed the lock; readers that wait go before.
#[test]
fn a_starving_writer_is_handed_the_lock() {
    check(2, || {
        at_the_end_of_time();
        users_at_once(&[&[Write, Write], &[Write], &[Read]]);
    });
}

/// The same, by the last of two readers: whoever is handed the lock comes after both.
///
/// Fails on what `settle` acquires.
#[test]
fn a_starving_writer_is_handed_the_lock_after_all_readers() {
    check(2, || {
        at_the_end_of_time();
        let counted = Counted::new();
        counted.lock.write();
        let start = |act| {
            let counted = counted.clone();
            thread::spawn(move || user(&counted, &[act]))
        };
        let writer = start(Write);
        counted.until(|word| word & WRITERS != 0);
        counted.lock.unlock_write();
        if !counted.lock.try_write() {
            // It was faster.
            assert_eq!(writer.join().unwrap(), Ok(()));
            return counted.assert_writes(1);
        }
        counted.until(|word| word & WOKEN == 0);
        let reader = start(Read);
        counted.until(|word| word & READERS != 0);
        counted.lock.downgrade();
        counted.look();
        counted.lock.unlock_read();
        assert_eq!(writer.join().unwrap(), Ok(()));
        assert_eq!(reader.join().unwrap(), Ok(()));
        counted.assert_writes(1);
    });
}

/// A writer becomes a reader while others come.
#[test]
fn a_downgrade_lets_in_readers_and_no_writer() {
    check(2, || users_at_once(&[&[Downgrade], &[Write], &[Read]]));
}

/// A plain thread among them.
#[test]
fn plain_threads_are_not_forgotten() {
    for act in [Read, Write] {
        check(2, move || {
            let counted = Counted::new();
            let others = [Read, Write].map(|act| {
                let counted = counted.clone();
                thread::spawn(move || user(&counted, &[act]))
            });
            plain_thread(&Record::plain_thread(), || counted.act(act));
            for other in others {
                assert_eq!(other.join().unwrap(), Ok(()));
            }
            counted.assert_writes(1 + u32::from(act == Write));
        });
    }
}

/// One tries while others hold it and wait for it: it is in vain, or it is let in.
#[test]
fn a_try_is_let_in_or_not() {
    for tried in [Read, Write] {
        check(2, move || {
            let counted = Counted::new();
            let others = [Read, Write].map(|act| {
                let counted = counted.clone();
                thread::spawn(move || user(&counted, &[act]))
            });
            let mut writes = 1;
            if tried == Read && counted.lock.try_read() {
                counted.look();
                counted.lock.unlock_read();
            } else if tried == Write && counted.lock.try_write() {
                counted.count();
                counted.lock.unlock_write();
                writes += 1;
            }
            for other in others {
                assert_eq!(other.join().unwrap(), Ok(()));
            }
            counted.assert_writes(writes);
        });
    }
}

/// A waiter is cancelled: in the queue, when it was woken or handed the lock, or it gets it. The others are let in all the same.
fn one_is_cancelled(victim: Act, others: &'static [&'static [Act]]) {
    check(2, move || {
        let counted = Counted::new();
        let (its, record) = (counted.clone(), Record::coroutine());
        let cancelled = record.clone();
        let its = thread::spawn(move || coroutine(&record, || its.act(victim)));
        let [first, second] = others else {
            unreachable!("there are two");
        };
        let other = counted.clone();
        let other = thread::spawn(move || user(&other, first));
        // One thread less: it cancels, and then comes itself.
        cancelled.cancel();
        assert_eq!(user(&counted, second), Ok(()));
        assert_eq!(other.join().unwrap(), Ok(()));
        let got = its.join().unwrap().is_ok();
        let writes = others.iter().flat_map(|acts| acts.iter());
        let writes = writes.filter(|&&act| act != Read).count() as u32;
        counted.assert_writes(writes + u32::from(got && victim != Read));
    });
}

/// Hangs on: a writer that leaves letting in the readers that it kept out, and clearing WRITERS; one that was woken to compete clearing
/// WOKEN and waking the next.
#[test]
fn a_cancelled_writer_forgets_nobody() {
    one_is_cancelled(Write, &[&[Read, Read], &[Read]]);
    one_is_cancelled(Write, &[&[Read], &[Write]]);
    one_is_cancelled(Write, &[&[Write, Write], &[Read]]);
    one_is_cancelled(Write, &[&[Downgrade], &[Read]]);
}

/// Hangs on: READERS being cleared by the last reader that leaves, and one that was let in going as any reader.
#[test]
fn a_cancelled_reader_forgets_nobody() {
    one_is_cancelled(Read, &[&[Write], &[Read]]);
    one_is_cancelled(Read, &[&[Write], &[Write]]);
}

/// One that is to be handed the lock is cancelled: before, meanwhile, or after. Another one waits, too, or comes.
///
/// Hangs on: STARVING being cleared by the one that leaves, and what it was handed being passed on.
#[test]
fn a_cancelled_starving_writer_passes_the_lock_on() {
    check(2, || {
        at_the_end_of_time();
        let counted = Counted::new();
        counted.lock.write();
        let (its, record) = (counted.clone(), Record::coroutine());
        let cancelled = record.clone();
        let its = thread::spawn(move || coroutine(&record, || its.act(Write)));
        counted.until(|word| word & WRITERS != 0);
        counted.lock.unlock_write();
        if counted.lock.try_write() {
            counted.until(|word| word & WOKEN == 0);
            let unlocks = counted.clone();
            let unlocks = thread::spawn(move || unlocks.lock.unlock_write());
            cancelled.cancel();
            assert_eq!(user(&counted, &[Write]), Ok(()));
            unlocks.join().unwrap();
        } else {
            assert_eq!(user(&counted, &[Write]), Ok(()));
        }
        let got = its.join().unwrap().is_ok();
        counted.assert_writes(1 + u32::from(got));
    });
}
