use std::fmt;
use std::io;
use std::net::{Shutdown, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use super::connect::connect;
use super::race::connect_any;
use crate::interop;
use crate::options::zero_timeout;
use crate::resolve::addresses;
use crate::shell;
use crate::socket::{Socket, stream_io};

/// A TCP connection: [`std::net::TcpStream`] whose calls park the coroutine where std's block the thread.
///
/// One is made by [`connect`](TcpStream::connect) or by [`TcpListener::accept`](crate::TcpListener::accept); bytes
/// go through [`Read`](std::io::Read) and [`Write`](std::io::Write), which `&TcpStream` implements too, so that one coroutine can read while another
/// writes. Several callers of one direction queue; each byte goes to one of them. The connection is closed when the
/// last clone is dropped.
///
/// Writes never raise `SIGPIPE`.
///
/// # Differences from std
///
/// * Clones share one descriptor; see [`try_clone`](TcpStream::try_clone).
/// * Timeouts are kept by withy, not by the kernel: they come back as precisely as they were set.
/// * There are [deadlines](TcpStream::set_read_deadline) beside timeouts.
/// * From a coroutine, any call that waits may unwind: when it is cancelled, when a timeout around it elapses, and when
///   its runtime shuts down. Each says what is lost.
///
/// # Examples
///
/// ```
/// # mod withy { pub use withy_net as net; }
/// use std::io::{Read, Write};
/// use withy::net::{TcpListener, TcpStream};
///
/// # fn main() -> std::io::Result<()> {
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let mut client = TcpStream::connect(listener.local_addr()?)?;
/// let (mut server, _) = listener.accept()?;
///
/// client.write_all(b"hello")?;
/// let mut greeting = [0; 5];
/// server.read_exact(&mut greeting)?;
/// assert_eq!(&greeting, b"hello");
/// # Ok(())
/// # }
/// ```
pub struct TcpStream {
    pub(super) socket: Socket,
}

interop::convert_descriptors!(TcpStream, std::net::TcpStream);

shell::socket!(
    TcpStream,
    new: "let listener = withy::net::TcpListener::bind(\"127.0.0.1:0\")?;\nlet socket = TcpStream::connect(listener.local_addr()?)?;",
    read: "socket.peek(&mut [0; 8])"
);

impl TcpStream {
    /// Opens a TCP connection to a remote host.
    ///
    /// Names (strings, and pairs of a string and a port) are looked up on another thread while the caller is parked;
    /// [`lookup_host`](crate::lookup_host) says more.
    ///
    /// If there are several addresses they are tried in order, IPv6 and IPv4 in turn, by "Happy Eyeballs" ([RFC 8305]): the next
    /// attempt begins when one has failed, or when none has succeeded for 250 ms. The first to succeed is the stream, and
    /// the others are closed. Up to eight attempts are under way at a time.
    ///
    /// A limit for all of that together is `withy::timeout(limit, || TcpStream::connect("name:80"))`. For one address there is
    /// [`connect_timeout`](Self::connect_timeout), and [`TcpSocket`](crate::TcpSocket) for what has to be set before.
    ///
    /// [RFC 8305]: https://www.rfc-editor.org/rfc/rfc8305
    ///
    /// # Cancellation
    ///
    /// A blocking call: from a coroutine it may unwind, when that is cancelled or a timeout around it elapses. It does so at
    /// once. All connections that were being made are closed; a look-up that has begun goes on alone, and nobody
    /// waits for it.
    ///
    /// # Errors
    ///
    /// The error of the last address that was tried, as std's: `ConnectionRefused`, `HostUnreachable`,
    /// `NetworkUnreachable`, `TimedOut` …; that of the look-up if it fails; `InvalidInput` if there is no address. If there
    /// were several addresses, the text tells of all of them, and the error of the last one is its source.
    ///
    /// # Differences from std
    ///
    /// std tries one address after the other, each for as long as the kernel does (over two minutes).
    ///
    /// A [`ToSocketAddrs`] implementation of your own runs on the worker. If it looks names up, let it call
    /// `to_socket_addrs` where blocking is allowed.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::{TcpListener, TcpStream};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let port = listener.local_addr()?.port();
    /// let stream = TcpStream::connect(("127.0.0.1", port))?;
    /// assert_eq!(stream.peer_addr()?, listener.local_addr()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn connect<A: ToSocketAddrs>(addr: A) -> io::Result<TcpStream> {
        connect_any(addresses(&addr)?).map(TcpStream::from_socket)
    }

    /// Opens a TCP connection to a remote host, giving up after `timeout`.
    ///
    /// It takes one address, since the limit is for one attempt.
    ///
    /// # Errors
    ///
    /// `TimedOut` if the limit passes first, `InvalidInput` if it is zero; otherwise as [`connect`](Self::connect).
    ///
    /// # Cancellation
    ///
    /// A blocking call: from a coroutine it may unwind, when that is cancelled or a timeout around it elapses. The
    /// connection that was being made is given up.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use std::time::Duration;
    /// use withy::net::{TcpListener, TcpStream};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let stream = TcpStream::connect_timeout(&listener.local_addr()?, Duration::from_secs(5))?;
    /// assert!(stream.peer_addr().is_ok());
    /// # Ok(())
    /// # }
    /// ```
    pub fn connect_timeout(addr: &SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
        if timeout.is_zero() {
            return Err(zero_timeout());
        }
        connect(addr, Some(timeout)).map(TcpStream::from_socket)
    }

    /// The address of the remote half of this connection.
    ///
    /// # Errors
    ///
    /// `NotConnected` if the connection is gone.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::{TcpListener, TcpStream};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let stream = TcpStream::connect(listener.local_addr()?)?;
    /// assert_eq!(stream.peer_addr()?, listener.local_addr()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket.peer_addr()
    }

    /// The address of the local half of this connection.
    ///
    /// # Errors
    ///
    /// Those of getsockname(2).
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let stream = TcpStream::connect(listener.local_addr()?)?;
    /// assert_eq!(stream.local_addr()?.ip(), IpAddr::V4(Ipv4Addr::LOCALHOST));
    /// # Ok(())
    /// # }
    /// ```
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Shuts down the reading, the writing, or both halves of this connection.
    ///
    /// Callers that are blocked on the half, through any clone, return: reads with what is left and then 0, writes
    /// with `BrokenPipe`. A second call is fine.
    ///
    /// # Errors
    ///
    /// `NotConnected` if the connection is gone.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use std::io::Read;
    /// use withy::net::{Shutdown, TcpListener, TcpStream};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let client = TcpStream::connect(listener.local_addr()?)?;
    /// let (mut server, _) = listener.accept()?;
    /// client.shutdown(Shutdown::Write)?;
    /// assert_eq!(server.read(&mut [0; 8])?, 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.socket.shutdown(how)
    }

    /// Reads without taking: the next read gives the same bytes again.
    ///
    /// It waits for data as a read does, and gives 0 after the peer's end of the stream.
    ///
    /// # Errors
    ///
    /// Those of a read.
    ///
    /// # Cancellation
    ///
    /// A blocking call: from a coroutine it may unwind, when that is cancelled or a timeout around it elapses. Nothing
    /// is lost: a peek takes nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use std::io::{Read, Write};
    /// use withy::net::{TcpListener, TcpStream};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let mut client = TcpStream::connect(listener.local_addr()?)?;
    /// let (mut server, _) = listener.accept()?;
    /// client.write_all(b"x")?;
    /// let mut buf = [0; 8];
    /// assert_eq!(server.peek(&mut buf)?, 1);
    /// assert_eq!(server.read(&mut buf)?, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.socket.peek(buf)
    }

    pub(super) fn from_socket(socket: Socket) -> TcpStream {
        TcpStream { socket }
    }

    fn adopt(fd: OwnedFd) -> TcpStream {
        TcpStream {
            socket: Socket::of_unknown_protocol(fd).adopted(),
        }
    }

    fn release(self) -> OwnedFd {
        self.socket.release()
    }
}

stream_io!(TcpStream, socket);
stream_io!(&TcpStream, socket);

/// As std's: the addresses as far as they are known, and the descriptor.
impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("TcpStream");
        if let Ok(addr) = self.local_addr() {
            out.field("addr", &addr);
        }
        if let Ok(peer) = self.peer_addr() {
            out.field("peer", &peer);
        }
        out.field("fd", &self.as_raw_fd()).finish()
    }
}
