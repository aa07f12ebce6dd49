//! A slab: many stacks of one size, mapped and guarded at once.
//!
//! A slab knows which of its stacks are *home*: untouched, owned by nobody but the slab. The others
//! are somewhere as values of [`Stack`]: on a free list, in a worker's cache, or under a coroutine.
//! A slab is unmapped when it is dropped with all stacks home, and leaked otherwise. That is the
//! whole of the safety argument: memory under a `Stack` is never unmapped.

use core::ops::Range;
use std::io;

use super::layout::{Stack, StackSize, guard_size};
use super::pages;

/// How guards are made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Guards {
    /// By markers in the page tables where the kernel has them (Linux 6.13), otherwise as
    /// [`Mprotect`](Self::Mprotect).
    Auto,
    /// By mappings of their own: two for each stack, so that `vm.max_map_count` limits their number
    /// (65,530 allows about 32,700 stacks). What older kernels have; a switch for tests elsewhere.
    Mprotect,
}

/// Many stacks of one size in one mapping.
#[derive(Debug)]
pub(super) struct Slab {
    low: usize,
    count: usize,
    size: StackSize,
    /// Bit `i % 64` of word `i / 64`: stack `i` is home.
    home: Box<[u64]>,
    home_count: usize,
}

impl Slab {
    /// Maps `count` stacks of `size` and installs their guards. On failure nothing stays mapped.
    ///
    /// # Errors
    ///
    /// `OutOfMemory`, with a text that says what to raise.
    pub(super) fn map(size: StackSize, count: usize, guards: Guards) -> io::Result<Slab> {
        let len = size.bytes() * count;
        let low = pages::map_aligned(len, size.bytes()).map_err(|e| no_memory(size, count, &e))?;
        let mut home = vec![0u64; count.div_ceil(64)].into_boxed_slice();
        for index in 0..count {
            home[index / 64] |= 1 << (index % 64);
        }
        // From here on `Drop` unmaps, on failure too.
        let slab = Slab {
            low,
            count,
            size,
            home,
            home_count: count,
        };
        slab.install_guards(guards)?;
        Ok(slab)
    }

    fn install_guards(&self, guards: Guards) -> io::Result<()> {
        let size = self.size;
        let guard_of = |index: usize| {
            let low = self.low + index * size.bytes();
            low..low + guard_size()
        };
        if guards == Guards::Auto {
            let mut outcome = Ok(());
            for index in 0..self.count {
                // SAFETY: a part of this slab's own mapping, which nobody uses yet.
                outcome = unsafe { pages::install_guard(guard_of(index)) };
                if outcome.is_err() {
                    break;
                }
            }
            match outcome {
                // The kernel does not know the advice, or the memory is locked.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
                outcome => return outcome.map_err(|e| no_memory(size, self.count, &e)),
            }
        }
        for index in 0..self.count {
            // SAFETY: as above.
            unsafe { pages::protect_guard(guard_of(index)) }
                .map_err(|e| no_mapping(size, self.count, &e))?;
        }
        Ok(())
    }

    pub(super) fn low(&self) -> usize {
        self.low
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn all_home(&self) -> bool {
        self.home_count == self.count
    }

    fn range(&self) -> Range<usize> {
        self.low..self.low + self.count * self.size.bytes()
    }

    /// Hands out one of the stacks that are home, lowest first, so that others are left alone as a
    /// whole.
    pub(super) fn take(&mut self) -> Option<Stack> {
        if self.home_count == 0 {
            return None;
        }
        let (index, word) = self
            .home
            .iter_mut()
            .enumerate()
            .find(|(_, word)| **word != 0)?;
        let bit = word.trailing_zeros() as usize;
        *word &= *word - 1;
        self.home_count -= 1;
        let low = self.low + (index * 64 + bit) * self.size.bytes();
        // SAFETY: a part of this slab's mapping, aligned as the mapping is, with its guard
        // installed by `map`. Its bit was set, so no `Stack` covers it, and is clear now: there
        // will be no other before it comes home. `drop` does not unmap before that.
        Some(unsafe { Stack::from_low(low, self.size) })
    }

    /// Takes back a stack of its own; gives it back to the caller if it is not one.
    pub(super) fn bring_home(&mut self, stack: Stack) -> Result<(), Stack> {
        if stack.size() != self.size || !self.range().contains(&stack.low()) {
            return Err(stack);
        }
        let index = (stack.low() - self.low) / self.size.bytes();
        debug_assert_eq!(
            self.home[index / 64] >> (index % 64) & 1,
            0,
            "a stack is owned once"
        );
        self.home[index / 64] |= 1 << (index % 64);
        self.home_count += 1;
        Ok(())
    }
}

impl Drop for Slab {
    fn drop(&mut self) {
        if !self.all_home() {
            log::warn!(
                target: "withy::stack",
                "{} stacks of {} bytes were never given back: their slab stays mapped",
                self.count - self.home_count,
                self.size.bytes()
            );
            return;
        }
        // SAFETY: all stacks are home, so no `Stack` covers any part of the mapping, and none will.
        //
        // It can fail: unmapping may split a mapping that the kernel has merged, one more than the process may have.
        // Then addresses are lost, and nothing else. It is not logged, since a worker that tidies up is here: a logger
        // that spawns or waits would come back to its stacks.
        let _ = unsafe { pages::unmap(self.range()) };
    }
}

fn no_memory(size: StackSize, count: usize, error: &io::Error) -> io::Error {
    io::Error::new(
        io::ErrorKind::OutOfMemory,
        format!(
            "cannot map {count} stacks of {} bytes ({error}): the limit of address space (ulimit -v) or of memory is \
             reached; use fewer coroutines or a smaller stack size",
            size.bytes()
        ),
    )
}

fn no_mapping(size: StackSize, count: usize, error: &io::Error) -> io::Error {
    io::Error::new(
        io::ErrorKind::OutOfMemory,
        format!(
            "cannot guard {count} more stacks of {} bytes ({error}): each takes two memory mappings here, raise \
             vm.max_map_count (Linux 6.13 and later need none)",
            size.bytes()
        ),
    )
}

#[cfg(test)]
mod tests;
