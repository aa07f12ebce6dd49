#![doc = include_str!("../README.md")]

pub use withy_net as net;
pub use withy_net::io;
pub use withy_net::signal;
pub use withy_runtime::sync;
pub use withy_runtime::{
    AccessError, Builder, CancelToken, Cancelled, Coroutine, CoroutineId, CoroutineLocal, Elapsed,
    JoinFuture, JoinHandle, Runtime, RuntimeBuilder, Scope, ScopedJoinHandle, Steal, block_on,
    blocking, compute, coroutine_local, current, fs, no_park, now, park, park_timeout, run, scope,
    select, select_biased, shield, sleep, sleep_until, spawn, spawn_blocking, spawn_local,
    spawn_on, yield_now,
};
#[cfg(panic = "unwind")]
pub use withy_runtime::{TryScope, deadline, timeout, try_scope};

/// [`std::thread`] with coroutines in the place of threads: `use withy::thread` where it said `use std::thread`.
///
/// What concerns OS threads alone is std's own.
pub mod thread {
    pub use std::thread::{AccessError, LocalKey, Result, available_parallelism, panicking};

    pub use withy_runtime::{
        Builder, Coroutine as Thread, CoroutineId as ThreadId, JoinHandle, Scope, ScopedJoinHandle,
        current, park, park_timeout, scope, sleep, sleep_until, spawn, yield_now,
    };
    #[allow(deprecated, reason = "std has them too")]
    pub use withy_runtime::{park_timeout_ms, sleep_ms};
}
