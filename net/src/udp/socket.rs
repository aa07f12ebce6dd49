use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::{AsRawFd, OwnedFd};

use socket2::{Domain, SockAddr, Socket as NewSocket, Type};

use crate::interop;
use crate::options::internet;
use crate::resolve::each_addr;
use crate::shell;
use crate::socket::Socket;

/// A UDP socket: [`std::net::UdpSocket`] whose calls park the coroutine where std's block the thread.
///
/// One is made by [`bind`](UdpSocket::bind). Datagrams go to, and come from, anyone with
/// [`send_to`](UdpSocket::send_to) and [`recv_from`](UdpSocket::recv_from), or one peer only after
/// [`connect`](UdpSocket::connect). All take `&self`, so that coroutines and threads may share a socket; each datagram
/// goes to one of those who receive. The socket is closed when the last clone is dropped.
///
/// A datagram goes whole or not at all, and comes whole in one call: what does not fit into the buffer is gone. An
/// empty one is a datagram too, so that 0 is not an end here.
///
/// # Differences from std
///
/// * Clones share one descriptor; see [`try_clone`](UdpSocket::try_clone).
/// * Timeouts are kept by withy, not by the kernel: they come back as precisely as they were set.
/// * There are [deadlines](UdpSocket::set_read_deadline) beside timeouts.
/// * From a coroutine, any call that waits may unwind: when it is cancelled, when a timeout around it elapses, and when
///   its runtime shuts down. No datagram is lost by that.
///
/// # Examples
///
/// ```
/// # mod withy { pub use withy_net as net; }
/// use withy::net::UdpSocket;
///
/// # fn main() -> std::io::Result<()> {
/// let server = UdpSocket::bind("127.0.0.1:0")?;
/// let client = UdpSocket::bind("127.0.0.1:0")?;
/// client.send_to(b"hello", server.local_addr()?)?;
///
/// let mut buf = [0; 1500];
/// let (len, peer) = server.recv_from(&mut buf)?;
/// assert_eq!(&buf[..len], b"hello");
/// assert_eq!(peer, client.local_addr()?);
/// # Ok(())
/// # }
/// ```
pub struct UdpSocket {
    pub(super) socket: Socket,
}

interop::convert_descriptors!(UdpSocket, std::net::UdpSocket);

shell::socket!(
    UdpSocket,
    new: "let socket = UdpSocket::bind(\"127.0.0.1:0\")?;",
    read: "socket.recv(&mut [0; 8])"
);

