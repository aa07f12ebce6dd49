//! Where types meet what is outside of withy: buffers the kernel writes to, descriptors, std's types, the types
//! behind a generic argument, signal handlers, and fork(2). All `unsafe` of this crate is here.

mod calls;
mod control;
mod credentials;
mod descriptor;
mod fork;
mod name;
mod queries;
mod signal;
mod stream;

pub(crate) use calls::{is_shut_for_reading, recv, recv_from, recv_vectored};
pub(crate) use control::{FDS_MAX, recv_with_fds, send_with_fds};
pub(crate) use credentials::peer_credentials;
pub(crate) use descriptor::convert_descriptors;
pub(crate) use fork::forks;
pub(crate) use name::name_in;
pub(crate) use queries::{Queue, defer_accept, queued, set_defer_accept};
pub(crate) use signal::{handle_on_alternate_stack, sigpipe_is_ignored};
pub(crate) use stream::registration_in;
