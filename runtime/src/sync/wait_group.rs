//! `WaitGroup`, as crossbeam has it.

use core::fmt;
use std::sync::Arc;

use crate::atomic::{AtomicUsize, Ordering};
use crate::sync::waiters::{Enter, Guarded, Place};
use crate::time::Moment;

/// Lets one or more wait until a group has done something; crossbeam's `WaitGroup` for coroutines and plain threads alike.
///
/// Each member has a clone, and drops it when it is done, which a panic and a cancellation see to, too. To [`wait`](WaitGroup::wait) is to drop
/// one's own and wait until there is none left. Unlike a [`Barrier`](super::Barrier) it need not know its number, and can be used once.
/// Unlike Go's, whose counter is raised and lowered by hand, it cannot be lowered too often, or be forgotten by who returns early.
/// Where what the members give is wanted as well, or borrows, [`scope`](crate::scope) is the simpler way.
///
/// # Examples
/// ```
/// use withy_runtime::{spawn, sync::WaitGroup};
///
/// let group = WaitGroup::new();
/// for _ in 0..4 {
///     let member = group.clone();
///     spawn(move || {
///         // …
///         drop(member);
///     });
/// }
/// group.wait();
/// ```
pub struct WaitGroup {
    inner: Arc<Inner>,
}

struct Inner {
    /// Clones that live. None is made when there is none.
    members: AtomicUsize,
    queue: Guarded<(), ()>,
}

impl WaitGroup {
    /// A group of one.
    #[must_use]
    pub fn new() -> WaitGroup {
        WaitGroup {
            inner: Arc::new(Inner {
                members: AtomicUsize::new(1),
                queue: Guarded::new(()),
            }),
        }
    }

    /// Drops this one, and waits until all others have been dropped, or wait, too.
    ///
    /// # Cancellation
    /// A blocking call: it unwinds if the coroutine is cancelled, or a [`timeout`](crate::timeout) around it elapses. The others
    /// do not wait for the caller then, since it has dropped its own already.
    ///
    /// # Panics
    /// Inside [`no_park`](crate::no_park), if it would have to wait.
    ///
    /// # Examples
    /// ```
    /// use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    /// use withy_runtime::{spawn, sync::WaitGroup};
    ///
    /// static ENDED: AtomicUsize = AtomicUsize::new(0);
    /// let group = WaitGroup::new();
    /// for _ in 0..3 {
    ///     let member = group.clone();
    ///     spawn(move || {
    ///         ENDED.fetch_add(1, Relaxed);
    ///         drop(member);
    ///     });
    /// }
    /// group.wait();
    /// assert_eq!(ENDED.load(Relaxed), 3);
    /// ```
    pub fn wait(self) {
        let inner = self.inner.clone();
        drop(self);
        inner.wait();
    }
}

impl Inner {
    fn is_done(&self) -> bool {
        // Acquire: what the members did.
        self.members.load(Ordering::Acquire) == 0
    }

    fn leave(&self) {
        // Release: what this member did; acquire: what the others did, for those whom the last one wakes.
        if self.members.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.queue.with(|access| access.wake_all(0, |()| {}));
        }
    }

    fn wait(&self) {
        self.queue.wait(
            Moment::NEVER,
            // Under the lock: the last member looks for those who wait under it, after it has left.
            |_| match self.is_done() {
                true => Enter::Done(()),
                false => Enter::Wait {
                    queue: 0,
                    place: Place::Back,
                    payload: (),
                },
            },
            |_, (), _| {},
        );
    }
}

impl Clone for WaitGroup {
    fn clone(&self) -> WaitGroup {
        // The other count first: it aborts where this one could overflow.
        let inner = self.inner.clone();
        // Relaxed: the caller's own keeps it from becoming 0.
        inner.members.fetch_add(1, Ordering::Relaxed);
        WaitGroup { inner }
    }
}

impl Drop for WaitGroup {
    fn drop(&mut self) {
        self.inner.leave();
    }
}

impl core::panic::UnwindSafe for WaitGroup {}
impl core::panic::RefUnwindSafe for WaitGroup {}

impl Default for WaitGroup {
    fn default() -> WaitGroup {
        WaitGroup::new()
    }
}

impl fmt::Debug for WaitGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitGroup")
            .field("members", &self.inner.members.load(Ordering::Relaxed))
            .finish_non_exhaustive()
    }
}
