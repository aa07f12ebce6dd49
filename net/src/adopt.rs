//! Taking a socket's descriptor over from std, and giving it away: what std keeps in the descriptor, withy keeps beside it.

use std::os::fd::OwnedFd;

use withy_runtime::poll::Direction;

use crate::socket::Socket;

impl Socket {
    /// With what std would keep in the descriptor. One that is no socket has neither mode nor timeouts; its first call
    /// says what it is.
    pub(crate) fn adopted(self) -> Socket {
        let handle = self.handle();
        let nonblocking = handle.nonblocking().unwrap_or(false);
        let read_timeout = handle.read_timeout().unwrap_or(None);
        let write_timeout = handle.write_timeout().unwrap_or(None);
        let registration = self.registration();
        registration.set_nonblocking(nonblocking);
        registration.set_timeout(Direction::Read, read_timeout);
        registration.set_timeout(Direction::Write, write_timeout);
        self
    }

    /// Gives the descriptor away with its timeouts, which the kernel keeps from here on, and the user's blocking mode: a
    /// splice may have changed the descriptor's (`io/lane.rs`, L6). While clones live they may be splicing.
    pub(crate) fn release(self) -> OwnedFd {
        let registration = self.registration();
        let nonblocking = registration.is_nonblocking();
        let read_timeout = registration.timeout(Direction::Read);
        let write_timeout = registration.timeout(Direction::Write);
        let (fd, sole) = self.into_fd();
        // The options are those of any socket; std rounds them up, where socket2 would make a nanosecond none.
        let stream = std::net::TcpStream::from(fd);
        if sole {
            let _ = stream.set_nonblocking(nonblocking);
        }
        // Neither fails on a socket, and what is no socket has no timeouts to lose.
        let _ = stream.set_read_timeout(read_timeout);
        let _ = stream.set_write_timeout(write_timeout);
        stream.into()
    }

    /// A listener's blocking mode becomes withy's to keep, since accept needs `O_NONBLOCK`.
    pub(crate) fn adopted_listener(self) -> Socket {
        let handle = self.handle();
        // fcntl cannot fail here: an `OwnedFd` is open.
        let nonblocking = handle.nonblocking().unwrap_or(false);
        let _ = handle.set_nonblocking(true);
        self.registration().set_nonblocking(nonblocking);
        self
    }

    /// Gives a listener's descriptor away in the mode the user chose; non-blocking all the same if clones need it.
    pub(crate) fn release_listener(self) -> OwnedFd {
        let nonblocking = self.registration().is_nonblocking();
        let (fd, sole) = self.into_fd();
        let listener = std::net::TcpListener::from(fd);
        if sole {
            // ioctl(FIONBIO) cannot fail on an open descriptor.
            let _ = listener.set_nonblocking(nonblocking);
        }
        listener.into()
    }
}
