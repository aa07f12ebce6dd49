//! Where types meet what is outside of withy: buffers the kernel writes to, descriptors, std's types, the types
//! behind a generic argument, and signal handlers. All `unsafe` of this crate is here.

mod calls;
mod descriptor;
mod name;
mod signal;
mod stream;

pub(crate) use calls::{recv, recv_vectored};
pub(crate) use descriptor::convert_descriptors;
pub(crate) use name::name_in;
pub(crate) use signal::{handle_on_alternate_stack, sigpipe_is_ignored};
pub(crate) use stream::registration_in;
