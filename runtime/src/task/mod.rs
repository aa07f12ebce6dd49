//! Coroutines as the rest of the runtime sees them: the state word, the record, park and unpark, join.
#![doc = include_str!("README.md")]

pub(crate) mod header;
pub(crate) mod join;
pub(crate) mod join_word;
pub(crate) mod live;
pub(crate) mod park;
pub(crate) mod records;
pub(crate) mod state;
pub(crate) mod thread;

pub use join::JoinHandle;
#[allow(deprecated, reason = "std has it too")]
pub use park::park_timeout_ms;
pub use park::{Coroutine, CoroutineId, current, no_park, park, park_timeout, yield_now};
