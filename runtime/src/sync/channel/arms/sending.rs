//! What is left of an arm that sends, when it was chosen and the select is over.

use super::send::{SendArm, send_as};
use crate::sync::channel::late::Reserve;
use crate::sync::channel::{SendError, Sender};
use crate::sync::select::Operation;

/// An arm that was chosen, and whose message is not there yet. It is a sender: the channel has one as long as a message may come.
pub struct Sending<T> {
    sender: Sender<T>,
    reserve: Option<Reserve>,
}

impl<T> Sending<T> {
    /// Takes over what `arm`, which sends to `sender`, was told when it was chosen. It borrows nothing.
    pub(in crate::sync) fn new(sender: &Sender<T>, arm: &SendArm<'_, T>) -> Sending<T> {
        debug_assert_eq!(arm.sends_to(), Some(sender.exchange().guarded_address()));
        Sending {
            sender: sender.clone(),
            reserve: arm.take_reserve(),
        }
    }

    /// The message.
    pub fn complete(mut self, message: T) -> Result<(), SendError<T>> {
        let reserve = self.reserve.take();
        send_as(self.sender.exchange(), reserve, message)
    }
}

/// The message could not be made.
impl<T> Drop for Sending<T> {
    fn drop(&mut self) {
        if self.reserve.take() == Some(Reserve::Reserved) {
            self.sender.exchange().release();
        }
    }
}
