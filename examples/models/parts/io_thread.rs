//! One thread that does all I/O of both sockets of each connection, for logic that runs elsewhere. What several models share: they
//! differ in how the logic gets what has arrived, and who runs it, see [`Logic`].
//!
//! What has arrived on a side is answered before more is read from there. So there are two messages for a connection under
//! way at most, and a slow one is held up where it comes from.

use std::io;
use std::mem;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;

use crate::parts::callbacks::{Peer, UNSENT_BYTES_MAX, send};
use crate::parts::event_loop::{Interest, Poller, Ready, Serves, Waked};
use crate::protocol::Service;
use crate::protocol::machine::{Next, Outbox, Side};

/// The way to where the logic runs.
pub(crate) trait Logic {
    /// What is kept for a connection.
    type Handle;

    fn begin(&mut self, place: usize) -> Self::Handle;

    /// Where the next bytes are to be read to. None: there is no room now; see [`IoThread::take_starved`].
    fn buffer(&mut self) -> Option<&mut [u8]>;

    /// So many bytes were read to the buffer; none are the end of that side. There will be an [`Answer`] to it.
    fn arrived(&mut self, handle: &Self::Handle, place: usize, side: Side, length: usize);

    /// There is nothing under way.
    fn end(&mut self, handle: Self::Handle, place: usize);
}

/// What the logic says to what has arrived.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) place: usize,
    /// Where it had arrived.
    pub(crate) side: Side,
    pub(crate) out: Outbox,
    /// None: it made no sense, both sockets are to be closed.
    pub(crate) next: Option<Next>,
    pub(crate) wants_client: bool,
}

pub(crate) struct IoThread<L> {
    pub(crate) logic: L,
    downstream: Option<SocketAddr>,
    /// Whose turn it is as soon as there is room, in this order.
    starved: Vec<usize>,
}

impl<L: Logic> IoThread<L> {
    pub(crate) fn new(service: Service, logic: L) -> IoThread<L> {
        IoThread {
            logic,
            downstream: match service {
                Service::Echo => None,
                Service::Session { downstream } => Some(downstream),
            },
            starved: Vec::new(),
        }
    }

    /// Places of connections for which there was no room. They are to be resumed, in this order, and [`fed`](Connection::fed).
    pub(crate) fn take_starved(&mut self) -> Vec<usize> {
        mem::take(&mut self.starved)
    }

    pub(crate) fn has_starved(&self) -> bool {
        !self.starved.is_empty()
    }
}

pub(crate) struct Connection<H> {
    handle: H,
    place: usize,
    client: Link,
    downstream: Option<Link>,
    out: Outbox,
    wants_client: bool,
    connects: bool,
    is_closing: bool,
    is_starved: bool,
    /// It stays until there is nothing under way.
    is_gone: bool,
}

struct Link {
    peer: Peer,
    /// What has arrived was not answered yet.
    is_pending: bool,
}

impl Link {
    fn new(peer: Peer) -> Link {
        Link {
            peer,
            is_pending: false,
        }
    }
}

impl<L: Logic> Serves for IoThread<L> {
    type Connection = Connection<L::Handle>;

    /// Both, once and for all: epoll tells of changes only.
    const INTEREST: Interest = Interest {
        reads: true,
        writes: true,
    };

    fn begin(&mut self, client: TcpStream, place: usize) -> Self::Connection {
        Connection {
            handle: self.logic.begin(place),
            place,
            client: Link::new(Peer::client(client)),
            downstream: None,
            out: Outbox::default(),
            wants_client: true,
            connects: false,
            is_closing: false,
            is_starved: false,
            is_gone: false,
        }
    }

    fn go_on(
        &mut self,
        connection: &mut Self::Connection,
        poller: &mut impl Poller,
        waked: Waked,
    ) -> io::Result<bool> {
        connection.is_gone |= waked.told.is_some_and(|told| !connection.note(told));
        if !connection.is_gone {
            let goes_on = self.advance(connection, poller, waked.token());
            connection.is_gone = !goes_on.unwrap_or(false);
        }
        Ok(!connection.is_gone || connection.is_pending())
    }

