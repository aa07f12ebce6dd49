//! Coroutines as the rest of the runtime sees them: the state word, the record, park and unpark, join.
#![doc = include_str!("README.md")]

pub(crate) mod cancel;
pub(crate) mod handle;
pub(crate) mod header;
pub(crate) mod interrupt;
pub(crate) mod join;
pub(crate) mod join_word;
pub(crate) mod live;
mod local;
pub mod monitor;
pub(crate) mod no_park;
pub(crate) mod park;
pub(crate) mod plain;
pub(crate) mod records;
pub(crate) mod root;
pub(crate) mod scope;
pub(crate) mod state;
pub(crate) mod thread;

pub use cancel::{CancelToken, shield};
#[allow(deprecated, reason = "std has it too")]
pub use handle::park_timeout_ms;
pub use handle::{Coroutine, CoroutineId, current, park, park_timeout, yield_now};
pub use join::JoinHandle;
pub use local::{AccessError, CoroutineLocal};
pub use no_park::no_park;
pub use scope::{Scope, ScopedJoinHandle, scope};
#[cfg(panic = "unwind")]
pub use scope::{TryScope, try_scope};
