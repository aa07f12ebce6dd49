//! The wait queue (`sync/waiters/`) that ships, under every interleaving.
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
#[path = "../src/sync/waiters/mod.rs"]
#[allow(dead_code, unused_imports)]
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
use shim::{Cancelled, Cell, Record, check, coroutine, plain_thread};
use waiters::{Access, Choice, Enter, Guarded, Left, Node, Place, Waited};

/// A deadline that passes when the model says so.
const SOON: Moment = Moment::from_ns(1);

/// Permits, and those who wait for one: each is handed the permit that lets it go.
struct Permits(Guarded<u32, Permit>);

struct Permit {
    /// Written by the waker, read by the waiter: loom checks that they take turns.
    given: Cell<bool>,
}

impl Permit {
    fn new() -> Permit {
        Permit {
            given: Cell::new(false),
        }
    }
}

fn give(access: &mut Access<'_, u32, Permit>) {
    if access.wake_next(0, |next| next.given.set(true)).is_none() {
        *access.state += 1;
    }
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
                    payload: Permit::new(),
                }
            },
            |access, permit, left| {
                assert_eq!(permit.given.get(), left == Left::Woken);
                if permit.given.get() {
                    give(access);
                }
            },
        );
        let (permit, expected) = match waited {
            Waited::Done(()) => return true,
            Waited::Woken(permit) => (permit, true),
            Waited::TimedOut(permit) => (permit, false),
        };
        assert_eq!(permit.given.get(), expected);
        expected
    }

    fn release(&self) {
        self.0.with(give);
    }

    /// Those that nobody has.
    fn left(&self) -> u32 {
        self.0.with(|access| {
            assert!(access.is_empty(0), "one is still in the queue");
            *access.state
        })
    }
}

/// Waits as a coroutine, which ends then.
fn acquire(permits: &Permits, record: &Arc<Record>, deadline: Moment) -> Result<bool, Cancelled> {
    coroutine(record, || permits.acquire(deadline))
}

fn start(f: impl FnOnce() + 'static) -> thread::JoinHandle<()> {
    thread::spawn(f)
}

/// A permit is given before, while or after a coroutine enters and parks; its record ends with the wait.
///
/// Hangs on: entering under the lock; TAKEN before the notification, and WOKEN after it; what the stages release and
/// acquire; nothing being touched after WOKEN.
#[test]
fn a_wake_up_between_entering_and_parking_is_not_lost() {
    check(3, || {
        let permits = Permits::new(0);
        let giver = permits.clone();
        let giver = start(move || giver.release());
        let got = acquire(&permits, &Record::coroutine(), Moment::NEVER);
        assert_eq!(got, Ok(true));
        giver.join().unwrap();
        assert_eq!(permits.left(), 0);
    });
}

/// The same for a plain thread, which also wakes up for no reason.
#[test]
fn a_plain_thread_loses_no_wake_up_either() {
    check(3, || {
        let permits = Permits::new(0);
        let giver = permits.clone();
        let giver = start(move || giver.release());
        assert!(plain_thread(&Record::plain_thread(), || {
            permits.acquire(Moment::NEVER)
        }));
        giver.join().unwrap();
        assert_eq!(permits.left(), 0);
    });
}

/// A wake-up that belongs to somebody else ends no wait.
///
/// Hangs on: the waiter parking again on QUEUED, and waiting for WOKEN on TAKEN.
#[test]
fn a_wake_up_for_no_reason_ends_no_wait() {
    check(2, || {
        let permits = Permits::new(0);
        let record = Record::coroutine();
        let disturbed = record.clone();
        let disturber = start(move || disturbed.disturb());
        let giver = permits.clone();
        let giver = start(move || giver.release());
        assert_eq!(acquire(&permits, &record, Moment::NEVER), Ok(true));
        disturber.join().unwrap();
        giver.join().unwrap();
        assert_eq!(permits.left(), 0);
    });
}

/// A permit and the deadline meet one waiter.
fn permit_meets_deadline(record: fn() -> Arc<Record>, wait: fn(&Permits, &Arc<Record>) -> bool) {
    check(2, move || {
        let permits = Permits::new(0);
        let record = record();
        let late = record.clone();
        let clock = start(move || late.expire());
        let giver = permits.clone();
        let giver = start(move || giver.release());
        let got = wait(&permits, &record);
        clock.join().unwrap();
        giver.join().unwrap();
        assert_eq!(permits.left(), u32::from(!got));
    });
}

