//! What can be served.

use std::fmt::Debug;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::{TcpListener, TcpStream};

/// Where connections come from: what a [`Server`](super::Server) needs to know of a listener.
///
/// To serve TLS, or connections that a library makes, implement it for a type that wraps a listener. Only take the
/// connection in [`accept`](Listener::accept): a handshake belongs into the handler, or one slow client keeps all others
/// waiting.
///
/// # Examples
///
/// A listener that numbers its connections:
///
/// ```
/// # mod withy { pub use withy_net as net; pub use withy_runtime::{CancelToken, spawn}; }
/// use std::io;
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use std::time::Duration;
/// use withy::net::{Listener, Server, TcpListener, TcpStream};
///
/// struct Numbered(TcpListener, AtomicU64);
///
/// impl Listener for Numbered {
///     type Connection = TcpStream;
///     type Peer = u64;
///
///     fn accept(&self) -> io::Result<(TcpStream, u64)> {
///         let (stream, _) = self.0.accept()?;
///         Ok((stream, self.1.fetch_add(1, Ordering::Relaxed)))
///     }
///
///     fn set_idle_timeout(stream: &TcpStream, limit: Duration) -> io::Result<()> {
///         <TcpListener as Listener>::set_idle_timeout(stream, limit)
///     }
/// }
///
/// # fn main() -> io::Result<()> {
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let address = listener.local_addr()?;
/// let close = withy::CancelToken::new();
/// let client = withy::spawn(move || TcpStream::connect(address));
/// let summary = Server::new().until(&close).serve(
///     Numbered(listener, AtomicU64::new(7)),
///     |_stream, number| {
///         assert_eq!(number, 7);
///         close.cancel();
///     },
/// )?;
/// assert_eq!(summary.finished, 1);
/// # client.join().unwrap()?;
/// # Ok(())
/// # }
/// ```
pub trait Listener: Send {
    /// What a handler is given.
    type Connection: Send;

    /// Who is at the other end. It is cloned and dropped for the server's own use, too: a panic there is the listener's.
    type Peer: Clone + Debug + Send;

    /// Waits for a connection. It is called from a coroutine, and may be unwound while it waits: when the server
    /// stops, no connection may be lost then that a later call could give.
    ///
    /// # Errors
    ///
    /// Those of accept(2), as raw OS errors: by them the server knows whether to go on, to wait, or to end.
    fn accept(&self) -> io::Result<(Self::Connection, Self::Peer)>;

    /// Limits each wait for the peer's bytes, and for room for ours.
    ///
    /// # Errors
    ///
    /// If it cannot be set; the connection is closed then.
    fn set_idle_timeout(connection: &Self::Connection, limit: Duration) -> io::Result<()>;

    /// Ends a connection that cannot be served, for want of descriptors, as fast and as cheaply as can be.
    fn refuse(connection: Self::Connection) {
        drop(connection);
    }
}

impl Listener for TcpListener {
    type Connection = TcpStream;
    type Peer = SocketAddr;

    fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        TcpListener::accept(self)
    }

    fn set_idle_timeout(connection: &TcpStream, limit: Duration) -> io::Result<()> {
        connection.set_read_timeout(Some(limit))?;
        connection.set_write_timeout(Some(limit))
    }

    /// By a reset: the peer knows at once, and the kernel keeps nothing in TIME_WAIT.
    fn refuse(connection: TcpStream) {
        // If it fails, closing ends the connection in the usual way.
        let _ = connection.set_linger(Some(Duration::ZERO));
    }
}
