//! Channels (`sync/channel/{exchange,hand_over,ends,oneshot}.rs`) that ship, on the wait queue that ships, under every interleaving: of a channel
//! for one message, a rendezvous and a oneshot. What a message carries is checked by loom, so a message that is taken before
//! it was put there is a race.
#![allow(
    unfulfilled_lint_expectations,
    reason = "the library leaves unused what models use"
)]

#[path = "../src/time/moment.rs"]
#[allow(dead_code)]
mod moment;
#[path = "model/sync.rs"]
mod shim;
#[path = "../src/task/state.rs"]
#[allow(dead_code)]
mod state;
#[path = "../src/sync"]
#[allow(dead_code, missing_docs, unreachable_pub, unused_imports)]
mod sync {
    pub(crate) mod waiters;
    pub(crate) mod lock {
        pub(crate) use crate::shim::SpinLock;
    }
    /// Fairness is no matter here.
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
    #[path = "channel"]
    pub(crate) mod channel {
        mod buffer;
        mod ends;
        mod error;
        mod exchange;
        mod hand_over;
        pub(crate) mod oneshot;
        #[path = "../../../tests/model/channel.rs"]
        pub(crate) mod seam;
        pub(crate) use error::{RecvError, RecvTimeoutError, TryRecvError};
    }
}

mod atomic {
    pub(crate) use crate::shim::{AtomicU32, AtomicUsize, Cell, Ordering, spin_loop};
}
mod context {
    pub(crate) fn consume_budget() {}
}
mod task {
    pub(crate) mod park {
        pub(crate) use crate::shim::{Waiting, Wake, park};
    }
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
    pub(crate) use crate::shim::moment;
}

use std::sync::Arc;
use std::time::Duration;

use loom::cell::UnsafeCell;
use loom::thread::{self, JoinHandle};

use shim::{Cancelled, Record, check, coroutine, plain_thread};
use sync::channel::oneshot::{self, oneshot};
use sync::channel::seam::{Channel, Lost};
use sync::channel::{RecvError, RecvTimeoutError};

/// A message: loom checks that whoever opens it comes after whoever made it.
struct Parcel(UnsafeCell<u32>);

impl Parcel {
    fn new(n: u32) -> Parcel {
        let parcel = Parcel(UnsafeCell::new(0));
        // SAFETY: nobody else has it.
        parcel.0.with_mut(|value| unsafe { *value = n });
        parcel
    }

    fn open(self) -> u32 {
        // SAFETY: nobody else has it any more.
        self.0.with_mut(|value| unsafe { *value })
    }
}

fn opened(received: Result<Parcel, Lost>) -> Result<u32, Lost> {
    received.map(Parcel::open)
}

/// A coroutine, and what interrupts it.
fn start<T: 'static>(
    body: impl FnOnce() -> T + 'static,
) -> (loom::sync::Arc<Record>, JoinHandle<Result<T, Cancelled>>) {
    let record = Record::coroutine();
    let ours = record.clone();
    (record, thread::spawn(move || coroutine(&ours, body)))
}

fn drain(channel: &Channel<Parcel>) -> Vec<u32> {
    std::iter::from_fn(|| opened(channel.try_recv()).ok()).collect()
}

/// Two senders, one that receives twice: whoever waits is served, all arrives.
#[test]
fn all_that_is_sent_arrives() {
    for capacity in [0, 1] {
        check(2, move || {
            let channel = Channel::new(capacity);
            let senders = [1, 2].map(|n| {
                let channel = channel.clone();
                start(move || channel.send(Parcel::new(n)).is_ok()).1
            });
            let received = plain_thread(&Record::plain_thread(), || {
                [(), ()].map(|()| opened(channel.recv()))
            });
            let mut received = received.map(|n| n.ok().unwrap());
            received.sort_unstable();
            assert_eq!(received, [1, 2]);
            for sender in senders {
                assert_eq!(sender.join().unwrap(), Ok(true));
            }
            assert_eq!(drain(&channel), []);
        });
    }
}

/// A receiver is cancelled while a message comes: it has received it, or it is in the channel. At a rendezvous the sender
/// goes on in either case.
#[test]
fn a_cancelled_receiver_leaves_the_message() {
    for capacity in [0, 1] {
        check(2, move || {
            let channel = Channel::new(capacity);
            let (record, receiving) = {
                let channel = channel.clone();
                start(move || opened(channel.recv()))
            };
            let (sending_record, sending) = {
                let channel = channel.clone();
                start(move || channel.send(Parcel::new(7)).is_ok())
            };
            record.cancel();
            let received = receiving.join().unwrap();
            let taken = match received {
                Ok(received) => received.ok(),
                Err(Cancelled) => {
                    plain_thread(&Record::plain_thread(), || opened(channel.recv()).ok())
                }
            };
            assert_eq!(taken, Some(7));
            assert_eq!(sending.join().unwrap(), Ok(true));
            assert!(!sending_record.is_cancelled());
            assert_eq!(drain(&channel), []);
        });
    }
}

