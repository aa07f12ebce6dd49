//! Coroutine-locals: each coroutine has its own value, wherever it runs, and its destructor runs once, when it ends.

#[path = "../rig/mod.rs"]
mod rig;
#[path = "../support/mod.rs"]
mod support;

mod destructors;
mod values;
