//! One direction of a copy between two descriptors: bytes are taken from the one, are on their way, are given to the other.
//!
//! # Invariants
//! **L1. Bytes are taken only when none are on their way, and given only when some are.** splice(2) has one `EAGAIN` for two causes: the end that is
//! not the pipe is not ready, or the pipe is full (empty). By this rule it is always the first. So whoever waits after a `WouldBlock` of
//! [`fill`](Lane::fill) waits for the source to be readable, after one of [`drain`](Lane::drain) for the destination to be writable, and that comes.
//!
//! **L2. A carrier (pipe or buffer) is held only while bytes are on their way, or about to be taken.** `fill` gives it back before it says `WouldBlock` or
//! the end. So a direction that waits for its source holds nothing.
//!
//! **L3. A pipe goes back to the pool empty or not at all.** Its user counts what is in it; the count changes in the same step as the pipe,
//! with no wait, hence no unwinding, in between.
//!
//! **L4. Each byte is on its way once.** What `fill` has taken from the source is gone from there. A `drain` that fails or waits has left the rest in the
//! carrier. A lane that is dropped loses what is on its way; [`is_empty`](Lane::is_empty) tells.
//!
//! **L5. splice's "nothing there" is not believed without a look.** Where a socket's next byte is an urgent one, tcp_splice_read stops in front of it
//! for ever: it says `EAGAIN`, or 0 after the peer's FIN, with data behind the mark. recv(2) skips the mark (the urgent byte is not part of the stream). So at 0, and where
//! the source is known to be readable, a peek decides, and what it has seen is read through a buffer.
//!
//! **L6. No splice blocks**: the pipe by `SPLICE_F_NONBLOCK`, the other end by `O_NONBLOCK`, which [`End::new`] sets and withy does not take back while it owns the
//! descriptor: not at the end of a copy, since another copy may use the same socket, and not by `set_nonblocking(false)`, which changes the mode beside it
//! ([`Registration::set_mode`]). Foreign code that shares the description could.

use std::io;
use std::net::Shutdown;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use libc::{MSG_DONTWAIT, MSG_NOSIGNAL, MSG_PEEK};
use socket2::SockRef;
use withy_runtime::poll::{Direction, Registration};

use super::carrier::{Buffer, Pipe};
use crate::interop;

/// A descriptor as a source and a destination: calls that never wait.
#[derive(Clone, Copy)]
pub(super) struct End<'a> {
    registration: &'a Registration,
    fd: BorrowedFd<'a>,
    is_socket: bool,
}

impl<'a> End<'a> {
    /// # Errors
    /// Those of fcntl(2).
    pub(super) fn new(registration: &'a Registration) -> io::Result<End<'a>> {
        let fd = registration.fd();
        registration.keep_nonblocking()?;
        Ok(End {
            registration,
            fd,
            is_socket: SockRef::from(&fd).r#type().is_ok(),
        })
    }

    pub(super) fn registration(&self) -> &'a Registration {
        self.registration
    }

    pub(super) fn socket(&self) -> SockRef<'_> {
        SockRef::from(&self.fd)
    }

    pub(super) fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        retrying(|| match self.is_socket {
            true => interop::recv(&self.socket(), buf, MSG_DONTWAIT),
            false => Ok(rustix::io::read(self.fd, &mut *buf)?),
        })
    }

    pub(super) fn write(&self, buf: &[u8]) -> io::Result<usize> {
        retrying(|| match self.is_socket {
            true => self
                .socket()
                .send_with_flags(buf, MSG_DONTWAIT | MSG_NOSIGNAL),
            false => Ok(rustix::io::write(self.fd, buf)?),
        })
    }

    /// Whether there is a byte to be read, whatever splice says.
    fn has_bytes(&self) -> bool {
        let peek = || interop::recv(&self.socket(), &mut [0], MSG_DONTWAIT | MSG_PEEK);
        self.is_socket && matches!(retrying(peek), Ok(1))
    }

    /// Tells the peer that nothing more comes.
    pub(super) fn pass_end_on(&self) -> io::Result<()> {
        match self.socket().shutdown(Shutdown::Write) {
            // It is gone altogether; whoever reads from it will be told how.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => return Ok(()),
            result => result?,
        }
        // As `Socket::shutdown`: whoever writes to a clone.
        self.registration.wake(Direction::Write);
        Ok(())
    }

    /// Makes the close that is to come a reset. Where that means nothing (Unix sockets), nothing happens.
    pub(super) fn reset_on_close(&self) {
        // It fails only on what is no socket.
        let _ = self.socket().set_linger(Some(Duration::ZERO));
    }
}

