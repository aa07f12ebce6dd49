//! The netpoller: readiness of descriptors, turned into unparks.
//!
//! Reading order: the states and the proof below, `slot.rs` (one word per direction), `lobby.rs` (who else waits),
//! `slab.rs` (where slots live), `driver.rs` (a worker's epoll instance), `interest.rs` (where a descriptor is
//! registered), `limits.rs` (how long a call waits), `visit.rs` (one call that may have to wait), `socket_arm.rs` (one that waits for other things, too), `registration.rs` (the seam that net builds on).
#![doc = include_str!("README.md")]

mod driver;
mod interest;
mod limits;
mod lobby;
mod registration;
mod slab;
mod slot;
mod socket_arm;
mod visit;
mod wait;

#[cfg(test)]
mod tests;

pub(crate) use driver::Driver;
#[doc(hidden)]
pub use limits::{Clock, End, Limits};
pub use registration::{Direction, Registration};
pub use socket_arm::AsRegistration;
#[doc(hidden)]
pub use socket_arm::SocketArm;
#[doc(hidden)]
pub use visit::{refuse_while_unwinding, wait_may_unwind};
