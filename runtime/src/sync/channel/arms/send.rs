//! An arm that sends a message, which is made when the arm has been chosen.

use core::cell::Cell;

use super::seat::{Seat, Seated};
use crate::sync::channel::exchange::{Access, Exchange, RECEIVERS, SENDERS, Slot, Unsent};
use crate::sync::channel::late::{Reserve, reserve};
use crate::sync::channel::{SendError, Sender};
use crate::sync::select::{Arm, Lend, Look, Operation};

/// Sends to a channel.
pub struct SendArm<'a, T> {
    seat: Seat<'a, T>,
    /// What it was told when it was chosen.
    reserve: Cell<Option<Reserve>>,
}

impl<'a, T> SendArm<'a, T> {
    pub(crate) fn new(sender: &'a Sender<T>, watches: bool) -> SendArm<'a, T> {
        SendArm {
            seat: Seat::new(sender.exchange(), watches),
            reserve: Cell::new(None),
        }
    }
}

/// Sends the message of an arm that was told so when it was chosen.
pub(crate) fn send_as<T>(
    exchange: &Exchange<T>,
    reserve: Option<Reserve>,
    message: T,
) -> Result<(), SendError<T>> {
    match reserve {
        Some(Reserve::Reserved) => exchange.send_reserved(message),
        _ => Err(Unsent::Disconnected(message)),
    }
    .map_err(|(Unsent::Disconnected(message) | Unsent::Full(message))| SendError(message))
}

impl<T> Seated for SendArm<'_, T> {
    type Message = T;
    const QUEUE: usize = SENDERS;
    const PAYLOAD: Slot<T> = Slot::Late;

    fn seat(&self) -> &Seat<'_, T> {
        &self.seat
    }

    fn is_ready(access: &Access<'_, T>) -> bool {
        let state = &access.state;
        state.receivers_gone
            || state.has_room()
            || state.capacity == 0 && access.any(RECEIVERS, |slot| !matches!(slot, Slot::Watch))
    }

    unsafe fn attempt(&self, access: &mut Access<'_, T>) -> Look {
        let reserve = reserve(access);
        if reserve == Reserve::Full {
            return Look::Wait;
        }
        self.reserve.set(Some(reserve));
        Look::Done
    }

    fn accept(&self, given: Option<Slot<T>>) -> bool {
        self.reserve.set(Some(match given {
            Some(Slot::Reserved) => Reserve::Reserved,
            _ => Reserve::Disconnected,
        }));
        true
    }

    fn decline(&self, given: Slot<T>) {
        if let Slot::Reserved = given {
            self.seat.exchange().release();
        }
    }
}

impl<T> Lend for SendArm<'_, T> {
    fn arm(&mut self) -> Arm<'_> {
        Arm::of_channel(self)
    }
}

impl<T> Operation for SendArm<'_, T> {
    fn sends_to(&self) -> Option<usize> {
        Some(self.seat.exchange().guarded.address())
    }

    fn take_reserve(&self) -> Option<Reserve> {
        self.reserve.take()
    }
}

impl<T> Drop for SendArm<'_, T> {
    fn drop(&mut self) {
        if self.reserve.take() == Some(Reserve::Reserved) {
            self.seat.exchange().release();
        }
    }
}
