//! The semaphore (`sync/raw_semaphore.rs`) that ships, on the wait queue that ships, under every interleaving.
//!
//! Each model names what it hangs on: change that, and the model fails (tried).
#![allow(
    unfulfilled_lint_expectations,
    reason = "the library leaves unused what models use"
)]

#[path = "../src/time/moment.rs"]
#[allow(dead_code)]
mod moment;
#[path = "../src/sync/raw_semaphore.rs"]
#[allow(dead_code)]
mod raw_semaphore;
#[path = "model/sync.rs"]
mod shim;
#[path = "../src/task/state.rs"]
#[allow(dead_code)]
mod state;
#[path = "../src/sync/waiters/mod.rs"]
#[allow(dead_code, unused_imports)]
mod waiters;

mod atomic {
    pub(crate) use crate::shim::{AtomicU32, AtomicUsize, Cell, Ordering, spin_loop};
}
mod sync {
    pub(crate) use crate::waiters;
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

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread::{self, JoinHandle};

use moment::Moment;
use raw_semaphore::{RawSemaphore, Refusal};
use shim::{Cancelled, Record, check, coroutine, plain_thread};

/// A deadline that passes when the model says so.
const SOON: Moment = Moment::from_ns(1);

type Outcome = Result<Result<(), Refusal>, Cancelled>;

fn semaphore(permits: usize) -> Arc<RawSemaphore> {
    let semaphore = RawSemaphore::new(permits);
    // The word, and the queue's lock.
    assert_eq!(semaphore.available(), permits);
    assert_eq!(semaphore.acquire_slowly(0, Moment::NEVER), Ok(()));
    Arc::new(semaphore)
}

/// `Semaphore::acquire_many`.
fn acquire(semaphore: &RawSemaphore, wanted: usize, deadline: Moment) -> Result<(), Refusal> {
    match semaphore.try_acquire(wanted) {
        Err(Refusal::NoPermits) => semaphore.acquire_slowly(wanted, deadline),
        outcome => outcome,
    }
}

/// A thread that does something with the semaphore.
fn with<T: 'static>(
    semaphore: &Arc<RawSemaphore>,
    body: impl FnOnce(&RawSemaphore) -> T + 'static,
) -> JoinHandle<T> {
    let semaphore = semaphore.clone();
    thread::spawn(move || body(&semaphore))
}

/// A coroutine that acquires.
fn acquirer(
    semaphore: &Arc<RawSemaphore>,
    record: &Arc<Record>,
    wanted: usize,
) -> JoinHandle<Outcome> {
    let record = record.clone();
    with(semaphore, move |semaphore| {
        coroutine(&record, || acquire(semaphore, wanted, Moment::NEVER))
    })
}

/// All is over: nobody waits, and so many permits are left.
fn assert_at_rest(semaphore: &RawSemaphore, permits: usize) {
    assert!(!semaphore.is_waited_for());
    assert_eq!(semaphore.available(), permits);
}

/// A permit comes back before, while or after somebody queues up for it.
///
/// Hangs on: WAITING being set in the exchange that sees too few permits; `put` looking at it in its exchange.
#[test]
fn a_permit_that_comes_back_finds_the_waiter() {
    check(3, || {
        let semaphore = semaphore(0);
        let giver = with(&semaphore, |semaphore| semaphore.release(1));
        let outcome = coroutine(&Record::coroutine(), || {
            acquire(&semaphore, 1, Moment::NEVER)
        });
        assert_eq!(outcome, Ok(Ok(())));
        giver.join().unwrap();
        assert_at_rest(&semaphore, 0);
    });
}

