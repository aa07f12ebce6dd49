//! The server, as users see it: its settings, and the ways to start it.

use std::any::Any;
use std::fmt::{self, Debug};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use withy_runtime::sync::Semaphore;
use withy_runtime::{CancelToken, scope};

use super::counters::{Counters, Summary};
use super::hall::Hall;
use super::listener::Listener;
use super::outcome::Outcome;

/// How long connections may go on after the server was told to close.
const DRAIN: Duration = Duration::from_secs(30);

/// How long those in the backlog may hope for a descriptor.
const PATIENCE: Duration = Duration::from_secs(1);

type PanicHook = dyn Fn(&dyn Debug, &(dyn Any + Send)) + Send + Sync;

/// Serves each connection of `listener` in a coroutine of its own, for as long as the listener lives.
///
/// This is [`Server::new().serve(…)`](Server::serve), see there.
///
/// # Errors
///
/// As [`Server::serve`].
///
/// # Cancellation
///
/// As [`Server::serve`].
///
/// # Examples
///
/// ```no_run
/// # mod withy { pub use withy_net as net; }
/// use std::io::{self, Read, Write};
/// use withy::net::{TcpListener, TcpStream, serve};
///
/// fn echo(mut stream: TcpStream) -> io::Result<()> {
///     let mut buf = [0; 4096];
///     loop {
///         let n = stream.read(&mut buf)?;
///         if n == 0 {
///             return Ok(());
///         }
///         stream.write_all(&buf[..n])?;
///     }
/// }
///
/// fn main() -> io::Result<()> {
///     serve(TcpListener::bind("0.0.0.0:7000")?, |stream, _peer| echo(stream))?;
///     Ok(())
/// }
/// ```
pub fn serve<L, H, O>(listener: L, handler: H) -> io::Result<Summary>
where
    L: Listener,
    H: Fn(L::Connection, L::Peer) -> O + Sync,
    O: Outcome,
{
    Server::new().serve(listener, handler)
}

/// Serves connections: a coroutine for each, a limit of their number, an orderly end.
///
/// A server of its own making needs a loop around `accept` and a `spawn`, and then all that goes wrong in it: this is
/// that loop. In particular it
///
/// * goes on when `accept` fails for want of descriptors or memory, without spinning, see
///   [`patience`](Server::patience);
/// * lets no panic of a handler pass beyond its connection, see [`on_panic`](Server::on_panic);
/// * leaves connections in the kernel's backlog while there are [as many as it may have](Server::connections_max);
/// * ends in order when it is told to, see [`until`](Server::until);
/// * never leaves a handler behind: when [`serve`](Server::serve) returns, or unwinds, all have ended. So handlers may
///   borrow from around the call. (What a handler spawns by itself is not the server's.)
///
/// A function of programs that unwind: with `panic = "abort"` neither panics nor the server's end could be kept apart from
/// the process's, so it does not exist there.
///
/// # Examples
///
/// ```
/// # mod withy { pub use withy_net as net; pub use withy_runtime::{CancelToken, spawn}; }
/// use std::io::{Read, Write};
/// use std::time::Duration;
/// use withy::net::{Server, TcpListener, TcpStream};
///
/// # fn main() -> std::io::Result<()> {
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let address = listener.local_addr()?;
/// let close = withy::CancelToken::new();
/// let client = withy::spawn({
///     let close = close.clone();
///     move || -> std::io::Result<String> {
///         let mut stream = TcpStream::connect(address)?;
///         stream.write_all(b"hello")?;
///         stream.shutdown(std::net::Shutdown::Write)?;
///         let mut answer = String::new();
///         stream.read_to_string(&mut answer)?;
///         close.cancel();
///         Ok(answer)
///     }
/// });
/// let summary = Server::new()
///     .connections_max(1000)
///     .idle_timeout(Duration::from_secs(60))
///     .until(&close)
///     .drain_timeout(Duration::from_secs(10))
///     .serve(listener, |mut stream, _peer| {
///         let mut request = String::new();
///         stream.read_to_string(&mut request)?;
///         stream.write_all(request.to_uppercase().as_bytes())
///     })?;
/// assert_eq!(client.join().unwrap()?, "HELLO");
/// assert_eq!((summary.accepted, summary.finished), (1, 1));
/// # Ok(())
/// # }
/// ```
#[must_use = "a server does nothing until `serve`"]
pub struct Server {
    settings: Settings,
    counters: Counters,
    close: CancelToken,
    cut: CancelToken,
}

pub(super) struct Settings {
    pub(super) connections_max: usize,
    pub(super) idle: Option<Duration>,
    pub(super) patience: Duration,
    pub(super) stack_size: Option<usize>,
    pub(super) drain: Duration,
    pub(super) on_panic: Option<Arc<PanicHook>>,
}

