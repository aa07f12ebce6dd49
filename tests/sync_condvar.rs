//! `Condvar` as std has it, and what withy promises beyond: order, no spurious wake-ups, several mutexes.

mod rig;
mod support;

use std::panic::{AssertUnwindSafe, RefUnwindSafe, UnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rig::{each_runtime, until};
use support::{Caller, LIMIT, matrix, within};
use withy::sync::{Condvar, Mutex, WaitTimeoutResult};
use withy::{Runtime, now};

const HOUR: Duration = Duration::from_secs(3600);

/// Who waits, and who has gone on, under one mutex.
#[derive(Default)]
struct Room {
    waiting: usize,
    gone_on: Vec<usize>,
}

type Shared = Arc<(Mutex<Room>, Condvar)>;

/// `number` callers that wait once each and note their numbers. They have come in this order and wait: the mutex was free.
fn waiters(case: &support::Case, shared: &Shared, number: usize) -> Vec<Caller<()>> {
    (0..number)
        .map(|n| {
            let seat = shared.clone();
            let before = shared.0.lock().unwrap().waiting;
            let waiter = case.spawn(move || {
                let mut room = seat.0.lock().unwrap();
                room.waiting += 1;
                let mut room = seat.1.wait(room).unwrap();
                room.waiting -= 1;
                room.gone_on.push(n);
            });
            until(|| shared.0.lock().unwrap().waiting > before);
            waiter
        })
        .collect()
}

/// Promise 41. One waits, one notifies: what was done under the mutex is seen.
#[test]
fn a_waiter_goes_on_when_it_is_notified() {
    matrix(LIMIT, "one notification", |case| {
        let shared = Arc::new((Mutex::new(0), Condvar::new()));
        let waiter = case.spawn({
            let shared = shared.clone();
            move || {
                let mut value = shared.0.lock().unwrap();
                while *value == 0 {
                    value = shared.1.wait(value).unwrap();
                }
                *value += 1;
                shared.1.notify_one();
            }
        });
        let notifier = case.spawn({
            let shared = shared.clone();
            move || {
                let mut value = shared.0.lock().unwrap();
                *value = 1;
                shared.1.notify_one();
                while *value == 1 {
                    value = shared.1.wait(value).unwrap();
                }
                *value
            }
        });
        assert_eq!(notifier.join(), 2);
        waiter.join();
    });
}

/// Promise 44. Each notification wakes one, the one that has waited longest, and never a second.
#[test]
fn one_is_notified_at_a_time_in_the_order_of_coming() {
    matrix(LIMIT, "notifications of one", |case| {
        let shared = Shared::default();
        let waiters = waiters(case, &shared, 6);
        for n in 0..6 {
            shared.1.notify_one();
            until(|| shared.0.lock().unwrap().gone_on.len() > n);
            assert_eq!(shared.0.lock().unwrap().waiting, 5 - n);
        }
        waiters.into_iter().for_each(Caller::join);
        assert_eq!(shared.0.lock().unwrap().gone_on, [0, 1, 2, 3, 4, 5]);
    });
}

/// Promise 44. All that wait are notified, and nobody who comes later.
#[test]
fn all_that_wait_are_notified_at_once() {
    matrix(LIMIT, "notifications of all", |case| {
        let shared = Shared::default();
        let first = waiters(case, &shared, 6);
        shared.1.notify_all();
        first.into_iter().for_each(Caller::join);
        let later = waiters(case, &shared, 2);
        withy::sleep(Duration::from_millis(1));
        assert_eq!(shared.0.lock().unwrap().waiting, 2);
        shared.1.notify_all();
        later.into_iter().for_each(Caller::join);
    });
}

/// A notification that nobody waits for is not kept.
#[test]
fn a_notification_is_not_kept() {
    matrix(LIMIT, "a notification without a waiter", |case| {
        let timed_out = case.run(|| {
            let (mutex, condvar) = (Mutex::new(()), Condvar::new());
            condvar.notify_one();
            condvar.notify_all();
            let guard = mutex.lock().unwrap();
            let waited = condvar.wait_timeout(guard, Duration::from_micros(50));
            waited.unwrap().1.timed_out()
        });
        assert!(timed_out);
    });
}

/// Promise 44. No wait ends for no reason: not by the permit of `unpark`, and not by wake-ups that belong to other waits.
#[test]
fn there_are_no_spurious_wake_ups() {
    matrix(LIMIT, "unparks of a waiter", |case| {
        let shared = Shared::default();
        let waiters = waiters(case, &shared, 1);
        for _ in 0..50 {
            waiters[0].unpark();
            withy::yield_now();
        }
        withy::sleep(Duration::from_millis(1));
        assert!(shared.0.lock().unwrap().gone_on.is_empty());
        shared.1.notify_one();
        waiters.into_iter().for_each(Caller::join);
    });
}

/// `wait_while` asks first, and after each notification.
#[test]
fn waits_go_on_while_their_condition_holds() {
    matrix(LIMIT, "wait_while", |case| {
        let shared = Arc::new((Mutex::new((3, 0)), Condvar::new()));
        let waiter = case.spawn({
            let shared = shared.clone();
            move || {
                let value = shared.0.lock().unwrap();
                let mut asked = 0;
                let waited = shared.1.wait_while(value, |(left, asks)| {
                    asked += 1;
                    *asks = asked;
                    *left > 0
                });
                drop(waited.unwrap());
                asked
            }
        });
        for n in 1..=3 {
            until(|| shared.0.lock().unwrap().1 == n);
            shared.0.lock().unwrap().0 -= 1;
            shared.1.notify_all();
        }
        assert_eq!(waiter.join(), 4);
        let at_once = shared.1.wait_while(shared.0.lock().unwrap(), |_| false);
        assert_eq!(at_once.unwrap().0, 0);
    });
}

/// Promise 24. A wait without time gives the mutex away and back, and has timed out; one with too much is notified.
#[test]
fn extreme_times_work() {
    matrix(LIMIT, "zero and Duration::MAX", |case| {
        let shared = Shared::default();
        let zero = shared.clone();
        let timed_out = case.run(move || {
            let guard = zero.0.lock().unwrap();
            let (guard, result) = zero.1.wait_timeout(guard, Duration::ZERO).unwrap();
            let waited = zero.1.wait_timeout_while(guard, Duration::ZERO, |_| true);
            result.timed_out() && waited.unwrap().1.timed_out()
        });
        assert!(timed_out);
        let long = shared.clone();
        let waiter = case.spawn(move || {
            let mut guard = long.0.lock().unwrap();
            guard.waiting = 1;
            let (mut guard, result) = long.1.wait_timeout(guard, Duration::MAX).unwrap();
            guard.waiting = 2;
            let waited = long
                .1
                .wait_timeout_while(guard, Duration::MAX, |room| room.waiting == 2);
            result.timed_out() || waited.unwrap().1.timed_out()
        });
        until(|| shared.0.lock().unwrap().waiting == 1);
        shared.1.notify_one();
        until(|| shared.0.lock().unwrap().waiting == 2);
        shared.0.lock().unwrap().waiting = 3;
        shared.1.notify_one();
        assert!(!waiter.join());
    });
}

/// The old name, in milliseconds.
#[test]
#[allow(deprecated, reason = "it is there")]
fn milliseconds_work() {
    matrix(LIMIT, "wait_timeout_ms", |case| {
        let shared = Shared::default();
        let elapsed = shared.clone();
        assert!(!case.run(move || {
            let guard = elapsed.0.lock().unwrap();
            elapsed.1.wait_timeout_ms(guard, 1).unwrap().1
        }));
        let notified = shared.clone();
        let waiter = case.spawn(move || {
            let mut guard = notified.0.lock().unwrap();
            guard.waiting = 1;
            notified.1.wait_timeout_ms(guard, u32::MAX).unwrap().1
        });
        until(|| shared.0.lock().unwrap().waiting == 1);
        shared.1.notify_one();
        assert!(waiter.join());
    });
}

/// Promise 22. In virtual time: waits end at their nanosecond, and `wait_timeout_while` counts from its beginning, however often it is notified.
#[test]
fn timed_waits_end_exactly() {
    for full_stealing in [false, true] {
        within(LIMIT, "hours of virtual time", || {
            let builder = Runtime::builder().virtual_time();
            let runtime = builder.steal(rig::steal(full_stealing)).build().unwrap();
            runtime.run(|| {
                let shared = Arc::new((Mutex::new(0), Condvar::new()));
                let start = now();
                let guard = shared.0.lock().unwrap();
                let (guard, result) = shared.1.wait_timeout(guard, HOUR).unwrap();
                assert!(result.timed_out());
                assert_eq!(now() - start, HOUR);
                drop(guard);

                let notifier = withy::spawn({
                    let shared = shared.clone();
                    move || {
                        for _ in 0..20 {
                            withy::sleep(HOUR / 2);
                            *shared.0.lock().unwrap() += 1;
                            shared.1.notify_all();
                        }
                    }
                });
                let start = now();
                let limit = 3 * HOUR + HOUR / 4;
                let guard = shared.0.lock().unwrap();
                let waited = shared.1.wait_timeout_while(guard, limit, |n| *n < 100);
                let (guard, result) = waited.unwrap();
                assert!(result.timed_out());
                assert_eq!((now() - start, *guard), (limit, 6));
                let waited = shared.1.wait_timeout_while(guard, limit, |n| *n < 8);
                let (guard, result) = waited.unwrap();
                assert!(!result.timed_out());
                assert_eq!((now() - start, *guard), (4 * HOUR, 8));
                drop(guard);
                notifier.join().unwrap();
            });
        });
    }
}

/// Promise 44. What is notified at the moment at which its time ends has one outcome, and a signal goes to one that has not timed out.
#[test]
fn a_wait_that_is_notified_late_has_not_timed_out() {
    matrix(LIMIT, "a notification before a late end", |case| {
        let shared = Shared::default();
        let waits = shared.clone();
        let waiter = case.spawn(move || {
            let mut guard = waits.0.lock().unwrap();
            guard.waiting = 1;
            let waited = waits.1.wait_timeout(guard, Duration::from_secs(600));
            waited.unwrap().1.timed_out()
        });
        until(|| shared.0.lock().unwrap().waiting == 1);
        let guard = shared.0.lock().unwrap();
        shared.1.notify_one();
        withy::sleep(Duration::from_millis(1));
        drop(guard);
        assert!(!waiter.join());
    });
}

/// One condition variable serves several mutexes at a time.
#[test]
fn waits_with_different_mutexes_are_fine() {
    matrix(LIMIT, "two mutexes", |case| {
        let condvar = Arc::new(Condvar::new());
        let mutexes = [(); 4].map(|()| Arc::new(Mutex::new(false)));
        let waiters = mutexes.clone().map(|mutex| {
            let condvar = condvar.clone();
            case.spawn(move || drop(condvar.wait_while(mutex.lock().unwrap(), |open| !*open)))
        });
        for mutex in &mutexes {
            *mutex.lock().unwrap() = true;
        }
        condvar.notify_all();
        waiters.into_iter().for_each(Caller::join);
    });
}

/// Promise 40. A mutex that was poisoned meanwhile says so when a wait locks it again, by whatever the wait ended.
#[test]
fn a_wait_tells_of_poison() {
    matrix(LIMIT, "waits at a poisoned mutex", |case| {
        for timed in [false, true] {
            let shared = Arc::new((Mutex::new(0), Condvar::new()));
            let waits = shared.clone();
            let waiter = case.spawn(move || {
                let (mutex, condvar) = &*waits;
                let mut guard = mutex.lock().unwrap();
                *guard = 1;
                if timed {
                    let waited = condvar.wait_timeout(guard, HOUR);
                    let (guard, result): (_, WaitTimeoutResult) = waited.unwrap_err().into_inner();
                    assert!(!result.timed_out());
                    assert_eq!(*guard, 2);
                    let waited = condvar.wait_timeout_while(guard, Duration::ZERO, |_| true);
                    assert!(waited.unwrap_err().into_inner().1.timed_out());
                } else {
                    let waited = condvar.wait_while(guard, |_| true);
                    assert_eq!(*waited.unwrap_err().into_inner(), 2);
                }
            });
            until(|| *shared.0.lock().unwrap() == 1);
            let breaks = shared.clone();
            let broken = case.run(move || {
                catch_unwind(AssertUnwindSafe(|| {
                    let mut guard = breaks.0.lock().unwrap();
                    *guard = 2;
                    panic!("with the mutex held");
                }))
            });
            assert!(broken.is_err());
            shared.1.notify_one();
            waiter.join();
        }
    });
}

/// `panics_while_it_waits` panics with a mutex held, and waits with it in a destructor, for somebody to set the value. Says whether the wait
/// and that somebody found the mutex poisoned, and whether it is so in the end.
macro_rules! waits_in_a_panic {
    ($name:ident, $sync:ident :: sync) => {
        fn $name(run: impl FnOnce(Box<dyn FnOnce() + Send>)) -> [bool; 3] {
            use $sync::sync::{Condvar, Mutex, MutexGuard};

            type Shared = (Mutex<bool>, Condvar, AtomicBool);
            struct Late<'a>(Option<MutexGuard<'a, bool>>, &'a Shared);

            impl Drop for Late<'_> {
                fn drop(&mut self) {
                    let guard = self.0.take().expect("dropped once");
                    let waited = self.1.1.wait_while(guard, |set| !*set);
                    self.1.2.store(waited.is_err(), Ordering::Relaxed);
                }
            }

            let shared = Arc::new(Shared::default());
            let held = Arc::new(AtomicBool::new(false));
            let setter = {
                let (shared, held) = (shared.clone(), held.clone());
                std::thread::spawn(move || {
                    until(|| held.load(Ordering::Acquire));
                    let set = shared.0.lock();
                    let poisoned = set.is_err();
                    *set.unwrap_or_else(|poisoned| poisoned.into_inner()) = true;
                    shared.1.notify_all();
                    poisoned
                })
            };
            let waits = shared.clone();
            run(Box::new(move || {
                let panicked = catch_unwind(AssertUnwindSafe(|| {
                    let _late = Late(Some(waits.0.lock().unwrap()), &waits);
                    held.store(true, Ordering::Release);
                    std::panic::resume_unwind(Box::new("with the mutex held"));
                }));
                assert!(panicked.is_err());
            }));
            let setter_met = setter.join().unwrap();
            let waiter_met = shared.2.load(Ordering::Relaxed);
            [waiter_met, setter_met, shared.0.is_poisoned()]
        }
    };
}

