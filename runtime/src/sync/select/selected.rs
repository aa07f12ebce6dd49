//! What a [`Select`](super::Select) gives: an operation that was chosen, to be completed.

use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;

use super::arm::Operation;
use crate::sync::channel::{Receiver, RecvError, SendError, Sender, send_as};

/// An operation that a [`Select`](super::Select) has chosen, to be completed: one that receives by [`recv`](SelectedOperation::recv), one that sends by
/// [`send`](SelectedOperation::send). The others are complete as they are.
///
/// If it is dropped instead, a message that it has received goes to the next receiver, or is the first of the channel again; room that was
/// kept for a message is free again, and a receiver that was waiting for it at a rendezvous goes on waiting for another. (crossbeam's
/// panics then.)
#[must_use = "what it has taken is given back if it is not completed"]
pub struct SelectedOperation<'a> {
    index: usize,
    operation: Box<dyn Operation + 'a>,
    /// The ends of channels that the select was given are borrowed still.
    channels: PhantomData<&'a ()>,
}

impl<'a> SelectedOperation<'a> {
    pub(super) fn new(index: usize, operation: Box<dyn Operation + 'a>) -> SelectedOperation<'a> {
        SelectedOperation {
            index,
            operation,
            channels: PhantomData,
        }
    }

    /// The index that the operation was given when it was added.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// Completes a send. It need not wait, unless a receiver at a rendezvous has left meanwhile: then as [`Sender::send`].
    ///
    /// # Cancellation
    /// As [`Sender::send`].
    ///
    /// # Errors
    /// With the message, if no receiver is left.
    ///
    /// # Panics
    /// If the operation is not sending to this channel. Inside [`no_park`](crate::no_park), if it would have to wait.
    pub fn send<T>(self, sender: &Sender<T>, message: T) -> Result<(), SendError<T>> {
        let exchange = sender.exchange();
        assert_eq!(
            self.operation.sends_to(),
            Some(exchange.guarded_address()),
            "completed a select by a send, expected the operation that was chosen, on its channel"
        );
        send_as(exchange, self.operation.take_reserve(), message)
    }

    /// Completes a receive. It does not wait.
    ///
    /// # Errors
    /// If there is no message, and no sender is left.
    ///
    /// # Panics
    /// If the operation is not receiving from this channel.
    pub fn recv<T>(mut self, receiver: &Receiver<T>) -> Result<T, RecvError> {
        assert_eq!(
            self.operation.receives_from(),
            Some(receiver.address()),
            "completed a select by a receive, expected the operation that was chosen, on its channel"
        );
        let mut received: Option<Result<T, RecvError>> = None;
        // SAFETY: the operation receives from the very channel that `receiver` has, which is borrowed by both, so its messages are
        // T: two types of messages have two channels, for a channel is invariant in it. All that `never` gives are one channel, of
        // whatever type; but that is never chosen.
        unsafe {
            self.operation
                .write_received(NonNull::from(&mut received).cast())
        };
        received.expect("an operation that was chosen has received")
    }
}

impl fmt::Debug for SelectedOperation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SelectedOperation")
            .field("index", &self.index)
            .finish_non_exhaustive()
    }
}
