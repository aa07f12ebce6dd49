//! To async code and back: `block_on`, and the future of a coroutine.

#[path = "../rig/mod.rs"]
mod rig;
#[path = "../support/mod.rs"]
mod support;

mod door;

mod block_on;
mod block_on_interrupted;
mod join_future;
