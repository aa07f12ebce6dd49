//! Where types meet what is outside of withy: buffers the kernel writes to, descriptors, std's types, and the types
//! behind a generic argument. All `unsafe` of this crate is here.

mod calls;
mod descriptor;
mod name;

pub(crate) use calls::{recv, recv_vectored};
pub(crate) use descriptor::convert_descriptors;
pub(crate) use name::name_in;
