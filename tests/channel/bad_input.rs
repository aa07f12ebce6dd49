//! Channels with odd capacities, messages, times and callers.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use withy::no_park;
use withy::sync::channel::{
    Receiver, RecvTimeoutError, SendTimeoutError, Sender, TryRecvError, TrySendError, bounded,
    broadcast, oneshot, unbounded, watch,
};
use withy::sync::mpsc;

use super::parcels::{CAPACITIES, MS, channel_of};
use crate::support::{LIMIT, within};

/// Any capacity is possible: room is taken as messages come.
#[test]
fn a_huge_capacity_costs_nothing_by_itself() {
    for capacity in [usize::MAX, usize::MAX - 1, isize::MAX as usize, 1 << 40] {
        let (sender, receiver) = bounded(capacity);
        (0..1000_u64).for_each(|n| sender.try_send(n).unwrap());
        assert!(receiver.try_iter().eq(0..1000));
        assert!(!sender.is_full());
        let (sender, receiver) = mpsc::sync_channel(capacity);
        sender.try_send([0_u8; 4096]).unwrap();
        assert!(receiver.recv().is_ok());
    }
    // As much as there may be is no limit.
    assert_eq!(bounded::<u8>(usize::MAX).0.capacity(), None);
    assert_eq!(bounded::<u8>(1 << 40).0.capacity(), Some(1 << 40));
}

/// Messages without a size, as many as one likes, and ones that are larger than a chunk of the buffer.
#[test]
fn messages_of_any_size_pass() {
    for capacity in [Some(0), Some(3), Some(100_000), None] {
        within(LIMIT, "messages of any size", || {
            passes(capacity, 70_000, |_| ());
            passes(capacity, 20, |n| [n as u8; 10_000]);
            passes(capacity, 5000, |n| [n; 13]);
        });
    }
}

fn passes<T: PartialEq + Send + 'static>(
    capacity: Option<usize>,
    count: usize,
    make: fn(usize) -> T,
) {
    let (sender, receiver) = channel_of(capacity);
    let sending = std::thread::spawn(move || {
        (0..count).for_each(|n| assert!(sender.send(make(n)).is_ok()));
    });
    let mut received = 0;
    for message in receiver {
        assert!(message == make(received));
        received += 1;
    }
    assert_eq!(received, count);
    sending.join().unwrap();
}

/// Times that have passed, that are now, and that are beyond all clocks.
#[test]
fn any_time_is_a_limit() {
    let start = Instant::now();
    let past = start.checked_sub(Duration::from_secs(60)).unwrap_or(start);
    for capacity in CAPACITIES {
        within(LIMIT, "odd limits", || {
            let (sender, receiver) = channel_of::<u8>(capacity);
            for deadline in [past, start] {
                let received = receiver.recv_deadline(deadline);
                assert_eq!(received, Err(RecvTimeoutError::Timeout));
            }
            for timeout in [Duration::ZERO, Duration::from_nanos(1)] {
                let received = receiver.recv_timeout(timeout);
                assert_eq!(received, Err(RecvTimeoutError::Timeout));
            }
            while sender.try_send(1).is_ok() && sender.len() < 10 {}
            if capacity.is_some() {
                let sent = sender.send_deadline(2, past);
                assert_eq!(sent, Err(SendTimeoutError::Timeout(2)));
                let sent = sender.send_timeout(2, Duration::ZERO);
                assert_eq!(sent, Err(SendTimeoutError::Timeout(2)));
            } else {
                assert_eq!(sender.send_deadline(2, past), Ok(()));
            }
            if capacity != Some(0) {
                assert_eq!(receiver.recv_deadline(past), Ok(1));
            }
            drop(sender);
            assert!(receiver.iter().count() < 11);
            let received = receiver.recv_timeout(Duration::MAX);
            assert_eq!(received, Err(RecvTimeoutError::Disconnected));
        });
    }
}

/// Where parking is forbidden what need not wait works, and what must panics and leaves the channel in order.
#[test]
fn no_park_refuses_to_wait_and_loses_nothing() {
    withy::run(|| {
        let (sender, receiver) = bounded(1);
        no_park(|| {
            sender.send(1).unwrap();
            assert_eq!(receiver.recv(), Ok(1));
            assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        });
        let refused = catch_unwind(AssertUnwindSafe(|| no_park(|| receiver.recv())));
        assert!(refused.is_err());
        sender.send(2).unwrap();
        let refused = catch_unwind(AssertUnwindSafe(|| no_park(|| sender.send(3))));
        assert!(refused.is_err());
        assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [2]);
    });
}

