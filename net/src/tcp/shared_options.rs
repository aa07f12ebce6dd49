//! Options of every TCP socket: connected, listening, or neither yet.

use std::io;
use std::time::Duration;

use super::keepalive::Keepalive;
use super::listener::TcpListener;
use super::socket::TcpSocket;
use super::stream::TcpStream;

/// Implements them for `$type`. `$make` is the line of the examples that makes one, called `socket`.
macro_rules! shared_options {
    ($type:ty, $make:literal) => {
        impl $type {
            /// Has the kernel ask a silent peer whether it is still there (`SO_KEEPALIVE` with its three times), or not to.
            ///
            /// Of a listener, and of a socket that is going to be one, the connections that it accepts inherit it.
            ///
            /// # Errors
            ///
            /// `InvalidInput` if a number is out of the range that [`Keepalive`] gives for it; nothing is changed then.
            ///
            /// # Differences from std
            ///
            /// std has no such method.
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
            /// let idle = Duration::from_secs(60);
            /// socket.set_keepalive(Some(Keepalive { idle, ..Keepalive::default() }))?;
            /// # Ok(())
            /// # }
            /// ```
            pub fn set_keepalive(&self, keepalive: Option<Keepalive>) -> io::Result<()> {
                self.socket.set_keepalive(keepalive)
            }

            /// What [`set_keepalive`](Self::set_keepalive) has set, as the kernel has it.
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
            /// assert_eq!(socket.keepalive()?, None);
            /// # Ok(())
            /// # }
            /// ```
            pub fn keepalive(&self) -> io::Result<Option<Keepalive>> {
                self.socket.keepalive()
            }

            /// Limits how long bytes that were sent may stay unacknowledged, or unsent for want of room at the peer, before the
            /// kernel gives the connection up (`TCP_USER_TIMEOUT`); `None` leaves it to the number of retransmissions, which
            /// takes a quarter of an hour.
            ///
            /// Reads and writes fail with `TimedOut` then. With [keepalive](Self::set_keepalive) it also decides when unanswered
            /// probes are enough, instead of their count. Rounded up to milliseconds.
            ///
            /// # Errors
            ///
            /// `InvalidInput` if it is zero, or more than 24 days.
            ///
            /// # Differences from std
            ///
            /// std has no such method. See tcp(7) and [RFC 5482](https://www.rfc-editor.org/rfc/rfc5482).
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
            /// socket.set_user_timeout(Some(Duration::from_secs(20)))?;
            /// assert_eq!(socket.user_timeout()?, Some(Duration::from_secs(20)));
            /// # Ok(())
            /// # }
            /// ```
            pub fn set_user_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
                self.socket.set_user_timeout(timeout)
            }

            /// What [`set_user_timeout`](Self::set_user_timeout) has set.
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
            /// assert_eq!(socket.user_timeout()?, None);
            /// # Ok(())
            /// # }
            /// ```
            pub fn user_timeout(&self) -> io::Result<Option<Duration>> {
                self.socket.user_timeout()
            }

            /// Sets `IP_TTL`: how many hops a packet of this socket may take.
            ///
            /// Of a listener, and of a socket that is going to be one, the connections that it accepts inherit it.
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
            #[doc = $make]
            /// socket.set_ttl(100)?;
            /// assert_eq!(socket.ttl()?, 100);
            /// # Ok(())
            /// # }
            /// ```
            pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
                self.socket.handle().set_ttl_v4(ttl)
            }

            /// The value of `IP_TTL`, see [`set_ttl`](Self::set_ttl).
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
            /// assert!(socket.ttl()? > 0);
            /// # Ok(())
            /// # }
            /// ```
            pub fn ttl(&self) -> io::Result<u32> {
                self.socket.handle().ttl_v4()
            }
        }
    };
}

shared_options!(TcpSocket, "let socket = TcpSocket::v4()?;");
shared_options!(
    TcpListener,
    "let socket = TcpListener::bind(\"127.0.0.1:0\")?;"
);
shared_options!(
    TcpStream,
    "let listener = TcpListener::bind(\"127.0.0.1:0\")?;\nlet socket = TcpStream::connect(listener.local_addr()?)?;"
);
