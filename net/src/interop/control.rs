//! Control data of messages on Unix sockets (cmsg(3), unix(7)): descriptors and credentials beside the bytes.
//!
//! It is a row of parts, each with a header (length, level, type) and padded to words. Taken apart here byte by byte, so
//! that all there is to believe is that the descriptors in it are ours. One that was handed out and overlooked would
//! stay open for ever, so every sort that the kernel knows is taken out.

use std::io::{self, IoSlice};
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use libc::{SCM_CREDENTIALS, SCM_RIGHTS, SOL_SOCKET, c_int};
use socket2::{MsgHdr, SockRef};

use crate::socket::Ended;

/// The most descriptors in one message: the kernel's `SCM_MAX_FD`.
pub(crate) const FDS_MAX: usize = 253;

/// A length, a level and a type.
const HEADER_BYTES: usize = mem::size_of::<usize>() + 2 * mem::size_of::<c_int>();
const FD_BYTES: usize = mem::size_of::<c_int>();
const CREDENTIALS_BYTES: usize = 3 * mem::size_of::<c_int>();

/// A descriptor of the sending process (Linux 6.5), on sockets whose user has asked for it.
const SCM_PIDFD: c_int = 4;

/// Beside descriptors: what the user of a socket may have asked the kernel for.
const OTHER_PARTS_BYTES: usize = part_bytes(CREDENTIALS_BYTES) + part_bytes(FD_BYTES);
const CONTROL_BYTES_MAX: usize = part_bytes(FDS_MAX * FD_BYTES) + OTHER_PARTS_BYTES;

/// What one part takes, with its header and its padding.
const fn part_bytes(data: usize) -> usize {
    HEADER_BYTES + data.next_multiple_of(mem::size_of::<usize>())
}

/// A message as it came.
#[derive(Default)]
pub(crate) struct Message {
    pub(crate) bytes: usize,
    pub(crate) fds: Vec<OwnedFd>,
    pub(crate) credentials: Option<libc::ucred>,
    /// There was more control data than room for it, or a descriptor could not be had: those are closed.
    pub(crate) control_truncated: bool,
    pub(crate) bytes_truncated: bool,
}

/// sendmsg(2) with up to [`FDS_MAX`] descriptors.
pub(crate) fn send_with_fds(
    socket: &SockRef<'_>,
    buf: &[u8],
    fds: &[BorrowedFd<'_>],
    flags: c_int,
) -> io::Result<usize> {
    let mut control = [0; CONTROL_BYTES_MAX];
    let mut len = 0;
    if !fds.is_empty() {
        let data = fds.len() * FD_BYTES;
        let header = [
            &(HEADER_BYTES + data).to_ne_bytes()[..],
            &SOL_SOCKET.to_ne_bytes(),
            &SCM_RIGHTS.to_ne_bytes(),
        ];
        let words = fds.iter().map(|fd| fd.as_raw_fd().to_ne_bytes());
        let bytes = header.into_iter().flatten().copied().chain(words.flatten());
        control
            .iter_mut()
            .zip(bytes)
            .for_each(|(to, byte)| *to = byte);
        len = part_bytes(data);
    }
    let bufs = [IoSlice::new(buf)];
    let message = MsgHdr::new()
        .with_buffers(&bufs)
        .with_control(&control[..len]);
    socket.sendmsg(&message, flags)
}

/// recvmsg(2) with room for `fds_max` descriptors, up to [`FDS_MAX`]; there may come a few more.
pub(crate) fn recv_with_fds(
    socket: &SockRef<'_>,
    buf: &mut [u8],
    fds_max: usize,
    flags: c_int,
) -> io::Result<Message> {
    let room = part_bytes(fds_max.min(FDS_MAX) * FD_BYTES) + OTHER_PARTS_BYTES;
    let mut control = [0; CONTROL_BYTES_MAX];
    let mut data = libc::iovec {
        iov_base: buf.as_mut_ptr().cast(),
        iov_len: buf.len(),
    };
    // SAFETY: all zeros are a valid msghdr: one without address, bytes and control data.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_iov = &raw mut data;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = room as _;
    // SAFETY: the header points to one writable buffer, and to `room` writable bytes of control data.
    let outcome = unsafe {
        libc::recvmsg(
            socket.as_raw_fd(),
            &raw mut header,
            flags | libc::MSG_CMSG_CLOEXEC,
        )
    };
    let Ok(bytes) = usize::try_from(outcome) else {
        return Err(io::Error::last_os_error());
    };
    let mut message = Message {
        bytes,
        control_truncated: header.msg_flags & libc::MSG_CTRUNC != 0,
        bytes_truncated: header.msg_flags & libc::MSG_TRUNC != 0,
        ..Message::default()
    };
    let len = header.msg_controllen as usize;
    message.take_parts(&control[..len.min(room)]);
    Ok(message)
}

impl Ended for Message {
    fn ended() -> io::Result<Message> {
        Ok(Message::default())
    }
}

impl Message {
    fn take_parts(&mut self, mut control: &[u8]) {
        while let Some((header, rest)) = control.split_at_checked(HEADER_BYTES) {
            let (length, kinds) = header.split_at(mem::size_of::<usize>());
            // It counts the header, and what was cut off does not count.
            let length = numbers(length, usize::from_ne_bytes).next().unwrap_or(0);
            let data = &rest[..length.saturating_sub(HEADER_BYTES).min(rest.len())];
            let mut kinds = numbers(kinds, c_int::from_ne_bytes);
            match (kinds.next(), kinds.next()) {
                (Some(SOL_SOCKET), Some(SCM_RIGHTS)) => self.fds.extend(descriptors(data)),
                (Some(SOL_SOCKET), Some(SCM_CREDENTIALS)) => self.credentials = credentials(data),
                (Some(SOL_SOCKET), Some(SCM_PIDFD)) => descriptors(data).for_each(drop),
                _ => {}
            }
            let padded = data.len().next_multiple_of(mem::size_of::<usize>());
            control = rest.get(padded..).unwrap_or_default();
        }
    }
}

fn numbers<T, const N: usize>(
    bytes: &[u8],
    number: impl Fn([u8; N]) -> T,
) -> impl Iterator<Item = T> {
    let (chunks, _) = bytes.as_chunks::<N>();
    chunks.iter().map(move |chunk| number(*chunk))
}

fn descriptors(data: &[u8]) -> impl Iterator<Item = OwnedFd> {
    numbers(data, c_int::from_ne_bytes)
        // What a pidfd part holds where there was none to be had.
        .filter(|fd| *fd >= 0)
        // SAFETY: the kernel has just opened it for the caller of recvmsg(2), and told nobody else.
        .map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
}

fn credentials(data: &[u8]) -> Option<libc::ucred> {
    let mut fields = numbers(data, u32::from_ne_bytes);
    Some(libc::ucred {
        pid: fields.next()?.cast_signed(),
        uid: fields.next()?,
        gid: fields.next()?,
    })
}

#[cfg(test)]
mod tests;
