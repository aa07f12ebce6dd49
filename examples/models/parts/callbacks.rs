//! A connection that is called back: a [`Machine`] with its sockets. When one of them may be ready it does all that it can
//! without waiting, and says what it waits for next. So it does not matter whether the poller tells of changes (epoll,
//! edge-triggered) or of states (select, poll).

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;

use socket2::{Domain, Protocol, Socket, Type};

use crate::parts::event_loop::{Interest, Poller, READS, Ready, Serves, Waked};
use crate::parts::input::{Input, has_failed};
use crate::protocol::machine::{Machine, Next, Outbox, Side};
use crate::protocol::{BUFFER_BYTES, Service};

/// What one connection may do before it is another's turn, in reads.
const READS_IN_A_ROW_MAX: usize = 16;

/// A client that does not read is not read from, either.
pub(crate) const UNSENT_BYTES_MAX: usize = 4 * BUFFER_BYTES;

/// Serves connections by callbacks, in the thread of the reactor.
pub(crate) struct Callbacks {
    service: Service,
    /// What is read comes here first: nothing of it is kept for a connection.
    buf: Box<[u8]>,
}

impl Callbacks {
    pub(crate) fn new(service: Service) -> Callbacks {
        Callbacks {
            service,
            buf: vec![0; BUFFER_BYTES].into(),
        }
    }
}

impl Serves for Callbacks {
    type Connection = Connection;

    fn begin(&mut self, client: TcpStream, _: usize) -> Connection {
        Connection::new(client, self.service)
    }

    fn go_on(
        &mut self,
        connection: &mut Connection,
        poller: &mut impl Poller,
        waked: Waked,
    ) -> io::Result<bool> {
        match waked.told {
            Some(told) if !connection.note(told) => Ok(false),
            _ => connection.go_on(poller, waked.token(), &mut self.buf),
        }
    }

    fn leave(&mut self, connection: Connection, poller: &mut impl Poller) -> io::Result<()> {
        connection.leave(poller)
    }
}

/// One client, and perhaps its connection to the downstream server.
pub(crate) struct Connection {
    client: Peer,
    downstream: Option<Peer>,
    downstream_addr: Option<SocketAddr>,
    machine: Machine,
    out: Outbox,
    is_closing: bool,
}

/// A socket, what is known of it, and what is waited for on it.
pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
    input: Input,
    interest: Interest,
}

impl Connection {
    pub(crate) fn new(client: TcpStream, service: Service) -> Connection {
        let downstream_addr = match service {
            Service::Echo => None,
            Service::Session { downstream } => Some(downstream),
        };
        Connection {
            client: Peer::client(client),
            downstream: None,
            downstream_addr,
            machine: Machine::new(downstream_addr.is_some()),
            out: Outbox::default(),
            is_closing: false,
        }
    }

    /// Notes what a poller says of one of its sockets. False: that one has failed.
    pub(crate) fn note(&mut self, told: Ready) -> bool {
        let peer = match told.side() {
            Side::Client => Some(&mut self.client),
            Side::Downstream => self.downstream.as_mut(),
        };
        peer.is_none_or(|peer| peer.note(told))
    }

    /// Does what can be done without waiting; `buf` is for what is read. False: it has come to its end.
    pub(crate) fn go_on(
        &mut self,
        poller: &mut impl Poller,
        token: usize,
        buf: &mut [u8],
    ) -> io::Result<bool> {
        let mut is_busy = true;
        for _ in 0..READS_IN_A_ROW_MAX {
            self.flush()?;
            if self.is_closing && self.out.client.is_empty() {
                return Ok(false);
            }
            is_busy = self.read(Side::Client, poller, token, buf)?
                | self.read(Side::Downstream, poller, token, buf)?;
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
    fn read(
        &mut self,
        side: Side,
        poller: &mut impl Poller,
        token: usize,
        buf: &mut [u8],
    ) -> io::Result<bool> {
        if !self.wants(side) {
            return Ok(false);
        }
        let peer = match side {
            Side::Client => Some(&mut self.client),
            Side::Downstream => self.downstream.as_mut(),
        };
        let Some(length) = peer.map_or(Ok(None), |peer| peer.receive(buf))? else {
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
            self.downstream = Some(Peer::connect(addr, poller, token)?);
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

    pub(crate) fn leave(self, poller: &mut impl Poller) -> io::Result<()> {
        poller.remove(self.client.stream.as_raw_fd())?;
        match self.downstream {
            Some(downstream) => poller.remove(downstream.stream.as_raw_fd()),
            None => Ok(()),
        }
    }
}

impl Peer {
    /// The client's, which the reactor has begun to watch.
    pub(crate) fn client(stream: TcpStream) -> Peer {
        Peer {
            stream,
            input: Input::default(),
            interest: READS,
        }
    }

    /// Begins to connect to the downstream server.
    pub(crate) fn connect(
        addr: SocketAddr,
        poller: &mut impl Poller,
        token: usize,
    ) -> io::Result<Peer> {
        let stream = begin_to_connect(addr)?;
        // Both: until it is connected, reads and writes would block.
        let interest = Interest {
            reads: true,
            writes: true,
        };
        poller.add(stream.as_raw_fd(), token, interest)?;
        Ok(Peer {
            stream,
            input: Input::default(),
            interest,
        })
    }

    /// Notes what a poller says of it. False: it has failed.
    pub(crate) fn note(&mut self, told: Ready) -> bool {
        self.input.note(told);
        !has_failed(&self.stream, told)
    }

    /// Whether there may be something to be read.
    pub(crate) fn has_input(&self) -> bool {
        self.input.is_ready()
    }

    /// What is there, and fits; `None`: nothing yet.
    pub(crate) fn receive(&mut self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        self.input.read(&self.stream, buf)
    }

    fn tell<P: Poller>(
        &mut self,
        poller: &mut P,
        token: usize,
        interest: Interest,
        again: bool,
    ) -> io::Result<()> {
        let interest = match P::TELLS_OF_CHANGES {
            // What was asked for once stays: to be told in vain costs less than to take it back, and ask again.
            true => interest.and(self.interest),
            false => interest,
        };
        if again || interest != self.interest {
            poller.change(self.stream.as_raw_fd(), token, interest)?;
            self.interest = interest;
        }
        Ok(())
    }
}

/// Sends what the kernel takes.
pub(crate) fn send(mut stream: &TcpStream, bytes: &mut Vec<u8>) -> io::Result<()> {
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
pub(crate) fn ready(result: io::Result<usize>) -> io::Result<Option<usize>> {
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