impl UdpSocket {
    /// A socket bound to `addr`; port 0 lets the system choose one.
    ///
    /// `addr` may give several addresses: they are tried in order until one can be bound. Names are looked up as
    /// [`TcpStream::connect`](crate::TcpStream::connect) does.
    ///
    /// # Errors
    ///
    /// The error of the last address that was tried, as std's: `AddrInUse`, `AddrNotAvailable`, `PermissionDenied` …;
    /// that of the look-up if it fails; `InvalidInput` if there is no address.
    ///
    /// # Cancellation
    ///
    /// A blocking call only where a name has to be looked up: from a coroutine it may unwind, when that is cancelled or
    /// a timeout around it elapses. Nothing is bound then.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::UdpSocket;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let socket = UdpSocket::bind("127.0.0.1:0")?;
    /// assert_ne!(socket.local_addr()?.port(), 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn bind<A: ToSocketAddrs>(addr: A) -> io::Result<UdpSocket> {
        each_addr(addr, bind)
    }

    /// Receives a datagram, and gives its length and its sender. Waits while there is none.
    ///
    /// It comes whole: what does not fit into `buf` is gone.
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
    /// use withy::net::UdpSocket;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let socket = UdpSocket::bind("127.0.0.1:0")?;
    /// socket.send_to(b"0123456789", socket.local_addr()?)?;
    /// let mut buf = [0; 4];
    /// assert_eq!(socket.recv_from(&mut buf)?, (4, socket.local_addr()?));
    /// assert_eq!(&buf, b"0123");
    /// # Ok(())
    /// # }
    /// ```
    pub fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let (len, addr) = self.socket.recv_from(buf)?;
        Ok((len, internet(&addr)?))
    }

    /// Looks at the next datagram without taking it: as [`recv_from`](Self::recv_from), which gives it again.
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
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::UdpSocket;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let socket = UdpSocket::bind("127.0.0.1:0")?;
    /// socket.send_to(b"once", socket.local_addr()?)?;
    /// assert_eq!(socket.peek_from(&mut [0; 8])?.0, 4);
    /// assert_eq!(socket.recv_from(&mut [0; 8])?.0, 4);
    /// # Ok(())
    /// # }
    /// ```
    pub fn peek_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let (len, addr) = self.socket.peek_from(buf)?;
        Ok((len, internet(&addr)?))
    }

    /// Sends a datagram to `addr`, and gives its length. Waits while the socket's send buffer is full.
    ///
    /// If `addr` gives several addresses, it goes to the first one. Names are looked up each time: look up once, and
    /// send to the [`SocketAddr`].
    ///
    /// # Errors
    ///
    /// Those of sendto(2): among them one for a datagram that is too long (65,507 bytes over IPv4), and
    /// `ConnectionRefused` for an earlier one that nobody received. `InvalidInput` if there is no address. `WouldBlock`
    /// in non-blocking mode, or past the [timeout](Self::set_write_timeout); `TimedOut` past the
    /// [deadline](Self::set_write_deadline).
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
    /// use withy::net::UdpSocket;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let socket = UdpSocket::bind("127.0.0.1:0")?;
    /// assert_eq!(socket.send_to(b"hello", socket.local_addr()?)?, 5);
    /// assert_eq!(socket.send_to(b"", socket.local_addr()?)?, 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn send_to<A: ToSocketAddrs>(&self, buf: &[u8], addr: A) -> io::Result<usize> {
        // The first address alone, as std's.
        let addr = each_addr(addr, |addr| Ok(SockAddr::from(*addr)))?;
        self.socket.send_to(buf, &addr)
    }

    /// The address of the peer that this socket is [connected](Self::connect) to.
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
    /// use withy::net::UdpSocket;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let socket = UdpSocket::bind("127.0.0.1:0")?;
    /// assert_eq!(socket.peer_addr().unwrap_err().kind(), ErrorKind::NotConnected);
    /// # Ok(())
    /// # }
    /// ```
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket.peer_addr()
    }

    /// The address this socket is bound to.
    ///
    /// # Errors
    ///
    /// Those of getsockname(2).
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::{Ipv4Addr, UdpSocket};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let socket = UdpSocket::bind("127.0.0.1:0")?;
    /// assert_eq!(socket.local_addr()?.ip(), Ipv4Addr::LOCALHOST);
    /// # Ok(())
    /// # }
    /// ```
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Connects this socket to a peer: [`send`](Self::send) goes there, and datagrams of others are not received any
    /// more. Those that were there already still are.
    ///
    /// Nothing is sent, so this neither waits nor fails if nobody is there; a later call may then give
    /// `ConnectionRefused`. If `addr` gives several addresses, they are tried in order until one can be used.
    ///
    /// # Errors
    ///
    /// The error of the last address that was tried; that of the look-up if it fails; `InvalidInput` if there is no
    /// address.
    ///
    /// # Cancellation
    ///
    /// As [`bind`](Self::bind): a blocking call only where a name has to be looked up.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::UdpSocket;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let server = UdpSocket::bind("127.0.0.1:0")?;
    /// let client = UdpSocket::bind("127.0.0.1:0")?;
    /// client.connect(server.local_addr()?)?;
    /// assert_eq!(client.peer_addr()?, server.local_addr()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn connect<A: ToSocketAddrs>(&self, addr: A) -> io::Result<()> {
        each_addr(addr, |addr| {
            self.socket.handle().connect(&SockAddr::from(*addr))
        })
    }

    /// Sends a datagram to the peer that this socket is [connected](Self::connect) to.
    ///
    /// # Errors
    ///
    /// Those of [`send_to`](Self::send_to); the raw error `EDESTADDRREQ` if it is not connected.
    ///
    /// # Cancellation
    ///
    /// As [`send_to`](Self::send_to).
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::UdpSocket;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let server = UdpSocket::bind("127.0.0.1:0")?;
    /// let client = UdpSocket::bind("127.0.0.1:0")?;
    /// client.connect(server.local_addr()?)?;
    /// client.send(b"hello")?;
    /// assert_eq!(server.recv(&mut [0; 8])?, 5);
    /// # Ok(())
    /// # }
    /// ```
    pub fn send(&self, buf: &[u8]) -> io::Result<usize> {
        self.socket.write(buf)
    }

    /// Receives a datagram, and gives its length: [`recv_from`](Self::recv_from) without the sender.
    ///
    /// Of a socket that is not [connected](Self::connect) it gives anyone's.
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
    /// use withy::net::UdpSocket;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let socket = UdpSocket::bind("127.0.0.1:0")?;
    /// socket.connect(socket.local_addr()?)?;
    /// socket.send(b"to myself")?;
    /// assert_eq!(socket.recv(&mut [0; 16])?, 9);
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
    /// As [`peek_from`](Self::peek_from).
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::UdpSocket;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let socket = UdpSocket::bind("127.0.0.1:0")?;
    /// socket.send_to(b"once", socket.local_addr()?)?;
    /// assert_eq!(socket.peek(&mut [0; 2])?, 2);
    /// assert_eq!(socket.recv(&mut [0; 8])?, 4);
    /// # Ok(())
    /// # }
    /// ```
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.socket.peek(buf)
    }

    fn adopt(fd: OwnedFd) -> UdpSocket {
        UdpSocket {
            socket: Socket::with_boundaries(fd).adopted(),
        }
    }

    fn release(self) -> OwnedFd {
        self.socket.release()
    }
}

fn bind(addr: &SocketAddr) -> io::Result<UdpSocket> {
    let socket = NewSocket::new(Domain::for_address(*addr), Type::DGRAM, None)?;
    socket.bind(&SockAddr::from(*addr))?;
    Ok(UdpSocket {
        socket: Socket::with_boundaries(socket.into()),
    })
}

/// As std's: the address as far as it is known, and the descriptor.
impl fmt::Debug for UdpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("UdpSocket");
        if let Ok(addr) = self.local_addr() {
            out.field("addr", &addr);
        }
        out.field("fd", &self.as_raw_fd()).finish()
    }
}
