//! What the tests of channels share: the kinds of channels, and messages whose fate is recorded.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use withy::sync::channel::{Receiver, Sender, bounded, unbounded};

pub(crate) const MS: Duration = Duration::from_millis(1);

/// Capacities of channels; `None` is no limit.
pub(crate) const CAPACITIES: [Option<usize>; 4] = [Some(0), Some(1), Some(3), None];

pub(crate) fn channel_of<T>(capacity: Option<usize>) -> (Sender<T>, Receiver<T>) {
    match capacity {
        Some(capacity) => bounded(capacity),
        None => unbounded(),
    }
}

/// What becomes of messages.
pub(crate) struct Ledger {
    received: Vec<AtomicUsize>,
    dropped: Vec<AtomicUsize>,
}

/// A message whose fate is recorded.
pub(crate) struct Parcel {
    pub(crate) id: usize,
    ledger: Arc<Ledger>,
}

impl Ledger {
    pub(crate) fn new(parcels: usize) -> Arc<Ledger> {
        let zeros = || (0..parcels).map(|_| AtomicUsize::new(0)).collect();
        Arc::new(Ledger {
            received: zeros(),
            dropped: zeros(),
        })
    }

    pub(crate) fn parcel(self: &Arc<Ledger>, id: usize) -> Parcel {
        Parcel {
            id,
            ledger: self.clone(),
        }
    }

    pub(crate) fn received(&self, id: usize) -> usize {
        self.received[id].load(Ordering::SeqCst)
    }

    pub(crate) fn dropped(&self, id: usize) -> usize {
        self.dropped[id].load(Ordering::SeqCst)
    }

    pub(crate) fn all_received(&self) -> usize {
        (0..self.received.len()).map(|id| self.received(id)).sum()
    }

    pub(crate) fn all_dropped(&self) -> usize {
        (0..self.dropped.len()).map(|id| self.dropped(id)).sum()
    }

    /// Each was dropped once, and received once at most.
    pub(crate) fn settle(&self) {
        for id in 0..self.received.len() {
            assert!(self.received(id) <= 1, "{id} was received twice");
            assert_eq!(self.dropped(id), 1, "drops of {id}");
        }
    }
}

impl Parcel {
    /// Received: recorded, and dropped.
    pub(crate) fn open(self) -> usize {
        self.ledger.received[self.id].fetch_add(1, Ordering::SeqCst);
        self.id
    }
}

impl Drop for Parcel {
    fn drop(&mut self) {
        self.ledger.dropped[self.id].fetch_add(1, Ordering::SeqCst);
    }
}
