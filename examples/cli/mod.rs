//! What all examples share: the options that choose a runtime, exit codes, and the descriptor limit.
//!
//! An example derives `clap::Parser`, flattens [`RuntimeOptions`] into its own options, and ends
//! with [`main`]. So `--help`, usage errors and failures look alike in all of them.
#![allow(dead_code, unused_imports, reason = "each example uses its own part")]

mod descriptors;
mod exit;
mod options;

pub(crate) use descriptors::raise_descriptor_limit;
pub(crate) use exit::main;
pub(crate) use options::{RuntimeOptions, positive_seconds};
