use std::fmt;
use std::io;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::SocketAddr;
use std::path::Path;

use socket2::{Domain, SockAddr, SockRef, Socket as NewSocket, Type};

use super::addr;
use crate::interop;
use crate::shell;
use crate::socket::{Socket, stream_io};

/// A connection within this machine: [`std::os::unix::net::UnixStream`] whose calls park the coroutine where std's
/// block the thread.
///
/// One is made by [`connect`](UnixStream::connect), by [`pair`](UnixStream::pair) or by
/// [`UnixListener::accept`](super::UnixListener::accept); bytes go through [`Read`](std::io::Read) and
/// [`Write`](std::io::Write), which `&UnixStream` implements too. Several callers of one direction queue; each byte goes
/// to one of them. The connection is closed when the last clone is dropped.
///
/// Writes never raise `SIGPIPE`.
///
/// # Differences from std
///
/// * Clones share one descriptor; see [`try_clone`](UnixStream::try_clone).
/// * Timeouts are kept by withy, not by the kernel: they come back as precisely as they were set.
/// * There are [deadlines](UnixStream::set_read_deadline) beside timeouts, and [descriptors](UnixStream::send_with_fds)
///   beside bytes.
/// * From a coroutine, any call that waits may unwind: when it is cancelled, when a timeout around it elapses, and when
///   its runtime shuts down. Each says what is lost.
/// * A write that waits for room goes on waiting if the peer shuts down its *reading* half, reads nothing and stays open: the kernel has
///   no event for that (neither has poll(2)). The next write fails with `BrokenPipe`; a [timeout](UnixStream::set_write_timeout) bounds the wait.
///
/// # Examples
///
/// ```
/// # mod withy { pub use withy_net as net; }
/// use std::io::{Read, Write};
/// use withy::net::UnixStream;
///
/// # fn main() -> std::io::Result<()> {
/// let (mut ours, mut theirs) = UnixStream::pair()?;
/// ours.write_all(b"hello")?;
/// let mut greeting = [0; 5];
/// theirs.read_exact(&mut greeting)?;
/// assert_eq!(&greeting, b"hello");
/// # Ok(())
/// # }
/// ```
pub struct UnixStream {
    pub(super) socket: Socket,
}

interop::convert_descriptors!(UnixStream, std::os::unix::net::UnixStream);

shell::socket!(
    UnixStream,
    new: "let (socket, _peer) = UnixStream::pair()?;",
    read: "socket.peek(&mut [0; 8])"
);

