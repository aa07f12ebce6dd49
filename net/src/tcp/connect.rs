//! Making a connection to one address, with or without a limit on its time.

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::time::Duration;

use libc::{EALREADY, EINPROGRESS, EINTR, EISCONN};
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket as NewSocket, Type};
use withy_runtime::poll::Direction;

use crate::socket::Socket;

/// Connects a new socket to `addr`; the socket that comes back is in blocking mode, as std's is.
pub(super) fn connect(addr: &SocketAddr, timeout: Option<Duration>) -> io::Result<Socket> {
    connect_by(fresh(Domain::for_address(*addr))?, addr, timeout)
}

/// Connects `socket`, which is `O_NONBLOCK`, to `addr`. It may come from elsewhere, and be connected, connecting or
/// listening already: that is an error, for what it is connected to is not `addr`.
pub(super) fn connect_by(
    socket: Socket,
    addr: &SocketAddr,
    timeout: Option<Duration>,
) -> io::Result<Socket> {
    let addr = SockAddr::from(*addr);
    let registration = socket.registration();
    registration.set_timeout(Direction::Write, timeout);
    let mut begun = false;
    registration
        .io(
            Direction::Write,
            |fd| match mem::replace(&mut begun, true) {
                false => begin(&SockRef::from(&fd), &addr),
                true => advance(&SockRef::from(&fd), &addr),
            },
            |()| false,
        )
        .map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => {
                io::Error::new(io::ErrorKind::TimedOut, "connection timed out")
            }
            _ => error,
        })?;
    registration.set_timeout(Direction::Write, None);
    connected(socket)
}

/// A TCP socket that can be made to connect, or to listen, without blocking.
pub(super) fn fresh(family: Domain) -> io::Result<Socket> {
    let socket = NewSocket::new(family, Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    Ok(Socket::new(socket.into()))
}

/// The first step of the handshake. Of what [`advance`] passes over, `EALREADY` and `EISCONN` are errors here.
fn begin(socket: &SockRef<'_>, addr: &SockAddr) -> io::Result<()> {
    socket
        .connect(addr)
        .map_err(|error| match error.raw_os_error() {
            Some(EINPROGRESS | EINTR) => io::ErrorKind::WouldBlock.into(),
            _ => error,
        })
}

/// One step of the handshake: done, failed, or `WouldBlock` while it goes on.
///
/// connect(2) itself is what is tried and tried again: on a socket that is connecting, Linux answers `EALREADY`, and
/// once the handshake is over its outcome, once. So a wake-up without an outcome can never pass for a connection, as
/// it could if `SO_ERROR` were asked. A call that was interrupted goes on as one that gave `EINPROGRESS` (connect(2)).
pub(super) fn advance(socket: &SockRef<'_>, addr: &SockAddr) -> io::Result<()> {
    let Err(error) = socket.connect(addr) else {
        return Ok(());
    };
    match error.raw_os_error() {
        Some(EINPROGRESS | EALREADY | EINTR) => Err(io::ErrorKind::WouldBlock.into()),
        Some(EISCONN) => Ok(()),
        _ => Err(error),
    }
}

/// From the mode in which it connects to std's.
pub(super) fn connected(socket: Socket) -> io::Result<Socket> {
    socket.handle().set_nonblocking(false)?;
    Ok(socket)
}
