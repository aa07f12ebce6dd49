//! The free stacks of one size that no worker holds, and how they cool down.
//!
//! # What a class gives back
//!
//! Free stacks whose pages were touched are *warm*. They are handed out before those at home in
//! their slab (*cold*), last used first. Once a period (a second), [`Free::maintain`] looks at
//! those warm stacks that nobody wanted for all of it, which are at the front of the list:
//!
//! 1. of those beyond 1,024, half give all their pages back and go home;
//! 2. the others are trimmed to 16 KiB, if they were not before;
//! 3. slabs whose stacks are all home are unmapped, with their page tables, as far as room for one
//!    large slab stays.
//!
//! So a while after a spike a class keeps 1,024 × 16 KiB in warm stacks, what the caches hold, and
//! the page tables (512 B a stack at 256 KiB) of slabs in which a stack is out, cached or warm.
//! Work is done in steps, so that neither the lock nor the idle worker that calls is held for long;
//! an idle class asks for no further call.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::layout::Stack;
use super::slab::Slab;

/// Warm stacks that a class keeps however long they are idle.
pub(super) const WARM_KEPT: usize = 1024;

/// How long a warm stack lies unused before it counts as surplus.
pub(super) const PERIOD: Duration = Duration::from_secs(1);

/// Stacks that one call of `maintain` treats, at 1 to 3 µs each.
pub(super) const STACKS_A_STEP: usize = 32;

/// Up to this many surplus stacks it is worth a sort to give up those in the last slabs, so that
/// slabs empty out.
const SORTED_MAX: usize = 1 << 16;

/// The free stacks that no worker holds.
#[derive(Debug, Default)]
pub(super) struct Free {
    /// Sorted by address.
    slabs: Vec<Slab>,
    /// No slab before this one has a stack at home.
    first_cold: usize,
    /// Last used at the back.
    warm: VecDeque<Stack>,
    /// So many at the front of `warm` are known to be trimmed.
    trimmed: usize,
    /// So many at the front of `warm` were there all of the current period.
    unused: usize,
    phase: Phase,
}

/// What `maintain` is about.
#[derive(Debug, Default, Clone, Copy)]
enum Phase {
    /// Nothing to give back.
    #[default]
    Settled,
    /// Watching which stacks stay unused until then.
    Watching(Instant),
    /// The period is over, and so many stacks are still to give all their pages back.
    Releasing(usize),
    /// Then the others that stayed unused are trimmed.
    Trimming,
}

impl Free {
    pub(super) fn add_slab(&mut self, slab: Slab) {
        let index = self.slabs.partition_point(|other| other.low() < slab.low());
        self.slabs.insert(index, slab);
        self.first_cold = self.first_cold.min(index);
    }

    /// Takes stacks that were run on; the last one is the first to be handed out again.
    pub(super) fn put(&mut self, stacks: impl Iterator<Item = Stack>) {
        self.warm.extend(stacks);
    }

    /// Moves up to `count` stacks to the end of `to`, warm ones last, and the last used one at the
    /// very end.
    pub(super) fn take(&mut self, to: &mut Vec<Stack>, count: usize) {
        let warm = count.min(self.warm.len());
        for _ in warm..count {
            let Some(stack) = self.take_cold() else { break };
            to.push(stack);
        }
        to.extend(self.warm.drain(self.warm.len() - warm..));
        self.forget_beyond_end();
    }

    pub(super) fn take_one(&mut self) -> Option<Stack> {
        let Some(stack) = self.warm.pop_back() else {
            return self.take_cold();
        };
        self.forget_beyond_end();
        Some(stack)
    }

    fn take_cold(&mut self) -> Option<Stack> {
        loop {
            let slab = self.slabs.get_mut(self.first_cold)?;
            if let Some(stack) = slab.take() {
                return Some(stack);
            }
            self.first_cold += 1;
        }
    }

    #[cfg(test)]
    pub(super) fn slabs(&self) -> &[Slab] {
        &self.slabs
    }

