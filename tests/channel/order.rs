//! What arrives, and in which order: every kind of channel, whoever is at its ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use withy::scope;
use withy::sync::channel::{
    Receiver, RecvError, RecvTimeoutError, SendTimeoutError, Sender, TryRecvError, TrySendError,
    bounded, unbounded,
};
use withy::{now, sleep, yield_now};

use super::parcels::{CAPACITIES, MS, channel_of};
use crate::rig::parties::in_virtual_time;
use crate::support::{self, LIMIT, matrix, within};

const MESSAGES: usize = 300;

/// Promise 41. One sender, one receiver: all arrives, in order, and then the end.
#[test]
fn one_sender_and_one_receiver_keep_the_order() {
    matrix(LIMIT, "one sender, one receiver", |case| {
        for capacity in CAPACITIES {
            let (sender, receiver) = channel_of(capacity);
            let sending = case.spawn(move || {
                (0..MESSAGES).for_each(|n| sender.send(n).unwrap());
            });
            let receiving = case.spawn(move || {
                for n in 0..MESSAGES {
                    assert_eq!(receiver.recv(), Ok(n));
                }
                assert_eq!(receiver.recv(), Err(RecvError));
            });
            sending.join();
            receiving.join();
        }
    });
}

/// Promise 41. Several of both: each message goes to one receiver, which sees those of one sender in their order.
#[test]
fn several_senders_and_receivers_share_without_loss() {
    const ENDS: usize = 4;
    matrix(LIMIT, "several senders and receivers", |case| {
        for capacity in CAPACITIES {
            let (sender, receiver) = channel_of(capacity);
            let senders: Vec<_> = (0..ENDS)
                .map(|who| {
                    let sender = sender.clone();
                    case.spawn(move || {
                        (0..MESSAGES).for_each(|n| sender.send((who, n)).unwrap());
                    })
                })
                .collect();
            drop(sender);
            let receivers: Vec<_> = (0..ENDS)
                .map(|_| {
                    let receiver = receiver.clone();
                    case.spawn(move || receiver.iter().collect::<Vec<_>>())
                })
                .collect();
            drop(receiver);
            senders.into_iter().for_each(|sender| sender.join());
            let mut count = vec![0; ENDS * MESSAGES];
            for receiver in receivers {
                let received = receiver.join();
                for who in 0..ENDS {
                    let of_one = received.iter().filter(|(sender, _)| *sender == who);
                    assert!(of_one.is_sorted(), "the order of one sender's messages");
                }
                for (who, n) in received {
                    count[who * MESSAGES + n] += 1;
                }
            }
            assert!(count.iter().all(|&times| times == 1));
        }
    });
}

/// `exchange.rs`: messages come out in the order in which they, or their waiting senders, came in.
#[test]
fn waiting_senders_are_served_in_the_order_in_which_they_came() {
    in_virtual_time("senders in a queue", || {
        for capacity in CAPACITIES {
            let (sender, receiver) = channel_of(capacity);
            scope(|s| {
                for n in 0..10 {
                    let sender = &sender;
                    s.spawn(move || sender.send(n).unwrap());
                    // It has sent, or waits.
                    sleep(MS);
                }
                let received: Vec<_> = (0..10).map(|_| receiver.recv().unwrap()).collect();
                assert_eq!(received, (0..10).collect::<Vec<_>>());
            });
        }
    });
}

/// The receiver that waits longest gets the next message.
#[test]
fn waiting_receivers_are_served_in_the_order_in_which_they_came() {
    in_virtual_time("receivers in a queue", || {
        for capacity in CAPACITIES {
            let (sender, receiver) = channel_of(capacity);
            scope(|s| {
                for n in 0..10 {
                    let receiver = &receiver;
                    s.spawn(move || assert_eq!(receiver.recv(), Ok(n)));
                    sleep(MS);
                }
                (0..10).for_each(|n| sender.send(n).unwrap());
            });
        }
    });
}

/// Whoever makes room lets the next waiting sender in at once: it is done, though its coroutine has not run yet.
#[test]
fn a_receive_moves_the_next_senders_message_in() {
    in_virtual_time("hand-over", || {
        let (sender, receiver) = bounded(1);
        let sent = AtomicUsize::new(0);
        scope(|s| {
            for n in 0..3 {
                let (sender, sent) = (&sender, &sent);
                s.spawn(move || {
                    sender.send(n).unwrap();
                    sent.fetch_add(1, Ordering::SeqCst);
                });
            }
            sleep(MS);
            assert_eq!((sent.load(Ordering::SeqCst), receiver.len()), (1, 1));
            assert_eq!(receiver.try_recv(), Ok(0));
            assert_eq!((sent.load(Ordering::SeqCst), receiver.len()), (1, 1));
            assert_eq!(receiver.try_recv(), Ok(1));
            assert_eq!(receiver.try_recv(), Ok(2));
            assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        });
        assert_eq!(sent.load(Ordering::SeqCst), 3);
    });
}

