//! A reactor that hands out requests: it reads, cuts requests out of what has come, and sends the answers; somebody else does
//! what is asked for, and may block. What several models share: they differ in who that is, see [`Dispatch`].
//!
//! Requests of one connection are done in turn, one at a time: while one is out nothing is read from its client.

use std::io;
use std::mem;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;

use mio::Waker;

use crate::parts::callbacks::send;
use crate::parts::event_loop::{Interest, Poller, Reactor, Ready, Serves, Waked};
use crate::parts::input::{Input, has_failed};
use crate::parts::pollers::Epoll;
use crate::parts::pool::Pool;
use crate::parts::returns::Returns;
use crate::protocol::request::{Handler, Reply};
use crate::protocol::{BUFFER_BYTES, Service};

/// Who does requests.
pub(crate) trait Dispatch {
    /// What a connection has of its own for that; it is dropped with the connection.
    type Lane;

    fn lane(&mut self) -> Self::Lane;

    /// Has the job run somewhere.
    fn dispatch(&mut self, lane: &Self::Lane, job: Job);
}

/// The threads of a pool: whichever is free.
impl Dispatch for &Pool<Job> {
    type Lane = ();

    fn lane(&mut self) {}

    fn dispatch(&mut self, (): &(), job: Job) {
        self.push(job);
    }
}

/// A request, with all that is needed to do it. If nobody does it, it is given back as one that has failed.
pub(crate) struct Job {
    place: usize,
    client: Arc<TcpStream>,
    /// None: it was given back.
    handler: Option<Handler>,
    request: Vec<u8>,
    returns: Arc<Returns<Done>>,
}

/// A job that was done.
struct Done {
    place: usize,
    handler: Handler,
    reply: io::Result<Reply>,
}

impl Job {
    /// Does the request, and gives the answer to the reactor.
    pub(crate) fn run(mut self) {
        let reply = self.reply();
        self.give_back(reply);
    }

    /// Does the request, and sends the answer. What the kernel does not take at once is left to the reactor.
    pub(crate) fn run_and_send(mut self) {
        let reply = self.reply().and_then(|mut reply| {
            send(&self.client, &mut reply.bytes)?;
            Ok(reply)
        });
        self.give_back(reply);
    }

