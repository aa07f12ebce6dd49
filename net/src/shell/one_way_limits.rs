//! How long calls of one direction wait, for what is no socket, or has one direction alone: types whose field `$source`
//! has a `registration()`. `$example` makes the `it` of the examples.

/// Timeout and deadline of what reads.
macro_rules! read_limits {
    ($source:ident, $example:literal) => {
        /// Limits how long each call that reads waits: it fails with `WouldBlock` then, as std's sockets do on Linux.
        /// `None` is no limit.
        ///
        /// All who share this are bound by it; those who wait now are too, counted from now.
        ///
        /// # Errors
        ///
        /// `InvalidInput` if it is zero.
        ///
        /// # Examples
        ///
        /// ```
        /// # mod withy { pub use withy_net as net; pub use withy_net::io; }
        /// # fn main() -> std::io::Result<()> {
        #[doc = $example]
        /// let limit = Some(std::time::Duration::from_secs(5));
        /// it.set_read_timeout(limit)?;
        /// assert_eq!(it.read_timeout()?, limit);
        /// # Ok(())
        /// # }
        /// ```
        pub fn set_read_timeout(
            &self,
            timeout: Option<std::time::Duration>,
        ) -> std::io::Result<()> {
            crate::options::set_timeout(
                self.$source.registration(),
                withy_runtime::poll::Direction::Read,
                timeout,
            )
        }

        /// The limit that [`set_read_timeout`](Self::set_read_timeout) set.
        ///
        /// # Errors
        ///
        /// None; the signature is that of sockets.
        ///
        /// # Examples
        ///
        /// ```
        /// # mod withy { pub use withy_net as net; pub use withy_net::io; }
        /// # fn main() -> std::io::Result<()> {
        #[doc = $example]
        /// assert_eq!(it.read_timeout()?, None);
        /// # Ok(())
        /// # }
        /// ```
        pub fn read_timeout(&self) -> std::io::Result<Option<std::time::Duration>> {
            let registration = self.$source.registration();
            Ok(registration.timeout(withy_runtime::poll::Direction::Read))
        }

        /// Sets the point in time after which no call that reads waits, as
        /// [`TcpStream::set_read_deadline`](crate::TcpStream::set_read_deadline) does: what is there already is
        /// still read, and what would have to wait fails with `TimedOut`. `None` is no limit.
        ///
        /// # Errors
        ///
        /// None; the signature is that of sockets.
        ///
        /// # Examples
        ///
        /// ```
        /// # mod withy { pub use withy_net as net; pub use withy_net::io; }
        /// # fn main() -> std::io::Result<()> {
        #[doc = $example]
        /// let end = Some(std::time::Instant::now() + std::time::Duration::from_secs(5));
        /// it.set_read_deadline(end)?;
        /// assert_eq!(it.read_deadline()?, end);
        /// # Ok(())
        /// # }
        /// ```
        pub fn set_read_deadline(
            &self,
            deadline: Option<std::time::Instant>,
        ) -> std::io::Result<()> {
            let registration = self.$source.registration();
            registration.set_deadline(withy_runtime::poll::Direction::Read, deadline);
            Ok(())
        }

        /// The limit that [`set_read_deadline`](Self::set_read_deadline) set.
        ///
        /// # Errors
        ///
        /// None; the signature is that of sockets.
        ///
        /// # Examples
        ///
        /// ```
        /// # mod withy { pub use withy_net as net; pub use withy_net::io; }
        /// # fn main() -> std::io::Result<()> {
        #[doc = $example]
        /// assert_eq!(it.read_deadline()?, None);
        /// # Ok(())
        /// # }
        /// ```
        pub fn read_deadline(&self) -> std::io::Result<Option<std::time::Instant>> {
            let registration = self.$source.registration();
            Ok(registration.deadline(withy_runtime::poll::Direction::Read))
        }
    };
}
pub(crate) use read_limits;

/// Timeout and deadline of what writes.
macro_rules! write_limits {
    ($source:ident, $example:literal) => {
        /// Limits how long each call that writes waits: it fails with `WouldBlock` then, as std's sockets do on Linux.
        /// `None` is no limit.
        ///
        /// All who share this are bound by it; those who wait now are too, counted from now.
        ///
        /// # Errors
        ///
        /// `InvalidInput` if it is zero.
        ///
        /// # Examples
        ///
        /// ```
        /// # mod withy { pub use withy_net as net; pub use withy_net::io; }
        /// # fn main() -> std::io::Result<()> {
        #[doc = $example]
        /// let limit = Some(std::time::Duration::from_secs(5));
        /// it.set_write_timeout(limit)?;
        /// assert_eq!(it.write_timeout()?, limit);
        /// # Ok(())
        /// # }
        /// ```
        pub fn set_write_timeout(
            &self,
            timeout: Option<std::time::Duration>,
        ) -> std::io::Result<()> {
            crate::options::set_timeout(
                self.$source.registration(),
                withy_runtime::poll::Direction::Write,
                timeout,
            )
        }

        /// The limit that [`set_write_timeout`](Self::set_write_timeout) set.
        ///
        /// # Errors
        ///
        /// None; the signature is that of sockets.
        ///
        /// # Examples
        ///
        /// ```
        /// # mod withy { pub use withy_net as net; pub use withy_net::io; }
        /// # fn main() -> std::io::Result<()> {
        #[doc = $example]
        /// assert_eq!(it.write_timeout()?, None);
        /// # Ok(())
        /// # }
        /// ```
        pub fn write_timeout(&self) -> std::io::Result<Option<std::time::Duration>> {
            let registration = self.$source.registration();
            Ok(registration.timeout(withy_runtime::poll::Direction::Write))
        }

        /// Sets the point in time after which no call that writes waits, as
        /// [`TcpStream::set_write_deadline`](crate::TcpStream::set_write_deadline) does: what there is room for
        /// is still written, and what would have to wait fails with `TimedOut`. `None` is no limit.
        ///
        /// # Errors
        ///
        /// None; the signature is that of sockets.
        ///
        /// # Examples
        ///
        /// ```
        /// # mod withy { pub use withy_net as net; pub use withy_net::io; }
        /// # fn main() -> std::io::Result<()> {
        #[doc = $example]
        /// let end = Some(std::time::Instant::now() + std::time::Duration::from_secs(5));
        /// it.set_write_deadline(end)?;
        /// assert_eq!(it.write_deadline()?, end);
        /// # Ok(())
        /// # }
        /// ```
        pub fn set_write_deadline(
            &self,
            deadline: Option<std::time::Instant>,
        ) -> std::io::Result<()> {
            let registration = self.$source.registration();
            registration.set_deadline(withy_runtime::poll::Direction::Write, deadline);
            Ok(())
        }

        /// The limit that [`set_write_deadline`](Self::set_write_deadline) set.
        ///
        /// # Errors
        ///
        /// None; the signature is that of sockets.
        ///
        /// # Examples
        ///
        /// ```
        /// # mod withy { pub use withy_net as net; pub use withy_net::io; }
        /// # fn main() -> std::io::Result<()> {
        #[doc = $example]
        /// assert_eq!(it.write_deadline()?, None);
        /// # Ok(())
        /// # }
        /// ```
        pub fn write_deadline(&self) -> std::io::Result<Option<std::time::Instant>> {
            let registration = self.$source.registration();
            Ok(registration.deadline(withy_runtime::poll::Direction::Write))
        }
    };
}
pub(crate) use write_limits;