impl UnixStream {
    /// Connects to the listener that is bound to `path`.
    ///
    /// If its backlog is full, this waits until there is room; the kernel gives no event for that, so it looks again, at
    /// least a hundred times in a second.
    ///
    /// # Errors
    ///
    /// Those of connect(2): `NotFound` if nothing has that path, `ConnectionRefused` if nobody listens there,
    /// `PermissionDenied` … `InvalidInput` if the path is too long for an address (107 bytes), or holds a NUL.
    ///
    /// # Cancellation
    ///
    /// A blocking call: from a coroutine it may unwind, when that is cancelled or a timeout around it elapses. The
    /// socket is closed then.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::UnixStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let stream = UnixStream::connect("/run/service.sock")?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn connect<P: AsRef<Path>>(path: P) -> io::Result<UnixStream> {
        connect(&addr::of_path(path.as_ref())?)
    }

    /// Connects to the listener that is bound to an address, an abstract one for example.
    ///
    /// # Errors
    ///
    /// Those of [`connect`](Self::connect).
    ///
    /// # Cancellation
    ///
    /// As [`connect`](Self::connect).
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::{UnixListener, UnixStream, unix::{SocketAddr, SocketAddrExt}};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let name = format!("withy-example-{}", std::process::id());
    /// let addr = SocketAddr::from_abstract_name(name)?;
    /// let listener = UnixListener::bind_addr(&addr)?;
    /// let stream = UnixStream::connect_addr(&addr)?;
    /// assert!(listener.accept().is_ok());
    /// # drop(stream);
    /// # Ok(())
    /// # }
    /// ```
    pub fn connect_addr(socket_addr: &SocketAddr) -> io::Result<UnixStream> {
        connect(&addr::of_std(socket_addr)?)
    }

    /// Two streams that are connected to each other and to nobody else.
    ///
    /// # Errors
    ///
    /// Those of socketpair(2): no descriptor, or no memory.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::UnixStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (ours, theirs) = UnixStream::pair()?;
    /// assert!(ours.peer_addr()?.is_unnamed());
    /// # drop(theirs);
    /// # Ok(())
    /// # }
    /// ```
    pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
        let (one, other) = NewSocket::pair(Domain::UNIX, Type::STREAM, None)?;
        Ok((
            UnixStream::from_fd(one.into()),
            UnixStream::from_fd(other.into()),
        ))
    }

    /// The address of the local half of this connection: mostly unnamed on the side that has connected.
    ///
    /// # Errors
    ///
    /// Those of getsockname(2).
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::UnixStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (stream, _peer) = UnixStream::pair()?;
    /// assert!(stream.local_addr()?.is_unnamed());
    /// # Ok(())
    /// # }
    /// ```
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_name()
    }

    /// The address of the remote half of this connection.
    ///
    /// # Errors
    ///
    /// Those of getpeername(2).
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::UnixStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (stream, _peer) = UnixStream::pair()?;
    /// assert!(stream.peer_addr()?.is_unnamed());
    /// # Ok(())
    /// # }
    /// ```
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket.peer_name()
    }

    /// Shuts down the reading, the writing, or both halves of this connection.
    ///
    /// Callers that are blocked on the half, through any clone, return: reads with what is left and then 0, writes
    /// with `BrokenPipe`. A second call is fine.
    ///
    /// # Errors
    ///
    /// `NotConnected` if it is not connected.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use std::io::Read;
    /// use withy::net::{Shutdown, UnixStream};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (ours, mut theirs) = UnixStream::pair()?;
    /// ours.shutdown(Shutdown::Write)?;
    /// assert_eq!(theirs.read(&mut [0; 8])?, 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.socket.shutdown(how)
    }

    /// Looks at what the next read would give, without taking it. Waits while there is nothing.
    ///
    /// # Errors
    ///
    /// Those of a read.
    ///
    /// # Cancellation
    ///
    /// A blocking call: from a coroutine it may unwind, when that is cancelled or a timeout around it elapses. Nothing
    /// is lost: a peek takes nothing.
    ///
    /// # Differences from std
    ///
    /// std's method of this name is not stable yet.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use std::io::{Read, Write};
    /// use withy::net::UnixStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (mut ours, mut theirs) = UnixStream::pair()?;
    /// ours.write_all(b"once")?;
    /// assert_eq!(theirs.peek(&mut [0; 8])?, 4);
    /// assert_eq!(theirs.read(&mut [0; 8])?, 4);
    /// # Ok(())
    /// # }
    /// ```
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.socket.peek(buf)
    }

    pub(super) fn from_fd(fd: OwnedFd) -> UnixStream {
        UnixStream {
            socket: Socket::with_boundaries(fd),
        }
    }

    fn adopt(fd: OwnedFd) -> UnixStream {
        UnixStream {
            socket: Socket::with_boundaries(fd).adopted(),
        }
    }

    fn release(self) -> OwnedFd {
        self.socket.release()
    }
}

/// The socket that comes back is in blocking mode, as std's is. A connection within the machine is made at once, or not
/// at all while the backlog is full.
fn connect(addr: &SockAddr) -> io::Result<UnixStream> {
    let fresh = NewSocket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    let stream = UnixStream::from_fd(fresh.into());
    stream.socket.retry(|fd| SockRef::from(&fd).connect(addr))?;
    stream.socket.handle().set_nonblocking(false)?;
    Ok(stream)
}

stream_io!(UnixStream, socket);
stream_io!(&UnixStream, socket);

impl fmt::Debug for UnixStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.socket.print("UnixStream", f)
    }
}
