//! Late senders: they make their message when they have been chosen. See `exchange.rs`.

use crate::sync::channel::exchange::{
    Access, Exchange, PROMISED, RECEIVERS, SENDERS, Slot, Unsent, sent,
};
use crate::sync::channel::hand_over::{fill, hand_over, put};
use crate::sync::waiters::{Enter, Place};
use crate::time::Moment;

/// What a late sender finds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reserve {
    /// Room is kept for it, or a receiver waits for its message.
    Reserved,
    /// It has to wait.
    Full,
    /// No receiver is left.
    Disconnected,
}

/// Keeps room for a message that is made now, or at a rendezvous a receiver.
pub(super) fn reserve<T>(access: &mut Access<'_, T>) -> Reserve {
    if access.state.receivers_gone {
        return Reserve::Disconnected;
    }
    let reserved = if access.state.capacity == 0 {
        access.move_next(RECEIVERS, PROMISED, |slot| matches!(slot, Slot::Watch))
    } else {
        let has_room = access.state.has_room();
        if has_room {
            access.state.reserved += 1;
        }
        has_room
    };
    if reserved {
        Reserve::Reserved
    } else {
        Reserve::Full
    }
}

impl<T> Exchange<T> {
    /// The message for which something was reserved. It waits only at a rendezvous, and only if the receiver has left meanwhile.
    pub(super) fn send_reserved(&self, message: T) -> Result<(), Unsent<T>> {
        if self.capacity() != Some(0) {
            return self.guarded.with(|access| {
                access.state.reserved -= 1;
                if access.state.receivers_gone {
                    return Err(Unsent::Disconnected(message));
                }
                match hand_over(access, RECEIVERS, message) {
                    // The room is free for those who wait.
                    None => fill(access),
                    // It is its own, also if one that was given back has taken some: so this does not ask for room.
                    Some(message) => access.state.buffer.push(message),
                }
                Ok(())
            });
        }
        let waited = self.guarded.wait(
            Moment::NEVER,
            |access| {
                let Some(message) = hand_over(access, PROMISED, message) else {
                    return Enter::Done(Ok(()));
                };
                match put(access, message) {
                    Err(Unsent::Full(message)) => Enter::Wait {
                        queue: SENDERS,
                        place: Place::Back,
                        payload: Slot::Message(message),
                    },
                    done => Enter::Done(done),
                }
            },
            // As `send`.
            |_, _, _| {},
        );
        sent(waited)
    }

    /// There will be no message: others may have what was reserved.
    #[cold]
    pub(super) fn release(&self) {
        self.guarded.with(|access| {
            if access.state.capacity == 0 {
                // The one that was promised this message, or another's: they are told apart by nothing. One too many looks again in vain.
                access.wake_next(PROMISED, |slot| *slot = Slot::Broken);
            } else {
                access.state.reserved -= 1;
                fill(access);
            }
        });
    }
}
