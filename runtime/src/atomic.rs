//! The atomics of the pure protocol files.
//!
//! `task/state.rs`, `scheduler/idle.rs`, `scheduler/inbox.rs`, `poll/slot.rs` import their atomics from here and depend
//! on nothing else of the crate. The loom models in `runtime/tests/` include those files by path and put loom's
//! atomics in this module's place, so that the code that ships is the code that is checked. What waits in `sync` is
//! included so, too, on a model of `park` (`runtime/tests/model/sync.rs`).

pub(crate) use core::cell::Cell;
pub(crate) use core::hint::spin_loop;
pub(crate) use core::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};

/// A mutex in the one form that both parking_lot's and loom's can take.
pub(crate) struct Lock<T>(parking_lot::Mutex<T>);

impl<T> Lock<T> {
    pub(crate) fn new(value: T) -> Lock<T> {
        Lock(parking_lot::Mutex::new(value))
    }

    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        f(&mut self.0.lock())
    }
}
