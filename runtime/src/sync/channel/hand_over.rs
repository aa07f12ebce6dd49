//! How messages go from hand to hand, under the lock: the steps that keep what `exchange.rs` says.

use core::mem;

use crate::sync::channel::ends::NOTICE;
use crate::sync::channel::exchange::{Access, RECEIVERS, SENDERS, Slot, Unsent};

/// Hands a message to a receiver that waits, or to the buffer.
#[inline]
pub(super) fn put<T>(access: &mut Access<'_, T>, message: T) -> Result<(), Unsent<T>> {
    if access.state.receivers_gone {
        return Err(Unsent::Disconnected(message));
    }
    let message = match hand_over(access, RECEIVERS, message) {
        None => return Ok(()),
        Some(message) => message,
    };
    if access.state.has_room() {
        access.state.buffer.push(message);
        Ok(())
    } else {
        Err(Unsent::Full(message))
    }
}

/// Gives a message to the first in a queue of receivers; gives it back if there is none.
#[inline]
pub(super) fn hand_over<T>(access: &mut Access<'_, T>, queue: usize, message: T) -> Option<T> {
    let mut message = Some(message);
    loop {
        let woken = access.wake_next_with(queue, |state, slot| {
            if !matches!(slot, Slot::Watch)
                && let Some(message) = message.take()
            {
                state.handed = state.handed.wrapping_add(NOTICE);
                *slot = Slot::Message(message);
            }
        });
        if woken.is_none() || message.is_none() {
            return message;
        }
    }
}

/// What a receiver finds.
pub(super) enum Take<T> {
    Message(T),
    /// It has to wait for one.
    Empty,
    /// A late sender was told to make one for it.
    Promised,
    Disconnected,
}

/// Takes a message from the buffer, or at a rendezvous from a sender.
#[inline]
pub(super) fn take<T>(access: &mut Access<'_, T>) -> Take<T> {
    if let Some(message) = access.state.buffer.pop() {
        fill(access);
        return Take::Message(message);
    }
    if access.state.capacity == 0
        && let Some(taken) = take_from_sender(access)
    {
        return taken;
    }
    if access.state.reserved > 0
        && let Some(message) = take_past_late_senders(access)
    {
        return Take::Message(message);
    }
    if access.state.senders_gone {
        Take::Disconnected
    } else {
        Take::Empty
    }
}

fn take_from_sender<T>(access: &mut Access<'_, T>) -> Option<Take<T>> {
    loop {
        let taken = access.wake_next(SENDERS, |slot| match mem::replace(slot, Slot::Empty) {
            Slot::Message(message) => Some(Take::Message(message)),
            Slot::Watch => None,
            _ => {
                *slot = Slot::Reserved;
                Some(Take::Promised)
            }
        })?;
        if taken.is_some() {
            return taken;
        }
    }
}

/// All the room is kept for messages that are still being made: a sender that has one waits beside it.
#[cold]
fn take_past_late_senders<T>(access: &mut Access<'_, T>) -> Option<T> {
    access.wake_such(SENDERS, Slot::is_message, |slot| {
        match mem::replace(slot, Slot::Empty) {
            Slot::Message(message) => Some(message),
            _ => None,
        }
    })?
}

/// There is room: for the message of the sender that waits longest.
#[inline]
pub(super) fn fill<T>(access: &mut Access<'_, T>) {
    while access.state.has_room() && !access.is_empty(SENDERS) {
        access.wake_next_with(SENDERS, |state, slot| {
            match mem::replace(slot, Slot::Empty) {
                Slot::Message(message) => state.buffer.push(message),
                Slot::Watch => {}
                _ => {
                    *slot = Slot::Reserved;
                    state.reserved += 1;
                }
            }
        });
    }
}

/// A message that was taken and is not wanted: for the next receiver.
pub(super) fn give_back<T>(access: &mut Access<'_, T>, message: T) {
    if let Some(message) = hand_over(access, RECEIVERS, message) {
        access.state.buffer.push_front(message);
    }
}