waits_in_a_panic!(of_std, std::sync);
waits_in_a_panic!(of_withy, withy::sync);

/// Promises 40 and 53. A destructor that waits with a mutex that its panic found locked still holds it, and poisons it at the end, not for
/// the wait: as with std, those for whom it waits find it in order.
#[test]
fn a_wait_in_a_panic_poisons_when_the_mutex_is_given_up_for_good() {
    assert_eq!(of_std(|body| body()), [false, false, true]);
    matrix(LIMIT, "a wait in a panic", |case| {
        let met = of_withy(|body| case.run(body));
        assert_eq!(met, [false, false, true], "{:?}", case.callers);
    });
}

/// Promise 40. A condition that panics does so with the mutex held.
#[test]
fn a_panic_in_the_condition_poisons() {
    matrix(LIMIT, "a condition that panics", |case| {
        let shared = Shared::default();
        let waits = shared.clone();
        let panicked = case.run(move || {
            catch_unwind(AssertUnwindSafe(|| {
                drop(
                    waits
                        .1
                        .wait_while(waits.0.lock().unwrap(), |_| panic!("in the condition")),
                );
            }))
        });
        assert!(panicked.is_err() && shared.0.is_poisoned());
    });
}

/// Promises 29 and 40. A wait that unwinds has given the mutex away: destructors up the stack find it free, and not poisoned.
#[test]
fn the_mutex_is_not_held_while_a_wait_unwinds() {
    struct Looks(Shared, Arc<AtomicBool>);
    impl Drop for Looks {
        fn drop(&mut self) {
            let is_free = self.0.0.try_lock().is_ok();
            self.1.store(is_free, Ordering::SeqCst);
        }
    }
    matrix(LIMIT, "waits that elapse", |case| {
        let shared = Shared::default();
        let free = Arc::new(AtomicBool::new(false));
        let waits = shared.clone();
        let looks = Looks(shared.clone(), free.clone());
        let elapsed = case.run(move || {
            withy::timeout(Duration::from_millis(1), || {
                let _looks = looks;
                drop(waits.1.wait(waits.0.lock().unwrap()));
            })
        });
        assert!(elapsed.is_err() && free.load(Ordering::SeqCst));
        assert!(!shared.0.is_poisoned());
    });
    each_runtime("waits that are cancelled", |runtime, label| {
        let shared = Shared::default();
        let free = Arc::new(AtomicBool::new(false));
        let waits = shared.clone();
        let looks = Looks(shared.clone(), free.clone());
        let waiter = runtime.spawn(move || {
            let _looks = looks;
            let mut guard = waits.0.lock().unwrap();
            guard.waiting = 1;
            drop(waits.1.wait(guard));
        });
        until(|| shared.0.lock().unwrap().waiting == 1);
        waiter.cancel();
        assert!(waiter.join().is_err(), "{label}");
        assert!(free.load(Ordering::SeqCst), "{label}");
        assert!(!shared.0.is_poisoned(), "{label}");
    });
}

