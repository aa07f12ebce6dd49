//! An arm that receives a message from senders.

use core::cell::Cell;

use super::seat::{Seat, Seated};
use crate::sync::channel::RecvError;
use crate::sync::channel::exchange::{Access, Exchange, PROMISED, RECEIVERS, SENDERS, Slot};
use crate::sync::channel::hand_over::{Take, give_back, take};
use crate::sync::select::Look;

/// Receives from a channel of messages.
pub(super) struct MessageArm<'a, T> {
    seat: Seat<'a, T>,
    got: Cell<Option<Result<T, RecvError>>>,
}

impl<'a, T> MessageArm<'a, T> {
    pub(super) fn new(exchange: &'a Exchange<T>, watches: bool) -> MessageArm<'a, T> {
        MessageArm {
            seat: Seat::new(exchange, watches),
            got: Cell::new(None),
        }
    }

    /// What it has received, if it was chosen.
    pub(super) fn received(&self) -> Option<Result<T, RecvError>> {
        self.got.take()
    }
}

impl<T> Seated for MessageArm<'_, T> {
    type Message = T;
    const QUEUE: usize = RECEIVERS;
    const PAYLOAD: Slot<T> = Slot::Empty;

    fn seat(&self) -> &Seat<'_, T> {
        &self.seat
    }

    fn is_ready(access: &Access<'_, T>) -> bool {
        let state = &access.state;
        state.buffer.len() > 0
            || state.senders_gone
            || state.capacity == 0 && access.any(SENDERS, |slot| !matches!(slot, Slot::Watch))
            || state.reserved > 0 && access.any(SENDERS, Slot::is_message)
    }

    unsafe fn attempt(&self, access: &mut Access<'_, T>) -> Look {
        let got = match take(access) {
            Take::Message(message) => Ok(message),
            Take::Disconnected => Err(RecvError),
            Take::Empty => return Look::Wait,
            Take::Promised => {
                // SAFETY: the caller's promise: not linked, and it stays until `leave`.
                unsafe { self.seat.link(access, PROMISED, Slot::Empty, None) };
                return Look::Promised;
            }
        };
        self.got.set(Some(got));
        Look::Done
    }

    fn accept(&self, given: Option<Slot<T>>) -> bool {
        // Otherwise a promise was broken; or it is the end, unless a message has come back meanwhile.
        let Some(Slot::Message(message)) = given else {
            return false;
        };
        self.seat.exchange().notice();
        self.got.set(Some(Ok(message)));
        true
    }

    fn decline(&self, mut given: Slot<T>) {
        let exchange = self.seat.exchange();
        exchange
            .guarded
            .with(|access| exchange.pass_on(access, &mut given));
    }
}

/// What it has received and nobody wants goes back.
impl<T> Drop for MessageArm<'_, T> {
    fn drop(&mut self) {
        if let Some(Ok(message)) = self.got.take() {
            let exchange = self.seat.exchange();
            exchange.guarded.with(|access| give_back(access, message));
        }
    }
}