    fn reply(&mut self) -> io::Result<Reply> {
        let request = mem::take(&mut self.request);
        match &mut self.handler {
            Some(handler) => handler.request(request),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn give_back(&mut self, reply: io::Result<Reply>) {
        if let Some(handler) = self.handler.take() {
            self.returns.push(Done {
                place: self.place,
                handler,
                reply,
            });
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.give_back(Err(io::ErrorKind::Interrupted.into()));
    }
}

pub(crate) struct Dispatcher<D: Dispatch> {
    reactor: Reactor<Epoll, Requests<D>>,
    returns: Arc<Returns<Done>>,
}

impl<D: Dispatch> Dispatcher<D> {
    pub(crate) fn new(service: Service, dispatch: D) -> io::Result<Dispatcher<D>> {
        let epoll = Epoll::new()?;
        let returns = Returns::new(&epoll)?;
        let requests = Requests {
            service,
            dispatch,
            returns: Arc::clone(&returns),
            buf: vec![0; BUFFER_BYTES].into(),
        };
        Ok(Dispatcher {
            reactor: Reactor::with(epoll, requests),
            returns,
        })
    }

    pub(crate) fn reactor(&self) -> &Reactor<Epoll, Requests<D>> {
        &self.reactor
    }

    pub(crate) fn reactor_mut(&mut self) -> &mut Reactor<Epoll, Requests<D>> {
        &mut self.reactor
    }

    /// By which answers come back.
    pub(crate) fn returns_waker(&self) -> Arc<Waker> {
        self.returns.waker()
    }

    /// Serves to the end, see [`Reactor::run`].
    pub(crate) fn run(&mut self, listener: TcpListener) -> io::Result<()> {
        self.reactor.listen(listener)?;
        while !self.reactor.is_idle() {
            self.turn(|_| {})?;
        }
        Ok(())
    }

    /// As [`Reactor::turn`]; takes back what was done, too.
    pub(crate) fn turn(&mut self, other: impl FnMut(usize)) -> io::Result<()> {
        self.reactor.turn(other)?;
        for done in self.returns.take() {
            self.reactor
                .resume(done.place, |connection| connection.take_back(done))?;
        }
        Ok(())
    }
}

/// Hands out requests of connections.
pub(crate) struct Requests<D> {
    service: Service,
    dispatch: D,
    returns: Arc<Returns<Done>>,
    buf: Box<[u8]>,
}

pub(crate) struct Connection<L> {
    client: Arc<TcpStream>,
    input: Input,
    lane: L,
    /// None: it is out with a request.
    handler: Option<Handler>,
    received: Vec<u8>,
    out: Vec<u8>,
    has_ended: bool,
    is_closing: bool,
    /// Nothing can be sent any more; it stays until its handler is back.
    is_gone: bool,
}

impl<D: Dispatch> Serves for Requests<D> {
    type Connection = Connection<D::Lane>;

    /// Both, once and for all: epoll tells of changes only.
    const INTEREST: Interest = Interest {
        reads: true,
        writes: true,
    };

    fn begin(&mut self, client: TcpStream, _: usize) -> Self::Connection {
        Connection {
            client: Arc::new(client),
            input: Input::default(),
            lane: self.dispatch.lane(),
            handler: Some(Handler::new(self.service)),
            received: Vec::new(),
            out: Vec::new(),
            has_ended: false,
            is_closing: false,
            is_gone: false,
        }
    }

    fn go_on(
        &mut self,
        connection: &mut Self::Connection,
        _: &mut impl Poller,
        waked: Waked,
    ) -> io::Result<bool> {
        connection.is_gone |= waked.told.is_some_and(|told| !connection.note(told));
        if !connection.is_gone {
            let goes_on = self.advance(connection, waked.place);
            connection.is_gone = !goes_on.unwrap_or(false);
        }
        Ok(!connection.is_gone || connection.handler.is_none())
    }

    fn leave(&mut self, connection: Self::Connection, poller: &mut impl Poller) -> io::Result<()> {
        poller.remove(connection.client.as_raw_fd())
    }
}

impl<D: Dispatch> Requests<D> {
    /// Sends, and reads up to the next request. False: the connection has come to its end.
    fn advance(&mut self, connection: &mut Connection<D::Lane>, place: usize) -> io::Result<bool> {
        send(&connection.client, &mut connection.out)?;
        while !connection.is_closing {
            let Some(handler) = &connection.handler else {
                return Ok(true);
            };
            // A client that does not read is not served, either; and whoever does the next request may send by himself.
            if !connection.out.is_empty() {
                return Ok(true);
            }
            if let Some(request) = handler.cut(&mut connection.received)? {
                self.hand_out(connection, place, request);
            } else if connection.has_ended {
                connection.is_closing = true;
            } else if !connection.read(&mut self.buf)? {
                return Ok(true);
            }
        }
        Ok(!connection.out.is_empty())
    }

    fn hand_out(&mut self, connection: &mut Connection<D::Lane>, place: usize, request: Vec<u8>) {
        if let Some(handler) = connection.handler.take() {
            let job = Job {
                place,
                client: Arc::clone(&connection.client),
                handler: Some(handler),
                request,
                returns: Arc::clone(&self.returns),
            };
            self.dispatch.dispatch(&connection.lane, job);
        }
    }
}

impl<L> Connection<L> {
    /// False: the socket has failed.
    fn note(&mut self, told: Ready) -> bool {
        self.input.note(told);
        !has_failed(&self.client, told)
    }

    /// False: there is nothing yet.
    fn read(&mut self, buf: &mut [u8]) -> io::Result<bool> {
        let Some(length) = self.input.read(&self.client, buf)? else {
            return Ok(false);
        };
        self.received.extend_from_slice(&buf[..length]);
        self.has_ended = length == 0;
        Ok(true)
    }

    fn take_back(&mut self, done: Done) {
        self.handler = Some(done.handler);
        match done.reply {
            Ok(reply) => {
                self.out.extend_from_slice(&reply.bytes);
                self.is_closing |= reply.closes;
            }
            Err(_) => self.is_gone = true,
        }
    }
}
