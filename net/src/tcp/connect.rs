//! Making a connection, with or without a limit on its time.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use libc::{EALREADY, EINPROGRESS, EISCONN};
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket as NewSocket, Type};
use withy_runtime::poll::Direction;

use crate::socket::Socket;

/// Connects a new socket to `addr`; the socket that comes back is in blocking mode, as std's is.
///
/// connect(2) itself is what is tried and tried again: on a socket that is connecting, Linux answers `EALREADY`, and
/// once the handshake is over its outcome, once. So a wake-up without an outcome can never pass for a connection, as
/// it could if `SO_ERROR` were asked.
pub(crate) fn connect(addr: &SocketAddr, timeout: Option<Duration>) -> io::Result<Socket> {
    let fresh = NewSocket::new(
        Domain::for_address(*addr),
        Type::STREAM.nonblocking(),
        Some(Protocol::TCP),
    )?;
    let socket = Socket::new(fresh.into());
    let addr = SockAddr::from(*addr);
    let registration = socket.registration();
    registration.set_timeout(Direction::Write, timeout);
    registration
        .io(
            Direction::Write,
            |fd| advance(&SockRef::from(&fd), &addr),
            |()| false,
        )
        .map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => {
                io::Error::new(io::ErrorKind::TimedOut, "connection timed out")
            }
            _ => error,
        })?;
    registration.set_timeout(Direction::Write, None);
    socket.handle().set_nonblocking(false)?;
    Ok(socket)
}

/// One step of the handshake: done, failed, or `WouldBlock` while it goes on.
fn advance(socket: &SockRef<'_>, addr: &SockAddr) -> io::Result<()> {
    let Err(error) = socket.connect(addr) else {
        return Ok(());
    };
    match error.raw_os_error() {
        Some(EINPROGRESS | EALREADY) => Err(io::ErrorKind::WouldBlock.into()),
        Some(EISCONN) => Ok(()),
        _ => Err(error),
    }
}
