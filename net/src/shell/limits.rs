//! How long reads and writes wait.

/// Implements timeouts, deadlines and the blocking mode for `$socket`.
macro_rules! limits {
    ($socket:ident, new: $new:literal, read: $read:literal) => {
        impl $socket {
            /// Limits the time a read waits; `None` means without limit.
            ///
            /// A call that finds nothing within the limit fails with `WouldBlock`, as std's does on Linux. The limit holds
            /// for all clones, and from now on: a call that is blocked meanwhile obeys the new one.
            ///
            /// # Errors
            ///
            /// `InvalidInput` if the limit is zero.
            ///
            /// # Differences from std
            ///
            /// A change reaches a call that is blocked already.
            ///
            /// # Examples
            ///
            /// ```
            /// # mod withy { pub use withy_net as net; }
            /// use std::io::ErrorKind;
            /// use std::time::Duration;
            #[doc = concat!("use withy::net::", stringify!($socket), ";")]
            ///
            /// # fn main() -> std::io::Result<()> {
            #[doc = $new]
            /// socket.set_read_timeout(Some(Duration::from_millis(10)))?;
            #[doc = concat!("assert_eq!(", $read, ".unwrap_err().kind(), ErrorKind::WouldBlock);")]
            ///
            /// let error = socket.set_read_timeout(Some(Duration::ZERO)).unwrap_err();
            /// assert_eq!(error.kind(), ErrorKind::InvalidInput);
            /// # Ok(())
            /// # }
            /// ```
            pub fn set_read_timeout(
                &self,
                timeout: Option<std::time::Duration>,
            ) -> std::io::Result<()> {
                self.socket
                    .set_timeout(withy_runtime::poll::Direction::Read, timeout)
            }

            /// Limits the time a write waits; `None` means without limit.
            ///
            /// What [`set_read_timeout`](Self::set_read_timeout) says holds here too.
            ///
            /// # Errors
            ///
            /// `InvalidInput` if the limit is zero.
            ///
            /// # Examples
            ///
            /// ```
            /// # mod withy { pub use withy_net as net; }
            /// use std::time::Duration;
            #[doc = concat!("use withy::net::", stringify!($socket), ";")]
            ///
            /// # fn main() -> std::io::Result<()> {
            #[doc = $new]
            /// socket.set_write_timeout(Some(Duration::from_secs(1)))?;
            /// assert_eq!(socket.write_timeout()?, Some(Duration::from_secs(1)));
            /// # Ok(())
            /// # }
            /// ```
            pub fn set_write_timeout(
                &self,
                timeout: Option<std::time::Duration>,
            ) -> std::io::Result<()> {
                self.socket
                    .set_timeout(withy_runtime::poll::Direction::Write, timeout)
            }

            /// The limit that [`set_read_timeout`](Self::set_read_timeout) set.
            ///
            /// # Errors
            ///
            /// None today; the signature is std's.
            ///
            /// # Differences from std
            ///
            /// It is what was set, to the nanosecond, where the kernel rounds. More than 500 years are `None`.
            ///
            /// # Examples
            ///
            /// ```
            /// # mod withy { pub use withy_net as net; }
            #[doc = concat!("use withy::net::", stringify!($socket), ";")]
            ///
            /// # fn main() -> std::io::Result<()> {
            #[doc = $new]
            /// assert_eq!(socket.read_timeout()?, None);
            /// # Ok(())
            /// # }
            /// ```
            pub fn read_timeout(&self) -> std::io::Result<Option<std::time::Duration>> {
                Ok(self.socket.timeout(withy_runtime::poll::Direction::Read))
            }

            /// The limit that [`set_write_timeout`](Self::set_write_timeout) set.
            ///
            /// # Errors
            ///
            /// None today; the signature is std's.
            ///
            /// # Differences from std
            ///
            /// It is what was set, to the nanosecond, where the kernel rounds. More than 500 years are `None`.
            ///
            /// # Examples
            ///
            /// ```
            /// # mod withy { pub use withy_net as net; }
            #[doc = concat!("use withy::net::", stringify!($socket), ";")]
            ///
            /// # fn main() -> std::io::Result<()> {
            #[doc = $new]
            /// assert_eq!(socket.write_timeout()?, None);
            /// # Ok(())
            /// # }
            /// ```
            pub fn write_timeout(&self) -> std::io::Result<Option<std::time::Duration>> {
                Ok(self.socket.timeout(withy_runtime::poll::Direction::Write))
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
            /// std's do.
            ///
            /// # Differences from std
            ///
            /// std has no such method. It is Go's `SetReadDeadline`, but for the attempt that is made past the deadline.
            ///
            /// # Examples
            ///
            /// ```
            /// # mod withy { pub use withy_net as net; }
            /// use std::io::ErrorKind;
            /// use std::time::{Duration, Instant};
            #[doc = concat!("use withy::net::", stringify!($socket), ";")]
            ///
            /// # fn main() -> std::io::Result<()> {
            #[doc = $new]
            /// socket.set_read_deadline(Some(Instant::now() + Duration::from_millis(10)))?;
            #[doc = concat!("assert_eq!(", $read, ".unwrap_err().kind(), ErrorKind::TimedOut);")]
            /// # Ok(())
            /// # }
            /// ```
            pub fn set_read_deadline(
                &self,
                deadline: Option<std::time::Instant>,
            ) -> std::io::Result<()> {
                self.socket
                    .set_deadline(withy_runtime::poll::Direction::Read, deadline);
                Ok(())
            }

            /// Sets the point in time after which no write waits for room.
            ///
            /// What [`set_read_deadline`](Self::set_read_deadline) says holds here too: past the deadline, what there is room
            /// for is still taken.
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
            /// # mod withy { pub use withy_net as net; }
            /// use std::time::{Duration, Instant};
            #[doc = concat!("use withy::net::", stringify!($socket), ";")]
            ///
            /// # fn main() -> std::io::Result<()> {
            #[doc = $new]
            /// let deadline = Some(Instant::now() + Duration::from_secs(30));
            /// socket.set_write_deadline(deadline)?;
            /// assert_eq!(socket.write_deadline()?, deadline);
            /// # Ok(())
            /// # }
            /// ```
            pub fn set_write_deadline(
                &self,
                deadline: Option<std::time::Instant>,
            ) -> std::io::Result<()> {
                self.socket
                    .set_deadline(withy_runtime::poll::Direction::Write, deadline);
                Ok(())
            }

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

            /// The deadline that [`set_read_deadline`](Self::set_read_deadline) set. More than 400 years from now are `None`.
            ///
            /// # Errors
            ///
            /// None today.
            ///
            /// # Examples
            ///
            /// ```
            /// # mod withy { pub use withy_net as net; }
            #[doc = concat!("use withy::net::", stringify!($socket), ";")]
            ///
            /// # fn main() -> std::io::Result<()> {
            #[doc = $new]
            /// assert_eq!(socket.read_deadline()?, None);
            /// # Ok(())
            /// # }
            /// ```
            pub fn read_deadline(&self) -> std::io::Result<Option<std::time::Instant>> {
                Ok(self.socket.deadline(withy_runtime::poll::Direction::Read))
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
            /// # mod withy { pub use withy_net as net; }
            #[doc = concat!("use withy::net::", stringify!($socket), ";")]
            ///
            /// # fn main() -> std::io::Result<()> {
            #[doc = $new]
            /// assert_eq!(socket.write_deadline()?, None);
            /// # Ok(())
            /// # }
            /// ```
            pub fn write_deadline(&self) -> std::io::Result<Option<std::time::Instant>> {
                Ok(self.socket.deadline(withy_runtime::poll::Direction::Write))
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