/// Two receivers, of which one is cancelled: the message goes to the other.
#[test]
fn a_cancelled_receiver_passes_the_message_on() {
    check(2, || {
        let channel = Channel::new(1);
        let (record, cancelled) = {
            let channel = channel.clone();
            start(move || opened(channel.recv()))
        };
        let (_, other) = {
            let channel = channel.clone();
            start(move || opened(channel.recv()))
        };
        assert!(channel.try_send(Parcel::new(7)).is_ok());
        record.cancel();
        match cancelled.join().unwrap() {
            // Then there has to be another for the other.
            Ok(received) => {
                assert_eq!(received.ok(), Some(7));
                assert!(channel.try_send(Parcel::new(8)).is_ok());
                assert_eq!(other.join().unwrap().unwrap().ok(), Some(8));
            }
            Err(Cancelled) => assert_eq!(other.join().unwrap().unwrap().ok(), Some(7)),
        }
    });
}

/// The same with the last message: the other is told of the end only if nothing comes back.
///
/// Hangs on: GONE and the count of what was noticed being one word.
#[test]
fn a_cancelled_receiver_keeps_nothing_from_the_end() {
    check(2, || {
        let channel = Channel::new(1);
        let (record, cancelled) = {
            let channel = channel.clone();
            start(move || opened(channel.recv()))
        };
        let (_, other) = {
            let channel = channel.clone();
            start(move || opened(channel.recv()))
        };
        assert!(channel.try_send(Parcel::new(7)).is_ok());
        record.cancel();
        channel.drop_sender();
        let other = other.join().unwrap().unwrap();
        match cancelled.join().unwrap() {
            Ok(Ok(seven)) => {
                assert_eq!(seven, 7);
                assert!(other == Err(Lost::Disconnected));
            }
            // It was told of the end, or was cancelled: the message is the other's.
            Ok(Err(_)) | Err(Cancelled) => assert_eq!(other.ok(), Some(7)),
        }
    });
}

/// A sender is cancelled while its message may be taken: it was received, or it is gone; never both, never twice.
#[test]
fn a_cancelled_sender_has_sent_or_not() {
    for capacity in [0, 1] {
        check(2, move || {
            let channel = Channel::new(capacity);
            if capacity == 1 {
                assert!(channel.try_send(Parcel::new(1)).is_ok());
            }
            let (record, sending) = {
                let channel = channel.clone();
                start(move || channel.send(Parcel::new(7)).is_ok())
            };
            let receiving = {
                let channel = channel.clone();
                thread::spawn(move || {
                    let first = opened(channel.try_recv()).ok();
                    (first, opened(channel.try_recv()).ok())
                })
            };
            record.cancel();
            let sent = sending.join().unwrap();
            let (first, second) = receiving.join().unwrap();
            let left = drain(&channel);
            let all: Vec<_> = first.into_iter().chain(second).chain(left).collect();
            let sevens = all.iter().filter(|&&n| n == 7).count();
            assert!(sevens <= 1 && all.len() - sevens == capacity);
            if sent == Ok(true) {
                assert_eq!(sevens, 1);
            }
        });
    }
}

/// A receiver's time is over while a message comes: one outcome.
#[test]
fn a_late_receiver_leaves_the_message() {
    for capacity in [0, 1] {
        check(2, move || {
            let channel = Channel::new(capacity);
            let (record, receiving) = {
                let channel = channel.clone();
                start(move || opened(channel.recv_in_time()))
            };
            let sending = {
                let channel = channel.clone();
                thread::spawn(move || channel.try_send(Parcel::new(7)).is_ok())
            };
            record.expire();
            let sent = sending.join().unwrap();
            let received = receiving.join().unwrap().unwrap();
            match received {
                Ok(n) => assert_eq!((sent, n), (true, 7)),
                Err(lost) => {
                    assert!(lost == Lost::Empty);
                    let left = drain(&channel);
                    assert_eq!(left, if sent { vec![7] } else { vec![] });
                }
            }
        });
    }
}

