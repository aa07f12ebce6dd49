//! Channels that keep the last value only.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use withy::sync::channel::{RecvError, RecvTimeoutError, SendError, watch};
use withy::{CancelToken, now, scope, sleep, timeout};

use super::parcels::{Ledger, MS};
use crate::rig::parties::in_virtual_time;
use crate::support::{LIMIT, matrix, within};

/// The value is there from the beginning, and counts as new only when it was changed since one has looked.
#[test]
fn a_value_is_seen_and_seen_once_as_new() {
    let (sender, mut receiver) = watch(1);
    assert_eq!((*receiver.borrow(), receiver.has_changed()), (1, Ok(false)));
    sender.send(2).unwrap();
    sender.send(3).unwrap();
    assert_eq!((*receiver.borrow(), receiver.has_changed()), (3, Ok(true)));
    assert_eq!(receiver.changed(), Ok(()));
    assert_eq!((*receiver.borrow(), receiver.has_changed()), (3, Ok(false)));
    sender.send(4).unwrap();
    let clone = receiver.clone();
    assert_eq!(*receiver.borrow_and_update(), 4);
    assert_eq!(
        (receiver.has_changed(), clone.has_changed()),
        (Ok(false), Ok(true))
    );
    let late = sender.subscribe();
    assert_eq!((*late.borrow(), late.has_changed()), (4, Ok(false)));
    assert!(late.same_channel(&receiver) && sender.same_channel(&sender.clone()));
    assert_eq!(sender.receiver_count(), 3);
}

/// Every way of changing it.
#[test]
fn a_value_is_changed_in_every_way() {
    let (sender, receiver) = watch(String::from("a"));
    sender.send_modify(|text| text.push('b'));
    assert_eq!(sender.send_replace(String::from("c")), "ab");
    assert!(sender.send_if_modified(|text| {
        text.push('d');
        true
    }));
    assert_eq!(*sender.borrow(), "cd");
    let mut receiver = receiver;
    drop(receiver.borrow_and_update());
    assert!(!sender.send_if_modified(|_| false));
    assert_eq!(receiver.has_changed(), Ok(false));
    drop(receiver);
    assert!(sender.is_closed());
    assert_eq!(
        sender.send(String::from("e")),
        Err(SendError(String::from("e")))
    );
    assert_eq!(*sender.borrow(), "cd");
    assert_eq!(sender.send_replace(String::from("f")), "cd");
    assert_eq!(*sender.subscribe().borrow(), "f");
}

/// Promise 41. Whoever waits for a value gets it, or a later one; the last value is seen by all, and then the end.
#[test]
fn the_last_value_reaches_all() {
    matrix(LIMIT, "a watch", |case| {
        let (sender, receiver) = watch(0);
        let watching: Vec<_> = (0..4)
            .map(|_| {
                let mut receiver = receiver.clone();
                case.spawn(move || {
                    let mut last = 0;
                    while receiver.changed().is_ok() {
                        let now = *receiver.borrow_and_update();
                        assert!(now > last, "{now} is not new");
                        last = now;
                    }
                    last
                })
            })
            .collect();
        let mut receiver = receiver;
        let waiting = case.spawn(move || *receiver.wait_for(|&n| n >= 150).unwrap());
        let sending = case.spawn(move || {
            (1..=200).for_each(|n| sender.send_modify(|value| *value = n));
        });
        sending.join();
        assert!(waiting.join() >= 150);
        for watching in watching {
            assert_eq!(watching.join(), 200);
        }
    });
}

/// The end: what was not seen yet is still new, then an error, each time.
#[test]
fn the_end_comes_after_the_last_value() {
    let (sender, mut receiver) = watch(1);
    sender.send(2).unwrap();
    drop(sender);
    assert_eq!(receiver.has_changed(), Ok(true));
    assert_eq!(receiver.changed(), Ok(()));
    assert_eq!(receiver.has_changed(), Err(RecvError));
    assert_eq!(receiver.changed(), Err(RecvError));
    let ended = receiver.changed_timeout(Duration::MAX);
    assert_eq!(ended, Err(RecvTimeoutError::Disconnected));
    assert_eq!(*receiver.wait_for(|&n| n == 2).unwrap(), 2);
    assert_eq!(receiver.wait_for(|&n| n == 3).err(), Some(RecvError));
    assert_eq!(*receiver.borrow(), 2);
}

