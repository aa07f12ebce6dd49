//! The runtime of withy: stackful coroutines on work-stealing workers with a netpoller each.
//!
//! Use the façade crate `withy`; this one is the machinery below it and below `withy-net`, whose one seam is
//! [`poll::Registration`] (and, hidden, `blocking::run`, until that is a public interface).
//!
//! # Reading order
//! 1. `task`: a coroutine's record and state word, park and unpark, join;
//! 2. `coroutine`: the switch between stacks, and unwinding;
//! 3. `stack`: where stacks come from, their guards, the overflow report;
//! 4. `scheduler`: what runs next and where, stealing, sleep and wake-up, the end;
//! 5. `poll`: the netpoller: from an epoll event to an unpark;
//! 6. `time`, `blocking`: timers, and threads for what blocks;
//! 7. `context`, `spawn`, `builder`, `runtime`: the ways in.
//!
//! # Where unsafe lives
//! `task::{header, join, live, park, records, thread}`, `coroutine::switch`, `stack`,
//! `scheduler::{inbox, shared, shutdown, worker}`, `poll` (but for its slots and lobby), `context`, `spawn`, `runtime`,
//! `blocking`. The pure protocols (`task::{state, join_word}`, `scheduler::idle`, `poll::{slot, lobby}`) hold none.

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!(
    "withy runs on 64-bit Linux only: it is built on epoll and on large reserved address ranges"
);

mod atomic;
#[doc(hidden)]
pub mod blocking;
mod builder;
mod context;
mod coroutine;
pub mod poll;
mod runtime;
mod scheduler;
mod spawn;
mod stack;
mod task;
mod time;

pub use builder::{RuntimeBuilder, Steal};
pub use runtime::Runtime;
pub use spawn::{Builder, run, spawn, spawn_local, spawn_on};
#[allow(deprecated, reason = "std has them too")]
pub use task::park_timeout_ms;
pub use task::{
    Coroutine, CoroutineId, JoinHandle, current, no_park, park, park_timeout, yield_now,
};
pub use time::sleep;
#[allow(deprecated, reason = "std has it too")]
pub use time::sleep_ms;
