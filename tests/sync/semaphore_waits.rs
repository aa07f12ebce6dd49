//! Waiting for permits: in which order, what is let go, and those who never wait.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use withy::sync::{Semaphore, TryAcquireError};
use withy::{scope, yield_now};

use crate::rig::parties::{each_pair, in_virtual_time, settle, somebody_waits};
use crate::rig::{text_of, until};
use crate::support::{self, LIMIT, matrix, within};

pub(super) const NO_PERMITS: TryAcquireError = TryAcquireError::NoPermits;
pub(super) const SECOND: Duration = Duration::from_secs(1);

/// What a call gives, without its guard.
pub(super) fn refused<T>(outcome: Result<T, TryAcquireError>) -> Option<TryAcquireError> {
    outcome.err()
}

fn panic_of(f: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(f)).expect_err("it panics");
    text_of(&*payload).to_owned()
}

/// Promise 41. One waits for what the other gives back.
#[test]
fn what_comes_back_lets_the_next_go() {
    each_pair("a permit that comes back", |pair| {
        let semaphore = Arc::new(Semaphore::new(1));
        let place = semaphore.acquire_owned().unwrap();
        let waiter = pair.spawn(0, {
            let semaphore = semaphore.clone();
            move || semaphore.acquire().unwrap().num_permits()
        });
        until(|| somebody_waits(&semaphore));
        pair.spawn(1, move || drop(place)).join();
        assert_eq!(waiter.join(), 1);
        assert_eq!(semaphore.available_permits(), 1);
        assert!(!somebody_waits(&semaphore));
    });
}

/// Promise 41. Two semaphores, each raised by the other party.
#[test]
fn two_parties_take_turns() {
    const ROUNDS: usize = 200;
    each_pair("turns", |pair| {
        let turns = Arc::new([Semaphore::new(1), Semaphore::new(0)]);
        let count = Arc::new(AtomicUsize::new(0));
        let parties = [0, 1].map(|me| {
            let (turns, count) = (turns.clone(), count.clone());
            pair.spawn(me, move || {
                for round in 0..ROUNDS {
                    turns[me].acquire().unwrap().forget();
                    assert_eq!(count.fetch_add(1, Ordering::Relaxed), 2 * round + me);
                    turns[1 - me].add_permits(1);
                }
            })
        });
        for party in parties {
            party.join();
        }
    });
}

/// Permits that are added go to as many as they suffice for.
#[test]
fn many_are_let_go_at_once() {
    matrix(LIMIT, "permits for all", |case| {
        let semaphore = Arc::new(Semaphore::new(0));
        let got = Arc::new(AtomicUsize::new(0));
        let waiters: Vec<_> = (0..20)
            .map(|_| {
                let (semaphore, got) = (semaphore.clone(), got.clone());
                case.spawn(move || {
                    semaphore.acquire_many(2).unwrap().forget();
                    got.fetch_add(1, Ordering::SeqCst);
                })
            })
            .collect();
        semaphore.add_permits(19);
        until(|| got.load(Ordering::SeqCst) == 9);
        semaphore.add_permits(21);
        waiters.into_iter().for_each(|waiter| waiter.join());
        assert_eq!(semaphore.available_permits(), 0);
    });
}

/// First come, first served, whatever they want.
#[test]
fn who_waits_is_served_in_turn() {
    in_virtual_time("a queue", || {
        let semaphore = Semaphore::new(0);
        let served = Mutex::new(Vec::new());
        let wants = [3, 1, 5, 1, 1, 2, 4];
        scope(|s| {
            for (turn, wanted) in wants.into_iter().enumerate() {
                let (semaphore, served) = (&semaphore, &served);
                s.spawn(move || {
                    semaphore.acquire_many(wanted).unwrap().forget();
                    served.lock().unwrap().push(turn);
                });
                settle();
            }
            let mut given = 0;
            let mut due = 0;
            for (turn, wanted) in wants.into_iter().enumerate() {
                due += wanted;
                while given < due {
                    let before: Vec<_> = (0..turn).collect();
                    assert_eq!(*served.lock().unwrap(), before, "after {given} permits");
                    semaphore.add_permits(1);
                    given += 1;
                    settle();
                }
            }
        });
        assert_eq!(served.into_inner().unwrap(), [0, 1, 2, 3, 4, 5, 6]);
    });
}

