//! Selects against each other, against plain calls and against interruptions: exactly one arm, nothing lost, no deadlock.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fastrand::Rng;
use withy::sync::channel::{Receiver, Select, Sender, bounded, unbounded};
use withy::{CancelToken, select};

use crate::rig::{each_runtime, stress_rounds};
use crate::support::{self, Case, LIMIT, matrix};
use crate::{AGES, SHORT};

/// Promises 41 and 43. Receives, sends and both against plain calls on the other side, in lockstep by a third channel.
#[test]
fn selects_keep_step_with_plain_calls() {
    let rounds = 300 * stress_rounds();
    matrix(LIMIT, "selects in lockstep", |case| {
        // Two sources, of which each sends the round.
        let ((a, one), (b, two), (tick, tock)) = (unbounded(), bounded(5), bounded(100));
        let plain = case.spawn(move || {
            for round in 0..rounds {
                a.send(round).unwrap();
                tock.recv().unwrap();
                b.send(round).unwrap();
                tock.recv().unwrap();
            }
        });
        let selects = case.spawn(move || {
            for round in 0..rounds {
                for _ in 0..2 {
                    select! {
                        recv(one) -> got => assert_eq!(got, Ok(round)),
                        recv(two) -> got => assert_eq!(got, Ok(round)),
                    }
                    tick.send(()).unwrap();
                }
            }
        });
        plain.join();
        selects.join();
        // A receive and a send, and two sends, at rendezvous.
        for both_send in [false, true] {
            let ((a, one), (b, two), (tick, tock)) = (bounded(0), bounded(0), bounded(100));
            let plain = case.spawn({
                let (a, one) = (a.clone(), one.clone());
                move || {
                    for round in 0..rounds {
                        if both_send {
                            assert_eq!(one.recv(), Ok(round));
                        } else {
                            a.send(round).unwrap();
                        }
                        assert_eq!(two.recv(), Ok(round));
                        tock.recv().unwrap();
                    }
                }
            });
            let selects = case.spawn(move || {
                for round in 0..rounds {
                    for _ in 0..2 {
                        if both_send {
                            select! {
                                send(a, round) -> sent => sent.unwrap(),
                                send(b, round) -> sent => sent.unwrap(),
                            }
                        } else {
                            select! {
                                recv(one) -> got => assert_eq!(got, Ok(round)),
                                send(b, round) -> sent => sent.unwrap(),
                            }
                        }
                    }
                    tick.send(()).unwrap();
                }
            });
            plain.join();
            selects.join();
        }
    });
}

/// Promise 43. Many selects that send against many that receive, over several channels of all capacities, in whatever order: each message
/// comes out once.
#[test]
fn selects_against_selects_lose_nothing_and_double_nothing() {
    let rounds = 100 * stress_rounds();
    matrix(LIMIT, "selects against selects", |case| {
        for capacity in [0, 1, 8] {
            let channels: Vec<_> = (0..3).map(|_| bounded::<usize>(capacity)).collect();
            let senders: Vec<_> = (0..6)
                .map(|actor| {
                    let to = shuffled(channels.iter().map(|channel| channel.0.clone()), actor);
                    case.spawn(move || {
                        for round in 0..rounds {
                            let message = actor * rounds + round;
                            match actor % 3 {
                                0 => to[round % 3].send(message).unwrap(),
                                1 => select! {
                                    send(to[0], message) -> sent => sent.unwrap(),
                                    send(to[1], message) -> sent => sent.unwrap(),
                                    send(to[2], message) -> sent => sent.unwrap(),
                                },
                                _ => send_to_any(&to, message),
                            }
                        }
                    })
                })
                .collect();
            let receivers: Vec<_> = (0..6)
                .map(|actor| {
                    let from =
                        shuffled(channels.iter().map(|channel| channel.1.clone()), actor + 3);
                    case.spawn(move || receive_all(&from, actor % 2 == 0))
                })
                .collect();
            drop(channels);
            senders.into_iter().for_each(support::Caller::join);
            let mut got: Vec<_> = receivers
                .into_iter()
                .flat_map(support::Caller::join)
                .collect();
            got.sort_unstable();
            assert!(got.into_iter().eq(0..6 * rounds), "capacity {capacity}");
        }
    });
}

fn shuffled<T>(items: impl Iterator<Item = T>, seed: usize) -> Vec<T> {
    let mut items: Vec<_> = items.collect();
    Rng::with_seed(seed as u64).shuffle(&mut items);
    items
}

fn send_to_any(to: &[Sender<usize>], message: usize) {
    let mut select = Select::new();
    to.iter().for_each(|sender| _ = select.send(sender));
    let operation = select.select();
    let index = operation.index();
    operation.send(&to[index], message).unwrap();
}

