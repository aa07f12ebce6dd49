//! How far a copy in both directions has come, and why it ended early.

use std::error::Error;
use std::fmt;
use std::io;

/// How many bytes have gone through: all that the kernel has taken for the other side's peer. That these were received is another matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Copied {
    /// From the first connection to the second.
    pub a_to_b: u64,
    /// From the second connection to the first.
    pub b_to_a: u64,
}

/// Why a copy in both directions has ended before both sides ended their streams, and how far it got.
///
/// `?` makes an [`io::Error`] of it where one is expected; that is the error itself, without the counts.
#[derive(Debug)]
pub struct CopyError {
    pub(super) error: io::Error,
    pub(super) copied: Copied,
}

impl CopyError {
    /// How many bytes have gone through before.
    #[must_use]
    pub fn copied(&self) -> Copied {
        self.copied
    }

    /// The error's kind.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        self.error.kind()
    }

    /// The error alone.
    #[must_use]
    pub fn into_inner(self) -> io::Error {
        self.error
    }
}

impl fmt::Display for CopyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Copied { a_to_b, b_to_a } = self.copied;
        write!(
            f,
            "{} (after {a_to_b} bytes one way and {b_to_a} the other)",
            self.error
        )
    }
}

impl Error for CopyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.error)
    }
}

impl From<CopyError> for io::Error {
    fn from(error: CopyError) -> io::Error {
        error.error
    }
}
