//! Poisoning: a lock that was held when its holder panicked says so to whoever locks it next. std's types, std's rules;
//! a cancellation or an elapsed timeout poisons nothing (law 5).

use core::fmt;
use core::ops::Deref;
use core::sync::atomic::{AtomicBool, Ordering};
pub use std::sync::{LockResult, PoisonError, TryLockError, TryLockResult};

use crate::task::interrupt;

pub(crate) struct Flag(AtomicBool);

impl Flag {
    pub(crate) const fn new() -> Flag {
        Flag(AtomicBool::new(false))
    }

    /// For a guard that is made now.
    #[inline]
    pub(crate) fn watch(&self) -> Watch {
        Watch {
            panicking: interrupt::is_panicking(),
        }
    }

    /// A guard is dropped: poisons, if its holder has begun to panic since it was made.
    #[inline]
    pub(crate) fn done(&self, watch: &Watch) {
        // Relaxed: the lock, which is unlocked after it, orders it.
        if !watch.panicking && interrupt::is_panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// Relaxed: the lock orders it.
    #[inline]
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn clear(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// A lock as std shows it, with what is locked, if `locked` has it.
    pub(crate) fn fmt_lock<G>(
        &self,
        f: &mut fmt::Formatter<'_>,
        name: &str,
        locked: TryLockResult<G>,
    ) -> fmt::Result
    where
        G: Deref<Target: fmt::Debug>,
    {
        let mut debug = f.debug_struct(name);
        match locked {
            Ok(guard) => debug.field("data", &&*guard),
            Err(TryLockError::Poisoned(error)) => debug.field("data", &&**error.get_ref()),
            Err(TryLockError::WouldBlock) => debug.field("data", &format_args!("<locked>")),
        };
        debug
            .field("poisoned", &self.is_set())
            .finish_non_exhaustive()
    }

    /// `guard`, with the poison noted.
    #[inline]
    pub(crate) fn guarded<G>(&self, guard: G) -> LockResult<G> {
        if self.is_set() {
            Err(PoisonError::new(guard))
        } else {
            Ok(guard)
        }
    }
}

/// Whether its holder was panicking when a guard was made.
#[derive(Clone, Copy)]
pub(crate) struct Watch {
    panicking: bool,
}
