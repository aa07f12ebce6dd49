//! Senders and receivers that are cancelled, or whose time is over: no message is lost, and none comes twice. Promise 29.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use withy::sync::channel::{
    RecvTimeoutError, SendTimeoutError, TryRecvError, TrySendError, bounded,
};
use withy::{CancelToken, scope, sleep, spawn, timeout, yield_now};

use super::parcels::{CAPACITIES, Ledger, MS, Parcel, channel_of};
use crate::rig::parties::in_virtual_time;
use crate::rig::{each_runtime, until};
use crate::support::{LIMIT, within};

/// Promise 29. A receiver that waits and is cancelled leaves the queue; the next message goes to the next receiver.
#[test]
fn a_cancelled_receiver_is_passed_over() {
    in_virtual_time("a cancelled receiver", || {
        for capacity in CAPACITIES {
            let (sender, receiver) = channel_of(capacity);
            let token = CancelToken::new();
            scope(|s| {
                s.spawn(|| assert!(token.run(|| receiver.recv()).is_err()));
                sleep(MS);
                s.spawn(|| assert_eq!(receiver.recv(), Ok(7)));
                sleep(MS);
                token.cancel();
                sender.send(7).unwrap();
            });
        }
    });
}

/// Promise 29. A message that was handed to a receiver which unwinds all the same goes to the next one that waits.
#[test]
fn a_message_for_a_cancelled_receiver_goes_to_the_next() {
    in_virtual_time("a message in a cancelled receiver's hands", || {
        for capacity in CAPACITIES {
            let (sender, receiver) = channel_of(capacity);
            let token = CancelToken::new();
            scope(|s| {
                s.spawn(|| assert!(token.run(|| receiver.recv()).is_err()));
                sleep(MS);
                s.spawn(|| assert_eq!(receiver.recv(), Ok(7)));
                sleep(MS);
                // It is the first's; before that runs, it is cancelled.
                sender.send(7).unwrap();
                token.cancel();
            });
        }
    });
}

/// Promise 29. If nobody else waits the message is back in its place: before those that were sent later, over the limit if
/// need be, and at a rendezvous, too.
#[test]
fn a_message_for_a_cancelled_receiver_comes_back_first() {
    in_virtual_time("a message that comes back", || {
        for capacity in CAPACITIES {
            let (sender, receiver) = channel_of(capacity);
            let token = CancelToken::new();
            scope(|s| {
                s.spawn(|| assert!(token.run(|| receiver.recv()).is_err()));
                sleep(MS);
                sender.send(0).unwrap();
                token.cancel();
                let more = capacity.unwrap_or(5);
                (1..=more).for_each(|n| sender.try_send(n).unwrap());
                sleep(MS);
                assert_eq!(receiver.len(), more + 1);
                assert_eq!(sender.is_full(), capacity.is_some());
                if capacity.is_some() {
                    assert_eq!(sender.try_send(9), Err(TrySendError::Full(9)));
                }
                (0..=more).for_each(|n| assert_eq!(receiver.try_recv(), Ok(n)));
                assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
                // All is as it was: no room is lost, none was won.
                let room = (0..3).take_while(|n| sender.try_send(*n).is_ok()).count();
                assert_eq!(room, capacity.unwrap_or(3));
            });
        }
    });
}

/// A message that comes back from a cancelled receiver after the last sender has gone is still received.
#[test]
fn a_message_that_comes_back_outlives_the_senders() {
    in_virtual_time("a message that comes back late", || {
        let (sender, receiver) = bounded(0);
        let token = CancelToken::new();
        scope(|s| {
            s.spawn(|| assert!(token.run(|| receiver.recv()).is_err()));
            sleep(MS);
            sender.send(7).unwrap();
            token.cancel();
            drop(sender);
            sleep(MS);
            assert_eq!(receiver.recv(), Ok(7));
            assert!(receiver.recv().is_err());
        });
    });
}

/// Promise 29. A sender that waits and is cancelled takes its message with it, drops it, and lets the next be next.
#[test]
fn a_cancelled_sender_takes_its_message_with_it() {
    in_virtual_time("a cancelled sender", || {
        for capacity in [0, 1, 3] {
            let ledger = Ledger::new(capacity + 2);
            let (sender, receiver) = bounded::<Parcel>(capacity);
            let token = CancelToken::new();
            (0..capacity).for_each(|id| assert!(sender.send(ledger.parcel(id)).is_ok()));
            scope(|s| {
                let (cancelled, next) = (ledger.parcel(capacity), ledger.parcel(capacity + 1));
                let (sender, token) = (&sender, &token);
                s.spawn(move || assert!(token.run(|| sender.send(cancelled).is_ok()).is_err()));
                sleep(MS);
                s.spawn(move || assert!(sender.send(next).is_ok()));
                sleep(MS);
                token.cancel();
                sleep(MS);
                assert_eq!(ledger.dropped(capacity), 1);
                for _ in 0..=capacity {
                    receiver.recv().unwrap().open();
                }
                assert!(receiver.try_recv().is_err());
            });
            assert_eq!(ledger.received(capacity), 0);
            ledger.settle();
        }
    });
}

