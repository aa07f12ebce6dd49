//! The receiving half, and its iterators.

use core::cell::Cell;
use core::fmt;
use core::marker::PhantomData;
use std::time::Duration;

use super::{RecvError, RecvTimeoutError, TryRecvError};
use crate::sync::channel;

/// The receiving half of [`channel()`](super::channel()) or [`sync_channel`](super::sync_channel). There is one, and it cannot be shared
/// between threads, only sent.
///
/// ```compile_fail,E0277
/// fn shared<T: Sync>(_: T) {}
/// shared(withy_runtime::sync::mpsc::channel::<u8>().1);
/// ```
///
/// ```compile_fail,E0277
/// fn sent<T: Send>(_: T) {}
/// sent(withy_runtime::sync::mpsc::channel::<*const u8>().1);
/// ```
pub struct Receiver<T> {
    inner: channel::Receiver<T>,
    not_sync: PhantomData<Cell<()>>,
}

impl<T> core::panic::RefUnwindSafe for Receiver<T> {}

impl<T> Receiver<T> {
    pub(super) fn new(inner: channel::Receiver<T>) -> Receiver<T> {
        Receiver {
            inner,
            not_sync: PhantomData,
        }
    }

    /// Waits for a message.
    ///
    /// # Cancellation
    /// A blocking call: it unwinds if the coroutine is cancelled, or a [`timeout`](crate::timeout) around it elapses. A message that comes
    /// at that very moment stays in the channel, before those that came later.
    ///
    /// # Errors
    /// If there is none, and no sender is left.
    ///
    /// # Panics
    /// Inside [`no_park`](crate::no_park), if it would have to wait.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::{spawn, sync::mpsc::{RecvError, channel}};
    ///
    /// let (sender, receiver) = channel();
    /// spawn(move || sender.send(1).unwrap());
    /// assert_eq!(receiver.recv(), Ok(1));
    /// assert_eq!(receiver.recv(), Err(RecvError));
    /// ```
    #[inline]
    pub fn recv(&self) -> Result<T, RecvError> {
        self.inner.recv().map_err(RecvError::from)
    }

    /// Takes a message if there is one, or at a rendezvous a sender that waits. It does not unwind.
    ///
    /// # Errors
    /// If there is none; the error tells whether a sender is left.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::sync::mpsc::{TryRecvError, channel};
    ///
    /// let (sender, receiver) = channel();
    /// assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    /// sender.send(1).unwrap();
    /// drop(sender);
    /// assert_eq!(receiver.try_recv(), Ok(1));
    /// assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
    /// ```
    #[inline]
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.inner.try_recv().map_err(TryRecvError::from)
    }

    /// [`recv`](Receiver::recv) that waits for `timeout` at most. A message that is there counts, also with a timeout of zero; one of
    /// more than 500 years has no end.
    ///
    /// # Cancellation
    /// As [`recv`](Receiver::recv).
    ///
    /// # Errors
    /// If no message came in time, or there is none and no sender is left.
    ///
    /// # Panics
    /// As [`recv`](Receiver::recv).
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use withy_runtime::sync::mpsc::{RecvTimeoutError, channel};
    ///
    /// let (sender, receiver) = channel();
    /// let in_time = Duration::from_millis(2);
    /// assert_eq!(receiver.recv_timeout(in_time), Err(RecvTimeoutError::Timeout));
    /// sender.send(1).unwrap();
    /// assert_eq!(receiver.recv_timeout(in_time), Ok(1));
    /// ```
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.inner
            .recv_timeout(timeout)
            .map_err(RecvTimeoutError::from)
    }

    /// The messages, one after another as they come, until no sender is left. Its `next` waits as [`recv`](Receiver::recv) does.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::{spawn, sync::mpsc::channel};
    ///
    /// let (sender, receiver) = channel();
    /// spawn(move || (0..3).for_each(|n| sender.send(n).unwrap()));
    /// assert_eq!(receiver.iter().collect::<Vec<_>>(), [0, 1, 2]);
    /// ```
    pub fn iter(&self) -> Iter<'_, T> {
        Iter { receiver: self }
    }

    /// The messages that are there, without waiting for more.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::sync::mpsc::channel;
    ///
    /// let (sender, receiver) = channel();
    /// sender.send(1).unwrap();
    /// sender.send(2).unwrap();
    /// assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [1, 2]);
    /// ```
    pub fn try_iter(&self) -> TryIter<'_, T> {
        TryIter { receiver: self }
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").finish_non_exhaustive()
    }
}

/// [`Receiver::iter`].
pub struct Iter<'a, T> {
    receiver: &'a Receiver<T>,
}

/// [`Receiver::try_iter`].
pub struct TryIter<'a, T> {
    receiver: &'a Receiver<T>,
}

/// The messages of a receiver that it owns, as [`Receiver::iter`] gives them.
pub struct IntoIter<T> {
    receiver: Receiver<T>,
}

impl<T> Iterator for Iter<'_, T> {
    type Item = T;

    /// [`Receiver::recv`].
    ///
    /// # Cancellation
    /// As [`Receiver::recv`].
    ///
    /// # Panics
    /// As [`Receiver::recv`].
    fn next(&mut self) -> Option<T> {
        self.receiver.recv().ok()
    }
}

impl<T> Iterator for TryIter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.receiver.try_recv().ok()
    }
}

impl<T> Iterator for IntoIter<T> {
    type Item = T;

    /// [`Receiver::recv`].
    ///
    /// # Cancellation
    /// As [`Receiver::recv`].
    ///
    /// # Panics
    /// As [`Receiver::recv`].
    fn next(&mut self) -> Option<T> {
        self.receiver.recv().ok()
    }
}

impl<'a, T> IntoIterator for &'a Receiver<T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

impl<T> IntoIterator for Receiver<T> {
    type Item = T;
    type IntoIter = IntoIter<T>;

    fn into_iter(self) -> IntoIter<T> {
        IntoIter { receiver: self }
    }
}

impl<T> fmt::Debug for Iter<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iter").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for TryIter<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TryIter").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for IntoIter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntoIter").finish_non_exhaustive()
    }
}
