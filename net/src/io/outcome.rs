//! How far a copy in both directions has come, and why it ended early.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many bytes have gone through: all that the kernel has taken for the other side's peer. That these were received is another matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Copied {
    /// From the first connection to the second.
    pub a_to_b: u64,
    /// From the second connection to the first.
    pub b_to_a: u64,
}

/// Counts what copies in both directions move, for anybody to read: while they go on, and after one was unwound, which returns nothing.
///
/// Filled by [`BidirectionalCopy::run_counting`](super::BidirectionalCopy::run_counting). Several copies may count into the same one, at once or one after another: it has
/// their sum.
///
/// # Examples
///
/// ```
/// # mod withy { pub use withy_net::io; }
/// let counters = withy::io::CopyCounters::new();
/// assert_eq!(counters.read(), withy::io::Copied::default());
/// ```
#[derive(Debug, Default)]
pub struct CopyCounters {
    // Statistics: they order nothing.
    a_to_b: AtomicU64,
    b_to_a: AtomicU64,
}

impl CopyCounters {
    /// Nothing yet.
    #[must_use]
    pub const fn new() -> CopyCounters {
        CopyCounters {
            a_to_b: AtomicU64::new(0),
            b_to_a: AtomicU64::new(0),
        }
    }

    /// The bytes so far. Both ways are not read in one step: of a copy that goes on, the one may be older than the other.
    #[must_use]
    pub fn read(&self) -> Copied {
        Copied {
            a_to_b: self.a_to_b.load(Ordering::Relaxed),
            b_to_a: self.b_to_a.load(Ordering::Relaxed),
        }
    }

    pub(super) fn add(&self, more: Copied) {
        self.a_to_b.fetch_add(more.a_to_b, Ordering::Relaxed);
        self.b_to_a.fetch_add(more.b_to_a, Ordering::Relaxed);
    }
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
