//! Those who wait for permits and leave without: cancelled, out of time, or told of a close. None is lost by that.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use withy::sync::{Closed, Permit, Semaphore, TryAcquireError};
use withy::{Cancelled, Runtime, now, spawn, timeout, yield_now};

use super::semaphore_waits::{NO_PERMITS, SECOND, refused};
use crate::rig::parties::{in_virtual_time, settle, somebody_waits};
use crate::rig::{stress_rounds, text_of, until};
use crate::support::{self, LIMIT, matrix, within};

/// Promise 29. When a large request leaves, the small ones behind it go.
#[test]
fn a_large_request_that_leaves_lets_those_behind_go() {
    matrix(LIMIT, "a large request that leaves", |case| {
        let semaphore = Arc::new(Semaphore::new(2));
        let leaves = Arc::new(AtomicBool::new(false));
        let large = case.spawn({
            let (semaphore, leaves) = (semaphore.clone(), leaves.clone());
            move || {
                let mut rounds = 0;
                // By an unwinding and by a limit of its own.
                while !leaves.load(Ordering::SeqCst) {
                    let limit = Duration::from_micros(200);
                    assert!(timeout(limit, || semaphore.acquire_many(3).map(drop)).is_err());
                    let late = semaphore.acquire_many_timeout(3, limit);
                    assert_eq!(refused(late), Some(NO_PERMITS));
                    rounds += 1;
                }
                rounds
            }
        });
        until(|| somebody_waits(&semaphore));
        let small: Vec<_> = (0..4)
            .map(|_| {
                let semaphore = semaphore.clone();
                case.spawn(move || {
                    for _ in 0..5 {
                        drop(semaphore.acquire().unwrap());
                    }
                })
            })
            .collect();
        small.into_iter().for_each(|one| one.join());
        leaves.store(true, Ordering::SeqCst);
        assert!(large.join() > 0);
        assert_eq!(semaphore.available_permits(), 2);
        assert!(!somebody_waits(&semaphore));
    });
}

/// Promise 29. The same where each step is known.
#[test]
fn whoever_leaves_takes_no_permit_along() {
    in_virtual_time("waiters that leave", || {
        let semaphore = Arc::new(Semaphore::new(2));
        let waiter = |wanted| {
            let semaphore = semaphore.clone();
            let waiter = spawn(move || semaphore.acquire_many(wanted).unwrap().forget());
            settle();
            waiter
        };
        let (large, one, middle, other) = (waiter(5), waiter(1), waiter(2), waiter(1));
        // From the middle: nobody may go.
        middle.cancel();
        assert!(middle.join().unwrap_err().is::<Cancelled>());
        settle();
        assert!(!one.is_finished() && !other.is_finished());
        assert_eq!(semaphore.available_permits(), 2);
        // From the front: two may.
        large.cancel();
        assert!(large.join().unwrap_err().is::<Cancelled>());
        one.join().unwrap();
        other.join().unwrap();
        assert_eq!(semaphore.available_permits(), 0);
        // The last.
        let last = waiter(1);
        last.cancel();
        assert!(last.join().unwrap_err().is::<Cancelled>());
        assert!(!somebody_waits(&semaphore));
        semaphore.add_permits(1);
        assert!(semaphore.try_acquire().is_ok());
    });
}

/// Promise 29. Who is cancelled after it was given permits gives them to the next.
#[test]
fn what_was_given_to_one_that_unwinds_goes_to_the_next() {
    in_virtual_time("permits given in vain", || {
        let semaphore = Arc::new(Semaphore::new(0));
        let waiter = |wanted| {
            let semaphore = semaphore.clone();
            let waiter = spawn(move || semaphore.acquire_many(wanted).unwrap().forget());
            settle();
            waiter
        };
        let (first, second, third) = (waiter(3), waiter(2), waiter(2));
        semaphore.add_permits(3);
        // It has them, and has not run since.
        assert_eq!(semaphore.available_permits(), 0);
        first.cancel();
        assert!(first.join().unwrap_err().is::<Cancelled>());
        second.join().unwrap();
        assert_eq!(semaphore.available_permits(), 1);
        assert!(!third.is_finished());
        semaphore.add_permits(1);
        third.cancel();
        assert!(third.join().unwrap_err().is::<Cancelled>());
        assert_eq!(semaphore.available_permits(), 2);
    });
}

/// Promise 22. Limits are kept to the nanosecond; none and much too long ones work.
#[test]
fn a_limit_ends_the_wait_at_its_time() {
    in_virtual_time("limits", || {
        let semaphore = Arc::new(Semaphore::new(1));
        let start = now();
        assert!(semaphore.acquire_timeout(Duration::ZERO).is_ok());
        assert!(semaphore.acquire_timeout(Duration::MAX).is_ok());
        for limit in [Duration::ZERO, Duration::from_nanos(1), SECOND] {
            let began = now();
            let late = semaphore.acquire_many_timeout(2, limit);
            assert_eq!(refused(late), Some(NO_PERMITS));
            assert_eq!(now() - began, limit);
            assert!(!somebody_waits(&semaphore));
        }
        let began = now();
        let place = semaphore.acquire_owned().unwrap();
        let waiter = spawn({
            let semaphore = semaphore.clone();
            move || {
                let place = semaphore.acquire_timeout(3 * SECOND).unwrap();
                (now(), place.num_permits())
            }
        });
        withy::sleep(2 * SECOND);
        drop(place);
        assert_eq!(waiter.join().unwrap(), (began + 2 * SECOND, 1));
        let place = semaphore.acquire().unwrap();
        let ended = withy::deadline(start, || semaphore.acquire().map(drop));
        assert!(ended.is_err(), "its time had passed before");
        drop(place);
        assert_eq!(semaphore.available_permits(), 1);
    });
}

