//! Why nothing was sent or received: crossbeam-channel's types. Those that std has too convert into
//! [`mpsc`](crate::sync::mpsc)'s, which are std's, and back.

use core::fmt;
use std::error::Error;
use std::sync::mpsc;

/// A message that was not sent, since no receiver is left.
///
/// # Examples
/// ```
/// use withy_runtime::sync::channel::{SendError, unbounded};
///
/// let (sender, receiver) = unbounded();
/// drop(receiver);
/// let SendError(message) = sender.send("hello").unwrap_err();
/// assert_eq!(message, "hello");
/// ```
#[derive(PartialEq, Eq, Clone, Copy)]
pub struct SendError<T>(pub T);

/// Why [`try_send`](super::Sender::try_send) sent nothing; with the message.
///
/// # Examples
/// ```
/// use withy_runtime::sync::channel::{TrySendError, bounded};
///
/// let (sender, receiver) = bounded(1);
/// sender.send(1).unwrap();
/// assert_eq!(sender.try_send(2), Err(TrySendError::Full(2)));
/// drop(receiver);
/// let error = sender.try_send(3).unwrap_err();
/// assert!(error.is_disconnected());
/// assert_eq!(error.into_inner(), 3);
/// ```
#[derive(PartialEq, Eq, Clone, Copy)]
pub enum TrySendError<T> {
    /// There is no room, or at a rendezvous no receiver waits.
    Full(T),
    /// No receiver is left.
    Disconnected(T),
}

/// Why [`send_timeout`](super::Sender::send_timeout) sent nothing; with the message.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use withy_runtime::sync::channel::{SendTimeoutError, bounded};
///
/// let (sender, _receiver) = bounded(1);
/// sender.send(1).unwrap();
/// let error = sender.send_timeout(2, Duration::from_millis(1)).unwrap_err();
/// assert_eq!(error, SendTimeoutError::Timeout(2));
/// ```
#[derive(PartialEq, Eq, Clone, Copy)]
pub enum SendTimeoutError<T> {
    /// There was no room in time.
    Timeout(T),
    /// No receiver is left.
    Disconnected(T),
}

/// There is no message, and no sender is left.
///
/// # Examples
/// ```
/// use withy_runtime::sync::channel::{RecvError, unbounded};
///
/// let (sender, receiver) = unbounded::<u32>();
/// drop(sender);
/// assert_eq!(receiver.recv(), Err(RecvError));
/// // Into std's, where a caller wants that.
/// let error: std::sync::mpsc::RecvError = RecvError.into();
/// ```
#[derive(PartialEq, Eq, Clone, Copy, Debug)]
pub struct RecvError;

/// Why [`try_recv`](super::Receiver::try_recv) gave nothing.
///
/// # Examples
/// ```
/// use withy_runtime::sync::channel::{TryRecvError, unbounded};
///
/// let (sender, receiver) = unbounded::<u32>();
/// assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
/// drop(sender);
/// assert!(receiver.try_recv().unwrap_err().is_disconnected());
/// ```
#[derive(PartialEq, Eq, Clone, Copy, Debug)]
pub enum TryRecvError {
    /// There is no message just now.
    Empty,
    /// There is no message, and no sender is left.
    Disconnected,
}

/// Why [`recv_timeout`](super::Receiver::recv_timeout) gave nothing.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use withy_runtime::sync::channel::unbounded;
///
/// let (_sender, receiver) = unbounded::<u32>();
/// assert!(receiver.recv_timeout(Duration::from_millis(1)).unwrap_err().is_timeout());
/// ```
#[derive(PartialEq, Eq, Clone, Copy, Debug)]
pub enum RecvTimeoutError {
    /// No message came in time.
    Timeout,
    /// There is no message, and no sender is left.
    Disconnected,
}

impl<T> SendError<T> {
    /// The message.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> TrySendError<T> {
    /// The message.
    pub fn into_inner(self) -> T {
        match self {
            TrySendError::Full(message) | TrySendError::Disconnected(message) => message,
        }
    }

    /// Whether there was no room.
    pub fn is_full(&self) -> bool {
        matches!(self, TrySendError::Full(_))
    }

    /// Whether no receiver was left.
    pub fn is_disconnected(&self) -> bool {
        matches!(self, TrySendError::Disconnected(_))
    }
}

impl<T> SendTimeoutError<T> {
    /// The message.
    pub fn into_inner(self) -> T {
        match self {
            SendTimeoutError::Timeout(message) | SendTimeoutError::Disconnected(message) => message,
        }
    }

    /// Whether there was no room in time.
    pub fn is_timeout(&self) -> bool {
        matches!(self, SendTimeoutError::Timeout(_))
    }

    /// Whether no receiver was left.
    pub fn is_disconnected(&self) -> bool {
        matches!(self, SendTimeoutError::Disconnected(_))
    }
}

impl TryRecvError {
    /// Whether there was no message.
    pub fn is_empty(&self) -> bool {
        *self == TryRecvError::Empty
    }

    /// Whether there was no message, and no sender left.
    pub fn is_disconnected(&self) -> bool {
        *self == TryRecvError::Disconnected
    }
}

impl RecvTimeoutError {
    /// Whether no message came in time.
    pub fn is_timeout(&self) -> bool {
        *self == RecvTimeoutError::Timeout
    }

