//! The runtime of withy: stackful coroutines on work-stealing workers with a netpoller each.
//!
//! Use the façade crate `withy`; this one is the machinery below it and below `withy-net`, whose seams are
//! [`poll::Registration`] and, hidden, `monitor`.
//!
//! # Reading order
//! 1. `task`: a coroutine's record and state word, park and unpark, join; what interrupts a wait; scopes;
//! 2. `coroutine`: the switch between stacks, and unwinding;
//! 3. `stack`: where stacks come from, their guards, the overflow report;
//! 4. `scheduler`: what runs next and where, stealing, sleep and wake-up, the watchdog, the end;
//! 5. `poll`: the netpoller: from an epoll event to an unpark;
//! 6. `time`, `blocking`, `fs`: timers and timeouts, threads for what blocks or computes, and files on them;
//! 7. `sync`: the wait queue, and the locks and channels that are built on it; `future`: to async code and back;
//! 8. `context`, `spawn`, `builder`, `runtime`: the ways in; `fork`: the way that is closed.
//!
//! # Where unsafe lives
//! `task::{header, interrupt, join, live, no_park, park, plain, records, scope, thread}`, `coroutine::switch`, `stack`,
//! `scheduler::{inbox, inspect, shared, shutdown, watchdog, worker}`, `poll` (but for its slots and lobby), `time::timers`,
//! `blocking::{job, lend, pool}`, `sync` (the modules that say so), `context`, `fork`, `future`, `spawn`, `runtime`. The pure protocols (`task::{state, join_word}`,
//! `scheduler::idle`, `poll::{slot, lobby}`, `blocking::queue`, `time::wheel`) hold none.

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!(
    "withy runs on 64-bit Linux only: it is built on epoll and on large reserved address ranges"
);

mod atomic;
mod blocking;
mod builder;
mod context;
mod coroutine;
mod fork;
pub mod fs;
mod future;
pub mod poll;
mod runtime;
mod scheduler;
mod spawn;
mod stack;
pub mod sync;
mod task;
mod time;

pub use blocking::{blocking, compute, spawn_blocking};
pub use builder::{RuntimeBuilder, Steal};
pub use coroutine::unwind::Cancelled;
#[doc(hidden)]
pub use coroutine::unwind::is_interruption;
pub use future::{JoinFuture, block_on};
pub use runtime::Runtime;
#[doc(hidden)]
pub use spawn::workers;
pub use spawn::{Builder, run, spawn, spawn_local, spawn_on};
#[doc(hidden)]
pub use task::monitor;
#[allow(deprecated, reason = "std has them too")]
pub use task::park_timeout_ms;
pub use task::{
    AccessError, CancelToken, Coroutine, CoroutineId, CoroutineLocal, JoinHandle, Scope,
    ScopedJoinHandle, current, no_park, park, park_timeout, scope, shield, yield_now,
};
#[cfg(panic = "unwind")]
pub use task::{TryScope, try_scope};
#[allow(deprecated, reason = "std has it too")]
pub use time::sleep_ms;
pub use time::{Elapsed, now, sleep, sleep_until};
#[cfg(panic = "unwind")]
pub use time::{deadline, timeout};