/// Who wants many is not overtaken by those who want few, however often they come.
#[test]
fn a_large_request_is_not_starved() {
    matrix(LIMIT, "a large request", |case| {
        let semaphore = Arc::new(Semaphore::new(2));
        let large = case.spawn({
            let semaphore = semaphore.clone();
            move || semaphore.acquire_many(3).unwrap().num_permits()
        });
        until(|| somebody_waits(&semaphore));
        // There are two, and they are kept.
        assert_eq!(semaphore.available_permits(), 2);
        assert_eq!(refused(semaphore.try_acquire()), Some(NO_PERMITS));
        let late = semaphore.acquire_timeout(Duration::from_micros(100));
        assert_eq!(refused(late), Some(NO_PERMITS));
        let small = case.spawn({
            let semaphore = semaphore.clone();
            move || semaphore.acquire().map(drop)
        });
        semaphore.add_permits(1);
        assert_eq!(large.join(), 3);
        assert_eq!(small.join(), Ok(()));
        assert_eq!(semaphore.available_permits(), 3);
    });
}

/// The same among many who are never done.
#[test]
fn a_large_request_comes_through_a_crowd() {
    matrix(LIMIT, "a crowd", |case| {
        let semaphore = Arc::new(Semaphore::new(4));
        let done = Arc::new(AtomicBool::new(false));
        let crowd: Vec<_> = (0..6)
            .map(|_| {
                let (semaphore, done) = (semaphore.clone(), done.clone());
                case.spawn(move || {
                    while !done.load(Ordering::Relaxed) {
                        let _place = semaphore.acquire().unwrap();
                        yield_now();
                    }
                })
            })
            .collect();
        case.run({
            let semaphore = semaphore.clone();
            move || {
                for _ in 0..50 {
                    drop(semaphore.acquire_many(4).unwrap());
                }
            }
        });
        done.store(true, Ordering::Relaxed);
        crowd.into_iter().for_each(|one| one.join());
        assert_eq!(semaphore.available_permits(), 4);
    });
}

/// Promise 53. A permit is given back, and another one waited for, while a panic unwinds.
#[test]
fn a_destructor_may_wait_for_a_permit_during_a_panic() {
    struct Acquires(Arc<Semaphore>);
    impl Drop for Acquires {
        fn drop(&mut self) {
            self.0.acquire().unwrap().forget();
        }
    }
    each_pair("a permit in a destructor", |pair| {
        let semaphore = Arc::new(Semaphore::new(1));
        let panics = pair.spawn(0, {
            let semaphore = semaphore.clone();
            move || {
                panic_of(|| {
                    let _last = Acquires(semaphore.clone());
                    let _first = Acquires(semaphore.clone());
                    panic!("on purpose");
                })
            }
        });
        until(|| somebody_waits(&semaphore));
        pair.spawn(1, {
            let semaphore = semaphore.clone();
            move || semaphore.add_permits(1)
        })
        .join();
        assert_eq!(panics.join(), "on purpose");
        assert_eq!(semaphore.available_permits(), 0);
    });
}

#[test]
fn inside_no_park_it_panics_rather_than_wait() {
    within(LIMIT, "no_park", || {
        let semaphore = Semaphore::new(1);
        withy::run(|| {
            withy::no_park(|| drop(semaphore.acquire()));
            let text = panic_of(|| {
                withy::no_park(|| drop(semaphore.acquire_many(2)));
            });
            assert!(text.contains("no_park"), "{text}");
        });
        assert_eq!(semaphore.available_permits(), 1);
        assert!(!somebody_waits(&semaphore));
    });
}

/// Promise 34. Who takes and gives back again and again, or tries in vain, lets others run.
#[test]
fn who_never_waits_lets_others_run() {
    for full_stealing in [false, true] {
        within(LIMIT, "a neighbour's turn", || {
            let runtime = support::runtime(1, full_stealing);
            runtime.run(|| {
                let (free, none) = (Semaphore::new(1), Semaphore::new(0));
                let uses: [&(dyn Fn() + Sync); 3] = [
                    &|| drop(free.acquire()),
                    &|| drop(free.acquire_timeout(SECOND)),
                    &|| drop(none.try_acquire()),
                ];
                for use_it in uses {
                    let done = AtomicBool::new(false);
                    scope(|s| {
                        s.spawn(|| done.store(true, Ordering::Relaxed));
                        while !done.load(Ordering::Relaxed) {
                            use_it();
                        }
                    });
                }
            });
        });
    }
}
