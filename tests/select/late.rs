//! Messages of send arms, which are made after their arm was chosen, meet everything that can happen meanwhile.

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use withy::sync::channel::{
    RecvTimeoutError, Select, SendError, TryRecvError, TrySendError, bounded, never,
};
use withy::{Cancelled, select};

use crate::rig::{self, each_runtime, text_of, until};
use crate::support::sockets::pair;
use crate::support::{self, LIMIT, matrix};
use crate::{AGES, SHORT};

/// A flag that is waited for.
#[derive(Clone, Default)]
struct Gate(Arc<AtomicBool>);

impl Gate {
    fn open(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    fn wait(&self) {
        until(|| self.0.load(Ordering::SeqCst));
    }
}

/// A receiver that meets a late sender gets the message when it is made, whoever came first, and whether it is a select itself.
#[test]
fn a_receiver_waits_for_its_message() {
    matrix(LIMIT, "messages that take their time", |case| {
        for receiver_first in [false, true] {
            for selects in [false, true] {
                let (sender, receiver) = bounded::<i32>(0);
                let (making, made) = (Gate::default(), Gate::default());
                let send = {
                    let (making, made) = (making.clone(), made.clone());
                    move || {
                        select! {
                            send(sender, { making.open(); made.wait(); 5 }) -> sent => sent.unwrap(),
                        }
                    }
                };
                let receive = move || {
                    if selects {
                        let silent = never::<i32>();
                        select! {
                            recv(silent) -> _ => panic!(),
                            recv(receiver) -> message => message,
                        }
                    } else {
                        receiver.recv()
                    }
                };
                let (sending, receiving) = if receiver_first {
                    let receiving = case.spawn(receive);
                    (case.spawn(send), receiving)
                } else {
                    let sending = case.spawn(send);
                    (sending, case.spawn(receive))
                };
                making.wait();
                made.open();
                assert_eq!(receiving.join(), Ok(5));
                sending.join();
            }
        }
    });
}

/// The making fails: the receiver goes on waiting, for another sender, a message of its other arms, or its deadline.
#[test]
fn a_receiver_whose_message_is_not_made_starts_over() {
    matrix(LIMIT, "messages that are not made", |case| {
        for cancelled in [false, true] {
            for selects in [false, true] {
                let (sender, receiver) = bounded::<i32>(0);
                let (making, made) = (Gate::default(), Gate::default());
                let receiving = case.spawn(move || {
                    if selects {
                        let silent = never::<i32>();
                        select! {
                            recv(silent) -> _ => panic!(),
                            recv(receiver) -> message => message.unwrap(),
                        }
                    } else {
                        receiver.recv().unwrap()
                    }
                });
                let failing = case.runtime.spawn({
                    let (sender, making, made) = (sender.clone(), making.clone(), made.clone());
                    move || {
                        select! {
                            send(sender, {
                                making.open();
                                if cancelled {
                                    withy::park();
                                } else {
                                    made.wait();
                                    std::panic::resume_unwind(Box::new("not made"));
                                }
                                5
                            }) -> _ => panic!(),
                        }
                    }
                });
                making.wait();
                if cancelled {
                    failing.cancel();
                }
                made.open();
                assert_eq!(failing.join().unwrap_err().is::<Cancelled>(), cancelled);
                sender.send(6).unwrap();
                assert_eq!(receiving.join(), 6);
            }
        }
    });
}

/// The receiver gives up meanwhile: its deadline, a cancellation. The message goes to another, or the sender waits for one.
#[test]
fn a_sender_whose_receiver_has_left_finds_another() {
    each_runtime(
        "receivers that do not wait for their message",
        |runtime, _| {
            for how in 0..4 {
                let (sender, receiver) = bounded::<i32>(0);
                let (making, made) = (Gate::default(), Gate::default());
                let sending = runtime.spawn({
                    let (making, made) = (making.clone(), made.clone());
                    move || {
                        select! {
                            send(sender, { making.open(); made.wait(); 7 }) -> sent => sent,
                        }
                    }
                });
                let leaving = runtime.spawn({
                    let receiver = receiver.clone();
                    let making = making.clone();
                    move || match how {
                        0 => {
                            // Until it has met the sender.
                            while receiver.recv_timeout(SHORT) == Err(RecvTimeoutError::Timeout)
                                && !making.0.load(Ordering::SeqCst)
                            {}
                        }
                        1 => loop {
                            select! {
                                recv(receiver) -> _ => panic!(),
                                default(SHORT) => if making.0.load(Ordering::SeqCst) { break },
                            }
                        },
                        2 => drop(receiver.recv()),
                        _ => select! {
                            recv(receiver) -> _ => panic!(),
                            recv(never::<()>()) -> _ => panic!(),
                        },
                    }
                });
                making.wait();
                if how >= 2 {
                    leaving.cancel();
                    assert!(leaving.join().unwrap_err().is::<Cancelled>());
                } else {
                    leaving.join().unwrap();
                }
                made.open();
                assert_eq!(receiver.recv(), Ok(7));
                assert_eq!(sending.join().unwrap(), Ok(()));
            }
        },
    );
}

/// Nobody is left for the message: it comes back.
#[test]
fn a_message_that_nobody_can_have_comes_back() {
    matrix(LIMIT, "late messages without receivers", |case| {
        for capacity in [0, 1] {
            let (sender, receiver) = bounded::<i32>(capacity);
            let (making, made) = (Gate::default(), Gate::default());
            let sending = case.spawn({
                let (making, made) = (making.clone(), made.clone());
                move || {
                    select! {
                        send(sender, { making.open(); made.wait(); 7 }) -> sent => sent,
                    }
                }
            });
            if capacity == 0 {
                // Leaves while the message is made.
                while receiver.recv_timeout(SHORT) == Err(RecvTimeoutError::Timeout)
                    && !making.0.load(Ordering::SeqCst)
                {}
            }
            making.wait();
            drop(receiver);
            made.open();
            assert_eq!(sending.join(), Err(SendError(7)));
        }
    });
}

/// Room that is kept is nobody else's, and is everybody's again when it is not used.
#[test]
fn room_is_kept_for_a_message() {
    matrix(LIMIT, "room for late messages", |case| {
        let (sender, receiver) = bounded::<i32>(1);
        let (making, made) = (Gate::default(), Gate::default());
        let sending = case.spawn({
            let (sender, making, made) = (sender.clone(), making.clone(), made.clone());
            move || {
                select! {
                    send(sender, { making.open(); made.wait(); 1 }) -> sent => sent.unwrap(),
                }
            }
        });
        making.wait();
        assert_eq!(sender.try_send(2), Err(TrySendError::Full(2)));
        select! {
            send(sender, 9) -> _ => panic!("there is no room"),
            default => {}
        }
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        // A message that comes meanwhile goes past it, to a receiver that waits.
        let receiving = case.spawn({
            let receiver = receiver.clone();
            move || receiver.recv().unwrap()
        });
        sender.send(2).unwrap();
        assert_eq!(receiving.join(), 2);
        // The late one, too: and the room it does not need is for those who wait.
        let waiting = [3, 4].map(|message| {
            let sender = sender.clone();
            case.spawn(move || sender.send(message).unwrap())
        });
        let receiving = case.spawn({
            let receiver = receiver.clone();
            move || {
                [
                    receiver.recv().unwrap(),
                    receiver.recv().unwrap(),
                    receiver.recv().unwrap(),
                ]
            }
        });
        made.open();
        sending.join();
        let mut got = receiving.join();
        got.sort_unstable();
        assert_eq!(got, [1, 3, 4]);
        waiting.into_iter().for_each(support::Caller::join);
        assert!(!sender.is_full());
    });
}

/// `try_recv`, and a select that does not wait, meet a late sender: they get its message.
#[test]
fn those_who_do_not_wait_get_a_late_message_all_the_same() {
    each_runtime("late messages and tries", |runtime, _| {
        for how in 0..3 {
            let (sender, receiver) = bounded::<i32>(0);
            let sending = runtime.spawn(move || {
                select! {
                    send(sender, { withy::yield_now(); 3 }) -> sent => sent.unwrap(),
                }
            });
            let got = loop {
                let got = match how {
                    0 => receiver.try_recv().ok(),
                    1 => select! {
                        recv(receiver) -> message => message.ok(),
                        recv(never::<()>()) -> _ => panic!(),
                        default => None,
                    },
                    _ => {
                        let mut select = Select::new();
                        select.recv(&receiver);
                        select
                            .try_select()
                            .ok()
                            .map(|operation| operation.recv(&receiver).unwrap())
                    }
                };
                if let Some(got) = got {
                    break got;
                }
                withy::yield_now();
            };
            assert_eq!(got, 3);
            sending.join().unwrap();
        }
    });
}

/// Where nothing may wait, those who would have to wait for a late message panic instead, and take nothing along.
#[test]
fn a_late_message_is_not_waited_for_in_no_park() {
    each_runtime("late messages in no_park", |runtime, label| {
        for selects in [false, true] {
            let (sender, receiver) = bounded::<i32>(0);
            let made = Gate::default();
            let sending = runtime.spawn({
                let made = made.clone();
                move || {
                    select! {
                        send(sender, { made.wait(); 3 }) -> sent => sent.unwrap(),
                    }
                }
            });
            let got = runtime.run(|| {
                let mut select = Select::new();
                select.recv(&receiver);
                let refused = loop {
                    select.ready();
                    let tried = catch_unwind(AssertUnwindSafe(|| {
                        withy::no_park(|| {
                            if selects {
                                select.try_select().map(drop).is_ok()
                            } else {
                                receiver.try_recv().is_ok()
                            }
                        })
                    }));
                    // It may be ready just before it can be tried.
                    if !matches!(tried, Ok(false)) {
                        break tried;
                    }
                };
                let payload = refused.expect_err("the message is not made yet");
                assert!(text_of(&*payload).contains("no_park"), "{label}");
                made.open();
                receiver.recv()
            });
            assert_eq!(got, Ok(3), "{label}");
            sending.join().unwrap();
        }
    });
}

/// A chain: each message is made by receiving one from the next. All are chosen before any is made.
#[test]
fn a_message_may_be_made_of_one_that_is_received() {
    matrix(LIMIT, "chains of late messages", |case| {
        let (mut sender, last) = bounded::<i32>(0);
        let mut links = Vec::new();
        for _ in 0..5 {
            let (next, source) = bounded::<i32>(0);
            links.push(case.spawn(move || {
                select! {
                    send(sender, source.recv().unwrap() + 1) -> sent => sent.unwrap(),
                }
            }));
            sender = next;
        }
        let begin = case.spawn(move || select! { send(sender, 10) -> sent => sent.unwrap() });
        assert_eq!(last.recv(), Ok(15));
        begin.join();
        links.into_iter().for_each(support::Caller::join);
    });
}

/// Promise 7. A select that is promised a message waits for nothing else: a socket that becomes ready meanwhile is the next one's.
#[test]
fn a_select_that_is_promised_a_message_is_in_nobodys_way() {
    matrix(
        LIMIT,
        "a reader behind a select that is promised a message",
        |case| {
            let (ours, mut peer) = pair();
            let mut same = ours.try_clone().unwrap();
            let fd = ours.as_raw_fd();
            let (sender, receiver) = bounded::<i32>(0);
            let (making, made) = (Gate::default(), Gate::default());
            let selects = case.spawn(move || {
                select! {
                    recv(receiver) -> message => message,
                    readable(ours) => panic!("nothing has come yet"),
                }
            });
            selects.until_waiting(fd);
            let reads = case.spawn(move || same.read(&mut [0]).unwrap());
            let sends = case.spawn({
                let (making, made) = (making.clone(), made.clone());
                move || {
                    select! {
                        send(sender, { making.open(); made.wait(); 5 }) -> sent => sent.unwrap(),
                    }
                }
            });
            making.wait();
            peer.write_all(b"x").unwrap();
            assert_eq!(reads.join(), 1);
            made.open();
            assert_eq!(selects.join(), Ok(5));
            sends.join();
        },
    );
}

/// Of many late senders, some of which fail, and many receivers, some of which leave, each message that is made is received once.
#[test]
fn late_messages_survive_a_crowd() {
    const ACTORS: usize = 8;
    let rounds = 60 * rig::stress_rounds();
    each_runtime("a crowd of late senders", |runtime, label| {
        for capacity in [0, 1, 3] {
            let (sender, receiver) = bounded::<usize>(capacity);
            let (sum, got) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let (sum, got) = (&sum, &got);
            runtime.run(|| {
                withy::scope(|s| {
                    for actor in 0..ACTORS {
                        let sender = sender.clone();
                        s.spawn(move || {
                            let mut rng = fastrand::Rng::with_seed(actor as u64);
                            for round in 0..rounds {
                                let message = actor * rounds + round;
                                let fails = rng.u8(..4) == 0;
                                let naps = rng.bool();
                                let send = || {
                                    select! {
                                        send(sender, {
                                            if naps { withy::yield_now() }
                                            if fails { std::panic::resume_unwind(Box::new(())) }
                                            message
                                        }) -> sent => sent.unwrap(),
                                    }
                                };
                                let sent =
                                    std::panic::catch_unwind(std::panic::AssertUnwindSafe(send));
                                if sent.is_ok() {
                                    sum.fetch_add(message, Ordering::SeqCst);
                                }
                            }
                        });
                        let receiver = receiver.clone();
                        s.spawn(move || {
                            let mut rng = fastrand::Rng::with_seed(actor as u64);
                            loop {
                                let limit = Duration::from_micros(rng.u64(..100));
                                let message = match rng.u8(..4) {
                                    0 => receiver.recv_timeout(limit),
                                    1 => select! {
                                        recv(receiver) -> message => message.map_err(Into::into),
                                        default(limit) => Err(RecvTimeoutError::Timeout),
                                    },
                                    2 => withy::timeout(limit, || {
                                        receiver.recv().map_err(Into::into)
                                    })
                                    .unwrap_or(Err(RecvTimeoutError::Timeout)),
                                    _ => select! {
                                        recv(receiver) -> message => message.map_err(Into::into),
                                        recv(never::<()>()) -> _ => panic!(),
                                        default(AGES) => panic!(),
                                    },
                                };
                                match message {
                                    Ok(message) => _ = got.fetch_add(message, Ordering::SeqCst),
                                    Err(RecvTimeoutError::Timeout) => {}
                                    Err(RecvTimeoutError::Disconnected) => break,
                                }
                            }
                        });
                    }
                    drop((sender, receiver));
                });
            });
            let (sum, got) = (sum.load(Ordering::SeqCst), got.load(Ordering::SeqCst));
            assert_eq!(sum, got, "capacity {capacity}, {label}");
        }
    });
}
