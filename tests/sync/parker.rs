//! `Parker`: crossbeam's cases, and tokens that outlive an interruption.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use withy::sync::{Parker, Unparker};
use withy::{Cancelled, now, spawn, timeout};

use crate::rig::parties::{each_pair, in_virtual_time, settle};
use crate::rig::stress_rounds;
use crate::support::{self, LIMIT, matrix, within};

const SECOND: Duration = Duration::from_secs(1);

/// In virtual time: whether a token is there; it is taken.
fn takes_token(parker: &Parker) -> bool {
    let began = now();
    parker.park_timeout(SECOND);
    now() == began
}

#[test]
fn a_token_that_came_before_is_taken() {
    matrix(LIMIT, "a token", |case| {
        case.run(|| {
            let parker = Parker::new();
            for _ in 0..10 {
                parker.unparker().unpark();
                parker.park_timeout(Duration::from_millis(u32::MAX.into()));
                parker.unparker().unpark();
                parker.park();
                parker.unparker().unpark();
                parker.park_deadline(Instant::now() + Duration::from_secs(1_000_000));
            }
        });
    });
}

#[test]
fn there_is_one_token_at_most() {
    in_virtual_time("tokens", || {
        let parker = Parker::default();
        assert!(!takes_token(&parker));
        (0..3).for_each(|_| parker.unparker().unpark());
        assert!(takes_token(&parker));
        assert!(!takes_token(&parker));
        // `park` of the coroutine has one of its own.
        withy::current().unpark();
        assert!(!takes_token(&parker));
        withy::park();
        parker.unparker().unpark();
        withy::park_timeout(SECOND);
        assert!(takes_token(&parker));
    });
}

/// Promise 22. Limits are kept to the nanosecond; a point in the past ends it at once, but a token counts all the same.
#[test]
fn a_limit_ends_the_wait_at_its_time() {
    in_virtual_time("limits", || {
        let parker = Parker::new();
        let began = now();
        for limit in [Duration::ZERO, Duration::from_nanos(1), SECOND] {
            let start = now();
            parker.park_timeout(limit);
            assert_eq!(now() - start, limit);
            parker.park_deadline(start + 2 * limit);
            assert_eq!(now() - start, 2 * limit);
        }
        let start = now();
        parker.park_deadline(began);
        parker.unparker().unpark();
        parker.park_deadline(began);
        assert_eq!(now(), start);
        assert!(!takes_token(&parker), "it was taken by the last");
        let unparker = parker.unparker().clone();
        let start = now();
        let other = spawn(move || {
            withy::sleep(SECOND);
            unparker.unpark();
        });
        parker.park_timeout(Duration::MAX);
        assert_eq!(now() - start, SECOND);
        other.join().unwrap();
    });
}

#[test]
fn a_limit_ends_the_wait_of_a_plain_thread() {
    within(LIMIT, "a limit", || {
        let parker = Parker::new();
        let began = Instant::now();
        parker.park_timeout(Duration::from_millis(2));
        parker.park_timeout(Duration::ZERO);
        parker.park_deadline(began);
        assert!(began.elapsed() >= Duration::from_millis(2));
    });
}

/// Promise 41. A token from each to the other.
#[test]
fn two_parties_unpark_each_other() {
    const ROUNDS: usize = 200;
    each_pair("ping-pong", |pair| {
        let parkers = [Parker::new(), Parker::new()];
        let unparkers = [1, 0].map(|other: usize| parkers[other].unparker().clone());
        let count = Arc::new(AtomicUsize::new(0));
        unparkers[1].unpark();
        let mut parties = Vec::new();
        for (me, (parker, other)) in parkers.into_iter().zip(unparkers).enumerate() {
            let count = count.clone();
            parties.push(pair.spawn(me, move || {
                for round in 0..ROUNDS {
                    parker.park();
                    assert_eq!(count.fetch_add(1, Ordering::Relaxed), 2 * round + me);
                    other.unpark();
                }
            }));
        }
        parties.into_iter().for_each(|party| party.join());
    });
}

