//! What a stack looks like in memory.
//!
//! ```text
//!  slab (one mapping, aligned to the stack size)
//!  ├──────────── stack 0 ───────────┼──────────── stack 1 ───────────┼─ …
//!  │▒▒▒ guard ▒▒▒│      usable      │▒▒▒ guard ▒▒▒│      usable      │
//!  ▲             ▲                  ▲
//!  low           low + 64 KiB       base = low + size
//!
//!  ◀── grows this way ── a coroutine starts at `base` and runs into the guard
//! ```
//!
//! - The *size* of a stack is its stride: guard and usable part together. It is a power of two and
//!   `low` is a multiple of it, so the stack of any address, and its guard, are found by masking.
//! - The *guard* is the lowest 64 KiB (a page where pages are larger): wide enough that a C
//!   function that does not probe its frame still lands in it (promise 51).
//! - Only touched pages cost memory: 4 KiB for a coroutine that stays shallow, and 512 B of page
//!   tables at the default stride of 256 KiB (a page table covers 2 MiB, so eight stacks share
//!   one).
//! - All stacks start at the same offset in a page, so coroutines at the same depth compete for the
//!   same sets of the first cache. Spreading them by up to 1 KiB (colouring) was measured: it saves
//!   2 ns of 15 a switch with 16 to 64 coroutines that touch 12 lines each, nothing with 256 to
//!   4,096, and costs 10 ns and more with 10,000. Not done.

use core::num::NonZeroUsize;
use core::ops::Range;
use core::sync::atomic::{AtomicUsize, Ordering};
use std::io;

use super::pages;

/// How much of a stack stays resident when it is trimmed: what most coroutines use, so that
/// trimming them is rare.
const KEPT_BYTES: usize = 16 << 10;

/// The least guard, in bytes.
const GUARD_BYTES: usize = 64 << 10;

/// How far below the 16 KiB line [`Stack::trim`] looks. Rust code touches every page of a frame (it
/// probes), so a stack that was used deeper has a resident page here.
const PROBED_BYTES: usize = 1 << 20;

/// The page size of this system, in bytes.
pub(super) fn page_size() -> usize {
    static PAGE: AtomicUsize = AtomicUsize::new(0);
    match PAGE.load(Ordering::Relaxed) {
        0 => {
            // SAFETY: sysconf reads a constant and touches no memory of ours.
            let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
            let page = usize::try_from(page).expect("the system reports its page size");
            PAGE.store(page, Ordering::Relaxed);
            page
        }
        page => page,
    }
}

/// The size of every guard, in bytes.
pub(super) fn guard_size() -> usize {
    GUARD_BYTES.max(page_size())
}

/// How much of a stack stays resident when it is trimmed, in bytes: whole pages.
pub(super) fn kept_size() -> usize {
    KEPT_BYTES.max(page_size())
}

/// The size of a stack, its guard included: a power of two from 128 KiB to 1 GiB.
///
/// One rule makes a size of what the user asks for: it is rounded up to the next power of two, and
/// to 128 KiB at least (64 KiB of guard, 64 KiB to use). Powers of two keep the number of different
/// sizes, and so of pools of free stacks, at 14; rounding up costs address space and page tables,
/// but no memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct StackSize {
    log2: u8,
}

impl StackSize {
    const LOG2_MIN: u8 = 17;
    const LOG2_MAX: u8 = 30;

    /// 256 KiB, of which 192 KiB are usable.
    pub(crate) const DEFAULT: StackSize = StackSize { log2: 18 };

    /// The number of different sizes.
    pub(super) const CLASSES: usize = (Self::LOG2_MAX - Self::LOG2_MIN + 1) as usize;

    /// The size to use for `bytes` of stack, guard included.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for more than 1 GiB.
    pub(crate) fn new(bytes: usize) -> io::Result<StackSize> {
        if bytes > 1 << Self::LOG2_MAX {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("stack size of {bytes} bytes: expected at most 1073741824 (1 GiB)"),
            ));
        }
        let log2 = bytes.next_power_of_two().trailing_zeros() as u8;
        Ok(StackSize {
            log2: log2.max(Self::LOG2_MIN),
        })
    }

    /// The size of class `index`, which is below [`CLASSES`](Self::CLASSES).
    pub(super) fn of_class(index: usize) -> StackSize {
        debug_assert!(index < Self::CLASSES);
        StackSize {
            log2: Self::LOG2_MIN + index as u8,
        }
    }

    pub(super) fn class(self) -> usize {
        usize::from(self.log2 - Self::LOG2_MIN)
    }

    /// The size in bytes, guard included.
    #[inline]
    pub(crate) fn bytes(self) -> usize {
        1 << self.log2
    }
}

impl Default for StackSize {
    fn default() -> StackSize {
        StackSize::DEFAULT
    }
}

/// One stack, owned: whoever has it may run on it, and nobody else touches its memory.
///
/// It is two words, is never copied, and does not free anything when dropped (see the module
/// above). It may move between threads: it holds addresses only, and what lies at them belongs to
/// its owner.
#[derive(Debug)]
pub(crate) struct Stack {
    base: NonZeroUsize,
    size: StackSize,
}

