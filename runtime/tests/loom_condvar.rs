//! The condition variable (`sync/condvar.rs`) that ships, on the mutex's lock and the wait queue that ship, under every
//! interleaving. The mutex around that lock is a model: nobody panics here.
#![allow(
    unfulfilled_lint_expectations,
    reason = "the library leaves unused what models use"
)]

#[path = "../src/sync/condvar.rs"]
#[allow(dead_code, unreachable_pub)]
mod condvar;
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
    pub(crate) use crate::shim::{AtomicBool, AtomicU32, AtomicUsize, Cell, Ordering, spin_loop};
}
mod context {
    pub(crate) use crate::shim::current_worker;
}
mod mutex {
    use std::ops::{Deref, DerefMut};
    use std::sync::LockResult;

    use loom::cell::UnsafeCell;

    use crate::raw_mutex::RawMutex;

    pub(crate) struct Mutex<T: ?Sized> {
        pub(crate) raw: RawMutex,
        /// Read and written with the value, for loom to check.
        pub(crate) uses: UnsafeCell<()>,
        pub(crate) value: std::cell::UnsafeCell<T>,
    }

    // SAFETY: the threads of a model take turns on one thread; that the lock is held for each use is what loom checks.
    unsafe impl<T: Send> Send for Mutex<T> {}
    // SAFETY: as above.
    unsafe impl<T: Send> Sync for Mutex<T> {}

    pub(crate) struct MutexGuard<'a, T: ?Sized>(&'a Mutex<T>);

    impl<T: ?Sized> Mutex<T> {
        pub(crate) fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
            self.raw.lock();
            Ok(MutexGuard(self))
        }
    }

    pub(crate) struct Watch;

    impl<'a, T: ?Sized> MutexGuard<'a, T> {
        pub(crate) fn mutex(guard: &Self) -> &'a Mutex<T> {
            guard.0
        }

        pub(crate) fn watch(_: &Self) -> Watch {
            Watch
        }

        pub(crate) fn leave(guard: Self) {
            drop(guard);
        }

        pub(crate) fn come_back(guard: Self, _: Watch) -> Self {
            guard
        }
    }

    impl<T: ?Sized> Deref for MutexGuard<'_, T> {
        type Target = T;

        fn deref(&self) -> &T {
            self.0.uses.with(|_| {});
            // SAFETY: the lock is held.
            unsafe { &*self.0.value.get() }
        }
    }

    impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
        fn deref_mut(&mut self) -> &mut T {
            self.0.uses.with_mut(|_| {});
            // SAFETY: the lock is held.
            unsafe { &mut *self.0.value.get() }
        }
    }

    impl<T: ?Sized> Drop for MutexGuard<'_, T> {
        fn drop(&mut self) {
            self.0.raw.unlock();
        }
    }
}
mod sync {
    pub(crate) use crate::{mutex, waiters};
    pub(crate) mod lock {
        pub(crate) use crate::shim::SpinLock;
    }
    pub(crate) mod poison {
        pub(crate) use std::sync::{LockResult, PoisonError};
    }
    pub(crate) mod tally {
        /// Nobody has a budget.
        pub(crate) struct Tally;

        impl Tally {
            pub(crate) const fn new() -> Tally {
                Tally
            }

            pub(crate) fn count_failure(&self) {}
        }
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

use std::time::Duration;

use loom::sync::Arc;
use loom::thread;

use condvar::Condvar;
use mutex::Mutex;
use raw_mutex::RawMutex;
use shim::{Record, check, coroutine, plain_thread};

/// Permits, as one would build them of a mutex and a condition variable.
struct Permits {
    left: Mutex<u32>,
    added: Condvar,
}

impl Permits {
    fn new() -> Arc<Permits> {
        let permits = Permits {
            left: Mutex {
                raw: RawMutex::new(),
                uses: loom::cell::UnsafeCell::new(()),
                value: std::cell::UnsafeCell::new(0),
            },
            added: Condvar::new(),
        };
        drop(permits.left.lock());
        permits.added.notify_one();
        Arc::new(permits)
    }

    fn add(&self, held: bool) {
        let mut left = self.left.lock().unwrap();
        *left += 1;
        if held {
            self.added.notify_one();
        } else {
            drop(left);
            self.added.notify_one();
        }
    }

