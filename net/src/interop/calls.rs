//! Receiving into initialised buffers. socket2 takes maybe-uninitialised ones and leaves the cast to its callers.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;

use socket2::{MaybeUninitSlice, SockRef};

/// recv(2)
pub(crate) fn recv(socket: &SockRef<'_>, buf: &mut [u8], flags: libc::c_int) -> io::Result<usize> {
    // SAFETY: `MaybeUninit<u8>` has the layout of `u8`, and `recv_with_flags` promises to write initialised bytes
    // only, so the buffer is as initialised after the call as before it.
    let buf = unsafe { &mut *(std::ptr::from_mut(buf) as *mut [MaybeUninit<u8>]) };
    socket.recv_with_flags(buf, flags)
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
