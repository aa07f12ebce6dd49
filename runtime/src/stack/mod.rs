//! The stacks that coroutines run on: where they come from, who keeps the free ones, and what
//! happens when one overflows.
//!
//! Reading order:
//!
//! 1. `layout`: what one stack looks like in memory (drawn), its sizes, [`Stack`] itself;
//! 2. `pages`: the system calls, thinly wrapped;
//! 3. `slab`: many stacks mapped at once, with their guards;
//! 4. `free`: the free ones of one size that no worker holds, and how they cool down;
//! 5. `class`: all stacks of one size: reservations, and why each finds its stack;
//! 6. `pool`: the classes of one runtime and its limit, `cache`: a worker's own few stacks;
//! 7. `overflow`: the report of a guard hit, `alternate`: the signal stack that it is written from.
//!
//! # The life of a stack
//!
//! `spawn` *reserves* (which may fail, and is where memory is mapped), the first run *takes* (which
//! cannot fail), the end *puts back* and then *unreserves*. Who holds a reservation is owed one
//! stack:
//!
//! ```text
//!            reserve            take              put            unreserve
//! (nothing) ────────▶ reserved ──────▶ on a stack ─────▶ reserved ──────────▶ (nothing)
//!            may fail
//! ```
//!
//! A coroutine that is dropped before its first run skips `take` and `put`.
//!
//! # What callers must keep
//!
//! - One `take` for each reservation at most, and the stack is put back *before* the reservation is
//!   returned. This is what `take` relies on to find a stack; breaking it panics there, and never
//!   breaks memory safety.
//! - A [`StackCache`] belongs to one worker, and a pool has as many caches as it was told workers.
//! - A [`Stack`] that is dropped instead of put back is lost to its pool; its slab then stays
//!   mapped for ever. So a coroutine that is leaked (law 4: not unwound, so its frames may be
//!   looked at) keeps its memory; it keeps its reservation too.

mod alternate;
mod cache;
#[cfg(test)]
mod child;
mod class;
mod free;
mod layout;
mod overflow;
mod pages;
mod pool;
mod slab;

pub(crate) use self::alternate::AltStack;
pub(crate) use self::cache::StackCache;
pub(crate) use self::layout::{Stack, StackSize};
pub(crate) use self::overflow::{Overflow, install};
pub(crate) use self::pool::StackPool;
pub(crate) use self::slab::Guards;
