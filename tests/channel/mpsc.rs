//! What the suites of `std::sync::mpsc` check, for `withy::sync::mpsc`: both sorts of channels, whoever is at their ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use withy::sync::mpsc::{
    Receiver, RecvError, RecvTimeoutError, SendError, Sender, SyncSender, TryRecvError,
    TrySendError, channel, sync_channel,
};
use withy::{scope, sleep, timeout};

use super::parcels::{Ledger, MS};
use crate::rig::parties::in_virtual_time;
use crate::rig::stress_rounds;
use crate::support::{Case, LIMIT, matrix, within};

/// A sender of either sort.
enum Either<T> {
    Any(Sender<T>),
    Bounded(SyncSender<T>),
}

/// Bounds; `None` is `channel`.
const BOUNDS: [Option<usize>; 4] = [None, Some(0), Some(1), Some(50)];

fn make<T>(bound: Option<usize>) -> (Either<T>, Receiver<T>) {
    match bound {
        None => {
            let (sender, receiver) = channel();
            (Either::Any(sender), receiver)
        }
        Some(bound) => {
            let (sender, receiver) = sync_channel(bound);
            (Either::Bounded(sender), receiver)
        }
    }
}

impl<T> Either<T> {
    fn send(&self, message: T) -> Result<(), SendError<T>> {
        match self {
            Either::Any(sender) => sender.send(message),
            Either::Bounded(sender) => sender.send(message),
        }
    }
}

impl<T> Clone for Either<T> {
    fn clone(&self) -> Either<T> {
        match self {
            Either::Any(sender) => Either::Any(sender.clone()),
            Either::Bounded(sender) => Either::Bounded(sender.clone()),
        }
    }
}

/// Promise 41. For every bound, in every case.
fn each(what: &str, test: impl Fn(&Case, Option<usize>)) {
    matrix(LIMIT, what, |case| {
        BOUNDS.into_iter().for_each(|bound| test(case, bound));
    });
}

/// One message goes from one end to the other, also from a clone whose original has gone.
#[test]
fn a_message_arrives() {
    each("a message", |case, bound| {
        let (sender, receiver) = make(bound);
        let sending = case.spawn(move || {
            let clone = sender.clone();
            drop(sender);
            clone.send(Box::new(10)).unwrap();
        });
        let received = case.spawn(move || (receiver.recv(), receiver.recv()));
        sending.join();
        assert_eq!(received.join(), (Ok(Box::new(10)), Err(RecvError)));
    });
}

/// Many messages of one sender keep their order.
#[test]
fn a_stream_keeps_its_order() {
    each("a stream", |case, bound| {
        let (sender, receiver) = make(bound);
        let sending = case.spawn(move || (0..500).for_each(|n| sender.send(n).unwrap()));
        let receiving = case.spawn(move || assert!(receiver.into_iter().eq(0..500)));
        sending.join();
        receiving.join();
    });
}

/// Eight senders share one receiver.
#[test]
fn eight_senders_share_a_receiver() {
    each("eight senders", |case, bound| {
        let (sender, receiver) = make(bound);
        let senders: Vec<_> = (0..8)
            .map(|_| {
                let sender = sender.clone();
                case.spawn(move || (0..100).for_each(|_| sender.send(1).unwrap()))
            })
            .collect();
        drop(sender);
        let receiving = case.spawn(move || {
            for _ in 0..800 {
                assert_eq!(receiver.recv(), Ok(1));
            }
            assert_eq!(receiver.recv(), Err(RecvError));
        });
        senders.into_iter().for_each(|sender| sender.join());
        receiving.join();
    });
}

/// Promise 40. The receiver goes while senders send: each send ends, sooner or later with an error.
#[test]
fn senders_notice_that_the_receiver_goes() {
    each("a receiver that goes", |case, bound| {
        let (sender, receiver) = make(bound);
        let senders: Vec<_> = (0..3)
            .map(|_| {
                let sender = sender.clone();
                case.spawn(move || while sender.send(1).is_ok() {})
            })
            .collect();
        case.run(move || {
            assert_eq!(receiver.recv(), Ok(1));
            drop(receiver);
        });
        senders.into_iter().for_each(|sender| sender.join());
        assert_eq!(sender.send(2), Err(SendError(2)));
    });
}

/// Promise 40. The senders go while the receiver receives.
#[test]
fn the_receiver_notices_that_the_senders_go() {
    each("senders that go", |case, bound| {
        let (sender, receiver) = make(bound);
        let receiving = case.spawn(move || {
            let mut received = 0;
            while receiver.recv().is_ok() {
                received += 1;
            }
            received
        });
        let senders: Vec<_> = (0..3)
            .map(|n| {
                let sender = sender.clone();
                case.spawn(move || (0..n).for_each(|_| sender.send(1).unwrap()))
            })
            .collect();
        drop(sender);
        senders.into_iter().for_each(|sender| sender.join());
        assert_eq!(receiving.join(), 3);
    });
}