/// A send at a rendezvous ends when its message is received, and not before.
#[test]
fn a_rendezvous_is_one() {
    in_virtual_time("a rendezvous", || {
        let (sender, receiver) = bounded(0);
        let begin = now();
        assert_eq!(sender.try_send(0), Err(TrySendError::Full(0)));
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        scope(|s| {
            s.spawn(|| {
                sender.send(1).unwrap();
                assert_eq!(now(), begin + 10 * MS);
                assert_eq!(
                    sender.send_timeout(2, 3 * MS),
                    Err(SendTimeoutError::Timeout(2))
                );
                sleep(10 * MS);
                // The receiver waits since 3 ms.
                assert_eq!(sender.try_send(3), Ok(()));
            });
            sleep(10 * MS);
            assert_eq!((receiver.len(), sender.len()), (0, 0));
            assert_eq!(receiver.try_recv(), Ok(1));
            sleep(10 * MS);
            assert_eq!(receiver.recv(), Ok(3));
            assert_eq!(now(), begin + 23 * MS);
        });
    });
}

/// Waits with a limit end at it, with what they were given; one that has passed still takes what needs no waiting.
#[test]
fn timeouts_end_at_their_time_and_take_what_is_there() {
    in_virtual_time("timeouts", || {
        let (sender, receiver) = bounded(1);
        let begin = now();
        assert_eq!(
            receiver.recv_timeout(10 * MS),
            Err(RecvTimeoutError::Timeout)
        );
        assert_eq!(now(), begin + 10 * MS);
        assert_eq!(sender.send_timeout(1, Duration::ZERO), Ok(()));
        assert_eq!(
            sender.send_timeout(2, 10 * MS),
            Err(SendTimeoutError::Timeout(2))
        );
        assert_eq!(now(), begin + 20 * MS);
        assert_eq!(
            sender.send_deadline(2, begin),
            Err(SendTimeoutError::Timeout(2))
        );
        assert_eq!(receiver.recv_deadline(begin), Ok(1));
        assert_eq!(
            receiver.recv_deadline(begin),
            Err(RecvTimeoutError::Timeout)
        );
        assert_eq!(
            receiver.recv_timeout(Duration::ZERO),
            Err(RecvTimeoutError::Timeout)
        );
        assert_eq!(now(), begin + 20 * MS);
        scope(|s| {
            s.spawn(|| assert_eq!(receiver.recv_timeout(Duration::MAX), Ok(3)));
            sleep(MS);
            sender.send_timeout(3, Duration::MAX).unwrap();
        });
    });
}

/// As crossbeam-channel's, over the life of a channel of two.
#[test]
fn lengths_follow_the_messages() {
    fn lengths<T>(sender: &Sender<T>, receiver: &Receiver<T>) -> (usize, bool, bool) {
        let seen = (sender.len(), sender.is_empty(), sender.is_full());
        let also = (receiver.len(), receiver.is_empty(), receiver.is_full());
        assert_eq!(seen, also);
        seen
    }
    let (sender, receiver) = bounded(2);
    assert_eq!(lengths(&sender, &receiver), (0, true, false));
    sender.send(1).unwrap();
    assert_eq!(lengths(&sender, &receiver), (1, false, false));
    sender.send(2).unwrap();
    assert_eq!(lengths(&sender, &receiver), (2, false, true));
    assert_eq!(sender.try_send(3), Err(TrySendError::Full(3)));
    assert_eq!(receiver.recv(), Ok(1));
    assert_eq!(lengths(&sender, &receiver), (1, false, false));

    let (sender, receiver) = bounded::<u8>(0);
    assert_eq!(lengths(&sender, &receiver), (0, true, true));
    let (sender, receiver) = unbounded();
    (0..1000).for_each(|n| sender.send(n).unwrap());
    assert_eq!(lengths(&sender, &receiver), (1000, false, false));
    for capacity in [Some(0), Some(1), Some(77), None] {
        let (sender, receiver) = channel_of::<u8>(capacity);
        assert_eq!(
            (sender.capacity(), receiver.capacity()),
            (capacity, capacity)
        );
    }
}

/// Clones are the same channel, and nothing else is.
#[test]
fn clones_are_the_same_channel() {
    for capacity in CAPACITIES {
        let (sender, receiver) = channel_of::<u8>(capacity);
        let (other_sender, other_receiver) = channel_of::<u8>(capacity);
        assert!(sender.same_channel(&sender.clone()));
        assert!(receiver.same_channel(&receiver.clone()));
        assert!(!sender.same_channel(&other_sender));
        assert!(!receiver.same_channel(&other_receiver));
    }
}

