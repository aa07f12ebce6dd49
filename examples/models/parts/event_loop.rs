//! A reactor: one thread waits for many sockets, and calls back whatever is ready. What several models share: they differ in
//! who runs how many of these, and from where they get connections.
//!
//! What is done then is up to [`Serves`]: callbacks in the same thread, or messages to others.

use std::io;
use std::mem;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

use rustix::net::SocketFlags;
use slab::Slab;

use crate::parts::callbacks::Callbacks;
use crate::protocol::Service;
use crate::protocol::machine::Side;
use crate::server::{ACCEPT_PAUSE, Verdict, take, verdict};

/// By what a reactor waits.
pub(crate) trait Poller {
    /// It tells once of each change, and not in each turn of what is so (edge-triggered).
    const TELLS_OF_CHANGES: bool;

    fn add(&mut self, fd: RawFd, token: usize, interest: Interest) -> io::Result<()>;

    /// What is ready already is told, too. An interest in nothing is for those that do not tell of changes.
    fn change(&mut self, fd: RawFd, token: usize, interest: Interest) -> io::Result<()>;

    fn remove(&mut self, fd: RawFd) -> io::Result<()>;

    /// Waits until something is ready, or until the time is over.
    fn wait(&mut self, ready: &mut Vec<Ready>, timeout: Option<Duration>) -> io::Result<()>;
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Interest {
    pub(crate) reads: bool,
    pub(crate) writes: bool,
}

impl Interest {
    pub(crate) fn and(self, other: Interest) -> Interest {
        Interest {
            reads: self.reads || other.reads,
            writes: self.writes || other.writes,
        }
    }
}

/// A socket that may be ready.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ready {
    pub(crate) token: usize,
    /// There may be something to be read.
    pub(crate) reads: bool,
    /// And behind that the end, or urgent data. Only from those that tell of changes.
    pub(crate) is_ending: bool,
    /// It has failed, or was reset.
    pub(crate) is_broken: bool,
}

impl Ready {
    pub(crate) fn side(self) -> Side {
        match self.token % 2 {
            0 => Side::Client,
            _ => Side::Downstream,
        }
    }
}

pub(crate) const READS: Interest = Interest {
    reads: true,
    writes: false,
};

const LISTENER: usize = usize::MAX;
/// The first token that means no socket of a connection; those above are for the owner of the reactor.
pub(crate) const RESERVED: usize = usize::MAX - 16;

/// What a reactor does with its connections.
pub(crate) trait Serves {
    type Connection;

    /// What a client's socket is watched for at first.
    const INTEREST: Interest = READS;

    /// For a client whose socket is watched from now on. The connection will be at that place, see [`Reactor::resume`].
    fn begin(&mut self, client: TcpStream, place: usize) -> Self::Connection;

    /// Does what can be done without waiting. False, or an error: the connection has come to its end.
    fn go_on(
        &mut self,
        connection: &mut Self::Connection,
        poller: &mut impl Poller,
        waked: Waked,
    ) -> io::Result<bool>;

    /// Watches its sockets no more, and closes them.
    fn leave(&mut self, connection: Self::Connection, poller: &mut impl Poller) -> io::Result<()>;
}

/// What a connection is told when it is its turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waked {
    /// Where the reactor keeps the connection, as [`Reactor::resume`] takes it.
    pub(crate) place: usize,
    /// What the poller says of one of its sockets. It may be late, and of a connection that had the place before.
    pub(crate) told: Option<Ready>,
}

impl Waked {
    /// Its client's socket has this token, its other one the next.
    pub(crate) fn token(self) -> usize {
        self.place * 2
    }
}

pub(crate) struct Reactor<P, S: Serves = Callbacks> {
    pub(crate) poller: P,
    pub(crate) serves: S,
    connections: Slab<S::Connection>,
    /// More of them wait in the kernel's queue.
    connections_max: usize,
    listener: Option<TcpListener>,
    /// The system has nothing for more connections: nobody is accepted until then.
    accepts_at: Option<Instant>,
    ready: Vec<Ready>,
    wasted: u64,
}

impl<P: Poller> Reactor<P> {
    /// One that serves by callbacks.
    pub(crate) fn new(poller: P, service: Service) -> Reactor<P> {
        Reactor::with(poller, Callbacks::new(service))
    }
}

impl<P: Poller, S: Serves> Reactor<P, S> {
    pub(crate) fn with(poller: P, serves: S) -> Reactor<P, S> {
        Reactor {
            poller,
            serves,
            connections: Slab::new(),
            connections_max: usize::MAX,
            listener: None,
            accepts_at: None,
            ready: Vec::new(),
            wasted: 0,
        }
    }

    /// At most so many connections at once. For pollers that tell of changes.
    pub(crate) fn limit(&mut self, connections_max: usize) {
        self.connections_max = connections_max;
    }

    /// From now on it accepts by itself.
    pub(crate) fn listen(&mut self, listener: TcpListener) -> io::Result<()> {
        self.listen_by(listener, |poller, fd, token| poller.add(fd, token, READS))
    }

