//! Time: what wakes a coroutine at an instant.

mod sleep;
mod timers;

pub use sleep::sleep;
pub(crate) use timers::{Timers, arm};
