//! What poisons a lock, and what does not; and whose lock.

mod rig;
mod support;

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rig::endings::{Flag, OnDrop};
use rig::{each_runtime, text_of};
use support::{LIMIT, matrix, within};
use withy::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use withy::{CancelToken, Cancelled, JoinHandle};

/// What a coroutine unwinds from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Panic,
    Cancellation,
    Timeout,
}

const ENDS: [End; 3] = [End::Panic, End::Cancellation, End::Timeout];

/// Starts a coroutine that makes a value and is unwound while it holds that.
fn unwinding<T>(
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

fn park_for_ever() {
    loop {
        withy::park();
    }
}

fn assert_met(end: End, ended: std::thread::Result<()>, label: &str) {
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

/// Promise 53. One that unwinds waits in a destructor for a lock that a neighbour on its worker holds. The neighbour goes on, unlocks, and
/// poisons nothing; the lock comes over.
#[test]
fn a_destructor_gets_a_neighbours_lock_and_poisons_nothing() {
    each_runtime("a neighbour's lock", |runtime, label| {
        runtime.run(|| {
            for end in ENDS {
                let pairs: Vec<_> = (0..runtime.workers()).map(|w| neighbours(w, end)).collect();
                for (lock, neighbour, unwinds) in pairs {
                    neighbour.join().unwrap();
                    assert_met(end, unwinds.join(), label);
                    assert!(!lock.is_poisoned(), "{end:?}: {label}");
                    assert_eq!(*lock.lock().unwrap(), 11, "{end:?}: {label}");
                }
            }
        });
    });
}

type Neighbours = (Arc<Mutex<u32>>, JoinHandle<()>, JoinHandle<()>);

fn neighbours(worker: usize, end: End) -> Neighbours {
    let lock = Arc::new(Mutex::new(0));
    let (holding, waiting) = (Flag::default(), Flag::default());
    let neighbour = withy::spawn_on(worker, {
        let (lock, holding, waiting) = (lock.clone(), holding.clone(), waiting.clone());
        move || {
            let mut guard = lock.lock().unwrap();
            holding.set();
            waiting.wait();
            // The other has parked in its destructor.
            withy::yield_now();
            *guard += 1;
            drop(guard);
        }
    });
    holding.wait();
    let unwinds = unwinding(worker, end, {
        let lock = lock.clone();
        move || {
            OnDrop(move || {
                waiting.set();
                *lock.lock().unwrap_or_else(PoisonError::into_inner) += 10;
            })
        }
    });
    (lock, neighbour, unwinds)
}

/// Promise 53. While one waits in the middle of its unwinding, neighbours use locks of their own, from before, or from then on,
/// parked or not: nothing is poisoned. When it is over a panic poisons again.
#[test]
fn what_neighbours_lock_meanwhile_is_not_poisoned() {
    each_runtime("locks beside an unwinding", |runtime, label| {
        runtime.run(|| {
            for end in ENDS {
                let locks: Arc<[Mutex<u32>; 3]> = Arc::default();
                let (before, release) = (Flag::default(), Flag::default());
                let old = withy::spawn_on(0, {
                    let (locks, before) = (locks.clone(), before.clone());
                    move || {
                        let first = locks[0].lock().unwrap();
                        before.wait();
                        let second = locks[1].lock().unwrap();
                        withy::sleep(Duration::from_micros(10));
                        drop(first);
                        withy::yield_now();
                        drop(second);
                        drop(locks[1].lock().unwrap());
                    }
                });
                let unwinds = unwinding(0, end, {
                    let (before, release) = (before.clone(), release.clone());
                    || OnDrop(move || (before.set(), release.wait()).1)
                });
                before.wait();
                let born = withy::spawn_on(0, {
                    let locks = locks.clone();
                    move || {
                        drop(locks[2].lock().unwrap());
                        let third = locks[2].lock().unwrap();
                        withy::yield_now();
                        drop(third);
                    }
                });
                old.join().unwrap();
                born.join().unwrap();
                assert!(!unwinds.is_finished(), "{end:?}: {label}");
                release.set();
                assert_met(end, unwinds.join(), label);
                assert!(locks.iter().all(|lock| !lock.is_poisoned()), "{end:?}");
                let panics = withy::spawn_on(0, {
                    let locks = locks.clone();
                    move || {
                        let _guard = locks[0].lock().unwrap();
                        resume_unwind(Box::new("held"));
                    }
                });
                assert!(panics.join().is_err() && locks[0].is_poisoned(), "{label}");
            }
        });
    });
}

/// Promise 53. A neighbour that is interrupted meanwhile does not poison what it holds either.
#[test]
fn a_neighbour_that_is_cancelled_meanwhile_poisons_nothing() {
    each_runtime("a cancellation beside an unwinding", |runtime, label| {
        runtime.run(|| {
            for end in ENDS {
                let lock: &'static Mutex<()> = Box::leak(Box::default());
                let (holding, unwound, release) = <(Flag, Flag, Flag)>::default();
                let holder = withy::spawn_on(0, {
                    let holding = holding.clone();
                    move || {
                        let _guard = lock.lock().unwrap();
                        holding.set();
                        park_for_ever();
                    }
                });
                holding.wait();
                let unwinds = unwinding(0, end, {
                    let (unwound, release) = (unwound.clone(), release.clone());
                    || OnDrop(move || (unwound.set(), release.wait()).1)
                });
                unwound.wait();
                holder.cancel();
                assert!(holder.join().unwrap_err().is::<Cancelled>(), "{label}");
                assert!(!lock.is_poisoned(), "{end:?}: {label}");
                release.set();
                assert_met(end, unwinds.join(), label);
            }
        });
    });
}

/// Promise 53. A neighbour that panics, with the lock, while the other waits for that in its destructor: nobody aborts, nobody hangs.
/// (Whether the lock is poisoned cannot be known then: the thread counts panics for both of them.)
#[test]
fn a_neighbour_that_panics_meanwhile_gives_its_lock_up() {
    each_runtime("two panics", |runtime, label| {
        runtime.run(|| {
            for end in ENDS {
                let lock: &'static Mutex<()> = Box::leak(Box::default());
                let (holding, waiting) = <(Flag, Flag)>::default();
                let neighbour = withy::spawn_on(0, {
                    let (holding, waiting) = (holding.clone(), waiting.clone());
                    move || {
                        let _guard = lock.lock().unwrap();
                        holding.set();
                        waiting.wait();
                        resume_unwind(Box::new("the neighbour"));
                    }
                });
                holding.wait();
                let got = Flag::default();
                let unwinds = unwinding(0, end, {
                    let got = got.clone();
                    move || OnDrop(move || (waiting.set(), drop(lock.lock()), got.set()).2)
                });
                let payload = neighbour.join().unwrap_err();
                assert_eq!(text_of(&*payload), "the neighbour", "{label}");
                assert_met(end, unwinds.join(), label);
                got.wait();
            }
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

/// Promise 53. What a coroutine's locals hold is dropped when its unwinding is over, whatever a neighbour does meanwhile.
#[test]
fn locals_are_dropped_after_the_unwinding() {
    withy::coroutine_local! {
        static HELD: RefCell<Option<MutexGuard<'static, ()>>> = const { RefCell::new(None) };
    }
    each_runtime("a guard in a local", |runtime, label| {
        runtime.run(|| {
            let lock: &'static Mutex<()> = Box::leak(Box::default());
            let [(first_in, first_out), (second_in, second_out)] = <[(Flag, Flag); 2]>::default();
            let first = unwinding(0, End::Panic, {
                let (inside, out) = (first_in.clone(), first_out.clone());
                move || {
                    HELD.with(|held| *held.borrow_mut() = Some(lock.lock().unwrap()));
                    OnDrop(move || (inside.set(), out.wait()).1)
                }
            });
            first_in.wait();
            let second = unwinding(0, End::Panic, {
                let (inside, out) = (second_in.clone(), second_out.clone());
                move || OnDrop(move || (inside.set(), out.wait()).1)
            });
            second_in.wait();
            first_out.set();
            assert_met(End::Panic, first.join(), label);
            assert!(!lock.is_poisoned(), "{label}");
            second_out.set();
            assert_met(End::Panic, second.join(), label);
        });
    });
}

/// The same cases for std's locks and ours: which of them poison?
macro_rules! outcomes {
    ($name:ident, $sync:path) => {
        #[allow(clippy::too_many_lines, reason = "a list")]
        fn $name() -> Vec<(&'static str, bool)> {
            use $sync::{LazyLock, Mutex, Once, OnceLock};
            fn caught(f: impl FnOnce()) {
                let _ = catch_unwind(AssertUnwindSafe(f));
            }
            let mut outcomes = Vec::new();
            let mut of = |what, body: &dyn Fn(&Mutex<u8>)| {
                let lock = Mutex::new(0);
                caught(|| body(&lock));
                let by_lock = lock.lock().is_err();
                assert_eq!(by_lock, lock.is_poisoned());
                outcomes.push((what, by_lock));
            };
            of("a guard that is held", &|lock| {
                let _guard = lock.lock();
                panic!("1");
            });
            of("a guard that was tried for", &|lock| {
                let _guard = lock.try_lock();
                panic!("2");
            });
            of("a guard that was dropped", &|lock| {
                drop(lock.lock());
                panic!("3");
            });
            of("a guard around a panic that is caught", &|lock| {
                let _guard = lock.lock();
                caught(|| panic!("4"));
            });
            of("a guard within a panic that is caught", &|lock| {
                caught(|| {
                    let _guard = lock.lock();
                    panic!("5");
                });
            });
            of("a guard made in a destructor", &|lock| {
                let _locks = OnDrop(|| drop(lock.lock()));
                panic!("6");
            });
            of("a guard in a destructor, and a panic there", &|lock| {
                let _locks = OnDrop(|| {
                    caught(|| {
                        let _guard = lock.lock();
                        panic!("7a");
                    });
                });
                panic!("7b");
            });
            of("a guard that a destructor drops", &|lock| {
                let mut guard = Some(lock.lock().unwrap());
                let _drops = OnDrop(|| drop(guard.take()));
                panic!("8");
            });
            of("a guard and an unwinding that is resumed", &|lock| {
                let _guard = lock.lock();
                std::panic::resume_unwind(Box::new(()));
            });
            of("a guard and an unwinding that was cleared", &|lock| {
                caught(|| {
                    let _guard = lock.lock();
                    panic!("10");
                });
                lock.clear_poison();
            });
            of("an initialiser's unwinding", &|lock| {
                let cell: OnceLock<u8> = OnceLock::new();
                let _ = cell.get_or_init(|| {
                    let _guard = lock.lock();
                    panic!("11")
                });
            });
            // Those that are no mutex.
            let once = Once::new();
            caught(|| once.call_once(|| panic!("12")));
            let mut poisoned = false;
            once.call_once_force(|state| poisoned = state.is_poisoned());
            outcomes.push(("a once", poisoned));
            let once = Once::new();
            caught(|| {
                let _calls = OnDrop(|| once.call_once(|| ()));
                panic!("13");
            });
            outcomes.push(("a once that ends in a destructor", !once.is_completed()));
            let once = Once::new();
            caught(|| {
                let _calls = OnDrop(|| caught(|| once.call_once(|| panic!("14a"))));
                panic!("14b");
            });
            once.call_once_force(|state| poisoned = state.is_poisoned());
            outcomes.push(("a once that panics in a destructor", poisoned));
            let lazy: LazyLock<u8> = LazyLock::new(|| panic!("15"));
            caught(|| _ = *lazy);
            let again = catch_unwind(AssertUnwindSafe(|| *lazy)).unwrap_err();
            outcomes.push(("a lazy lock", text_of(&*again).contains("poisoned")));
            outcomes
        }
    };
}

outcomes!(outcomes_of_std, std::sync);
outcomes!(outcomes_of_withy, withy::sync);

/// Promise 40. std's own locks, asked the same questions on a thread, give the same answers.
#[test]
fn what_poisons_is_what_poisons_in_std() {
    let expected = within(LIMIT, "std", outcomes_of_std);
    assert!(expected.iter().any(|case| case.1) && !expected.iter().all(|case| case.1));
    matrix(LIMIT, "withy", |case| {
        let expected = expected.clone();
        case.run(move || assert_eq!(outcomes_of_withy(), expected));
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
