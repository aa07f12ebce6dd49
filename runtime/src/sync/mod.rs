//! [`std::sync`] for coroutines and threads alike: `use withy::sync` where it said `use std::sync`, and channels.
//!
//! Reading order: `waiters` (the one wait queue; its text is the protocol), `lock`, `tally`, `poison`; `raw_mutex` and `mutex`, the first of what is built on
//! it; the others as you need them.

mod barrier;
mod lock;
mod mutex;
mod notify;
mod parker;
mod permit;
mod poison;
mod raw_mutex;
mod raw_semaphore;
mod semaphore;
mod tally;
mod wait_group;
pub(crate) mod waiters;

pub use barrier::{Barrier, BarrierWaitResult};
pub use mutex::{Mutex, MutexGuard};
pub use notify::{Notified, Notify};
pub use parker::{Parker, Unparker};
pub use permit::{Closed, OwnedPermit, Permit, TryAcquireError};
pub use poison::{LockResult, PoisonError, TryLockError, TryLockResult};
pub use semaphore::Semaphore;
pub(crate) use tally::charge_each_use;
pub use wait_group::WaitGroup;
