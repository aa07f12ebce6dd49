//! Addresses of Unix sockets between std's type and the kernel's, and what prints them.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::SocketAddr;
use std::path::Path;

use socket2::SockAddr;

use crate::socket::Socket;

/// What std would make of a path: it refuses those that are too long or hold a NUL, and takes an empty one for the
/// unnamed address.
pub(super) fn of_path(path: &Path) -> io::Result<SockAddr> {
    of_std(&SocketAddr::from_pathname(path)?)
}

/// The same address for the kernel.
pub(super) fn of_std(addr: &SocketAddr) -> io::Result<SockAddr> {
    if let Some(name) = addr.as_abstract_name() {
        // socket2 marks abstract names as the kernel does.
        let marked: Vec<u8> = [b"\0", name].concat();
        return SockAddr::unix(std::ffi::OsStr::from_bytes(&marked));
    }
    SockAddr::unix(addr.as_pathname().unwrap_or(Path::new("")))
}

/// An address of the kernel's as std has it.
///
/// # Errors
///
/// The one that std gives for a socket of another family.
pub(super) fn to_std(addr: &SockAddr) -> io::Result<SocketAddr> {
    // Who has no name comes without an address, family included.
    if addr.len() != 0 && !addr.is_unix() {
        let text = format!(
            "got a socket address of family {}, expected a Unix one; was the descriptor that of a Unix socket?",
            addr.family()
        );
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    if let Some(name) = addr.as_abstract_namespace() {
        return SocketAddr::from_abstract_name(name);
    }
    // A path without room for its NUL can be bound, but std's type cannot be made of it. The sender of a datagram that has
    // been taken out must not turn into an error, which would lose the datagram: it is unnamed then.
    let path = addr.as_pathname().unwrap_or(Path::new(""));
    SocketAddr::from_pathname(path).or_else(|_| SocketAddr::from_pathname(""))
}

impl Socket {
    pub(super) fn local_name(&self) -> io::Result<SocketAddr> {
        to_std(&self.handle().local_addr()?)
    }

    pub(super) fn peer_name(&self) -> io::Result<SocketAddr> {
        to_std(&self.handle().peer_addr()?)
    }

    /// As std's: the descriptor, and the addresses as far as they are known.
    pub(super) fn print(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct(name);
        let fd = self.as_fd().as_raw_fd();
        out.field("fd", &FileDesc(OwnedFd { fd }));
        if let Ok(addr) = self.local_name() {
            out.field("local", &addr);
        }
        if let Ok(addr) = self.peer_name() {
            out.field("peer", &addr);
        }
        out.finish()
    }
}

/// What std prints for a descriptor here, where it prints the bare number for sockets of the internet.
#[derive(Debug)]
#[expect(dead_code, reason = "it is printed")]
struct FileDesc(OwnedFd);

#[derive(Debug)]
#[expect(dead_code, reason = "it is printed")]
struct OwnedFd {
    fd: RawFd,
}