/// Channels are messages like others: what lies in one arrives with it.
#[test]
fn channels_go_through_channels() {
    matrix(LIMIT, "channels through channels", |case| {
        for capacity in CAPACITIES {
            let (sender, receiver) = channel_of::<Receiver<usize>>(capacity);
            let sending = case.spawn(move || {
                for n in 0..100 {
                    let (inner, message) = bounded(1);
                    inner.send(n).unwrap();
                    sender.send(message).unwrap();
                }
            });
            let receiving = case.spawn(move || {
                for (n, inner) in receiver.iter().enumerate() {
                    assert_eq!(inner.recv(), Ok(n));
                    assert_eq!(inner.recv(), Err(RecvError));
                }
            });
            sending.join();
            receiving.join();
        }
    });
}

type Act = fn(&Sender<u8>, &Receiver<u8>);

/// A coroutine that sends to itself, or tries in vain, lets its neighbours run.
#[test]
fn whoever_never_waits_lets_others_run() {
    for full_stealing in [false, true] {
        within(LIMIT, "a neighbour of one that never waits", || {
            let runtime = support::runtime(1, full_stealing);
            let done = Arc::new(AtomicUsize::new(0));
            let others: [Act; 3] = [
                |sender, receiver| {
                    sender.send(1).unwrap();
                    receiver.recv().unwrap();
                },
                |_, receiver| assert!(receiver.try_recv().is_err()),
                |sender, _| _ = sender.try_send(1),
            ];
            let others = others.map(|act| {
                let done = done.clone();
                runtime.spawn(move || {
                    let (sender, receiver) = bounded(1);
                    while done.load(Ordering::SeqCst) == 0 {
                        act(&sender, &receiver);
                    }
                })
            });
            runtime.run(move || {
                for _ in 0..10 {
                    yield_now();
                }
                done.store(1, Ordering::SeqCst);
            });
            others.into_iter().for_each(|other| other.join().unwrap());
        });
    }
}

/// Threads wait by real time: not less than they were told.
#[test]
fn plain_threads_wait_as_long_as_they_are_told() {
    within(LIMIT, "plain threads with timeouts", || {
        let (sender, receiver) = bounded(1);
        let begin = Instant::now();
        assert_eq!(
            receiver.recv_timeout(3 * MS),
            Err(RecvTimeoutError::Timeout)
        );
        sender.send(1).unwrap();
        assert!(sender.send_timeout(2, 3 * MS).is_err());
        assert!(begin.elapsed() >= 6 * MS);
    });
}

/// Iterators: until no sender is left, what is there, owned, borrowed, broken off and nested.
#[test]
fn iterators_give_what_recv_and_try_recv_give() {
    within(LIMIT, "iterators", || {
        let (sender, receiver) = unbounded();
        (0..6).for_each(|n| sender.send(n).unwrap());
        assert_eq!(receiver.try_iter().take(2).collect::<Vec<_>>(), [0, 1]);
        for n in &receiver {
            if n == 3 {
                break;
            }
        }
        assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [4, 5]);
        assert_eq!(receiver.try_iter().next(), None);

        let (inner, total) = unbounded();
        let (go, went) = bounded(0);
        let adder = withy::spawn(move || {
            let mut sum = 0;
            for n in receiver.iter() {
                sum += n;
                go.send(()).unwrap();
            }
            inner.send(sum).unwrap();
        });
        for n in [10, 20] {
            sender.send(n).unwrap();
            went.recv().unwrap();
        }
        drop(sender);
        assert_eq!(total.into_iter().collect::<Vec<_>>(), [30]);
        adder.join().unwrap();
    });
}

/// A loop of receives in which each one starts another.
#[test]
fn a_ring_of_channels_passes_a_token_round() {
    matrix(LIMIT, "a ring", |case| {
        for capacity in CAPACITIES {
            let (first, mut last) = channel_of::<u32>(capacity);
            let members: Vec<_> = (0..16)
                .map(|_| {
                    let (next, receiver) = channel_of(capacity);
                    let previous = std::mem::replace(&mut last, receiver);
                    case.spawn(move || {
                        for token in previous {
                            next.send(token + 1).unwrap();
                        }
                    })
                })
                .collect();
            case.run(move || {
                let mut token = 0;
                for _ in 0..20 {
                    first.send(token).unwrap();
                    token = last.recv().unwrap();
                }
                assert_eq!(token, 320);
            });
            members.into_iter().for_each(|member| member.join());
        }
    });
}
