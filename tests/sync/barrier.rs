//! `Barrier`: std's cases, and who leaves.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fastrand::Rng;
use withy::sync::{Barrier, BarrierWaitResult};
use withy::{Cancelled, spawn, timeout};

use crate::rig::parties::{each_pair, in_virtual_time, settle};
use crate::rig::stress_rounds;
use crate::support::{self, LIMIT, matrix, within};

#[test]
fn all_wait_for_the_last_and_one_leads() {
    const ALL: usize = 10;
    matrix(LIMIT, "the last", |case| {
        let barrier = Arc::new(Barrier::new(ALL));
        let passed = Arc::new(AtomicUsize::new(0));
        let wait = || {
            let (barrier, passed) = (barrier.clone(), passed.clone());
            move || {
                let result = barrier.wait();
                passed.fetch_add(1, Ordering::SeqCst);
                result.is_leader()
            }
        };
        let waiters: Vec<_> = (1..ALL).map(|_| case.spawn(wait())).collect();
        // A few chances to do it wrong.
        (0..20).for_each(|_| withy::yield_now());
        assert_eq!(passed.load(Ordering::SeqCst), 0);
        let mut leaders = usize::from(case.run(wait()));
        for waiter in waiters {
            leaders += usize::from(waiter.join());
        }
        assert_eq!((leaders, passed.load(Ordering::SeqCst)), (1, ALL));
    });
}

/// Promise 41. Round after round, with others in a pair; nobody is a round ahead.
#[test]
fn it_begins_anew_each_time() {
    const ROUNDS: usize = 100;
    each_pair("rounds", |pair| {
        let barrier = Arc::new(Barrier::new(4));
        let arrived = Arc::new(AtomicUsize::new(0));
        let parties: Vec<_> = (0..4)
            .map(|which| {
                let (barrier, arrived) = (barrier.clone(), arrived.clone());
                pair.spawn(which, move || {
                    let mut led = 0;
                    for round in 0..ROUNDS {
                        let before = arrived.fetch_add(1, Ordering::SeqCst);
                        assert_eq!(before / 4, round);
                        led += usize::from(barrier.wait().is_leader());
                        let now = arrived.load(Ordering::SeqCst);
                        assert!(now >= 4 * (round + 1));
                        // Nobody comes again before all have looked.
                        barrier.wait();
                    }
                    led
                })
            })
            .collect();
        let led: usize = parties.into_iter().map(|party| party.join()).sum();
        assert_eq!(led, ROUNDS);
    });
}

/// Bad input: for none, and for one.
#[test]
fn a_barrier_for_none_or_one_lets_all_pass() {
    static NONE: Barrier = Barrier::new(0);
    static ONE: Barrier = Barrier::new(1);
    matrix(LIMIT, "one", |case| {
        for _ in 0..3 {
            assert!(case.run(|| NONE.wait().is_leader()));
            assert!(case.run(|| ONE.wait().is_leader()));
        }
    });
}

/// Bad input: for more than there can be.
#[test]
fn a_barrier_for_too_many_waits() {
    in_virtual_time("a wait for too many", || {
        let barrier = Barrier::new(usize::MAX);
        assert!(timeout(Duration::from_secs(1), || barrier.wait()).is_err());
    });
}

/// Promise 29. Who leaves is out of the count: the barrier waits for another one.
#[test]
fn who_leaves_counts_as_if_it_had_not_come() {
    in_virtual_time("waiters that leave", || {
        let barrier = Arc::new(Barrier::new(3));
        let wait = || {
            let barrier = barrier.clone();
            let waiter = spawn(move || barrier.wait().is_leader());
            settle();
            waiter
        };
        let cancelled = wait();
        cancelled.cancel();
        assert!(cancelled.join().unwrap_err().is::<Cancelled>());
        assert!(timeout(Duration::from_secs(1), || barrier.wait()).is_err());
        let (first, second) = (wait(), wait());
        assert!(!first.is_finished() && !second.is_finished());
        assert!(wait().join().unwrap());
        assert!(!first.join().unwrap() && !second.join().unwrap());
    });
}

/// Once the last has come the round is over, also for one that unwinds then; the next is whole.
#[test]
fn who_leaves_after_the_last_has_come_was_there() {
    in_virtual_time("a waiter that leaves too late", || {
        let barrier = Arc::new(Barrier::new(2));
        let wait = || {
            let barrier = barrier.clone();
            let waiter = spawn(move || barrier.wait().is_leader());
            settle();
            waiter
        };
        let late = wait();
        assert!(barrier.wait().is_leader());
        late.cancel();
        assert!(late.join().unwrap_err().is::<Cancelled>());
        let next = wait();
        assert!(!next.is_finished(), "the count is that of the next round");
        assert!(barrier.wait().is_leader());
        assert!(!next.join().unwrap());
    });
}

#[test]
fn it_is_shown_as_std_shows_it() {
    fn is_send_sync<T: Send + Sync + std::panic::UnwindSafe + std::panic::RefUnwindSafe>() {}
    is_send_sync::<Barrier>();
    is_send_sync::<BarrierWaitResult>();
    let (ours, theirs) = (Barrier::new(1), std::sync::Barrier::new(1));
    assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
    assert_eq!(format!("{:?}", ours.wait()), format!("{:?}", theirs.wait()));
}

/// Promise 29. Many come, and many of them leave: each round has as many as it should, one leader among them.
#[test]
fn rounds_are_whole_under_stress() {
    const SIZE: usize = 5;
    for full_stealing in [false, true] {
        within(5 * LIMIT, "a barrier under stress", || {
            let runtime = support::runtime(8, full_stealing);
            for round in 0..5 * stress_rounds() as u64 {
                let barrier = Arc::new(Barrier::new(SIZE));
                let counts = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
                let come = |seed| {
                    let (barrier, counts) = (barrier.clone(), counts.clone());
                    move || {
                        let mut rng = Rng::with_seed(seed);
                        for _ in 0..100 {
                            let limit = Duration::from_micros(rng.u64(0..50));
                            // What has been in a round says so, whether it unwinds or not.
                            if let Ok(result) = timeout(limit, || barrier.wait()) {
                                counts[0].fetch_add(1, Ordering::SeqCst);
                                counts[1]
                                    .fetch_add(usize::from(result.is_leader()), Ordering::SeqCst);
                            }
                        }
                    }
                };
                let all: Vec<_> = (0..20)
                    .map(|n| runtime.spawn(come(100 * round + n)))
                    .collect();
                let thread = std::thread::spawn(come(100 * round + 99));
                all.into_iter().for_each(|one| one.join().unwrap());
                thread.join().unwrap();
                // Some may have unwound in a round that was over; nobody else is missing.
                let [passed, led] = [0, 1].map(|which: usize| counts[which].load(Ordering::SeqCst));
                assert!(passed <= led * SIZE, "{passed} passed, {led} led");
                // And now it is empty.
                let last: Vec<_> = (0..SIZE)
                    .map(|_| {
                        let barrier = barrier.clone();
                        runtime.spawn(move || barrier.wait().is_leader())
                    })
                    .collect();
                let leaders = last.into_iter().filter_map(|one| one.join().ok());
                assert_eq!(leaders.filter(|&leads| leads).count(), 1);
            }
        });
    }
}