/// What [`Lane::fill`] knows of the source.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Hint {
    /// Nothing: "not now" may be believed if the caller then asks poll(2).
    None,
    /// poll(2) has just said that it is readable; or nobody will ask it.
    Readable,
}

/// See the module's invariants.
pub(super) struct Lane<'a> {
    from: End<'a>,
    to: End<'a>,
    carrier: Option<Carrier>,
    /// Until the kernel refuses.
    splices: bool,
    moved: u64,
}

enum Carrier {
    Pipe(Pipe),
    Buffer(Buffer),
}

impl<'a> Lane<'a> {
    pub(super) fn new(from: End<'a>, to: End<'a>) -> Lane<'a> {
        Lane {
            from,
            to,
            carrier: None,
            splices: interop::sigpipe_is_ignored(),
            moved: 0,
        }
    }

    pub(super) fn from(&self) -> &End<'a> {
        &self.from
    }

    pub(super) fn to(&self) -> &End<'a> {
        &self.to
    }

    /// Bytes that the destination's kernel has taken.
    pub(super) fn moved(&self) -> u64 {
        self.moved
    }

    /// Whether nothing is on its way.
    pub(super) fn is_empty(&self) -> bool {
        match &self.carrier {
            None => true,
            Some(Carrier::Pipe(pipe)) => pipe.bytes() == 0,
            Some(Carrier::Buffer(buffer)) => buffer.bytes() == 0,
        }
    }

    /// Takes what the source has, up to what the carrier holds; 0 at the end. Nothing may be on its way (L1).
    ///
    /// # Errors
    /// The source's; `WouldBlock` if it has nothing now. Never `Interrupted`.
    pub(super) fn fill(&mut self, hint: Hint) -> io::Result<usize> {
        debug_assert!(self.is_empty(), "took bytes while others are on their way");
        let taken = match self.carrier.take() {
            Some(Carrier::Buffer(buffer)) => self.fill_buffer(buffer),
            Some(Carrier::Pipe(pipe)) => self.fill_pipe(pipe, hint),
            None if self.splices => match Pipe::take() {
                Some(pipe) => self.fill_pipe(pipe, hint),
                None => self.fill_buffer(Buffer::take()),
            },
            None => self.fill_buffer(Buffer::take()),
        };
        if !matches!(taken, Ok(1..)) {
            self.carrier = None;
        }
        taken
    }

    fn fill_pipe(&mut self, mut pipe: Pipe, hint: Hint) -> io::Result<usize> {
        let filled = pipe.fill(self.from.fd);
        self.carrier = Some(Carrier::Pipe(pipe));
        match filled {
            Err(error) if is_refusal(&error) => {
                self.splices = false;
                self.fill_buffer(Buffer::take())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                match hint == Hint::Readable && self.from.has_bytes() {
                    true => self.fill_buffer(Buffer::take()),
                    false => Err(error),
                }
            }
            Ok(0) if self.from.has_bytes() => self.fill_buffer(Buffer::take()),
            filled => filled,
        }
    }

    fn fill_buffer(&mut self, mut buffer: Buffer) -> io::Result<usize> {
        let filled = buffer.fill(&self.from);
        self.carrier = Some(Carrier::Buffer(buffer));
        filled
    }

    /// Gives what is on its way, or a part of it. Something must be (L1).
    ///
    /// # Errors
    /// The destination's; `WouldBlock` if it has no room now. Never `Interrupted`.
    pub(super) fn drain(&mut self) -> io::Result<usize> {
        let given = match &mut self.carrier {
            None => return Ok(0),
            Some(Carrier::Buffer(buffer)) => buffer.drain(&self.to),
            Some(Carrier::Pipe(pipe)) => match pipe.drain(self.to.fd) {
                Err(error) if is_refusal(&error) => self.drain_unspliced(),
                given => given,
            },
        }?;
        if given == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.moved += given as u64;
        Ok(given)
    }

    #[cold]
    fn drain_unspliced(&mut self) -> io::Result<usize> {
        self.splices = false;
        let Some(Carrier::Pipe(pipe)) = self.carrier.take() else {
            return Ok(0);
        };
        let buffer = self.carrier.insert(Carrier::Buffer(pipe.into_buffer()?));
        match buffer {
            Carrier::Buffer(buffer) => buffer.drain(&self.to),
            Carrier::Pipe(_) => Ok(0),
        }
    }

    /// Forgets what is on its way; the destination will never take it.
    pub(super) fn discard(&mut self) {
        self.carrier = None;
    }
}

/// Of the kernel (this sort of descriptor) or of a sandbox: nothing has moved.
fn is_refusal(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EINVAL | libc::ENOSYS | libc::EPERM)
    )
}

/// EINTR surfaces from no call (promise 14).
fn retrying<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