/// Promise 40. Messages that nobody received are dropped with the receiver, not with the senders.
#[test]
fn unreceived_messages_are_dropped_with_the_receiver() {
    for bound in [None, Some(1), Some(50)] {
        let ledger = Ledger::new(2);
        let (sender, receiver) = make(bound);
        assert!(sender.send(ledger.parcel(0)).is_ok());
        drop(sender);
        assert_eq!(ledger.all_dropped(), 0);
        drop(receiver);
        assert_eq!(ledger.all_dropped(), 1);
        drop(ledger.parcel(1));
        ledger.settle();
    }
}

/// The receiver's every state, seen by `try_recv` and `recv_timeout`.
#[test]
fn a_receiver_tells_its_state() {
    each("states", |case, bound| {
        let (sender, receiver) = make(bound);
        let (ask, asked) = channel::<()>();
        let (done, is_done) = channel::<()>();
        let sending = case.spawn(move || {
            asked.recv().unwrap();
            sender.send(1).unwrap();
            done.send(()).unwrap();
            asked.recv().unwrap();
            drop(sender);
            done.send(()).unwrap();
        });
        let receiving = case.spawn(move || {
            assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
            assert_eq!(receiver.recv_timeout(MS), Err(RecvTimeoutError::Timeout));
            ask.send(()).unwrap();
            assert_eq!(receiver.recv_timeout(LIMIT), Ok(1));
            is_done.recv().unwrap();
            assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
            ask.send(()).unwrap();
            is_done.recv().unwrap();
            assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
            assert_eq!(
                receiver.recv_timeout(LIMIT),
                Err(RecvTimeoutError::Disconnected)
            );
        });
        sending.join();
        receiving.join();
    });
}

/// `try_send`: no room, no receiver that waits, none at all.
#[test]
fn try_send_tells_why_not() {
    in_virtual_time("try_send", || {
        let (sender, receiver) = sync_channel(0);
        assert_eq!(sender.try_send(1), Err(TrySendError::Full(1)));
        scope(|s| {
            // A receiver cannot be shared, but moved.
            s.spawn(|| {
                let receiver = receiver;
                assert_eq!(receiver.recv(), Ok(2));
            });
            sleep(MS);
            assert_eq!(sender.try_send(2), Ok(()));
        });
        assert_eq!(sender.try_send(3), Err(TrySendError::Disconnected(3)));

        let (sender, receiver) = sync_channel(1);
        assert_eq!(sender.try_send(1), Ok(()));
        assert_eq!(sender.try_send(2), Err(TrySendError::Full(2)));
        drop(receiver);
        assert_eq!(sender.try_send(3), Err(TrySendError::Disconnected(3)));
    });
}

/// A send with a bound of 0 ends when the message is received, or the receiver goes, not before.
#[test]
fn a_send_without_room_waits_for_the_receiver() {
    in_virtual_time("a rendezvous", || {
        let (sender, receiver) = sync_channel(0);
        let count = AtomicUsize::new(0);
        scope(|s| {
            let (sender, count) = (&sender, &count);
            s.spawn(move || {
                assert_eq!(sender.send(1), Ok(()));
                count.fetch_add(1, Ordering::SeqCst);
                assert_eq!(sender.send(2), Err(SendError(2)));
                count.fetch_add(1, Ordering::SeqCst);
            });
            sleep(MS);
            assert_eq!(count.load(Ordering::SeqCst), 0);
            assert_eq!(receiver.recv(), Ok(1));
            sleep(MS);
            assert_eq!(count.load(Ordering::SeqCst), 1);
            drop(receiver);
        });
        assert_eq!(count.load(Ordering::SeqCst), 2);
    });
}

/// Iterators: nested, broken off, tried, owned and borrowed.
#[test]
fn iterators_end_where_they_should() {
    each("iterators", |case, bound| {
        let (sender, receiver) = make::<i32>(bound);
        let (total, sum) = channel();
        let summing = case.spawn(move || total.send(receiver.iter().sum::<i32>()).unwrap());
        let sending = case.spawn(move || (1..=3).for_each(|n| sender.send(n).unwrap()));
        sending.join();
        summing.join();
        assert_eq!(sum.recv(), Ok(6));

        let (sender, receiver) = make::<i32>(bound);
        let (count, counted) = channel();
        let counting = case.spawn(move || {
            let mut sum = 0;
            for n in &receiver {
                if n >= 3 {
                    break;
                }
                sum += n;
            }
            count.send(sum).unwrap();
        });
        for n in [2, 2, 2, 3] {
            sender.send(n).unwrap();
        }
        let _ = sender.send(2);
        counting.join();
        assert_eq!(counted.recv(), Ok(6));
    });
    let (sender, receiver) = sync_channel(3);
    assert_eq!(receiver.try_iter().count(), 0);
    (1..=3).for_each(|n| sender.send(n).unwrap());
    assert_eq!(receiver.try_iter().take(2).collect::<Vec<_>>(), [1, 2]);
    drop(sender);
    let mut owned = receiver.into_iter();
    assert_eq!(
        (owned.next(), owned.next(), owned.next()),
        (Some(3), None, None)
    );
}