/// Promise 29. A sender whose message was taken before it could unwind has sent it, once.
#[test]
fn a_message_taken_from_a_cancelled_sender_was_sent() {
    in_virtual_time("a message from a cancelled sender", || {
        for capacity in [0, 1, 3] {
            let ledger = Ledger::new(capacity + 1);
            let (sender, receiver) = bounded::<Parcel>(capacity);
            let token = CancelToken::new();
            (0..capacity).for_each(|id| assert!(sender.send(ledger.parcel(id)).is_ok()));
            scope(|s| {
                let last = ledger.parcel(capacity);
                let (sender, token) = (&sender, &token);
                s.spawn(move || assert!(token.run(|| sender.send(last).is_ok()).is_err()));
                sleep(MS);
                (0..=capacity).for_each(|id| assert_eq!(receiver.try_recv().unwrap().open(), id));
                token.cancel();
            });
            ledger.settle();
        }
    });
}

/// A timeout around a call unwinds it as a cancellation does; a call's own timeout gives back what it had.
#[test]
fn timeouts_around_calls_and_of_calls_lose_nothing() {
    in_virtual_time("timeouts", || {
        for capacity in [0, 1] {
            let (sender, receiver) = bounded(capacity);
            (0..capacity).for_each(|_| sender.send(0).unwrap());
            assert!(timeout(MS, || sender.send(1)).is_err());
            assert_eq!(
                sender.send_timeout(2, MS),
                Err(SendTimeoutError::Timeout(2))
            );
            assert_eq!(receiver.try_iter().count(), capacity);
            assert!(timeout(MS, || receiver.recv()).is_err());
            assert_eq!(receiver.recv_timeout(MS), Err(RecvTimeoutError::Timeout));
            scope(|s| {
                s.spawn(|| sender.send(3).unwrap());
                assert_eq!(receiver.recv(), Ok(3));
            });
        }
    });
}

/// A receiver that ends by a panic while it holds the channel leaves it to the others.
#[test]
fn a_panicking_neighbour_leaves_the_channel_in_order() {
    within(LIMIT, "a panicking receiver", || {
        let (sender, receiver) = bounded(0);
        let panicking = spawn({
            let receiver = receiver.clone();
            move || {
                let n: u32 = receiver.recv().unwrap();
                resume_unwind(Box::new(n));
            }
        });
        sender.send(1).unwrap();
        assert!(panicking.join().is_err());
        let next = spawn(move || receiver.recv());
        sender.send(2).unwrap();
        assert_eq!(next.join().unwrap(), Ok(2));
    });
}

/// Promise 29. Coroutines that send and receive while they are cancelled at any time: what arrived, what came back and what was
/// dropped add up.
#[test]
fn cancellations_at_any_time_lose_and_double_nothing() {
    const PARCELS: usize = 200;
    each_runtime("cancellations at any time", |runtime, _| {
        for capacity in CAPACITIES {
            let ledger = Ledger::new(PARCELS);
            let (sender, receiver) = channel_of::<Parcel>(capacity);
            let sent = Arc::new(AtomicUsize::new(0));
            let ended = Arc::new(AtomicUsize::new(0));
            let mut coroutines = Vec::new();
            for id in 0..PARCELS {
                let (sender, parcel) = (sender.clone(), ledger.parcel(id));
                let (sent, sender_ended) = (sent.clone(), Ended(ended.clone()));
                coroutines.push(runtime.spawn(move || {
                    let _ended = sender_ended;
                    if sender.send(parcel).is_ok() {
                        sent.fetch_add(1, Ordering::SeqCst);
                    }
                }));
                let (receiver, receiver_ended) = (receiver.clone(), Ended(ended.clone()));
                coroutines.push(runtime.spawn(move || {
                    let _ended = receiver_ended;
                    if id % 3 == 0 {
                        yield_now();
                    }
                    if let Ok(parcel) = receiver.recv_timeout(Duration::from_micros(id as u64)) {
                        parcel.open();
                    }
                }));
                if id % 2 == 1 {
                    let victim = coroutines.len() - 2 - id % 4;
                    coroutines[victim].cancel();
                }
            }
            drop(sender);
            // Whoever is left takes the rest.
            while receiver.recv().map(Parcel::open).is_ok() {}
            until(|| ended.load(Ordering::SeqCst) == 2 * PARCELS);
            receiver.try_iter().for_each(|parcel| _ = parcel.open());
            drop(receiver);
            for coroutine in coroutines {
                let _ = coroutine.join();
            }
            ledger.settle();
            let (sent, received) = (sent.load(Ordering::SeqCst), ledger.all_received());
            assert!(received >= sent, "{received} of {sent} arrived");
        }
    });
}

struct Ended(Arc<AtomicUsize>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}
