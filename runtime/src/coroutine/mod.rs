//! One coroutine's execution: the switch between a worker's stack and its own, and unwinding.

mod switch;
pub(crate) mod unwind;

pub(crate) use switch::{Suspend, Switch, Switched, YielderRef};