impl Server {
    /// A server without a limit of connections and without an idle timeout, that ends with its listener only.
    pub fn new() -> Server {
        Server {
            settings: Settings {
                connections_max: Semaphore::MAX_PERMITS,
                idle: None,
                patience: PATIENCE,
                stack_size: None,
                drain: DRAIN,
                on_panic: None,
            },
            counters: Counters::default(),
            close: CancelToken::new(),
            cut: CancelToken::new(),
        }
    }

    /// Runs at most so many handlers at a time.
    ///
    /// At the limit the server does not accept: whoever connects waits in the kernel's backlog (`net.core.somaxconn`
    /// connections; beyond that the kernel drops the handshake, and the client tries again after 1, 2, 3 … s). To the
    /// client that looks like a connection to a slow server. Of several listeners, each may have accepted one
    /// connection more, which waits for its turn unserved.
    ///
    /// Choose it by what a connection costs (descriptors, memory), so that the limit is met before the system's are.
    /// Where the runtime has a limit, too ([`max_coroutines`](withy_runtime::RuntimeBuilder::max_coroutines)), stay some below it: a handler counts as
    /// ended a little before its coroutine's place is free.
    ///
    /// # Panics
    ///
    /// If it is zero.
    pub fn connections_max(mut self, connections_max: usize) -> Server {
        assert!(
            connections_max > 0,
            "got a limit of no connection, expected one at least: nobody would ever be served"
        );
        self.settings.connections_max = connections_max.min(Semaphore::MAX_PERMITS);
        self
    }

    /// Limits each wait of a handler for its peer's bytes, and for room for its own.
    ///
    /// It sets the stream's read and write timeouts before the handler is called, which may change them. A read or write
    /// that waits for longer fails with `WouldBlock`, as std has it; a handler that returns that error, as `?` does,
    /// counts as [timed out](Summary::timed_out). The handler learns of it, so it can say good-bye.
    ///
    /// It is about silence in one direction. A peer that sends a byte now and then is not silent: to bound a whole
    /// request use a [deadline](crate::TcpStream::set_read_deadline) or `withy::timeout`. And where one coroutine waits
    /// for bytes that need not come while another one writes (a chat), set the timeouts in the handler.
    ///
    /// # Panics
    ///
    /// If it is zero.
    pub fn idle_timeout(mut self, limit: Duration) -> Server {
        assert!(
            !limit.is_zero(),
            "got an idle timeout of zero, expected a positive duration"
        );
        self.settings.idle = Some(limit);
        self
    }

