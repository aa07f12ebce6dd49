//! A `Server` that runs beside a test.

use std::io::{self, Read, Write};
use std::net::SocketAddr;

use withy::CancelToken;
use withy::net::{Counters, Outcome, Server, Summary, TcpListener, TcpStream};

use super::places::{Client, Place};
use super::until;
use crate::support::{Caller, Case};

pub(crate) struct Serving<P: Place = TcpListener> {
    pub(crate) address: P::Address,
    pub(crate) counters: Counters,
    /// Tells it to end.
    pub(crate) close: CancelToken,
    /// Tells it to end at once.
    pub(crate) cut: CancelToken,
    _address: P::Keeper,
    server: Caller<io::Result<Summary>>,
}

impl Serving {
    /// Starts a server, as `configure` makes it, on a port of its own. It is called by a caller of this case's sort.
    pub(crate) fn start<O: Outcome>(
        case: &Case,
        configure: impl FnOnce(Server) -> Server,
        handler: impl Fn(TcpStream, SocketAddr) -> O + Send + Sync + 'static,
    ) -> Serving {
        Serving::start_at(case, configure, handler)
    }
}

impl<P: Place> Serving<P> {
    /// The same for any place.
    pub(crate) fn start_at<O: Outcome>(
        case: &Case,
        configure: impl FnOnce(Server) -> Server,
        handler: impl Fn(P::Connection, P::Peer) -> O + Send + Sync + 'static,
    ) -> Serving<P> {
        let (listener, address, keeper) = P::open();
        let (close, cut) = (CancelToken::new(), CancelToken::new());
        let server = configure(Server::new().until(&close).cut_by(&cut));
        let counters = server.counters();
        Serving {
            address,
            counters,
            close,
            cut,
            _address: keeper,
            server: case.spawn(move || server.serve(listener, handler)),
        }
    }

    pub(crate) fn connect(&self) -> P::Client {
        P::connect(P::client(), &self.address)
    }

    /// A client that has been answered once, so its handler runs.
    pub(crate) fn connect_and_ask(&self) -> P::Client {
        let client = self.connect();
        ask(&client);
        client
    }

    /// Waits until the counters say so.
    pub(crate) fn until(&self, condition: impl Fn(Summary) -> bool) {
        until(|| condition(self.counters.read()));
    }

    /// Tells it to close, and waits for its end.
    pub(crate) fn close(self) -> Summary {
        self.close.cancel();
        self.join()
    }

    pub(crate) fn join(self) -> Summary {
        let summary = self.server.join().expect("the listener does not fail");
        assert_eq!(self.counters.read(), summary);
        assert_is_whole(summary);
        summary
    }
}

/// Nobody is left, and each connection is counted once.
pub(crate) fn assert_is_whole(summary: Summary) {
    let ended = summary.finished
        + summary.failed
        + summary.timed_out
        + summary.panicked
        + summary.cut
        + summary.shed;
    assert_eq!(
        (summary.active, ended),
        (0, summary.accepted),
        "{summary:?}"
    );
}

/// Echoes until the end of the stream.
pub(crate) fn echo(mut stream: impl Read + Write) -> io::Result<()> {
    let mut buf = [0; 4096];
    loop {
        let n = stream.read(&mut buf)?;
        if n == 0 {
            return Ok(());
        }
        stream.write_all(&buf[..n])?;
    }
}

/// One request of an echo server, answered.
pub(crate) fn ask(client: &impl Client) {
    let mut client = client.io();
    let mut answer = [0; 6];
    client.write_all(b"there?").expect("the server reads");
    client.read_exact(&mut answer).expect("the server answers");
    assert_eq!(&answer, b"there?");
}

/// Waits for the end of what the server sends; an end by reset is one, too.
pub(crate) fn read_to_end(client: &impl Client) -> Vec<u8> {
    let mut rest = Vec::new();
    match client.io().read_to_end(&mut rest) {
        Err(error) if error.kind() != io::ErrorKind::ConnectionReset => panic!("{error}"),
        _ => rest,
    }
}
