//! How channels end: who is told, what is still received, and when messages are dropped. Promise 40.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use withy::sync::channel::{
    Receiver, RecvError, RecvTimeoutError, SendError, SendTimeoutError, Sender, TryRecvError,
    TrySendError, bounded, unbounded,
};
use withy::{scope, sleep};

use super::parcels::{CAPACITIES, Ledger, MS, Parcel, channel_of};
use crate::rig::parties::in_virtual_time;
use crate::support::{LIMIT, matrix, within};

/// Promise 40. What was sent is received after the last sender has gone; then the end, again and again.
#[test]
fn what_was_sent_outlives_its_senders() {
    for capacity in [Some(3), None] {
        let (sender, receiver) = channel_of(capacity);
        (0..3).for_each(|n| sender.send(n).unwrap());
        drop(sender);
        assert_eq!(receiver.recv(), Ok(0));
        assert_eq!(receiver.try_recv(), Ok(1));
        assert_eq!(receiver.recv_timeout(MS), Ok(2));
        for _ in 0..2 {
            ended(&receiver);
        }
    }
    for capacity in CAPACITIES {
        let receiver = channel_of(capacity).1;
        ended(&receiver);
    }
}

fn ended(receiver: &Receiver<i32>) {
    assert_eq!(receiver.recv(), Err(RecvError));
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
    assert_eq!(
        receiver.recv_timeout(Duration::MAX),
        Err(RecvTimeoutError::Disconnected)
    );
    assert_eq!(receiver.iter().next(), None);
    assert_eq!(receiver.try_iter().next(), None);
}

/// Promise 40. Every way of sending gives the message back when no receiver is left, full or not.
#[test]
fn sending_to_nobody_gives_the_message_back() {
    for capacity in CAPACITIES {
        for sent in [0, 1] {
            let (sender, receiver) = channel_of(capacity);
            if sent == 1 {
                let _ = sender.try_send(0);
            }
            drop(receiver);
            assert_eq!(sender.send(1), Err(SendError(1)));
            assert_eq!(sender.try_send(2), Err(TrySendError::Disconnected(2)));
            assert_eq!(
                sender.send_timeout(3, Duration::MAX),
                Err(SendTimeoutError::Disconnected(3))
            );
            assert_eq!(
                sender.send_deadline(4, withy::now()),
                Err(SendTimeoutError::Disconnected(4))
            );
            assert_eq!((sender.len(), sender.capacity()), (0, capacity));
        }
    }
}

/// A channel ends with the last clone, not before.
#[test]
fn only_the_last_clone_ends_it() {
    for capacity in [Some(1), None] {
        let (sender, receiver) = channel_of(capacity);
        let clones = (sender.clone(), receiver.clone());
        drop((sender, receiver));
        clones.0.send(1).unwrap();
        assert_eq!(clones.1.recv(), Ok(1));
        let sender = clones.0.clone();
        drop(clones.0);
        assert_eq!(clones.1.try_recv(), Err(TryRecvError::Empty));
        drop(sender);
        assert_eq!(clones.1.try_recv(), Err(TryRecvError::Disconnected));
    }
}

/// Promises 40 and 41. All that wait are told, each sender with its own message.
#[test]
fn all_that_wait_are_told() {
    matrix(LIMIT, "those who wait at the end", |case| {
        for capacity in CAPACITIES {
            let (sender, receiver) = channel_of::<usize>(capacity);
            let receivers: Vec<_> = (0..4)
                .map(|_| {
                    let receiver = receiver.clone();
                    case.spawn(move || receiver.recv())
                })
                .collect();
            drop(receiver);
            drop(sender);
            for receiver in receivers {
                assert_eq!(receiver.join(), Err(RecvError));
            }
        }
        for capacity in [0, 1] {
            let (sender, receiver) = bounded(capacity);
            (0..capacity).for_each(|_| sender.send(9).unwrap());
            let senders: Vec<_> = (0..4)
                .map(|n| {
                    let sender = sender.clone();
                    case.spawn(move || sender.send(n))
                })
                .collect();
            drop(sender);
            drop(receiver);
            for (n, sender) in senders.into_iter().enumerate() {
                assert_eq!(sender.join(), Err(SendError(n)));
            }
        }
    });
}

/// The same, when it is certain that they wait.
#[test]
fn those_who_are_parked_are_told() {
    in_virtual_time("parked at the end", || {
        for capacity in CAPACITIES {
            let (sender, receiver) = channel_of::<usize>(capacity);
            scope(|s| {
                for _ in 0..4 {
                    s.spawn(|| assert_eq!(receiver.recv(), Err(RecvError)));
                }
                sleep(MS);
                drop(sender);
            });
        }
        for capacity in [0, 1] {
            let (sender, receiver) = bounded(capacity);
            (0..capacity).for_each(|_| sender.send(9).unwrap());
            scope(|s| {
                for n in 0..4 {
                    let sender = &sender;
                    s.spawn(move || assert_eq!(sender.send(n), Err(SendError(n))));
                    s.spawn(move || {
                        let sent = sender.send_timeout(n, Duration::MAX);
                        assert_eq!(sent, Err(SendTimeoutError::Disconnected(n)));
                    });
                }
                sleep(MS);
                drop(receiver);
            });
        }
    });
}

