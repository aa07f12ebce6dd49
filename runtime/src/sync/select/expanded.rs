//! What the macros expand to calls of. Not for other uses: it changes without notice.

use std::time::{Duration, Instant};

pub use super::arm::{Arm, Lend};
use super::choose;
pub use super::join_arm::Joined;
use super::join_arm::{JoinArm, Joinable};
pub use super::order::Order;
use super::token_arm::TokenArm;
use crate::poll::{AsRegistration, Direction, SocketArm};
use crate::sync::channel::{Receiver, RecvArm, SendArm, Sender, Sending};
use crate::task::CancelToken;
use crate::time::{self, Moment};

/// What a select has come to: one variant for each arm, in a chain.
pub enum Which<A, B> {
    This(A),
    Other(B),
}

/// The end of the chain of a select that ends by one of its arms only.
pub enum Never {}

pub fn recv<T>(receiver: &Receiver<T>) -> RecvArm<'_, T> {
    RecvArm::new(receiver, false)
}

pub fn send<T>(sender: &Sender<T>) -> SendArm<'_, T> {
    SendArm::new(sender, false)
}

pub fn chosen<T>(sender: &Sender<T>, arm: &SendArm<'_, T>) -> Sending<T> {
    Sending::new(sender, arm)
}

pub fn join<J: Joinable + ?Sized>(handle: &mut J) -> JoinArm<'_> {
    handle.arm()
}

pub fn cancelled(token: &CancelToken) -> TokenArm<'_> {
    TokenArm::new(token)
}

pub fn readable<P: AsRegistration + ?Sized>(socket: &P) -> SocketArm<'_> {
    SocketArm::new(socket.registration(), Direction::Read)
}

pub fn writable<P: AsRegistration + ?Sized>(socket: &P) -> SocketArm<'_> {
    SocketArm::new(socket.registration(), Direction::Write)
}

pub fn choose_at_last(arms: &mut [Arm<'_>], order: Order) -> Option<usize> {
    choose::choose(arms, order, Moment::NEVER)
}

pub fn choose_now(arms: &mut [Arm<'_>], order: Order) -> Option<usize> {
    choose::try_choose(arms, order)
}

pub fn choose_within(arms: &mut [Arm<'_>], order: Order, timeout: Duration) -> Option<usize> {
    choose::choose(arms, order, time::moment().after(timeout))
}

pub fn choose_until(arms: &mut [Arm<'_>], order: Order, deadline: Instant) -> Option<usize> {
    choose::choose(arms, order, Moment::from(deadline))
}

pub fn nothing_else() -> Never {
    unreachable!("a select without a limit has ended by none of its arms")
}
