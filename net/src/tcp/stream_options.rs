//! What can be set on a [`TcpStream`], and on the [`TcpSocket`] that becomes one.

use std::io;
use std::time::Duration;

use super::socket::TcpSocket;
use super::stream::TcpStream;

/// Implements it for `$type`. Of the examples, `$make` is the line that makes one, called `socket`, and `$serve` what makes
/// the `server` at the other end of its connection.
macro_rules! stream_options {
    ($type:ty, $make:literal, $serve:literal) => {
        impl $type {
            /// Sets `SO_LINGER`: how long a close of the connection tries to send what is left.
            ///
            /// `Some(Duration::ZERO)` makes the close a reset. With a longer time, *close itself blocks the thread it happens
            /// on*, up to that long: a worker, if a coroutine drops the stream. Prefer
            /// [`TcpStream::shutdown`](crate::TcpStream::shutdown) and a read to the end. Seconds count, fractions do not.
            ///
            /// # Errors
            ///
            /// Those of setsockopt(2).
            ///
            /// # Differences from std
            ///
            /// The method of this name of std's `TcpStream` is not stable yet.
            ///
            /// # Examples
            ///
            /// ```
            /// # mod withy { pub use withy_net as net; }
            /// use std::io::{ErrorKind, Read};
            /// use std::time::Duration;
            /// use withy::net::*;
            ///
            /// # fn main() -> std::io::Result<()> {
            #[doc = $make]
            /// socket.set_linger(Some(Duration::ZERO))?;
            /// assert_eq!(socket.linger()?, Some(Duration::ZERO));
            ///
            #[doc = $serve]
            /// drop(socket);
            /// assert_eq!(server.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionReset);
            /// # Ok(())
            /// # }
            /// ```
            pub fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
                self.socket.handle().set_linger(linger)
            }

            /// The value of `SO_LINGER`, see [`set_linger`](Self::set_linger).
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
            /// assert_eq!(socket.linger()?, None);
            /// # Ok(())
            /// # }
            /// ```
            pub fn linger(&self) -> io::Result<Option<Duration>> {
                self.socket.handle().linger()
            }

            /// Sets `TCP_NODELAY`: whether small writes are sent at once (`true`) or gathered (Nagle's algorithm).
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
            #[doc = $make]
            /// socket.set_nodelay(true)?;
            /// assert!(socket.nodelay()?);
            /// # Ok(())
            /// # }
            /// ```
            pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
                self.socket.handle().set_tcp_nodelay(nodelay)
            }

            /// The value of `TCP_NODELAY`, see [`set_nodelay`](Self::set_nodelay).
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
            /// assert!(!socket.nodelay()?);
            /// # Ok(())
            /// # }
            /// ```
            pub fn nodelay(&self) -> io::Result<bool> {
                self.socket.handle().tcp_nodelay()
            }

            /// Sets `TCP_QUICKACK`: whether acknowledgements go out at once rather than delayed. The kernel may take it back.
            ///
            /// # Errors
            ///
            /// Those of setsockopt(2).
            ///
            /// # Differences from std
            ///
            /// In std this is a method of `std::os::linux::net::TcpStreamExt`, which cannot be implemented elsewhere.
            ///
            /// # Examples
            ///
            /// ```
            /// # mod withy { pub use withy_net as net; }
            /// use withy::net::*;
            ///
            /// # fn main() -> std::io::Result<()> {
            #[doc = $make]
            /// socket.set_quickack(true)?;
            /// assert!(socket.quickack()?);
            /// # Ok(())
            /// # }
            /// ```
            pub fn set_quickack(&self, quickack: bool) -> io::Result<()> {
                self.socket.handle().set_tcp_quickack(quickack)
            }

            /// The value of `TCP_QUICKACK`, see [`set_quickack`](Self::set_quickack).
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
            /// socket.set_quickack(false)?;
            /// assert!(!socket.quickack()?);
            /// # Ok(())
            /// # }
            /// ```
            pub fn quickack(&self) -> io::Result<bool> {
                self.socket.handle().tcp_quickack()
            }
        }
    };
}

stream_options!(
    TcpSocket,
    "let socket = TcpSocket::v4()?;",
    "let listener = TcpListener::bind(\"127.0.0.1:0\")?;\nlet socket = socket.connect(listener.local_addr()?)?;\nlet (mut server, _) = listener.accept()?;"
);
stream_options!(
    TcpStream,
    "let listener = TcpListener::bind(\"127.0.0.1:0\")?;\nlet socket = TcpStream::connect(listener.local_addr()?)?;",
    "let (mut server, _) = listener.accept()?;"
);
