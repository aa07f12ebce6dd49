//! A reactor: one thread waits for many sockets, and calls back whatever is ready. What several models share: they differ in
//! who runs how many of these, and from where they get connections.
//!
//! Each connection is a [`Machine`] with its sockets. When one of them may be ready the connection does all that it can without
//! waiting, and says what it waits for next. So it does not matter whether the poller tells of changes (epoll,
//! edge-triggered) or of states (select, poll).

use std::io::{self, Read, Write};
use std::mem;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

use slab::Slab;
use socket2::{Domain, Protocol, Socket, Type};

use crate::protocol::machine::{Machine, Next, Outbox, Side};
use crate::protocol::{BUFFER_BYTES, Service};
use crate::server::{ACCEPT_PAUSE, Verdict, verdict};

/// By what a reactor waits.
pub(crate) trait Poller {
    fn add(&mut self, fd: RawFd, token: usize, interest: Interest) -> io::Result<()>;

    /// What is ready already is told, too.
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

/// A socket that may be ready.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ready {
    pub(crate) token: usize,
    /// It has failed, or was reset.
    pub(crate) is_broken: bool,
}

pub(crate) const READS: Interest = Interest {
    reads: true,
    writes: false,
};

const LISTENER: usize = usize::MAX;
/// The first token that means no socket of a connection; those above are for the owner of the reactor.
pub(crate) const RESERVED: usize = usize::MAX - 16;

/// What one connection may do before it is another's turn, in reads.
const READS_IN_A_ROW_MAX: usize = 16;

/// A client that does not read is not read from, either.
const UNSENT_BYTES_MAX: usize = 4 * BUFFER_BYTES;

pub(crate) struct Reactor<P> {
    pub(crate) poller: P,
    service: Service,
    connections: Slab<Connection>,
    listener: Option<TcpListener>,
    /// The system has nothing for more connections: nobody is accepted until then.
    accepts_at: Option<Instant>,
    ready: Vec<Ready>,
    wasted: u64,
}

