//! A stream pair in memory: two pipes with a bounded buffer each, crosswise.
//!
//! All waiting is the runtime's `Monitor`: no descriptor, no netpoller. `pipe.rs` is one direction, `limits.rs` the
//! part of the surface that limits the waits.

mod limits;
mod pipe;

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::Shutdown;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use self::pipe::Pipe;
use crate::socket::stream_io;

/// Two connected streams in memory, each with a buffer of `capacity` bytes for what the other has written.
///
/// They behave as the two ends of a TCP connection, but need neither a port nor a descriptor, and the kernel has no
/// part in their timing. So protocol code can be tested on them, with its timeouts; code that takes `impl Read + Write`
/// need not know. Memory is taken as bytes come, and freed with the pair.
///
/// # Panics
///
/// If `capacity` is zero: every write would wait for ever.
///
/// # Examples
///
/// ```
/// # mod withy { pub use withy_net as net; }
/// use std::io::{Read, Write};
/// use withy::net::{Shutdown, duplex};
///
/// # fn main() -> std::io::Result<()> {
/// let (mut client, mut server) = duplex(1024);
/// client.write_all(b"hello")?;
/// client.shutdown(Shutdown::Write)?;
/// let mut greeting = String::new();
/// server.read_to_string(&mut greeting)?;
/// assert_eq!(greeting, "hello");
/// # Ok(())
/// # }
/// ```
#[must_use]
pub fn duplex(capacity: usize) -> (Duplex, Duplex) {
    assert!(
        capacity > 0,
        "got a capacity of zero, expected room for one byte at least: every write would wait for ever"
    );
    let one = Arc::new(Pipe::new(capacity));
    let other = Arc::new(Pipe::new(capacity));
    (
        Duplex::new(Arc::clone(&one), Arc::clone(&other)),
        Duplex::new(other, one),
    )
}

/// One end of a stream pair in memory; see [`duplex`].
///
/// Bytes go through [`Read`](std::io::Read) and [`Write`](std::io::Write), which `&Duplex` implements too. Coroutines and plain threads may share
/// one. It is closed when the last clone is dropped.
///
/// # Differences from `TcpStream`
///
/// * There are no addresses, no options of sockets, and no descriptor.
/// * An end that is dropped, read or unread, is no reset: the peer reads all that was written, then the end of the
///   stream; its writes fail with `BrokenPipe` at once.
/// * [`shutdown(Read)`](Duplex::shutdown) makes the peer's writes fail with `BrokenPipe`.
pub struct Duplex {
    end: Arc<End>,
}

/// What the clones of one end share. Dropped with the last of them.
struct End {
    incoming: Arc<Pipe>,
    outgoing: Arc<Pipe>,
    nonblocking: AtomicBool,
}

impl Duplex {
    fn new(incoming: Arc<Pipe>, outgoing: Arc<Pipe>) -> Duplex {
        Duplex {
            end: Arc::new(End {
                incoming,
                outgoing,
                nonblocking: AtomicBool::new(false),
            }),
        }
    }

    /// Shuts down the reading, the writing, or both halves of this end.
    ///
    /// A half that is shut down takes no more bytes: writes to it fail with `BrokenPipe`, reads give what is left and
    /// then 0. That holds for callers that are blocked on it as well, at both ends. A second call is fine.
    ///
    /// # Errors
    ///
    /// None; the signature is `TcpStream`'s.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use std::io::{ErrorKind, Read, Write};
    /// use withy::net::{Shutdown, duplex};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (mut client, mut server) = duplex(16);
    /// client.shutdown(Shutdown::Write)?;
    /// assert_eq!(server.read(&mut [0; 8])?, 0);
    /// assert_eq!(client.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
    /// # Ok(())
    /// # }
    /// ```
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        if matches!(how, Shutdown::Read | Shutdown::Both) {
            self.end.incoming.close();
        }
        if matches!(how, Shutdown::Write | Shutdown::Both) {
            self.end.outgoing.close();
        }
        Ok(())
    }

    /// Another handle to the same end. Clones share everything, limits and mode too.
    ///
    /// # Errors
    ///
    /// None; the signature is `TcpStream`'s.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use std::io::{Read, Write};
    /// use withy::net::duplex;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (mut one, mut other) = duplex(16);
    /// let mut clone = one.try_clone()?;
    /// one.write_all(b"a")?;
    /// clone.write_all(b"b")?;
    /// let mut both = [0; 2];
    /// other.read_exact(&mut both)?;
    /// assert_eq!(&both, b"ab");
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_clone(&self) -> io::Result<Duplex> {
        let end = Arc::clone(&self.end);
        Ok(Duplex { end })
    }

    /// Reads without taking: the next read gives the same bytes again. Waits as a read does.
    ///
    /// # Errors
    ///
    /// Those of a read: `WouldBlock` in non-blocking mode or past a timeout, `TimedOut` past a deadline.
    ///
    /// # Cancellation
    ///
    /// A blocking call: from a coroutine it may unwind, when that is cancelled or a timeout around it elapses. Nothing
    /// is lost: what was peeked at is still there.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use std::io::{Read, Write};
    /// use withy::net::duplex;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (mut one, mut other) = duplex(16);
    /// one.write_all(b"x")?;
    /// assert_eq!(other.peek(&mut [0; 8])?, 1);
    /// assert_eq!(other.read(&mut [0; 8])?, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.end.incoming.peek(self.end.is_nonblocking(), buf)
    }

    /// Moves this end into or out of non-blocking mode, in which what would wait fails with `WouldBlock`. Those who
    /// wait now go on waiting.
    ///
    /// # Errors
    ///
    /// None; the signature is `TcpStream`'s.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use std::io::{ErrorKind, Read};
    /// use withy::net::duplex;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (mut one, _other) = duplex(4);
    /// one.set_nonblocking(true)?;
    /// assert_eq!(one.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.end.nonblocking.store(nonblocking, Ordering::Relaxed);
        Ok(())
    }
}

impl End {
    fn is_nonblocking(&self) -> bool {
        self.nonblocking.load(Ordering::Relaxed)
    }

    fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.incoming.read(self.is_nonblocking(), buf)
    }

    fn read_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.incoming.read_vectored(self.is_nonblocking(), bufs)
    }

    fn write(&self, buf: &[u8]) -> io::Result<usize> {
        self.outgoing.write(self.is_nonblocking(), buf)
    }

    fn write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.outgoing.write_vectored(self.is_nonblocking(), bufs)
    }
}

/// Closed as a socket is: the peer reads what was written, then the end; its writes are refused.
impl Drop for End {
    fn drop(&mut self) {
        self.incoming.close();
        self.outgoing.close();
    }
}

stream_io!(Duplex, end);
stream_io!(&Duplex, end);

impl fmt::Debug for Duplex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Duplex").finish_non_exhaustive()
    }
}

// As those of `TcpStream`: every call is whole, whatever unwinds out of it.
impl UnwindSafe for Duplex {}
impl RefUnwindSafe for Duplex {}
