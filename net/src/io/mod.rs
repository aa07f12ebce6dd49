//! Bytes that are on their way and belong to no network: pipes, and the standard streams of child processes. Users
//! reach this as `withy::io`.

mod pipe;

pub use pipe::{PipeReader, PipeWriter, pipe};