impl<P: Poller> Reactor<P> {
    pub(crate) fn new(poller: P, service: Service) -> Reactor<P> {
        Reactor {
            poller,
            service,
            connections: Slab::new(),
            listener: None,
            accepts_at: None,
            ready: Vec::new(),
            wasted: 0,
        }
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

    /// Takes over a connection that was accepted.
    pub(crate) fn adopt(&mut self, client: TcpStream) -> io::Result<()> {
        client.set_nonblocking(true)?;
        client.set_nodelay(true)?;
        let place = self.connections.vacant_entry();
        let token = place.key() * 2;
        self.poller.add(client.as_raw_fd(), token, READS)?;
        place.insert(Connection::new(client, self.service));
        Ok(())
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
    pub(crate) fn turn(&mut self, mut other: impl FnMut(usize)) -> io::Result<()> {
        let timeout = self
            .accepts_at
            .map(|at| at.saturating_duration_since(Instant::now()));
        let mut ready = mem::take(&mut self.ready);
        self.poller.wait(&mut ready, timeout)?;
        if self.accepts_at.is_some_and(|at| at <= Instant::now()) {
            self.accepts_at = None;
            self.accept()?;
        }
        for one in ready.drain(..) {
            match one.token {
                LISTENER => self.accept()?,
                token if token >= RESERVED => other(token),
                token => self.serve(token, one.is_broken)?,
            }
        }
        self.ready = ready;
        Ok(())
    }

    fn accept(&mut self) -> io::Result<()> {
        let mut is_first = true;
        while let Some(listener) = &self.listener {
            let error = match listener.accept() {
                Ok((client, _)) => {
                    self.adopt(client)?;
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

    fn serve(&mut self, token: usize, is_broken: bool) -> io::Result<()> {
        let place = token / 2;
        // It may have ended in the same turn, by its other socket; or another may have its place: that one only looks in vain.
        let Some(connection) = self.connections.get_mut(place) else {
            return Ok(());
        };
        if !is_broken
            && connection
                .go_on(&mut self.poller, place * 2)
                .unwrap_or(false)
        {
            return Ok(());
        }
        let connection = self.connections.remove(place);
        connection.leave(&mut self.poller)
    }
}

/// One client, and perhaps its connection to the downstream server.
struct Connection {
    client: Peer,
    downstream: Option<Peer>,
    downstream_addr: Option<SocketAddr>,
    machine: Machine,
    out: Outbox,
    is_closing: bool,
}

struct Peer {
    stream: TcpStream,
    interest: Interest,
}

impl Connection {
    fn new(client: TcpStream, service: Service) -> Connection {
        let downstream_addr = match service {
            Service::Echo => None,
            Service::Session { downstream } => Some(downstream),
        };
        Connection {
            client: Peer {
                stream: client,
                interest: READS,
            },
            downstream: None,
            downstream_addr,
            machine: Machine::new(downstream_addr.is_some()),
            out: Outbox::default(),
            is_closing: false,
        }
    }

    /// Does what can be done without waiting. False: it has come to its end.
    fn go_on(&mut self, poller: &mut impl Poller, token: usize) -> io::Result<bool> {
        let mut is_busy = true;
        for _ in 0..READS_IN_A_ROW_MAX {
            self.flush()?;
            if self.is_closing && self.out.client.is_empty() {
                return Ok(false);
            }
            is_busy = self.read(Side::Client, poller, token)?
                | self.read(Side::Downstream, poller, token)?;
            if !is_busy {
                break;
            }
        }
        self.flush()?;
        if self.is_closing && self.out.client.is_empty() {
            return Ok(false);
        }
        self.tell(poller, token, is_busy)?;
        Ok(true)
    }

    fn wants(&self, side: Side) -> bool {
        match side {
            _ if self.is_closing => false,
            Side::Client => self.machine.wants_client() && self.out.client.len() < UNSENT_BYTES_MAX,
            Side::Downstream => self.downstream.is_some(),
        }
    }

    /// Reads once, if that is wanted. Whether there was something.
    fn read(&mut self, side: Side, poller: &mut impl Poller, token: usize) -> io::Result<bool> {
        if !self.wants(side) {
            return Ok(false);
        }
        let mut buf = [0; BUFFER_BYTES];
        let peer = match side {
            Side::Client => Some(&self.client),
            Side::Downstream => self.downstream.as_ref(),
        };
        let Some(length) = peer.map_or(Ok(None), |peer| ready((&peer.stream).read(&mut buf)))?
        else {
            return Ok(false);
        };
        match self.machine.received(side, &buf[..length], &mut self.out)? {
            Next::Continue => {}
            Next::Connect => self.connect(poller, token + 1)?,
            Next::Close => self.is_closing = true,
        }
        Ok(true)
    }

    fn connect(&mut self, poller: &mut impl Poller, token: usize) -> io::Result<()> {
        if let Some(addr) = self.downstream_addr {
            let stream = begin_to_connect(addr)?;
            // Both: until it is connected, reads and writes would block.
            let interest = Interest {
                reads: true,
                writes: true,
            };
            poller.add(stream.as_raw_fd(), token, interest)?;
            self.downstream = Some(Peer { stream, interest });
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        send(&self.client.stream, &mut self.out.client)?;
        match &self.downstream {
            Some(downstream) => send(&downstream.stream, &mut self.out.downstream),
            None => Ok(()),
        }
    }

    /// Tells the poller what is waited for. `again`: and what is ready already.
    fn tell(&mut self, poller: &mut impl Poller, token: usize, again: bool) -> io::Result<()> {
        let client = Interest {
            reads: self.wants(Side::Client),
            writes: !self.out.client.is_empty(),
        };
        let downstream = Interest {
            reads: self.wants(Side::Downstream),
            writes: !self.out.downstream.is_empty(),
        };
        self.client.tell(poller, token, client, again)?;
        match &mut self.downstream {
            Some(peer) => peer.tell(poller, token + 1, downstream, again),
            None => Ok(()),
        }
    }

    fn leave(self, poller: &mut impl Poller) -> io::Result<()> {
        poller.remove(self.client.stream.as_raw_fd())?;
        match self.downstream {
            Some(downstream) => poller.remove(downstream.stream.as_raw_fd()),
            None => Ok(()),
        }
    }
}

impl Peer {
    fn tell(
        &mut self,
        poller: &mut impl Poller,
        token: usize,
        interest: Interest,
        again: bool,
    ) -> io::Result<()> {
        if again || interest != self.interest {
            poller.change(self.stream.as_raw_fd(), token, interest)?;
            self.interest = interest;
        }
        Ok(())
    }
}

/// Sends what the kernel takes.
fn send(mut stream: &TcpStream, bytes: &mut Vec<u8>) -> io::Result<()> {
    let mut sent = 0;
    while sent < bytes.len() {
        match ready(stream.write(&bytes[sent..]))? {
            Some(length) => sent += length,
            None => break,
        }
    }
    bytes.drain(..sent);
    Ok(())
}

/// `None`: it would block.
fn ready(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(length) => Ok(Some(length)),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected
            ) =>
        {
            Ok(None)
        }
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(None),
        Err(error) => Err(error),
    }
}

fn begin_to_connect(addr: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(
        Domain::for_address(addr),
        Type::STREAM.nonblocking(),
        Some(Protocol::TCP),
    )?;
    socket.set_tcp_nodelay(true)?;
    match socket.connect(&addr.into()) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
        _ => Ok(socket.into()),
    }
}
