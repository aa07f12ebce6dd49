//! `Select`: what crossbeam-channel's does, case by case, from coroutines and plain threads.

use std::any::Any;
use std::time::{Duration, Instant};

use withy::sync::channel::{
    Receiver, RecvError, Select, SelectTimeoutError, TryRecvError, TrySelectError, after, bounded,
    never, unbounded,
};

use crate::support::{self, LIMIT, matrix, within};
use crate::{AGES, SHORT};

/// Promises 41 and 43. Of two channels the one with a message is chosen, before the select and while it waits.
#[test]
fn the_one_that_has_a_message_is_chosen() {
    matrix(LIMIT, "selects of two channels", |case| {
        for first in [false, true] {
            let (a, one) = unbounded();
            let (b, two) = bounded(1);
            let send = move || if first { a.send(1) } else { b.send(2) };
            let select = move || {
                let mut select = Select::new();
                let indices = [select.recv(&one), select.recv(&two)];
                assert_eq!(indices, [0, 1]);
                let operation = select.select();
                match operation.index() {
                    0 => operation.recv(&one),
                    _ => operation.recv(&two),
                }
            };
            let expected = Ok(if first { 1 } else { 2 });
            let waiter = case.spawn(select.clone());
            let sender = case.spawn(move || {
                send().unwrap();
                send
            });
            assert_eq!(waiter.join(), expected);
            let send = sender.join();
            send().unwrap();
            assert_eq!(case.run(select), expected);
        }
    });
}

/// Promises 40 and 43. A channel without its other side is ready, with an error; also while the select waits.
#[test]
fn what_is_disconnected_is_ready() {
    matrix(LIMIT, "selects of what is disconnected", |case| {
        for capacity in [0, 2] {
            let (sender, receiver) = bounded::<i32>(capacity);
            let silent = never::<i32>();
            let waiter = case.spawn(move || {
                let mut select = Select::new();
                select.recv(&silent);
                select.recv(&receiver);
                let operation = select.select();
                assert_eq!(operation.index(), 1);
                operation.recv(&receiver)
            });
            drop(sender);
            assert_eq!(waiter.join(), Err(RecvError));

            let (sender, receiver) = bounded(capacity);
            (0..capacity).for_each(|_| sender.send(String::new()).unwrap());
            let waiter = case.spawn(move || {
                let mut select = Select::new();
                select.send(&sender);
                let operation = select.select();
                operation.send(&sender, "back".to_owned())
            });
            drop(receiver);
            // Room may have come first, if it was disconnected in between: then the message is gone with the channel, or comes back.
            let sent = waiter.join();
            assert_eq!(sent.unwrap_err().0, "back");
        }
    });
}

/// Nothing is ready: an error at once, or in time.
#[test]
fn a_select_that_finds_nothing_says_so() {
    matrix(LIMIT, "selects in vain", |case| {
        case.run(|| {
            let (sender, receiver) = bounded::<i32>(0);
            let mut select = Select::new();
            select.recv(&receiver);
            select.send(&sender);
            assert_eq!(select.try_select().unwrap_err(), TrySelectError);
            assert_eq!(
                select.select_timeout(SHORT).unwrap_err(),
                SelectTimeoutError
            );
            assert!(select.select_timeout(Duration::ZERO).is_err());
            assert!(select.select_deadline(withy::now() - SHORT).is_err());
            assert!(select.select_deadline(withy::now() + SHORT).is_err());
            assert!(select.try_ready().is_err());
            assert!(select.ready_timeout(SHORT).is_err());
            assert!(select.ready_deadline(withy::now()).is_err());
            let begin = withy::now();
            assert!(select.select_timeout(SHORT).is_err());
            assert!(withy::now() >= begin + SHORT);
        });
    });
}

