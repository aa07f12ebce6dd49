//! What the public socket types say in the same words: methods with their docs, as macros.
//!
//! A type is a struct with a field `socket`. Its examples need an expression for a new one, and one for a read that
//! has to wait.

mod accept_limits;
mod buffers;
mod handle;
mod limits;
mod one_way_limits;
mod socket;

pub(crate) use accept_limits::accept_limits;
pub(crate) use buffers::buffer_sizes;
pub(crate) use handle::handle;
pub(crate) use limits::limits;
pub(crate) use one_way_limits::{read_limits, write_limits};
pub(crate) use socket::socket;