/// A plain thread's limits.
#[test]
fn a_limit_ends_the_wait_of_a_plain_thread() {
    within(LIMIT, "limits of a plain thread", || {
        let semaphore = Semaphore::new(1);
        let _place = semaphore.acquire_timeout(Duration::MAX).unwrap();
        for limit in [Duration::ZERO, Duration::from_millis(2)] {
            let began = Instant::now();
            assert_eq!(refused(semaphore.acquire_timeout(limit)), Some(NO_PERMITS));
            assert!(began.elapsed() >= limit);
        }
        assert_eq!(semaphore.available_permits(), 0);
    });
}

/// Promise 40. Whoever waits is told of a close, and nobody gets a permit any more.
#[test]
fn a_close_ends_all_waits() {
    matrix(LIMIT, "a close", |case| {
        let semaphore = Arc::new(Semaphore::new(3));
        let held = semaphore.acquire_many_owned(2).unwrap();
        let waiters: Vec<_> = (0..10)
            .map(|turn| {
                let semaphore = semaphore.clone();
                case.spawn(move || match turn % 3 {
                    0 => semaphore.acquire_many(turn + 2).map(drop),
                    1 => semaphore.acquire_many_owned(turn + 2).map(drop),
                    _ => match semaphore.acquire_many_timeout(turn + 2, Duration::MAX) {
                        Err(TryAcquireError::Closed) => Err(Closed),
                        other => panic!("{other:?}"),
                    },
                })
            })
            .collect();
        until(|| somebody_waits(&semaphore));
        semaphore.close();
        for waiter in waiters {
            assert_eq!(waiter.join(), Err(Closed));
        }
        assert!(semaphore.is_closed() && !somebody_waits(&semaphore));
        semaphore.close();
        let closed = Some(TryAcquireError::Closed);
        assert_eq!(refused(semaphore.try_acquire()), closed);
        assert_eq!(refused(semaphore.try_acquire_owned()), closed);
        assert_eq!(refused(semaphore.acquire_timeout(SECOND)), closed);
        assert_eq!(semaphore.available_permits(), 1);
        // What is held is held, and comes back.
        drop(held);
        semaphore.add_permits(1);
        assert_eq!(semaphore.available_permits(), 4);
        assert_eq!(semaphore.forget_permits(3), 3);
        assert_eq!(semaphore.acquire().map(drop), Err(Closed));
    });
}

/// Told of a close, and cancelled before it has run: that gives nobody a permit.
#[test]
fn a_waiter_that_was_told_of_a_close_and_unwinds_gives_nothing_back() {
    in_virtual_time("a close and a cancellation", || {
        let semaphore = Arc::new(Semaphore::new(1));
        let waiter = spawn({
            let semaphore = semaphore.clone();
            move || semaphore.acquire_many(2).map(drop)
        });
        settle();
        semaphore.close();
        waiter.cancel();
        assert!(waiter.join().unwrap_err().is::<Cancelled>());
        assert_eq!(semaphore.available_permits(), 1);
    });
}

/// Promise 29. Permits come and go by all ways at once; in the end all are there, and there never were more.
#[test]
fn no_permit_is_lost_or_made_under_stress() {
    const PERMITS: usize = 5;
    for full_stealing in [false, true] {
        within(5 * LIMIT, "permits under stress", || {
            let runtime = support::runtime(8, full_stealing);
            for round in 0..4 * stress_rounds() as u64 {
                crowd(&runtime, round, PERMITS);
            }
        });
    }
}

fn crowd(runtime: &Runtime, round: u64, permits: usize) {
    let semaphore = Arc::new(Semaphore::new(permits));
    let held = Arc::new(AtomicUsize::new(0));
    let actor = |seed| {
        let (semaphore, held) = (semaphore.clone(), held.clone());
        move || {
            let mut rng = fastrand::Rng::with_seed(seed);
            for _ in 0..150 {
                let wanted = rng.usize(1..=permits);
                let limit = Duration::from_micros(rng.u64(0..60));
                let permit = match rng.u32(0..4) {
                    0 => semaphore.acquire_many(wanted).ok(),
                    1 => semaphore.try_acquire_many(wanted).ok(),
                    2 => semaphore.acquire_many_timeout(wanted, limit).ok(),
                    _ => timeout(limit, || semaphore.acquire_many(wanted).unwrap()).ok(),
                };
                let Some(permit) = permit else { continue };
                let all = held.fetch_add(wanted, Ordering::SeqCst) + wanted;
                // Before whatever may unwind.
                let leave = Leave(&held, permit);
                assert!(all <= permits, "{all} are held");
                if rng.bool() {
                    yield_now();
                }
                drop(leave);
            }
        }
    };
    let threads: Vec<_> = (0..2)
        .map(|n| std::thread::spawn(actor(1000 * round + n)))
        .collect();
    let coroutines: Vec<_> = (10..40)
        .map(|n| runtime.spawn(actor(1000 * round + n)))
        .collect();
    let mut rng = fastrand::Rng::with_seed(round);
    for one in coroutines.iter().filter(|_| rng.u32(0..3) == 0) {
        std::thread::sleep(Duration::from_micros(50));
        one.cancel();
    }
    for one in coroutines {
        if let Err(payload) = one.join() {
            assert!(payload.is::<Cancelled>(), "{}", text_of(&*payload));
        }
    }
    threads.into_iter().for_each(|one| one.join().unwrap());
    assert_eq!(semaphore.available_permits(), permits);
    assert!(!somebody_waits(&semaphore));
}

struct Leave<'a>(&'a AtomicUsize, Permit<'a>);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1.num_permits(), Ordering::SeqCst);
    }
}
