//! Descriptors and credentials of streams and datagrams.

use std::io;
use std::os::fd::BorrowedFd;

use super::credentials::UCred;
use super::datagram::UnixDatagram;
use super::descriptors::Received;
use super::stream::UnixStream;

impl UnixStream {
    /// The credentials that the peer had when it connected, or called listen: the kernel vouches for them.
    ///
    /// # Errors
    ///
    /// Those of getsockopt(2) with `SO_PEERCRED`.
    ///
    /// # Differences from std
    ///
    /// std's method of this name is not stable yet.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::UnixStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (stream, _peer) = UnixStream::pair()?;
    /// assert_eq!(stream.peer_cred()?.pid, Some(std::process::id() as i32));
    /// # Ok(())
    /// # }
    /// ```
    pub fn peer_cred(&self) -> io::Result<UCred> {
        self.socket.peer_credentials()
    }

    /// Sets `SO_PASSCRED`: whether [`recv_with_fds`](Self::recv_with_fds) says who has sent what it gives.
    ///
    /// # Errors
    ///
    /// Those of setsockopt(2).
    ///
    /// # Differences from std
    ///
    /// std's method of this name is not stable yet.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use std::io::Write;
    /// use withy::net::UnixStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (mut ours, theirs) = UnixStream::pair()?;
    /// theirs.set_passcred(true)?;
    /// ours.write_all(b"hello")?;
    /// let received = theirs.recv_with_fds(&mut [0; 8], 0)?;
    /// let sender = received.credentials.expect("it was asked for");
    /// assert_eq!(sender.pid, Some(std::process::id() as i32));
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_passcred(&self, passcred: bool) -> io::Result<()> {
        self.socket.handle().set_passcred(passcred)
    }

    /// The value of `SO_PASSCRED`, see [`set_passcred`](Self::set_passcred).
    ///
    /// # Errors
    ///
    /// Those of getsockopt(2).
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::UnixStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (stream, _peer) = UnixStream::pair()?;
    /// assert!(!stream.passcred()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn passcred(&self) -> io::Result<bool> {
        self.socket.handle().passcred()
    }

    /// Writes as [`Write::write`](std::io::Write::write) does, and passes descriptors beside the first byte.
    ///
    /// The peer gets duplicates of `fds` with the [read](Self::recv_with_fds) that takes that byte. If fewer bytes are
    /// written than `buf` has, the descriptors are passed already: write the rest without them.
    ///
    /// # Errors
    ///
    /// Those of a write, and of sendmsg(2): `ETOOMANYREFS` if too many descriptors are on their way. `InvalidInput` if
    /// there are more than [`FDS_MAX`](super::FDS_MAX), or descriptors without a byte to carry them.
    ///
    /// # Cancellation
    ///
    /// A blocking call: from a coroutine it may unwind, when that is cancelled or a timeout around it elapses. Nothing
    /// was written or passed then.
    ///
    /// # Differences from std
    ///
    /// std's way of passing descriptors is not stable yet.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use std::io::{Read, Write};
    /// use std::os::fd::AsFd;
    /// use withy::net::UnixStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (ours, theirs) = UnixStream::pair()?;
    /// let (mut passed, mut kept) = UnixStream::pair()?;
    /// ours.send_with_fds(b"take this", &[passed.as_fd()])?;
    ///
    /// let mut received = theirs.recv_with_fds(&mut [0; 16], 1)?;
    /// assert_eq!(received.bytes, 9);
    /// let mut passed = UnixStream::from(received.fds.remove(0));
    /// passed.write_all(b"hello")?;
    /// assert_eq!(kept.read(&mut [0; 16])?, 5);
    /// # Ok(())
    /// # }
    /// ```
    pub fn send_with_fds(&self, buf: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
        if buf.is_empty() && !fds.is_empty() {
            // The kernel would take them and pass nothing.
            let text =
                "got descriptors without a byte to carry them on a stream; send at least one byte";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        self.socket.send_with_fds(buf, fds)
    }

    /// Reads as [`Read::read`](std::io::Read::read) does, and takes up to `fds_max` descriptors that were passed beside
    /// these bytes. 0 bytes are the end of the stream.
    ///
    /// A read never goes beyond the bytes of the message that carried the descriptors. A plain `read` of them closes the
    /// descriptors, and so do those that are more than `fds_max`, or than this process may have:
    /// [`fds_lost`](Received::fds_lost) says so. Whatever the peer sends, none stays open that is not returned.
    ///
    /// # Errors
    ///
    /// Those of a read.
    ///
    /// # Cancellation
    ///
    /// A blocking call: from a coroutine it may unwind, when that is cancelled or a timeout around it elapses. Nothing
    /// is lost: what was not returned is still to be read.
    ///
    /// # Differences from std
    ///
    /// std's way of passing descriptors is not stable yet.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use std::os::fd::AsFd;
    /// use withy::net::UnixStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (ours, theirs) = UnixStream::pair()?;
    /// ours.send_with_fds(b"x", &[ours.as_fd(), theirs.as_fd()])?;
    /// let received = theirs.recv_with_fds(&mut [0; 16], 1)?;
    /// assert_eq!((received.bytes, received.fds.len(), received.fds_lost), (1, 1, true));
    /// # Ok(())
    /// # }
    /// ```
    pub fn recv_with_fds(&self, buf: &mut [u8], fds_max: usize) -> io::Result<Received> {
        self.socket.recv_with_fds(buf, fds_max)
    }
}

