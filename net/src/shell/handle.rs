//! What every handle to a socket can do.

/// Implements what clones and selects of `$socket` need, and its pending error. A listener says so.
macro_rules! handle {
    ($socket:ident, new: $new:literal) => {
        crate::shell::handle!($socket, $new, conversions: "Conversions out of withy duplicate while clones live.");
    };
    (listener $socket:ident, new: $new:literal) => {
        crate::shell::handle!(
            $socket,
            $new,
            conversions: "Conversions out of withy duplicate while clones live, and such a duplicate stays `O_NONBLOCK`, because \
                that mode is common to all duplicates and the clones need it. Drop the clones first to get a blocking one."
        );
    };
    ($socket:ident, $new:literal, conversions: $conversions:literal) => {
        impl $socket {
            /// Another handle to the same socket.
            ///
            /// # Errors
            ///
            /// None today; the signature is std's.
            ///
            /// # Differences from std
            ///
            /// std duplicates the descriptor; here all clones share one, with its readiness and timeouts, and the last one
            /// closes it. So a clone costs no descriptor, and `as_raw_fd` gives the same number for each.
            #[doc = $conversions]
            ///
            /// # Examples
            ///
            /// ```
            /// # mod withy { pub use withy_net as net; }
            /// use std::os::fd::AsRawFd;
            #[doc = concat!("use withy::net::", stringify!($socket), ";")]
            ///
            /// # fn main() -> std::io::Result<()> {
            #[doc = $new]
            /// let clone = socket.try_clone()?;
            /// assert_eq!(clone.as_raw_fd(), socket.as_raw_fd());
            /// # Ok(())
            /// # }
            /// ```
            pub fn try_clone(&self) -> std::io::Result<$socket> {
                Ok($socket {
                    socket: self.socket.share(),
                })
            }

            /// Takes the pending error of this socket (`SO_ERROR`), leaving none.
            ///
            /// # Errors
            ///
            /// Those of getsockopt(2).
            ///
            /// # Examples
            ///
            /// ```
            /// # mod withy { pub use withy_net as net; }
            #[doc = concat!("use withy::net::", stringify!($socket), ";")]
            ///
            /// # fn main() -> std::io::Result<()> {
            #[doc = $new]
            /// assert!(socket.take_error()?.is_none());
            /// # Ok(())
            /// # }
            /// ```
            pub fn take_error(&self) -> std::io::Result<Option<std::io::Error>> {
                self.socket.handle().take_error()
            }
        }

        impl withy_runtime::poll::AsRegistration for $socket {
            fn registration(&self) -> Option<&withy_runtime::poll::Registration> {
                Some(self.socket.registration())
            }
        }

        // As std's are: what a panic can leave half done is in the kernel, and there every call is whole.
        impl std::panic::UnwindSafe for $socket {}
        impl std::panic::RefUnwindSafe for $socket {}
    };
}
pub(crate) use handle;