/// What comes, until all are disconnected.
fn receive_all(from: &[Receiver<usize>], watches: bool) -> Vec<usize> {
    let mut select = Select::new();
    from.iter().for_each(|receiver| _ = select.recv(receiver));
    let mut open = from.len();
    let mut got = Vec::new();
    while open > 0 {
        let (index, message) = if watches && got.len() % 2 == 0 {
            let index = select.ready();
            match from[index].try_recv() {
                Ok(message) => (index, Ok(message)),
                Err(error) if error.is_empty() => continue,
                Err(error) => (index, Err(error)),
            }
        } else {
            let operation = select.select();
            let index = operation.index();
            (index, operation.recv(&from[index]).map_err(Into::into))
        };
        match message {
            Ok(message) => got.push(message),
            Err(_) => {
                select.remove(index);
                open -= 1;
            }
        }
    }
    got
}

/// Two channels in opposite orders, each select sends on one and receives on the other: no circle of waits, and all messages meet.
#[test]
fn crossed_pairs_do_not_deadlock() {
    let rounds = 300 * stress_rounds();
    matrix(LIMIT, "crossed selects", |case| {
        let (x, y) = (bounded::<usize>(0), bounded::<usize>(0));
        let actor = |to: &(Sender<usize>, _), from: &(_, Receiver<usize>)| {
            let (to, from) = (to.0.clone(), from.1.clone());
            case.spawn(move || {
                let (mut sent, mut got) = (0, 0);
                while sent < rounds || got < rounds {
                    if sent < rounds && got < rounds {
                        select! {
                            send(to, sent) -> done => { done.unwrap(); sent += 1; }
                            recv(from) -> message => { assert_eq!(message, Ok(got)); got += 1; }
                        }
                    } else if sent < rounds {
                        to.send(sent).unwrap();
                        sent += 1;
                    } else {
                        assert_eq!(from.recv(), Ok(got));
                        got += 1;
                    }
                }
            })
        };
        let (one, other) = (actor(&x, &y), actor(&y, &x));
        one.join();
        other.join();
    });
}

/// Promises 28, 29 and 43. Selects are cancelled, time out and give up all the time, in the midst of being chosen: what was sent is
/// received, once.
#[test]
#[expect(clippy::too_many_lines, reason = "one scene, told in order")]
fn an_interrupted_select_loses_no_message() {
    let rounds = 150 * stress_rounds();
    each_runtime("interrupted selects", |runtime, label| {
        for capacity in [0, 1, 4] {
            let [made, sent, got] = [0; 3].map(|zero| Arc::new(AtomicUsize::new(zero)));
            let channels = [bounded::<usize>(capacity), bounded::<usize>(capacity)];
            let over = CancelToken::new();
            // Receivers count by themselves what they got: what is dropped in an unwinding would not be counted.
            let receivers: Vec<_> = (0..4)
                .map(|actor| {
                    let [one, two] = channels.each_ref().map(|channel| channel.1.clone());
                    let (got, over) = (got.clone(), over.clone());
                    runtime.spawn(move || {
                        let mut rng = Rng::with_seed(actor);
                        let receive = || {
                            select! {
                                recv(one) -> message => message.ok(),
                                recv(two) -> message => message.ok(),
                                cancelled(over) => None,
                            }
                        };
                        loop {
                            let limit = Duration::from_micros(rng.u64(..60));
                            let message = match rng.u8(..3) {
                                // Inside a frame that is unwound; what was returned counts.
                                0 => withy::timeout(limit, receive).unwrap_or(None),
                                1 => select! {
                                    recv(one) -> message => message.ok(),
                                    recv(two) -> message => message.ok(),
                                    default(limit) => None,
                                },
                                _ => {
                                    let token = CancelToken::new();
                                    let other = token.clone();
                                    let canceller = withy::spawn(move || other.cancel());
                                    let message = token.run(receive).unwrap_or(None);
                                    canceller.join().unwrap();
                                    message
                                }
                            };
                            match message {
                                Some(message) => _ = got.fetch_add(message, Ordering::SeqCst),
                                None if over.is_cancelled() => break,
                                None => {}
                            }
                        }
                        // What is left.
                        for receiver in [&one, &two] {
                            got.fetch_add(receiver.try_iter().sum(), Ordering::SeqCst);
                        }
                    })
                })
                .collect();
            let senders: Vec<_> = (0..4)
                .map(|actor| {
                    let [one, two] = channels.each_ref().map(|channel| channel.0.clone());
                    let (made, sent) = (made.clone(), sent.clone());
                    runtime.spawn(move || {
                        let mut rng = Rng::with_seed(actor);
                        for round in 1..=rounds {
                            let limit = Duration::from_micros(rng.u64(..60));
                            let make = || {
                                made.fetch_add(round, Ordering::SeqCst);
                                round
                            };
                            let send = || {
                                select! {
                                    send(one, make()) -> done => done.is_ok(),
                                    send(two, make()) -> done => done.is_ok(),
                                }
                            };
                            let done = match rng.u8(..3) {
                                0 => withy::timeout(limit, send).unwrap_or(false),
                                1 => select! {
                                    send(one, make()) -> done => done.is_ok(),
                                    send(two, make()) -> done => done.is_ok(),
                                    default(limit) => false,
                                },
                                _ => send(),
                            };
                            if done {
                                sent.fetch_add(round, Ordering::SeqCst);
                            }
                        }
                    })
                })
                .collect();
            senders
                .into_iter()
                .for_each(|sender| sender.join().unwrap());
            over.cancel();
            receivers
                .into_iter()
                .for_each(|receiver| receiver.join().unwrap());
            let left: usize = channels
                .iter()
                .flat_map(|channel| channel.1.try_iter())
                .sum();
            let got = got.load(Ordering::SeqCst) + left;
            let [made, sent] = [made, sent].map(|sum| sum.load(Ordering::SeqCst));
            // A send that is interrupted has sent its message or not, as that of any channel.
            assert!(sent <= got && got <= made, "capacity {capacity}, {label}");
            if capacity > 0 {
                // With room no send waits any more when its message is made.
                assert_eq!((sent, got), (made, made), "capacity {capacity}, {label}");
            }
        }
    });
}

