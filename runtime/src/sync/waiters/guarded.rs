//! A state and its queues under one short lock, and the lock while it is held.

use core::cell::UnsafeCell;
use core::panic::{RefUnwindSafe, UnwindSafe};

use super::access::Access;
use super::queue::Queue;
use super::wakes::Wakes;
use crate::sync::lock::SpinLock;

/// A state, and `N` queues of those who wait for it to change, under one lock.
pub(crate) struct Guarded<S, P, const N: usize = 1> {
    pub(super) lock: SpinLock,
    pub(super) inner: UnsafeCell<Inner<S, P, N>>,
}

pub(super) struct Inner<S, P, const N: usize> {
    pub(super) state: S,
    pub(super) queues: [Queue<P>; N],
}

// SAFETY: the state and the queues are reached under the lock only, from one thread at a time. A payload is moved from the
// waiter's thread to the waker's and back, so it must be Send, as the state.
unsafe impl<S: Send, P: Send, const N: usize> Send for Guarded<S, P, N> {}
// SAFETY: as above; nothing hands out a `&S` or `&P` to two threads.
unsafe impl<S: Send, P: Send, const N: usize> Sync for Guarded<S, P, N> {}

// Nothing panics under the lock: a panic leaves no state in between behind.
impl<S, P, const N: usize> UnwindSafe for Guarded<S, P, N> {}
impl<S, P, const N: usize> RefUnwindSafe for Guarded<S, P, N> {}

impl<S, P, const N: usize> Guarded<S, P, N> {
    pub(crate) const fn new(state: S) -> Guarded<S, P, N> {
        Guarded {
            lock: SpinLock::new(),
            inner: UnsafeCell::new(Inner {
                state,
                queues: [const { Queue::new() }; N],
            }),
        }
    }

    /// Runs `f` under the lock, and then lets go whom it has woken.
    ///
    /// `f` is the runtime's own: it neither parks nor drops a user's values, nor runs a user's code.
    #[inline]
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut Access<'_, S, P, N>) -> R) -> R {
        let mut held = self.hold();
        f(&mut held.access())
    }

    /// Takes the lock, for what looks first and then waits in the same section; see [`Held::wait`]. As for `with`, nothing of a
    /// user's is run or dropped before it is free.
    #[inline]
    pub(crate) fn hold(&self) -> Held<'_, S, P, N> {
        Held::new(self)
    }

    pub(crate) fn get_mut(&mut self) -> &mut S {
        &mut self.inner.get_mut().state
    }
}

/// The lock, held. Whoever is woken meanwhile is let go when it is free.
pub(crate) struct Held<'a, S, P, const N: usize> {
    pub(super) guarded: &'a Guarded<S, P, N>,
    wakes: Wakes,
}

impl<'a, S, P, const N: usize> Held<'a, S, P, N> {
    #[inline]
    pub(super) fn new(guarded: &'a Guarded<S, P, N>) -> Held<'a, S, P, N> {
        guarded.lock.lock();
        Held {
            guarded,
            wakes: Wakes::new(),
        }
    }

    #[inline]
    pub(crate) fn access(&mut self) -> Access<'_, S, P, N> {
        // SAFETY: the lock is ours for as long as `self` lives, and `&mut self` makes this the only access.
        let inner = unsafe { &mut *self.guarded.inner.get() };
        Access {
            state: &mut inner.state,
            queues: &mut inner.queues,
            wakes: &mut self.wakes,
        }
    }
}

impl<S, P, const N: usize> Drop for Held<'_, S, P, N> {
    #[inline]
    fn drop(&mut self) {
        self.guarded.lock.unlock();
        // The wakes are dropped, and so let go, after this.
    }
}
