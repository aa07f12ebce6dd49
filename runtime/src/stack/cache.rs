//! A worker's own stacks and reservations, so that the start and the end of a coroutine touch
//! nothing shared.

use core::fmt;
use core::marker::PhantomData;
use std::io;
use std::sync::Arc;

use super::layout::{Stack, StackSize};
use super::pool::StackPool;

/// Stacks that a cache holds at most, and reservations that it takes at a time.
const STACKS_MAX: usize = 64;

/// Address space that the stacks of a cache cover at most, unless two stacks take more. Since a
/// cache is trimmed only now and then, it bounds their memory too.
const BYTES_MAX: usize = 64 << 20;

/// One in so many stacks put into a cache is trimmed.
const TRIM_EVERY: u32 = 64;

/// One in so many stacks of other sizes is trimmed when put back.
const TRIM_UNCACHED_EVERY: u32 = 8;

/// How many stacks of `size`, if it is the default, a cache holds at most: 64, fewer from 2 MiB up.
pub(super) fn capacity(size: StackSize) -> usize {
    (BYTES_MAX / size.bytes()).clamp(2, STACKS_MAX)
}

/// Stacks and reservations at one worker's hand. Only stacks of the runtime's default size are kept
/// here; others come from the pool and go back to it one by one.
///
/// # How much memory it keeps
///
/// Stacks are handed out last used first. Every 64th `put` gives back what its stack used below 16
/// KiB; so does a stack that moves on to the shared list, if a sample of its batch was used deeper.
/// The ceiling is 64 stacks used to their full depth (12 MiB at the default size, never more than
/// 64 MiB or two stacks); what is shared is trimmed by [`StackPool::maintain`] at the latest.
pub(crate) struct StackCache {
    pool: Arc<StackPool>,
    /// The size that is cached.
    size: StackSize,
    /// Last used at the end; `capacity` at most, which is allocated up front.
    stacks: Vec<Stack>,
    capacity: usize,
    /// Reservations of `size` that count as given but belong to no coroutine.
    credits: usize,
    /// Where `credits` stops growing; 0 if there are none because the limit must be exact.
    credits_max: usize,
    puts: u32,
    /// A cache is used by the worker that owns it and no other thread.
    owner: PhantomData<*mut ()>,
}

impl StackCache {
    /// An empty cache. `pool` was told of at least as many workers as it gets caches.
    pub(crate) fn new(pool: Arc<StackPool>) -> StackCache {
        let size = pool.default_size();
        let capacity = capacity(size);
        let credits_max = if pool.gives_credit() { 2 * capacity } else { 0 };
        StackCache {
            pool,
            size,
            stacks: Vec::with_capacity(capacity),
            capacity,
            credits: 0,
            credits_max,
            puts: 0,
            owner: PhantomData,
        }
    }

    /// Reserves a stack, as [`StackPool::reserve`].
    ///
    /// # Errors
    ///
    /// As for [`StackPool::reserve`].
    #[inline]
    pub(crate) fn reserve(&mut self, size: StackSize) -> io::Result<()> {
        if size == self.size && self.credits > 0 {
            self.credits -= 1;
            return Ok(());
        }
        self.reserve_shared(size)
    }

    #[cold]
    fn reserve_shared(&mut self, size: StackSize) -> io::Result<()> {
        if size == self.size && self.credits_max > 0 {
            // Near the limit of memory a whole batch may be too much.
            if self.pool.class(size).reserve(self.capacity).is_ok() {
                self.credits += self.capacity - 1;
                return Ok(());
            }
        }
        self.pool.reserve(size)
    }

    /// Returns a reservation, after its stack was put back if one was taken.
    #[inline]
    pub(crate) fn unreserve(&mut self, size: StackSize) {
        if size == self.size && self.credits < self.credits_max {
            self.credits += 1;
            return;
        }
        self.unreserve_shared(size);
    }

    #[cold]
    fn unreserve_shared(&mut self, size: StackSize) {
        if size == self.size && self.credits >= self.capacity && self.credits_max > 0 {
            self.credits -= self.capacity;
            self.pool.class(size).unreserve(self.capacity);
        }
        self.pool.unreserve(size);
    }

    /// A stack for a coroutine that has a reservation and no stack yet.
    ///
    /// # Panics
    ///
    /// If there is no stack, which means that the caller had no reservation.
    #[inline]
    pub(crate) fn take(&mut self, size: StackSize) -> Stack {
        if size == self.size
            && let Some(stack) = self.stacks.pop()
        {
            return stack;
        }
        self.take_shared(size)
    }

    #[cold]
    fn take_shared(&mut self, size: StackSize) -> Stack {
        const FOUND: &str = "a reservation is owed one stack";
        if size == self.size {
            self.pool
                .class(size)
                .take(&mut self.stacks, self.capacity / 2);
            return self.stacks.pop().expect(FOUND);
        }
        let mut one = Vec::with_capacity(1);
        self.pool.class(size).take(&mut one, 1);
        one.pop().expect(FOUND)
    }

    /// Takes a stack back, on which nothing runs or is needed any more.
    #[inline]
    pub(crate) fn put(&mut self, stack: Stack) {
        self.puts = self.puts.wrapping_add(1);
        if stack.size() == self.size
            && self.stacks.len() < self.capacity
            && !self.puts.is_multiple_of(TRIM_EVERY)
        {
            self.stacks.push(stack);
            return;
        }
        self.put_slowly(stack);
    }

    #[cold]
    fn put_slowly(&mut self, mut stack: Stack) {
        if stack.size() != self.size {
            if self.puts.is_multiple_of(TRIM_UNCACHED_EVERY) {
                stack.trim();
            }
            return self.pool.put(stack.size(), core::iter::once(stack));
        }
        if self.puts.is_multiple_of(TRIM_EVERY) {
            stack.trim();
        }
        if self.stacks.len() == self.capacity {
            self.spill(self.capacity / 2);
        }
        self.stacks.push(stack);
    }

    /// Moves the `count` stacks that were used longest ago to the shared list.
    fn spill(&mut self, count: usize) {
        // A look at a stack costs as much as all else here together, and stacks that were run on in
        // a row tend to be alike: so two are a sample of their batch. (Of two neighbours in time,
        // `put` has trimmed one at most.) Those that it misses are found by `maintain`, if they lie
        // unused.
        let deep = [count / 2, count - 1].map(|index| self.stacks[index].trim());
        if deep.contains(&true) {
            self.stacks[..count].iter_mut().for_each(|stack| {
                stack.trim();
            });
        }
        self.pool.put(self.size, self.stacks.drain(..count));
    }
}

impl Drop for StackCache {
    fn drop(&mut self) {
        if !self.stacks.is_empty() {
            self.spill(self.stacks.len());
        }
        self.pool.class(self.size).unreserve(self.credits);
    }
}

impl fmt::Debug for StackCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StackCache")
            .field("stacks", &self.stacks.len())
            .field("credits", &self.credits)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
