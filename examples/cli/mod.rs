//! What all examples share: the options that choose a runtime, exit codes, the descriptor limit, and how servers are told to end.
//!
//! An example derives `clap::Parser`, flattens [`RuntimeOptions`] into its own options, and ends
//! with [`main`]. So `--help`, usage errors and failures look alike in all of them.
#![allow(dead_code, unused_imports, reason = "each example uses its own part")]

mod descriptors;
mod exit;
mod options;
mod orders;

pub(crate) use descriptors::raise_descriptor_limit;
pub(crate) use exit::main;
pub(crate) use options::{RuntimeOptions, positive_seconds};
pub(crate) use orders::Orders;
