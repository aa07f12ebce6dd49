use std::fmt;
use std::io;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::SocketAddr;
use std::path::Path;

use socket2::{Domain, SockAddr, Socket as NewSocket, Type};

use super::addr;
use crate::interop;
use crate::shell;
use crate::socket::Socket;

/// Datagrams within this machine: [`std::os::unix::net::UnixDatagram`] whose calls park the coroutine where std's block
/// the thread.
///
/// They arrive, whole, once and in order: a sender waits where the receiver has no room. All calls take `&self`; each
/// datagram goes to one of those who receive. The socket is closed when the last clone is dropped; a path that it was
/// bound to stays, as with std, until someone removes it.
///
/// # Differences from std
///
/// * Clones share one descriptor; see [`try_clone`](UnixDatagram::try_clone).
/// * Timeouts are kept by withy, not by the kernel: they come back as precisely as they were set.
/// * There are [deadlines](UnixDatagram::set_read_deadline) beside timeouts, and
///   [descriptors](UnixDatagram::send_with_fds) beside bytes.
/// * From a coroutine, any call that waits may unwind: when it is cancelled, when a timeout around it elapses, and when
///   its runtime shuts down. No datagram is lost by that.
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
/// let mut buf = [0; 100];
/// let len = theirs.recv(&mut buf)?;
/// assert_eq!(&buf[..len], b"hello");
/// # Ok(())
/// # }
/// ```
pub struct UnixDatagram {
    pub(super) socket: Socket,
}

interop::convert_descriptors!(UnixDatagram, std::os::unix::net::UnixDatagram);

shell::socket!(
    UnixDatagram,
    new: "let socket = UnixDatagram::unbound()?;",
    read: "socket.recv(&mut [0; 8])"
);

