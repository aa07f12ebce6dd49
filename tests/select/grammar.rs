//! `select!`: programs that are unusual, and right.

use std::cell::{Cell, RefCell};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use withy::sync::channel::{self, Receiver, RecvError, Sender, bounded, never, unbounded};
use withy::{CancelToken, JoinHandle, select};

/// What an operand borrows by a guard is free in the bodies, and while the message is made, whichever arm it is.
#[test]
fn guards_in_operands_end_before_bodies() {
    let (sender, receiver) = unbounded();
    let (sender, receiver) = (RefCell::new(sender), RefCell::new(receiver));
    let none = never::<i32>();
    for _ in 0..2 {
        select! {
            send(sender.borrow_mut(), { drop(sender.borrow_mut()); 1 }) -> sent => {
                drop(sender.borrow_mut());
                sent.unwrap();
            }
        }
    }
    select! {
        recv(receiver.borrow_mut()) -> message => {
            drop(receiver.borrow_mut());
            assert_eq!(message, Ok(1));
        }
    }
    select! {
        recv(none) -> _ => panic!(),
        recv(receiver.borrow_mut()) -> message => {
            drop(receiver.borrow_mut());
            assert_eq!(message, Ok(1));
        }
    }
    let limit = Mutex::new(Duration::ZERO);
    select! {
        recv(none) -> _ => panic!(),
        default(*limit.lock().unwrap()) => drop(limit.try_lock().unwrap()),
    }
}

/// Only the arm that is chosen has moved its message: the others may use it.
#[test]
fn a_message_is_moved_in_its_arm_only() {
    fn try_to_send(sender: &Sender<String>, message: String) -> Option<String> {
        select! {
            send(sender, message) -> sent => sent.err().map(|error| error.0),
            default => Some(message),
        }
    }
    let (sender, receiver) = bounded(1);
    assert_eq!(try_to_send(&sender, "first".into()), None);
    assert_eq!(
        try_to_send(&sender, "second".into()).as_deref(),
        Some("second")
    );
    // It is tried again and again, between other things.
    let message = String::from("second");
    let mut first = None;
    loop {
        select! {
            send(sender, message) -> sent => break sent.unwrap(),
            recv(receiver) -> got => { first = got.ok(); continue }
        }
    }
    assert_eq!(first.as_deref(), Some("first"));
    drop(sender);
    assert_eq!(receiver.recv().as_deref(), Ok("second"));
}

/// The channel has a sender as long as a message is being made, also when the making takes the sender away.
#[test]
fn making_a_message_may_drop_the_sender() {
    let (sender, receiver) = bounded::<i32>(1);
    let found = Cell::new(None);
    select! {
        send(sender, { drop(sender); found.set(Some(receiver.try_recv())); 1 }) -> sent => sent.unwrap(),
    }
    assert_eq!(found.get(), Some(Err(channel::TryRecvError::Empty)));
    assert_eq!((receiver.recv(), receiver.recv()), (Ok(1), Err(RecvError)));
}

/// What a pattern ignores is dropped before the body.
#[test]
fn an_ignored_message_is_gone_in_the_body() {
    struct Counted<'a>(&'a Cell<u32>);
    impl Drop for Counted<'_> {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }
    let drops = Cell::new(0);
    let (sender, receiver) = unbounded();
    assert!(sender.send(Counted(&drops)).is_ok());
    select! { recv(receiver) -> _ => assert_eq!(drops.get(), 1) }
    drop(receiver);
    select! { send(sender, Counted(&drops)) -> _ => assert_eq!(drops.get(), 2) }
}

/// Whatever a `let` can take apart.
#[test]
fn patterns_are_those_of_let() {
    let (sender, receiver) = unbounded::<i32>();
    for n in 0..5 {
        sender.send(n).unwrap();
    }
    select! { recv(receiver) -> Ok(_) | Err(_) => {} }
    let one = select! { recv(receiver) -> ref message => *message.as_ref().unwrap() };
    let two = select! { recv(receiver) -> message @ (Ok(_) | Err(_)) => message.unwrap() };
    let four = select! {
        recv(&&&receiver,) -> mut message => { message = message.map(|m| m + 1); message.unwrap() },
    };
    assert_eq!((one, two, four), (1, 2, 4));
}

