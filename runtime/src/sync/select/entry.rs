//! What a [`Select`](super::Select) keeps of each thing that was added to it.

use super::arm::Operation;
use super::join_arm::JoinArm;
use super::token_arm::TokenArm;
use crate::poll::{Direction, Registration, SocketArm};
use crate::sync::channel::{Receiver, RecvArm, SendArm, Sender};
use crate::task::CancelToken;
use crate::task::join_word::JoinWord;

/// What an arm is made of for each call.
#[derive(Clone, Copy)]
pub(super) enum Entry<'a> {
    Channel(&'a (dyn Channel + Sync)),
    Join(Option<&'a JoinWord>),
    Token(&'a CancelToken),
    Socket(Option<&'a Registration>, Direction),
}

/// One end of a channel.
pub(super) trait Channel {
    fn operation(&self, watches: bool) -> Box<dyn Operation + '_>;
}

impl<T> Channel for Receiver<T> {
    fn operation(&self, watches: bool) -> Box<dyn Operation + '_> {
        Box::new(RecvArm::new(self, watches))
    }
}

impl<T> Channel for Sender<T> {
    fn operation(&self, watches: bool) -> Box<dyn Operation + '_> {
        Box::new(SendArm::new(self, watches))
    }
}

impl<'a> Entry<'a> {
    pub(super) fn operation(&self, watches: bool) -> Box<dyn Operation + 'a> {
        match *self {
            Entry::Channel(channel) => channel.operation(watches),
            Entry::Join(word) => Box::new(JoinArm::new(word)),
            Entry::Token(token) => Box::new(TokenArm::new(token)),
            Entry::Socket(registration, direction) => {
                Box::new(SocketArm::new(registration, direction))
            }
        }
    }
}