    fn take(&self) {
        let left = self.left.lock().unwrap();
        *self.added.wait_while(left, |left| *left == 0).unwrap() -= 1;
    }

    /// False: its time was over, and there was none.
    fn take_in_time(&self) -> bool {
        let left = self.left.lock().unwrap();
        let second = Duration::from_secs(1);
        let waited = self
            .added
            .wait_timeout_while(left, second, |left| *left == 0);
        let (mut left, result) = waited.unwrap();
        if !result.timed_out() {
            *left -= 1;
        }
        !result.timed_out()
    }

    /// Nobody waits any more, so the threads have come to their ends.
    fn assert_left(&self, expected: u32) {
        assert_eq!(*self.left.lock().unwrap(), expected);
    }
}

/// Two wait, a coroutine and a plain thread or another coroutine; two permits come, with and without the mutex held.
///
/// Hangs on: the waiter being in the queue, and `waiting` set, before the mutex is unlocked.
#[test]
fn whoever_waits_is_notified() {
    for plain in [false, true] {
        check(2, move || {
            let permits = Permits::new();
            let first = permits.clone();
            let first = thread::spawn(move || coroutine(&Record::coroutine(), || first.take()));
            let adds = permits.clone();
            let adds = thread::spawn(move || {
                coroutine(&Record::coroutine(), || {
                    adds.add(false);
                    adds.add(true);
                })
            });
            if plain {
                plain_thread(&Record::plain_thread(), || permits.take());
            } else {
                assert_eq!(coroutine(&Record::coroutine(), || permits.take()), Ok(()));
            }
            assert_eq!(first.join().unwrap(), Ok(()));
            assert_eq!(adds.join().unwrap(), Ok(()));
            plain_thread(&Record::plain_thread(), || permits.assert_left(0));
        });
    }
}

/// All are notified at once.
#[test]
fn all_that_wait_are_notified() {
    check(2, || {
        let permits = Permits::new();
        let others = [(), ()].map(|()| {
            let permits = permits.clone();
            thread::spawn(move || coroutine(&Record::coroutine(), || permits.take()))
        });
        let added = coroutine(&Record::coroutine(), || {
            *permits.left.lock().unwrap() = 2;
            permits.added.notify_all();
        });
        assert_eq!(added, Ok(()));
        for other in others {
            assert_eq!(other.join().unwrap(), Ok(()));
        }
        plain_thread(&Record::plain_thread(), || permits.assert_left(0));
    });
}

/// Two wait, one of them is cancelled at any point: before it waits, in the queue, notified, at the mutex. The one permit is
/// its, or the other one's.
///
/// Hangs on: `leave` and `Signal` passing the signal on.
#[test]
fn a_cancelled_waiter_takes_no_signal_with_it() {
    check(2, || {
        let permits = Permits::new();
        let (its, record) = (permits.clone(), Record::coroutine());
        let cancelled = record.clone();
        let its = thread::spawn(move || coroutine(&record, || its.take()));
        let other = permits.clone();
        let other = thread::spawn(move || coroutine(&Record::coroutine(), || other.take()));
        let added = coroutine(&Record::coroutine(), || {
            permits.add(false);
            cancelled.cancel();
        });
        assert_eq!(added, Ok(()));
        if its.join().unwrap().is_ok() {
            plain_thread(&Record::plain_thread(), || permits.add(true));
        }
        assert_eq!(other.join().unwrap(), Ok(()));
        plain_thread(&Record::plain_thread(), || permits.assert_left(0));
    });
}

/// Two wait, the time of one is over at any point. It has a permit, or the signal is the other one's.
#[test]
fn a_waiter_that_times_out_takes_no_signal_with_it() {
    check(2, || {
        let permits = Permits::new();
        let (its, record) = (permits.clone(), Record::coroutine());
        let late = record.clone();
        let its = thread::spawn(move || coroutine(&record, || its.take_in_time()));
        let other = permits.clone();
        let other = thread::spawn(move || coroutine(&Record::coroutine(), || other.take()));
        let added = coroutine(&Record::coroutine(), || {
            permits.add(true);
            late.expire();
        });
        assert_eq!(added, Ok(()));
        if its.join().unwrap() == Ok(true) {
            plain_thread(&Record::plain_thread(), || permits.add(true));
        }
        assert_eq!(other.join().unwrap(), Ok(()));
        plain_thread(&Record::plain_thread(), || permits.assert_left(0));
    });
}
