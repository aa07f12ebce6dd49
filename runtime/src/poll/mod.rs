//! The netpoller: readiness of descriptors, turned into unparks.
//!
//! Reading order: the states and the proof below, `slot.rs` (one word per direction), `lobby.rs` (who else waits),
//! `slab.rs` (where slots live), `driver.rs` (a worker's epoll instance), `interest.rs` (where a descriptor is
//! registered), `visit.rs` (one call that may have to wait), `registration.rs` (the seam that net builds on).
#![doc = include_str!("README.md")]

mod driver;
mod interest;
mod lobby;
mod registration;
mod slab;
mod slot;
mod visit;
mod wait;

#[cfg(test)]
mod tests;

pub(crate) use driver::Driver;
pub use registration::{Direction, Registration};
