//! The receiving half.

use core::fmt;
use core::iter::FusedIterator;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::sync::channel::exchange::{Exchange, Unreceived};
use crate::sync::channel::timed::{self, Timed};
use crate::sync::channel::{RecvError, RecvTimeoutError, TryRecvError};
use crate::time::{self, Moment};

/// The receiving half of a channel. Of several clones each message goes to one.
///
/// ```compile_fail,E0277
/// fn sent<T: Send>(_: T) {}
/// sent(withy_runtime::sync::channel::unbounded::<*const u8>());
/// ```
pub struct Receiver<T> {
    flavor: Flavor<T>,
}

/// Where the messages come from.
pub(super) enum Flavor<T> {
    /// From senders.
    Messages(Arc<Exchange<T>>),
    /// From the clock.
    Timed(Arc<dyn Timed<T>>),
}

impl<T> core::panic::UnwindSafe for Receiver<T> {}
impl<T> core::panic::RefUnwindSafe for Receiver<T> {}

impl<T> Receiver<T> {
    pub(super) fn new(exchange: Arc<Exchange<T>>) -> Receiver<T> {
        Receiver {
            flavor: Flavor::Messages(exchange),
        }
    }

    pub(super) fn timed(timed: Arc<dyn Timed<T>>) -> Receiver<T> {
        Receiver {
            flavor: Flavor::Timed(timed),
        }
    }

    pub(super) fn flavor(&self) -> &Flavor<T> {
        &self.flavor
    }

    /// By what channels are told apart.
    pub(in crate::sync) fn address(&self) -> usize {
        match &self.flavor {
            Flavor::Messages(exchange) => Arc::as_ptr(exchange).addr(),
            Flavor::Timed(timed) => Arc::as_ptr(timed).addr(),
        }
    }

    /// Waits for a message.
    ///
    /// # Cancellation
    /// A blocking call: it unwinds if the coroutine is cancelled, or a [`timeout`](crate::timeout) around it elapses. A message that comes
    /// at that very moment goes to the next receiver, or stays in the channel, before those that were sent later; also if the channel holds
    /// more than its capacity then. Messages that come to several receivers which unwind at that moment may change places.
    ///
    /// # Errors
    /// If there is none, and no sender is left.
    ///
    /// # Panics
    /// Inside [`no_park`](crate::no_park), if it would have to wait.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::{spawn, sync::channel::{RecvError, bounded}};
    ///
    /// let (sender, receiver) = bounded(1);
    /// spawn(move || sender.send(1).unwrap());
    /// assert_eq!(receiver.recv(), Ok(1));
    /// assert_eq!(receiver.recv(), Err(RecvError));
    /// ```
    #[inline]
    pub fn recv(&self) -> Result<T, RecvError> {
        self.take_until(Moment::NEVER).map_err(|_| RecvError)
    }

