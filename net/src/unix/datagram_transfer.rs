//! What goes through a [`UnixDatagram`].

use std::io;
use std::os::unix::net::SocketAddr;
use std::path::Path;

use libc::{MSG_DONTWAIT, MSG_NOSIGNAL};
use socket2::{SockAddr, SockRef};

use super::addr;
use super::datagram::UnixDatagram;

impl UnixDatagram {
    /// Receives a datagram, and gives its length and its sender. Waits while there is none.
    ///
    /// It comes whole: what does not fit into `buf` is gone. A sender without an address is unnamed.
    ///
    /// # Errors
    ///
    /// Those of recvfrom(2). `WouldBlock` in non-blocking mode, or past the [timeout](Self::set_read_timeout);
    /// `TimedOut` past the [deadline](Self::set_read_deadline).
    ///
    /// # Cancellation
    ///
    /// A blocking call: from a coroutine it may unwind, when that is cancelled or a timeout around it elapses. Nothing
    /// is lost: a datagram that was not returned is still to be received.
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
    /// let mut buf = [0; 4];
    /// let (len, sender) = theirs.recv_from(&mut buf)?;
    /// assert_eq!((&buf[..len], sender.is_unnamed()), (&b"0123"[..], true));
    /// # Ok(())
    /// # }
    /// ```
    pub fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let (len, addr) = self.socket.recv_from(buf)?;
        Ok((len, addr::to_std(&addr)?))
    }

    /// Receives a datagram, and gives its length: [`recv_from`](Self::recv_from) without the sender.
    ///
    /// # Errors
    ///
    /// Those of [`recv_from`](Self::recv_from).
    ///
    /// # Cancellation
    ///
    /// As [`recv_from`](Self::recv_from).
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::UnixDatagram;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (ours, theirs) = UnixDatagram::pair()?;
    /// ours.send(b"hello")?;
    /// assert_eq!(theirs.recv(&mut [0; 8])?, 5);
    /// # Ok(())
    /// # }
    /// ```
    pub fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.socket.read(buf)
    }

    /// Looks at the next datagram without taking it: as [`recv`](Self::recv), which gives it again.
    ///
    /// # Errors
    ///
    /// Those of [`recv_from`](Self::recv_from).
    ///
    /// # Cancellation
    ///
    /// A blocking call: from a coroutine it may unwind, when that is cancelled or a timeout around it elapses. Nothing
    /// is lost: a peek takes nothing.
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
    /// ours.send(b"once")?;
    /// assert_eq!(theirs.peek(&mut [0; 2])?, 2);
    /// assert_eq!(theirs.recv(&mut [0; 8])?, 4);
    /// # Ok(())
    /// # }
    /// ```
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.socket.peek(buf)
    }

    /// Looks at the next datagram and its sender without taking it: as [`recv_from`](Self::recv_from), which gives it
    /// again.
    ///
    /// # Errors
    ///
    /// Those of [`recv_from`](Self::recv_from).
    ///
    /// # Cancellation
    ///
    /// As [`peek`](Self::peek).
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
    /// ours.send(b"once")?;
    /// assert_eq!(theirs.peek_from(&mut [0; 8])?.0, 4);
    /// # Ok(())
    /// # }
    /// ```
    pub fn peek_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let (len, addr) = self.socket.peek_from(buf)?;
        Ok((len, addr::to_std(&addr)?))
    }

    /// Sends a datagram to the socket at `path`. Waits while that has no room for it.
    ///
    /// The kernel tells a sender that is not connected nothing of a receiver that has room again, so this looks again,
    /// at least a hundred times in a second while it waits. A connected socket's [`send`](Self::send) is woken. For
    /// the same reason `select`'s `writable` says nothing about the receiver here.
    ///
    /// # Errors
    ///
    /// Those of sendto(2): among them `NotFound` if nothing has that path, `ConnectionRefused` if nobody is there,
    /// one for a datagram that is longer than the send buffer, and `PermissionDenied` if the receiver is connected to
    /// someone else. `InvalidInput` as [`bind`](Self::bind). `WouldBlock` in non-blocking mode, or past the
    /// [timeout](Self::set_write_timeout); `TimedOut` past the [deadline](Self::set_write_deadline).
    ///
    /// # Cancellation
    ///
    /// A blocking call: from a coroutine it may unwind, when that is cancelled or a timeout around it elapses. Nothing
    /// was sent then.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use std::io::ErrorKind;
    /// use withy::net::UnixDatagram;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let socket = UnixDatagram::unbound()?;
    /// let error = socket.send_to(b"hello", "/no/such/socket").unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::NotFound);
    /// # Ok(())
    /// # }
    /// ```
    pub fn send_to<P: AsRef<Path>>(&self, buf: &[u8], path: P) -> io::Result<usize> {
        self.send_to_name(buf, &addr::of_path(path.as_ref())?)
    }

    /// Sends a datagram to the socket with that address, as [`send_to`](Self::send_to).
    ///
    /// # Errors
    ///
    /// Those of [`send_to`](Self::send_to).
    ///
    /// # Cancellation
    ///
    /// As [`send_to`](Self::send_to).
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::UnixDatagram;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let server = UnixDatagram::bind("")?;
    /// UnixDatagram::unbound()?.send_to_addr(b"hello", &server.local_addr()?)?;
    /// assert_eq!(server.recv(&mut [0; 8])?, 5);
    /// # Ok(())
    /// # }
    /// ```
    pub fn send_to_addr(&self, buf: &[u8], socket_addr: &SocketAddr) -> io::Result<usize> {
        self.send_to_name(buf, &addr::of_std(socket_addr)?)
    }

    /// Sends a datagram to the socket that this one is [connected](Self::connect) to. Waits while that has no room for
    /// it.
    ///
    /// # Errors
    ///
    /// Those of [`send_to`](Self::send_to); `NotConnected` if it is not connected.
    ///
    /// # Cancellation
    ///
    /// As [`send_to`](Self::send_to).
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::UnixDatagram;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (ours, theirs) = UnixDatagram::pair()?;
    /// assert_eq!(ours.send(b"hello")?, 5);
    /// # drop(theirs);
    /// # Ok(())
    /// # }
    /// ```
    pub fn send(&self, buf: &[u8]) -> io::Result<usize> {
        self.socket.write(buf)
    }

    /// The kernel gives no event for room at a receiver that this socket is not connected to.
    fn send_to_name(&self, buf: &[u8], addr: &SockAddr) -> io::Result<usize> {
        self.socket.retry(|fd| {
            SockRef::from(&fd).send_to_with_flags(buf, addr, MSG_DONTWAIT | MSG_NOSIGNAL)
        })
    }
}
