//! The one way bytes move through a socket, whatever its type and direction.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use libc::{MSG_DONTWAIT, MSG_NOSIGNAL, MSG_PEEK};
use socket2::{Protocol, SockAddr, SockRef};
use withy_runtime::poll::{Direction, Registration};

use crate::interop;

/// The most bytes that one call asks for. The kernel moves no more than `INT_MAX` rounded down to a page at a time;
/// below that limit a transfer that is shorter than what was asked for means that the socket ran dry (or full).
const TRANSFER_BYTES_MAX: usize = 1 << 30;

/// The kernel's `UIO_MAXIOV`: `recvmsg` and `sendmsg` refuse more slices, where `readv` and `writev` of std clamp.
const SLICES_MAX: usize = 1024;

/// A socket and its readiness, shared by all its clones; the last one closes the descriptor.
pub(crate) struct Socket {
    registration: Arc<Registration>,
    short: Short,
}

/// What a transfer says that moved some bytes, but fewer than it was asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Short {
    /// The kernel's buffer is empty (or full) now: the next event will say otherwise, and the `EAGAIN` in between is
    /// saved.
    RanDry,
    /// Nothing: a datagram, or the control data of a Unix stream, ends a transfer whatever stands behind it.
    Nothing,
    /// Nothing, and there is an end without an event of its own: to a Unix datagram socket that is shut down for reading,
    /// the kernel gives 0 where the call would block, and `EAGAIN` for ever where it says that it must not.
    NothingNorTheEnd,
}

impl Socket {
    /// A TCP socket: a stream of bytes without boundaries.
    pub(crate) fn new(fd: OwnedFd) -> Socket {
        Socket::from_parts(fd, Short::RanDry)
    }

    /// What is said to be a TCP socket. std takes any descriptor for one.
    pub(crate) fn of_unknown_protocol(fd: OwnedFd) -> Socket {
        let protocol = SockRef::from(&fd).protocol();
        match protocol {
            Ok(Some(Protocol::TCP)) => Socket::new(fd),
            _ => Socket::with_boundaries(fd),
        }
    }

    /// A connection of this listener, of its protocol.
    pub(crate) fn accepted(&self, fd: OwnedFd) -> Socket {
        Socket::from_parts(fd, self.short)
    }

    /// Any other socket: transfers end at boundaries, so that only `EAGAIN` says that it is empty (or full).
    pub(crate) fn with_boundaries(fd: OwnedFd) -> Socket {
        Socket::from_parts(fd, Short::Nothing)
    }

    /// A socket of Unix datagrams.
    pub(crate) fn of_unix_datagrams(fd: OwnedFd) -> Socket {
        Socket::from_parts(fd, Short::NothingNorTheEnd)
    }

    fn from_parts(fd: OwnedFd, short: Short) -> Socket {
        Socket {
            registration: Arc::new(Registration::new(fd)),
            short,
        }
    }

    /// The same socket once more: one descriptor, one registration.
    pub(crate) fn share(&self) -> Socket {
        Socket {
            registration: Arc::clone(&self.registration),
            short: self.short,
        }
    }

    pub(crate) fn registration(&self) -> &Registration {
        &self.registration
    }

