//! Channels for one message.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use withy::sync::channel::{RecvError, RecvTimeoutError, TryRecvError, oneshot};
use withy::{CancelToken, now, scope, sleep, timeout};

use super::parcels::{Ledger, MS, Parcel};
use crate::rig::parties::in_virtual_time;
use crate::rig::{each_runtime, stress_rounds};
use crate::support::{LIMIT, matrix, within};

/// Promise 41. A message arrives, whoever comes first; an end without a message is an error.
#[test]
fn a_message_arrives_or_its_sender_is_gone() {
    matrix(LIMIT, "oneshots", |case| {
        for _ in 0..50 {
            let (sender, receiver) = oneshot();
            let receiving = case.spawn(move || receiver.recv());
            let sending = case.spawn(move || sender.send(7));
            assert_eq!((sending.join(), receiving.join()), (Ok(()), Ok(7)));

            let (sender, receiver) = oneshot::<u8>();
            let receiving = case.spawn(move || receiver.recv());
            let dropping = case.spawn(move || drop(sender));
            dropping.join();
            assert_eq!(receiving.join(), Err(RecvError));
        }
    });
}

/// Promise 40. The message comes back if the receiver is gone, and is dropped with one that goes later.
#[test]
fn what_nobody_receives_is_returned_or_dropped() {
    let ledger = Ledger::new(3);
    let (sender, receiver) = oneshot();
    drop(receiver);
    assert!(sender.is_closed());
    sender.closed();
    let Err(back) = sender.send(ledger.parcel(0)) else {
        panic!("nobody is there");
    };
    assert_eq!((back.id, ledger.all_dropped()), (0, 0));
    drop(back);

    let (sender, receiver) = oneshot();
    assert!(!sender.is_closed());
    assert!(sender.send(ledger.parcel(1)).is_ok());
    assert_eq!(ledger.all_dropped(), 1);
    drop(receiver);
    assert_eq!(ledger.all_dropped(), 2);

    let (sender, receiver) = oneshot();
    assert!(sender.send(ledger.parcel(2)).is_ok());
    assert_eq!(receiver.recv().unwrap().open(), 2);
    ledger.settle();
}

/// The receiver's every state.
#[test]
fn a_receiver_tells_its_state() {
    in_virtual_time("a oneshot's states", || {
        let (sender, receiver) = oneshot();
        let begin = now();
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        assert_eq!(
            receiver.recv_timeout(5 * MS),
            Err(RecvTimeoutError::Timeout)
        );
        assert_eq!(
            receiver.recv_timeout(Duration::ZERO),
            Err(RecvTimeoutError::Timeout)
        );
        assert_eq!(now(), begin + 5 * MS);
        sender.send(1).unwrap();
        assert_eq!(receiver.recv_timeout(Duration::ZERO), Ok(1));
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
        assert_eq!(
            receiver.recv_timeout(Duration::MAX),
            Err(RecvTimeoutError::Disconnected)
        );
        assert_eq!(receiver.recv(), Err(RecvError));
    });
}

/// `closed` waits for the receiver's end, also for one that is cancelled while it waits.
#[test]
fn closed_waits_for_the_receivers_end() {
    in_virtual_time("closed", || {
        let begin = now();
        let (sender, receiver) = oneshot::<u8>();
        let token = CancelToken::new();
        scope(|s| {
            s.spawn(|| assert!(token.run(|| receiver.recv()).is_err()));
            s.spawn(|| {
                sleep(5 * MS);
                token.cancel();
            });
            assert!(timeout(MS, || sender.closed()).is_err());
            assert!(!sender.is_closed());
            sender.closed();
            assert_eq!(now(), begin + 5 * MS);
        });
        assert_eq!(sender.send(1), Err(1));
    });
}

/// Promise 29. A wait that is interrupted at the moment at which the message comes leaves it in the channel.
#[test]
fn an_interrupted_wait_leaves_the_message() {
    in_virtual_time("an interrupted oneshot", || {
        let (sender, receiver) = oneshot();
        let token = CancelToken::new();
        scope(|s| {
            s.spawn(|| assert!(token.run(|| receiver.recv_timeout(Duration::MAX)).is_err()));
            sleep(MS);
            sender.send(7).unwrap();
            token.cancel();
            sleep(MS);
            assert_eq!(receiver.try_recv(), Ok(7));
        });
    });
}

/// Several that wait by reference: one gets it, the others are told that there is no more.
#[test]
fn of_several_that_wait_one_gets_it() {
    in_virtual_time("a shared oneshot", || {
        let (sender, receiver) = oneshot();
        scope(|s| {
            let waiting: Vec<_> = (0..4)
                .map(|_| s.spawn(|| receiver.recv_timeout(Duration::MAX)))
                .collect();
            sleep(MS);
            sender.send(7).unwrap();
            let got: Vec<_> = waiting.into_iter().map(|w| w.join().unwrap()).collect();
            assert_eq!(got.iter().filter(|got| **got == Ok(7)).count(), 1);
            let gone = Err(RecvTimeoutError::Disconnected);
            assert_eq!(got.iter().filter(|got| **got == gone).count(), 3);
        });
    });
}

/// Promise 29. Cancelled at any time: the message is received, returned or dropped, once.
#[test]
fn cancellations_at_any_time_lose_nothing() {
    each_runtime("cancelled oneshots", |runtime, _| {
        let rounds = 200 * stress_rounds();
        let ledger = Ledger::new(rounds);
        for id in 0..rounds {
            let (sender, receiver) = oneshot();
            let begun = Arc::new(AtomicBool::new(false));
            let receiving = runtime.spawn({
                let begun = begun.clone();
                move || {
                    begun.store(true, Ordering::SeqCst);
                    receiver.recv().map(Parcel::open)
                }
            });
            let sending = runtime.spawn({
                let parcel = ledger.parcel(id);
                move || sender.send(parcel).is_ok()
            });
            if id % 2 == 0 {
                receiving.cancel();
            }
            let sent = sending.join().unwrap();
            match receiving.join() {
                Ok(received) => assert_eq!((sent, received), (true, Ok(id))),
                Err(_) => assert_eq!(ledger.received(id), 0),
            }
        }
        ledger.settle();
    });
}

/// A message without a size, and a large one.
#[test]
fn messages_of_any_size_pass() {
    within(LIMIT, "oneshots of any size", || {
        let (sender, receiver) = oneshot();
        sender.send(()).unwrap();
        assert_eq!(receiver.recv(), Ok(()));
        let (sender, receiver) = oneshot();
        assert!(sender.send([7_u8; 10_000]).is_ok());
        assert!(receiver.recv().unwrap().iter().all(|&byte| byte == 7));
    });
}
