//! [`std::sync`] for coroutines and threads alike: `use withy::sync` where it said `use std::sync`, and channels.
//!
//! Reading order: `README.md`; `waiters` (the one wait queue; its text is the protocol), `lock`, `tally`, `poison`; `raw_mutex` and
//! `mutex`, the first of what is built on it; the others as you need them.

mod barrier;
pub mod channel;
mod condvar;
mod lazy_lock;
mod lock;
pub mod mpsc;
mod mutex;
mod notify;
mod once;
mod once_lock;
mod parker;
mod permit;
mod poison;
mod raw_mutex;
mod raw_once;
mod raw_rwlock;
mod raw_semaphore;
mod rwlock;
pub(crate) mod select;
mod semaphore;
mod tally;
mod wait_group;
pub(crate) mod waiters;

pub use barrier::{Barrier, BarrierWaitResult};
pub use condvar::{Condvar, WaitTimeoutResult};
pub use lazy_lock::LazyLock;
pub use mutex::{Mutex, MutexGuard};
pub use notify::{Notified, Notify};
#[expect(deprecated, reason = "std has it, too")]
pub use once::ONCE_INIT;
pub use once::{Once, OnceState};
pub use once_lock::OnceLock;
pub use parker::{Parker, Unparker};
pub use permit::{Closed, OwnedPermit, Permit, TryAcquireError};
pub use poison::{LockResult, PoisonError, TryLockError, TryLockResult};
pub use rwlock::{RwLock, RwLockReadGuard, RwLockWriteGuard};
pub use semaphore::Semaphore;
pub use std::sync::{Arc, Weak, atomic};
pub(crate) use tally::charge_each_use;
pub use wait_group::WaitGroup;
