//! Channels whose receivers get every message each.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use withy::sync::channel::SendError;
use withy::sync::channel::broadcast::{
    Receiver, RecvError, RecvTimeoutError, Sender, TryRecvError, broadcast,
};
use withy::{CancelToken, now, scope, sleep, timeout};

use super::parcels::MS;
use crate::rig::each_runtime;
use crate::rig::parties::in_virtual_time;
use crate::support::{LIMIT, matrix, within};

/// Counts its clones and drops.
struct Counted {
    n: usize,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    cloned: AtomicUsize,
    dropped: AtomicUsize,
}

impl Counts {
    fn message(self: &Arc<Counts>, n: usize) -> Counted {
        Counted {
            n,
            counts: self.clone(),
        }
    }

    fn now(&self) -> (usize, usize) {
        let cloned = self.cloned.load(Ordering::SeqCst);
        (cloned, self.dropped.load(Ordering::SeqCst))
    }
}

impl Clone for Counted {
    fn clone(&self) -> Counted {
        self.counts.cloned.fetch_add(1, Ordering::SeqCst);
        self.counts.message(self.n)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.counts.dropped.fetch_add(1, Ordering::SeqCst);
    }
}

/// Promise 41. Every receiver gets all of it, in order.
#[test]
fn every_receiver_gets_every_message() {
    matrix(LIMIT, "a broadcast", |case| {
        let (sender, first) = broadcast(1000);
        let mut receivers = vec![first];
        receivers.extend((0..3).map(|_| sender.subscribe()));
        assert_eq!(sender.receiver_count(), 4);
        let receiving: Vec<_> = receivers
            .into_iter()
            .map(|mut receiver| {
                case.spawn(move || {
                    for n in 0..1000 {
                        assert_eq!(receiver.recv(), Ok(n));
                    }
                    assert_eq!(receiver.recv(), Err(RecvError::Disconnected));
                })
            })
            .collect();
        let sending = case.spawn(move || {
            (0..1000).for_each(|n| assert_eq!(sender.send(n), Ok(4)));
        });
        sending.join();
        receiving.into_iter().for_each(|receiver| receiver.join());
    });
}

/// A receiver gets what is sent after it subscribed, and nothing from before.
#[test]
fn a_receiver_begins_where_it_subscribed() {
    let (sender, mut first) = broadcast(8);
    assert_eq!(sender.send(1), Ok(1));
    let mut second = sender.subscribe();
    assert_eq!(sender.send(2), Ok(2));
    assert_eq!(first.recv(), Ok(1));
    let mut third = first.resubscribe();
    assert_eq!(sender.send(3), Ok(3));
    assert_eq!((first.len(), second.len(), third.len()), (2, 2, 1));
    assert_eq!(all(&mut first), [2, 3]);
    assert_eq!(all(&mut second), [2, 3]);
    assert_eq!(all(&mut third), [3]);
    assert!(first.is_empty() && first.same_channel(&third));
    drop(sender);
    assert_eq!(first.resubscribe().recv(), Err(RecvError::Disconnected));
}

fn all(receiver: &mut Receiver<usize>) -> Vec<usize> {
    std::iter::from_fn(|| receiver.try_recv().ok()).collect()
}

/// Who is too slow loses the oldest, is told how many, and goes on with what is there; others lose nothing.
#[test]
fn a_slow_receiver_is_told_what_it_has_lost() {
    for capacity in [1, 2, 3, 64] {
        let (sender, mut slow) = broadcast(capacity);
        let mut quick = sender.subscribe();
        for n in 0..100 {
            sender.send(n).unwrap();
            assert_eq!(quick.recv(), Ok(n));
        }
        assert_eq!(slow.len(), capacity);
        assert_eq!(
            slow.try_recv(),
            Err(TryRecvError::Lagged(100 - capacity as u64))
        );
        assert_eq!(all(&mut slow), (100 - capacity..100).collect::<Vec<_>>());
        sender.send(100).unwrap();
        assert_eq!(slow.recv_timeout(Duration::ZERO), Ok(100));
        (0..=capacity).for_each(|n| assert_eq!(sender.send(n), Ok(2)));
        assert_eq!(slow.recv_timeout(MS), Err(RecvTimeoutError::Lagged(1)));
        (0..=capacity).for_each(|n| assert_eq!(sender.send(n), Ok(2)));
        assert_eq!(slow.recv(), Err(RecvError::Lagged(capacity as u64 + 1)));
        drop(sender);
        assert_eq!(slow.recv(), Ok(1));
    }
}

