//! How much a socket holds.

/// Implements the sizes of `$socket`'s buffers.
macro_rules! buffer_sizes {
    ($socket:ty, new: $new:literal) => {
        impl $socket {
            /// Fixes the size of the receive buffer, in bytes (`SO_RCVBUF`).
            ///
            /// The kernel adapts the size itself as long as nobody sets it. It doubles what it is given, to have room
            /// for its own records, and lowers it to `net.core.rmem_max`. Datagrams that come when it is full are lost. TCP's window can
            /// grow no further than was agreed at the handshake: what should be larger is set before, on a
            /// [`TcpSocket`](crate::TcpSocket) or a [`TcpListener`](crate::TcpListener), from which accepted connections inherit it.
            /// What goes through a Unix socket is charged to the sender: this size means nothing there.
            ///
            /// # Errors
            ///
            /// Those of setsockopt(2).
            ///
            /// # Differences from std
            ///
            /// std has no such method. See socket(7), tcp(7), udp(7) and unix(7).
            ///
            /// # Examples
            ///
            /// ```
            /// # mod withy { pub use withy_net as net; }
            /// use withy::net::*;
            ///
            /// # fn main() -> std::io::Result<()> {
            #[doc = $new]
            /// socket.set_recv_buffer_size(16384)?;
            /// assert_eq!(socket.recv_buffer_size()?, 32768);
            /// # Ok(())
            /// # }
            /// ```
            pub fn set_recv_buffer_size(&self, bytes: usize) -> std::io::Result<()> {
                self.socket.set_recv_buffer_size(bytes)
            }

            /// The size of the receive buffer in bytes, with what the kernel needs for itself.
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
            #[doc = $new]
            /// assert!(socket.recv_buffer_size()? > 0);
            /// # Ok(())
            /// # }
            /// ```
            pub fn recv_buffer_size(&self) -> std::io::Result<usize> {
                self.socket.recv_buffer_size()
            }

            /// Fixes the size of the send buffer, in bytes (`SO_SNDBUF`): how much may be under way that the peer has not
            /// acknowledged, or, on this machine, not read.
            ///
            /// What [`set_recv_buffer_size`](Self::set_recv_buffer_size) says of adapting and doubling holds here too; the
            /// limit is `net.core.wmem_max`.
            ///
            /// # Errors
            ///
            /// Those of setsockopt(2).
            ///
            /// # Differences from std
            ///
            /// std has no such method. See socket(7), tcp(7), udp(7) and unix(7).
            ///
            /// # Examples
            ///
            /// ```
            /// # mod withy { pub use withy_net as net; }
            /// use withy::net::*;
            ///
            /// # fn main() -> std::io::Result<()> {
            #[doc = $new]
            /// socket.set_send_buffer_size(16384)?;
            /// assert_eq!(socket.send_buffer_size()?, 32768);
            /// # Ok(())
            /// # }
            /// ```
            pub fn set_send_buffer_size(&self, bytes: usize) -> std::io::Result<()> {
                self.socket.set_send_buffer_size(bytes)
            }

            /// The size of the send buffer in bytes, with what the kernel needs for itself.
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
            #[doc = $new]
            /// assert!(socket.send_buffer_size()? > 0);
            /// # Ok(())
            /// # }
            /// ```
            pub fn send_buffer_size(&self) -> std::io::Result<usize> {
                self.socket.send_buffer_size()
            }
        }
    };
}
pub(crate) use buffer_sizes;
