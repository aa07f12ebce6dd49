//! What can be set on a [`TcpSocket`]; what every TCP socket has is in `shared_options.rs`, a listener's in `listener_options.rs`.

use std::io;
use std::time::Duration;

use super::socket::TcpSocket;

impl TcpSocket {
    /// Lets the address be bound while connections of its former owner are in TIME_WAIT (`SO_REUSEADDR`). A port at which another
    /// socket listens stays taken.
    ///
    /// # Errors
    ///
    /// Those of setsockopt(2).
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::*;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let socket = TcpSocket::v4()?;
    /// socket.set_reuse_addr(true)?;
    /// assert!(socket.reuse_addr()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_reuse_addr(&self, reuse: bool) -> io::Result<()> {
        self.socket.handle().set_reuse_address(reuse)
    }

    /// Lets other sockets of the same user that have said so, too, listen on the same port (`SO_REUSEPORT`). The kernel spreads connections
    /// over them by a hash of their addresses; to be set before [`bind`](TcpSocket::bind). See socket(7).
    ///
    /// # Errors
    ///
    /// Those of setsockopt(2).
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::*;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let socket = TcpSocket::v4()?;
    /// socket.set_reuse_port(true)?;
    /// assert!(socket.reuse_port()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_reuse_port(&self, reuse: bool) -> io::Result<()> {
        self.socket.handle().set_reuse_port(reuse)
    }

    /// Keeps an IPv6 socket from IPv4 addresses (`IPV6_V6ONLY`); to be set before [`bind`](TcpSocket::bind). See ipv6(7).
    ///
    /// # Errors
    ///
    /// Those of setsockopt(2): an IPv4 socket does not have this option, a bound one cannot change it.
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
    ///     assert!(socket.only_v6()?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_only_v6(&self, only_v6: bool) -> io::Result<()> {
        self.socket.handle().set_only_v6(only_v6)
    }

    /// The value of `IPV6_V6ONLY`.
    ///
    /// # Errors
    ///
    /// Those of getsockopt(2): an IPv4 socket does not have this option.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::*;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// assert!(TcpSocket::v4()?.only_v6().is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn only_v6(&self) -> io::Result<bool> {
        self.socket.handle().only_v6()
    }

    /// Sets `SO_LINGER`, see [`TcpStream::set_linger`](crate::TcpStream::set_linger).
    ///
    /// # Errors
    ///
    /// Those of setsockopt(2).
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::*;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let socket = TcpSocket::v4()?;
    /// socket.set_linger(Some(std::time::Duration::ZERO))?;
    /// assert_eq!(socket.linger()?, Some(std::time::Duration::ZERO));
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        self.socket.handle().set_linger(linger)
    }

    /// The value of `SO_LINGER`.
    ///
    /// # Errors
    ///
    /// Those of getsockopt(2).
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::*;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let socket = TcpSocket::v4()?;
    /// assert_eq!(socket.linger()?, None);
    /// # Ok(())
    /// # }
    /// ```
    pub fn linger(&self) -> io::Result<Option<Duration>> {
        self.socket.handle().linger()
    }

    /// Sets `TCP_NODELAY`, see [`TcpStream::set_nodelay`](crate::TcpStream::set_nodelay).
    ///
    /// # Errors
    ///
    /// Those of setsockopt(2).
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::*;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let socket = TcpSocket::v4()?;
    /// socket.set_nodelay(true)?;
    /// assert!(socket.nodelay()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.socket.handle().set_tcp_nodelay(nodelay)
    }

    /// The value of `TCP_NODELAY`.
    ///
    /// # Errors
    ///
    /// Those of getsockopt(2).
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::*;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let socket = TcpSocket::v4()?;
    /// assert!(!socket.nodelay()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn nodelay(&self) -> io::Result<bool> {
        self.socket.handle().tcp_nodelay()
    }

    /// Sets `TCP_QUICKACK`, see [`TcpStream::set_quickack`](crate::TcpStream::set_quickack).
    ///
    /// # Errors
    ///
    /// Those of setsockopt(2).
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::*;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let socket = TcpSocket::v4()?;
    /// socket.set_quickack(false)?;
    /// assert!(!socket.quickack()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_quickack(&self, quickack: bool) -> io::Result<()> {
        self.socket.handle().set_tcp_quickack(quickack)
    }

    /// The value of `TCP_QUICKACK`.
    ///
    /// # Errors
    ///
    /// Those of getsockopt(2).
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::*;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let socket = TcpSocket::v4()?;
    /// let _: bool = socket.quickack()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn quickack(&self) -> io::Result<bool> {
        self.socket.handle().tcp_quickack()
    }

    /// Sets `IP_TTL`: how many hops a packet of this socket may take.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if it is not within 1 to 255.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::*;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let socket = TcpSocket::v4()?;
    /// socket.set_ttl(100)?;
    /// assert_eq!(socket.ttl()?, 100);
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.socket.handle().set_ttl_v4(ttl)
    }

    /// The value of `IP_TTL`.
    ///
    /// # Errors
    ///
    /// Those of getsockopt(2).
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::*;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let socket = TcpSocket::v4()?;
    /// assert!(socket.ttl()? > 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn ttl(&self) -> io::Result<u32> {
        self.socket.handle().ttl_v4()
    }
}
