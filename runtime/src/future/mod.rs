//! The two bridges to async code: a coroutine or thread that waits for a future ([`block_on`]), and a future that waits for a
//! coroutine ([`JoinFuture`]).
//!
//! Reading order: `waker` (how a wake-up reaches the caller of `block_on`), `block_on`, `join`.

mod block_on;
mod join;
mod waker;

pub use block_on::block_on;
pub use join::JoinFuture;
pub(crate) use join::wake;
