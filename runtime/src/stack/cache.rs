//! A worker's own stacks and reservations, so that the start and the end of a coroutine touch
//! nothing shared.

use core::fmt;
use core::marker::PhantomData;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use super::free::PERIOD;
use super::layout::{Stack, StackSize};
use super::pool::StackPool;

/// Stacks that a cache holds at most, and reservations that it takes at a time.
const STACKS_MAX: usize = 64;

/// Address space that the stacks of a cache cover at most, unless two stacks take more; so it bounds
/// their memory too.
const BYTES_MAX: usize = 64 << 20;

/// How often a spill looks whether stacks are used deeply, while they are not. A look (mincore)
/// takes 1.3 to 2 µs on the virtual machine this was made on; so it costs 8 ns a stack at most.
const SPILLS_A_LOOK: u32 = 8;

/// How many stacks of `size`, if it is the default, a cache holds at most: 64, fewer from 2 MiB up.
pub(super) fn capacity(size: StackSize) -> usize {
    (BYTES_MAX / size.bytes()).clamp(2, STACKS_MAX)
}

/// Stacks and reservations at one worker's hand. Only stacks of the runtime's default size are kept
/// here; others come from the pool and go back to it one by one.
///
/// # How much memory it keeps
///
/// Stacks are handed out last used first. Whatever lies unused for a second while the worker is
/// idle is trimmed to 16 KiB by [`maintain`](Self::maintain); looking at each stack as it is put
/// back would cost twenty times what all else here does. The ceiling for a worker that is
/// never idle is 64 stacks used to their full depth: 12 MiB at the default size, never more than
/// 64 MiB or two stacks.
///
/// A cache that is full *spills*: it moves the 32 stacks that were used longest ago to the shared
/// list. One spill in eight looks at a stack; if that was used deeply, its whole batch is trimmed,
/// and the next spill looks too. So where many deep stacks circulate, all but the first few hundred
/// are trimmed on their way, and those by [`maintain`](Self::maintain) once they lie unused.
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
    /// So many at the front of `stacks` stayed there since the last `maintain`.
    undisturbed: usize,
    /// So many at the front of `stacks` were trimmed then.
    trimmed: usize,
    /// When stacks that are still undisturbed are to be trimmed.
    trim_at: Option<Instant>,
    /// Spills until one looks at a stack.
    look_in: u32,
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
            undisturbed: 0,
            trimmed: 0,
            trim_at: None,
            look_in: 1,
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
            self.undisturbed = self.undisturbed.min(self.stacks.len());
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
        self.pool.class(size).take_one().expect(FOUND)
    }

    /// Takes a stack back, on which nothing runs or is needed any more.
    #[inline]
    pub(crate) fn put(&mut self, stack: Stack) {
        if stack.size() == self.size && self.stacks.len() < self.capacity {
            self.stacks.push(stack);
            return;
        }
        self.put_shared(stack);
    }

    #[cold]
    fn put_shared(&mut self, stack: Stack) {
        if stack.size() != self.size {
            return self.pool.put(stack.size(), core::iter::once(stack));
        }
        self.spill(self.capacity / 2);
        self.stacks.push(stack);
    }

    /// Moves the `count` stacks that were used longest ago to the shared list.
    fn spill(&mut self, count: usize) {
        self.look_in -= 1;
        if self.look_in == 0 {
            self.look_in = if self.trim_if_alike(count) {
                1
            } else {
                SPILLS_A_LOOK
            };
        }
        self.pool.put(self.size, self.stacks.drain(..count));
        self.undisturbed = 0;
    }

    /// Trims the first `count` stacks if the last used one of them needed it. Stacks that were run
    /// on in a row tend to be alike.
    fn trim_if_alike(&mut self, count: usize) -> bool {
        let (sample, others) = self.stacks[..count]
            .split_last_mut()
            .expect("some are spilled");
        let deep = sample.trim();
        if deep {
            trim_all(others);
        }
        deep
    }

    /// Gives back memory that was not used for a while, of this cache and of the pool.
    ///
    /// For a worker to call before it sleeps. `None`: there is nothing to do until this worker has
    /// run coroutines again. Otherwise it sleeps until then at the latest, and calls again if it
    /// is still idle; if that is not later than `now`, it looks for work first and then
    /// calls again at once. An idle worker is called a few times, seconds apart (one more for each
    /// time that the surplus halves), and then no more.
    pub(crate) fn maintain(&mut self, now: Instant) -> Option<Instant> {
        [self.trim_unused(now), self.pool.maintain(now)]
            .into_iter()
            .flatten()
            .min()
    }

    fn trim_unused(&mut self, now: Instant) -> Option<Instant> {
        self.trimmed = self.trimmed.min(self.undisturbed);
        match self.trim_at {
            Some(then) if now < then => return Some(then),
            Some(_) if self.trimmed < self.undisturbed => {
                trim_all(&mut self.stacks[self.trimmed..self.undisturbed]);
                self.trimmed = self.undisturbed;
            }
            _ => {}
        }
        self.undisturbed = self.stacks.len();
        self.trim_at = (self.trimmed < self.stacks.len()).then(|| now + PERIOD);
        self.trim_at
    }
}

fn trim_all(stacks: &mut [Stack]) {
    for stack in stacks {
        stack.trim();
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