/// A panic while a coroutine waits in a destructor, or with the ends of a channel in its hands.
#[test]
fn channels_work_in_destructors_while_a_panic_unwinds() {
    struct Asks(Sender<u32>, Receiver<u32>);
    impl Drop for Asks {
        fn drop(&mut self) {
            self.0.send(1).unwrap();
            assert_eq!(self.1.recv(), Ok(2));
        }
    }
    within(LIMIT, "a channel in a destructor", || {
        let (question, asked) = bounded(0);
        let (answer, answered) = bounded(0);
        let panicking = withy::spawn(move || {
            let _asks = Asks(question, answered);
            std::panic::resume_unwind(Box::new("a panic without a word"));
        });
        assert_eq!(asked.recv(), Ok(1));
        answer.send(2).unwrap();
        assert!(panicking.join().is_err());
        // It has dropped its ends.
        assert!(asked.recv().is_err() && answer.send(3).is_err());
    });
}

/// Neither `Debug` nor anything else asks for more than the messages have.
#[test]
fn debug_asks_nothing_of_the_messages() {
    struct Plain;
    let (sender, receiver) = unbounded::<Plain>();
    assert_eq!(format!("{sender:?}"), "Sender { .. }");
    assert_eq!(format!("{receiver:?}"), "Receiver { .. }");
    assert_eq!(format!("{:?}", receiver.iter()), "Iter { .. }");
    assert_eq!(format!("{:?}", receiver.try_iter()), "TryIter { .. }");
    assert_eq!(format!("{:?}", receiver.into_iter()), "IntoIter { .. }");
    let (sender, receiver) = mpsc::sync_channel::<Plain>(0);
    assert_eq!(format!("{sender:?}"), "SyncSender { .. }");
    assert_eq!(format!("{receiver:?}"), "Receiver { .. }");
    assert_eq!(format!("{:?}", receiver.into_iter()), "IntoIter { .. }");
    assert_eq!(format!("{:?}", oneshot::<Plain>().0), "Sender { .. }");
    assert_eq!(format!("{:?}", watch(Plain).1), "Receiver { .. }");
    assert_eq!(format!("{:?}", broadcast::<u8>(1).1), "Receiver { .. }");
}

/// What is `Send` but not `Sync` passes between threads; what borrows passes within a scope.
#[test]
fn messages_need_not_be_shared_nor_static() {
    let texts = [String::from("borrowed")];
    let (sender, receiver) = bounded(1);
    withy::scope(|s| {
        s.spawn(|| sender.send(RefCell::new(texts[0].as_str())).unwrap());
        assert_eq!(receiver.recv().unwrap().into_inner(), "borrowed");
    });
}

/// As crossbeam-channel's suite asks: destructors of thread-locals may still use channels.
#[test]
fn channels_work_while_a_thread_ends() {
    thread_local! {
        static LATE: Late = const { Late };
    }
    struct Late;
    impl Drop for Late {
        fn drop(&mut self) {
            let (_sender, receiver) = unbounded::<()>();
            assert!(receiver.recv_timeout(MS).is_err());
        }
    }
    within(LIMIT, "a thread that ends", || {
        let (sender, receiver) = unbounded();
        let thread = std::thread::spawn(move || {
            LATE.with(|_| ());
            receiver.recv().unwrap();
        });
        sender.send(()).unwrap();
        thread.join().unwrap();
    });
}

/// A full channel says so and gives the message back, again and again.
#[test]
fn a_full_channel_gives_messages_back() {
    let (sender, _receiver) = bounded(1);
    sender.send(String::from("first")).unwrap();
    let mut message = String::from("second");
    for _ in 0..100 {
        let Err(TrySendError::Full(back)) = sender.try_send(message) else {
            panic!("it was full");
        };
        message = back;
    }
    assert_eq!(message, "second");
}

/// A broadcast needs room for a message.
#[test]
#[should_panic(expected = "needs room for one message at least")]
fn a_broadcast_without_room_is_refused() {
    let _ = broadcast::<u8>(0);
}
