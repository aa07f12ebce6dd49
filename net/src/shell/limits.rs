//! How long reads and writes wait.

/// Implements timeouts, deadlines and the blocking mode for `$socket`.
macro_rules! limits {
    ($socket:ident, new: $new:literal, read: $read:literal) => {
        impl $socket {
            crate::shell::read_limits!(
                socket,
                "socket",
                import: concat!("use withy::net::", stringify!($socket), ";"),
                new: $new,
                read: $read
            );
            crate::shell::write_limits!(
                socket,
                "socket",
                import: concat!("use withy::net::", stringify!($socket), ";"),
                new: $new
            );

            /// Sets [`read_deadline`](Self::read_deadline) and [`write_deadline`](Self::write_deadline), one after the
            /// other.
            ///
            /// # Errors
            ///
            /// None today.
            ///
            /// # Differences from std
            ///
            /// std has no such method.
            ///
            /// # Examples
            ///
            /// ```
            /// # mod withy { pub use withy_net as net; }
            /// use std::time::{Duration, Instant};
            #[doc = concat!("use withy::net::", stringify!($socket), ";")]
            ///
            /// # fn main() -> std::io::Result<()> {
            #[doc = $new]
            /// let deadline = Some(Instant::now() + Duration::from_secs(30));
            /// socket.set_deadline(deadline)?;
            /// assert_eq!(socket.read_deadline()?, deadline);
            /// assert_eq!(socket.write_deadline()?, deadline);
            /// # Ok(())
            /// # }
            /// ```
            pub fn set_deadline(
                &self,
                deadline: Option<std::time::Instant>,
            ) -> std::io::Result<()> {
                self.set_read_deadline(deadline)?;
                self.set_write_deadline(deadline)
            }

            /// Moves this socket into or out of non-blocking mode, in which calls that would wait fail with `WouldBlock`.
            ///
            /// # Errors
            ///
            /// Those of fcntl(2).
            ///
            /// # Differences from std
            ///
            /// Blocking mode never blocks the worker, so this is only for code that wants to look and go on.
            ///
            /// # Examples
            ///
            /// ```
            /// # mod withy { pub use withy_net as net; }
            /// use std::io::ErrorKind;
            #[doc = concat!("use withy::net::", stringify!($socket), ";")]
            ///
            /// # fn main() -> std::io::Result<()> {
            #[doc = $new]
            /// socket.set_nonblocking(true)?;
            #[doc = concat!("assert_eq!(", $read, ".unwrap_err().kind(), ErrorKind::WouldBlock);")]
            /// # Ok(())
            /// # }
            /// ```
            pub fn set_nonblocking(&self, nonblocking: bool) -> std::io::Result<()> {
                self.socket.set_nonblocking(nonblocking)
            }
        }
    };
}
pub(crate) use limits;