/// Names around the select are the caller's, also those that the macro uses itself, and `Some`.
#[test]
#[allow(non_snake_case, reason = "to hide the prelude's")]
fn names_are_the_callers() {
    fn Some(_: usize) -> usize {
        0
    }
    let (sender, receiver) = bounded(2);
    sender.send(1).unwrap();
    let (arm, operand, chosen, outcome, value, sending) = (&receiver, 2, 4, 8, 16, 32);
    let sum = select! {
        recv(arm) -> one => one.unwrap() + operand + chosen + outcome + value + sending,
        default => 0,
    };
    assert_eq!(sum, 63);
    assert_eq!(Some(1), 0);
}

/// `?` and `break` in a message: the arm is as if it had not been chosen.
#[test]
fn making_a_message_may_leave() {
    let (sender, receiver) = bounded::<i32>(1);
    let sends = |message: Option<i32>| -> Option<()> {
        select! {
            send(sender, message?) -> sent => sent.ok(),
            default => panic!("there is room"),
        }
    };
    assert_eq!(sends(None), None);
    assert!(!sender.is_full());
    assert_eq!(sends(Some(1)), Some(()));
    assert_eq!(receiver.recv(), Ok(1));
}

/// Fields, methods that borrow all of `self`, `?` and `return`.
#[test]
fn operands_may_be_of_self() {
    struct Actor {
        sender: Sender<u8>,
        receiver: Receiver<u8>,
        child: Option<JoinHandle<u8>>,
        stop: CancelToken,
    }
    impl Actor {
        fn receiver(&mut self) -> &Receiver<u8> {
            &self.receiver
        }

        fn turn(&mut self) -> Result<u8, RecvError> {
            Ok(select! {
                recv(self.receiver()) -> message => { self.child = None; message? }
                default => select! {
                    join(self.child) -> five => { self.child = None; five.unwrap() }
                    cancelled(self.stop) => return Ok(0),
                    deadline(Instant::now()) => { self.stop = CancelToken::new(); 1 }
                    send(self.sender, { self.stop.cancel(); 7 }) -> sent => { sent.unwrap(); self.receiver.recv()? }
                }
            })
        }
    }
    let (sender, receiver) = bounded(1);
    let mut actor = Actor {
        sender,
        receiver,
        child: Some(withy::spawn(|| 5)),
        stop: CancelToken::new(),
    };
    for _ in 0..10 {
        assert!(matches!(actor.turn(), Ok(0 | 1 | 5 | 7)));
    }
}

/// With the limit of recursion that crates have by default, as many as fit into crossbeam's.
#[test]
fn twenty_eight_arms_fit() {
    let n = never::<i32>();
    let got = select! {
        recv(n) -> _ => 0, recv(n) -> _ => 0, recv(n) -> _ => 0, recv(n) -> _ => 0, recv(n) -> _ => 0, recv(n) -> _ => 0, recv(n) -> _ => 0,
        recv(n) -> _ => 0, recv(n) -> _ => 0, recv(n) -> _ => 0, recv(n) -> _ => 0, recv(n) -> _ => 0, recv(n) -> _ => 0, recv(n) -> _ => 0,
        recv(n) -> _ => 0, recv(n) -> _ => 0, recv(n) -> _ => 0, recv(n) -> _ => 0, recv(n) -> _ => 0, recv(n) -> _ => 0, recv(n) -> _ => 0,
        recv(n) -> _ => 0, recv(n) -> _ => 0, recv(n) -> _ => 0, recv(n) -> _ => 0, recv(n) -> _ => 0, recv(n) -> _ => 0, recv(n) -> _ => 0,
        default => -1,
    };
    assert_eq!(got, -1);
}
