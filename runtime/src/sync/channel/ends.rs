//! The ends of a channel: how many there are, and when the last of a side is told to the other.
//!
//! # In flight
//! A message in the slot of a receiver that has not noticed it yet may come back, if that one unwinds: it is *in flight*. The end of the channel is
//! told, by `senders_gone`, when no sender is left and nothing is in flight: else a receiver that is told so would leave behind what comes back
//! after. What was handed over is counted under the lock, what was noticed in a word of its own, in which the last sender leaves GONE. So
//! either that sender finds that all is noticed, or the receiver that notices the last finds GONE.
//!
//! # Orderings
//! What counts is that all changes of a word are read-modify-writes, which have one order: one end is the last, and either GONE or the last notice comes
//! first. They acquire and release all the same, so that what the others did before they let go, whichever way, is seen by whoever tells
//! the end: each pairs with the one before it.

use core::mem;
use std::process;

use crate::atomic::{AtomicUsize, Ordering};
use crate::sync::channel::buffer::Buffer;
use crate::sync::channel::exchange::{Access, Exchange, PROMISED, RECEIVERS, SENDERS, Slot};
use crate::sync::channel::hand_over::give_back;

/// No sender is left.
const GONE: usize = 1;
/// One message that was handed over, or noticed.
pub(super) const NOTICE: usize = 2;

impl<T> Exchange<T> {
    pub(super) fn add_sender(&self) {
        add(&self.senders);
    }

    pub(super) fn add_receiver(&self) {
        add(&self.receivers);
    }

    pub(super) fn drop_sender(&self) {
        if self.senders.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.guarded.with(|access| {
                self.noticed.fetch_or(GONE, Ordering::AcqRel);
                self.end(access);
            });
        }
    }

    pub(super) fn drop_receiver(&self) {
        if self.receivers.fetch_sub(1, Ordering::AcqRel) == 1 {
            let unread = self.guarded.with(|access| {
                access.state.receivers_gone = true;
                access.wake_all(SENDERS, |_| {});
                mem::replace(&mut access.state.buffer, Buffer::with_room(0))
            });
            // Outside the lock: messages are a user's.
            drop(unread);
        }
    }

    /// No sender is left: tells those who wait, if nothing is in flight.
    #[cold]
    fn end(&self, access: &mut Access<'_, T>) {
        if self.noticed.load(Ordering::Acquire) == access.state.handed | GONE {
            access.state.senders_gone = true;
            access.wake_all(RECEIVERS, |_| {});
            // Their sender was forgotten (`mem::forget`): nobody keeps the promise any more.
            access.wake_all(PROMISED, |slot| *slot = Slot::Broken);
        }
    }

    /// A receiver has found a message in its slot, and does not give it back.
    #[inline]
    pub(super) fn notice(&self) {
        if self.noticed.fetch_add(NOTICE, Ordering::AcqRel) & GONE != 0 {
            self.guarded.with(|access| self.end(access));
        }
    }

    /// A receiver leaves: what it was given goes to the next.
    #[cold]
    pub(super) fn pass_on(&self, access: &mut Access<'_, T>, slot: &mut Slot<T>) {
        if let Slot::Message(message) = mem::replace(slot, Slot::Empty) {
            give_back(access, message);
            if self.noticed.fetch_add(NOTICE, Ordering::AcqRel) & GONE != 0 {
                self.end(access);
            }
        }
    }
}

/// Law 8: as for `Arc`.
fn add(count: &AtomicUsize) {
    if count.fetch_add(1, Ordering::Relaxed) > usize::MAX / 2 {
        process::abort();
    }
}
