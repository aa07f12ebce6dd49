//! Half-sync/half-reactor: a queue of ready sockets.
//!
//! **Flow of control**: the main thread accepts, and waits for all sockets; one that is ready goes into a queue, untouched. A thread of the
//! pool takes it out, and does all that is left: it reads, does the requests in blocking style, writes, and gives the socket back.
//! **Good at**: a small event loop that never touches data; all else is written as if in one thread. **Bad at**: a queue and a change of
//! threads for each readiness, also for half a request; all of the pool may come to wait for something slow.
//! **In the wild**: Tomcat's NIO connector, Jetty, early HBase and Thrift's THsHaServer's cousins.

use std::io;
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::catalog::{AtOnce, Model, Shape, Style, count};
use crate::parts::callbacks::send;
use crate::parts::claim::Claim;
use crate::parts::event_loop::{Interest, Poller, Reactor, Serves, Waked};
use crate::parts::input::{Input, Told};
use crate::parts::pollers::Epoll;
use crate::parts::pool::{Pool, WAITING_THREADS, with_pool};
use crate::parts::returns::Returns;
use crate::protocol::request::Handler;
use crate::protocol::{BUFFER_BYTES, Service};
use crate::server::Server;

pub(crate) const MODEL: Model = Model {
    name: "half-sync-half-reactor",
    run,
    at_once: AtOnce::Any,
    shape: Shape {
        processes: count(1, 0, 0),
        threads: count(1, WAITING_THREADS, 0),
        epolls: count(1, 0, 0),
    },
    style: Style::Requests,
    pollers: &[],
};

/// What one connection may have done before it is another's turn: else as many as there are threads could keep all of them.
const REQUESTS_IN_A_ROW_MAX: usize = 16;

fn run(server: &Server) -> io::Result<()> {
    let listener = server.listener()?;
    server.ready(listener.local_addr()?);
    let epoll = Epoll::new()?;
    let given_back = Returns::new(&epoll)?;
    let serve = |socket: Arc<Socket>| {
        if socket.serve() {
            given_back.push(socket.place);
        }
    };
    with_pool(server.workers * WAITING_THREADS, serve, |pool| {
        let queue = Queue {
            service: server.service,
            pool,
        };
        let mut reactor = Reactor::with(epoll, queue);
        reactor.listen(listener)?;
        while !reactor.is_idle() {
            reactor.turn(|_| {})?;
            for place in given_back.take() {
                reactor.resume(place, |_| {})?;
            }
        }
        Ok(())
    })
}

/// Queues sockets that are ready, each of them once.
struct Queue<'a> {
    service: Service,
    pool: &'a Pool<Arc<Socket>>,
}

struct Socket {
    stream: TcpStream,
    place: usize,
    told: Told,
    /// Being in the queue, or with a thread.
    claim: Claim,
    /// Of whoever has the claim; nobody ever waits for it.
    connection: Mutex<Connection>,
}

struct Connection {
    input: Input,
    handler: Handler,
    received: Vec<u8>,
    out: Vec<u8>,
    is_closing: bool,
    has_ended: bool,
}

impl Serves for Queue<'_> {
    type Connection = Arc<Socket>;

    /// Both, once and for all: epoll tells of changes only.
    const INTEREST: Interest = Interest {
        reads: true,
        writes: true,
    };

    fn begin(&mut self, client: TcpStream, place: usize) -> Arc<Socket> {
        Arc::new(Socket {
            stream: client,
            place,
            told: Told::default(),
            claim: Claim::default(),
            connection: Mutex::new(Connection {
                input: Input::default(),
                handler: Handler::new(self.service),
                received: Vec::new(),
                out: Vec::new(),
                is_closing: false,
                has_ended: false,
            }),
        })
    }

    fn go_on(
        &mut self,
        socket: &mut Arc<Socket>,
        _: &mut impl Poller,
        waked: Waked,
    ) -> io::Result<bool> {
        if let Some(told) = waked.told {
            socket.told.add(told);
        }
        if socket.claim.take() {
            if socket.connection().has_ended {
                return Ok(false);
            }
            self.pool.push(Arc::clone(socket));
        }
        Ok(true)
    }

    fn leave(&mut self, socket: Arc<Socket>, poller: &mut impl Poller) -> io::Result<()> {
        poller.remove(socket.stream.as_raw_fd())
    }
}

impl Socket {
    /// Does what can be done, and gives the socket back. True: the reactor is to look at it: the connection has come to its end, or it
    /// is another's turn.
    fn serve(&self) -> bool {
        loop {
            let mut connection = self.connection();
            connection.input.note(self.told.take(self.place * 2));
            let left = connection.go_on(&self.stream).unwrap_or(Left::End);
            connection.has_ended |= left == Left::End;
            let has_ended = connection.has_ended;
            drop(connection);
            if left == Left::More {
                // Who has come meanwhile has nothing to add: it is queued again.
                while !self.claim.release() {}
                return true;
            }
            if self.claim.release() {
                return has_ended;
            }
        }
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().expect("nobody panics with it")
    }
}

/// What is left when a thread leaves a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Left {
    /// Nothing until the poller tells of it.
    Nothing,
    /// As much as one may do in a row is done, and there may be more.
    More,
    /// It has come to its end.
    End,
}

impl Connection {
    fn go_on(&mut self, stream: &TcpStream) -> io::Result<Left> {
        let mut requests = 0;
        let mut buf = [0; BUFFER_BYTES];
        loop {
            send(stream, &mut self.out)?;
            if self.is_closing || !self.out.is_empty() {
                // A client that does not read is not read from, either.
                return Ok(match self.out.is_empty() {
                    true => Left::End,
                    false => Left::Nothing,
                });
            }
            if requests == REQUESTS_IN_A_ROW_MAX {
                return Ok(Left::More);
            }
            if let Some(request) = self.handler.cut(&mut self.received)? {
                let reply = self.handler.request(request)?;
                self.out = reply.bytes;
                self.is_closing = reply.closes;
                requests += 1;
                continue;
            }
            match self.input.read(stream, &mut buf)? {
                None => return Ok(Left::Nothing),
                Some(0) => return Ok(Left::End),
                Some(length) => self.received.extend_from_slice(&buf[..length]),
            }
        }
    }
}
