use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::{AsRawFd, OwnedFd};

use socket2::{Domain, Protocol, SockAddr, Socket as NewSocket, Type};

use super::incoming::Incoming;
use super::stream::TcpStream;
use crate::interop;
use crate::listen::BACKLOG;
use crate::options::internet;
use crate::resolve::each_addr;
use crate::shell::{accept_limits, buffer_sizes, handle};
use crate::socket::Socket;

/// A TCP server socket: [`std::net::TcpListener`] whose `accept` parks the coroutine where std's blocks the thread.
///
/// Several coroutines and threads may accept at once; each connection goes to one of them. The socket is closed when
/// the last clone is dropped.
///
/// # Differences from std
///
/// * The backlog is the kernel's maximum (`net.core.somaxconn`), not 128.
/// * Clones share one descriptor, see [`try_clone`](TcpListener::try_clone).
/// * The descriptor is `O_NONBLOCK` while withy owns it, whatever [`set_nonblocking`](TcpListener::set_nonblocking)
///   said. std's duplicates of it see that.
/// * `accept` can have a [timeout](TcpListener::set_accept_timeout) and a
///   [deadline](TcpListener::set_accept_deadline).
/// * From a coroutine, any call that waits may unwind: when it is cancelled, when a timeout around it elapses, and when
///   its runtime shuts down.
///
/// # Examples
///
/// ```
/// # mod withy { pub use withy_net as net; }
/// use withy::net::{TcpListener, TcpStream};
///
/// # fn main() -> std::io::Result<()> {
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let client = TcpStream::connect(listener.local_addr()?)?;
/// let (server, peer) = listener.accept()?;
/// assert_eq!(peer, client.local_addr()?);
/// assert_eq!(server.peer_addr()?, peer);
/// # Ok(())
/// # }
/// ```
pub struct TcpListener {
    pub(super) socket: Socket,
}

interop::convert_descriptors!(TcpListener, std::net::TcpListener);

accept_limits!(TcpListener, new: "let listener = TcpListener::bind(\"127.0.0.1:0\")?;");

handle!(listener TcpListener, new: "let socket = TcpListener::bind(\"127.0.0.1:0\")?;");

buffer_sizes!(TcpListener, new: "let socket = TcpListener::bind(\"127.0.0.1:0\")?;");

impl TcpListener {
    /// A listener bound to `addr`; port 0 lets the system choose one.
    ///
    /// `addr` may give several addresses: they are tried in order until one can be bound. Names are looked up as
    /// [`TcpStream::connect`] does. The socket has `SO_REUSEADDR`, so that a server can start again at once, and
    /// not `SO_REUSEPORT`, so that two servers cannot share a port by accident.
    ///
    /// # Errors
    ///
    /// The error of the last address that was tried, as std's: `AddrInUse`, `AddrNotAvailable`, `PermissionDenied` …;
    /// that of the look-up if it fails; `InvalidInput` if there is no address.
    ///
    /// # Cancellation
    ///
    /// A blocking call only where a name has to be looked up: from a coroutine it may unwind meanwhile, when that is
    /// cancelled or a timeout around it elapses. Nothing is bound then.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::TcpListener;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// assert_ne!(listener.local_addr()?.port(), 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn bind<A: ToSocketAddrs>(addr: A) -> io::Result<TcpListener> {
        each_addr(addr, listen)
    }

    /// The address this listener is bound to.
    ///
    /// # Errors
    ///
    /// Those of getsockname(2).
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::{Ipv4Addr, TcpListener};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// assert_eq!(listener.local_addr()?.ip(), Ipv4Addr::LOCALHOST);
    /// # Ok(())
    /// # }
    /// ```
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Waits for a connection and gives it, with the address of its peer.
    ///
    /// Connections that died in the backlog are passed over. The new stream is in blocking mode and close-on-exec.
    ///
    /// # Errors
    ///
    /// Those of accept(2), at once and with the connection still in the backlog: raw errors `EMFILE` and `ENFILE` if
    /// descriptors ran out, `ENOBUFS` and `ENOMEM` if memory did. A server should wait a little before it tries again,
    /// not end. `WouldBlock` in non-blocking mode, or past the [timeout](Self::set_accept_timeout); `TimedOut` past the
    /// [deadline](Self::set_accept_deadline).
    ///
    /// # Cancellation
    ///
    /// A blocking call: from a coroutine it may unwind, when that is cancelled or a timeout around it elapses. No
    /// connection is lost: it stays in the backlog for the next accept.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::{TcpListener, TcpStream};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let client = TcpStream::connect(listener.local_addr()?)?;
    /// let (_server, peer) = listener.accept()?;
    /// assert_eq!(peer, client.local_addr()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (fd, addr) = self.socket.accept()?;
        let socket = self.socket.accepted(fd);
        Ok((TcpStream::from_socket(socket), internet(&addr)?))
    }

    /// An iterator over the connections to come; it never gives `None`.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::{TcpListener, TcpStream};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let client = TcpStream::connect(listener.local_addr()?)?;
    /// for stream in listener.incoming() {
    ///     assert_eq!(stream?.peer_addr()?, client.local_addr()?);
    ///     break;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming { listener: self }
    }

    /// Sets `IPV6_V6ONLY`, which Linux refuses once a socket is bound.
    ///
    /// # Errors
    ///
    /// `InvalidInput` on every listener that this type can hold.
    #[deprecated(note = "this option can only be set before the socket is bound")]
    pub fn set_only_v6(&self, only_v6: bool) -> io::Result<()> {
        self.socket.handle().set_only_v6(only_v6)
    }

    /// The value of `IPV6_V6ONLY`.
    ///
    /// # Errors
    ///
    /// Those of getsockopt(2); an IPv4 socket does not have this option.
    #[deprecated(note = "this option can only be set before the socket is bound")]
    pub fn only_v6(&self) -> io::Result<bool> {
        self.socket.handle().only_v6()
    }

    fn adopt(fd: OwnedFd) -> TcpListener {
        TcpListener {
            socket: Socket::of_unknown_protocol(fd).adopted_listener(),
        }
    }

    fn release(self) -> OwnedFd {
        self.socket.release_listener()
    }
}

/// Socket, bind, listen: with std's options but for the backlog.
fn listen(addr: &SocketAddr) -> io::Result<TcpListener> {
    let socket = NewSocket::new(
        Domain::for_address(*addr),
        Type::STREAM.nonblocking(),
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.bind(&SockAddr::from(*addr))?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener {
        socket: Socket::new(socket.into()),
    })
}

/// As std's: the address as far as it is known, and the descriptor.
impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("TcpListener");
        if let Ok(addr) = self.local_addr() {
            out.field("addr", &addr);
        }
        out.field("fd", &self.as_raw_fd()).finish()
    }
}
