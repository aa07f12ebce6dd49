//! Sockets of this machine: [`std::os::unix::net`] on coroutines, with passing of descriptors and credentials.
//!
//! All stable names of std's module are here; [`SocketAddr`] is std's own. The socket types are reachable as
//! `withy::net::UnixStream` and so on, too.
//!
//! # What is peculiar to them
//! * A transfer on a stream may end early where a message with descriptors begins or ends. So only `EAGAIN` says that
//!   the kernel's buffer is empty; a short read says nothing.
//! * A receiver of datagrams holds few of them at a time (`net.unix.max_dgram_qlen`: 10, unless raised). A *connected*
//!   sender gets an event when there is room again and at most a quarter of its own send buffer is in use, which is what
//!   poll(2) calls writable; a blocked sender of std's goes on at the first room. For [`UnixDatagram::send_to`], and for [`UnixStream::connect`] to a
//!   listener whose backlog is full, the kernel has none: they try again, after 50 µs at first and every 10 ms in the
//!   end.

mod addr;
mod credentials;
mod datagram;
mod datagram_transfer;
mod descriptors;
mod incoming;
mod listener;
mod passing;
mod room;
mod stream;

pub use std::os::linux::net::SocketAddrExt;
pub use std::os::unix::net::SocketAddr;

pub use credentials::UCred;
pub use datagram::UnixDatagram;
pub use descriptors::{FDS_MAX, Received};
pub use incoming::Incoming;
pub use listener::UnixListener;
pub use stream::UnixStream;
