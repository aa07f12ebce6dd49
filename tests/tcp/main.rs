//! TCP: connections, what is set on them, and how long their calls wait, whoever calls.

#[path = "../rig/mod.rs"]
mod rig;
#[path = "../support/mod.rs"]
mod support;

mod connect;
mod deadline;
mod options;
mod sockets;
mod surface;
