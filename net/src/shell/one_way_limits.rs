//! How long the calls of one direction wait, for types whose field `$source` has a `registration()`.
//!
//! Of the examples, `$import` is what they use, `$new` makes one, which is called `$it`, and `$read` is a read of it that has
//! to wait.

/// Timeout and deadline of what reads.
macro_rules! read_limits {
    ($source:ident, $it:literal, import: $import:expr, new: $new:literal, read: $read:literal) => {
        /// Limits the time each read waits; `None` means without limit.
        ///
        /// A call that finds nothing within the limit fails with `WouldBlock`, as those of std's sockets do on Linux. The limit
        /// holds for all who share this, through every clone, and from now on: a call that is blocked meanwhile obeys the
        /// new one.
        ///
        /// # Errors
        ///
        /// `InvalidInput` if the limit is zero.
        ///
        /// # Differences from std
        ///
        /// Where std has it, on sockets, a change does not reach a call that is blocked already.
        ///
        /// # Examples
        ///
        /// ```
        /// # mod withy { pub use withy_net as net; pub use withy_net::io; }
        /// use std::io::ErrorKind;
        /// use std::time::Duration;
        #[doc = $import]
        ///
        /// # fn main() -> std::io::Result<()> {
        #[doc = $new]
        /// let limit = Duration::from_millis(10);
        #[doc = concat!($it, ".set_read_timeout(Some(limit))?;")]
        #[doc = concat!("assert_eq!(", $it, ".read_timeout()?, Some(limit));")]
        #[doc = concat!("assert_eq!(", $read, ".unwrap_err().kind(), ErrorKind::WouldBlock);")]
        ///
        #[doc = concat!("let error = ", $it, ".set_read_timeout(Some(Duration::ZERO)).unwrap_err();")]
        /// assert_eq!(error.kind(), ErrorKind::InvalidInput);
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
        /// None today; the signature is that of std's sockets.
        ///
        /// # Differences from std
        ///
        /// It is what was set, to the nanosecond, where the kernel rounds. More than 500 years are `None`.
        ///
        /// # Examples
        ///
        /// ```
        /// # mod withy { pub use withy_net as net; pub use withy_net::io; }
        #[doc = $import]
        ///
        /// # fn main() -> std::io::Result<()> {
        #[doc = $new]
        #[doc = concat!("assert_eq!(", $it, ".read_timeout()?, None);")]
        /// # Ok(())
        /// # }
        /// ```
        pub fn read_timeout(&self) -> std::io::Result<Option<std::time::Duration>> {
            let registration = self.$source.registration();
            Ok(registration.timeout(withy_runtime::poll::Direction::Read))
        }

        /// Sets the point in time after which no read waits: the one that is blocked now, and all later ones, through
        /// every clone, until the deadline is changed. `None` removes it.
        ///
        /// Where a [timeout](Self::set_read_timeout) limits each wait anew, a deadline limits all of them together: a
        /// whole request, however many reads it takes. With both, the earlier one decides. A change takes effect on
        /// reads that are blocked already.
        ///
        /// Past the deadline a read still makes one attempt, so what has arrived is returned, and so is the end of a
        /// stream; what would have to wait fails at once, and loses nothing. A peer that never pauses can thus keep a
        /// loop of reads going: such a loop looks at the clock itself.
        ///
        /// # Errors
        ///
        /// None today. Reads past the deadline fail with `TimedOut`, where those past a timeout fail with `WouldBlock` as
        /// those of std's sockets do.
        ///
        /// # Differences from std
        ///
        /// std has no such method. It is Go's `SetReadDeadline`, but for the attempt that is made past the deadline.
        ///
        /// # Examples
        ///
        /// ```
        /// # mod withy { pub use withy_net as net; pub use withy_net::io; }
        /// use std::io::ErrorKind;
        /// use std::time::{Duration, Instant};
        #[doc = $import]
        ///
        /// # fn main() -> std::io::Result<()> {
        #[doc = $new]
        /// let deadline = Some(Instant::now() + Duration::from_millis(10));
        #[doc = concat!($it, ".set_read_deadline(deadline)?;")]
        #[doc = concat!("assert_eq!(", $it, ".read_deadline()?, deadline);")]
        #[doc = concat!("assert_eq!(", $read, ".unwrap_err().kind(), ErrorKind::TimedOut);")]
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

        /// The deadline that [`set_read_deadline`](Self::set_read_deadline) set. More than 400 years from now are `None`.
        ///
        /// # Errors
        ///
        /// None today.
        ///
        /// # Examples
        ///
        /// ```
        /// # mod withy { pub use withy_net as net; pub use withy_net::io; }
        #[doc = $import]
        ///
        /// # fn main() -> std::io::Result<()> {
        #[doc = $new]
        #[doc = concat!("assert_eq!(", $it, ".read_deadline()?, None);")]
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
    ($source:ident, $it:literal, import: $import:expr, new: $new:literal) => {
        /// Limits the time each write waits for room; `None` means without limit.
        ///
        /// A call that finds no room within the limit fails with `WouldBlock`, as those of std's sockets do on Linux. The limit
        /// holds for all who share this, through every clone, and from now on: a call that is blocked meanwhile obeys the
        /// new one.
        ///
        /// # Errors
        ///
        /// `InvalidInput` if the limit is zero.
        ///
        /// # Differences from std
        ///
        /// Where std has it, on sockets, a change does not reach a call that is blocked already.
        ///
        /// # Examples
        ///
        /// ```
        /// # mod withy { pub use withy_net as net; pub use withy_net::io; }
        /// use std::time::Duration;
        #[doc = $import]
        ///
        /// # fn main() -> std::io::Result<()> {
        #[doc = $new]
        /// let limit = Duration::from_secs(1);
        #[doc = concat!($it, ".set_write_timeout(Some(limit))?;")]
        #[doc = concat!("assert_eq!(", $it, ".write_timeout()?, Some(limit));")]
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
        /// None today; the signature is that of std's sockets.
        ///
        /// # Differences from std
        ///
        /// It is what was set, to the nanosecond, where the kernel rounds. More than 500 years are `None`.
        ///
        /// # Examples
        ///
        /// ```
        /// # mod withy { pub use withy_net as net; pub use withy_net::io; }
        #[doc = $import]
        ///
        /// # fn main() -> std::io::Result<()> {
        #[doc = $new]
        #[doc = concat!("assert_eq!(", $it, ".write_timeout()?, None);")]
        /// # Ok(())
        /// # }
        /// ```
        pub fn write_timeout(&self) -> std::io::Result<Option<std::time::Duration>> {
            let registration = self.$source.registration();
            Ok(registration.timeout(withy_runtime::poll::Direction::Write))
        }

        /// Sets the point in time after which no write waits for room.
        ///
        /// What [`TcpStream::set_read_deadline`](crate::TcpStream::set_read_deadline) says holds here too: past the deadline,
        /// what there is room for is still taken.
        ///
        /// # Errors
        ///
        /// None today. Writes past the deadline fail with `TimedOut`.
        ///
        /// # Differences from std
        ///
        /// std has no such method.
        ///
        /// # Examples
        ///
        /// ```
        /// # mod withy { pub use withy_net as net; pub use withy_net::io; }
        /// use std::time::{Duration, Instant};
        #[doc = $import]
        ///
        /// # fn main() -> std::io::Result<()> {
        #[doc = $new]
        /// let deadline = Some(Instant::now() + Duration::from_secs(30));
        #[doc = concat!($it, ".set_write_deadline(deadline)?;")]
        #[doc = concat!("assert_eq!(", $it, ".write_deadline()?, deadline);")]
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

        /// The deadline that [`set_write_deadline`](Self::set_write_deadline) set. More than 400 years from now are `None`.
        ///
        /// # Errors
        ///
        /// None today.
        ///
        /// # Examples
        ///
        /// ```
        /// # mod withy { pub use withy_net as net; pub use withy_net::io; }
        #[doc = $import]
        ///
        /// # fn main() -> std::io::Result<()> {
        #[doc = $new]
        #[doc = concat!("assert_eq!(", $it, ".write_deadline()?, None);")]
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
