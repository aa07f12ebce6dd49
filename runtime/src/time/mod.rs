//! Time: what wakes a coroutine at an instant.

mod sleep;
mod timers;

#[allow(deprecated, reason = "std has it too")]
pub use sleep::{sleep, sleep_ms};
pub(crate) use timers::{Timers, arm};