/// Without a receiver the message comes back; with one again, it is sent.
#[test]
fn nobody_there_gives_the_message_back() {
    let (sender, receiver) = broadcast(4);
    sender.send(1).unwrap();
    drop(receiver);
    assert_eq!(
        (sender.receiver_count(), sender.send(2)),
        (0, Err(SendError(2)))
    );
    let mut late = sender.subscribe();
    assert_eq!(sender.send(3), Ok(1));
    assert_eq!(late.recv(), Ok(3));
}

/// A message is cloned for all but its last receiver, and dropped when nobody wants it any more.
#[test]
fn messages_are_dropped_when_nobody_wants_them() {
    let counts = Arc::new(Counts::default());
    let (sender, mut first) = broadcast(4);
    assert!(sender.send(counts.message(0)).is_ok());
    assert_eq!(first.recv().unwrap().n, 0);
    assert_eq!(counts.now(), (0, 1));

    let mut second = sender.subscribe();
    assert!(sender.send(counts.message(1)).is_ok());
    drop(first.recv().unwrap());
    assert_eq!(counts.now(), (1, 2));
    drop(second.recv().unwrap());
    assert_eq!(counts.now(), (1, 3));

    // Six, of which four stay: two go to make room.
    (0..6).for_each(|n| assert!(sender.send(counts.message(n)).is_ok()));
    assert_eq!(counts.now(), (1, 5));
    drop(second.recv());
    drop(second.recv().unwrap());
    assert_eq!(counts.now(), (2, 6));
    // What only the one that goes still wanted goes with it.
    drop(first);
    assert_eq!(counts.now(), (2, 7));
    drop(second);
    assert_eq!((counts.now(), sender.receiver_count()), ((2, 10), 0));
    assert!(sender.send(counts.message(9)).is_err());
    assert_eq!(counts.now(), (2, 11));
}

/// A receiver that goes with more than fits a batch lets go of all, while others keep theirs.
#[test]
fn a_receiver_that_goes_lets_go_of_all_it_had_not_received() {
    for capacity in [1000, usize::MAX] {
        let counts = Arc::new(Counts::default());
        let (sender, mut stays) = broadcast(capacity);
        let goes = sender.subscribe();
        (0..1000).for_each(|n| assert!(sender.send(counts.message(n)).is_ok()));
        drop(goes);
        assert_eq!(counts.now(), (0, 0));
        (0..500).for_each(|n| assert_eq!(stays.recv().unwrap().n, n));
        assert_eq!(counts.now(), (0, 500));
        drop(stays);
        assert_eq!(counts.now(), (0, 1000));
    }
}

/// A user's `clone` and `drop` run outside the lock: they may use the channel, and panic.
#[test]
fn cloning_and_dropping_may_use_the_channel() {
    struct Meddles(Sender<Meddles>, bool);
    impl Clone for Meddles {
        fn clone(&self) -> Meddles {
            assert!(self.1, "no clones of this one");
            Meddles(self.0.clone(), true)
        }
    }
    impl Drop for Meddles {
        fn drop(&mut self) {
            let _ = self.0.subscribe();
        }
    }
    within(LIMIT, "messages that meddle", || {
        let (sender, mut first) = broadcast(2);
        let mut second = sender.subscribe();
        for clones in [true, false, true] {
            assert_eq!(sender.send(Meddles(sender.clone(), clones)).ok(), Some(2));
        }
        assert_eq!(first.recv().err(), Some(RecvError::Lagged(1)));
        assert!(catch_unwind(AssertUnwindSafe(|| drop(first.recv()))).is_err());
        assert!(first.recv().is_ok());
        drop((first, second.recv()));
        assert!(second.recv().is_ok());
    });
}

