//! Select (`sync/select/choose.rs`) that ships, on the channels and the wait queue that ship, under every interleaving: one arm, no lost
//! wake-up, no lost message.
#![allow(
    unfulfilled_lint_expectations,
    reason = "the library leaves unused what models use"
)]

#[path = "../src/sync/select/arm.rs"]
#[allow(dead_code, unreachable_pub)]
mod arm;
#[path = "../src/sync/channel/buffer.rs"]
mod buffer;
#[path = "../src/sync/select/choose.rs"]
#[allow(dead_code)]
mod choose;
#[path = "../src/sync/channel/ends.rs"]
#[allow(dead_code)]
mod ends;
#[path = "../src/sync/channel/exchange.rs"]
#[allow(dead_code)]
mod exchange;
#[path = "../src/sync/channel/hand_over.rs"]
mod hand_over;
#[path = "../src/sync/channel/late.rs"]
mod late;
#[path = "../src/time/moment.rs"]
#[allow(dead_code)]
mod moment;
#[path = "../src/sync/channel/arms/recv.rs"]
mod recv;
#[path = "../src/sync/channel/arms/seat.rs"]
mod seat;
#[path = "../src/sync/channel/arms/send.rs"]
#[allow(dead_code, unreachable_pub)]
mod send;
#[path = "model/sync.rs"]
mod shim;
#[path = "../src/task/state.rs"]
#[allow(dead_code)]
mod state;
#[path = "../src/sync/waiters/mod.rs"]
#[allow(dead_code, unused_imports)]
mod waiters;

mod atomic {
    pub(crate) use crate::shim::{AtomicU32, AtomicUsize, Cell, Ordering, spin_loop};
}
mod context {
    pub(crate) fn consume_budget() {}
}
/// Nothing here waits in poll(2).
mod descriptors {
    pub(super) fn park(
        _arms: &mut [crate::arm::Arm<'_>],
        deadline: crate::moment::Moment,
    ) -> std::io::Result<bool> {
        Ok(crate::shim::park(deadline))
    }
}
/// The models say in which order arms are looked at.
mod order {
    #[derive(Clone, Copy)]
    pub(crate) struct Order;

    impl Order {
        pub(super) fn arrange(self, arms: &mut [crate::arm::Arm<'_>]) {
            arms.sort_unstable_by_key(|arm| arm.number);
        }
    }
}
mod poll {
    pub(crate) struct Direction;
}
mod sync {
    pub(crate) use crate::waiters;
    pub(crate) mod lock {
        pub(crate) use crate::shim::SpinLock;
    }
    /// Counts nothing.
    pub(crate) mod tally {
        pub(crate) struct Tally;

        impl Tally {
            pub(crate) const fn new() -> Tally {
                Tally
            }
            pub(crate) fn count(&self) {}
            pub(crate) fn count_failure(&self) {}
        }
    }
    pub(crate) mod select {
        pub(crate) use crate::arm::{Arm, ChannelArm, Lend, Look, Operation};
    }
    pub(crate) mod channel {
        pub(crate) use crate::late::Reserve;
        pub(crate) use crate::{buffer, ends, exchange, hand_over, late};

        #[derive(Debug, PartialEq, Eq)]
        pub(crate) struct RecvError;
        #[derive(Debug, PartialEq, Eq)]
        pub(crate) struct SendError<T>(pub(crate) T);
        pub(crate) struct Sender<'a, T>(pub(crate) &'a exchange::Exchange<T>);

        impl<'a, T> Sender<'a, T> {
            pub(crate) fn exchange(&self) -> &'a exchange::Exchange<T> {
                self.0
            }
        }
    }
}
mod task {
    pub(crate) mod park {
        pub(crate) use crate::shim::{Waiting, Wake, park};
    }
    /// Nothing is withheld in these models.
    pub(crate) mod interrupt {
        pub(crate) struct Mask;

        impl Mask {
            pub(crate) fn new() -> Mask {
                Mask
            }
        }
    }
}
mod time {
    pub(crate) use crate::moment::Moment;
}

use loom::sync::Arc;
use loom::thread;

use arm::{Arm, Lend, Operation};
use exchange::{Exchange, Unreceived};
use moment::Moment;
use recv::MessageArm;
use send::{SendArm, send_as};
use shim::{Record, check, coroutine};
use sync::channel::Sender;

/// A deadline that passes when the model says so.
const SOON: Moment = Moment::from_ns(1);

type Channel = Exchange<u32>;

/// In one allocation: the order of their addresses must be the same in all executions.
fn channels(capacity: usize) -> Arc<[Channel; 2]> {
    Arc::new([(); 2].map(|()| Exchange::new(capacity, capacity)))
}

fn start<T: 'static>(f: impl FnOnce() -> T + 'static) -> thread::JoinHandle<T> {
    thread::spawn(f)
}