/// A coroutine that notifies in vain lets others run, those among them who are about to wait.
#[test]
fn who_notifies_again_and_again_lets_others_run() {
    each_runtime("notifications in vain", |runtime, _| {
        let shared = Arc::new((Mutex::new(()), Condvar::new()));
        let over = Arc::new(AtomicBool::new(false));
        let notifier = runtime.spawn({
            let (shared, over) = (shared.clone(), over.clone());
            move || {
                while !over.load(Ordering::SeqCst) {
                    shared.1.notify_one();
                    shared.1.notify_all();
                }
            }
        });
        let waiter = runtime.spawn(move || {
            drop(shared.1.wait(shared.0.lock().unwrap()));
            over.store(true, Ordering::SeqCst);
        });
        waiter.join().unwrap();
        notifier.join().unwrap();
    });
}

/// Nobody waits inside `no_park`; that neither holds the mutex nor poisons it.
#[test]
fn a_wait_inside_no_park_is_refused() {
    within(LIMIT, "a wait inside no_park", || {
        withy::run(|| {
            let (mutex, condvar) = (Mutex::new(()), Condvar::new());
            let refused = catch_unwind(AssertUnwindSafe(|| {
                withy::no_park(|| drop(condvar.wait(mutex.lock().unwrap())))
            }));
            assert!(refused.is_err());
            assert!(mutex.try_lock().is_ok());
            condvar.notify_one();
            assert!(
                condvar
                    .wait_timeout(mutex.lock().unwrap(), Duration::ZERO)
                    .unwrap()
                    .1
                    .timed_out()
            );
        });
    });
}

