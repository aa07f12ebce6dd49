//! Messages that were handed to receivers which leave without them, and promises that nobody keeps, when the channel ends.

use std::time::Duration;

use withy::sync::channel::{Receiver, RecvError, Select, TryRecvError, bounded, never, unbounded};
use withy::{Cancelled, Runtime, select};

use crate::rig::{self, each_runtime};
use crate::support::{LIMIT, within};

const AGES: Duration = Duration::from_secs(3600);

/// Receives in one of several ways.
fn receive(receiver: &Receiver<i32>, way: usize) -> Result<i32, RecvError> {
    match way {
        0 => receiver.recv(),
        1 => receiver.recv_timeout(AGES).map_err(|_| RecvError),
        2 => select! {
            recv(receiver) -> message => message,
            recv(never::<()>()) -> _ => panic!(),
        },
        _ => {
            let mut select = Select::new();
            select.recv(receiver);
            select.select().recv(receiver)
        }
    }
}

/// Promise 29: a receiver is handed the last message, the senders go, and it is cancelled before it has run. The message is for those who
/// still wait or come: they are not told before that there is no more.
#[test]
fn the_last_message_of_a_cancelled_receiver_is_received() {
    each_runtime("last messages that come back", |runtime, label| {
        for capacity in [0, 1, usize::MAX] {
            for way in 0..4 {
                for waits in [false, true] {
                    let results = runtime.run(move || {
                        let (sender, receiver) = bounded::<i32>(capacity);
                        let spawn = || {
                            let receiver = receiver.clone();
                            withy::spawn(move || receive(&receiver, way))
                        };
                        let first = spawn();
                        // Until it waits.
                        if capacity == 0 {
                            rig::until(|| sender.try_send(1).is_ok());
                        } else {
                            withy::yield_now();
                            sender.send(1).unwrap();
                        }
                        let second = waits.then(spawn);
                        drop(sender);
                        first.cancel();
                        let others = match second {
                            Some(second) => vec![second.join().unwrap(), receive(&receiver, way)],
                            None => vec![receive(&receiver, way), receive(&receiver, way)],
                        };
                        (
                            first.join().map_err(|ended| ended.is::<Cancelled>()),
                            others,
                        )
                    });
                    let received = [
                        results.0.unwrap_or(Err(RecvError)),
                        results.1[0],
                        results.1[1],
                    ];
                    let ones = received.iter().filter(|got| **got == Ok(1)).count();
                    assert_eq!(ones, 1, "{received:?}, way {way}, waits {waits}, {label}");
                }
            }
        }
    });
}

/// The same, step by step: with one worker nobody runs between.
#[test]
fn receivers_are_not_told_the_end_before_the_last_message_is_noticed() {
    within(LIMIT, "the end of a channel", || {
        let runtime = Runtime::builder().workers(1).build().unwrap();
        for way in 0..4 {
            runtime.run(move || {
                let (sender, receiver) = unbounded::<i32>();
                let waiting = receiver.clone();
                let cancelled = withy::spawn(move || receive(&waiting, way));
                withy::yield_now();
                sender.send(1).unwrap();
                drop(sender);
                cancelled.cancel();
                assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
                assert_eq!(receive(&receiver, way), Ok(1));
                assert!(cancelled.join().unwrap_err().is::<Cancelled>());
                assert_eq!(receive(&receiver, way), Err(RecvError));
            });
        }
    });
}

/// An operation that was forgotten never makes its message. Who was promised that learns it when the last sender goes.
#[test]
fn a_forgotten_promise_ends_with_the_senders() {
    each_runtime("forgotten promises", |runtime, _| {
        for way in 0..4 {
            let (sender, receiver) = bounded::<i32>(0);
            let promised = runtime.spawn(move || receive(&receiver, way));
            let mut select = Select::new();
            select.send(&sender);
            std::mem::forget(select.select());
            drop(select);
            drop(sender);
            assert_eq!(promised.join().unwrap(), Err(RecvError));
        }
    });
}