/// Waits: woken by a message, by the last sender's end, at their time, and left in order by who is interrupted.
#[test]
fn receivers_wait_for_messages_and_ends() {
    in_virtual_time("waiting for a broadcast", || {
        let begin = now();
        let (sender, mut receiver) = broadcast(4);
        let timed_out = receiver.recv_timeout(5 * MS);
        assert_eq!(
            (timed_out, now()),
            (Err(RecvTimeoutError::Timeout), begin + 5 * MS)
        );
        let token = CancelToken::new();
        scope(|s| {
            let mut cancelled = sender.subscribe();
            let token = &token;
            let ended = s.spawn(move || {
                assert!(token.run(|| cancelled.recv()).is_err());
                // It had not received it.
                cancelled.recv()
            });
            let waiting: Vec<_> = (0..3)
                .map(|_| {
                    let mut receiver = sender.subscribe();
                    s.spawn(move || (receiver.recv(), receiver.recv()))
                })
                .collect();
            sleep(MS);
            sender.send(7).unwrap();
            token.cancel();
            sleep(MS);
            drop(sender);
            for waiting in waiting {
                let got = waiting.join().unwrap();
                assert_eq!(got, (Ok(7), Err(RecvError::Disconnected)));
            }
            assert_eq!(ended.join().unwrap(), Ok(7));
        });
        assert_eq!(receiver.recv(), Ok(7));
        assert!(timeout(MS, || receiver.recv()) == Ok(Err(RecvError::Disconnected)));
    });
}

/// Promise 29. Senders, receivers that come and go, and cancellations at once: what a receiver gets is in order, and with what it has
/// lost it is all.
#[test]
fn what_is_received_and_what_is_lost_add_up() {
    each_runtime("a busy broadcast", |runtime, _| {
        const MESSAGES: usize = 500;
        for capacity in [1, 16, 10_000] {
            let counts = Arc::new(Counts::default());
            let (sender, first) = broadcast::<Counted>(capacity);
            let receivers: Vec<_> = (0..6)
                .map(|who| {
                    let mut receiver = if who == 0 {
                        first.resubscribe()
                    } else {
                        sender.subscribe()
                    };
                    runtime.spawn(move || {
                        let (mut next, mut received) = (0, 0);
                        loop {
                            match receiver.recv_timeout(LIMIT) {
                                Ok(message) => {
                                    assert_eq!(message.n, next, "of receiver {who}");
                                    (next, received) = (next + 1, received + 1);
                                }
                                Err(RecvTimeoutError::Lagged(lost)) => next += lost as usize,
                                Err(RecvTimeoutError::Disconnected) => break,
                                Err(RecvTimeoutError::Timeout) => panic!("nothing came"),
                            }
                            if who == 5 && received == 100 {
                                return;
                            }
                        }
                        assert_eq!(next, MESSAGES, "of receiver {who}");
                    })
                })
                .collect();
            drop(first);
            receivers[1].cancel();
            let sending = runtime.spawn({
                let counts = counts.clone();
                move || (0..MESSAGES).for_each(|n| assert!(sender.send(counts.message(n)).is_ok()))
            });
            sending.join().unwrap();
            for (who, receiver) in receivers.into_iter().enumerate() {
                assert!(receiver.join().is_ok() || who == 1);
            }
            let (cloned, dropped) = counts.now();
            assert_eq!(dropped, cloned + MESSAGES);
        }
    });
}