/// Many at one mutex and two condition variables: nothing is lost, and all come to an end.
#[test]
fn a_bounded_queue_hands_over_everything() {
    matrix(LIMIT, "a queue of two places", |case| {
        type Queue = (Mutex<Vec<usize>>, Condvar, Condvar);
        const EACH: usize = 60;
        let queue = Arc::new(Queue::default());
        let sum = Arc::new(AtomicUsize::new(0));
        let producers: Vec<_> = (0..4)
            .map(|_| {
                let queue = queue.clone();
                case.spawn(move || {
                    for n in 1..=EACH {
                        let places = queue.0.lock().unwrap();
                        let mut places = queue.1.wait_while(places, |p| p.len() == 2).unwrap();
                        places.push(n);
                        queue.2.notify_one();
                    }
                })
            })
            .collect();
        let consumers: Vec<_> = (0..4)
            .map(|_| {
                let (queue, sum) = (queue.clone(), sum.clone());
                case.spawn(move || {
                    for _ in 0..EACH {
                        let places = queue.0.lock().unwrap();
                        let mut places = queue.2.wait_while(places, |p| p.is_empty()).unwrap();
                        sum.fetch_add(places.pop().expect("it is not empty"), Ordering::SeqCst);
                        drop(places);
                        queue.1.notify_one();
                    }
                })
            })
            .collect();
        producers
            .into_iter()
            .chain(consumers)
            .for_each(Caller::join);
        assert_eq!(sum.load(Ordering::SeqCst), 4 * EACH * (EACH + 1) / 2);
    });
}

/// What is there beside waiting; that this compiles is a part of it.
#[test]
fn its_traits_are_those_of_std() {
    fn shared<T: Send + Sync + UnwindSafe + RefUnwindSafe + Default>() {}
    shared::<Condvar>();
    static STATIC: Condvar = Condvar::new();
    STATIC.notify_all();
    let std = std::sync::Condvar::new();
    assert_eq!(format!("{STATIC:?}"), format!("{std:?}"));
    assert_eq!(format!("{STATIC:#?}"), format!("{std:#?}"));
    let mutex = Mutex::new(());
    let waited = STATIC.wait_timeout(mutex.lock().unwrap(), Duration::ZERO);
    let result: WaitTimeoutResult = waited.unwrap().1;
    let copy = result;
    assert_eq!(result, copy);
    assert_eq!(format!("{result:?}"), "WaitTimeoutResult(true)");
    let unsized_value: &Mutex<[u8]> = &Mutex::new([1, 2]);
    let waited = STATIC.wait_timeout(unsized_value.lock().unwrap(), Duration::ZERO);
    assert_eq!(*waited.unwrap().0, [1, 2]);
}