    fn leave(&mut self, connection: Self::Connection, poller: &mut impl Poller) -> io::Result<()> {
        self.logic.end(connection.handle, connection.place);
        poller.remove(connection.client.peer.stream.as_raw_fd())?;
        match connection.downstream {
            Some(downstream) => poller.remove(downstream.peer.stream.as_raw_fd()),
            None => Ok(()),
        }
    }
}

impl<L: Logic> IoThread<L> {
    /// False: the connection has come to its end.
    fn advance(
        &mut self,
        connection: &mut Connection<L::Handle>,
        poller: &mut impl Poller,
        token: usize,
    ) -> io::Result<bool> {
        if mem::take(&mut connection.connects)
            && let Some(addr) = self.downstream
        {
            let peer = Peer::connect(addr, poller, token + 1)?;
            connection.downstream = Some(Link::new(peer));
        }
        send(&connection.client.peer.stream, &mut connection.out.client)?;
        if connection.is_closing {
            return Ok(!connection.out.client.is_empty());
        }
        if let Some(downstream) = &connection.downstream {
            send(&downstream.peer.stream, &mut connection.out.downstream)?;
        }
        // A client that does not read is not read from, either.
        if connection.wants_client && connection.out.client.len() < UNSENT_BYTES_MAX {
            self.read(connection, Side::Client)?;
        }
        self.read(connection, Side::Downstream)?;
        Ok(true)
    }

    fn read(&mut self, connection: &mut Connection<L::Handle>, side: Side) -> io::Result<()> {
        let link = match side {
            Side::Client => &mut connection.client,
            Side::Downstream => match &mut connection.downstream {
                Some(downstream) => downstream,
                None => return Ok(()),
            },
        };
        if link.is_pending || !link.peer.has_input() {
            return Ok(());
        }
        // Nobody overtakes those who starve: the busiest would take all room as soon as there is some.
        let room = if self.starved.is_empty() {
            self.logic.buffer()
        } else {
            None
        };
        let Some(buf) = room else {
            if !mem::replace(&mut connection.is_starved, true) {
                self.starved.push(connection.place);
            }
            return Ok(());
        };
        if let Some(length) = link.peer.receive(buf)? {
            link.is_pending = true;
            self.logic
                .arrived(&connection.handle, connection.place, side, length);
        }
        Ok(())
    }
}

impl<H> Connection<H> {
    /// False: the socket has failed.
    fn note(&mut self, told: Ready) -> bool {
        let link = match told.side() {
            Side::Client => Some(&mut self.client),
            Side::Downstream => self.downstream.as_mut(),
        };
        link.is_none_or(|link| link.peer.note(told))
    }

    /// To be told before it is resumed.
    pub(crate) fn fed(&mut self) {
        self.is_starved = false;
    }

    /// To be told before it is resumed.
    pub(crate) fn answered(&mut self, answer: &Answer) {
        match (answer.side, &mut self.downstream) {
            (Side::Client, _) => self.client.is_pending = false,
            (Side::Downstream, Some(downstream)) => downstream.is_pending = false,
            (Side::Downstream, None) => {}
        }
        self.out.client.extend_from_slice(&answer.out.client);
        self.out
            .downstream
            .extend_from_slice(&answer.out.downstream);
        self.wants_client = answer.wants_client;
        match answer.next {
            Some(Next::Continue) => {}
            Some(Next::Connect) => self.connects = true,
            Some(Next::Close) => self.is_closing = true,
            None => self.is_gone = true,
        }
    }

    fn is_pending(&self) -> bool {
        let downstream = self.downstream.as_ref();
        self.client.is_pending || downstream.is_some_and(|downstream| downstream.is_pending)
    }
}
