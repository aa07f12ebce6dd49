//! [`std::sync`] for coroutines and threads alike: `use withy::sync` where it said `use std::sync`, and channels.
//!
//! Reading order: `waiters` (the one wait queue; its text is the protocol), `lock`, `tally`, `poison`; `raw_mutex` and `mutex`, the first of what is built on
//! it; the others as you need them.

pub mod channel;
mod condvar;
mod lock;
pub mod mpsc;
mod mutex;
mod poison;
mod raw_mutex;
mod raw_rwlock;
mod rwlock;
mod tally;
pub(crate) mod waiters;

pub use condvar::{Condvar, WaitTimeoutResult};
pub use mutex::{Mutex, MutexGuard};
pub use poison::{LockResult, PoisonError, TryLockError, TryLockResult};
pub use rwlock::{RwLock, RwLockReadGuard, RwLockWriteGuard};
pub(crate) use tally::charge_each_use;
