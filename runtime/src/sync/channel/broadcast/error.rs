//! Why nothing was received from a broadcast.

use core::fmt;
use std::error::Error;

/// Why [`recv`](super::Receiver::recv) gave nothing.
#[derive(PartialEq, Eq, Clone, Copy, Debug)]
pub enum RecvError {
    /// So many messages were lost to this receiver, since it was too slow. It goes on with the oldest that is there.
    Lagged(u64),
    /// All has been received, and no sender is left.
    Disconnected,
}

/// Why [`try_recv`](super::Receiver::try_recv) gave nothing.
#[derive(PartialEq, Eq, Clone, Copy, Debug)]
pub enum TryRecvError {
    /// There is no message just now.
    Empty,
    /// So many messages were lost to this receiver, since it was too slow. It goes on with the oldest that is there.
    Lagged(u64),
    /// All has been received, and no sender is left.
    Disconnected,
}

/// Why [`recv_timeout`](super::Receiver::recv_timeout) gave nothing.
#[derive(PartialEq, Eq, Clone, Copy, Debug)]
pub enum RecvTimeoutError {
    /// No message came in time.
    Timeout,
    /// So many messages were lost to this receiver, since it was too slow. It goes on with the oldest that is there.
    Lagged(u64),
    /// All has been received, and no sender is left.
    Disconnected,
}

impl From<RecvError> for TryRecvError {
    fn from(error: RecvError) -> TryRecvError {
        match error {
            RecvError::Lagged(lost) => TryRecvError::Lagged(lost),
            RecvError::Disconnected => TryRecvError::Disconnected,
        }
    }
}

impl From<RecvError> for RecvTimeoutError {
    fn from(error: RecvError) -> RecvTimeoutError {
        match error {
            RecvError::Lagged(lost) => RecvTimeoutError::Lagged(lost),
            RecvError::Disconnected => RecvTimeoutError::Disconnected,
        }
    }
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecvError::Lagged(lost) => lagged(*lost, f),
            RecvError::Disconnected => f.pad(DISCONNECTED),
        }
    }
}

impl fmt::Display for TryRecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TryRecvError::Empty => f.pad("receiving on a broadcast that has no new message"),
            TryRecvError::Lagged(lost) => lagged(*lost, f),
            TryRecvError::Disconnected => f.pad(DISCONNECTED),
        }
    }
}

impl fmt::Display for RecvTimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecvTimeoutError::Timeout => f.pad("timed out receiving on a broadcast"),
            RecvTimeoutError::Lagged(lost) => lagged(*lost, f),
            RecvTimeoutError::Disconnected => f.pad(DISCONNECTED),
        }
    }
}

const DISCONNECTED: &str = "receiving on a broadcast that no sender is left of";

fn lagged(lost: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "received too slowly: {lost} messages were lost")
}

impl Error for RecvError {}
impl Error for TryRecvError {}
impl Error for RecvTimeoutError {}
