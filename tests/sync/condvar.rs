//! `Condvar` as std has it, and what withy promises beyond: order, no spurious wake-ups, several mutexes. Times and poison have files of their own.

use std::panic::{AssertUnwindSafe, RefUnwindSafe, UnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use withy::sync::{Condvar, Mutex, WaitTimeoutResult};

use crate::rig::{each_runtime, until};
use crate::support::{self, Caller, LIMIT, matrix, within};

/// Who waits, and who has gone on, under one mutex.
#[derive(Default)]
pub(super) struct Room {
    pub(super) waiting: usize,
    pub(super) gone_on: Vec<usize>,
}

pub(super) type Shared = Arc<(Mutex<Room>, Condvar)>;

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
        case.until_at_rest();
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
        case.until_at_rest();
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
