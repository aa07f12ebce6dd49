//! What a server counts.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a [`Server`](super::Server) has done so far, readable by anybody while it serves. Clones count the same.
///
/// # Examples
///
/// ```
/// # mod withy { pub use withy_net as net; }
/// let server = withy::net::Server::new();
/// let counters = server.counters();
/// assert_eq!(counters.read().accepted, 0);
/// ```
#[derive(Clone, Default)]
pub struct Counters {
    counts: Arc<Counts>,
}

/// Each is a statistic: it orders nothing, and is exact by itself.
#[derive(Default)]
struct Counts {
    accepted: AtomicU64,
    active: AtomicU64,
    finished: AtomicU64,
    failed: AtomicU64,
    timed_out: AtomicU64,
    panicked: AtomicU64,
    cut: AtomicU64,
    shed: AtomicU64,
    accept_errors: AtomicU64,
}

/// The counters of a [`Server`](super::Server) at some time.
///
/// Each connection that was accepted is counted once more when it ends, by how it did: when none is left,
/// `accepted == finished + failed + timed_out + panicked + cut + shed`. While some go on, each number is right, but they
/// are not read in one step.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Summary {
    /// Connections that were taken from the kernel.
    pub accepted: u64,
    /// Handlers that run now.
    pub active: u64,
    /// Handlers that returned, and no error.
    pub finished: u64,
    /// Handlers that returned an error, if not for time.
    pub failed: u64,
    /// Handlers that returned an error of kind `WouldBlock` or `TimedOut`.
    pub timed_out: u64,
    /// Handlers that panicked.
    pub panicked: u64,
    /// Handlers that were cut off: at the end of the drain, or because the caller of `serve` was.
    pub cut: u64,
    /// Connections that were closed without a handler: for want of descriptors or of memory, or at the end.
    pub shed: u64,
    /// Times that accepting failed. Connections that died in the backlog are passed over and not counted.
    pub accept_errors: u64,
}

/// How a connection ended.
#[derive(Clone, Copy)]
pub(super) enum End {
    Finished,
    Failed,
    TimedOut,
    Panicked,
    Cut,
    Shed,
}

impl Counters {
    /// The numbers as they are now.
    #[must_use]
    pub fn read(&self) -> Summary {
        let counts = &*self.counts;
        // Acquire: who sees an end counted, sees what the handler did.
        let read = |count: &AtomicU64| count.load(Ordering::Acquire);
        Summary {
            accepted: read(&counts.accepted),
            active: read(&counts.active),
            finished: read(&counts.finished),
            failed: read(&counts.failed),
            timed_out: read(&counts.timed_out),
            panicked: read(&counts.panicked),
            cut: read(&counts.cut),
            shed: read(&counts.shed),
            accept_errors: read(&counts.accept_errors),
        }
    }

    pub(super) fn accepted(&self) {
        self.counts.accepted.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn accept_failed(&self) {
        self.counts.accept_errors.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn began(&self) {
        self.counts.active.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn left(&self) {
        self.counts.active.fetch_sub(1, Ordering::Release);
    }

    pub(super) fn ended(&self, end: End) {
        let counts = &*self.counts;
        let count = match end {
            End::Finished => &counts.finished,
            End::Failed => &counts.failed,
            End::TimedOut => &counts.timed_out,
            End::Panicked => &counts.panicked,
            End::Cut => &counts.cut,
            End::Shed => &counts.shed,
        };
        count.fetch_add(1, Ordering::Release);
    }
}

impl fmt::Debug for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.read().fmt(f)
    }
}