impl UnixDatagram {
    /// The credentials of whoever has made the [pair](Self::pair) that this socket is of.
    ///
    /// # Errors
    ///
    /// Those of getsockopt(2) with `SO_PEERCRED`. A socket of no pair has no such credentials: the kernel gives no process,
    /// and -1 as user and group.
    ///
    /// # Differences from std
    ///
    /// std has no such method. [`set_passcred`](Self::set_passcred) says who has sent a datagram.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::UnixDatagram;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (ours, _theirs) = UnixDatagram::pair()?;
    /// assert_eq!(ours.peer_cred()?.pid, Some(std::process::id() as i32));
    /// # Ok(())
    /// # }
    /// ```
    pub fn peer_cred(&self) -> io::Result<UCred> {
        self.socket.peer_credentials()
    }

    /// Sets `SO_PASSCRED`: whether [`recv_with_fds`](Self::recv_with_fds) says who has sent the datagram. A sender
    /// without an address gets one then.
    ///
    /// # Errors
    ///
    /// Those of setsockopt(2).
    ///
    /// # Differences from std
    ///
    /// std's method of this name is not stable yet.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::UnixDatagram;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (ours, theirs) = UnixDatagram::pair()?;
    /// theirs.set_passcred(true)?;
    /// ours.send(b"hello")?;
    /// let sender = theirs.recv_with_fds(&mut [0; 8], 0)?.credentials;
    /// assert_eq!(sender.and_then(|sender| sender.pid), Some(std::process::id() as i32));
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_passcred(&self, passcred: bool) -> io::Result<()> {
        self.socket.handle().set_passcred(passcred)
    }

    /// The value of `SO_PASSCRED`, see [`set_passcred`](Self::set_passcred).
    ///
    /// # Errors
    ///
    /// Those of getsockopt(2).
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::UnixDatagram;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// assert!(!UnixDatagram::unbound()?.passcred()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn passcred(&self) -> io::Result<bool> {
        self.socket.handle().passcred()
    }

    /// [Sends](Self::send) a datagram and passes descriptors with it; it may be empty.
    ///
    /// # Errors
    ///
    /// Those of [`send`](Self::send), and of sendmsg(2): `ETOOMANYREFS` if too many descriptors are on their way.
    /// `InvalidInput` if there are more than [`FDS_MAX`](super::FDS_MAX).
    ///
    /// # Cancellation
    ///
    /// As [`send_to`](Self::send_to).
    ///
    /// # Differences from std
    ///
    /// std's way of passing descriptors is not stable yet.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use std::os::fd::AsFd;
    /// use withy::net::UnixDatagram;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (ours, theirs) = UnixDatagram::pair()?;
    /// ours.send_with_fds(b"", &[ours.as_fd()])?;
    /// let mut received = theirs.recv_with_fds(&mut [], 1)?;
    /// let same = UnixDatagram::from(received.fds.remove(0));
    /// same.send(b"hello")?;
    /// assert_eq!(theirs.recv(&mut [0; 8])?, 5);
    /// # Ok(())
    /// # }
    /// ```
    pub fn send_with_fds(&self, buf: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
        self.socket.send_with_fds(buf, fds)
    }

    /// [Receives](Self::recv) a datagram, and up to `fds_max` descriptors that were passed with it.
    ///
    /// A plain `recv` closes the descriptors that come with a datagram, and so do those that are more than `fds_max`, or
    /// than this process may have: [`fds_lost`](Received::fds_lost) says so. Whatever the peer sends, none stays open
    /// that is not returned.
    ///
    /// # Errors
    ///
    /// Those of [`recv_from`](Self::recv_from).
    ///
    /// # Cancellation
    ///
    /// As [`recv_from`](Self::recv_from).
    ///
    /// # Differences from std
    ///
    /// std's way of passing descriptors is not stable yet.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::UnixDatagram;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (ours, theirs) = UnixDatagram::pair()?;
    /// ours.send(b"0123456789")?;
    /// let received = theirs.recv_with_fds(&mut [0; 4], 1)?;
    /// assert_eq!((received.bytes, received.bytes_lost, received.fds.len()), (4, true, 0));
    /// # Ok(())
    /// # }
    /// ```
    pub fn recv_with_fds(&self, buf: &mut [u8], fds_max: usize) -> io::Result<Received> {
        self.socket.recv_with_fds(buf, fds_max)
    }
}
