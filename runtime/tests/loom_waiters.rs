//! The wait queue (`sync/waiters.rs`) that ships, under every interleaving.
#![allow(
    unfulfilled_lint_expectations,
    reason = "the library leaves unused what models use"
)]

mod model;
#[path = "../src/time/moment.rs"]
#[allow(dead_code)]
mod moment;
#[path = "model/sync.rs"]
mod shim;
#[path = "../src/task/state.rs"]
#[allow(dead_code)]
mod state;
#[path = "../src/sync/waiters.rs"]
#[allow(dead_code)]
mod waiters;

mod atomic {
    pub(crate) use crate::shim::{AtomicU32, AtomicUsize, Cell, Ordering, spin_loop};
}
mod sync {
    pub(crate) mod lock {
        pub(crate) use crate::shim::SpinLock;
    }
}
mod task {
    pub(crate) mod park {
        pub(crate) use crate::shim::{Waiting, Wake, park};
    }
}
mod time {
    pub(crate) use crate::moment::Moment;
}

use loom::sync::Arc;
use loom::thread;

use moment::Moment;
use shim::{Record, check, coroutine, plain_thread};
use waiters::{Enter, Guarded, Left, Place, Waited};

/// A deadline that passes when the model says so.
const SOON: Moment = Moment::from_ns(1);

/// Permits, and those who wait for one: each is handed the permit that lets it go.
struct Permits(Guarded<u32, Permit>);

struct Permit {
    given: bool,
}

impl Permits {
    fn new(number: u32) -> Arc<Permits> {
        Arc::new(Permits(Guarded::new(number)))
    }

    /// Whether it got one before the deadline.
    fn acquire(&self, deadline: Moment) -> bool {
        let waited = self.0.wait(
            deadline,
            |access| {
                if *access.state > 0 {
                    *access.state -= 1;
                    return Enter::Done(());
                }
                Enter::Wait {
                    queue: 0,
                    place: Place::Back,
                    payload: Permit { given: false },
                }
            },
            |access, permit, left| {
                assert_eq!(permit.given, left == Left::Woken);
                if permit.given && access.wake_next(0, |next| next.given = true).is_none() {
                    *access.state += 1;
                }
            },
        );
        match waited {
            Waited::Done(()) => true,
            Waited::Woken(permit) => {
                assert!(permit.given);
                true
            }
            Waited::TimedOut(permit) => {
                assert!(!permit.given);
                false
            }
        }
    }

    fn release(&self) {
        self.0.with(|access| {
            if access.wake_next(0, |next| next.given = true).is_none() {
                *access.state += 1;
            }
        });
    }

    /// Those that nobody has.
    fn left(&self) -> u32 {
        self.0.with(|access| {
            if *access.state > 0 {
                assert!(access.is_empty(0), "one waits though there is a permit");
            }
            *access.state
        })
    }
}

/// A permit is given before, while or after a coroutine enters and parks.
#[test]
fn a_wake_up_between_entering_and_parking_is_not_lost() {
    check(3, || {
        let permits = Permits::new(0);
        let giver = thread::spawn({
            let permits = permits.clone();
            move || permits.release()
        });
        let record = Record::coroutine();
        assert_eq!(
            coroutine(&record, || permits.acquire(Moment::NEVER)),
            Ok(true)
        );
        giver.join().unwrap();
        assert_eq!(permits.left(), 0);
    });
}

/// The same for a plain thread, which also wakes up for no reason.
#[test]
fn a_plain_thread_loses_no_wake_up_either() {
    check(3, || {
        let permits = Permits::new(0);
        let giver = thread::spawn({
            let permits = permits.clone();
            move || permits.release()
        });
        let record = Record::plain_thread();
        assert!(plain_thread(&record, || permits.acquire(Moment::NEVER)));
        giver.join().unwrap();
        assert_eq!(permits.left(), 0);
    });
}

/// A wake-up that belongs to somebody else ends no wait.
#[test]
fn a_wake_up_for_no_reason_ends_no_wait() {
    check(2, || {
        let permits = Permits::new(0);
        let record = Record::coroutine();
        let disturber = thread::spawn({
            let record = record.clone();
            move || record.disturb()
        });
        let giver = thread::spawn({
            let permits = permits.clone();
            move || permits.release()
        });
        assert_eq!(
            coroutine(&record, || permits.acquire(Moment::NEVER)),
            Ok(true)
        );
        disturber.join().unwrap();
        giver.join().unwrap();
        assert_eq!(permits.left(), 0);
    });
}

/// A permit and the deadline meet one waiter: it has the permit, or leaves it.
fn a_permit_meets_a_deadline(
    record: fn() -> Arc<Record>,
    wait: fn(&Arc<Record>, &Permits) -> bool,
) {
    check(2, move || {
        let permits = Permits::new(0);
        let record = record();
        let clock = thread::spawn({
            let record = record.clone();
            move || record.expire()
        });
        let giver = thread::spawn({
            let permits = permits.clone();
            move || permits.release()
        });
        let got = wait(&record, &permits);
        clock.join().unwrap();
        giver.join().unwrap();
        assert_eq!(permits.left(), u32::from(!got));
    });
}

#[test]
fn a_coroutine_that_is_late_has_one_outcome() {
    a_permit_meets_a_deadline(Record::coroutine, |record, permits| {
        coroutine(record, || permits.acquire(SOON)) == Ok(true)
    });
}

#[test]
fn a_plain_thread_that_is_late_has_one_outcome() {
    a_permit_meets_a_deadline(Record::plain_thread, |record, permits| {
        plain_thread(record, || permits.acquire(SOON))
    });
}

/// One of two waiters is cancelled while a permit is given: the other gets it if the first has not.
#[test]
fn what_a_cancelled_waiter_was_given_goes_to_the_next() {
    check(2, || {
        let permits = Permits::new(0);
        let records = [Record::coroutine(), Record::coroutine()];
        let waiter = thread::spawn({
            let (permits, record) = (permits.clone(), records[0].clone());
            move || coroutine(&record, || permits.acquire(Moment::NEVER))
        });
        let canceller = thread::spawn({
            let record = records[0].clone();
            move || record.cancel()
        });
        let giver = thread::spawn({
            let permits = permits.clone();
            move || permits.release()
        });
        let first = waiter.join().unwrap();
        if first == Ok(true) {
            permits.release();
        }
        let record = &records[1];
        assert_eq!(
            coroutine(record, || permits.acquire(Moment::NEVER)),
            Ok(true)
        );
        canceller.join().unwrap();
        giver.join().unwrap();
        assert_eq!(permits.left(), 0);
    });
}
