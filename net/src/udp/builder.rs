//! A UDP socket before it is bound.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use socket2::{Domain, Socket as NewSocket, Type};

use super::socket::UdpSocket;

/// A UDP socket that has no address yet: for what has to be set before it is bound.
///
/// It becomes a [`UdpSocket`] by [`bind`](UdpBuilder::bind). Nothing is set that was not asked for. What else there is to be set, by
/// the descriptor (`AsFd`) and the crate socket2 for example, is kept.
///
/// # Differences from std
///
/// std has no such type.
///
/// # Examples
///
/// Two receivers of one multicast group on one port:
/// ```
/// # mod withy { pub use withy_net as net; }
/// use withy::net::{Ipv4Addr, SocketAddr, UdpBuilder, UdpSocket};
///
/// fn receiver(addr: SocketAddr) -> std::io::Result<UdpSocket> {
///     let socket = UdpBuilder::v4()?;
///     socket.set_reuse_addr(true)?;
///     socket.bind(addr)
/// }
///
/// # fn main() -> std::io::Result<()> {
/// let one = receiver(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
/// let other = receiver(one.local_addr()?)?;
/// assert_eq!(one.local_addr()?, other.local_addr()?);
/// # Ok(())
/// # }
/// ```
pub struct UdpBuilder {
    socket: NewSocket,
}

impl UdpBuilder {
    /// For IPv4.
    ///
    /// # Errors
    ///
    /// Those of socket(2): `EMFILE`, `ENFILE` as raw errors if descriptors ran out, and others.
    pub fn v4() -> io::Result<UdpBuilder> {
        UdpBuilder::of_family(Domain::IPV4)
    }

    /// For IPv6, and for IPv4 too unless [`set_only_v6`](UdpBuilder::set_only_v6) says otherwise.
    ///
    /// # Errors
    ///
    /// As [`v4`](UdpBuilder::v4).
    pub fn v6() -> io::Result<UdpBuilder> {
        UdpBuilder::of_family(Domain::IPV6)
    }

    /// For the family of `addr`.
    ///
    /// # Errors
    ///
    /// As [`v4`](UdpBuilder::v4).
    pub fn for_addr(addr: SocketAddr) -> io::Result<UdpBuilder> {
        UdpBuilder::of_family(Domain::for_address(addr))
    }

    fn of_family(family: Domain) -> io::Result<UdpBuilder> {
        let socket = NewSocket::new(family, Type::DGRAM, None)?;
        Ok(UdpBuilder { socket })
    }

    /// Sets `SO_REUSEADDR`: others that have set it too may bind to the same address. Each gets a multicast datagram; of others the one
    /// that was bound last gets all.
    ///
    /// # Errors
    ///
    /// Those of setsockopt(2).
    pub fn set_reuse_addr(&self, reuse: bool) -> io::Result<()> {
        self.socket.set_reuse_address(reuse)
    }

    /// Sets `SO_REUSEPORT`: sockets of the same user that have set it share an address, and the kernel deals datagrams out among them by a hash of
    /// their senders.
    ///
    /// # Errors
    ///
    /// Those of setsockopt(2).
    pub fn set_reuse_port(&self, reuse: bool) -> io::Result<()> {
        self.socket.set_reuse_port(reuse)
    }

    /// Sets `IPV6_V6ONLY`.
    ///
    /// # Errors
    ///
    /// Those of setsockopt(2), such as that of a socket for IPv4.
    pub fn set_only_v6(&self, only_v6: bool) -> io::Result<()> {
        self.socket.set_only_v6(only_v6)
    }

    /// Binds it to `addr`; port 0 lets the system choose one.
    ///
    /// # Errors
    ///
    /// `AddrInUse`, `AddrNotAvailable`, `PermissionDenied` and others of bind(2).
    pub fn bind(self, addr: SocketAddr) -> io::Result<UdpSocket> {
        self.socket.bind(&addr.into())?;
        Ok(UdpSocket::from(std::net::UdpSocket::from(self.socket)))
    }
}

impl AsFd for UdpBuilder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for UdpBuilder {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl fmt::Debug for UdpBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("UdpBuilder");
        out.field("fd", &self.as_raw_fd()).finish()
    }
}