impl UnixDatagram {
    /// A socket bound to `path`, where nothing may be yet. An empty path lets the system choose an abstract name.
    ///
    /// # Errors
    ///
    /// Those of bind(2): `AddrInUse` if the path exists, whatever it is; `NotFound`, `PermissionDenied` … `InvalidInput` if the path is too
    /// long for an address (107 bytes), or holds a NUL.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::UnixDatagram;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let path = std::env::temp_dir().join(format!("withy-example-{}.dgram", std::process::id()));
    /// # let _ = std::fs::remove_file(&path);
    /// let server = UnixDatagram::bind(&path)?;
    /// UnixDatagram::unbound()?.send_to(b"hello", &path)?;
    /// assert_eq!(server.recv(&mut [0; 8])?, 5);
    /// std::fs::remove_file(&path)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn bind<P: AsRef<Path>>(path: P) -> io::Result<UnixDatagram> {
        bind(&addr::of_path(path.as_ref())?)
    }

    /// A socket bound to an address, an abstract one for example: that leaves no file behind.
    ///
    /// # Errors
    ///
    /// Those of [`bind`](Self::bind).
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::{UnixDatagram, unix::{SocketAddr, SocketAddrExt}};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let name = format!("withy-datagram-{}", std::process::id());
    /// let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
    /// assert_eq!(socket.local_addr()?.as_abstract_name(), Some(name.as_bytes()));
    /// # Ok(())
    /// # }
    /// ```
    pub fn bind_addr(socket_addr: &SocketAddr) -> io::Result<UnixDatagram> {
        bind(&addr::of_std(socket_addr)?)
    }

    /// A socket without an address: it can send, and receive once it is connected with another as a pair.
    ///
    /// # Errors
    ///
    /// Those of socket(2): no descriptor, or no memory.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::UnixDatagram;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// assert!(UnixDatagram::unbound()?.local_addr()?.is_unnamed());
    /// # Ok(())
    /// # }
    /// ```
    pub fn unbound() -> io::Result<UnixDatagram> {
        let socket = NewSocket::new(Domain::UNIX, Type::DGRAM, None)?;
        Ok(UnixDatagram::from_fd(socket.into()))
    }

    /// Two sockets that are connected to each other and have no address.
    ///
    /// # Errors
    ///
    /// Those of socketpair(2): no descriptor, or no memory.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::UnixDatagram;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (ours, theirs) = UnixDatagram::pair()?;
    /// ours.send(b"")?;
    /// assert_eq!(theirs.recv(&mut [0; 8])?, 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn pair() -> io::Result<(UnixDatagram, UnixDatagram)> {
        let (one, other) = NewSocket::pair(Domain::UNIX, Type::DGRAM, None)?;
        Ok((
            UnixDatagram::from_fd(one.into()),
            UnixDatagram::from_fd(other.into()),
        ))
    }

    /// Connects this socket to the one at `path`: [`send`](Self::send) goes there, and datagrams of others are not
    /// accepted any more. It does not wait.
    ///
    /// # Errors
    ///
    /// Those of connect(2): `NotFound` if nothing has that path, `ConnectionRefused` if nobody is there;
    /// `InvalidInput` as [`bind`](Self::bind).
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
    /// let error = socket.connect("/no/such/socket").unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::NotFound);
    /// # Ok(())
    /// # }
    /// ```
    pub fn connect<P: AsRef<Path>>(&self, path: P) -> io::Result<()> {
        let addr = addr::of_path(path.as_ref())?;
        self.socket.handle().connect(&addr)
    }

    /// Connects this socket to the one with that address.
    ///
    /// # Errors
    ///
    /// Those of [`connect`](Self::connect).
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::UnixDatagram;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let server = UnixDatagram::bind("")?;
    /// let client = UnixDatagram::unbound()?;
    /// client.connect_addr(&server.local_addr()?)?;
    /// client.send(b"hello")?;
    /// assert_eq!(server.recv(&mut [0; 8])?, 5);
    /// # Ok(())
    /// # }
    /// ```
    pub fn connect_addr(&self, socket_addr: &SocketAddr) -> io::Result<()> {
        let addr = addr::of_std(socket_addr)?;
        self.socket.handle().connect(&addr)
    }

    /// The address this socket is bound to; unnamed if it is to none.
    ///
    /// # Errors
    ///
    /// Those of getsockname(2).
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::{UnixDatagram, unix::SocketAddrExt};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// assert!(UnixDatagram::bind("")?.local_addr()?.as_abstract_name().is_some());
    /// # Ok(())
    /// # }
    /// ```
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_name()
    }

    /// The address of the socket that this one is [connected](Self::connect) to.
    ///
    /// # Errors
    ///
    /// `NotConnected` if it is not.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use std::io::ErrorKind;
    /// use withy::net::UnixDatagram;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let error = UnixDatagram::unbound()?.peer_addr().unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::NotConnected);
    /// # Ok(())
    /// # }
    /// ```
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket.peer_name()
    }

    /// Shuts down the receiving, the sending, or both of this socket. Callers that are blocked in it return: receivers
    /// with 0, senders with `BrokenPipe`.
    ///
    /// # Errors
    ///
    /// `NotConnected` if it is not connected.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use std::io::ErrorKind;
    /// use withy::net::{Shutdown, UnixDatagram};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (ours, theirs) = UnixDatagram::pair()?;
    /// ours.shutdown(Shutdown::Write)?;
    /// assert_eq!(ours.send(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
    /// # drop(theirs);
    /// # Ok(())
    /// # }
    /// ```
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.socket.shutdown(how)
    }

    fn from_fd(fd: OwnedFd) -> UnixDatagram {
        UnixDatagram {
            socket: Socket::of_unix_datagrams(fd),
        }
    }

    fn adopt(fd: OwnedFd) -> UnixDatagram {
        UnixDatagram {
            socket: Socket::of_unix_datagrams(fd).adopted(),
        }
    }

    fn release(self) -> OwnedFd {
        self.socket.release()
    }
}

fn bind(addr: &SockAddr) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.socket.handle().bind(addr)?;
    Ok(socket)
}

impl fmt::Debug for UnixDatagram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.socket.print("UnixDatagram", f)
    }
}
