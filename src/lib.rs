#![doc = include_str!("../README.md")]

pub use withy_net as net;
pub use withy_runtime::{
    Builder, Coroutine, CoroutineId, JoinHandle, Runtime, RuntimeBuilder, Steal, current, no_park,
    park, park_timeout, run, sleep, spawn, spawn_local, spawn_on, yield_now,
};

/// [`std::thread`] with coroutines in the place of threads: `use withy::thread` where it said `use std::thread`.
///
/// What concerns OS threads alone is std's own. Of these, [`scope`](std::thread::scope) starts OS threads and, called
/// inside a coroutine, holds that coroutine's worker until they have ended.
pub mod thread {
    pub use std::thread::{
        AccessError, LocalKey, Result, Scope, ScopedJoinHandle, available_parallelism, panicking,
        scope,
    };

    pub use withy_runtime::{
        Builder, Coroutine as Thread, CoroutineId as ThreadId, JoinHandle, current, park,
        park_timeout, sleep, spawn, yield_now,
    };
    #[allow(deprecated, reason = "std has them too")]
    pub use withy_runtime::{park_timeout_ms, sleep_ms};
}