/// `recv_timeout` again and again, while senders send slowly: each message once.
#[test]
fn timeouts_between_messages_lose_none() {
    each("timeouts and messages", |case, bound| {
        let (sender, receiver) = make(bound);
        let senders: Vec<_> = (0..4)
            .map(|who: u64| {
                let sender = sender.clone();
                case.spawn(move || {
                    for n in 0..20 {
                        sleep(Duration::from_micros(who * 30));
                        sender.send(n).unwrap();
                    }
                })
            })
            .collect();
        drop(sender);
        let receiving = case.spawn(move || {
            let mut received = 0;
            loop {
                match receiver.recv_timeout(Duration::from_micros(50)) {
                    Ok(_) => received += 1,
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => break received,
                }
            }
        });
        senders.into_iter().for_each(|sender| sender.join());
        assert_eq!(receiving.join(), 80);
    });
}

/// A receiver whose wait ends by a timeout around it, with the channel still in use.
#[test]
fn a_receiver_that_was_interrupted_receives_on() {
    in_virtual_time("an interrupted receiver", || {
        let (sender, receiver) = channel();
        assert!(timeout(MS, || receiver.recv()).is_err());
        sender.send(1).unwrap();
        sender.send(2).unwrap();
        assert_eq!(receiver.iter().take(2).collect::<Vec<_>>(), [1, 2]);
    });
}

/// Between a coroutine and a plain thread that knows no runtime, in either direction.
#[test]
fn coroutines_and_threads_talk() {
    within(LIMIT, "a coroutine and a thread", || {
        for bound in BOUNDS {
            let (there, heard) = make(bound);
            let (back, answers) = make(bound);
            let echo = thread::spawn(move || heard.into_iter().for_each(|n| back.send(n).unwrap()));
            withy::run(move || {
                for n in 0..100 {
                    there.send(n).unwrap();
                    assert_eq!(answers.recv(), Ok(n));
                }
            });
            echo.join().unwrap();
        }
    });
}

/// One end goes, or sends, while the other does something: whatever comes first, both end.
#[test]
fn short_lives_race_in_every_way() {
    let rounds = 20 * stress_rounds();
    each("short lives", |case, bound| {
        for _ in 0..rounds {
            let (sender, receiver) = make::<Box<u8>>(bound);
            let receiving = case.spawn(move || receiver.recv().is_ok());
            let sending = case.spawn(move || sender.send(Box::new(1)).is_ok());
            assert!(sending.join() && receiving.join());

            let (sender, receiver) = make::<Box<u8>>(bound);
            let sending = case.spawn(move || _ = sender.send(Box::new(1)));
            let dropping = case.spawn(move || drop(receiver));
            sending.join();
            dropping.join();

            let (sender, receiver) = make::<Box<u8>>(bound);
            let receiving = case.spawn(move || receiver.recv().is_err());
            let dropping = case.spawn(move || drop(sender));
            dropping.join();
            assert!(receiving.join());
        }
    });
}

/// A channel with a long queue, and then none.
#[test]
fn a_lot_is_received() {
    let (sender, receiver) = channel();
    (0..100_000).for_each(|n| sender.send(n).unwrap());
    assert!(receiver.try_iter().eq(0..100_000));
    // As std's `issue 15761`: a channel of one that is sent to by whoever has just received from it.
    within(LIMIT, "two channels of one", || {
        let (there, heard) = sync_channel::<()>(1);
        let (back, answers) = sync_channel::<()>(1);
        let answering = withy::spawn(move || {
            heard.recv().unwrap();
            back.try_send(()).unwrap();
        });
        there.try_send(()).unwrap();
        answers.recv().unwrap();
        answering.join().unwrap();
    });
}

/// Whoever holds an `Arc` of a sender shares it.
#[test]
fn senders_are_shared_by_reference() {
    each("shared senders", |case, bound| {
        let (sender, receiver) = make(bound);
        let sender = Arc::new(sender);
        let senders: Vec<_> = (0..4)
            .map(|n| {
                let sender = sender.clone();
                case.spawn(move || sender.send(n).unwrap())
            })
            .collect();
        drop(sender);
        let mut received = case.run(move || receiver.into_iter().collect::<Vec<_>>());
        received.sort();
        assert_eq!(received, [0, 1, 2, 3]);
        senders.into_iter().for_each(|sender| sender.join());
    });
}
