//! Passing descriptors beside the bytes of a stream or a datagram.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use libc::{MSG_DONTWAIT, MSG_NOSIGNAL};
use withy_runtime::poll::Direction;

use super::credentials::UCred;
use crate::interop;
use crate::socket::Socket;

/// The most descriptors that one message can carry: the kernel's `SCM_MAX_FD`.
pub const FDS_MAX: usize = interop::FDS_MAX;

/// What a message with descriptors has brought.
#[derive(Debug)]
#[non_exhaustive]
pub struct Received {
    /// How many bytes were written to the buffer.
    pub bytes: usize,
    /// The descriptors, in the order in which they were sent, all of them close-on-exec.
    pub fds: Vec<OwnedFd>,
    /// Whether there were more of them than were asked for, or than this process may have. Those are closed.
    pub fds_lost: bool,
    /// Whether a datagram was longer than the buffer. The rest is gone.
    pub bytes_lost: bool,
    /// Who sent it, on a socket with `set_passcred(true)`.
    pub credentials: Option<UCred>,
}

impl Socket {
    pub(super) fn send_with_fds(&self, buf: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
        if fds.len() > FDS_MAX {
            let text = format!(
                "got {} descriptors, expected at most {FDS_MAX} in one message; send them in several",
                fds.len()
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        self.exact(Direction::Write, |socket| {
            interop::send_with_fds(socket, buf, fds, MSG_DONTWAIT | MSG_NOSIGNAL)
        })
    }

    pub(super) fn recv_with_fds(&self, buf: &mut [u8], fds_max: usize) -> io::Result<Received> {
        let message = self.exact(Direction::Read, |socket| {
            interop::recv_with_fds(socket, buf, fds_max, MSG_DONTWAIT)
        })?;
        let mut fds = message.fds;
        // The room for other control data took these.
        let surplus = fds.len() > fds_max;
        fds.truncate(fds_max);
        Ok(Received {
            bytes: message.bytes,
            fds,
            fds_lost: surplus || message.control_truncated,
            bytes_lost: message.bytes_truncated,
            credentials: message.credentials.map(UCred::from),
        })
    }
}
