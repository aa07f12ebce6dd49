//! An arm that sends a message, which is made when the arm has been chosen.

use core::cell::Cell;

use super::seat::Seat;
use crate::sync::channel::exchange::{Access, Exchange, RECEIVERS, SENDERS, Slot, Unsent};
use crate::sync::channel::late::{Reserve, reserve};
use crate::sync::channel::{SendError, Sender};
use crate::sync::select::{Arm, ChannelArm, Lend, Look, Operation};
use crate::sync::waiters::{Choice, Left, Wakes};

/// Sends to a channel.
pub struct SendArm<'a, T> {
    seat: Seat<'a, T>,
    /// It reserves nothing.
    watches: bool,
    /// What it was told when it was chosen.
    reserve: Cell<Option<Reserve>>,
}

impl<'a, T> SendArm<'a, T> {
    pub(crate) fn new(sender: &'a Sender<T>, watches: bool) -> SendArm<'a, T> {
        SendArm {
            seat: Seat::new(sender.exchange()),
            watches,
            reserve: Cell::new(None),
        }
    }

    fn look_in(&self, access: &mut Access<'_, T>) -> Look {
        if self.watches {
            return Look::if_ready(is_ready(access));
        }
        let reserve = reserve(access);
        if reserve == Reserve::Full {
            return Look::Wait;
        }
        self.reserve.set(Some(reserve));
        Look::Done
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

fn is_ready<T>(access: &Access<'_, T>) -> bool {
    let state = &access.state;
    state.receivers_gone
        || state.has_room()
        || state.capacity == 0 && access.any(RECEIVERS, |slot| !matches!(slot, Slot::Watch))
}

impl<T> ChannelArm for SendArm<'_, T> {
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
            Slot::Late
        };
        // SAFETY: the caller's promise.
        unsafe {
            let mut access = self.seat.access(wakes);
            self.seat
                .link(&mut access, SENDERS, payload, Some((choice, number)));
        }
    }

    fn is_woken(&self) -> bool {
        self.seat.is_woken()
    }

    fn leave(&self) -> Left {
        self.seat.leave()
    }

    fn settle(&self) -> bool {
        let reserve = match self.seat.take() {
            Some(Slot::Reserved) => Reserve::Reserved,
            _ => Reserve::Disconnected,
        };
        if !self.watches {
            self.reserve.set(Some(reserve));
        }
        true
    }

    fn refuse(&self) {
        if let Some(Slot::Reserved) = self.seat.take() {
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
