//! What all examples share: the options that choose a runtime, exit codes, and the descriptor limit.
//!
//! An example derives `clap::Parser`, flattens [`RuntimeOptions`] into its own options, and ends
//! with [`exit_code`]. So `--help`, usage errors and failures look alike in all of them.

mod descriptors;
mod exit;
mod options;

pub(crate) use descriptors::raise_descriptor_limit;
pub(crate) use exit::exit_code;
pub(crate) use options::{RuntimeOptions, positive_seconds};
