//! Time: what wakes a coroutine at an instant.

mod clock;
mod moment;
mod sleep;
mod timeout;
mod timers;
mod wheel;

pub use clock::now;
pub(crate) use clock::{Clock, Outstanding, moment};
pub(crate) use moment::Moment;
#[allow(deprecated, reason = "std has it too")]
pub use sleep::sleep_ms;
pub use sleep::{sleep, sleep_until};
pub use timeout::Elapsed;
pub(crate) use timeout::until;
#[cfg(panic = "unwind")]
pub use timeout::{deadline, timeout};
pub(crate) use timers::{Timer, Timers};