/// A sender's time is over while its message may be taken: one outcome, the same for both.
#[test]
fn a_late_sender_has_sent_or_not() {
    check(2, || {
        let channel = Channel::new(0);
        let (record, sending) = {
            let channel = channel.clone();
            start(move || channel.send_in_time(Parcel::new(7)).map_err(Parcel::open))
        };
        let receiving = {
            let channel = channel.clone();
            thread::spawn(move || opened(channel.try_recv()).ok())
        };
        record.expire();
        let sent = sending.join().unwrap().unwrap();
        match receiving.join().unwrap() {
            Some(n) => assert_eq!((n, sent), (7, Ok(()))),
            None => assert_eq!(sent, Err(7)),
        }
        assert_eq!(drain(&channel), []);
    });
}

/// The last sender goes after its message: that is received, and then the end.
#[test]
fn the_end_comes_after_the_last_message() {
    check(2, || {
        let channel = Channel::new(1);
        let (_, receiving) = {
            let channel = channel.clone();
            start(move || [(), ()].map(|()| opened(channel.recv())))
        };
        let sending = {
            let channel = channel.clone();
            thread::spawn(move || {
                assert!(channel.try_send(Parcel::new(7)).is_ok());
                channel.drop_sender();
            })
        };
        sending.join().unwrap();
        let [first, second] = receiving.join().unwrap().unwrap();
        assert_eq!(first.ok(), Some(7));
        assert!(second == Err(Lost::Disconnected));
    });
}

/// The last receiver goes while a sender waits, or is about to: it gets its message back, or that is dropped unread.
#[test]
fn a_sender_notices_that_the_last_receiver_goes() {
    check(2, || {
        let channel = Channel::new(0);
        let (_, sending) = {
            let channel = channel.clone();
            start(move || channel.send(Parcel::new(7)).map_err(Parcel::open))
        };
        channel.drop_receiver();
        assert_eq!(sending.join().unwrap().unwrap(), Err(7));
    });
}

/// Two last clones go at once: one of them tells the other side.
#[test]
fn of_two_last_clones_one_tells() {
    check(2, || {
        let channel = Channel::new(1);
        channel.add_sender();
        let (_, receiving) = {
            let channel = channel.clone();
            start(move || opened(channel.recv()))
        };
        let dropping = {
            let channel = channel.clone();
            thread::spawn(move || channel.drop_sender())
        };
        channel.drop_sender();
        dropping.join().unwrap();
        assert!(receiving.join().unwrap().unwrap() == Err(Lost::Disconnected));
    });
}

const AGES: Duration = Duration::from_secs(1);

/// A oneshot's message reaches whoever waits for it, or comes.
#[test]
fn a_oneshot_arrives() {
    check(3, || {
        let (sender, receiver) = oneshot();
        let (_, receiving) = start(move || receiver.recv().map(Parcel::open));
        assert!(sender.send(Parcel::new(7)).is_ok());
        assert_eq!(receiving.join().unwrap(), Ok(Ok(7)));
    });
}

/// A oneshot's sender goes without a message.
#[test]
fn a_oneshots_end_is_noticed() {
    check(3, || {
        let (sender, receiver) = oneshot::<Parcel>();
        let (_, receiving) = start(move || receiver.recv().map(Parcel::open));
        drop(sender);
        assert_eq!(receiving.join().unwrap(), Ok(Err(RecvError)));
    });
}

/// A oneshot's receiver goes: who waits for that goes on, and has its message back.
#[test]
fn a_oneshots_sender_notices_the_end() {
    check(3, || {
        let (sender, receiver) = oneshot::<Parcel>();
        let (_, sending) = start(move || {
            sender.closed();
            sender.send(Parcel::new(7)).map_err(Parcel::open)
        });
        drop(receiver);
        assert_eq!(sending.join().unwrap(), Ok(Err(7)));
    });
}

/// A wait for a oneshot that is cut short, by its time or a cancellation, leaves the message.
#[test]
fn an_interrupted_wait_leaves_the_oneshot() {
    for cancels in [false, true] {
        check(3, move || {
            let (sender, receiver) = oneshot();
            let receiver = Arc::new(receiver);
            let (record, waiting) = {
                let receiver = receiver.clone();
                start(move || wait_in_time(&receiver))
            };
            let sending = thread::spawn(move || sender.send(Parcel::new(7)).is_ok());
            match cancels {
                true => record.cancel(),
                false => record.expire(),
            }
            let received = waiting.join().unwrap();
            assert!(sending.join().unwrap());
            if received != Ok(Ok(7)) {
                assert!(matches!(
                    received,
                    Err(Cancelled) | Ok(Err(RecvTimeoutError::Timeout))
                ));
                assert_eq!(receiver.try_recv().map(Parcel::open), Ok(7));
            }
        });
    }
}

fn wait_in_time(receiver: &oneshot::Receiver<Parcel>) -> Result<u32, RecvTimeoutError> {
    receiver.recv_timeout(AGES).map(Parcel::open)
}