    #[cfg(test)]
    pub(super) fn warm(&self) -> usize {
        self.warm.len()
    }

    /// The counters speak of the front of `warm`, from whose back stacks were taken.
    fn forget_beyond_end(&mut self) {
        self.trimmed = self.trimmed.min(self.warm.len());
        self.unused = self.unused.min(self.warm.len());
    }

    /// One step. `unmap` drops a few slabs that can go, and says whether there may be more.
    pub(super) fn maintain(
        &mut self,
        now: Instant,
        unmap: impl FnOnce(&mut Vec<Slab>) -> bool,
    ) -> Option<Instant> {
        match self.phase {
            Phase::Settled => self.watch(now),
            Phase::Watching(until) if now < until => Some(until),
            Phase::Watching(_) => {
                self.phase = Phase::Releasing(self.choose_surplus());
                Some(now)
            }
            Phase::Releasing(count) => {
                let count = count.min(self.unused);
                let step = count.min(STACKS_A_STEP);
                self.release(step);
                self.phase = if step < count {
                    Phase::Releasing(count - step)
                } else {
                    Phase::Trimming
                };
                Some(now)
            }
            Phase::Trimming => {
                let more_stacks = self.trim();
                let more_slabs = unmap(&mut self.slabs);
                self.first_cold = 0;
                if more_stacks || more_slabs {
                    return Some(now);
                }
                self.watch(now)
            }
        }
    }

    /// Starts a period, if there may be something to give back at its end.
    fn watch(&mut self, now: Instant) -> Option<Instant> {
        if self.warm.len() <= WARM_KEPT && self.trimmed == self.warm.len() {
            self.phase = Phase::Settled;
            return None;
        }
        self.unused = self.warm.len();
        let until = now + PERIOD;
        self.phase = Phase::Watching(until);
        Some(until)
    }

    /// Decides how many stacks to release, and brings those of the last slabs to the front, where
    /// they are taken from.
    fn choose_surplus(&mut self) -> usize {
        let unused = self.unused;
        let count = unused.saturating_sub(WARM_KEPT).div_ceil(2);
        if count > 0 && unused <= SORTED_MAX {
            let front = &mut self.warm.make_contiguous()[..unused];
            front.select_nth_unstable_by_key(count - 1, |stack| core::cmp::Reverse(stack.low()));
            if self.trimmed < unused {
                // They are mixed with others now.
                self.trimmed = 0;
            }
        }
        count
    }

    /// Lets the `count` stacks at the front give all their pages back and brings them home.
    fn release(&mut self, count: usize) {
        for mut stack in self.warm.drain(..count) {
            stack.release();
            bring_home(&mut self.slabs, stack);
        }
        self.first_cold = 0;
        self.trimmed = self.trimmed.saturating_sub(count);
        self.unused -= count;
        if self.warm.len() < self.warm.capacity() / 4 {
            self.warm.shrink_to(2 * self.warm.len());
        }
    }

    /// Trims some of the unused stacks. True if there are more.
    fn trim(&mut self) -> bool {
        let end = self.unused.min(self.trimmed + STACKS_A_STEP);
        if self.trimmed < end {
            for stack in self.warm.range_mut(self.trimmed..end) {
                stack.trim();
            }
            self.trimmed = end;
        }
        self.trimmed < self.unused
    }
}

impl Drop for Free {
    fn drop(&mut self) {
        // All come home, so that each slab knows whether it may be unmapped.
        for stack in self.warm.drain(..) {
            bring_home(&mut self.slabs, stack);
        }
    }
}

/// Gives a stack to its slab. A stack of another pool, put here by mistake, is lost, which is safe.
fn bring_home(slabs: &mut [Slab], stack: Stack) {
    let index = slabs.partition_point(|slab| slab.low() <= stack.low());
    let brought = match index.checked_sub(1) {
        Some(index) => slabs[index].bring_home(stack).is_ok(),
        None => false,
    };
    debug_assert!(brought, "a stack was put into a pool that it is not from");
}