    /// Ends the server when `close` is cancelled.
    ///
    /// Then it accepts no more and closes its listeners: who connects from now on is refused, and who is in the backlog is reset
    /// by the kernel. Handlers go on until they end, or until the
    /// [drain timeout](Server::drain_timeout). So that those end soon which only wait for another request, let
    /// them look at the token, too:
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; pub use withy_runtime::CancelToken; }
    /// use std::io::{self, BufRead, BufReader, Write};
    /// use withy::CancelToken;
    /// use withy::net::TcpStream;
    ///
    /// fn handle(stream: TcpStream, close: &CancelToken) -> io::Result<()> {
    ///     let mut requests = BufReader::new(&stream);
    ///     let mut request = String::new();
    ///     // Interrupted only while it waits for a request, not while it answers one.
    ///     while let Ok(read) = close.run(|| requests.read_line(&mut request)) {
    ///         if read? == 0 {
    ///             break;
    ///         }
    ///         (&stream).write_all(request.as_bytes())?;
    ///         request.clear();
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub fn until(mut self, close: &CancelToken) -> Server {
        self.close = close.clone();
        self
    }

    /// How long handlers may go on after [`until`](Server::until)'s token was cancelled or the listener has failed: 30 s
    /// unless set. Those that are left are cut off then: they unwind at their current or next wait, and are waited for. Zero
    /// cuts them off at once; [`Duration::MAX`] never.
    pub fn drain_timeout(mut self, limit: Duration) -> Server {
        self.settings.drain = limit;
        self
    }

    /// Cuts everything off when `cut` is cancelled, without a drain or in the middle of it: for a second Ctrl-C.
    pub fn cut_by(mut self, cut: &CancelToken) -> Server {
        // Its own: at the end of the drain it cancels that, and not the user's.
        self.cut = cut.child();
        self
    }

    /// How long those in the backlog may hope for a descriptor: 1 s unless set.
    ///
    /// When descriptors run out (`EMFILE`, `ENFILE`) the server pauses for 5 ms, 10 ms, … up to 1 s between attempts,
    /// or until one of its own connections ends. If nothing could be accepted for so long, it turns those who wait away,
    /// by the means of a descriptor that it has kept for it: they are reset, and [counted](Summary::shed), rather than
    /// left hanging. [`Duration::ZERO`] turns away at once, [`Duration::MAX`] never. When memory runs out (`ENOMEM`,
    /// `ENOBUFS`) it only pauses.
    ///
    /// Such an episode is logged once (`withy::net`, level warn).
    pub fn patience(mut self, patience: Duration) -> Server {
        self.settings.patience = patience;
        self
    }

    /// Bytes of each handler's stack, as `withy::Builder::stack_size` takes them.
    pub fn stack_size(mut self, bytes: usize) -> Server {
        self.settings.stack_size = Some(bytes);
        self
    }

    /// Calls `hook` with the peer and the payload when a handler has panicked, instead of logging it (`withy::net`, level
    /// error). The connection is closed by then. The process's own panic hook has run before, as always.
    pub fn on_panic(
        mut self,
        hook: impl Fn(&dyn Debug, &(dyn Any + Send)) + Send + Sync + 'static,
    ) -> Server {
        self.settings.on_panic = Some(Arc::new(hook));
        self
    }

    /// What the server has done so far; to be read while it serves.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters.clone()
    }

    /// Serves until the [token](Server::until) is cancelled and all connections have ended, and sums it up.
    ///
    /// `handler` is called in a coroutine for each connection, with its peer. It returns nothing or a `Result`; an error
    /// is counted, and logged (`withy::net`, level debug). It may borrow what outlives the call. Dropping the connection
    /// closes it, as returning from the handler usually does.
    ///
    /// From a plain thread, the coroutines are the default runtime's.
    ///
    /// # Errors
    ///
    /// That of a listener which cannot accept any more: it is no listener (`EINVAL`), or past its accept deadline
    /// (`TimedOut`). The connections are drained before. `InvalidInput` if a stack cannot have the size that was asked for.
    ///
    /// # Cancellation
    ///
    /// A blocking call: it unwinds if the coroutine is cancelled, or a timeout around it elapses. The handlers are cut
    /// off then, without a drain, and have ended when it unwinds.
    ///
    /// # Panics
    ///
    /// If there is no memory to start with. If a listener does: the other listeners are closed and the handlers cut off
    /// before.
    ///
    /// # Examples
    ///
    /// See [`Server`].
    pub fn serve<L, H, O>(self, listener: L, handler: H) -> io::Result<Summary>
    where
        L: Listener,
        H: Fn(L::Connection, L::Peer) -> O + Sync,
        O: Outcome,
    {
        self.serve_each([listener], handler)
    }

    /// [`serve`](Server::serve) with several listeners, each with an accept loop on a worker of its own as far as there
    /// are enough: for several addresses, or for one that is [bound once for each
    /// worker](crate::TcpListener::bind_per_worker). Limits and counters are for all of them together.
    ///
    /// # Errors
    ///
    /// As [`serve`](Server::serve): the first listener that fails ends the server. `InvalidInput` if there are none.
    ///
    /// # Cancellation
    ///
    /// As [`serve`](Server::serve).
    ///
    /// # Panics
    ///
    /// As [`serve`](Server::serve).
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; pub use withy_runtime::{CancelToken, spawn}; }
    /// use withy::net::{Server, TcpListener, TcpStream};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let listeners = [TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?];
    /// let addresses = [listeners[0].local_addr()?, listeners[1].local_addr()?];
    /// let close = withy::CancelToken::new();
    /// let server = withy::spawn({
    ///     let server = Server::new().until(&close);
    ///     move || server.serve_each(listeners, |_stream, _peer| ())
    /// });
    /// for address in addresses {
    ///     let mut stream = TcpStream::connect(address)?;
    ///     assert_eq!(std::io::Read::read(&mut stream, &mut [0])?, 0);
    /// }
    /// close.cancel();
    /// assert_eq!(server.join().unwrap()?.finished, 2);
    /// # Ok(())
    /// # }
    /// ```
    pub fn serve_each<L, H, O>(
        self,
        listeners: impl IntoIterator<Item = L>,
        handler: H,
    ) -> io::Result<Summary>
    where
        L: Listener,
        H: Fn(L::Connection, L::Peer) -> O + Sync,
        O: Outcome,
    {
        let listeners: Vec<L> = listeners.into_iter().collect();
        if listeners.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "got no listeners, expected one at least",
            ));
        }
        let Server {
            settings,
            counters,
            close,
            cut,
        } = self;
        let hall = Hall::new(settings, counters, &close, cut);
        let handler = &handler;
        withy_runtime::run(|| scope(|connections| hall.open(listeners, handler, connections)))?;
        hall.close_down()
    }
}

impl Default for Server {
    fn default() -> Server {
        Server::new()
    }
}

impl Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("connections_max", &self.settings.connections_max)
            .field("idle_timeout", &self.settings.idle)
            .field("drain_timeout", &self.settings.drain)
            .field("patience", &self.settings.patience)
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}