/// Two add up for one who wants both, and sees what both did before, a plain thread in this case.
///
/// Hangs on: Release in `put`, Acquire in `take_for_first`, `try_acquire` and `take_or_enter`.
#[test]
fn permits_add_up_and_bring_along_what_was_done_before() {
    check(2, || {
        let semaphore = semaphore(0);
        let marks = Arc::new([UnsafeCell::new(0), UnsafeCell::new(0)]);
        let givers = [0, 1].map(|giver| {
            let marks = marks.clone();
            with(&semaphore, move |semaphore| {
                // SAFETY: read only after the permit; loom checks that.
                marks[giver].with_mut(|mark| unsafe { *mark = 1 });
                semaphore.release(1);
            })
        });
        let outcome = plain_thread(&Record::plain_thread(), || {
            acquire(&semaphore, 2, Moment::NEVER)
        });
        assert_eq!(outcome, Ok(()));
        for mark in marks.iter() {
            // SAFETY: as above.
            assert_eq!(mark.with(|mark| unsafe { *mark }), 1);
        }
        for giver in givers {
            giver.join().unwrap();
        }
        assert_at_rest(&semaphore, 0);
    });
}

/// One permit, three who want it, one of them without waiting: never two at once.
///
/// Hangs on: WAITING being cleared with the last in the queue.
#[test]
fn a_permit_is_held_by_one_at_a_time() {
    check(2, || {
        let semaphore = semaphore(1);
        let inside = Arc::new(UnsafeCell::new(0));
        let enter = |inside: &UnsafeCell<u32>, semaphore: &RawSemaphore| {
            // SAFETY: under the permit; loom checks that.
            inside.with_mut(|inside| unsafe { *inside += 1 });
            semaphore.release(1);
        };
        let other = with(&semaphore, {
            let inside = inside.clone();
            move |semaphore| {
                coroutine(&Record::coroutine(), || {
                    acquire(semaphore, 1, Moment::NEVER).unwrap();
                    enter(&inside, semaphore);
                })
            }
        });
        let trier = with(&semaphore, {
            let inside = inside.clone();
            move |semaphore| {
                let got = semaphore.try_acquire(1).is_ok();
                if got {
                    enter(&inside, semaphore);
                }
                u32::from(got)
            }
        });
        coroutine(&Record::coroutine(), || {
            acquire(&semaphore, 1, Moment::NEVER).unwrap();
            enter(&inside, &semaphore);
        })
        .unwrap();
        other.join().unwrap().unwrap();
        let tried = trier.join().unwrap();
        // SAFETY: all have ended.
        assert_eq!(inside.with(|inside| unsafe { *inside }), 2 + tried);
        assert_at_rest(&semaphore, 1);
    });
}

/// A cancellation meets the permit: it is given back, or was never taken.
///
/// Hangs on: `leave` putting back what was granted, and clearing WAITING.
#[test]
fn a_cancelled_waiter_keeps_no_permit() {
    check(3, || {
        let semaphore = semaphore(0);
        let record = Record::coroutine();
        let canceller = thread::spawn({
            let record = record.clone();
            move || record.cancel()
        });
        let giver = with(&semaphore, |semaphore| semaphore.release(1));
        let outcome = coroutine(&record, || acquire(&semaphore, 1, Moment::NEVER));
        canceller.join().unwrap();
        giver.join().unwrap();
        let got = usize::from(outcome == Ok(Ok(())));
        assert_at_rest(&semaphore, 1 - got);
    });
}

/// One who wants more than there is, and is cancelled; behind it, or before it, one for whom there is enough.
///
/// Hangs on: `leave` granting when the first has left.
#[test]
fn a_large_request_that_is_cancelled_lets_the_next_go() {
    check(3, || {
        let semaphore = semaphore(1);
        let record = Record::coroutine();
        let large = acquirer(&semaphore, &record, 2);
        let canceller = thread::spawn(move || record.cancel());
        let outcome = coroutine(&Record::coroutine(), || {
            acquire(&semaphore, 1, Moment::NEVER)
        });
        assert_eq!(outcome, Ok(Ok(())));
        canceller.join().unwrap();
        assert_eq!(large.join().unwrap(), Err(Cancelled));
        assert_at_rest(&semaphore, 0);
    });
}

