//! Any descriptor that can be waited for.
//!
//! # Whose descriptor is registered
//!
//! A netpoller's registration must be taken back before its descriptor is closed, or the number may be somebody else's
//! by then, whose registration would be taken back instead: a neighbour's socket that never wakes again. But a `T` is
//! safe code of others: it may close or replace its descriptor at any time, by [`Pollable::get_mut`], by interior
//! mutability, in a C library. So what is registered is a *duplicate* that nobody else knows. It refers to the same
//! open file description, which is what readiness belongs to; and it is ours to close, after it was deregistered. The
//! price is a descriptor for each `Pollable`, and that a `T` which opens something else underneath goes unnoticed: that
//! is documented, and harms nobody else. Borrowing the descriptor (tokio's `AsyncFd`) cannot be made safe, and looking
//! at the number before each use would still race with threads that reuse it.

mod calls;
mod stream;
mod thing;

pub use thing::Pollable;
