//! No signal of a `Condvar` is lost, whoever is interrupted at whatever point; and none is invented.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fastrand::Rng;
use withy::CancelToken;
use withy::sync::{Condvar, Mutex};

use crate::rig::{stress_rounds, until};
use crate::support::{Caller, Callers, Case, LIMIT, matrix, within};

type Shared = Arc<(Mutex<u32>, Condvar)>;

/// One that waits in a region of its own; true: it was interrupted. It waits when this returns: it has unlocked the mutex.
fn waiter(case: &Case, shared: &Shared) -> (CancelToken, Caller<bool>) {
    let token = CancelToken::new();
    let (region, seat) = (token.clone(), shared.clone());
    let before = *shared.0.lock().unwrap();
    let waiter = case.spawn(move || {
        let waited = region.run(|| {
            let mut waiting = seat.0.lock().unwrap();
            *waiting += 1;
            drop(seat.1.wait(waiting).unwrap());
        });
        waited.is_err()
    });
    until(|| *shared.0.lock().unwrap() > before);
    (token, waiter)
}

/// Promise 44. A waiter that was notified and is interrupted while it takes the mutex again passes the signal on.
#[test]
fn a_signal_is_passed_on_by_one_that_cannot_have_the_mutex() {
    matrix(LIMIT, "an interruption at the mutex", |case| {
        for at_the_mutex in [true, false] {
            let shared = Shared::default();
            let (token, first) = waiter(case, &shared);
            let (_, second) = waiter(case, &shared);
            let guard = shared.0.lock().unwrap();
            shared.1.notify_one();
            if at_the_mutex {
                case.until_at_rest();
            }
            token.cancel();
            assert!(first.join(), "it cannot have got the mutex");
            drop(guard);
            assert!(!second.join());
        }
    });
}

/// Promise 44. The same when it is interrupted before it has run at all.
#[test]
fn a_signal_is_passed_on_by_one_that_has_not_run_yet() {
    for full_stealing in [false, true] {
        within(LIMIT, "an interruption before it runs", || {
            let case = Case::new(1, full_stealing, Callers::Coroutines);
            let shared = Shared::default();
            let (token, first) = waiter(&case, &shared);
            let (_, second) = waiter(&case, &shared);
            let keeps = shared.clone();
            case.runtime.run(move || {
                // The only worker is here.
                keeps.1.notify_one();
                token.cancel();
            });
            assert!(first.join());
            assert!(!second.join());
        });
    }
}

/// Promise 44. A waiter that is interrupted before any signal came takes none with it.
#[test]
fn one_that_was_not_notified_takes_no_signal() {
    matrix(LIMIT, "an interruption without a signal", |case| {
        let shared = Shared::default();
        let waiters = [(); 3].map(|()| waiter(case, &shared));
        let [(_, first), (token, second), (_, third)] = waiters;
        token.cancel();
        assert!(second.join());
        shared.1.notify_one();
        assert!(!first.join());
        shared.1.notify_one();
        assert!(!third.join());
    });
}

/// Promise 44. Who was notified with all others has nothing to pass on: those who have come since then are not woken by it.
#[test]
fn a_notification_of_all_is_not_passed_on() {
    matrix(LIMIT, "an interruption after notify_all", |case| {
        let shared = Shared::default();
        let (token, first) = waiter(case, &shared);
        let guard = shared.0.lock().unwrap();
        shared.1.notify_all();
        // With a mutex of their own, since ours is held.
        let later = [(); 2].map(|()| {
            let own = Arc::new(Mutex::new(false));
            let (seat, condvar) = (own.clone(), shared.clone());
            let waiter = case.spawn(move || {
                let mut waits = seat.lock().unwrap();
                *waits = true;
                let mut waits = condvar.1.wait(waits).unwrap();
                *waits = false;
            });
            until(|| *own.lock().unwrap());
            (own, waiter)
        });
        token.cancel();
        assert!(first.join(), "it cannot have got the mutex");
        drop(guard);
        shared.1.notify_one();
        let [(_, next), (own, last)] = later;
        next.join();
        case.until_at_rest();
        assert!(*own.lock().unwrap(), "there was one notification");
        shared.1.notify_one();
        last.join();
    });
}

/// A counter of permits, as one would build it of a mutex and a condition variable.
#[derive(Default)]
struct Permits {
    left: Mutex<u64>,
    added: Condvar,
}

impl Permits {
    fn add(&self) {
        *self.left.lock().unwrap() += 1;
        self.added.notify_one();
    }

    fn take(&self) {
        let mut left = self
            .added
            .wait_while(self.left.lock().unwrap(), |left| *left == 0)
            .unwrap();
        *left -= 1;
    }

    /// As one that may not get any, in one of three ways.
    fn try_to_take(&self, token: &CancelToken, rng: &mut Rng) {
        let limit = Duration::from_nanos(rng.u64(..60_000));
        match rng.u32(..3) {
            0 => _ = withy::timeout(limit, || self.take()),
            1 => _ = token.run(|| self.take()),
            _ => {
                let left = self.left.lock().unwrap();
                let waited = self
                    .added
                    .wait_timeout_while(left, limit, |left| *left == 0);
                let (mut left, result) = waited.unwrap();
                assert_eq!(result.timed_out(), *left == 0);
                if !result.timed_out() {
                    *left -= 1;
                }
            }
        }
    }
}

/// Promises 29 and 44. Signals for one at a time, among waiters that time out, are interrupted, or stay. When all have given up that
/// will, those who stay have taken whatever is left: a lost signal would leave one of them and a permit, for ever.
#[test]
fn no_signal_is_lost_among_waiters_that_give_up_at_random() {
    for _ in 0..stress_rounds() {
        for full_stealing in [false, true] {
            for callers in [Callers::Coroutines, Callers::Mixed, Callers::Threads] {
                let seed = fastrand::u64(..);
                let case = format!("full stealing {full_stealing}, {callers:?}, seed {seed}");
                within(LIMIT, &format!("permits ({case})"), || {
                    let case = Case::new(8, full_stealing, callers);
                    let mut rng = Rng::with_seed(seed);
                    for _ in 0..100 {
                        share_permits(&case, &mut rng);
                    }
                });
            }
        }
    }
}

fn share_permits(case: &Case, rng: &mut Rng) {
    let permits = Arc::new(Permits::default());
    let token = CancelToken::new();
    let by_staying = Arc::new(AtomicU64::new(0));
    let staying = [(); 2].map(|()| {
        let (permits, by_staying) = (permits.clone(), by_staying.clone());
        case.spawn(move || {
            permits.take();
            by_staying.fetch_add(1, Ordering::SeqCst);
        })
    });
    let giving_up = [(); 4].map(|()| {
        let (permits, token, mut rng) = (permits.clone(), token.clone(), rng.fork());
        case.spawn(move || permits.try_to_take(&token, &mut rng))
    });
    let added = rng.u64(1..4);
    for _ in 0..added {
        pause(rng);
        permits.add();
    }
    pause(rng);
    token.cancel();
    giving_up.into_iter().for_each(Caller::join);
    // Nobody notifies any more.
    until(|| *permits.left.lock().unwrap() == 0 || by_staying.load(Ordering::SeqCst) == 2);
    for _ in 0..2 {
        permits.add();
    }
    staying.into_iter().for_each(Caller::join);
}

fn pause(rng: &mut Rng) {
    if rng.bool() {
        withy::sleep(Duration::from_nanos(rng.u64(..30_000)));
    }
}
