//! All stacks of one size: how many are promised, and when more are mapped.
//!
//! # Why a reservation always finds a stack
//!
//! Of the *mapped* stacks of a class, each is in one of three places: on a coroutine (*out*), in a
//! worker's *cache*, or *shared* (here, in [`Free`]). Two numbers, changed in one word
//! ([`Places`]), keep reservations honest:
//!
//! - *reserved*: reservations given and not returned, those that workers hold in advance as credits
//!   included;
//! - *room*: how many there may be. Always `room = mapped - margin`, and `reserved <= room`.
//!
//! The *margin* is what all caches together can hold. Who takes a stack has a reservation and no
//! stack yet, so `out <= reserved - 1`, and if its own cache is empty the others hold at most
//! `margin - capacity`. So
//!
//! ```text
//! shared = mapped - out - cached
//!       >= (reserved + margin) - (reserved - 1) - (margin - capacity) = capacity + 1
//! ```
//!
//! and a refill of half a capacity finds its stacks, whatever the other workers have cached. Sizes
//! other than the runtime's default are not cached: their margin and capacity are 0, and one stack
//! is found for one taker.
//!
//! *Orderings*: `Places` is relaxed throughout. Stacks themselves pass through the mutex of `Free`.
//! A taker sees those that its reservation counts on, since room grows inside the critical section
//! that adds them: had the taker's critical section come first, its reservation would have read a
//! value from its own future.

use core::sync::atomic::{AtomicU64, Ordering};
use std::io;
use std::time::Instant;

use parking_lot::Mutex;

use super::free::Free;
use super::layout::{Stack, StackSize};
use super::slab::{Guards, Slab};

const SLAB_BYTES_MAX: usize = 256 << 20;
const SLAB_STACKS_MIN: usize = 64;
const SLAB_STACKS_MAX: usize = 1024;

/// All stacks of one size.
#[derive(Debug)]
pub(super) struct Class {
    size: StackSize,
    guards: Guards,
    margin: usize,
    places: Places,
    /// Held while a slab is mapped, so that a crowd that finds no room maps one and not one each.
    /// `free` is not held meanwhile: guards of a large slab take a millisecond. The number is how
    /// much of the margin is mapped.
    growing: Mutex<usize>,
    free: Mutex<Free>,
}

impl Class {
    /// No stacks yet; caches will hold at most `margin` of them.
    pub(super) fn new(size: StackSize, guards: Guards, margin: usize) -> Class {
        Class {
            size,
            guards,
            margin,
            places: Places::default(),
            growing: Mutex::new(0),
            free: Mutex::new(Free::default()),
        }
    }

    /// Reserves `count` stacks, mapping more where there are too few.
    pub(super) fn reserve(&self, count: usize) -> io::Result<()> {
        while !self.places.reserve(count) {
            self.grow(count)?;
        }
        Ok(())
    }

    pub(super) fn unreserve(&self, count: usize) {
        self.places.unreserve(count);
    }

    /// Maps one slab, unless another thread made room for `count` meanwhile.
    #[cold]
    fn grow(&self, count: usize) -> io::Result<()> {
        let mut margin_mapped = self.growing.lock();
        if self.places.has_room(count) {
            return Ok(());
        }
        let mapped = *margin_mapped + self.places.room();
        let large = large_slab(self.size);
        // A failure leaves it at that, though a smaller slab might still fit: what is left of
        // address space and mappings is for the rest of the process.
        let slab = Slab::map(
            self.size,
            mapped.clamp(SLAB_STACKS_MIN.min(large), large),
            self.guards,
        )?;
        let withheld = slab.count().min(self.margin - *margin_mapped);
        *margin_mapped += withheld;
        let room = slab.count() - withheld;
        let mut free = self.free.lock();
        free.add_slab(slab);
        self.places.add_room(room);
        Ok(())
    }

    /// Moves up to `count` free stacks to the end of `to`, the last used ones last. Fewer than
    /// one only if the caller has no reservation.
    pub(super) fn take(&self, to: &mut Vec<Stack>, count: usize) {
        self.free.lock().take(to, count);
    }

    /// The free stack that was used last. None only if the caller has no reservation.
    pub(super) fn take_one(&self) -> Option<Stack> {
        self.free.lock().take_one()
    }

    /// Takes stacks that were run on; the last one is the first to be handed out again.
    pub(super) fn put(&self, stacks: impl Iterator<Item = Stack>) {
        self.free.lock().put(stacks);
    }

    /// Gives back what was not used for a period. When to call again: at once (`now`), later, or
    /// not before the next `put`; then `settled` is called, with the lock held.
    pub(super) fn maintain(&self, now: Instant, settled: impl FnOnce()) -> Option<Instant> {
        let mut emptied = None;
        let mut free = self.free.lock();
        let next = free.maintain(now, |slabs| {
            let spare = large_slab(self.size);
            let mut leaving = slabs.extract_if(.., |slab| {
                slab.all_home() && self.places.give_up_room(slab.count(), spare)
            });
            // One at a time: its page tables go with it, which takes a while.
            emptied = leaving.next();
            emptied.is_some()
        });
        if next.is_none() {
            settled();
        }
        drop(free);
        // Unmapped without the lock.
        drop(emptied);
        next
    }

    #[cfg(test)]
    pub(super) fn counts(&self) -> Counts {
        let free = self.free.lock();
        Counts {
            reserved: self.places.reserved(),
            mapped: free.slabs().iter().map(Slab::count).sum(),
            warm: free.warm(),
            slabs: free.slabs().len(),
        }
    }
}

/// What tests look at.
#[cfg(test)]
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(super) struct Counts {
    pub(super) reserved: usize,
    pub(super) mapped: usize,
    pub(super) warm: usize,
    pub(super) slabs: usize,
}

/// The number of stacks in the largest slab of a size: 1,024, or what 256 MiB hold, or 1.
fn large_slab(size: StackSize) -> usize {
    (SLAB_BYTES_MAX / size.bytes()).clamp(1, SLAB_STACKS_MAX)
}

/// How many reservations there are (low half) and how many there may be (high half), in one word,
/// so that room is never given up under a reservation that is just being made.
#[derive(Debug, Default)]
struct Places(AtomicU64);

impl Places {
    fn reserve(&self, count: usize) -> bool {
        self.0
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
                (reserved(word) + count <= room(word)).then_some(word + count as u64)
            })
            .is_ok()
    }

    fn unreserve(&self, count: usize) {
        let before = self.0.fetch_sub(count as u64, Ordering::Relaxed);
        debug_assert!(
            reserved(before) >= count,
            "a reservation was returned twice"
        );
    }

    fn has_room(&self, count: usize) -> bool {
        let word = self.0.load(Ordering::Relaxed);
        reserved(word) + count <= room(word)
    }

    fn room(&self) -> usize {
        room(self.0.load(Ordering::Relaxed))
    }

    #[cfg(test)]
    fn reserved(&self) -> usize {
        reserved(self.0.load(Ordering::Relaxed))
    }

    fn add_room(&self, count: usize) {
        self.0.fetch_add((count as u64) << 32, Ordering::Relaxed);
    }

    /// Gives up room for `count`, if `spare` unreserved places stay.
    fn give_up_room(&self, count: usize, spare: usize) -> bool {
        self.0
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
                (reserved(word) + count + spare <= room(word))
                    .then(|| word - ((count as u64) << 32))
            })
            .is_ok()
    }
}

fn reserved(word: u64) -> usize {
    word as u32 as usize
}

fn room(word: u64) -> usize {
    (word >> 32) as usize
}

#[cfg(test)]
mod tests;