/// What is ready is chosen also past the deadline, and huge limits are none.
#[test]
fn limits_of_any_size_do() {
    matrix(LIMIT, "limits of selects", |case| {
        case.run(|| {
            let (sender, receiver) = unbounded();
            let mut select = Select::new();
            select.recv(&receiver);
            for limit in [Duration::ZERO, SHORT, AGES, Duration::MAX] {
                sender.send(7).unwrap();
                let operation = select.select_timeout(limit).unwrap();
                assert_eq!(operation.recv(&receiver), Ok(7));
                sender.send(7).unwrap();
                assert_eq!(select.ready_timeout(limit), Ok(0));
                assert_eq!(receiver.try_recv(), Ok(7));
            }
            sender.send(7).unwrap();
            let past = Instant::now() - AGES;
            assert_eq!(select.select_deadline(past).unwrap().recv(&receiver), Ok(7));
        });
    });
}

/// Bad input: without arms there is nothing to be chosen; a limit passes all the same.
#[test]
fn a_select_without_operations_waits_for_its_limit_or_for_ever() {
    matrix(LIMIT, "selects without operations", |case| {
        case.run(|| {
            let mut select = Select::new();
            assert!(select.try_select().is_err());
            assert!(select.try_ready().is_err());
            assert!(select.select_timeout(SHORT).is_err());
            assert!(select.ready_timeout(SHORT).is_err());
            assert!(withy::timeout(SHORT, || drop(Select::new().select())).is_err());
            assert!(withy::timeout(SHORT, || Select::new().ready()).is_err());
        });
    });
}

/// All that is ready is chosen at some time.
#[test]
fn one_channel_may_be_added_several_times() {
    within(LIMIT, "all of four operations to be chosen", || {
        let (sender, receiver) = unbounded();
        let mut chosen = [0; 4];
        let mut noticed = [0; 4];
        while chosen.contains(&0) || noticed.contains(&0) {
            let mut select = Select::new();
            select.recv(&receiver);
            select.recv(&receiver);
            select.send(&sender);
            select.send(&sender);
            noticed[select.ready()] += 1;
            let operation = select.select();
            chosen[operation.index()] += 1;
            match operation.index() {
                0 | 1 => assert_eq!(operation.recv(&receiver), Ok(0)),
                _ => operation.send(&sender, 0).unwrap(),
            }
        }
    });
}

/// A rendezvous needs two: one select does not meet itself. A buffer is another matter.
#[test]
fn a_select_does_not_send_to_itself() {
    matrix(LIMIT, "selects that send and receive", |case| {
        case.run(|| {
            let (sender, receiver) = bounded::<i32>(0);
            let mut select = Select::new();
            select.send(&sender);
            select.recv(&receiver);
            assert!(select.try_select().is_err());
            assert!(select.select_timeout(SHORT).is_err());
            assert!(select.ready_timeout(SHORT).is_err());

            let (sender, receiver) = unbounded::<i32>();
            let mut select = Select::new();
            select.send(&sender);
            select.recv(&receiver);
            let operation = select.select();
            assert_eq!(operation.index(), 0);
            operation.send(&sender, 0).unwrap();
            assert_eq!(receiver.try_recv(), Ok(0));
        });
    });
}

/// Promises 41 and 43. Any number of selects that would both send and receive meet in pairs.
#[test]
fn selects_on_both_sides_meet_in_pairs() {
    matrix(LIMIT, "selects that meet in pairs", |case| {
        for leftover in [false, true] {
            let (sender, receiver) = bounded::<usize>(0);
            let number = if leftover { 21 } else { 20 };
            let callers: Vec<_> = (0..number)
                .map(|own| {
                    let (sender, receiver) = (sender.clone(), receiver.clone());
                    case.spawn(move || {
                        let mut select = Select::new();
                        select.recv(&receiver);
                        select.send(&sender);
                        let operation = select.select();
                        if operation.index() == 1 {
                            operation.send(&sender, own).unwrap();
                            return None;
                        }
                        let got = operation.recv(&receiver).unwrap();
                        assert_ne!(got, own);
                        Some(got)
                    })
                })
                .collect();
            if leftover {
                sender.send(usize::MAX).unwrap();
            }
            let got: Vec<_> = callers.into_iter().map(support::Caller::join).collect();
            assert_eq!(got.iter().flatten().count(), usize::div_ceil(number, 2));
            assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        }
    });
}

