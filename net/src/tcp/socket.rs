use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::Duration;

use libc::c_int;
use socket2::{Domain, SockAddr};

use super::connect::{connect_by, fresh};
use super::listener::TcpListener;
use super::stream::TcpStream;
use crate::options::zero_timeout;
use crate::shell::buffer_sizes;
use crate::socket::Socket;

/// A TCP socket that is neither connected nor listening yet: for what has to be set before it is.
///
/// It becomes a [`TcpStream`] by [`connect`](TcpSocket::connect), or a [`TcpListener`] by [`listen`](TcpSocket::listen). Nothing is
/// set that was not asked for; in particular it has no `SO_REUSEADDR`, which [`TcpListener::bind`] sets.
///
/// # Differences from std
///
/// std has no such type.
///
/// # Examples
///
/// A server of which several processes may share the port, and a client that comes from a certain address:
/// ```
/// # mod withy { pub use withy_net as net; }
/// use withy::net::{SocketAddr, TcpSocket};
///
/// # fn main() -> std::io::Result<()> {
/// let socket = TcpSocket::v4()?;
/// socket.set_reuse_addr(true)?;
/// socket.set_reuse_port(true)?;
/// socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
/// let listener = socket.listen(1024)?;
///
/// let socket = TcpSocket::for_addr(listener.local_addr()?)?;
/// socket.bind(SocketAddr::from(([127, 0, 0, 2], 0)))?;
/// let client = socket.connect(listener.local_addr()?)?;
/// let (_server, peer) = listener.accept()?;
/// assert_eq!(peer, client.local_addr()?);
/// assert_eq!(peer.ip().to_string(), "127.0.0.2");
/// # Ok(())
/// # }
/// ```
pub struct TcpSocket {
    /// Its descriptor is `O_NONBLOCK`, for connect(2) and accept(2) are to be.
    pub(super) socket: Socket,
}

buffer_sizes!(TcpSocket, new: "let socket = TcpSocket::v4()?;");