/// Waits: for a change, at their time, and interrupted, after which a change is as new as before.
#[test]
fn receivers_wait_for_changes() {
    in_virtual_time("waiting for a change", || {
        let begin = now();
        let (sender, mut receiver) = watch(0);
        let timed_out = receiver.changed_timeout(5 * MS);
        assert_eq!(
            (timed_out, now()),
            (Err(RecvTimeoutError::Timeout), begin + 5 * MS)
        );
        let token = CancelToken::new();
        scope(|s| {
            let (mut cancelled, mut waiting) = (receiver.clone(), receiver.clone());
            let token = &token;
            s.spawn(move || {
                assert!(token.run(|| cancelled.changed()).is_err());
                assert_eq!(cancelled.has_changed(), Ok(true));
            });
            s.spawn(move || {
                assert_eq!(*waiting.wait_for(|&n| n == 2).unwrap(), 2);
                assert_eq!(now(), begin + 7 * MS);
            });
            sleep(MS);
            sender.send(1).unwrap();
            token.cancel();
            sleep(MS);
            sender.send(2).unwrap();
        });
        assert_eq!(receiver.changed_timeout(Duration::ZERO), Ok(()));
        assert!(timeout(MS, || receiver.changed()).is_err());
    });
}

/// `closed` waits for the last receiver's end.
#[test]
fn closed_waits_for_the_last_receiver() {
    in_virtual_time("closed", || {
        let begin = now();
        let (sender, receiver) = watch(0);
        let other = receiver.clone();
        scope(|s| {
            for (n, receiver) in [receiver, other].into_iter().enumerate() {
                s.spawn(move || {
                    sleep(n as u32 * 5 * MS + 5 * MS);
                    drop(receiver);
                });
            }
            assert!(timeout(6 * MS, || sender.closed()).is_err());
            assert!(!sender.is_closed());
            sender.closed();
            assert_eq!(now(), begin + 10 * MS);
        });
    });
}

/// While it is borrowed nobody changes it; who wants to waits, and goes on when it is free.
#[test]
fn a_borrowed_value_does_not_change() {
    in_virtual_time("a borrowed value", || {
        let begin = now();
        let (sender, receiver) = watch(1);
        let borrowed = receiver.borrow();
        scope(|s| {
            s.spawn(|| {
                assert!(timeout(MS, || sender.send(9)).is_err());
                sender.send(2).unwrap();
                assert_eq!(now(), begin + 5 * MS);
            });
            sleep(5 * MS);
            assert_eq!(*borrowed, 1);
            drop(borrowed);
        });
        assert_eq!(*receiver.borrow(), 2);
    });
}

/// A closure that panics tells nobody, and poisons nothing.
#[test]
fn a_panicking_closure_leaves_the_channel_in_use() {
    within(LIMIT, "a panicking closure", || {
        let (sender, mut receiver) = watch(1);
        let panics = || sender.send_modify(|_| std::panic::resume_unwind(Box::new(())));
        assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
        assert_eq!(receiver.has_changed(), Ok(false));
        let panics = || {
            receiver
                .wait_for(|_| std::panic::resume_unwind(Box::new(())))
                .is_ok()
        };
        assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
        sender.send(2).unwrap();
        assert_eq!(*receiver.borrow(), 2);
    });
}

/// Promise 40. Values are dropped when they are replaced, and the last with the channel; outside any lock.
#[test]
fn values_are_dropped_once() {
    let ledger = Ledger::new(4);
    let (sender, receiver) = watch(ledger.parcel(0));
    assert!(sender.send(ledger.parcel(1)).is_ok());
    assert_eq!(ledger.all_dropped(), 1);
    drop(sender.send_replace(ledger.parcel(2)));
    drop(receiver);
    assert!(sender.send(ledger.parcel(3)).is_err());
    assert_eq!((ledger.dropped(2), ledger.all_dropped()), (0, 3));
    drop(sender);
    ledger.settle();
}