/// Channels travel through channels, by selects on both sides.
#[test]
fn channels_go_through_channels() {
    type Parcel = Box<dyn Any + Send>;
    matrix(LIMIT, "channels through channels", |case| {
        for capacity in 0..3 {
            let (mut sender, mut receiver) = bounded::<Parcel>(capacity);
            let giver = case.spawn(move || {
                for _ in 0..200 {
                    let (next_sender, next_receiver) = bounded::<Parcel>(capacity);
                    let mut select = Select::new();
                    select.send(&sender);
                    let operation = select.select();
                    operation.send(&sender, Box::new(next_receiver)).unwrap();
                    sender = next_sender;
                }
            });
            let taker = case.spawn(move || {
                for _ in 0..200 {
                    let mut select = Select::new();
                    select.recv(&receiver);
                    let parcel = select.select().recv(&receiver).unwrap();
                    receiver = *parcel.downcast::<Receiver<Parcel>>().unwrap();
                }
            });
            giver.join();
            taker.join();
        }
    });
}

/// `ready` takes nothing, and says when something can be done, of both sides of all sorts of channels.
#[test]
fn ready_takes_nothing() {
    matrix(LIMIT, "selects that watch", |case| {
        for capacity in [0, 1, usize::MAX] {
            let (sender, receiver) = bounded(capacity);
            let watcher = case.spawn({
                let receiver = receiver.clone();
                move || {
                    let silent = never::<i32>();
                    let mut select = Select::new();
                    select.recv(&silent);
                    let index = select.recv(&receiver);
                    for round in 0..50 {
                        let got = loop {
                            assert_eq!(select.ready(), index);
                            if let Ok(got) = receiver.try_recv() {
                                break got;
                            }
                        };
                        assert_eq!(got, round);
                    }
                }
            });
            (0..50).for_each(|round| sender.send(round).unwrap());
            watcher.join();
            if capacity == usize::MAX {
                continue;
            }
            // And of the sending side.
            let watcher = case.spawn(move || {
                let mut select = Select::new();
                select.send(&sender);
                for round in 0..50 {
                    loop {
                        assert_eq!(select.ready(), 0);
                        if sender.try_send(round).is_ok() {
                            break;
                        }
                    }
                }
            });
            assert!(receiver.iter().eq(0..50));
            watcher.join();
        }
    });
}

/// Watchers that go away without doing anything keep nothing from those who wait behind them.
#[test]
fn a_watcher_hides_nothing_from_others() {
    matrix(LIMIT, "receivers behind watchers", |case| {
        let (sender, receiver) = bounded::<i32>(0);
        let callers: Vec<_> = (0..12)
            .map(|n| {
                let receiver = receiver.clone();
                case.spawn(move || {
                    if n % 2 == 0 {
                        let mut select = Select::new();
                        select.recv(&receiver);
                        select.ready_timeout(AGES).unwrap();
                        0
                    } else {
                        receiver.recv().unwrap()
                    }
                })
            })
            .collect();
        (0..6).for_each(|_| sender.send(1).unwrap());
        // Whoever watches again is told that it is over.
        drop(sender);
        let got: i32 = callers.into_iter().map(support::Caller::join).sum();
        assert_eq!(got, 6);
    });
}

/// Receivers of the clock are arms as others.
#[test]
fn a_point_in_time_is_an_arm() {
    matrix(LIMIT, "selects of the clock", |case| {
        case.run(|| {
            let begin = withy::now();
            let (soon, late) = (after(SHORT), after(AGES));
            let (_sender, silent) = unbounded::<Instant>();
            let mut select = Select::new();
            select.recv(&late);
            let index = select.recv(&soon);
            select.recv(&silent);
            assert_eq!(select.ready(), index);
            assert_eq!(select.try_ready(), Ok(index));
            let operation = select.select();
            assert_eq!(operation.index(), index);
            let at = operation.recv(&soon).unwrap();
            assert!(at >= begin + SHORT && withy::now() >= at);
            assert!(select.try_select().is_err(), "it has one message");
        });
    });
}