impl Stack {
    /// The stack whose lowest address is `low`.
    ///
    /// # Safety
    ///
    /// `low` is a multiple of `size`, not zero, and from there `size` bytes are mapped, readable
    /// and writable above the guard, which is in place; they stay so for ever or until this value
    /// goes back to the slab; no other `Stack` covers them.
    pub(super) unsafe fn from_low(low: usize, size: StackSize) -> Stack {
        let base = low + size.bytes();
        Stack {
            base: NonZeroUsize::new(base).expect("a mapping does not start at 0"),
            size,
        }
    }

    #[inline]
    pub(crate) fn size(&self) -> StackSize {
        self.size
    }

    /// The lowest address.
    pub(super) fn low(&self) -> usize {
        self.base.get() - self.size.bytes()
    }

    /// The addresses whose touch means that this stack has overflowed.
    pub(crate) fn guard(&self) -> Range<usize> {
        self.low()..self.low() + guard_size()
    }

    /// The addresses that code may use.
    pub(super) fn usable(&self) -> Range<usize> {
        self.low() + guard_size()..self.low() + self.size.bytes()
    }

    /// How deep this stack was used since it was mapped or last trimmed: bytes from its top to the
    /// lowest page that is resident. A whole number of pages, 0 if untouched. Pages that were
    /// swapped out since are not seen.
    #[allow(dead_code, reason = "for dumps, and what tests measure by")]
    pub(crate) fn high_water(&self) -> usize {
        let usable = self.usable();
        pages::lowest_resident(usable.clone()).map_or(0, |lowest| usable.end - lowest)
    }

    /// Gives back the pages below the top 16 KiB if they were used. True if they were.
    pub(super) fn trim(&mut self) -> bool {
        let usable = self.usable();
        let deep = usable.start..usable.end - kept_size();
        let probed = deep.start.max(deep.end.saturating_sub(PROBED_BYTES))..deep.end;
        let used = pages::lowest_resident(probed).is_some();
        if used {
            // SAFETY: the pages are usable ones of this stack, which is ours alone and which
            // nothing runs on: a coroutine owns or mutably borrows the stack that it runs on.
            unsafe { pages::give_back(deep) };
        }
        used
    }

    /// Gives back all pages.
    pub(super) fn release(&mut self) {
        // SAFETY: as in `trim`.
        unsafe { pages::give_back(self.usable()) };
    }
}

// SAFETY: `from_low`'s contract: a guard lies at the low end, `limit` includes it; at least 64 KiB
// are usable; both ends are multiples of the stack size; the memory stays mapped while this value
// exists.
unsafe impl corosensei::stack::Stack for Stack {
    #[inline]
    fn base(&self) -> NonZeroUsize {
        self.base
    }

    #[inline]
    fn limit(&self) -> NonZeroUsize {
        NonZeroUsize::new(self.low()).expect("a mapping does not start at 0")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rounded_up_to_powers_of_two() {
        for (asked, got) in [
            (0, 128 << 10),
            (1, 128 << 10),
            (128 << 10, 128 << 10),
            ((128 << 10) + 1, 256 << 10),
            (300_000, 512 << 10),
            (1 << 30, 1 << 30),
        ] {
            assert_eq!(
                StackSize::new(asked).unwrap().bytes(),
                got,
                "asked for {asked}"
            );
        }
        assert_eq!(StackSize::default().bytes(), 256 << 10);
    }

    #[test]
    fn sizes_over_one_gibibyte_are_refused_with_the_limit() {
        for bytes in [(1 << 30) + 1, usize::MAX] {
            let error = StackSize::new(bytes).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            assert!(error.to_string().contains("1 GiB"), "{error}");
        }
    }

    #[test]
    fn classes_and_sizes_correspond() {
        for class in 0..StackSize::CLASSES {
            assert_eq!(StackSize::of_class(class).class(), class);
        }
        assert_eq!(StackSize::CLASSES, 14);
    }

    #[test]
    fn a_stack_is_two_words_and_may_cross_threads() {
        fn send<T: Send>() {}
        send::<Stack>();
        assert_eq!(size_of::<Stack>(), 2 * size_of::<usize>());
        assert_eq!(size_of::<Option<Stack>>(), 2 * size_of::<usize>());
    }

    #[test]
    fn base_low_end_guard_and_usable_part_fit_together() {
        use corosensei::stack::Stack as _;
        let size = StackSize::DEFAULT;
        for index in 1..=3 {
            let low = index * size.bytes();
            // SAFETY: only addresses are computed; nothing is read or written there.
            let stack = unsafe { Stack::from_low(low, size) };
            assert_eq!(stack.low(), low);
            assert_eq!(stack.guard(), low..low + guard_size());
            assert_eq!(stack.usable(), low + guard_size()..low + size.bytes());
            assert!(stack.usable().contains(&(stack.base().get() - 1)));
            assert_eq!(stack.base().get() % corosensei::stack::STACK_ALIGNMENT, 0);
        }
    }
}