    /// Takes a message if there is one, or at a rendezvous a sender that waits. It does not unwind.
    ///
    /// It does not wait, but for one thing: a sender that waits at a rendezvous in a [`select!`](crate::select) makes its message when it is
    /// taken, and that is waited for.
    ///
    /// # Errors
    /// If there is none; the error tells whether a sender is left.
    ///
    /// # Panics
    /// Inside [`no_park`](crate::no_park), if it would have to wait for that.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::sync::channel::{TryRecvError, bounded};
    ///
    /// let (sender, receiver) = bounded(1);
    /// assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    /// sender.send(1).unwrap();
    /// assert_eq!(receiver.try_recv(), Ok(1));
    /// ```
    #[inline]
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        let taken = match &self.flavor {
            Flavor::Messages(exchange) => exchange.try_recv(),
            Flavor::Timed(timed) => timed::try_recv(&**timed),
        };
        taken.map_err(|unreceived| match unreceived {
            Unreceived::Empty => TryRecvError::Empty,
            Unreceived::Disconnected => TryRecvError::Disconnected,
        })
    }

    /// [`recv`](Receiver::recv) that waits for `timeout` at most.
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
    /// use withy_runtime::sync::channel::{RecvTimeoutError, bounded};
    ///
    /// let (_sender, receiver) = bounded::<u32>(1);
    /// let received = receiver.recv_timeout(Duration::from_millis(2));
    /// assert_eq!(received, Err(RecvTimeoutError::Timeout));
    /// ```
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.recv_until(time::moment().after(timeout))
    }

    /// [`recv`](Receiver::recv) that waits until `deadline` at most.
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
    /// use withy_runtime::{now, sync::channel::bounded};
    ///
    /// let (sender, receiver) = bounded(1);
    /// sender.send(1).unwrap();
    /// // It has passed, but the message is there.
    /// assert_eq!(receiver.recv_deadline(now()), Ok(1));
    /// ```
    pub fn recv_deadline(&self, deadline: Instant) -> Result<T, RecvTimeoutError> {
        self.recv_until(Moment::from(deadline))
    }

    fn recv_until(&self, deadline: Moment) -> Result<T, RecvTimeoutError> {
        self.take_until(deadline)
            .map_err(|unreceived| match unreceived {
                Unreceived::Empty => RecvTimeoutError::Timeout,
                Unreceived::Disconnected => RecvTimeoutError::Disconnected,
            })
    }

    #[inline]
    fn take_until(&self, deadline: Moment) -> Result<T, Unreceived> {
        match &self.flavor {
            Flavor::Messages(exchange) => exchange.recv(deadline),
            Flavor::Timed(timed) => timed::recv(&**timed, deadline),
        }
    }

    /// Whether no message lies in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is no room in it. Always so for a rendezvous.
    #[must_use]
    pub fn is_full(&self) -> bool {
        match &self.flavor {
            Flavor::Messages(exchange) => exchange.is_full(),
            Flavor::Timed(_) => Some(self.len()) == self.capacity(),
        }
    }

    /// The messages in it.
    ///
    /// # Examples
    /// ```
    /// let (sender, receiver) = withy_runtime::sync::channel::bounded(2);
    /// sender.send(1).unwrap();
    /// assert_eq!((receiver.len(), receiver.is_empty(), receiver.is_full()), (1, false, false));
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.flavor {
            Flavor::Messages(exchange) => exchange.len(),
            Flavor::Timed(timed) => usize::from(timed.is_ready()),
        }
    }

    /// The most messages that it holds; `None` without a limit.
    #[must_use]
    pub fn capacity(&self) -> Option<usize> {
        match &self.flavor {
            Flavor::Messages(exchange) => exchange.capacity(),
            Flavor::Timed(timed) => Some(timed.capacity()),
        }
    }

    /// Whether both receive from the same channel. All that [`never`](super::never()) gives do.
    ///
    /// # Examples
    /// ```
    /// let (_sender, receiver) = withy_runtime::sync::channel::unbounded::<u32>();
    /// assert!(receiver.same_channel(&receiver.clone()));
    /// ```
    #[must_use]
    pub fn same_channel(&self, other: &Receiver<T>) -> bool {
        match (&self.flavor, &other.flavor) {
            (Flavor::Messages(ours), Flavor::Messages(theirs)) => Arc::ptr_eq(ours, theirs),
            (Flavor::Timed(ours), Flavor::Timed(theirs)) => Arc::ptr_eq(ours, theirs),
            _ => false,
        }
    }

    /// The messages, one after another as they come, until no sender is left. Its `next` waits as [`recv`](Receiver::recv) does.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::{spawn, sync::channel::bounded};
    ///
    /// let (sender, receiver) = bounded(1);
    /// spawn(move || (0..3).for_each(|n| sender.send(n).unwrap()));
    /// assert!(receiver.iter().eq(0..3));
    /// ```
    pub fn iter(&self) -> Iter<'_, T> {
        Iter { receiver: self }
    }

    /// The messages that are there, without waiting for more.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::sync::channel::unbounded;
    ///
    /// let (sender, receiver) = unbounded();
    /// (0..3).for_each(|n| sender.send(n).unwrap());
    /// assert!(receiver.try_iter().eq(0..3));
    /// ```
    pub fn try_iter(&self) -> TryIter<'_, T> {
        TryIter { receiver: self }
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Receiver<T> {
        match &self.flavor {
            Flavor::Messages(exchange) => {
                exchange.add_receiver();
                Receiver::new(exchange.clone())
            }
            Flavor::Timed(timed) => Receiver::timed(timed.clone()),
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        if let Flavor::Messages(exchange) = &self.flavor {
            exchange.drop_receiver();
        }
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Receiver { .. }")
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

impl<T> FusedIterator for Iter<'_, T> {}

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

impl<T> FusedIterator for IntoIter<T> {}

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
        f.pad("Iter { .. }")
    }
}

impl<T> fmt::Debug for TryIter<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("TryIter { .. }")
    }
}

impl<T> fmt::Debug for IntoIter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("IntoIter { .. }")
    }
}

/// crossbeam-channel's bounds.
const _: () = {
    const fn shared<T: Send + Sync + core::panic::UnwindSafe + core::panic::RefUnwindSafe>() {}
    shared::<Receiver<core::cell::Cell<u8>>>();
    shared::<super::Sender<core::cell::Cell<u8>>>();
    shared::<IntoIter<core::cell::Cell<u8>>>();
};