    /// What options are read and set through.
    pub(crate) fn handle(&self) -> SockRef<'_> {
        SockRef::from(self)
    }

    /// The descriptor, deregistered, and whether nobody else holds it: while clones live it is a duplicate.
    ///
    /// # Panics
    ///
    /// If clones live and the process is out of descriptors.
    pub(crate) fn into_fd(self) -> (OwnedFd, bool) {
        match Arc::try_unwrap(self.registration) {
            Ok(registration) => (registration.into_fd(), true),
            Err(shared) => {
                let duplicate = duplicate(shared.fd());
                // Of two that are given away at once one is the last: that one, and no other, puts the mode back.
                match Arc::into_inner(shared) {
                    Some(registration) => (registration.into_fd(), true),
                    None => (duplicate, false),
                }
            }
        }
    }

    /// Like std's, this is recv(2), to which even an empty buffer means waiting for data.
    pub(crate) fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        let asked = buf.len().min(TRANSFER_BYTES_MAX);
        let buf = &mut buf[..asked];
        self.transfer(Direction::Read, asked, |socket| {
            interop::recv(socket, buf, MSG_DONTWAIT)
        })
    }

    /// Like readv(2), slices without a byte give 0 without a look at the socket.
    pub(crate) fn read_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let count = bufs.len().min(SLICES_MAX);
        let bufs = &mut bufs[..count];
        let asked = total(bufs.iter().map(|buf| buf.len()));
        if asked == 0 {
            return Ok(0);
        }
        self.transfer(Direction::Read, asked, |socket| {
            interop::recv_vectored(socket, bufs, MSG_DONTWAIT)
        })
    }

    /// Looks at what the next read would give. A peek takes nothing, so it proves nothing about what is left: it asks
    /// for zero bytes as far as readiness is concerned.
    pub(crate) fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.transfer(Direction::Read, 0, |socket| {
            interop::recv(socket, buf, MSG_DONTWAIT | MSG_PEEK)
        })
    }

    pub(crate) fn write(&self, buf: &[u8]) -> io::Result<usize> {
        let asked = buf.len().min(TRANSFER_BYTES_MAX);
        self.transfer(Direction::Write, asked, |socket| {
            socket.send_with_flags(&buf[..asked], MSG_DONTWAIT | MSG_NOSIGNAL)
        })
    }

    /// Like writev(2), slices without a byte give 0 without a look at the socket.
    pub(crate) fn write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let bufs = &bufs[..bufs.len().min(SLICES_MAX)];
        let asked = total(bufs.iter().map(|buf| buf.len()));
        if asked == 0 {
            return Ok(0);
        }
        self.transfer(Direction::Write, asked, |socket| {
            socket.send_vectored_with_flags(bufs, MSG_DONTWAIT | MSG_NOSIGNAL)
        })
    }

    /// Sends one datagram, which goes whole or not at all.
    pub(crate) fn send_to(&self, buf: &[u8], addr: &SockAddr) -> io::Result<usize> {
        self.exact(Direction::Write, |socket| {
            socket.send_to_with_flags(buf, addr, MSG_DONTWAIT | MSG_NOSIGNAL)
        })
    }

    /// Receives one datagram, and says who sent it. What does not fit into `buf` is gone.
    pub(crate) fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SockAddr)> {
        self.exact(Direction::Read, |socket| {
            interop::recv_from(socket, buf, MSG_DONTWAIT)
        })
    }

    /// The same without taking it.
    pub(crate) fn peek_from(&self, buf: &mut [u8]) -> io::Result<(usize, SockAddr)> {
        self.exact(Direction::Read, |socket| {
            interop::recv_from(socket, buf, MSG_DONTWAIT | MSG_PEEK)
        })
    }

    /// Does `call`, which must not block, and waits as often as it gives `EAGAIN`. Whatever it does otherwise proves
    /// nothing about the next call.
    pub(crate) fn exact<T: Ended>(
        &self,
        direction: Direction,
        mut call: impl FnMut(&SockRef<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        self.registration.io(
            direction,
            |fd| self.unless_ended(direction, &SockRef::from(&fd), &mut call),
            |_| false,
        )
    }

    /// `call`, or what stands for the end where the kernel would have the caller wait for ever. Asked once more after
    /// the end was seen, for a datagram may have come before it; none comes after it.
    #[inline]
    fn unless_ended<T: Ended>(
        &self,
        direction: Direction,
        socket: &SockRef<'_>,
        call: &mut impl FnMut(&SockRef<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        let outcome = call(socket);
        if self.short != Short::NothingNorTheEnd || direction != Direction::Read {
            return outcome;
        }
        match outcome {
            Err(error)
                if error.kind() == io::ErrorKind::WouldBlock
                    && !self.registration.is_nonblocking()
                    && interop::is_shut_for_reading(socket) =>
            {
                match call(socket) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => T::ended(),
                    outcome => outcome,
                }
            }
            outcome => outcome,
        }
    }

    /// Moves up to `asked` bytes, waiting until at least one can. None (the end of the stream) leaves the socket ready,
    /// so that each further read reports the end again.
    fn transfer(
        &self,
        direction: Direction,
        asked: usize,
        mut call: impl FnMut(&SockRef<'_>) -> io::Result<usize>,
    ) -> io::Result<usize> {
        self.registration.io(
            direction,
            |fd| self.unless_ended(direction, &SockRef::from(&fd), &mut call),
            |&moved| self.short == Short::RanDry && 0 < moved && moved < asked,
        )
    }
}

/// What a receiving call gives at the end.
pub(crate) trait Ended: Sized {
    fn ended() -> io::Result<Self>;
}

impl Ended for usize {
    fn ended() -> io::Result<usize> {
        Ok(0)
    }
}

impl Ended for (usize, SockAddr) {
    fn ended() -> io::Result<(usize, SockAddr)> {
        Ok((0, SockAddr::unix("")?))
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.registration.fd()
    }
}

/// A close-on-exec duplicate. The conversions that need it cannot fail by their signatures, so they panic.
fn duplicate(fd: BorrowedFd<'_>) -> OwnedFd {
    fd.try_clone_to_owned().unwrap_or_else(|error| {
        panic!(
            "could not duplicate the descriptor of a socket that has live clones: {error}; \
             raise the descriptor limit or drop the clones first"
        )
    })
}

/// Slices may overlap in memory (the same one many times), so their sum may exceed the address space.
fn total(lengths: impl Iterator<Item = usize>) -> usize {
    lengths
        .fold(0, usize::saturating_add)
        .min(TRANSFER_BYTES_MAX)
}

/// Implements `Read` and `Write` for a type whose field `$inner` has these methods, or for a reference to it.
macro_rules! stream_io {
    ($stream:ty, $inner:ident) => {
        impl std::io::Read for $stream {
            /// Reads what is there, and waits while there is nothing.
            ///
            /// # Cancellation
            ///
            /// A blocking call: from a coroutine it may unwind, when that is cancelled or a timeout around it
            /// elapses. Nothing is lost: bytes that were not returned are still to be read.
            fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
                self.$inner.read(buf)
            }

            /// As `read`, into several buffers.
            ///
            /// # Cancellation
            ///
            /// As `read`.
            fn read_vectored(
                &mut self,
                bufs: &mut [std::io::IoSliceMut<'_>],
            ) -> std::io::Result<usize> {
                self.$inner.read_vectored(bufs)
            }
        }

        impl std::io::Write for $stream {
            /// Writes what there is room for, and waits while there is none.
            ///
            /// # Cancellation
            ///
            /// A blocking call: from a coroutine it may unwind, when that is cancelled or a timeout around it
            /// elapses. Then nothing of `buf` was written; but a `write_all` that unwinds may have written a part.
            fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
                self.$inner.write(buf)
            }

            /// As `write`, from several buffers.
            ///
            /// # Cancellation
            ///
            /// As `write`.
            fn write_vectored(&mut self, bufs: &[std::io::IoSlice<'_>]) -> std::io::Result<usize> {
                self.$inner.write_vectored(bufs)
            }

            /// Does nothing: a stream keeps no bytes back.
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
    };
}
pub(crate) use stream_io;
