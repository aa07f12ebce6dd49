//! A door to what only channels see: the exchange, for models.

use std::sync::Arc;

use super::exchange::{Exchange, Unreceived, Unsent};
use crate::atomic::Ordering;
use crate::time::Moment;

/// Has a deadline, which passes when the model says so.
const IN_TIME: Moment = Moment::from_ns(1);

pub(crate) struct Channel<T>(Arc<Exchange<T>>);

/// Why nothing was received.
#[derive(PartialEq, Eq)]
pub(crate) enum Lost {
    Empty,
    Disconnected,
}

impl<T> Channel<T> {
    pub(crate) fn new(capacity: usize) -> Channel<T> {
        let exchange = Exchange::new(capacity, 0);
        // loom's counts are made at their first use.
        exchange.add_sender();
        exchange.drop_sender();
        exchange.add_receiver();
        exchange.drop_receiver();
        exchange.noticed.load(Ordering::Relaxed);
        Channel(Arc::new(exchange))
    }

    pub(crate) fn send(&self, message: T) -> Result<(), T> {
        self.0.send(message, Moment::NEVER).map_err(back)
    }

    pub(crate) fn send_in_time(&self, message: T) -> Result<(), T> {
        self.0.send(message, IN_TIME).map_err(back)
    }

    pub(crate) fn try_send(&self, message: T) -> Result<(), T> {
        self.0.try_send(message).map_err(back)
    }

    pub(crate) fn recv(&self) -> Result<T, Lost> {
        self.0.recv(Moment::NEVER).map_err(why)
    }

    pub(crate) fn recv_in_time(&self) -> Result<T, Lost> {
        self.0.recv(IN_TIME).map_err(why)
    }

    pub(crate) fn try_recv(&self) -> Result<T, Lost> {
        self.0.try_recv().map_err(why)
    }

    pub(crate) fn add_sender(&self) {
        self.0.add_sender();
    }

    pub(crate) fn drop_sender(&self) {
        self.0.drop_sender();
    }

    pub(crate) fn drop_receiver(&self) {
        self.0.drop_receiver();
    }
}

fn back<T>(unsent: Unsent<T>) -> T {
    match unsent {
        Unsent::Full(message) | Unsent::Disconnected(message) => message,
    }
}

fn why(unreceived: Unreceived) -> Lost {
    match unreceived {
        Unreceived::Empty => Lost::Empty,
        Unreceived::Disconnected => Lost::Disconnected,
    }
}

impl<T> Clone for Channel<T> {
    /// Not an end more: another way to the same.
    fn clone(&self) -> Channel<T> {
        Channel(self.0.clone())
    }
}
