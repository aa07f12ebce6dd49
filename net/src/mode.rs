//! `O_NONBLOCK` of descriptors whose system calls have no flag for it: pipes, and whatever is not a socket.
//!
//! It belongs to the open file description, not to the descriptor: duplicates share it, those of other processes too.
//! So it is put back before a descriptor is given away.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

/// Sets the mode, and gives what it was. Costs one system call if that is no change.
///
/// # Errors
///
/// Those of fcntl(2): none for an open descriptor, but for what a driver or a filter of system calls forbids.
pub(crate) fn set_nonblocking(fd: BorrowedFd<'_>, nonblocking: bool) -> io::Result<bool> {
    let flags = fcntl_getfl(fd)?;
    let was = flags.contains(OFlags::NONBLOCK);
    if was != nonblocking {
        let mut flags = flags;
        flags.set(OFlags::NONBLOCK, nonblocking);
        fcntl_setfl(fd, flags)?;
    }
    Ok(was)
}

/// Puts the mode back. Where that fails nothing is left to be done: the descriptor is on its way out.
pub(crate) fn restore_nonblocking(fd: impl AsFd, nonblocking: bool) {
    if let Err(error) = set_nonblocking(fd.as_fd(), nonblocking) {
        log::trace!(target: "withy::net", "could not put back O_NONBLOCK: {error}");
    }
}
