//! A connection whose I/O the kernel does: what is asked for, and what comes of it. The proactor hands it over.

use std::io;
use std::mem;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsRawFd;

use io_uring::types::Fd;
use io_uring::{opcode, squeue};

use crate::parts::buf_ring::GROUP;
use crate::parts::callbacks::UNSENT_BYTES_MAX;
use crate::protocol::machine::{Machine, Next, Outbox, Side};

/// What was asked of the kernel. It goes there and back as a number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    Accept,
    /// Accept again after a while.
    Pause,
    Connect(usize),
    Receive(usize, Side),
    Send(usize, Side),
}

impl Request {
    pub(crate) fn to_number(self) -> u64 {
        let (place, kind) = match self {
            Request::Accept => (0, 0),
            Request::Pause => (0, 1),
            Request::Connect(place) => (place, 2),
            Request::Receive(place, Side::Client) => (place, 3),
            Request::Receive(place, Side::Downstream) => (place, 4),
            Request::Send(place, Side::Client) => (place, 5),
            Request::Send(place, Side::Downstream) => (place, 6),
        };
        place as u64 * 8 + kind
    }

    pub(crate) fn from_number(number: u64) -> Request {
        let place = usize::try_from(number / 8).expect("it was one");
        match number % 8 {
            0 => Request::Accept,
            1 => Request::Pause,
            2 => Request::Connect(place),
            3 => Request::Receive(place, Side::Client),
            4 => Request::Receive(place, Side::Downstream),
            5 => Request::Send(place, Side::Client),
            _ => Request::Send(place, Side::Downstream),
        }
    }
}

pub(crate) struct Connection {
    client: Peer,
    pub(crate) downstream: Option<Peer>,
    machine: Machine,
    out: Outbox,
    pub(crate) is_closing: bool,
    /// It stays until the kernel has given back all that it was given.
    pub(crate) is_gone: bool,
}

pub(crate) struct Peer {
    stream: TcpStream,
    pub(crate) is_connecting: bool,
    is_receiving: bool,
    is_sending: bool,
    /// The kernel's while it sends: untouched until then.
    sending: Vec<u8>,
}

impl Connection {
    pub(crate) fn new(client: TcpStream, is_session: bool) -> Connection {
        Connection {
            client: Peer::new(client),
            downstream: None,
            machine: Machine::new(is_session),
            out: Outbox::default(),
            is_closing: false,
            is_gone: false,
        }
    }

    pub(crate) fn received(&mut self, side: Side, bytes: &[u8]) -> io::Result<Next> {
        if self.is_closing {
            return Ok(Next::Continue);
        }
        self.machine.received(side, bytes, &mut self.out)
    }

    pub(crate) fn sent(&mut self, side: Side, length: usize) -> io::Result<Next> {
        if let Some(peer) = self.peer(side) {
            peer.sending.drain(..length);
        }
        Ok(Next::Continue)
    }

    /// The kernel has done with it.
    pub(crate) fn given_back(&mut self, request: Request) {
        match request {
            Request::Connect(_) => {
                if let Some(peer) = &mut self.downstream {
                    peer.is_connecting = false;
                }
            }
            Request::Receive(_, side) => {
                if let Some(peer) = self.peer(side) {
                    peer.is_receiving = false;
                }
            }
            Request::Send(_, side) => {
                if let Some(peer) = self.peer(side) {
                    peer.is_sending = false;
                }
            }
            Request::Accept | Request::Pause => {}
        }
    }

    fn peer(&mut self, side: Side) -> Option<&mut Peer> {
        match side {
            Side::Client => Some(&mut self.client),
            Side::Downstream => self.downstream.as_mut(),
        }
    }

    /// Of the client.
    pub(crate) fn unsent(&self) -> usize {
        self.client.sending.len() + self.out.client.len()
    }

    pub(crate) fn begin_to_receive(&mut self, side: Side) -> Option<squeue::Entry> {
        let wants = match side {
            // A client that does not read is not read from, either.
            Side::Client => self.machine.wants_client() && self.unsent() < UNSENT_BYTES_MAX,
            Side::Downstream => true,
        };
        if !wants || self.is_closing {
            return None;
        }
        self.peer(side)?.begin_to_receive()
    }

    pub(crate) fn begin_to_send(&mut self, side: Side) -> Option<squeue::Entry> {
        match side {
            Side::Client => self.client.begin_to_send(&mut self.out.client),
            Side::Downstream => {
                let peer = self.downstream.as_mut()?;
                peer.begin_to_send(&mut self.out.downstream)
            }
        }
    }

    /// Makes the kernel give back what it has. True: it has.
    pub(crate) fn shut_down(&self) -> bool {
        let mut is_idle = true;
        for peer in [Some(&self.client), self.downstream.as_ref()] {
            is_idle &= peer.is_none_or(Peer::shut_down);
        }
        is_idle
    }
}

impl Peer {
    pub(crate) fn new(stream: TcpStream) -> Peer {
        Peer {
            stream,
            is_connecting: false,
            is_receiving: false,
            is_sending: false,
            sending: Vec::new(),
        }
    }

    fn begin_to_receive(&mut self) -> Option<squeue::Entry> {
        if self.is_connecting || mem::replace(&mut self.is_receiving, true) {
            return None;
        }
        // No buffer: the kernel takes one of the group when there is something.
        let receive = opcode::Recv::new(Fd(self.stream.as_raw_fd()), std::ptr::null_mut(), 0);
        let receive = receive.buf_group(GROUP).build();
        Some(receive.flags(squeue::Flags::BUFFER_SELECT))
    }

    /// Sends what is left of the last time, then what has come since.
    fn begin_to_send(&mut self, out: &mut Vec<u8>) -> Option<squeue::Entry> {
        if self.is_connecting || self.is_sending {
            return None;
        }
        if self.sending.is_empty() {
            mem::swap(&mut self.sending, out);
        }
        if self.sending.is_empty() {
            return None;
        }
        self.is_sending = true;
        let length = u32::try_from(self.sending.len()).unwrap_or(u32::MAX);
        let send = opcode::Send::new(Fd(self.stream.as_raw_fd()), self.sending.as_ptr(), length);
        Some(send.flags(libc::MSG_NOSIGNAL).build())
    }

    fn shut_down(&self) -> bool {
        let is_busy = self.is_connecting || self.is_receiving || self.is_sending;
        if is_busy {
            // Whatever was asked for comes to its end by that, at once.
            let _ = self.stream.shutdown(Shutdown::Both);
        }
        !is_busy
    }
}