/// Promise 40. What nobody received is dropped when the last receiver goes, as std does it, each once.
#[test]
fn what_was_not_received_is_dropped_with_the_last_receiver() {
    for capacity in [Some(1), Some(100), None] {
        let ledger = Ledger::new(100);
        let (sender, receiver) = channel_of(capacity);
        let sent = (0..100)
            .filter(|&id| sender.try_send(ledger.parcel(id)).is_ok())
            .count();
        assert_eq!(sent, capacity.unwrap_or(100));
        assert_eq!(ledger.all_dropped(), 100 - sent);
        let other = receiver.clone();
        drop(receiver);
        assert_eq!(ledger.all_dropped(), 100 - sent);
        drop(other);
        assert_eq!(ledger.all_dropped(), 100);
        assert!(sender.send(Ledger::new(1).parcel(0)).is_err());
        ledger.settle();
    }
}

/// Each message is dropped once, whatever has become of it.
#[test]
fn every_message_is_dropped_once() {
    matrix(LIMIT, "drops", |case| {
        for capacity in CAPACITIES {
            for received in [0, 17, 64] {
                let ledger = Ledger::new(64);
                let (sender, receiver) = channel_of::<Parcel>(capacity);
                let sending = case.spawn({
                    let ledger = ledger.clone();
                    move || {
                        for id in 0..64 {
                            if let Err(SendError(parcel)) = sender.send(ledger.parcel(id)) {
                                assert_eq!(parcel.id, id);
                            }
                        }
                    }
                });
                let receiving = case.spawn(move || {
                    (0..received).for_each(|id| assert_eq!(receiver.recv().unwrap().open(), id));
                });
                sending.join();
                receiving.join();
                ledger.settle();
                assert_eq!(ledger.all_received(), received);
            }
        }
    });
}

/// A message whose drop panics takes no other with it, and leaves the channel in order.
#[test]
fn a_message_that_panics_when_dropped_does_no_harm_to_others() {
    struct Bomb<'a>(&'a AtomicUsize, bool);
    impl Drop for Bomb<'_> {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
            assert!(!self.1, "a bomb");
        }
    }
    for capacity in [Some(10), None] {
        let dropped = AtomicUsize::new(0);
        let (sender, receiver) = channel_of(capacity);
        for n in 0..10 {
            assert!(sender.send(Bomb(&dropped, n == 3)).is_ok());
        }
        assert!(catch_unwind(AssertUnwindSafe(|| drop(receiver))).is_err());
        assert_eq!(dropped.load(Ordering::SeqCst), 10);
        assert!(sender.send(Bomb(&dropped, false)).is_err());
        drop(sender);
        assert_eq!(dropped.load(Ordering::SeqCst), 11);
    }
}

/// Messages are dropped outside the channel's lock: their destructors may use the channel.
#[test]
fn a_message_may_use_its_own_channel_when_it_is_dropped() {
    struct Sends {
        sender: Sender<Sends>,
        refused: Arc<AtomicUsize>,
        again: bool,
    }
    impl Drop for Sends {
        fn drop(&mut self) {
            if self.again {
                let last = Sends {
                    sender: self.sender.clone(),
                    refused: self.refused.clone(),
                    again: false,
                };
                if let Err(SendError(last)) = self.sender.send(last) {
                    self.refused.fetch_add(1, Ordering::SeqCst);
                    assert_eq!(last.sender.len(), 0);
                }
            }
        }
    }
    within(LIMIT, "messages that use their channel", || {
        for capacity in [Some(4), None] {
            let refused = Arc::new(AtomicUsize::new(0));
            let (sender, receiver) = channel_of(capacity);
            for _ in 0..4 {
                let message = Sends {
                    sender: sender.clone(),
                    refused: refused.clone(),
                    again: true,
                };
                assert!(sender.send(message).is_ok());
            }
            drop(receiver);
            assert_eq!(refused.load(Ordering::SeqCst), 4);
        }
    });
}

/// std's `issue 32114`: asking again after an error gives the same error.
#[test]
fn errors_repeat_themselves() {
    let (sender, receiver) = unbounded();
    drop(receiver);
    assert_eq!(sender.send(1), Err(SendError(1)));
    assert_eq!(sender.send(2), Err(SendError(2)));
}

/// A send that is under way when the last receiver goes either arrives nowhere and says so, or was received.
#[test]
fn a_disconnection_under_way_loses_nothing() {
    matrix(LIMIT, "ends that race", |case| {
        for capacity in CAPACITIES {
            for _ in 0..30 {
                let ledger = Ledger::new(8);
                let (sender, receiver) = channel_of(capacity);
                let senders: Vec<_> = (0..4)
                    .map(|who| {
                        let (sender, ledger) = (sender.clone(), ledger.clone());
                        case.spawn(move || {
                            let ids = [2 * who, 2 * who + 1];
                            ids.map(|id| sender.send(ledger.parcel(id)).is_ok())
                        })
                    })
                    .collect();
                drop(sender);
                let receiving = case.spawn(move || {
                    if let Ok(parcel) = receiver.recv() {
                        parcel.open();
                    }
                });
                let sent = senders.into_iter().flat_map(|sender| sender.join());
                let sent = sent.filter(|&sent| sent).count();
                receiving.join();
                ledger.settle();
                assert!(sent >= ledger.all_received());
                if capacity == Some(0) {
                    assert_eq!(sent, ledger.all_received());
                }
            }
        }
    });
}
