//! Work that would hold its worker, lent to threads that may be held.
//!
//! A runtime has two pools of threads: one for what *blocks* (files, name resolution, foreign libraries), with many
//! threads, since they mostly sleep; and one for what *computes*, with as many as there are cores.
//!
//! 1. `queue`: whose a job is, and how many threads there are for it: the protocol, pure;
//! 2. `job`: a closure on its caller's stack, as a thread of the pool sees it;
//! 3. `pool`: the threads: their start, their idle end, and the end of all;
//! 4. `lend`: the ways in, and the wait for the end.

mod job;
mod lend;
mod pool;
mod queue;

#[cfg(test)]
mod tests;

pub use lend::{blocking, compute, spawn_blocking};
pub(crate) use pool::{Limits, Pools};
