//! Conversions between withy's sockets, descriptors and std's sockets: the same for every socket type.
//!
//! A type brings two functions: `adopt(OwnedFd) -> Self` takes over what the descriptor carries (blocking mode,
//! timeouts), `release(self) -> OwnedFd` leaves it as a std socket with the same settings would.

/// Implements the descriptor traits for `$socket`, and `From` in both directions for `$std`.
macro_rules! convert_descriptors {
    ($socket:ty, $std:ty) => {
        impl std::os::fd::AsFd for $socket {
            fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
                std::os::fd::AsFd::as_fd(&self.socket)
            }
        }

        impl std::os::fd::AsRawFd for $socket {
            fn as_raw_fd(&self) -> std::os::fd::RawFd {
                std::os::fd::AsRawFd::as_raw_fd(&std::os::fd::AsFd::as_fd(self))
            }
        }

        /// Gives the descriptor away; a duplicate of it while clones live.
        ///
        /// # Panics
        ///
        /// If clones live and the process is out of descriptors for the duplicate.
        impl std::os::fd::IntoRawFd for $socket {
            fn into_raw_fd(self) -> std::os::fd::RawFd {
                std::os::fd::IntoRawFd::into_raw_fd(self.release())
            }
        }

        impl std::os::fd::FromRawFd for $socket {
            unsafe fn from_raw_fd(fd: std::os::fd::RawFd) -> Self {
                // SAFETY: the caller of this function promises the same: an open descriptor that nobody else owns.
                Self::adopt(unsafe { std::os::fd::OwnedFd::from_raw_fd(fd) })
            }
        }

        impl From<std::os::fd::OwnedFd> for $socket {
            fn from(fd: std::os::fd::OwnedFd) -> Self {
                Self::adopt(fd)
            }
        }

        /// Gives the descriptor away; a duplicate of it while clones live.
        ///
        /// # Panics
        ///
        /// If clones live and the process is out of descriptors for the duplicate.
        impl From<$socket> for std::os::fd::OwnedFd {
            fn from(socket: $socket) -> Self {
                socket.release()
            }
        }

        /// Takes over the descriptor with its blocking mode and timeouts.
        impl From<$std> for $socket {
            fn from(socket: $std) -> Self {
                Self::adopt(socket.into())
            }
        }

        /// Gives the descriptor away with its blocking mode and timeouts; a duplicate of it while clones live.
        ///
        /// # Panics
        ///
        /// If clones live and the process is out of descriptors for the duplicate.
        impl From<$socket> for $std {
            fn from(socket: $socket) -> Self {
                socket.release().into()
            }
        }
    };
}
pub(crate) use convert_descriptors;
