//! The sending half, and the ways to make a channel.

use core::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::sync::channel::exchange::{Exchange, Unsent};
use crate::sync::channel::{Receiver, SendError, SendTimeoutError, TrySendError};
use crate::time::{self, Moment};

/// The sending half of a channel. Clones send to the same channel.
pub struct Sender<T> {
    exchange: Arc<Exchange<T>>,
}

impl<T> core::panic::UnwindSafe for Sender<T> {}
impl<T> core::panic::RefUnwindSafe for Sender<T> {}

/// A channel that holds `capacity` messages at most; senders wait while it is full. With 0 it is a *rendezvous*: a send and a receive
/// wait for each other.
///
/// Room for the messages is taken as they come (up to 32 KiB or 16 messages at once), so that a huge capacity, up to [`usize::MAX`], costs
/// nothing by itself; that one is no limit.
///
/// # Examples
/// ```
/// use withy_runtime::{spawn, sync::channel::bounded};
///
/// let (sender, receiver) = bounded(8);
/// let producer = spawn(move || (0..100).for_each(|n| sender.send(n).unwrap()));
/// assert_eq!(receiver.iter().sum::<i32>(), 4950);
/// producer.join().unwrap();
/// ```
#[must_use]
pub fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    halves(Exchange::new(capacity, capacity))
}

/// A channel that holds any number of messages; no send waits.
///
/// # Examples
/// ```
/// let (sender, receiver) = withy_runtime::sync::channel::unbounded();
/// sender.send("hello").unwrap();
/// drop(sender);
/// assert_eq!(receiver.recv(), Ok("hello"));
/// assert!(receiver.recv().is_err());
/// ```
#[must_use]
pub fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    halves(Exchange::new(usize::MAX, 0))
}

fn halves<T>(exchange: Exchange<T>) -> (Sender<T>, Receiver<T>) {
    let exchange = Arc::new(exchange);
    (
        Sender {
            exchange: exchange.clone(),
        },
        Receiver::new(exchange),
    )
}

impl<T> Sender<T> {
    pub(in crate::sync) fn exchange(&self) -> &Exchange<T> {
        &self.exchange
    }

    /// Sends a message, and waits until there is room for it, at a rendezvous until a receiver takes it.
    ///
    /// # Cancellation
    /// A blocking call: it unwinds if the coroutine is cancelled, or a [`timeout`](crate::timeout) around it elapses. The message is dropped
    /// then, unless a receiver has got it at that very moment.
    ///
    /// # Errors
    /// With the message, if no receiver is left.
    ///
    /// # Panics
    /// Inside [`no_park`](crate::no_park), if it would have to wait.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::sync::channel::{SendError, bounded};
    ///
    /// let (sender, receiver) = bounded(1);
    /// sender.send(1).unwrap();
    /// drop(receiver);
    /// assert_eq!(sender.send(2), Err(SendError(2)));
    /// ```
    #[inline]
    pub fn send(&self, message: T) -> Result<(), SendError<T>> {
        match self.exchange.send(message, Moment::NEVER) {
            Ok(()) => Ok(()),
            Err(Unsent::Disconnected(message) | Unsent::Full(message)) => Err(SendError(message)),
        }
    }

    /// Sends a message if that need not wait. It does not unwind.
    ///
    /// # Errors
    /// With the message, if there is no room, at a rendezvous if no receiver waits, or if none is left.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::sync::channel::{TrySendError, bounded};
    ///
    /// let (sender, _receiver) = bounded(1);
    /// sender.try_send(1).unwrap();
    /// assert_eq!(sender.try_send(2), Err(TrySendError::Full(2)));
    /// ```
    #[inline]
    pub fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
        self.exchange
            .try_send(message)
            .map_err(|unsent| match unsent {
                Unsent::Full(message) => TrySendError::Full(message),
                Unsent::Disconnected(message) => TrySendError::Disconnected(message),
            })
    }

    /// [`send`](Sender::send) that waits for `timeout` at most.
    ///
    /// # Cancellation
    /// As [`send`](Sender::send).
    ///
    /// # Errors
    /// With the message, if there was no room in time, or no receiver is left.
    ///
    /// # Panics
    /// As [`send`](Sender::send).
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use withy_runtime::sync::channel::{SendTimeoutError, bounded};
    ///
    /// let (sender, _receiver) = bounded(0);
    /// let sent = sender.send_timeout(1, Duration::from_millis(2));
    /// assert_eq!(sent, Err(SendTimeoutError::Timeout(1)));
    /// ```
    pub fn send_timeout(&self, message: T, timeout: Duration) -> Result<(), SendTimeoutError<T>> {
        self.send_until(message, time::moment().after(timeout))
    }

    /// [`send`](Sender::send) that waits until `deadline` at most.
    ///
    /// # Cancellation
    /// As [`send`](Sender::send).
    ///
    /// # Errors
    /// With the message, if there was no room in time, or no receiver is left.
    ///
    /// # Panics
    /// As [`send`](Sender::send).
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::{now, sync::channel::bounded};
    ///
    /// let (sender, receiver) = bounded(1);
    /// // It has passed, but there is room.
    /// sender.send_deadline(1, now()).unwrap();
    /// assert_eq!(receiver.recv(), Ok(1));
    /// ```
    pub fn send_deadline(&self, message: T, deadline: Instant) -> Result<(), SendTimeoutError<T>> {
        self.send_until(message, Moment::from(deadline))
    }

    fn send_until(&self, message: T, deadline: Moment) -> Result<(), SendTimeoutError<T>> {
        self.exchange
            .send(message, deadline)
            .map_err(|unsent| match unsent {
                Unsent::Full(message) => SendTimeoutError::Timeout(message),
                Unsent::Disconnected(message) => SendTimeoutError::Disconnected(message),
            })
    }

    /// Whether no message lies in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is no room in it. Always so for a rendezvous.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.exchange.is_full()
    }

    /// The messages in it.
    ///
    /// # Examples
    /// ```
    /// let (sender, _receiver) = withy_runtime::sync::channel::bounded(1);
    /// sender.send(1).unwrap();
    /// assert_eq!((sender.len(), sender.is_empty(), sender.is_full()), (1, false, true));
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.exchange.len()
    }

    /// The most messages that it holds; `None` without a limit.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::sync::channel::{bounded, unbounded};
    ///
    /// assert_eq!(bounded::<u32>(8).0.capacity(), Some(8));
    /// assert_eq!(unbounded::<u32>().0.capacity(), None);
    /// ```
    #[must_use]
    pub fn capacity(&self) -> Option<usize> {
        self.exchange.capacity()
    }

    /// Whether both send to the same channel.
    ///
    /// # Examples
    /// ```
    /// let (sender, _receiver) = withy_runtime::sync::channel::unbounded::<u32>();
    /// assert!(sender.same_channel(&sender.clone()));
    /// ```
    #[must_use]
    pub fn same_channel(&self, other: &Sender<T>) -> bool {
        Arc::ptr_eq(&self.exchange, &other.exchange)
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        self.exchange.add_sender();
        Sender {
            exchange: self.exchange.clone(),
        }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.exchange.drop_sender();
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Sender { .. }")
    }
}