    /// The same, but `watch` tells the poller: of that descriptor, and by which token.
    pub(crate) fn listen_by(
        &mut self,
        listener: TcpListener,
        watch: impl FnOnce(&mut P, RawFd, usize) -> io::Result<()>,
    ) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        watch(&mut self.poller, listener.as_raw_fd(), LISTENER)?;
        self.listener = Some(listener);
        Ok(())
    }

    /// Takes over a connection that was accepted, and is non-blocking. One that the poller cannot watch is refused.
    pub(crate) fn adopt(&mut self, client: TcpStream) {
        let entry = self.connections.vacant_entry();
        let place = entry.key();
        match self.poller.add(client.as_raw_fd(), place * 2, S::INTEREST) {
            Ok(()) => {
                entry.insert(self.serves.begin(client, place));
            }
            Err(error) => log::warn!("a connection is refused: {error}"),
        }
    }

    /// Whether there is anything left to wait for.
    pub(crate) fn is_idle(&self) -> bool {
        self.listener.is_none() && self.connections.is_empty()
    }

    /// How often the listener was ready, and then there was nobody: another had been faster.
    pub(crate) fn wasted(&self) -> u64 {
        self.wasted
    }

    /// Until the listener was shut down and the last connection has ended.
    pub(crate) fn run(&mut self) -> io::Result<()> {
        while !self.is_idle() {
            self.turn(|_| {})?;
        }
        Ok(())
    }

    /// Waits once, and serves what is ready. Tokens that are the owner's go to `other`.
    pub(crate) fn turn(&mut self, other: impl FnMut(usize)) -> io::Result<()> {
        let until_accept = |at: Instant| at.saturating_duration_since(Instant::now());
        let timeout = self.accepts_at.map(until_accept);
        self.turn_within(timeout, other)
    }

    /// As [`Reactor::turn`], but does not wait.
    pub(crate) fn look(&mut self, other: impl FnMut(usize)) -> io::Result<()> {
        self.turn_within(Some(Duration::ZERO), other)
    }

    fn turn_within(
        &mut self,
        timeout: Option<Duration>,
        mut other: impl FnMut(usize),
    ) -> io::Result<()> {
        let mut ready = mem::take(&mut self.ready);
        self.poller.wait(&mut ready, timeout)?;
        if self.accepts_at.is_some_and(|at| at <= Instant::now()) {
            self.accepts_at = None;
            self.watch_listener(READS)?;
            self.accept()?;
        }
        for one in ready.drain(..) {
            match one.token {
                LISTENER => self.accept()?,
                token if token >= RESERVED => other(token),
                token => self.serve(token / 2, Some(one))?,
            }
        }
        self.ready = ready;
        Ok(())
    }

    fn accept(&mut self) -> io::Result<()> {
        let mut is_first = true;
        while let Some(listener) = &self.listener {
            if self.connections.len() >= self.connections_max {
                // Until one has ended.
                break;
            }
            let error = match take(listener, SocketFlags::NONBLOCK) {
                Ok(client) => {
                    self.adopt(client);
                    is_first = false;
                    continue;
                }
                Err(error) => error,
            };
            match verdict(&error) {
                _ if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wasted += u64::from(is_first);
                    break;
                }
                Verdict::Again => {}
                Verdict::Later => {
                    self.accepts_at = Some(Instant::now() + ACCEPT_PAUSE);
                    self.watch_listener(Interest::default())?;
                    break;
                }
                Verdict::Stop => {
                    self.poller.remove(listener.as_raw_fd())?;
                    self.listener = None;
                }
                Verdict::Fail => return Err(error),
            }
        }
        Ok(())
    }

    /// A poller that tells of states would tell of the listener in each turn while nobody is accepted.
    fn watch_listener(&mut self, interest: Interest) -> io::Result<()> {
        match &self.listener {
            Some(listener) if !P::TELLS_OF_CHANGES => {
                self.poller.change(listener.as_raw_fd(), LISTENER, interest)
            }
            _ => Ok(()),
        }
    }

    /// Changes a connection, and lets it go on.
    pub(crate) fn resume(
        &mut self,
        place: usize,
        change: impl FnOnce(&mut S::Connection),
    ) -> io::Result<()> {
        if let Some(connection) = self.connections.get_mut(place) {
            change(connection);
        }
        self.serve(place, None)
    }

    fn serve(&mut self, place: usize, told: Option<Ready>) -> io::Result<()> {
        // It may have ended in the same turn, by its other socket; or another may have its place: that one only looks in vain.
        let Some(connection) = self.connections.get_mut(place) else {
            return Ok(());
        };
        let waked = Waked { place, told };
        let goes_on = self.serves.go_on(connection, &mut self.poller, waked);
        if goes_on.unwrap_or(false) {
            return Ok(());
        }
        let was_full = self.connections.len() == self.connections_max;
        let connection = self.connections.remove(place);
        self.serves.leave(connection, &mut self.poller)?;
        if was_full { self.accept() } else { Ok(()) }
    }
}
