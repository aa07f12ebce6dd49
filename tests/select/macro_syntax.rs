//! `select!`: its syntax, what is evaluated when, and what bodies may do.

#![allow(
    clippy::match_single_binding,
    clippy::never_loop,
    clippy::redundant_closure_call,
    clippy::unnecessary_literal_unwrap,
    reason = "odd on purpose: the macro has to take what the language has"
)]

use std::cell::Cell;
use std::ops::Deref;
use std::rc::Rc;
use std::time::{Duration, Instant};

use withy::sync::channel::{
    self, Receiver, RecvError, SendError, Sender, bounded, never, unbounded,
};
use withy::{CancelToken, select, select_biased};

use crate::support::{LIMIT, matrix, within};
use crate::{AGES, SHORT};

/// As crossbeam's: commas, blocks, patterns, `default` with and without parentheses.
#[test]
fn arms_are_written_in_many_ways() {
    let (sender, receiver) = unbounded::<i32>();
    select! { default => {} }
    select! { default() => {}, }
    select! { default(SHORT) => {} }
    select! { default(SHORT,) => (), }
    select! { deadline(Instant::now()) => {} }
    select! {
        recv(receiver) -> _ => panic!(),
        default => {}
    }
    select! {
        send(sender, 0) -> _ => {}
        default() => panic!(),
    }
    select! {
        recv(receiver,) -> message => { assert_eq!(message, Ok(0)); },
        default(AGES) => panic!()
    }
    let third = select! {
        recv(receiver) -> _ => 3.0,
        recv(receiver) -> _ => loop { unreachable!() },
        recv(receiver) -> _ => match 7 + 3 { _ => unreachable!() },
        default => 7.,
    };
    assert_eq!(third, 7.0);
    sender.send(1).unwrap();
    select! {
        recv(receiver) -> message => if message.is_err() {
            panic!()
        },
        default => ()
    }
    channel::select! { send(sender, 1,) -> sent => sent.unwrap() }
    let one = withy::sync::channel::select_biased! {
        recv(receiver) -> one => one.unwrap(),
    };
    assert_eq!(one, 1);
}

/// What an operand may be: references, calls, boxes, whatever derefs to an end of a channel.
#[test]
fn operands_are_expressions() {
    struct Wrapped<T>(T);
    impl<T> Deref for Wrapped<T> {
        type Target = T;
        fn deref(&self) -> &T {
            &self.0
        }
    }
    let (sender, receiver) = unbounded::<i32>();
    select! {
        send(&&&&sender, 0) -> _ => {}
        recv(&&&&receiver) -> _ => {}
    }
    select! {
        recv(Some(&receiver).unwrap_or(&never())) -> _ => {},
        default => {}
    }
    let wrapped = (Wrapped(sender.clone()), Wrapped(receiver.clone()));
    select! {
        send(wrapped.0, 0) -> sent => sent.unwrap(),
        recv(wrapped.1) -> _ => {}
    }
    let boxed = (Box::new(sender), Box::new(receiver));
    select! {
        send(*boxed.0, 0) -> _ => {}
        recv(*boxed.1) -> _ => {}
    }
    let guarded = withy::sync::Mutex::new(boxed.1);
    select! {
        recv(guarded.lock().unwrap()) -> _ => drop(guarded.lock()), // it is free again
        default => {}
    }
    // Each is evaluated once, and may be moved out of.
    let (sender, receiver) = unbounded::<i32>();
    select! {
        recv((move || receiver)()) -> _ => {}
        send((move || sender)(), 0) -> _ => {}
    }
    let token = CancelToken::new();
    select! {
        cancelled(&&token) => panic!(),
        cancelled(token.child()) => panic!(),
        default => {}
    }
}

/// The message is made only if its arm is chosen, and exactly then.
#[test]
fn messages_are_made_late() {
    matrix(LIMIT, "messages that are made late", |case| {
        case.run(|| {
            let made = Cell::new(0);
            let make = |value: i32| {
                made.set(made.get() + 1);
                value
            };
            let (full, _receiver) = bounded(0);
            let (sender, receiver) = unbounded();
            select! {
                send(full, make(1)) -> _ => panic!(),
                default => {}
            }
            assert_eq!(made.get(), 0);
            select! {
                send(full, make(1)) -> _ => panic!(),
                send(sender, make(2)) -> sent => sent.unwrap(),
            }
            assert_eq!((made.get(), receiver.try_recv()), (1, Ok(2)));
            // Also if nobody will ever receive it: it comes back.
            drop(receiver);
            select! {
                send(sender, make(3)) -> sent => assert_eq!(sent, Err(SendError(3))),
            }
            assert_eq!(made.get(), 2);
        });
    });
}

/// Values that cannot be copied may be moved in each arm.
#[test]
fn arms_exclude_each_other() {
    let (sender, receiver) = unbounded::<Box<i32>>();
    for _ in 0..4 {
        let (message, once) = (Box::new(7), Box::new(()));
        select! {
            send(sender, message) -> _ => drop(once),
            send(&sender, message) -> _ => drop(once),
            recv(receiver) -> message => drop((message, once)),
            default => drop(once),
        }
    }
}

/// Nothing is borrowed any more in a body.
#[test]
fn bodies_may_take_what_was_waited_for() {
    let (sender, receiver) = unbounded::<i32>();
    sender.send(1).unwrap();
    select! {
        recv(receiver) -> receiver_is_gone => { drop(receiver); receiver_is_gone.unwrap(); }
        default => panic!(),
    }
    select! {
        send(sender, 2) -> sent => { assert!(sent.is_err()); drop(sender); }
    }
    let token = CancelToken::new();
    token.cancel();
    select! {
        cancelled(token) => drop(token),
    }
    let mut child = withy::spawn(withy::park);
    let child = select! {
        join(child) -> _ => panic!(),
        default => child,
    };
    child.thread().unpark();
    child.join().unwrap();
}

