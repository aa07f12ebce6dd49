use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::SocketAddr;
use std::path::Path;

use socket2::{Domain, SockAddr, Socket as NewSocket, Type};

use super::addr;
use super::incoming::Incoming;
use super::stream::UnixStream;
use crate::interop;
use crate::listen::BACKLOG;
use crate::shell::{accept_limits, handle};
use crate::socket::Socket;

/// A server socket within this machine: [`std::os::unix::net::UnixListener`] whose `accept` parks the coroutine where
/// std's blocks the thread.
///
/// Several coroutines and threads may accept at once; each connection goes to one of them. The socket is closed when
/// the last clone is dropped; its path stays, as with std, until someone removes it.
///
/// # Differences from std
///
/// * Clones share one descriptor, see [`try_clone`](UnixListener::try_clone).
/// * The descriptor is `O_NONBLOCK` while withy owns it, whatever [`set_nonblocking`](UnixListener::set_nonblocking)
///   said. std's duplicates of it see that.
/// * `accept` can have a [timeout](UnixListener::set_accept_timeout) and a
///   [deadline](UnixListener::set_accept_deadline).
/// * From a coroutine, any call that waits may unwind: when it is cancelled, when a timeout around it elapses, and when
///   its runtime shuts down.
///
/// # Examples
///
/// ```
/// # mod withy { pub use withy_net as net; }
/// use withy::net::{UnixListener, UnixStream};
///
/// # fn main() -> std::io::Result<()> {
/// let path = std::env::temp_dir().join(format!("withy-example-{}.sock", std::process::id()));
/// # let _ = std::fs::remove_file(&path);
/// let listener = UnixListener::bind(&path)?;
/// let client = UnixStream::connect(&path)?;
/// let (server, _) = listener.accept()?;
/// assert_eq!(server.local_addr()?.as_pathname(), Some(&*path));
/// std::fs::remove_file(&path)?;
/// # drop(client);
/// # Ok(())
/// # }
/// ```
pub struct UnixListener {
    pub(super) socket: Socket,
}

interop::convert_descriptors!(UnixListener, std::os::unix::net::UnixListener);

accept_limits!(UnixListener, new: "let listener = UnixListener::bind(\"\")?;");

handle!(listener UnixListener, new: "let socket = UnixListener::bind(\"\")?;");

impl UnixListener {
    /// A listener bound to `path`, where nothing may be yet. An empty path lets the system choose an abstract name.
    ///
    /// # Errors
    ///
    /// Those of bind(2): `AddrInUse` if the path exists, whatever it is; `NotFound`, `PermissionDenied` … `InvalidInput` if the path is too
    /// long for an address (107 bytes), or holds a NUL.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use std::io::ErrorKind;
    /// use withy::net::UnixListener;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let error = UnixListener::bind("/").unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::AddrInUse);
    /// # Ok(())
    /// # }
    /// ```
    pub fn bind<P: AsRef<Path>>(path: P) -> io::Result<UnixListener> {
        listen(&addr::of_path(path.as_ref())?)
    }

    /// A listener bound to an address, an abstract one for example: that leaves no file behind.
    ///
    /// # Errors
    ///
    /// Those of [`bind`](Self::bind).
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::{UnixListener, unix::{SocketAddr, SocketAddrExt}};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let name = format!("withy-listener-{}", std::process::id());
    /// let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
    /// assert_eq!(listener.local_addr()?.as_abstract_name(), Some(name.as_bytes()));
    /// # Ok(())
    /// # }
    /// ```
    pub fn bind_addr(socket_addr: &SocketAddr) -> io::Result<UnixListener> {
        listen(&addr::of_std(socket_addr)?)
    }

    /// Waits for a connection and gives it, with the address of its peer, which is mostly unnamed.
    ///
    /// The new stream is in blocking mode and close-on-exec.
    ///
    /// # Errors
    ///
    /// Those of accept(2), at once and with the connection still in the backlog: raw errors `EMFILE` and `ENFILE` if
    /// descriptors ran out, `ENOBUFS` and `ENOMEM` if memory did. A server should wait a little before it tries again,
    /// not end. `WouldBlock` in non-blocking mode, or past the [timeout](Self::set_accept_timeout); `TimedOut` past the
    /// [deadline](Self::set_accept_deadline).
    ///
    /// # Cancellation
    ///
    /// A blocking call: from a coroutine it may unwind, when that is cancelled or a timeout around it elapses. No
    /// connection is lost: it stays in the backlog for the next accept.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::{UnixListener, UnixStream};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let listener = UnixListener::bind("")?;
    /// let _client = UnixStream::connect_addr(&listener.local_addr()?)?;
    /// let (_server, peer) = listener.accept()?;
    /// assert!(peer.is_unnamed());
    /// # Ok(())
    /// # }
    /// ```
    pub fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        let (fd, addr) = self.socket.accept()?;
        Ok((UnixStream::from_fd(fd), addr::to_std(&addr)?))
    }

    /// The address this listener is bound to.
    ///
    /// # Errors
    ///
    /// Those of getsockname(2).
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::{UnixListener, unix::SocketAddrExt};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let listener = UnixListener::bind("")?;
    /// assert!(listener.local_addr()?.as_abstract_name().is_some());
    /// # Ok(())
    /// # }
    /// ```
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_name()
    }

    /// An iterator over the connections to come; it never gives `None`.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::{UnixListener, UnixStream};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let listener = UnixListener::bind("")?;
    /// let _client = UnixStream::connect_addr(&listener.local_addr()?)?;
    /// for stream in listener.incoming() {
    ///     assert!(stream.is_ok());
    ///     break;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming { listener: self }
    }

    fn adopt(fd: OwnedFd) -> UnixListener {
        UnixListener {
            socket: Socket::with_boundaries(fd).adopted_listener(),
        }
    }

    fn release(self) -> OwnedFd {
        self.socket.release_listener()
    }
}

fn listen(addr: &SockAddr) -> io::Result<UnixListener> {
    let socket = NewSocket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)?;
    Ok(UnixListener {
        socket: Socket::with_boundaries(socket.into()),
    })
}

impl<'a> IntoIterator for &'a UnixListener {
    type Item = io::Result<UnixStream>;
    type IntoIter = Incoming<'a>;

    fn into_iter(self) -> Incoming<'a> {
        self.incoming()
    }
}

impl fmt::Debug for UnixListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.socket.print("UnixListener", f)
    }
}
