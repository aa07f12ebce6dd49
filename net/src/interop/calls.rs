//! Receiving into initialised buffers. socket2 takes maybe-uninitialised ones and leaves the cast to its callers.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;

use socket2::{MaybeUninitSlice, SockAddr, SockRef};

/// recv(2)
pub(crate) fn recv(socket: &SockRef<'_>, buf: &mut [u8], flags: libc::c_int) -> io::Result<usize> {
    // SAFETY: `recv_with_flags` promises to write initialised bytes only.
    socket.recv_with_flags(unsafe { as_uninit(buf) }, flags)
}

/// recvfrom(2)
pub(crate) fn recv_from(
    socket: &SockRef<'_>,
    buf: &mut [u8],
    flags: libc::c_int,
) -> io::Result<(usize, SockAddr)> {
    // SAFETY: `recv_from_with_flags` promises to write initialised bytes only.
    socket.recv_from_with_flags(unsafe { as_uninit(buf) }, flags)
}

/// poll(2): whether `socket` is shut down for reading.
pub(crate) fn is_shut_for_reading(socket: &SockRef<'_>) -> bool {
    let mut poll = libc::pollfd {
        fd: socket.as_raw_fd(),
        events: libc::POLLRDHUP,
        revents: 0,
    };
    // SAFETY: one writable pollfd.
    let count = unsafe { libc::poll(&raw mut poll, 1, 0) };
    count > 0 && poll.revents & libc::POLLRDHUP != 0
}

/// The same bytes for a function that may leave them uninitialised.
///
/// # Safety
///
/// Nothing but initialised bytes is written through it.
unsafe fn as_uninit(buf: &mut [u8]) -> &mut [MaybeUninit<u8>] {
    // SAFETY: `MaybeUninit<u8>` has the layout of `u8`, and by the caller's promise the buffer is as initialised
    // afterwards as before.
    unsafe { &mut *(std::ptr::from_mut(buf) as *mut [MaybeUninit<u8>]) }
}

/// recvmsg(2) for its scattered buffers alone.
pub(crate) fn recv_vectored(
    socket: &SockRef<'_>,
    bufs: &mut [IoSliceMut<'_>],
    flags: libc::c_int,
) -> io::Result<usize> {
    // SAFETY: `IoSliceMut` and `MaybeUninitSlice` both promise the layout of `iovec`, and `recv_vectored_with_flags`
    // promises to write initialised bytes only and to leave the slices themselves as they are.
    let bufs = unsafe { &mut *(std::ptr::from_mut(bufs) as *mut [MaybeUninitSlice<'_>]) };
    socket
        .recv_vectored_with_flags(bufs, flags)
        .map(|(received, _)| received)
}
