//! The event (`sync/notify.rs`) that ships, on the wait queue that ships, under every interleaving.
//!
//! Each model names what it hangs on: change that, and the model fails (tried).
#![allow(
    unfulfilled_lint_expectations,
    reason = "the library leaves unused what models use"
)]

mod model;
#[path = "../src/time/moment.rs"]
#[allow(dead_code)]
mod moment;
#[path = "../src/sync/notify.rs"]
#[allow(dead_code, unreachable_pub)]
mod notify;
#[path = "model/sync.rs"]
mod shim;
#[path = "../src/task/state.rs"]
#[allow(dead_code)]
mod state;
#[path = "../src/sync/waiters/mod.rs"]
#[allow(dead_code, unused_imports)]
mod waiters;

mod atomic {
    pub(crate) use crate::shim::{AtomicU32, AtomicU64, AtomicUsize, Cell, Ordering, spin_loop};
}
mod sync {
    pub(crate) use crate::waiters;
    pub(crate) mod lock {
        pub(crate) use crate::shim::SpinLock;
    }
    pub(crate) mod tally {
        /// Nobody has to be fair here.
        pub(crate) struct Tally;

        impl Tally {
            pub(crate) const fn new() -> Tally {
                Tally
            }

            pub(crate) fn count(&self) {}
        }
    }
}
mod task {
    pub(crate) mod park {
        pub(crate) use crate::shim::{Waiting, Wake, park};
    }
}
mod time {
    pub(crate) use crate::moment::Moment;
    pub(crate) use crate::shim::moment;
}

use std::time::Duration;

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread::{self, JoinHandle};

use model::Gate;
use notify::Notify;
use shim::{Cancelled, Record, check, coroutine};

/// A limit that ends when the model says so.
const SOON: Duration = Duration::from_nanos(1);

fn event() -> Arc<Notify> {
    let event = Notify::new();
    // The word; and the queue's lock.
    assert!(!coroutine(&expired(), || event.wait_timeout(SOON)).unwrap());
    Arc::new(event)
}

/// A waiter whose limit has ended.
fn expired() -> Arc<Record> {
    let record = Record::coroutine();
    record.expire();
    record
}

/// A thread that does something with the event.
fn with<T: 'static>(
    event: &Arc<Notify>,
    body: impl FnOnce(&Notify) -> T + 'static,
) -> JoinHandle<T> {
    let event = event.clone();
    thread::spawn(move || body(&event))
}

/// All is over: nobody waits. Whether a permit is left.
fn is_notified(event: &Notify) -> bool {
    assert!(format!("{event:?}").contains("waiting: false"));
    coroutine(&expired(), || event.wait_timeout(SOON)).unwrap()
}

/// A notification comes before, while or after somebody queues up, and brings along what was done before.
///
/// Hangs on: WAITING being set in the exchange that sees no permit; `notify_one` looking at it in its exchange; Release
/// there, Acquire where a permit is taken.
#[test]
fn a_notification_finds_the_waiter_or_is_kept() {
    check(3, || {
        let event = event();
        let mark = Arc::new(UnsafeCell::new(0));
        let notifier = with(&event, {
            let mark = mark.clone();
            move |event| {
                // SAFETY: read only after the notification; loom checks that.
                mark.with_mut(|mark| unsafe { *mark = 1 });
                event.notify_one();
            }
        });
        assert_eq!(coroutine(&Record::coroutine(), || event.wait()), Ok(()));
        // SAFETY: as above.
        assert_eq!(mark.with(|mark| unsafe { *mark }), 1);
        notifier.join().unwrap();
        assert!(!is_notified(&event));
    });
}

/// Of two that notify, the second finds the permit there: it is seen, too, by who takes that permit. Or two permits are taken.
///
/// Hangs on: `notify_one` writing also if there is a permit.
#[test]
fn a_notification_that_finds_a_permit_is_seen_with_it() {
    check(2, || {
        let event = event();
        let told = Arc::new([0, 1].map(|_| shim::AtomicU32::new(0)));
        told.iter()
            .for_each(|one| one.store(0, shim::Ordering::Relaxed));
        let notifiers = [0, 1].map(|me| {
            let told = told.clone();
            with(&event, move |event| {
                told[me].store(1, shim::Ordering::Relaxed);
                event.notify_one();
            })
        });
        // Waits until both have told, as often as it takes.
        let outcome = coroutine(&Record::coroutine(), || {
            while told
                .iter()
                .any(|one| one.load(shim::Ordering::Relaxed) == 0)
            {
                event.wait();
            }
        });
        assert_eq!(outcome, Ok(()));
        for notifier in notifiers {
            notifier.join().unwrap();
        }
    });
}

