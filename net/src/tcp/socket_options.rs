//! What can be set on a [`TcpSocket`] alone. What a stream has too is in `stream_options.rs`, what every TCP socket has in
//! `shared_options.rs`, a listener's in `listener_options.rs`.

use std::io;

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
}
