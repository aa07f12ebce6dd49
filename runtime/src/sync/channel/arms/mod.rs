//! The arms of a select that send and receive. The protocol is in `sync/select/README.md`.

mod clock;
mod recv;
mod seat;
mod send;
mod sending;

pub(in crate::sync) use clock::RecvArm;
pub(in crate::sync) use send::SendArm;
pub(crate) use send::send_as;
pub(in crate::sync) use sending::Sending;
