//! `WaitGroup`: crossbeam's cases, and members that unwind.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use withy::sync::WaitGroup;
use withy::{Cancelled, spawn, timeout};

use crate::rig::parties::{each_pair, in_virtual_time, settle};
use crate::rig::stress_rounds;
use crate::support::{self, LIMIT, matrix, within};

#[test]
fn all_who_wait_go_on_when_the_last_has_come() {
    matrix(LIMIT, "members that wait", |case| {
        let group = WaitGroup::new();
        let passed = Arc::new(AtomicUsize::new(0));
        let waiters: Vec<_> = (0..10)
            .map(|_| {
                let (group, passed) = (group.clone(), passed.clone());
                case.spawn(move || {
                    group.wait();
                    passed.fetch_add(1, Ordering::SeqCst);
                })
            })
            .collect();
        (0..20).for_each(|_| withy::yield_now());
        assert_eq!(passed.load(Ordering::SeqCst), 0);
        group.wait();
        waiters.into_iter().for_each(|waiter| waiter.join());
        assert_eq!(passed.load(Ordering::SeqCst), 10);
    });
}

#[test]
fn who_waits_sees_what_the_members_did() {
    matrix(LIMIT, "members that end", |case| {
        let (group, start) = (WaitGroup::new(), WaitGroup::new());
        let done = Arc::new(AtomicUsize::new(0));
        let members: Vec<_> = (0..10)
            .map(|_| {
                let (group, start, done) = (group.clone(), start.clone(), done.clone());
                case.spawn(move || {
                    start.wait();
                    done.fetch_add(1, Ordering::Relaxed);
                    drop(group);
                })
            })
            .collect();
        assert_eq!(done.load(Ordering::Relaxed), 0);
        drop(start);
        case.run(move || group.wait());
        assert_eq!(done.load(Ordering::Relaxed), 10);
        members.into_iter().for_each(|member| member.join());
    });
}

/// Promise 41.
#[test]
fn one_waits_for_the_other() {
    each_pair("one and the other", |pair| {
        for _ in 0..50 {
            let group = WaitGroup::new();
            let done = Arc::new(AtomicUsize::new(0));
            let member = pair.spawn(0, {
                let (group, done) = (group.clone(), done.clone());
                move || {
                    done.store(1, Ordering::Relaxed);
                    drop(group);
                }
            });
            let waiter = pair.spawn(1, move || {
                group.wait();
                done.load(Ordering::Relaxed)
            });
            assert_eq!(waiter.join(), 1);
            member.join();
        }
    });
}

#[test]
fn a_group_of_one_does_not_wait() {
    within(LIMIT, "nobody", || {
        WaitGroup::new().wait();
        let group = WaitGroup::default();
        drop(group.clone());
        drop(group.clone().clone());
        assert_eq!(format!("{group:?}"), "WaitGroup { members: 1, .. }");
        withy::run(|| withy::no_park(|| group.wait()));
    });
}

/// Promise 28. A member that panics or is cancelled is done.
#[test]
fn a_member_that_unwinds_is_done() {
    in_virtual_time("members that unwind", || {
        let group = WaitGroup::new();
        let panics = spawn({
            let group = group.clone();
            move || {
                let _group = group;
                std::panic::resume_unwind(Box::new("on purpose"));
            }
        });
        let cancelled = spawn({
            let group = group.clone();
            move || {
                let _group = group;
                withy::park();
            }
        });
        settle();
        assert_eq!(format!("{group:?}"), "WaitGroup { members: 2, .. }");
        cancelled.cancel();
        group.wait();
        assert!(panics.join().is_err());
        assert!(cancelled.join().unwrap_err().is::<Cancelled>());
    });
}

/// Promise 29. Who gives up waiting has left: others do not wait for it, and are not woken by it.
#[test]
fn who_gives_up_waiting_has_left() {
    in_virtual_time("waiters that give up", || {
        let group = WaitGroup::new();
        let wait = || {
            let group = group.clone();
            let waiter = spawn(move || group.wait());
            settle();
            waiter
        };
        let (first, second, third) = (wait(), wait(), wait());
        second.cancel();
        assert!(second.join().unwrap_err().is::<Cancelled>());
        let member = group.clone();
        let limit = Duration::from_secs(1);
        assert!(timeout(limit, move || member.wait()).is_err());
        assert_eq!(format!("{group:?}"), "WaitGroup { members: 1, .. }");
        assert!(!first.is_finished() && !third.is_finished());
        // Woken, and cancelled before it has run.
        drop(group);
        first.cancel();
        assert!(first.join().unwrap_err().is::<Cancelled>());
        third.join().unwrap();
    });
}

#[test]
fn it_may_be_sent_and_shared() {
    fn is_send_sync<T: Send + Sync + std::panic::UnwindSafe + std::panic::RefUnwindSafe>() {}
    is_send_sync::<WaitGroup>();
}

/// Promise 35. The last member's end and the waits of many meet at any moment.
#[test]
fn nobody_is_left_waiting_under_stress() {
    for full_stealing in [false, true] {
        within(5 * LIMIT, "groups under stress", || {
            let runtime = support::runtime(8, full_stealing);
            for _ in 0..200 * stress_rounds() {
                let group = WaitGroup::new();
                let done = Arc::new(AtomicUsize::new(0));
                let members: Vec<_> = (0..8)
                    .map(|n| {
                        let (group, done) = (group.clone(), done.clone());
                        runtime.spawn(move || {
                            done.fetch_add(1, Ordering::Relaxed);
                            match n % 2 {
                                0 => drop(group),
                                _ => {
                                    group.wait();
                                    assert_eq!(done.load(Ordering::Relaxed), 8);
                                }
                            }
                        })
                    })
                    .collect();
                group.wait();
                assert_eq!(done.load(Ordering::Relaxed), 8);
                members.into_iter().for_each(|one| one.join().unwrap());
            }
        });
    }
}