/// Promise 29. A coroutine that is cancelled in a select, at whatever moment, keeps nothing: the next gets each message.
#[test]
fn a_cancelled_select_passes_on_what_it_was_given() {
    let rounds = 100 * stress_rounds();
    each_runtime("cancelled selects", |runtime, label| {
        for capacity in [0, 1] {
            let (a, one) = bounded::<usize>(capacity);
            let (b, two) = bounded::<usize>(capacity);
            for round in 0..rounds {
                let taken = Arc::new(AtomicUsize::new(0));
                let victim = runtime.spawn({
                    let (one, two, taken) = (one.clone(), two.clone(), taken.clone());
                    move || {
                        let message = select! {
                            recv(one) -> message => message,
                            recv(two) -> message => message,
                        };
                        taken.fetch_add(message.unwrap(), Ordering::SeqCst);
                    }
                });
                let heir = runtime.spawn({
                    let (one, two) = (one.clone(), two.clone());
                    move || {
                        select! {
                            recv(one) -> message => message.unwrap(),
                            recv(two) -> message => message.unwrap(),
                            default(AGES) => panic!(),
                        }
                    }
                });
                if round % 3 == 0 {
                    runtime.run(withy::yield_now);
                }
                // A victim that outlived its round might take the message of the next: it need not unwind if it need not wait.
                let canceller = runtime.spawn(move || {
                    victim.cancel();
                    let _ = victim.join();
                });
                let sender = if round % 2 == 0 { &a } else { &b };
                sender.send(1).unwrap();
                canceller.join().unwrap();
                // The message is the heir's, or the victim was faster than its end: then the heir gets another.
                if taken.load(Ordering::SeqCst) == 1 {
                    a.send(1).unwrap();
                }
                assert_eq!(heir.join().unwrap(), 1, "{label}");
                assert!(one.try_recv().is_err() && two.try_recv().is_err());
            }
        }
    });
}

/// A select that does not wait sees what was there before and all the time: one of two messages of which the other comes only
/// when this one is gone.
#[test]
fn a_select_that_does_not_wait_overlooks_nothing() {
    let rounds = 500 * stress_rounds();
    matrix(LIMIT, "selects that overlook nothing", |case: &Case| {
        for watches in [false, true] {
            let (start, begin) = bounded::<()>(0);
            let (end, done) = bounded::<()>(0);
            let (a, one) = bounded(1);
            let (b, two) = bounded(1);
            let other = case.spawn({
                let (b, one) = (b.clone(), one.clone());
                move || {
                    for _ in 0..rounds {
                        begin.recv().unwrap();
                        b.send(1).unwrap();
                        // First the second is there, then the first goes.
                        let _ = one.try_recv();
                        end.send(()).unwrap();
                    }
                }
            });
            let looks = case.spawn(move || {
                for _ in 0..rounds {
                    a.send(1).unwrap();
                    start.send(()).unwrap();
                    if watches {
                        let mut select = Select::new();
                        select.recv(&one);
                        select.recv(&two);
                        select.try_ready().expect("something is there all the time");
                    } else {
                        select! {
                            recv(one) -> message => message.unwrap(),
                            recv(two) -> message => message.unwrap(),
                            default => panic!("something is there all the time"),
                        };
                    }
                    done.recv().unwrap();
                    let _ = two.try_recv();
                    let _ = one.try_recv();
                }
            });
            other.join();
            looks.join();
        }
    });
}

/// Selects with limits against each other: in the end each message has come through.
#[test]
fn selects_that_give_up_and_try_again_get_through() {
    matrix(LIMIT, "selects with limits", |case| {
        let (sender, receiver) = bounded(1);
        let sending = case.spawn(move || {
            for round in 0..40 {
                if round % 8 == 0 {
                    withy::sleep(SHORT);
                }
                while select! {
                    send(sender, round) -> sent => { sent.unwrap(); false }
                    default(SHORT / 8) => true,
                } {}
            }
        });
        let receiving = case.spawn(move || {
            for round in 0..40 {
                if round % 8 == 4 {
                    withy::sleep(SHORT);
                }
                let message = loop {
                    select! {
                        recv(receiver) -> message => break message,
                        default(SHORT / 8) => {}
                    }
                };
                assert_eq!(message, Ok(round));
            }
        });
        sending.join();
        receiving.join();
    });
}
