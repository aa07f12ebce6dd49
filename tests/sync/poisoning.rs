//! What poisons a lock, and what does not. Beside std, and beside a neighbour that unwinds: in files of their own.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use withy::sync::{Mutex, PoisonError, TryLockError};
use withy::{CancelToken, Cancelled, JoinHandle};

use crate::rig::endings::{Flag, OnDrop};
use crate::rig::{each_runtime, text_of};
use crate::support::{LIMIT, matrix};

/// What a coroutine unwinds from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Panic,
    Cancellation,
    Timeout,
}

pub(super) const ENDS: [End; 3] = [End::Panic, End::Cancellation, End::Timeout];

/// Starts a coroutine that makes a value and is unwound while it holds that.
pub(super) fn unwinding<T>(
    worker: usize,
    end: End,
    make: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<()> {
    let made = Flag::default();
    let handle = withy::spawn_on(worker, {
        let made = made.clone();
        move || {
            let held = make();
            made.set();
            match end {
                End::Panic => {
                    let _held = held;
                    // As a panic, without its message.
                    resume_unwind(Box::new("met"));
                }
                End::Cancellation => {
                    let _held = held;
                    park_for_ever();
                }
                End::Timeout => {
                    let ended = withy::timeout(Duration::from_micros(50), move || {
                        let _held = held;
                        park_for_ever();
                    });
                    assert!(ended.is_err());
                }
            }
        }
    });
    if end == End::Cancellation {
        made.wait();
        handle.cancel();
    }
    handle
}

pub(super) fn park_for_ever() {
    loop {
        withy::park();
    }
}

pub(super) fn assert_met(end: End, ended: std::thread::Result<()>, label: &str) {
    match (end, ended) {
        (End::Panic, Err(payload)) => assert_eq!(text_of(&*payload), "met", "{label}"),
        (End::Cancellation, Err(payload)) => assert!(payload.is::<Cancelled>(), "{label}"),
        (End::Timeout, Ok(())) => {}
        (end, ended) => panic!("{end:?} gave {ended:?}: {label}"),
    }
}

/// Promise 40. A panic poisons what its coroutine or thread holds; the value can be reached all the same, and the poison cleared.
#[test]
fn a_panic_poisons_what_is_held() {
    matrix(LIMIT, "a poisoned mutex", |case| {
        let lock = Arc::new(Mutex::new(1));
        let holder = case.spawn({
            let lock = lock.clone();
            move || {
                let held = || {
                    let mut guard = lock.lock().unwrap();
                    *guard = 2;
                    withy::sleep(Duration::from_micros(10));
                    panic!("held");
                };
                catch_unwind(AssertUnwindSafe(held)).is_err()
            }
        });
        assert!(holder.join());
        let looks = case.spawn({
            let lock = lock.clone();
            move || {
                assert!(lock.is_poisoned());
                assert_eq!(*lock.lock().unwrap_err().into_inner(), 2);
                let tried = lock.try_lock();
                assert!(matches!(tried, Err(TryLockError::Poisoned(_))));
                drop(tried);
                lock.clear_poison();
                assert!(lock.lock().is_ok() && !lock.is_poisoned());
            }
        });
        looks.join();
        let poisoned = catch_unwind(AssertUnwindSafe(|| {
            let _guard = lock.lock().unwrap();
            panic!("again");
        }));
        assert!(poisoned.is_err());
        let mut lock = Arc::into_inner(lock).unwrap();
        assert!(lock.get_mut().is_err());
        assert_eq!(lock.into_inner().unwrap_err().into_inner(), 2);
    });
}

/// Promises 40 and 53. Of the ways to unwind, a panic alone poisons what is held.
#[test]
fn a_cancellation_and_a_timeout_do_not_poison() {
    each_runtime("what is held", |runtime, label| {
        runtime.run(|| {
            for end in ENDS {
                let lock: &'static Mutex<()> = Box::leak(Box::default());
                let holder = unwinding(0, end, || lock.lock().unwrap());
                assert_met(end, holder.join(), label);
                assert_eq!(lock.is_poisoned(), end == End::Panic, "{end:?}: {label}");
                assert!(!matches!(lock.try_lock(), Err(TryLockError::WouldBlock)));
            }
        });
    });
}

/// Promise 40. Nor does a token, nor a timeout of a plain thread.
#[test]
fn a_token_and_a_timeout_of_a_thread_do_not_poison() {
    matrix(LIMIT, "regions that are unwound", |case| {
        case.run(|| {
            let lock = Mutex::new(());
            let ended: Result<(), _> = withy::timeout(Duration::from_micros(50), || {
                let _held = lock.lock().unwrap();
                park_for_ever();
            });
            assert!(ended.is_err() && !lock.is_poisoned());
            let token = CancelToken::new();
            let ended: Result<(), _> = token.run(|| {
                let _held = lock.lock().unwrap();
                token.cancel();
                park_for_ever();
            });
            assert!(ended.is_err() && !lock.is_poisoned());
            // What comes after it does.
            let panicked = catch_unwind(AssertUnwindSafe(|| {
                let _held = lock.lock().unwrap();
                panic!("held");
            }));
            assert!(panicked.is_err() && lock.is_poisoned());
        });
    });
}

/// Promises 40 and 53. Destructors lock, and wait for locks, while their coroutine unwinds: that poisons nothing.
#[test]
fn locks_in_destructors_are_not_poisoned() {
    each_runtime("locks in destructors", |runtime, label| {
        runtime.run(|| {
            for end in ENDS {
                let lock = Arc::new(Mutex::new(0));
                let all: Vec<_> = (0..10)
                    .map(|number| {
                        let lock = lock.clone();
                        unwinding(number % runtime.workers(), end, move || {
                            OnDrop(move || {
                                let mut guard = lock.lock().unwrap_or_else(PoisonError::into_inner);
                                withy::sleep(Duration::from_micros(20));
                                *guard += 1;
                            })
                        })
                    })
                    .collect();
                for one in all {
                    assert_met(end, one.join(), label);
                }
                assert_eq!(lock.lock().map(|count| *count).ok(), Some(10), "{label}");
            }
        });
    });
}

/// Promise 40. What a coroutine that was cancelled before it began would have owned is dropped as it always is: its panic poisons.
#[test]
fn a_panic_of_a_closure_that_is_dropped_unrun_poisons() {
    each_runtime("a closure that never ran", |runtime, label| {
        let (good, bad) = <(Arc<Mutex<()>>, Arc<Mutex<()>>)>::default();
        let owned = {
            let (good, bad) = (good.clone(), bad.clone());
            OnDrop(move || {
                drop(good.lock());
                let panicked = catch_unwind(AssertUnwindSafe(|| {
                    let _guard = bad.lock();
                    panic!("in the destructor");
                }));
                assert!(panicked.is_err());
            })
        };
        runtime.run(|| {
            let fresh = withy::spawn_on(0, move || drop(owned));
            // It is behind us, or its worker is not ours and may be faster.
            fresh.cancel();
            let _ = fresh.join();
        });
        assert!(!good.is_poisoned() && bad.is_poisoned(), "{label}");
    });
}

/// Promises 40 and 53. Panics, cancellations and timeouts of many at once, with waits in destructors: each lock is taken by all in the
/// end, whatever its poison.
#[test]
fn stress_unwinding_holders_leave_every_lock_free() {
    each_runtime("holders that unwind", |runtime, label| {
        let locks: Arc<[Mutex<usize>; 3]> = Arc::default();
        let taken = Arc::new(AtomicUsize::new(0));
        runtime.run(|| {
            let all: Vec<_> = (0..60)
                .map(|number| {
                    let (locks, taken) = (locks.clone(), taken.clone());
                    let end = ENDS[number % 3];
                    let take = move |number: usize| {
                        let mut guard = locks[number % 3]
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner);
                        withy::sleep(Duration::from_micros(number as u64));
                        *guard += 1;
                        taken.fetch_add(1, Ordering::SeqCst);
                    };
                    let worker = number % runtime.workers();
                    (
                        end,
                        unwinding(worker, end, move || OnDrop(move || take(number / 3))),
                    )
                })
                .collect();
            for (end, one) in all {
                assert_met(end, one.join(), label);
            }
        });
        assert_eq!(taken.load(Ordering::SeqCst), 60, "{label}");
        let sum: usize = locks.iter().map(|lock| *lock.lock().unwrap()).sum();
        assert_eq!(sum, 60, "{label}");
    });
}