/// A cancellation meets a notification: it is there for the next one, or was never taken.
///
/// Hangs on: `leave` passing on what came by `notify_one`, and clearing WAITING.
#[test]
fn a_cancelled_waiter_keeps_no_notification() {
    check(3, || {
        let event = event();
        let record = Record::coroutine();
        let canceller = thread::spawn({
            let record = record.clone();
            move || record.cancel()
        });
        let notifier = with(&event, |event| event.notify_one());
        let outcome = coroutine(&record, || event.wait());
        canceller.join().unwrap();
        notifier.join().unwrap();
        assert_eq!(is_notified(&event), outcome == Err(Cancelled));
    });
}

/// The same with another one that waits.
#[test]
fn what_a_cancelled_waiter_was_told_goes_to_the_next() {
    check(2, || {
        let event = event();
        let record = Record::coroutine();
        let notifier = with(&event, {
            let record = record.clone();
            move |event| {
                event.notify_one();
                record.cancel();
            }
        });
        let first = with(&event, move |event| {
            let outcome = coroutine(&record, || event.wait());
            if outcome.is_ok() {
                event.notify_one();
            }
        });
        assert_eq!(coroutine(&Record::coroutine(), || event.wait()), Ok(()));
        notifier.join().unwrap();
        first.join().unwrap();
        assert!(!is_notified(&event));
    });
}

/// A limit ends while a notification comes: one outcome.
#[test]
fn a_late_waiter_keeps_no_notification() {
    check(3, || {
        let event = event();
        let record = Record::coroutine();
        let clock = thread::spawn({
            let record = record.clone();
            move || record.expire()
        });
        let notifier = with(&event, |event| event.notify_one());
        let told = coroutine(&record, || event.wait_timeout(SOON)).unwrap();
        clock.join().unwrap();
        notifier.join().unwrap();
        assert_eq!(is_notified(&event), !told);
    });
}

/// Who announces a wait, then looks, then waits, misses no round.
///
/// Hangs on: the round being compared in the exchange that sets WAITING; Release in `notify_waiters`, Acquire in `notified`.
#[test]
fn a_round_after_an_announcement_is_not_missed() {
    check(3, || {
        let event = event();
        let mark = Arc::new(shim::AtomicU32::new(0));
        mark.store(0, shim::Ordering::Relaxed);
        let gate = Arc::new(Gate::new());
        let notifier = with(&event, {
            let (mark, gate) = (mark.clone(), gate.clone());
            move |event| {
                mark.store(1, shim::Ordering::Relaxed);
                gate.pass();
                event.notify_waiters();
                gate.pass();
            }
        });
        let outcome = coroutine(&Record::coroutine(), || {
            gate.pass();
            let announced = event.notified();
            if mark.load(shim::Ordering::Relaxed) == 0 {
                announced.wait();
            }
            assert_eq!(mark.load(shim::Ordering::Relaxed), 1);
        });
        assert_eq!(outcome, Ok(()));
        notifier.join().unwrap();
        assert!(!is_notified(&event));
    });
}

/// A round and a notification meet two who announced themselves: both go on, and the permit is there unless one of them took it.
///
/// Hangs on: `notify_all` clearing WAITING, so that the permit is kept after it.
#[test]
fn a_round_and_a_notification_meet() {
    check(2, || {
        let event = event();
        let round = with(&event, |event| event.notify_waiters());
        let one = with(&event, |event| {
            event.notify_one();
            event.notify_one();
        });
        let outcome = coroutine(&Record::coroutine(), || {
            event.wait();
        });
        assert_eq!(outcome, Ok(()));
        round.join().unwrap();
        one.join().unwrap();
        is_notified(&event);
        event.notify_one();
        assert!(is_notified(&event));
    });
}