/// Receives from one of two: its number and the message. `None` past the deadline.
fn recv_from_one(channels: [&Channel; 2], deadline: Moment) -> Option<(usize, u32)> {
    let arms = channels.map(|channel| MessageArm::new(channel, false));
    let mut lent = arms.each_ref().map(|arm| Arm::of_channel(arm));
    let number = choose::choose(&mut lent, order::Order, deadline)?;
    let message = arms[number].received().expect("it was chosen");
    for (other, arm) in arms.iter().enumerate() {
        assert!(other == number || arm.received().is_none());
    }
    Some((number, message.expect("a sender is left")))
}

/// Sends `message` to the first, or receives from the second: `Some` is what it has received.
fn send_or_recv(to: &Channel, from: &Channel, message: u32) -> Option<u32> {
    let sender = Sender(to);
    let mut send = SendArm::new(&sender, false);
    let recv = MessageArm::new(from, false);
    let number = choose::choose(
        &mut [send.arm(), Arm::of_channel(&recv)],
        order::Order,
        Moment::NEVER,
    );
    if number == Some(0) {
        assert!(send_as(to, send.take_reserve(), message).is_ok());
        return None;
    }
    let message = recv.received().expect("it was chosen");
    Some(message.expect("a sender is left"))
}

fn left(channel: &Channel) -> Option<u32> {
    channel.try_recv().ok()
}

/// Two selects wait for the same two channels, in opposite orders; one message comes by each. Each select gets one.
///
/// Hangs on: the order of the locks; the choice being claimed once; a node that is claimed elsewhere being passed over.
#[test]
fn two_selects_get_one_message_each() {
    check(2, || {
        let channels = channels(1);
        let theirs = channels.clone();
        let other = start(move || {
            let [a, b] = &*theirs;
            let got = coroutine(&Record::coroutine(), || {
                recv_from_one([b, a], Moment::NEVER)
            });
            got.unwrap().unwrap().1
        });
        let theirs = channels.clone();
        let sender = start(move || {
            assert!(theirs[0].try_send(1).is_ok());
            assert!(theirs[1].try_send(2).is_ok());
        });
        let [a, b] = &*channels;
        let got = coroutine(&Record::coroutine(), || {
            recv_from_one([a, b], Moment::NEVER)
        });
        let (_, got) = got.unwrap().unwrap();
        sender.join().unwrap();
        assert_eq!(got + other.join().unwrap(), 3);
        assert!(channels.iter().all(|channel| left(channel).is_none()));
    });
}

/// Two senders, each by a channel of its own, and one select: it takes one message, and the other stays.
///
/// Hangs on: the second look being under all the locks; the nodes being linked under them.
#[test]
fn a_select_takes_one_of_two_messages() {
    check(3, || {
        let channels = channels(1);
        let (one, other) = (channels.clone(), channels.clone());
        let one = start(move || assert!(one[0].try_send(0).is_ok()));
        let other = start(move || assert!(other[1].try_send(1).is_ok()));
        let [a, b] = &*channels;
        let got = coroutine(&Record::coroutine(), || {
            recv_from_one([a, b], Moment::NEVER)
        });
        let (number, message) = got.unwrap().unwrap();
        assert_eq!(number, message as usize);
        one.join().unwrap();
        other.join().unwrap();
        assert_eq!(left(&channels[1 - number]), Some(1 - message));
        assert_eq!(left(&channels[number]), None);
    });
}

/// Two selects that each send on one rendezvous and receive on the other: one sends and the other receives.
///
/// Hangs on: a late sender being claimed under its channel's lock; a receiver that is PROMISED sleeping until the message comes.
#[test]
fn selects_on_both_sides_meet_once() {
    check(4, || {
        let channels = channels(0);
        let theirs = channels.clone();
        let other = start(move || {
            let [a, b] = &*theirs;
            let got = coroutine(&Record::coroutine(), || send_or_recv(b, a, 2));
            got.unwrap()
        });
        let [a, b] = &*channels;
        let got = coroutine(&Record::coroutine(), || send_or_recv(a, b, 1)).unwrap();
        let other = other.join().unwrap();
        assert!(matches!((got, other), (None, Some(1)) | (Some(2), None)));
        assert!(channels.iter().all(|channel| left(channel).is_none()));
    });
}

/// A select against its own deadline: it has the message, or that is left.
///
/// Hangs on: the deadline claiming the choice for nobody; the queues being left before the select ends.
#[test]
fn a_select_that_is_late_has_one_outcome() {
    check(2, || {
        let channels = channels(1);
        let record = Record::coroutine();
        let late = record.clone();
        let clock = start(move || late.expire());
        let sends = channels.clone();
        let sender = start(move || assert!(sends[1].try_send(1).is_ok()));
        let [a, b] = &*channels;
        let got = coroutine(&record, || recv_from_one([a, b], SOON)).unwrap();
        clock.join().unwrap();
        sender.join().unwrap();
        assert_eq!(got.is_none(), left(b) == Some(1));
    });
}