/// It has the permit, or has left it where the next one finds it.
///
/// Hangs on: `give_up` looking under the lock whether it was woken.
#[test]
fn a_coroutine_that_is_late_has_one_outcome() {
    permit_meets_deadline(Record::coroutine, |permits, record| {
        acquire(permits, record, SOON) == Ok(true)
    });
}

#[test]
fn a_plain_thread_that_is_late_has_one_outcome() {
    permit_meets_deadline(Record::plain_thread, |permits, record| {
        plain_thread(record, || permits.acquire(SOON))
    });
}

/// A cancellation, too: what a waiter was given, and cannot use, it passes on, and its record and node end well.
///
/// Hangs on: the seat's drop; its look under the lock; `leave` being told `Woken`.
#[test]
fn a_permit_a_deadline_and_a_cancellation_have_one_outcome() {
    check(2, || {
        let permits = Permits::new(0);
        let record = Record::coroutine();
        let other = record.clone();
        let interrupter = start(move || {
            other.expire();
            other.cancel();
        });
        let giver = permits.clone();
        let giver = start(move || giver.release());
        let got = acquire(&permits, &record, SOON) == Ok(true);
        interrupter.join().unwrap();
        giver.join().unwrap();
        assert_eq!(permits.left(), u32::from(!got));
    });
}

/// One of two waiters is cancelled while a permit is given: the other gets it if the first has not.
///
/// Hangs on: the same, and on the queue being whole after one has left it.
#[test]
fn what_a_cancelled_waiter_was_given_goes_to_the_next() {
    check(2, || {
        let permits = Permits::new(0);
        let record = Record::coroutine();
        let cancelled = record.clone();
        let canceller = start(move || cancelled.cancel());
        let waiter = permits.clone();
        let waiter = start(move || {
            if acquire(&waiter, &record, Moment::NEVER) == Ok(true) {
                waiter.release();
            }
        });
        let giver = permits.clone();
        let giver = start(move || giver.release());
        let got = acquire(&permits, &Record::coroutine(), Moment::NEVER);
        assert_eq!(got, Ok(true));
        for thread in [canceller, waiter, giver] {
            thread.join().unwrap();
        }
        assert_eq!(permits.left(), 0);
    });
}

/// A waker lets several go, when the lock is free: a coroutine and a plain thread.
///
/// Hangs on: all wake-ups being let go, and the records of those that were woken first being left alone.
#[test]
fn all_are_woken_at_once() {
    check(2, || {
        let permits = Permits::new(0);
        let coroutine = permits.clone();
        let coroutine = start(move || {
            let got = acquire(&coroutine, &Record::coroutine(), Moment::NEVER);
            assert_eq!(got, Ok(true));
        });
        let giver = permits.clone();
        let giver = start(move || {
            giver.0.with(|access| {
                *access.state += 2;
                let woken = access.wake_all(0, |next| next.given.set(true));
                *access.state -= u32::try_from(woken).unwrap();
            });
        });
        assert!(plain_thread(&Record::plain_thread(), || {
            permits.acquire(Moment::NEVER)
        }));
        coroutine.join().unwrap();
        giver.join().unwrap();
        assert_eq!(permits.left(), 0);
    });
}

/// A select that stands in the queues of two sorts of permits.
struct Registered<'a> {
    sorts: [&'a Permits; 2],
    nodes: [&'a Node<Permit>; 2],
    linked: usize,
    finished: bool,
}

impl Registered<'_> {
    /// Leaves both queues; says by which it was woken.
    fn leave(&mut self) -> Option<usize> {
        self.finished = true;
        let mut woken = None;
        for arm in 0..self.linked {
            if self.nodes[arm].is_passed_over() {
                continue;
            }
            // SAFETY: it was linked there.
            let queued = self.sorts[arm]
                .0
                .with(|access| unsafe { access.unlink_queued(self.nodes[arm]) });
            if !queued && self.nodes[arm].is_woken() {
                assert_eq!(woken.replace(arm), None, "both arms were given something");
            }
        }
        woken
    }
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        if !self.finished
            && let Some(arm) = self.leave()
        {
            self.sorts[arm].release();
        }
    }
}