impl TcpSocket {
    /// A socket for IPv4.
    ///
    /// # Errors
    ///
    /// Those of socket(2): `EMFILE`, `ENFILE` as raw errors if descriptors ran out, and others.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::*;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let socket = TcpSocket::v4()?;
    /// socket.bind("127.0.0.1:0".parse().unwrap())?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn v4() -> io::Result<TcpSocket> {
        TcpSocket::of_family(Domain::IPV4)
    }

    /// A socket for IPv6, and for IPv4 by mapped addresses unless [`set_only_v6`](TcpSocket::set_only_v6) or the system says otherwise.
    ///
    /// # Errors
    ///
    /// As [`v4`](TcpSocket::v4); raw error `EAFNOSUPPORT` if the system has no IPv6.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::*;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// if let Ok(socket) = TcpSocket::v6() {
    ///     socket.set_only_v6(true)?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn v6() -> io::Result<TcpSocket> {
        TcpSocket::of_family(Domain::IPV6)
    }

    /// A socket of the family that `addr` needs. It is neither bound nor connected to it.
    ///
    /// # Errors
    ///
    /// As [`v6`](TcpSocket::v6).
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::*;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let addr = "127.0.0.1:0".parse().unwrap();
    /// let socket = TcpSocket::for_addr(addr)?;
    /// socket.bind(addr)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn for_addr(addr: SocketAddr) -> io::Result<TcpSocket> {
        TcpSocket::of_family(Domain::for_address(addr))
    }

    /// Binds the socket to a local address; port 0 lets the system choose one.
    ///
    /// # Errors
    ///
    /// Those of bind(2): `AddrInUse`, `AddrNotAvailable`, `PermissionDenied` …; `InvalidInput` if it is bound already.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::*;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let socket = TcpSocket::v4()?;
    /// socket.bind("127.0.0.1:0".parse().unwrap())?;
    /// assert_ne!(socket.local_addr()?.port(), 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn bind(&self, addr: SocketAddr) -> io::Result<()> {
        self.socket.handle().bind(&SockAddr::from(addr))
    }

    /// The address that the socket is bound to; the unspecified one, with port 0, if it is not.
    ///
    /// # Errors
    ///
    /// Those of getsockname(2).
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::*;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let socket = TcpSocket::v4()?;
    /// assert_eq!(socket.local_addr()?, "0.0.0.0:0".parse().unwrap());
    /// # Ok(())
    /// # }
    /// ```
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Connects the socket to `addr`, and waits until that is done or has failed, as [`TcpStream::connect`] does.
    ///
    /// # Cancellation
    ///
    /// A blocking call: from a coroutine it may unwind, when that is cancelled or a timeout around it elapses. The socket is
    /// closed then.
    ///
    /// # Errors
    ///
    /// As [`TcpStream::connect`] for one address. The socket is closed then.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::*;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let socket = TcpSocket::v4()?;
    /// socket.set_nodelay(true)?;
    /// let stream = socket.connect(listener.local_addr()?)?;
    /// assert!(stream.nodelay()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn connect(self, addr: SocketAddr) -> io::Result<TcpStream> {
        connect_by(self.socket, &addr, None).map(TcpStream::from_socket)
    }

    /// [`connect`](TcpSocket::connect) that gives up after `timeout`.
    ///
    /// # Cancellation
    ///
    /// A blocking call, as [`connect`](TcpSocket::connect).
    ///
    /// # Errors
    ///
    /// `TimedOut` if the limit passes first, `InvalidInput` if it is zero; otherwise as [`connect`](TcpSocket::connect).
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::*;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let socket = TcpSocket::v4()?;
    /// socket.set_nodelay(true)?;
    /// let stream = socket.connect_timeout(listener.local_addr()?, std::time::Duration::from_secs(5))?;
    /// assert!(stream.nodelay()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn connect_timeout(self, addr: SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
        if timeout.is_zero() {
            return Err(zero_timeout());
        }
        connect_by(self.socket, &addr, Some(timeout)).map(TcpStream::from_socket)
    }

    /// Makes the socket a listener.
    ///
    /// `backlog` is how many connections may be complete and not accepted yet; the kernel lowers it to `net.core.somaxconn`, and
    /// [`TcpListener::bind`] asks for that. A SYN that comes when there is no room is dropped, and sent again by the client a second
    /// later. See listen(2).
    ///
    /// # Errors
    ///
    /// Those of listen(2): `AddrInUse` if another socket listens on this port.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::*;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let socket = TcpSocket::v4()?;
    /// socket.bind("127.0.0.1:0".parse().unwrap())?;
    /// let listener = socket.listen(128)?;
    /// TcpStream::connect(listener.local_addr()?)?;
    /// listener.accept()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn listen(self, backlog: u32) -> io::Result<TcpListener> {
        let backlog = c_int::try_from(backlog).unwrap_or(c_int::MAX);
        self.socket.handle().listen(backlog)?;
        let socket = self.socket;
        Ok(TcpListener { socket })
    }

    fn of_family(family: Domain) -> io::Result<TcpSocket> {
        fresh(family).map(|socket| TcpSocket { socket })
    }
}

impl AsFd for TcpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for TcpSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

/// Takes over a TCP socket that was made elsewhere, with options that are not known here, and makes it `O_NONBLOCK`.
impl From<OwnedFd> for TcpSocket {
    fn from(fd: OwnedFd) -> TcpSocket {
        let socket = Socket::of_unknown_protocol(fd);
        // fcntl cannot fail here: an `OwnedFd` is open.
        let _ = socket.handle().set_nonblocking(true);
        TcpSocket { socket }
    }
}

/// Gives the descriptor away, `O_NONBLOCK`.
impl From<TcpSocket> for OwnedFd {
    fn from(socket: TcpSocket) -> OwnedFd {
        socket.socket.into_fd().0
    }
}

impl fmt::Debug for TcpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("TcpSocket");
        if let Ok(addr) = self.local_addr() {
            out.field("addr", &addr);
        }
        out.field("fd", &self.as_raw_fd()).finish()
    }
}

// As `TcpStream`: every call is whole, whatever unwinds out of it.
impl UnwindSafe for TcpSocket {}
impl RefUnwindSafe for TcpSocket {}
