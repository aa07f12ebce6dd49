//! An arm that receives a message from senders.

use core::cell::Cell;

use super::seat::Seat;
use crate::sync::channel::RecvError;
use crate::sync::channel::exchange::{Access, Exchange, PROMISED, RECEIVERS, SENDERS, Slot};
use crate::sync::channel::hand_over::{Take, give_back, take};
use crate::sync::select::{ChannelArm, Look};
use crate::sync::waiters::{Choice, Left, Wakes};

/// Receives from a channel of messages.
pub(super) struct MessageArm<'a, T> {
    seat: Seat<'a, T>,
    /// It takes nothing.
    watches: bool,
    got: Cell<Option<Result<T, RecvError>>>,
}

impl<'a, T> MessageArm<'a, T> {
    pub(super) fn new(exchange: &'a Exchange<T>, watches: bool) -> MessageArm<'a, T> {
        MessageArm {
            seat: Seat::new(exchange),
            watches,
            got: Cell::new(None),
        }
    }

    /// What it has received, if it was chosen.
    pub(super) fn received(&self) -> Option<Result<T, RecvError>> {
        self.got.take()
    }

    fn look_in(&self, access: &mut Access<'_, T>) -> Look {
        if self.watches {
            return Look::if_ready(is_ready(access));
        }
        let got = match take(access) {
            Take::Message(message) => Ok(message),
            Take::Disconnected => Err(RecvError),
            Take::Empty => return Look::Wait,
            Take::Promised => {
                // SAFETY: the contract of `look`, which is that of `link`.
                unsafe { self.seat.link(access, PROMISED, Slot::Empty, None) };
                return Look::Promised;
            }
        };
        self.got.set(Some(got));
        Look::Done
    }
}

fn is_ready<T>(access: &Access<'_, T>) -> bool {
    let state = &access.state;
    state.buffer.len() > 0
        || state.senders_gone
        || state.capacity == 0 && access.any(SENDERS, |slot| !matches!(slot, Slot::Watch))
        || state.reserved > 0 && access.any(SENDERS, Slot::is_message)
}

impl<T> ChannelArm for MessageArm<'_, T> {
    fn address(&self) -> usize {
        self.seat.exchange().guarded.address()
    }

    fn lock(&self) {
        self.seat.exchange().guarded.lock();
    }

    unsafe fn unlock(&self) {
        // SAFETY: the caller's promise.
        unsafe { self.seat.exchange().guarded.unlock() };
    }

    unsafe fn look(&self) -> Look {
        let exchange = self.seat.exchange();
        exchange.guarded.with(|access| self.look_in(access))
    }

    unsafe fn look_locked(&self, wakes: &mut Wakes) -> Look {
        // SAFETY: the caller's promise.
        let mut access = unsafe { self.seat.access(wakes) };
        self.look_in(&mut access)
    }

    unsafe fn link(&self, wakes: &mut Wakes, choice: &Choice, number: usize) {
        let payload = if self.watches {
            Slot::Watch
        } else {
            Slot::Empty
        };
        // SAFETY: the caller's promise.
        unsafe {
            let mut access = self.seat.access(wakes);
            self.seat
                .link(&mut access, RECEIVERS, payload, Some((choice, number)));
        }
    }

    fn is_woken(&self) -> bool {
        self.seat.is_woken()
    }

    fn leave(&self) -> Left {
        self.seat.leave()
    }

    fn settle(&self) -> bool {
        let given = self.seat.take();
        if self.watches {
            return true;
        }
        // Otherwise a promise was broken; or it is the end, unless a message has come back meanwhile.
        let Some(Slot::Message(message)) = given else {
            return false;
        };
        self.seat.exchange().notice();
        self.got.set(Some(Ok(message)));
        true
    }

    fn refuse(&self) {
        if let Some(mut given) = self.seat.take() {
            let exchange = self.seat.exchange();
            exchange
                .guarded
                .with(|access| exchange.pass_on(access, &mut given));
        }
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
