//! Channels of every kind: who gets which message, in which order, and what becomes of it where somebody leaves.

#[path = "../rig/mod.rs"]
mod rig;
#[path = "../support/mod.rs"]
mod support;

mod parcels;

mod bad_input;
mod broadcast;
mod disconnect;
mod in_flight;
mod interrupted;
mod model;
mod mpsc;
mod mpsc_surface;
mod oneshot;
mod order;
mod seeds;
mod stress;
mod timed;
mod watch;
