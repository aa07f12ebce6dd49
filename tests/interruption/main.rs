//! What ends a wait from outside, or a scope: cancellations, tokens, timeouts, panics beside them; and what each must leave alone.

#[path = "../rig/mod.rs"]
mod rig;
#[path = "../support/mod.rs"]
mod support;

mod cancel;
mod cancel_token;
mod cancel_unwinding;
mod edges;
mod scopes;
mod scopes_interrupted;
mod shield_tokens;
mod stress;
mod timeout_frames;
mod timeout_seeds;
mod timeout_swallowed;
mod unwinding;