/// A parker may go elsewhere, with its token; and from one sort of caller to the other.
#[test]
fn a_parker_may_be_sent() {
    each_pair("a parker that is sent", |pair| {
        let parker = pair
            .spawn(0, || {
                let parker = Parker::new();
                parker.unparker().unpark();
                parker
            })
            .join();
        let unparker = parker.unparker().clone();
        let waiter = pair.spawn(1, move || {
            parker.park();
            parker.park();
        });
        unparker.unpark();
        // The first token may not have been taken yet, and they do not add up.
        let again = pair.spawn(0, move || {
            for _ in 0..1000 {
                unparker.unpark();
                withy::sleep(Duration::from_micros(100));
            }
        });
        waiter.join();
        drop(again);
    });
    fn is_send<T: Send>() {}
    fn is_send_sync<T: Send + Sync + Clone>() {}
    is_send::<Parker>();
    is_send_sync::<Unparker>();
    let debug = format!("{:?} {:?}", Parker::new(), Parker::new().unparker());
    assert_eq!(debug, "Parker { .. } Unparker { .. }");
}

/// Promise 29. A token that reaches one that unwinds is kept.
#[test]
fn a_token_is_kept_when_who_waits_for_it_unwinds() {
    in_virtual_time("tokens in vain", || {
        let parker = Arc::new(std::sync::Mutex::new(Parker::new()));
        let unparker = parker.lock().unwrap().unparker().clone();
        let parks = |parker: &Arc<std::sync::Mutex<Parker>>| {
            let parker = parker.clone();
            let waiter = spawn(move || parker.lock().unwrap().park());
            settle();
            waiter
        };
        let waiter = parks(&parker);
        waiter.cancel();
        assert!(waiter.join().unwrap_err().is::<Cancelled>());
        parker.clear_poison();
        assert!(!takes_token(&parker.lock().unwrap()));
        let waiter = parks(&parker);
        unparker.unpark();
        waiter.cancel();
        assert!(waiter.join().unwrap_err().is::<Cancelled>());
        parker.clear_poison();
        assert!(takes_token(&parker.lock().unwrap()));
        let parker = parker.lock().unwrap();
        assert!(timeout(SECOND, || parker.park()).is_err());
        unparker.unpark();
        assert!(takes_token(&parker));
    });
}

/// An unparker outlives its parker, and does nothing then.
#[test]
fn an_unparker_may_outlive_its_parker() {
    let unparker = Parker::new().unparker().clone();
    unparker.unpark();
    drop(unparker);
}

/// Promise 35. No token is lost between a look and a wait, with limits that end meanwhile.
#[test]
fn no_token_is_lost_under_stress() {
    const TOKENS: usize = 500;
    for full_stealing in [false, true] {
        within(5 * LIMIT, "tokens under stress", || {
            let runtime = support::runtime(8, full_stealing);
            for _ in 0..4 * stress_rounds() {
                let pairs: Vec<_> = (0..16)
                    .map(|n| {
                        let (parker, back) = (Parker::new(), Parker::new());
                        let (unparker, answer) =
                            (parker.unparker().clone(), back.unparker().clone());
                        let given = Arc::new(AtomicUsize::new(0));
                        let seen = given.clone();
                        let giver = runtime.spawn(move || {
                            for token in 1..=TOKENS {
                                given.store(token, Ordering::Relaxed);
                                unparker.unpark();
                                back.park();
                            }
                        });
                        let taker = runtime.spawn(move || {
                            let limit = Duration::from_micros(5);
                            for token in 1..=TOKENS {
                                // One that was seen before its token came leaves that to the next.
                                while seen.load(Ordering::Relaxed) < token {
                                    match (token + n) % 3 {
                                        0 => parker.park(),
                                        1 => drop(timeout(limit, || parker.park())),
                                        _ => parker.park_timeout(limit),
                                    }
                                }
                                answer.unpark();
                            }
                        });
                        (giver, taker)
                    })
                    .collect();
                for (giver, taker) in pairs {
                    giver.join().unwrap();
                    taker.join().unwrap();
                }
            }
        });
    }
}
