//! A channel whose receivers get every message each.
//!
//! The last messages lie in a ring. Each receiver has a number: that of the message that it gets next. A message knows how many receivers
//! still want it, and leaves the ring with the last of them, or to make room for a newer one. It lies in an `Arc`, so that
//! under the lock no more than a count changes: cloning, a user's code, comes after.
//!
//! # What holds whenever the lock is free
//! * The message of number n wants as many receivers as there are that had subscribed when it was sent, and whose number is n or
//!   less. So of two messages the younger wants no fewer of those that the older still wants: it is the oldest that nobody wants first.
//! * There are not more than `capacity`.

mod error;
mod receiver;

use core::fmt;
use std::sync::Arc;

use crate::sync::channel::SendError;
use crate::sync::channel::buffer::Buffer;
use crate::sync::tally::Tally;
use crate::sync::waiters::{self, Guarded};

pub use error::{RecvError, RecvTimeoutError, TryRecvError};
pub use receiver::Receiver;

/// The sending half. Clones send to the same receivers.
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    guarded: Guarded<State<T>, ()>,
    tally: Tally,
}

type Access<'a, T> = waiters::Access<'a, State<T>, ()>;

const RECEIVERS: usize = 0;

struct State<T> {
    ring: Buffer<Entry<T>>,
    capacity: usize,
    /// Of the oldest in the ring.
    first: u64,
    senders: usize,
    receivers: usize,
}

struct Entry<T> {
    message: Arc<T>,
    /// The receivers that still want it.
    wanted: usize,
}

impl<T> State<T> {
    /// The number of the message that is sent next.
    fn next(&self) -> u64 {
        self.first + self.ring.len() as u64
    }

    /// The oldest message, out of the ring.
    fn pop(&mut self) -> Option<Arc<T>> {
        let entry = self.ring.pop()?;
        self.first += 1;
        Some(entry.message)
    }
}

/// A channel whose receivers get each message that is sent after they subscribed; the last `capacity` of them at least, a receiver
/// that is slower loses the oldest, and is told how many.
///
/// Room is taken as messages come; [`usize::MAX`] is no limit, then a receiver that does not receive makes the channel grow.
///
/// A message is cloned for each receiver but the last. The clones may be made at the same time on several threads, so what is not `Sync`
/// cannot be sent between threads.
///
/// # Panics
/// If `capacity` is 0: there would be no message to receive.
///
/// # Examples
/// ```
/// use withy_runtime::sync::channel::broadcast;
///
/// let (sender, mut first) = broadcast(16);
/// sender.send("to one").unwrap();
/// let mut second = sender.subscribe();
/// sender.send("to both").unwrap();
/// assert_eq!(first.recv(), Ok("to one"));
/// assert_eq!(first.recv(), Ok("to both"));
/// assert_eq!(second.recv(), Ok("to both"));
/// ```
#[must_use]
pub fn broadcast<T: Clone>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(
        capacity > 0,
        "a broadcast channel was asked for with capacity 0; it needs room for one message at least"
    );
    let shared = Arc::new(Shared {
        guarded: Guarded::new(State {
            ring: Buffer::with_room(0),
            capacity,
            first: 0,
            senders: 1,
            receivers: 1,
        }),
        tally: Tally::new(),
    });
    let receiver = Receiver::new(shared.clone(), 0);
    (Sender { shared }, receiver)
}

impl<T> Sender<T> {
    /// Sends a message to all receivers; says how many they are. It never waits: what a receiver has not received in time makes room.
    ///
    /// # Cancellation
    /// A coroutine that sends again and again lets others run now and then. If it is cancelled it unwinds there, before it has sent.
    ///
    /// # Errors
    /// With the message, if there is no receiver. There may be one again later.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::sync::channel::{SendError, broadcast};
    ///
    /// let (sender, receiver) = broadcast(16);
    /// assert_eq!(sender.send(1), Ok(1));
    /// drop(receiver);
    /// assert_eq!(sender.send(2), Err(SendError(2)));
    /// ```
    pub fn send(&self, message: T) -> Result<usize, SendError<T>> {
        self.shared.tally.count();
        let message = Arc::new(message);
        let (sent, oldest) = self.shared.guarded.with(|access| put(access, message));
        // Outside the lock: it is a user's.
        drop(oldest);
        sent.map_err(|message| SendError(only(message)))
    }

    /// A receiver of the messages that are sent from now on.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::sync::channel::broadcast;
    ///
    /// let (sender, first) = broadcast(16);
    /// sender.send(1).unwrap();
    /// let mut second = sender.subscribe();
    /// sender.send(2).unwrap();
    /// assert_eq!((first.len(), second.recv()), (2, Ok(2)));
    /// ```
    #[must_use]
    pub fn subscribe(&self) -> Receiver<T> {
        Receiver::subscribed(&self.shared)
    }

    /// How many receivers there are.
    #[must_use]
    pub fn receiver_count(&self) -> usize {
        self.shared.guarded.with(|access| access.state.receivers)
    }

    /// Whether both send to the same channel.
    #[must_use]
    pub fn same_channel(&self, other: &Sender<T>) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

/// Puts a message into the ring: how many receivers it has, or itself; and the one that had to make room.
fn put<T>(access: &mut Access<'_, T>, message: Arc<T>) -> (Result<usize, Arc<T>>, Option<Arc<T>>) {
    let state = &mut *access.state;
    let receivers = state.receivers;
    if receivers == 0 {
        return (Err(message), None);
    }
    let oldest = match state.ring.len() == state.capacity {
        true => state.pop(),
        false => None,
    };
    state.ring.push(Entry {
        message,
        wanted: receivers,
    });
    access.wake_all(RECEIVERS, |()| {});
    (Ok(receivers), oldest)
}

fn only<T>(message: Arc<T>) -> T {
    Arc::into_inner(message).expect("nobody else has got it")
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        self.shared.guarded.with(|access| access.state.senders += 1);
        Sender {
            shared: self.shared.clone(),
        }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.shared.guarded.with(|access| {
            access.state.senders -= 1;
            if access.state.senders == 0 {
                access.wake_all(RECEIVERS, |()| {});
            }
        });
    }
}

impl<T> core::panic::UnwindSafe for Sender<T> {}
impl<T> core::panic::RefUnwindSafe for Sender<T> {}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Sender { .. }")
    }
}
