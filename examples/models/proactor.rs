//! A proactor: the kernel does the I/O, by io_uring, and says when it is done.
//!
//! **Flow of control**: the loop asks the kernel to accept, to receive, to send; it is told what has come to its end, calls back whoever had
//! asked, and hands over what is asked for next, all of a turn in one system call. Nothing is ever "ready": it is done, or it is not yet.
//! **Good at**: few system calls; the kernel picks a buffer when there is something to put into it; the same for files. **Bad at**: memory belongs to the kernel
//! until it gives it back, also of connections that are to be closed; callbacks; often forbidden in containers.
//! **In the wild**: Windows' completion ports, Asio there, TigerBeetle, Seastar and glommio by io_uring.

use std::io;
use std::mem::ManuallyDrop;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd};

use io_uring::types::{Fd, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use slab::Slab;
use socket2::{Protocol, SockAddr, Socket, Type};

use crate::catalog::{AtOnce, Model, Shape, Style, count};
use crate::parts::buf_ring::BufRing;
use crate::parts::completion::{Connection, Peer, Request};
use crate::protocol::Service;
use crate::protocol::machine::{Next, Side};
use crate::server::{ACCEPT_PAUSE, Server, Verdict, verdict};

pub(crate) const MODEL: Model = Model {
    name: "proactor",
    run,
    at_once: AtOnce::Any,
    shape: Shape {
        processes: count(1, 0, 0),
        threads: count(1, 0, 0),
        epolls: count(0, 0, 0),
    },
    style: Style::Callbacks,
    pollers: &[],
};

/// Of the queue to the kernel: more are handed over in between.
const ENTRIES: u32 = 256;
/// Of the queue from the kernel, which keeps what does not fit.
const COMPLETIONS: u32 = 4096;

fn run(server: &Server) -> io::Result<()> {
    let (uring, buffers) = rings().map_err(|error| {
        let text = format!("the kernel refuses io_uring ({error}): there is no proactor here");
        io::Error::new(io::ErrorKind::Unsupported, text)
    })?;
    let listener = server.listener()?;
    server.ready(listener.local_addr()?);
    let mut proactor = Proactor {
        uring,
        buffers,
        listener: Some(listener),
        downstream: match server.service {
            Service::Echo => None,
            Service::Session { downstream } => Some(Box::leak(Box::new(downstream.into()))),
        },
        connections: ManuallyDrop::new(Slab::new()),
    };
    proactor.run()
}

fn rings() -> io::Result<(IoUring, BufRing)> {
    // Completions are made when this thread asks for them, and not by interrupting it: Linux 6.1.
    let uring = IoUring::builder()
        .setup_cqsize(COMPLETIONS)
        .setup_single_issuer()
        .setup_defer_taskrun()
        .build(ENTRIES)
        .or_else(|_| IoUring::new(ENTRIES))?;
    let buffers = BufRing::register(&uring)?;
    Ok((uring, buffers))
}

struct Proactor {
    uring: IoUring,
    buffers: BufRing,
    listener: Option<TcpListener>,
    downstream: Option<&'static SockAddr>,
    /// After an error they are leaked: the kernel may have their buffers.
    connections: ManuallyDrop<Slab<Connection>>,
}

impl Proactor {
    fn run(&mut self) -> io::Result<()> {
        self.accept()?;
        let mut done = Vec::new();
        while self.listener.is_some() || !self.connections.is_empty() {
            match self.uring.submit_and_wait(1) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            done.extend(self.uring.completion());
            for entry in done.drain(..) {
                self.complete(&entry)?;
            }
        }
        Ok(())
    }

    fn complete(&mut self, entry: &cqueue::Entry) -> io::Result<()> {
        let request = Request::from_number(entry.user_data());
        let result = match entry.result() {
            code if code < 0 => Err(io::Error::from_raw_os_error(-code)),
            length => Ok(usize::try_from(length).expect("it is not negative")),
        };
        let place = match request {
            Request::Accept => return self.accepted(entry),
            Request::Pause => return self.accept(),
            Request::Connect(place) | Request::Receive(place, _) | Request::Send(place, _) => place,
        };
        let connection = &mut self.connections[place];
        let outcome = match request {
            Request::Connect(_) => result.map(|_| Next::Continue),
            Request::Send(_, side) => result.and_then(|length| connection.sent(side, length)),
            Request::Receive(_, side) => {
                let id = cqueue::buffer_select(entry.flags());
                let outcome = result.and_then(|length| {
                    let bytes = id.map_or(&[][..], |id| self.buffers.received(id, length));
                    connection.received(side, bytes)
                });
                if let Some(id) = id {
                    self.buffers.give_back(id);
                }
                outcome
            }
            Request::Accept | Request::Pause => return Ok(()),
        };
        connection.given_back(request);
        match outcome {
            // All buffers were taken in this turn: once more in the next.
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => self.go_on(place),
            Ok(Next::Connect) => {
                // Without a descriptor for it, say: that is the end of this connection only.
                let begun = self.connect(place);
                self.connections[place].is_gone |= begun.is_err();
                self.go_on(place)
            }
            Ok(Next::Continue) => self.go_on(place),
            Ok(Next::Close) => {
                connection.is_closing = true;
                self.go_on(place)
            }
            Err(_) => {
                connection.is_gone = true;
                self.go_on(place)
            }
        }
    }
}

/// What is asked of the kernel.
impl Proactor {
    fn accept(&mut self) -> io::Result<()> {
        match &self.listener {
            Some(listener) => {
                let accept = opcode::AcceptMulti::new(Fd(listener.as_raw_fd()))
                    .flags(libc::SOCK_CLOEXEC)
                    .build();
                self.ask(Request::Accept, accept)
            }
            None => Ok(()),
        }
    }

    fn accepted(&mut self, entry: &cqueue::Entry) -> io::Result<()> {
        if entry.result() >= 0 {
            // SAFETY: the kernel has made it for us, and nobody else knows it.
            let client = unsafe { TcpStream::from_raw_fd(entry.result()) };
            client.set_nodelay(true)?;
            let place = self
                .connections
                .insert(Connection::new(client, self.downstream.is_some()));
            self.go_on(place)?;
        } else {
            let error = io::Error::from_raw_os_error(-entry.result());
            match verdict(&error) {
                Verdict::Again => {}
                Verdict::Later => {
                    let pause = opcode::Timeout::new(&raw const PAUSE).build();
                    return self.ask(Request::Pause, pause);
                }
                Verdict::Stop => self.listener = None,
                Verdict::Fail => return Err(error),
            }
        }
        // It goes on accepting by itself, mostly.
        if cqueue::more(entry.flags()) {
            Ok(())
        } else {
            self.accept()
        }
    }

    fn connect(&mut self, place: usize) -> io::Result<()> {
        let Some(addr) = self.downstream else {
            return Ok(());
        };
        let socket = Socket::new(addr.domain(), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_tcp_nodelay(true)?;
        let fd = Fd(socket.as_raw_fd());
        let mut peer = Peer::new(socket.into());
        peer.is_connecting = true;
        self.connections[place].downstream = Some(peer);
        let connect = opcode::Connect::new(fd, addr.as_ptr().cast(), addr.len()).build();
        self.ask(Request::Connect(place), connect)
    }

    /// Asks for all that the connection waits for.
    fn go_on(&mut self, place: usize) -> io::Result<()> {
        let connection = &mut self.connections[place];
        connection.is_gone |= connection.is_closing && connection.unsent() == 0;
        if connection.is_gone {
            if connection.shut_down() {
                self.connections.remove(place);
            }
            return Ok(());
        }
        for side in [Side::Client, Side::Downstream] {
            let connection = &mut self.connections[place];
            let receives = connection.begin_to_receive(side);
            let sends = connection.begin_to_send(side);
            if let Some(entry) = receives {
                self.ask(Request::Receive(place, side), entry)?;
            }
            if let Some(entry) = sends {
                self.ask(Request::Send(place, side), entry)?;
            }
        }
        Ok(())
    }

    fn ask(&mut self, request: Request, entry: squeue::Entry) -> io::Result<()> {
        let entry = entry.user_data(request.to_number());
        loop {
            // SAFETY: what it points to stays where it is, and is not touched, until its completion: addresses and times are
            // static, what is sent is the peer's `sending`, and connections stay until all is given back.
            if unsafe { self.uring.submission().push(&entry) }.is_ok() {
                return Ok(());
            }
            self.uring.submit()?;
        }
    }
}

static PAUSE: Timespec = Timespec::new().nsec(ACCEPT_PAUSE.subsec_nanos());
