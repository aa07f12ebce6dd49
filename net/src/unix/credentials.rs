use std::io;
use std::os::fd::AsFd;

use crate::interop;
use crate::socket::Socket;

/// The credentials of a process at the other end of a Unix socket.
///
/// # Differences from std
///
/// std's type of this name is not stable yet; the fields are the same.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct UCred {
    /// The effective user.
    pub uid: libc::uid_t,
    /// The effective group.
    pub gid: libc::gid_t,
    /// The process; `None` if it lives in a namespace that cannot be seen from here.
    pub pid: Option<libc::pid_t>,
}

impl From<libc::ucred> for UCred {
    fn from(credentials: libc::ucred) -> UCred {
        UCred {
            uid: credentials.uid,
            gid: credentials.gid,
            pid: (credentials.pid != 0).then_some(credentials.pid),
        }
    }
}

impl Socket {
    pub(super) fn peer_credentials(&self) -> io::Result<UCred> {
        interop::peer_credentials(self.as_fd()).map(UCred::from)
    }
}