    /// Whether there was no message, and no sender left.
    pub fn is_disconnected(&self) -> bool {
        *self == RecvTimeoutError::Disconnected
    }
}

// ---- one into another, as crossbeam-channel has it ----

impl<T> From<SendError<T>> for TrySendError<T> {
    fn from(error: SendError<T>) -> TrySendError<T> {
        TrySendError::Disconnected(error.0)
    }
}

impl<T> From<SendError<T>> for SendTimeoutError<T> {
    fn from(error: SendError<T>) -> SendTimeoutError<T> {
        SendTimeoutError::Disconnected(error.0)
    }
}

impl From<RecvError> for TryRecvError {
    fn from(_: RecvError) -> TryRecvError {
        TryRecvError::Disconnected
    }
}

impl From<RecvError> for RecvTimeoutError {
    fn from(_: RecvError) -> RecvTimeoutError {
        RecvTimeoutError::Disconnected
    }
}

// ---- into std's, and back ----

impl<T> From<SendError<T>> for mpsc::SendError<T> {
    fn from(error: SendError<T>) -> mpsc::SendError<T> {
        mpsc::SendError(error.0)
    }
}

impl<T> From<mpsc::SendError<T>> for SendError<T> {
    fn from(error: mpsc::SendError<T>) -> SendError<T> {
        SendError(error.0)
    }
}

impl<T> From<TrySendError<T>> for mpsc::TrySendError<T> {
    fn from(error: TrySendError<T>) -> mpsc::TrySendError<T> {
        match error {
            TrySendError::Full(message) => mpsc::TrySendError::Full(message),
            TrySendError::Disconnected(message) => mpsc::TrySendError::Disconnected(message),
        }
    }
}

impl<T> From<mpsc::TrySendError<T>> for TrySendError<T> {
    fn from(error: mpsc::TrySendError<T>) -> TrySendError<T> {
        match error {
            mpsc::TrySendError::Full(message) => TrySendError::Full(message),
            mpsc::TrySendError::Disconnected(message) => TrySendError::Disconnected(message),
        }
    }
}

impl From<RecvError> for mpsc::RecvError {
    fn from(_: RecvError) -> mpsc::RecvError {
        mpsc::RecvError
    }
}

impl From<mpsc::RecvError> for RecvError {
    fn from(_: mpsc::RecvError) -> RecvError {
        RecvError
    }
}

impl From<TryRecvError> for mpsc::TryRecvError {
    fn from(error: TryRecvError) -> mpsc::TryRecvError {
        match error {
            TryRecvError::Empty => mpsc::TryRecvError::Empty,
            TryRecvError::Disconnected => mpsc::TryRecvError::Disconnected,
        }
    }
}

impl From<mpsc::TryRecvError> for TryRecvError {
    fn from(error: mpsc::TryRecvError) -> TryRecvError {
        match error {
            mpsc::TryRecvError::Empty => TryRecvError::Empty,
            mpsc::TryRecvError::Disconnected => TryRecvError::Disconnected,
        }
    }
}

impl From<RecvTimeoutError> for mpsc::RecvTimeoutError {
    fn from(error: RecvTimeoutError) -> mpsc::RecvTimeoutError {
        match error {
            RecvTimeoutError::Timeout => mpsc::RecvTimeoutError::Timeout,
            RecvTimeoutError::Disconnected => mpsc::RecvTimeoutError::Disconnected,
        }
    }
}

impl From<mpsc::RecvTimeoutError> for RecvTimeoutError {
    fn from(error: mpsc::RecvTimeoutError) -> RecvTimeoutError {
        match error {
            mpsc::RecvTimeoutError::Timeout => RecvTimeoutError::Timeout,
            mpsc::RecvTimeoutError::Disconnected => RecvTimeoutError::Disconnected,
        }
    }
}

// ---- as text ----

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("sending on a channel that no receiver is left of")
    }
}

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("SendError(..)")
    }
}

impl<T> Error for SendError<T> {}

impl<T> fmt::Display for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            TrySendError::Full(_) => "sending on a full channel",
            TrySendError::Disconnected(_) => "sending on a channel that no receiver is left of",
        })
    }
}

impl<T> fmt::Debug for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            TrySendError::Full(_) => "Full(..)",
            TrySendError::Disconnected(_) => "Disconnected(..)",
        })
    }
}

impl<T> Error for TrySendError<T> {}

impl<T> fmt::Display for SendTimeoutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            SendTimeoutError::Timeout(_) => "timed out sending on a channel",
            SendTimeoutError::Disconnected(_) => "sending on a channel that no receiver is left of",
        })
    }
}

impl<T> fmt::Debug for SendTimeoutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            SendTimeoutError::Timeout(_) => "Timeout(..)",
            SendTimeoutError::Disconnected(_) => "Disconnected(..)",
        })
    }
}

impl<T> Error for SendTimeoutError<T> {}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("receiving on an empty channel that no sender is left of")
    }
}

impl Error for RecvError {}

impl fmt::Display for TryRecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            TryRecvError::Empty => "receiving on an empty channel",
            TryRecvError::Disconnected => "receiving on an empty channel that no sender is left of",
        })
    }
}

impl Error for TryRecvError {}

impl fmt::Display for RecvTimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            RecvTimeoutError::Timeout => "timed out receiving on a channel",
            RecvTimeoutError::Disconnected => {
                "receiving on an empty channel that no sender is left of"
            }
        })
    }
}

impl Error for RecvTimeoutError {}