/// What a cancelled one was granted is enough for the next.
///
/// Hangs on: `leave` granting after it has put back.
#[test]
fn what_a_cancelled_waiter_was_granted_goes_to_the_next() {
    check(2, || {
        let semaphore = semaphore(0);
        let record = Record::coroutine();
        let giver = with(&semaphore, {
            let record = record.clone();
            move |semaphore| {
                semaphore.release(2);
                record.cancel();
            }
        });
        let first = with(&semaphore, move |semaphore| {
            coroutine(&record, || {
                acquire(semaphore, 2, Moment::NEVER).unwrap();
                semaphore.release(2);
            })
        });
        let outcome = coroutine(&Record::coroutine(), || {
            acquire(&semaphore, 1, Moment::NEVER)
        });
        assert_eq!(outcome, Ok(Ok(())));
        giver.join().unwrap();
        let _ = first.join().unwrap();
        assert_at_rest(&semaphore, 1);
    });
}

/// A deadline meets the permit: one outcome.
///
/// Hangs on: `leave` clearing WAITING.
#[test]
fn a_late_waiter_keeps_no_permit() {
    check(3, || {
        let semaphore = semaphore(0);
        let record = Record::coroutine();
        let clock = thread::spawn({
            let record = record.clone();
            move || record.expire()
        });
        let giver = with(&semaphore, |semaphore| semaphore.release(1));
        let outcome = coroutine(&record, || acquire(&semaphore, 1, SOON)).unwrap();
        clock.join().unwrap();
        giver.join().unwrap();
        assert_at_rest(&semaphore, usize::from(outcome.is_err()));
    });
}

/// A close, a permit and a waiter: it ends by one of them, and the permit is there if by the close.
///
/// Hangs on: CLOSED being set under the lock, before those who wait are woken.
#[test]
fn a_close_leaves_nobody_waiting() {
    check(3, || {
        let semaphore = semaphore(0);
        let closer = with(&semaphore, |semaphore| semaphore.close());
        let giver = with(&semaphore, |semaphore| semaphore.release(1));
        let outcome = coroutine(&Record::coroutine(), || {
            acquire(&semaphore, 1, Moment::NEVER)
        });
        closer.join().unwrap();
        giver.join().unwrap();
        let left = usize::from(outcome == Ok(Err(Refusal::Closed)));
        assert_at_rest(&semaphore, left);
        assert_eq!(semaphore.try_acquire(1), Err(Refusal::Closed));
    });
}

/// Whoever finds it closed sees what was done before.
///
/// Hangs on: Release in `close`, Acquire where the word is looked at first.
#[test]
fn a_close_brings_along_what_was_done_before() {
    check(3, || {
        let semaphore = semaphore(0);
        let mark = Arc::new(UnsafeCell::new(0));
        let closer = with(&semaphore, {
            let mark = mark.clone();
            move |semaphore| {
                // SAFETY: read only after the close; loom checks that.
                mark.with_mut(|mark| unsafe { *mark = 1 });
                semaphore.close();
            }
        });
        if semaphore.try_acquire(1) == Err(Refusal::Closed) {
            // SAFETY: as above.
            assert_eq!(mark.with(|mark| unsafe { *mark }), 1);
        }
        closer.join().unwrap();
    });
}

/// Permits are forgotten while one comes back and somebody waits for two.
///
/// Hangs on: `take_for_first` looking again when its exchange fails.
#[test]
fn permits_may_be_forgotten_while_others_are_granted() {
    check(3, || {
        let semaphore = semaphore(1);
        let record = Record::coroutine();
        let waiter = acquirer(&semaphore, &record, 2);
        let forgetter = with(&semaphore, |semaphore| semaphore.forget(1));
        semaphore.release(1);
        let forgotten = forgetter.join().unwrap();
        semaphore.release(forgotten);
        assert_eq!(waiter.join().unwrap(), Ok(Ok(())));
        assert_at_rest(&semaphore, 0);
    });
}