/// A select of two sorts of permits, as `select!` does it: register on both, take one.
fn select(sorts: [&Permits; 2], deadline: Moment) -> Option<usize> {
    let choice = Choice::new();
    assert_eq!(choice.chosen(), None);
    // SAFETY: the choice outlives the nodes, which are out of the queues before they end.
    let nodes = [0, 1].map(|arm| unsafe { Node::of_select(Permit::new(), &choice, arm) });
    let mut registered = Registered {
        sorts,
        nodes: nodes.each_ref(),
        linked: 0,
        finished: false,
    };
    for arm in [0, 1] {
        let claimed = sorts[arm].0.with(|access| {
            if *access.state > 0 {
                let claimed = choice.claim(arm);
                *access.state -= u32::from(claimed);
                return Some(claimed);
            }
            // SAFETY: `Registered` takes it out, also when this unwinds.
            unsafe { access.link(registered.nodes[arm], 0, Place::Back) };
            None
        });
        match claimed {
            None => registered.linked = arm + 1,
            Some(true) => {
                assert_eq!(registered.leave(), None);
                return Some(arm);
            }
            // By an earlier arm.
            Some(false) => break,
        }
    }
    while choice.chosen().is_none() {
        if shim::park(deadline) {
            break;
        }
    }
    let woken = registered.leave();
    if woken.is_some() {
        assert_eq!(woken, choice.chosen());
    }
    woken
}

/// Two sorts of permits are given while a coroutine selects among them: it takes one, and the other is left.
///
/// Hangs on: one exchange that claims; the passed-over node being unlinked, and not touched after its select has left;
/// the choice being looked at only for a node that is queued.
#[test]
fn a_select_takes_one() {
    check(2, || {
        let sorts = [Permits::new(0), Permits::new(0)];
        let givers = sorts.clone().map(|sort| start(move || sort.release()));
        let record = Record::coroutine();
        let arm = coroutine(&record, || select([&sorts[0], &sorts[1]], Moment::NEVER));
        let arm = arm.unwrap().unwrap();
        for giver in givers {
            giver.join().unwrap();
        }
        assert_eq!(sorts[arm].left(), 0);
        assert_eq!(sorts[1 - arm].left(), 1);
    });
}

/// The same, and it is cancelled, before or after the second is given: it has taken one, or none is lost.
#[test]
fn a_select_that_is_cancelled_loses_nothing() {
    for before in [false, true] {
        check(2, move || {
            let sorts = [Permits::new(0), Permits::new(0)];
            let record = Record::coroutine();
            let first = sorts[0].clone();
            let first = start(move || first.release());
            let (second, cancelled) = (sorts[1].clone(), record.clone());
            let second = start(move || {
                if before {
                    cancelled.cancel();
                }
                second.release();
                if !before {
                    cancelled.cancel();
                }
            });
            let arm = coroutine(&record, || select([&sorts[0], &sorts[1]], Moment::NEVER));
            first.join().unwrap();
            second.join().unwrap();
            let taken = u32::from(arm.is_ok());
            assert_eq!(sorts[0].left() + sorts[1].left(), 2 - taken);
        });
    }
}

/// Two selects wait for the same two sorts, in opposite orders; one of each is given. Each takes one.
#[test]
fn two_selects_do_not_take_from_each_other() {
    check(2, || {
        let sorts = [Permits::new(0), Permits::new(0)];
        let other = sorts.clone();
        let other = start(move || {
            let record = Record::coroutine();
            let arm = coroutine(&record, || select([&other[1], &other[0]], Moment::NEVER));
            assert!(arm.unwrap().is_some());
        });
        let giver = sorts.clone();
        let giver = start(move || giver.iter().for_each(|sort| sort.release()));
        let record = Record::coroutine();
        let arm = coroutine(&record, || select([&sorts[0], &sorts[1]], Moment::NEVER));
        assert!(arm.unwrap().is_some());
        other.join().unwrap();
        giver.join().unwrap();
        assert_eq!(sorts[0].left() + sorts[1].left(), 0);
    });
}
