//! Waits at a `Condvar` that end at their time.

use std::sync::Arc;
use std::time::Duration;

use withy::sync::{Condvar, Mutex};
use withy::{Runtime, now};

use super::condvar::Shared;
use crate::rig::{self, until};
use crate::support::{LIMIT, matrix, within};

pub(super) const HOUR: Duration = Duration::from_secs(3600);

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
        // It has been woken, and waits for the mutex.
        case.until_at_rest();
        drop(guard);
        assert!(!waiter.join());
    });
}