/// A select that is cancelled while it is given a message: it has it, or the next receiver has.
///
/// Hangs on: the drop of the select's entry, which gives back what its chosen arm was given.
#[test]
fn a_select_that_is_cancelled_loses_nothing() {
    check(2, || {
        let channels = channels(0);
        let record = Record::coroutine();
        let cancelled = record.clone();
        let canceller = start(move || cancelled.cancel());
        let theirs = channels.clone();
        let select = start(move || {
            let [a, b] = &*theirs;
            coroutine(&record, || recv_from_one([a, b], Moment::NEVER))
        });
        let sends = channels.clone();
        let sender = start(move || {
            let sent = coroutine(&Record::coroutine(), || sends[0].send(1, Moment::NEVER));
            assert!(sent.unwrap().is_ok());
        });
        let got = select.join().unwrap();
        if got.is_err() {
            let heir = &channels[0];
            let received = coroutine(&Record::coroutine(), || heir.recv(Moment::NEVER));
            assert!(received.unwrap() == Ok(1));
        }
        sender.join().unwrap();
        canceller.join().unwrap();
        assert!(left(&channels[0]).is_none());
    });
}

/// A late sender that makes nothing, and a plain one, against a receiver that is promised the message of the first: it gets the second's.
///
/// Hangs on: Broken, and the receiver looking again.
#[test]
fn a_broken_promise_is_made_good_by_another() {
    check(2, || {
        let channels = channels(0);
        let breaks = channels.clone();
        let late = start(move || {
            let sender = Sender(&breaks[0]);
            let mut send = SendArm::new(&sender, false);
            // Whether it meets the receiver or not.
            let number = choose::try_choose(&mut [send.arm()], order::Order);
            assert!(number.is_none_or(|number| number == 0));
        });
        let sends = channels.clone();
        let plain = start(move || {
            let sent = coroutine(&Record::coroutine(), || sends[0].send(5, Moment::NEVER));
            assert!(sent.unwrap().is_ok());
        });
        let [a, b] = &*channels;
        let got = coroutine(&Record::coroutine(), || {
            recv_from_one([b, a], Moment::NEVER)
        });
        assert_eq!(got.unwrap(), Some((1, 5)));
        late.join().unwrap();
        plain.join().unwrap();
    });
}

/// A late sender whose receiver is past its deadline meanwhile: the message is that one's, or the next receiver's.
///
/// Hangs on: PROMISED being left under the lock; the sender looking for another receiver, or waiting for one.
#[test]
fn a_late_message_finds_a_receiver() {
    check(2, || {
        let channels = channels(0);
        let record = Record::coroutine();
        let late = record.clone();
        let clock = start(move || late.expire());
        let sends = channels.clone();
        let sender = start(move || {
            let sent = coroutine(&Record::coroutine(), || {
                let sender = Sender(&sends[0]);
                let mut send = SendArm::new(&sender, false);
                let chosen = choose::choose(&mut [send.arm()], order::Order, Moment::NEVER);
                assert_eq!(chosen, Some(0));
                send_as(&sends[0], send.take_reserve(), 3)
            });
            assert_eq!(sent.unwrap(), Ok(()));
        });
        let [a, b] = &*channels;
        let got = coroutine(&record, || recv_from_one([a, b], SOON)).unwrap();
        if got.is_none() {
            let got = coroutine(&Record::coroutine(), || a.recv(Moment::NEVER));
            assert!(got.unwrap() == Ok::<_, Unreceived>(3));
        }
        sender.join().unwrap();
        clock.join().unwrap();
    });
}

/// Something is in one of two channels all the time: a message comes by the second before that in the first is taken. A select that does not
/// wait finds one.
///
/// Hangs on: the second look, at both at the same moment, also of one that does not wait.
#[test]
fn a_select_that_does_not_wait_overlooks_nothing() {
    check(3, || {
        let channels = channels(1);
        let [a, b] = &*channels;
        assert!(a.try_send(1).is_ok());
        let theirs = channels.clone();
        let other = start(move || {
            let [a, b] = &*theirs;
            assert!(b.try_send(1).is_ok());
            left(a)
        });
        // The second first: it is empty then, and the first when it is its turn.
        let arms = [b, a].map(|channel| MessageArm::new(channel, false));
        let mut lent = arms.each_ref().map(|arm| Arm::of_channel(arm));
        let got = choose::try_choose(&mut lent, order::Order);
        assert!(got.is_some(), "something was there all the time");
        other.join().unwrap();
    });
}
