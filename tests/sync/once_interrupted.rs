//! `Once`, `OnceLock` and `LazyLock` whose initialisers, or those who wait for them, are cancelled or out of time.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use withy::sync::{LazyLock, Once, OnceLock};
use withy::{CancelToken, Cancelled, JoinHandle};

use super::once::{Shared, waiters};
use crate::rig::{each_runtime, stress_rounds};
use crate::support::{self, LIMIT, matrix, within};

/// Promises 40 and 53. An initialiser that is cancelled leaves everything as it was: exactly one of those who wait runs its own.
#[test]
fn a_cancelled_initialiser_leaves_it_to_the_next() {
    matrix(LIMIT, "an initialisation after a cancellation", |case| {
        let shared = Arc::new(Shared::default());
        let first = case.runtime.spawn({
            let shared = shared.clone();
            move || *shared.cell.get_or_init(|| shared.initialise())
        });
        shared.until_begun(1);
        let callers = waiters(case, &shared);
        shared.until_waiting(4);
        first.cancel();
        assert!(first.join().unwrap_err().is::<Cancelled>());
        shared.until_begun(2);
        assert_eq!(shared.ended.load(Ordering::SeqCst), 0);
        shared.release();
        for caller in callers {
            assert_eq!(caller.join(), 2);
        }
    });
}

/// Promises 40 and 53. The same for timeouts and tokens, of coroutines and of plain threads, and a `Once`: no poison.
#[test]
fn an_elapsed_timeout_in_an_initialiser_does_not_poison() {
    matrix(LIMIT, "an initialisation after a timeout", |case| {
        case.run(|| {
            let once = Once::new();
            let short = Duration::from_micros(100);
            let ended = withy::timeout(short, || once.call_once(withy::park));
            assert!(ended.is_err() && !once.is_completed());
            let token = CancelToken::new();
            let ended = token.run(|| {
                once.call_once(|| {
                    token.cancel();
                    withy::park();
                });
            });
            assert!(ended.is_err() && !once.is_completed());
            // It was not poisoned, and is not told so.
            once.call_once_force(|state| assert!(!state.is_poisoned()));
            assert!(once.is_completed());
        });
    });
}

/// Promise 40. A forced initialiser that is interrupted leaves the poison as it was.
#[test]
fn an_interrupted_repair_leaves_the_poison() {
    matrix(LIMIT, "a repair that was interrupted", |case| {
        case.run(|| {
            let once = Once::new();
            let panicked = catch_unwind(AssertUnwindSafe(|| once.call_once(|| panic!("broken"))));
            assert!(panicked.is_err());
            let ended = withy::timeout(Duration::from_micros(100), || {
                once.call_once_force(|_| withy::park());
            });
            assert!(ended.is_err());
            let poisoned = catch_unwind(AssertUnwindSafe(|| once.call_once(|| ())));
            assert!(poisoned.is_err(), "it is poisoned still");
            once.call_once_force(|state| assert!(state.is_poisoned()));
            once.call_once(|| unreachable!("repaired"));
        });
    });
}

/// Promise 29. One that was woken to be the next, and is cancelled before it begins, wakes the one behind it.
#[test]
fn a_successor_that_is_cancelled_passes_its_turn_on() {
    each_runtime("a turn that is passed on", |runtime, label| {
        for in_order in [true, false] {
            let shared = Arc::new(Shared::default());
            let start = |before| {
                shared.until_waiting(before);
                let shared = shared.clone();
                runtime.spawn(move || {
                    shared.announce();
                    *shared.cell.get_or_init(|| shared.initialise())
                })
            };
            let first = start(0);
            shared.until_begun(1);
            let (second, third) = (start(1), start(2));
            shared.until_waiting(3);
            // With one worker, and in one of the two orders, the first unwinds and wakes the second, which is cancelled by then.
            let ended = runtime.run(move || {
                match in_order {
                    true => [&first, &second].map(JoinHandle::cancel),
                    false => [&second, &first].map(JoinHandle::cancel),
                };
                [first.join(), second.join()]
            });
            for ended in ended {
                assert!(ended.unwrap_err().is::<Cancelled>(), "{label}");
            }
            shared.release();
            let value = third.join().unwrap();
            assert!(value == 2 || value == 3, "{label}");
        }
    });
}

/// Law 6. An interruption around the first use of a `LazyLock` does not take the value away from everybody: it comes afterwards.
#[test]
fn the_initialiser_of_a_lazy_lock_is_not_interrupted() {
    matrix(LIMIT, "a lazy lock in a timeout", |case| {
        case.run(|| {
            let inner = Cell::new(false);
            let lazy = LazyLock::new(|| {
                withy::sleep(Duration::from_millis(2));
                inner.set(withy::timeout(Duration::from_micros(10), withy::park).is_err());
                5
            });
            let ended: Result<(), _> = withy::timeout(Duration::from_micros(100), || {
                assert_eq!(*lazy, 5);
                withy::park();
            });
            assert!(ended.is_err() && inner.get());
            assert_eq!(LazyLock::get(&lazy), Some(&5));
            let mut lazy = LazyLock::new(|| withy::sleep(Duration::from_millis(1)));
            let ended: Result<(), _> = withy::timeout(Duration::from_micros(100), || {
                LazyLock::force_mut(&mut lazy);
                withy::park();
            });
            assert!(ended.is_err() && LazyLock::get(&lazy).is_some());
        });
    });
}

/// Promise 29. Cancelled and elapsing callers, and panics, at every moment: one value comes out in the end, and nobody is forgotten.
#[test]
fn stress_interrupted_initialisers_leave_one_value() {
    const CALLERS: usize = 40;
    for round in 0..40 * stress_rounds() {
        let full_stealing = round % 2 == 0;
        within(LIMIT, &format!("round {round}"), || {
            let runtime = support::runtime([1, 2, 8][round % 3], full_stealing);
            let cell = Arc::new(OnceLock::new());
            let values = Arc::new(AtomicUsize::new(0));
            let callers: Vec<_> = (0..CALLERS)
                .map(|number| {
                    let (cell, values) = (cell.clone(), values.clone());
                    runtime.spawn(move || {
                        let make = || {
                            withy::sleep(Duration::from_micros(fastrand::u64(0..60)));
                            // The last is not interrupted, and does not panic.
                            if number < CALLERS - 1 && fastrand::bool() {
                                resume_unwind(Box::new("by chance"));
                            }
                            values.fetch_add(1, Ordering::SeqCst);
                            number
                        };
                        let limit = match number == CALLERS - 1 {
                            true => Duration::MAX,
                            false => Duration::from_micros(fastrand::u64(0..2000)),
                        };
                        let _ = withy::timeout(limit, || cell.get_or_init(make));
                    })
                })
                .collect();
            for (number, caller) in callers.into_iter().enumerate() {
                if number % 3 == 0 && number < CALLERS - 1 {
                    withy::sleep(Duration::from_micros(fastrand::u64(0..40)));
                    caller.cancel();
                }
                let _ = caller.join();
            }
            assert_eq!(values.load(Ordering::SeqCst), 1);
            assert!(cell.get().is_some());
        });
    }
}