/// `?`, `break`, `continue` and `return` mean what they mean around the select.
#[test]
fn bodies_may_leave() {
    fn first(receiver: &Receiver<i32>) -> Result<i32, RecvError> {
        loop {
            let message = select! {
                recv(receiver) -> message => message?,
                default(AGES) => return Err(RecvError),
            };
            if message > 0 {
                return Ok(message);
            }
        }
    }
    fn make(text: &str, sender: &Sender<i32>) -> Result<(), std::num::ParseIntError> {
        select! {
            send(sender, text.parse()?) -> sent => sent.unwrap(),
        }
        Ok(())
    }
    within(LIMIT, "bodies that leave", || {
        let (sender, receiver) = bounded(3);
        for text in ["-1", "none", "0", "4"] {
            assert_eq!(make(text, &sender).is_err(), text == "none");
        }
        assert_eq!(first(&receiver), Ok(4));
        assert_eq!(sender.len(), 0);
        // What was kept for a message that was not made is free again.
        (0..3).for_each(|n| sender.try_send(n).unwrap());
        drop(sender);
        let mut rounds = 0;
        let last = 'outer: loop {
            rounds += 1;
            loop {
                select! {
                    recv(receiver) -> message => match message {
                        Ok(0) => continue,
                        Ok(1) => continue 'outer,
                        Ok(_) => break,
                        Err(error) => break 'outer error,
                    },
                }
            }
        };
        assert_eq!((last, rounds), (RecvError, 3));
    });
}

/// Types, hygiene, nesting.
#[test]
fn selects_mix_with_the_code_around() {
    let (_, receiver) = unbounded::<i32>();
    select! { recv(receiver) -> receiver => assert!(receiver.is_err()) }
    let (arm, operand, chosen, outcome) = (1, 2, 3, 4);
    let (sender, receiver) = unbounded();
    let sum = select! {
        send(sender, arm + operand + chosen + outcome) -> _ => arm + operand + chosen + outcome,
        recv(never::<()>()) -> _ => 0,
    };
    assert_eq!((sum, receiver.recv()), (10, Ok(10)));
    let text = select! {
        recv(receiver) -> _ => "message".into(),
        send(sender, 0) -> _ => "sent".to_owned(),
        default => "nothing".to_string(),
    };
    assert_eq!(text, "sent");
    let nested = select! {
        recv(receiver) -> _ => select! {
            recv(receiver) -> _ => 1,
            default => select! {
                default(SHORT) => select_biased! { default => 4 },
            },
        },
    };
    assert_eq!(nested, 4);
    // Messages that are not `Send` are fine where they stay.
    let (sender, receiver) = unbounded::<Rc<i32>>();
    select! { send(sender, Rc::new(5)) -> sent => sent.unwrap() }
    select! { recv(receiver) -> rc => assert_eq!(*rc.unwrap(), 5) }
}

/// Many arms, more than any list of names.
#[test]
fn many_arms_fit() {
    let (s, r) = unbounded::<i32>();
    let n = never::<i32>();
    s.send(9).unwrap();
    let got = select! {
        recv(n) -> _ => 0, recv(n) -> _ => 0, recv(n) -> _ => 0, recv(n) -> _ => 0, recv(n) -> _ => 0,
        recv(n) -> _ => 0, recv(n) -> _ => 0, recv(n) -> _ => 0, recv(n) -> _ => 0, recv(n) -> _ => 0,
        recv(n) -> _ => 0, recv(n) -> _ => 0, recv(n) -> _ => 0, recv(n) -> _ => 0, recv(n) -> _ => 0,
        recv(n) -> _ => 0, recv(n) -> _ => 0, recv(n) -> _ => 0, recv(n) -> _ => 0, recv(n) -> _ => 0,
        recv(r) -> message => message.unwrap(),
        default => -1,
    };
    assert_eq!(got, 9);
}

/// `select! {}` is a way to wait for ever, of whatever type.
#[test]
fn a_select_without_arms_waits_for_ever() {
    matrix(LIMIT, "selects without arms", |case| {
        case.run(|| {
            let ended: Result<u32, _> = withy::timeout(SHORT, || select! {});
            assert!(ended.is_err());
            let begin = withy::now();
            select! { default(SHORT) => {} }
            assert!(withy::now() >= begin + SHORT);
            select! { deadline(begin) => {} }
            select! { default(Duration::ZERO) => {} }
        });
    });
}

/// A panic in an operand, or in a message, leaves everything as it was.
#[test]
fn a_panic_in_an_operand_or_a_message_leaves_no_trace() {
    fn panics(f: impl FnOnce()) {
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).is_err());
    }
    let (sender, receiver) = bounded::<i32>(1);
    let missing: Option<&Receiver<i32>> = None;
    panics(|| {
        select! {
            send(sender, 1) -> _ => {}
            recv(missing.unwrap()) -> _ => {}
        }
    });
    assert!(sender.is_empty());
    panics(|| select! { send(sender, missing.map(|_| 1).unwrap()) -> _ => {} });
    assert!(!sender.is_full());
    sender.try_send(2).unwrap();
    panics(|| select! { recv(receiver) -> message => panic!("{message:?}") });
    assert!(receiver.is_empty(), "the message was received");
}
