//! What listeners of all families share.

use std::io;
use std::os::fd::OwnedFd;

use libc::{ECONNABORTED, c_int};
use socket2::{SockAddr, SockRef, Socket as NewSocket};
use withy_runtime::poll::Direction;

use crate::socket::Socket;

/// The kernel lowers what it is given to `net.core.somaxconn`, so this asks for all there is.
pub(crate) const BACKLOG: c_int = c_int::MAX;

impl Socket {
    /// Waits for a connection. An accept says nothing about the next connection in the backlog: only `EAGAIN` clears
    /// readiness.
    pub(crate) fn accept(&self) -> io::Result<(OwnedFd, SockAddr)> {
        let (socket, addr) = self.registration().io(
            Direction::Read,
            |fd| accept_living(&SockRef::from(&fd)),
            |_| false,
        )?;
        Ok((socket.into(), addr))
    }
}

/// accept(2), passing over connections that died in the backlog. Each turn takes one of those out of it, and the
/// backlog is bounded, so this ends.
fn accept_living(listener: &SockRef<'_>) -> io::Result<(NewSocket, SockAddr)> {
    loop {
        match listener.accept() {
            Err(error) if error.raw_os_error() == Some(ECONNABORTED) => {
                log::trace!(target: "withy::net", "a connection was reset before it was accepted");
            }
            outcome => return outcome,
        }
    }
}
