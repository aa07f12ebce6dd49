//! How long accepts wait.

/// Implements the limits of accepts, and their mode, for `$listener`, whose descriptor is always `O_NONBLOCK`.
macro_rules! accept_limits {
    ($listener:ident, new: $new:literal) => {
        impl $listener {
            /// Limits how long each [`accept`](Self::accept) waits for a connection, through every clone; `None` removes the
            /// limit. Those that wait now are bound by it too, counted from now.
            ///
            /// # Errors
            ///
            /// `InvalidInput` if it is zero. Accepts that time out fail with `WouldBlock`, as reads do.
            ///
            /// # Differences from std
            ///
            /// std has no such method. This is what `SO_RCVTIMEO` is to accept(2).
            ///
            /// # Examples
            ///
            /// ```
            /// # mod withy { pub use withy_net as net; }
            /// use std::io::ErrorKind;
            /// use std::time::Duration;
            #[doc = concat!("use withy::net::", stringify!($listener), ";")]
            ///
            /// # fn main() -> std::io::Result<()> {
            #[doc = $new]
            /// listener.set_accept_timeout(Some(Duration::from_millis(10)))?;
            /// assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
            /// # Ok(())
            /// # }
            /// ```
            pub fn set_accept_timeout(
                &self,
                timeout: Option<std::time::Duration>,
            ) -> std::io::Result<()> {
                crate::options::set_timeout(
                    self.socket.registration(),
                    withy_runtime::poll::Direction::Read,
                    timeout,
                )
            }

            /// Sets the point in time after which no [`accept`](Self::accept) waits: those that are blocked now, and all later
            /// ones, through every clone. `None` removes it. A connection that is in the backlog is accepted past it too.
            ///
            /// # Errors
            ///
            /// None today. Accepts past the deadline fail with `TimedOut`.
            ///
            /// # Differences from std
            ///
            /// std has no such method.
            ///
            /// # Examples
            ///
            /// ```
            /// # mod withy { pub use withy_net as net; }
            /// use std::io::ErrorKind;
            /// use std::time::Instant;
            #[doc = concat!("use withy::net::", stringify!($listener), ";")]
            ///
            /// # fn main() -> std::io::Result<()> {
            #[doc = $new]
            /// listener.set_accept_deadline(Some(Instant::now()))?;
            /// assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::TimedOut);
            /// # Ok(())
            /// # }
            /// ```
            pub fn set_accept_deadline(
                &self,
                deadline: Option<std::time::Instant>,
            ) -> std::io::Result<()> {
                let registration = self.socket.registration();
                registration.set_deadline(withy_runtime::poll::Direction::Read, deadline);
                Ok(())
            }

            /// The limit that [`set_accept_timeout`](Self::set_accept_timeout) set.
            ///
            /// # Errors
            ///
            /// None today.
            ///
            /// # Examples
            ///
            /// ```
            /// # mod withy { pub use withy_net as net; }
            #[doc = concat!("use withy::net::", stringify!($listener), ";")]
            ///
            /// # fn main() -> std::io::Result<()> {
            #[doc = $new]
            /// assert_eq!(listener.accept_timeout()?, None);
            /// # Ok(())
            /// # }
            /// ```
            pub fn accept_timeout(&self) -> std::io::Result<Option<std::time::Duration>> {
                let registration = self.socket.registration();
                Ok(registration.timeout(withy_runtime::poll::Direction::Read))
            }

            /// The deadline that [`set_accept_deadline`](Self::set_accept_deadline) set.
            ///
            /// # Errors
            ///
            /// None today.
            ///
            /// # Examples
            ///
            /// ```
            /// # mod withy { pub use withy_net as net; }
            #[doc = concat!("use withy::net::", stringify!($listener), ";")]
            ///
            /// # fn main() -> std::io::Result<()> {
            #[doc = $new]
            /// assert_eq!(listener.accept_deadline()?, None);
            /// # Ok(())
            /// # }
            /// ```
            pub fn accept_deadline(&self) -> std::io::Result<Option<std::time::Instant>> {
                let registration = self.socket.registration();
                Ok(registration.deadline(withy_runtime::poll::Direction::Read))
            }

            /// Moves this listener into or out of non-blocking mode, in which an accept that would wait fails with
            /// `WouldBlock`.
            ///
            /// # Errors
            ///
            /// None today; the signature is std's.
            ///
            /// # Differences from std
            ///
            /// Blocking mode never blocks the worker, so this is only for code that wants to look and go on. The descriptor
            /// itself is `O_NONBLOCK` in both modes.
            ///
            /// # Examples
            ///
            /// ```
            /// # mod withy { pub use withy_net as net; }
            /// use std::io::ErrorKind;
            #[doc = concat!("use withy::net::", stringify!($listener), ";")]
            ///
            /// # fn main() -> std::io::Result<()> {
            #[doc = $new]
            /// listener.set_nonblocking(true)?;
            /// assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
            /// # Ok(())
            /// # }
            /// ```
            pub fn set_nonblocking(&self, nonblocking: bool) -> std::io::Result<()> {
                self.socket.registration().set_nonblocking(nonblocking);
                Ok(())
            }
        }
    };
}
pub(crate) use accept_limits;
