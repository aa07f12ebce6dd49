//! What can be set on a listener, and on a socket that is going to be one.

use std::io;
use std::time::Duration;

use super::listener::TcpListener;
use super::socket::TcpSocket;

/// Implements them for `$type`. `$make` is the line of the examples that makes one, called `socket`.
macro_rules! listener_options {
    ($type:ty, $make:literal) => {
        impl $type {
            /// Keeps connections back until their first bytes have come, for about `patience` (`TCP_DEFER_ACCEPT`); `None`
            /// accepts them at once.
            ///
            /// For protocols in which the client speaks first: a connection that says nothing costs no descriptor and
            /// wakes nobody. The kernel counts in retransmissions of its SYN+ACK, so a time is rounded up to 1, 3, 7, 15 … seconds. A
            /// connection that has sent nothing until then is accepted when its peer acknowledges the last of them.
            ///
            /// # Errors
            ///
            /// `InvalidInput` if `patience` is zero.
            ///
            /// # Differences from std
            ///
            /// std has `deferaccept` in `std::os::linux::net::TcpStreamExt`, unstable. See tcp(7).
            ///
            /// # Examples
            ///
            /// ```
            /// # mod withy { pub use withy_net as net; }
            /// use std::time::Duration;
            /// use withy::net::*;
            ///
            /// # fn main() -> std::io::Result<()> {
            #[doc = $make]
            /// socket.set_defer_accept(Some(Duration::from_secs(5)))?;
            /// assert_eq!(socket.defer_accept()?, Some(Duration::from_secs(7)));
            /// # Ok(())
            /// # }
            /// ```
            pub fn set_defer_accept(&self, patience: Option<Duration>) -> io::Result<()> {
                self.socket.set_defer_accept(patience)
            }

            /// How long connections are kept back, see [`set_defer_accept`](Self::set_defer_accept).
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
            #[doc = $make]
            /// assert_eq!(socket.defer_accept()?, None);
            /// # Ok(())
            /// # }
            /// ```
            pub fn defer_accept(&self) -> io::Result<Option<Duration>> {
                self.socket.defer_accept()
            }

            /// Whether the address may be bound while connections of its former owner are in TIME_WAIT (`SO_REUSEADDR`).
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
            #[doc = $make]
            /// let _: bool = socket.reuse_addr()?;
            /// # Ok(())
            /// # }
            /// ```
            pub fn reuse_addr(&self) -> io::Result<bool> {
                self.socket.handle().reuse_address()
            }

            /// Whether other sockets may listen on the same port (`SO_REUSEPORT`).
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
            #[doc = $make]
            /// assert!(!socket.reuse_port()?);
            /// # Ok(())
            /// # }
            /// ```
            pub fn reuse_port(&self) -> io::Result<bool> {
                self.socket.handle().reuse_port()
            }
        }
    };
}

listener_options!(TcpSocket, "let socket = TcpSocket::v4()?;");
listener_options!(
    TcpListener,
    "let socket = TcpListener::bind(\"127.0.0.1:0\")?;"
);
