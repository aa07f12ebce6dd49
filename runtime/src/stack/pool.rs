//! The stacks of one runtime.

use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::io;
use std::sync::Arc;
use std::time::Instant;

use super::cache;
use super::class::Class;
use super::layout::{Stack, StackSize};
use super::slab::Guards;

/// The stacks of one runtime: a class for each size, and the limit over all of them.
///
/// Dropping it unmaps all slabs whose stacks have come back, and leaks the others (see `slab`).
#[derive(Debug)]
pub(crate) struct StackPool {
    default: StackSize,
    max: Option<usize>,
    /// Reservations of all sizes; counted only if there is a `max`.
    live: AtomicUsize,
    /// Bit `c`: class `c` may have something to give back. Set after a `put`, cleared under the
    /// lock of the class when there is nothing; so a `put` that comes later sets it again.
    unsettled: AtomicU32,
    classes: [Class; StackSize::CLASSES],
}

impl StackPool {
    /// A pool for `workers` workers whose coroutines have stacks of `default` size unless they ask
    /// for another. At most `max` reservations are given at a time. Nothing is mapped yet.
    pub(crate) fn new(
        default: StackSize,
        workers: usize,
        max: Option<usize>,
        guards: Guards,
    ) -> Arc<StackPool> {
        let classes = core::array::from_fn(|class| {
            let size = StackSize::of_class(class);
            let margin = if size == default {
                workers * cache::capacity(size)
            } else {
                0
            };
            Class::new(size, guards, margin)
        });
        Arc::new(StackPool {
            default,
            max,
            live: AtomicUsize::new(0),
            unsettled: AtomicU32::new(0),
            classes,
        })
    }

    /// The size of stacks that nobody asked another size for.
    pub(crate) fn default_size(&self) -> StackSize {
        self.default
    }

    /// Reserves a stack: a later `take` on any worker will find one.
    ///
    /// # Errors
    ///
    /// `OutOfMemory` if the runtime's limit is reached, or if no more stacks can be mapped or
    /// guarded; the text says which, and what to raise. Nothing is reserved then.
    pub(crate) fn reserve(&self, size: StackSize) -> io::Result<()> {
        if let Some(max) = self.max {
            self.count_one(max)?;
        }
        self.classes[size.class()].reserve(1).inspect_err(|_| {
            if self.max.is_some() {
                self.live.fetch_sub(1, Ordering::Relaxed);
            }
        })
    }

    fn count_one(&self, max: usize) -> io::Result<()> {
        let one_more = |live| if live < max { Some(live + 1) } else { None };
        match self
            .live
            .try_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
        {
            Ok(_) => Ok(()),
            Err(live) => Err(io::Error::new(
                io::ErrorKind::OutOfMemory,
                format!(
                    "{live} coroutines are live, and max_coroutines is {max}: raise it, or wait until some have ended"
                ),
            )),
        }
    }

    /// Returns a reservation, after its stack was put back if one was taken.
    pub(crate) fn unreserve(&self, size: StackSize) {
        self.classes[size.class()].unreserve(1);
        if self.max.is_some() {
            self.live.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Gives memory back that was not used for a while: see `free`, and
    /// [`StackCache::maintain`](super::StackCache::maintain) for when to call again. Any number of
    /// workers may call. One call treats 32 stacks or a slab of each size at most: 0.1 ms or so.
    pub(crate) fn maintain(&self, now: Instant) -> Option<Instant> {
        let mut unsettled = self.unsettled.load(Ordering::Relaxed);
        let mut next: Option<Instant> = None;
        while unsettled != 0 {
            let class = unsettled.trailing_zeros() as usize;
            unsettled &= unsettled - 1;
            let then = self.classes[class].maintain(now, || {
                self.unsettled.fetch_and(!(1 << class), Ordering::Relaxed);
            });
            next = [next, then].into_iter().flatten().min();
        }
        next
    }

    /// Whether reservations may be handed out in advance: not under a limit, which must be exact.
    pub(super) fn gives_credit(&self) -> bool {
        self.max.is_none()
    }

    pub(super) fn class(&self, size: StackSize) -> &Class {
        &self.classes[size.class()]
    }

    /// Puts used stacks of one size onto the shared list.
    pub(super) fn put(&self, size: StackSize, stacks: impl Iterator<Item = Stack>) {
        self.classes[size.class()].put(stacks);
        let bit = 1 << size.class();
        // Read first: the word is shared by all workers and seldom changes.
        if self.unsettled.load(Ordering::Relaxed) & bit == 0 {
            self.unsettled.fetch_or(bit, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests;
