//! Channels with one receiver: [`std::sync::mpsc`] for coroutines and plain threads alike.
//!
//! Names, signatures and meaning are std's, the error types are std's own; what differs is said where it does. Inside they are the
//! [channels](crate::sync::channel) of crossbeam-channel's sort, which have more: receivers to clone, timeouts for sending, select.
//!
//! # Examples
//! ```
//! use withy_runtime::spawn;
//! use withy_runtime::sync::mpsc;
//!
//! let (sender, receiver) = mpsc::channel();
//! for n in 0..10 {
//!     let sender = sender.clone();
//!     spawn(move || sender.send(n).unwrap());
//! }
//! drop(sender);
//! assert_eq!(receiver.iter().sum::<i32>(), 45);
//! ```

use core::fmt;
pub use std::sync::mpsc::{RecvError, RecvTimeoutError, SendError, TryRecvError, TrySendError};

use crate::sync::channel;

mod receiver;

pub use receiver::{IntoIter, Iter, Receiver, TryIter};

/// The sending half of [`channel()`]. Clones send to the same receiver.
pub struct Sender<T> {
    inner: channel::Sender<T>,
}

/// The sending half of [`sync_channel`]. Clones send to the same receiver.
pub struct SyncSender<T> {
    inner: channel::Sender<T>,
}

/// A channel that holds any number of messages; no send waits for room.
///
/// # Examples
/// ```
/// use withy_runtime::{spawn, sync::mpsc::channel};
///
/// let (sender, receiver) = channel();
/// spawn(move || sender.send(6 * 7).unwrap());
/// assert_eq!(receiver.recv(), Ok(42));
/// ```
#[must_use]
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let (inner, receiver) = channel::unbounded();
    (Sender { inner }, Receiver::new(receiver))
}

/// A channel that holds `bound` messages at most; a send waits while it is full. With 0 it is a *rendezvous*: each send waits
/// until its message is received.
///
/// Unlike std's it takes room for the messages as they come, so that any bound up to [`usize::MAX`] is possible.
///
/// # Examples
/// ```
/// use withy_runtime::{spawn, sync::mpsc::sync_channel};
///
/// let (sender, receiver) = sync_channel(0);
/// let sending = spawn(move || sender.send("met")); // waits for the receiver
/// assert_eq!(receiver.recv(), Ok("met"));
/// assert_eq!(sending.join().unwrap(), Ok(()));
/// ```
#[must_use]
pub fn sync_channel<T>(bound: usize) -> (SyncSender<T>, Receiver<T>) {
    let (inner, receiver) = channel::bounded(bound);
    (SyncSender { inner }, Receiver::new(receiver))
}

impl<T> Sender<T> {
    /// Sends a message. It never waits for the receiver; that it gives `Ok` does not mean that the message will be received.
    ///
    /// # Cancellation
    /// A coroutine that sends again and again lets others run now and then. If it is cancelled it unwinds there, before it has sent.
    ///
    /// # Errors
    /// With the message, if the receiver is gone.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::sync::mpsc::{SendError, channel};
    ///
    /// let (sender, receiver) = channel();
    /// sender.send(1).unwrap();
    /// drop(receiver);
    /// assert_eq!(sender.send(2), Err(SendError(2)));
    /// ```
    #[inline]
    pub fn send(&self, message: T) -> Result<(), SendError<T>> {
        self.inner.send(message).map_err(SendError::from)
    }
}

impl<T> SyncSender<T> {
    /// Sends a message, and waits until there is room for it; with a bound of 0, until it is received.
    ///
    /// # Cancellation
    /// A blocking call: it unwinds if the coroutine is cancelled, or a [`timeout`](crate::timeout) around it elapses. The message is dropped
    /// then, unless the receiver has got it at that very moment.
    ///
    /// # Errors
    /// With the message, if the receiver is gone.
    ///
    /// # Panics
    /// Inside [`no_park`](crate::no_park), if it would have to wait.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::{spawn, sync::mpsc::sync_channel};
    ///
    /// let (sender, receiver) = sync_channel(1);
    /// sender.send(1).unwrap();
    /// let second = spawn(move || sender.send(2).unwrap()); // waits until the first has been received
    /// assert_eq!((receiver.recv(), receiver.recv()), (Ok(1), Ok(2)));
    /// # second.join().unwrap();
    /// ```
    #[inline]
    pub fn send(&self, message: T) -> Result<(), SendError<T>> {
        self.inner.send(message).map_err(SendError::from)
    }

    /// Sends a message if that need not wait. It does not unwind.
    ///
    /// # Errors
    /// With the message: `Full` if there is no room, or with a bound of 0 no receiver that waits; `Disconnected` if the receiver is gone.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::sync::mpsc::{TrySendError, sync_channel};
    ///
    /// let (sender, receiver) = sync_channel(1);
    /// sender.try_send(1).unwrap();
    /// assert_eq!(sender.try_send(2), Err(TrySendError::Full(2)));
    /// drop(receiver);
    /// assert_eq!(sender.try_send(3), Err(TrySendError::Disconnected(3)));
    /// ```
    #[inline]
    pub fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
        self.inner.try_send(message).map_err(TrySendError::from)
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        Sender {
            inner: self.inner.clone(),
        }
    }
}

impl<T> Clone for SyncSender<T> {
    fn clone(&self) -> SyncSender<T> {
        SyncSender {
            inner: self.inner.clone(),
        }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for SyncSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SyncSender").finish_non_exhaustive()
    }
}

/// std's bounds.
const _: () = {
    const fn shared<T: Send + Sync>() {}
    const fn sent<T: Send>() {}
    shared::<Sender<core::cell::Cell<u8>>>();
    shared::<SyncSender<core::cell::Cell<u8>>>();
    sent::<Receiver<core::cell::Cell<u8>>>();
    sent::<IntoIter<core::cell::Cell<u8>>>();
};
