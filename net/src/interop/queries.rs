//! What socket2 has no method for: one option of TCP, and how full a socket's queues are. All are single integers.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::{IPPROTO_TCP, TCP_DEFER_ACCEPT, c_int, c_void, socklen_t};

/// A queue of a socket whose bytes the kernel counts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Queue {
    /// Received and not read: `SIOCINQ`, which is `FIONREAD`.
    Received,
    /// Sent and not acknowledged, or not sent yet: `SIOCOUTQ`, which is `TIOCOUTQ`.
    Sent,
}

/// `TCP_DEFER_ACCEPT` in seconds, 0 for none.
pub(crate) fn set_defer_accept(socket: BorrowedFd<'_>, secs: c_int) -> io::Result<()> {
    // SAFETY: the option is an int, and is given one with its size; the call only reads it.
    let status = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            IPPROTO_TCP,
            TCP_DEFER_ACCEPT,
            (&raw const secs).cast::<c_void>(),
            int_size(),
        )
    };
    checked(status)
}

/// `TCP_DEFER_ACCEPT` in seconds, 0 for none.
pub(crate) fn defer_accept(socket: BorrowedFd<'_>) -> io::Result<c_int> {
    let mut secs: c_int = 0;
    let mut size = int_size();
    // SAFETY: the option is an int; there is room for one, and the size says so.
    let status = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            IPPROTO_TCP,
            TCP_DEFER_ACCEPT,
            (&raw mut secs).cast::<c_void>(),
            &raw mut size,
        )
    };
    checked(status).map(|()| secs)
}

/// The bytes in a queue.
pub(crate) fn queued(socket: BorrowedFd<'_>, queue: Queue) -> io::Result<c_int> {
    let request = match queue {
        Queue::Received => libc::FIONREAD,
        Queue::Sent => libc::TIOCOUTQ,
    };
    let mut bytes: c_int = 0;
    // SAFETY: both requests write one int, for which there is room, whatever the descriptor is.
    let status = unsafe { libc::ioctl(socket.as_raw_fd(), request, &raw mut bytes) };
    checked(status).map(|()| bytes)
}

fn int_size() -> socklen_t {
    mem::size_of::<c_int>() as socklen_t
}

fn checked(status: c_int) -> io::Result<()> {
    match status {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
