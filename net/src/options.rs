//! What every socket type has beside its bytes: addresses, blocking mode, timeouts, options.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::time::{Duration, Instant};

use socket2::SockAddr;
use withy_runtime::poll::Direction;

use crate::socket::Socket;

impl Socket {
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        internet(&self.handle().local_addr()?)
    }

    pub(crate) fn peer_addr(&self) -> io::Result<SocketAddr> {
        internet(&self.handle().peer_addr()?)
    }

    /// A Unix socket's end has no event for a writer that waits for room (poll(2) reports neither `POLLOUT` nor
    /// `POLLHUP` after `SHUT_WR`), so those who wait are told here.
    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.handle().shutdown(how)?;
        if matches!(how, Shutdown::Write | Shutdown::Both) {
            self.registration().wake(Direction::Write);
        }
        Ok(())
    }

    /// The user's blocking mode, which all clones share and which the descriptor of a stream shows as `O_NONBLOCK`.
    pub(crate) fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.handle().set_nonblocking(nonblocking)?;
        self.registration().set_nonblocking(nonblocking);
        Ok(())
    }

    pub(crate) fn set_timeout(
        &self,
        direction: Direction,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        if timeout.is_some_and(|timeout| timeout.is_zero()) {
            return Err(zero_timeout());
        }
        self.registration().set_timeout(direction, timeout);
        Ok(())
    }

    pub(crate) fn timeout(&self, direction: Direction) -> Option<Duration> {
        self.registration().timeout(direction)
    }

    pub(crate) fn set_deadline(&self, direction: Direction, deadline: Option<Instant>) {
        self.registration().set_deadline(direction, deadline);
    }

    pub(crate) fn deadline(&self, direction: Direction) -> Option<Instant> {
        self.registration().deadline(direction)
    }
}

/// An internet address, or the error that std gives for a socket of another family.
pub(crate) fn internet(addr: &SockAddr) -> io::Result<SocketAddr> {
    addr.as_socket().ok_or_else(|| {
        let text = format!(
            "got a socket address of family {}, expected an IPv4 or IPv6 one; was the descriptor that of an internet socket?",
            addr.family()
        );
        io::Error::new(io::ErrorKind::InvalidInput, text)
    })
}

/// The error for a timeout that could only ever fail.
pub(crate) fn zero_timeout() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        "got a timeout of zero, expected a positive duration; set_nonblocking makes calls return at once",
    )
}
