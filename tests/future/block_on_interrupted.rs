//! `block_on` whose wait ends otherwise than by its future: panics, cancellations, timeouts, `no_park`.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, Waker};
use std::time::Duration;

use withy::{Cancelled, Elapsed, block_on};

use super::door::{Door, second_poll, until_asleep};
use crate::rig::{Drops, each_runtime, stress_rounds, text_of};
use crate::support::{LIMIT, matrix};

/// Promise 52, for futures. The panic goes on in the caller, the future is dropped once, and the next call works.
#[test]
fn a_panic_of_a_poll_is_the_callers() {
    static DROPPED: AtomicUsize = AtomicUsize::new(0);
    matrix(LIMIT, "panics of polls", |case| {
        DROPPED.store(0, Ordering::SeqCst);
        case.run(|| {
            let future = async {
                let _owned = Drops(&DROPPED);
                second_poll(Waker::wake_by_ref).await;
                panic!("a poll");
            };
            let payload = catch_unwind(AssertUnwindSafe(|| block_on(future))).unwrap_err();
            assert_eq!(text_of(&*payload), "a poll");
            assert_eq!(DROPPED.load(Ordering::SeqCst), 1);
            block_on(second_poll(Waker::wake_by_ref));
        });
    });
}

/// When dropped, waits itself: by a call at the level of the one that unwinds.
struct WaitsWhenDropped<'a>(&'a AtomicUsize);

impl Drop for WaitsWhenDropped<'_> {
    fn drop(&mut self) {
        block_on(second_poll(|waker| {
            let waker = waker.clone();
            std::thread::spawn(move || waker.wake());
        }));
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Promises 28 and 53. A coroutine that is cancelled in it unwinds, and the future is dropped in place, once; its destructors may wait.
#[test]
fn a_cancellation_drops_the_pending_future() {
    each_runtime("cancelled futures", |runtime, label| {
        let dropped = Arc::new(AtomicUsize::new(0));
        let door = Door::new();
        let waiter = runtime.spawn({
            let (door, dropped) = (door.clone(), dropped.clone());
            move || {
                block_on(async {
                    let _owned = WaitsWhenDropped(&dropped);
                    door.await
                })
            }
        });
        until_asleep(&door);
        waiter.cancel();
        assert!(waiter.join().unwrap_err().is::<Cancelled>());
        assert_eq!(dropped.load(Ordering::SeqCst), 1, "{label}");
        assert_eq!(door.polls(), 1);
        door.open();
    });
}

/// Promise 27. As a timeout does, after which the caller goes on; in a coroutine and on a plain thread.
#[test]
fn a_timeout_drops_the_pending_future() {
    static DROPPED: AtomicUsize = AtomicUsize::new(0);
    matrix(LIMIT, "futures and timeouts", |case| {
        DROPPED.store(0, Ordering::SeqCst);
        case.run(|| {
            let door = Door::new();
            let ended: Result<usize, Elapsed> = withy::timeout(Duration::from_millis(1), || {
                block_on(async {
                    let _owned = WaitsWhenDropped(&DROPPED);
                    door.clone().await
                })
            });
            assert!(ended.is_err());
            assert_eq!((door.polls(), DROPPED.load(Ordering::SeqCst)), (1, 1));
            // Its waker is of the past.
            door.open();
            block_on(second_poll(Waker::wake_by_ref));
        });
    });
}

/// Promise 27. A future that is always busy is interrupted between its polls.
#[test]
fn a_future_that_always_wakes_itself_can_be_interrupted() {
    fn busy() {
        block_on(poll_fn(|context| {
            context.waker().wake_by_ref();
            Poll::<()>::Pending
        }));
    }
    matrix(LIMIT, "busy futures", |case| {
        let ended = case.run(|| withy::timeout(Duration::from_millis(1), busy));
        assert!(ended.is_err());
        let waiter = case.runtime.spawn(busy);
        waiter.cancel();
        assert!(waiter.join().unwrap_err().is::<Cancelled>());
    });
}

/// What would have to wait where nothing may panics, and leaves the coroutine in order.
#[test]
fn a_pending_future_is_refused_where_nothing_may_park() {
    each_runtime("futures in no_park", |runtime, _| {
        runtime.run(|| {
            let door = Door::new();
            let refused = || withy::no_park(|| block_on(door.clone()));
            let payload = catch_unwind(AssertUnwindSafe(refused)).unwrap_err();
            assert!(text_of(&*payload).contains("no_park"));
            // One that was woken already need not wait.
            withy::no_park(|| block_on(second_poll(Waker::wake_by_ref)));
            block_on(second_poll(Waker::wake_by_ref));
        });
    });
}

/// Promise 29, for futures: wake-ups race with the ends of calls by cancellations and timeouts, none is lost by a neighbour.
#[test]
fn stress_wake_ups_race_with_interruptions() {
    each_runtime("interrupted futures", |runtime, label| {
        for round in 0..50 * stress_rounds() {
            let door = Door::new();
            let waiter = runtime.spawn({
                let door = door.clone();
                move || {
                    let limit = Duration::from_micros(round as u64 * 5 % 200);
                    let first = withy::timeout(limit, || block_on(door.clone())).is_ok();
                    // Whatever became of the first, this one waits to its end.
                    (first, block_on(door))
                }
            });
            let opener = std::thread::spawn(move || {
                door.until_polled();
                door.open();
            });
            let (_, polls) = waiter.join().unwrap();
            assert!((1..=4).contains(&polls), "{polls} polls ({label})");
            opener.join().unwrap();
        }
    });
}
