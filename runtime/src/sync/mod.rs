//! [`std::sync`] for coroutines and threads alike: `use withy::sync` where it said `use std::sync`, and channels.
//!
//! Reading order: `waiters` (the one wait queue; its text is the protocol), `lock`, `tally`, `poison`; `raw_mutex` and `mutex`, the first of what is built on
//! it; the others as you need them.

mod lazy_lock;
mod lock;
mod mutex;
mod once;
mod once_lock;
mod poison;
mod raw_mutex;
mod raw_once;
mod tally;
pub(crate) mod waiters;

pub use lazy_lock::LazyLock;
pub use mutex::{Mutex, MutexGuard};
#[expect(deprecated, reason = "std has it, too")]
pub use once::ONCE_INIT;
pub use once::{Once, OnceState};
pub use once_lock::OnceLock;
pub use poison::{LockResult, PoisonError, TryLockError, TryLockResult};
pub use std::sync::{Arc, Weak, atomic};
pub(crate) use tally::charge_each_use;
