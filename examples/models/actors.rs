//! Actors: a mailbox for each connection.
//!
//! **Flow of control**: an actor is some state, a mailbox, and a behaviour: what it does with its next message, which ends by choosing the
//! behaviour for the one after. Worker threads run actors that have mail, each actor on one thread at a time. Sockets are the business of an
//! I/O thread, which posts what has arrived, and is posted what is to be sent.
//! **Good at**: no locks in the logic, no shared state; failures stay in one actor; the same code over a network. **Bad at**: a message, an
//! allocation and a change of threads for what could be a call; what spans messages is spread over behaviours.
//! **In the wild**: Erlang's and Akka's actors, skynet's services, Orleans.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};

use crate::catalog::{AtOnce, Model, Shape, Style, count};
use crate::parts::claim::Claim;
use crate::parts::event_loop::Reactor;
use crate::parts::io_thread::{Answer, IoThread, Logic};
use crate::parts::pollers::Epoll;
use crate::parts::pool::{Pool, with_pool};
use crate::parts::returns::Returns;
use crate::protocol::machine::{Next, Outbox, Side};
use crate::protocol::message::{self, Lines, Request, answer, bye, welcome};
use crate::protocol::{BUFFER_BYTES, Service};
use crate::server::Server;

pub(crate) const MODEL: Model = Model {
    name: "actors",
    run,
    at_once: AtOnce::Any,
    shape: Shape {
        processes: count(1, 0, 0),
        threads: count(1, 1, 0),
        epolls: count(1, 0, 0),
    },
    style: Style::Actors,
    pollers: &[],
};

fn run(server: &Server) -> io::Result<()> {
    let listener = server.listener()?;
    server.ready(listener.local_addr()?);
    let epoll = Epoll::new()?;
    let sent = Returns::new(&epoll)?;
    let run = |actor: Arc<Actor>| actor.run(&sent);
    with_pool(server.workers, run, |pool| {
        let posts = Posts {
            service: server.service,
            pool,
            buf: vec![0; BUFFER_BYTES],
        };
        let mut reactor = Reactor::with(epoll, IoThread::new(server.service, posts));
        reactor.listen(listener)?;
        while !reactor.is_idle() {
            reactor.turn(|_| {})?;
            for answer in sent.take() {
                reactor.resume(answer.place, |connection| connection.answered(&answer))?;
            }
        }
        Ok(())
    })
}

/// What the I/O thread posts: bytes from one of the two sockets. No bytes are its end.
struct Message {
    side: Side,
    bytes: Vec<u8>,
}

struct Actor {
    place: usize,
    /// Being in the queue of those that have mail, or on a thread.
    claim: Claim,
    /// The I/O thread waits for an answer to each message before it posts another of that side: there are two at most.
    mailbox: Mutex<VecDeque<Message>>,
    /// Of whoever has the claim; nobody ever waits for it.
    mind: Mutex<Mind>,
}

enum Mind {
    Echo,
    Session(Session),
}

impl Actor {
    /// Reads its mail.
    fn run(&self, sent: &Returns<Answer>) {
        loop {
            let mut mind = self.mind.lock().expect("nobody panics with it");
            while let Some(message) = self.take_mail() {
                let mut out = Outbox::default();
                let next = mind.receive(&message, &mut out);
                sent.push(Answer {
                    place: self.place,
                    side: message.side,
                    out,
                    next: next.ok(),
                    wants_client: mind.hears(Side::Client),
                });
            }
            drop(mind);
            if self.claim.release() {
                return;
            }
        }
    }

    fn take_mail(&self) -> Option<Message> {
        let mut mailbox = self.mailbox.lock().expect("nobody panics with it");
        mailbox.pop_front()
    }
}

impl Mind {
    fn receive(&mut self, message: &Message, out: &mut Outbox) -> io::Result<Next> {
        match self {
            Mind::Echo => Ok(echo(message, out)),
            Mind::Session(session) => session.receive(message, out),
        }
    }

    fn hears(&self, side: Side) -> bool {
        match self {
            Mind::Echo => true,
            Mind::Session(session) => session.behaviour.hears(side),
        }
    }
}

// ergonomics: echo, actors
fn echo(message: &Message, out: &mut Outbox) -> Next {
    out.client.extend_from_slice(&message.bytes);
    match message.bytes[..] {
        [] => Next::Close,
        _ => Next::Continue,
    }
}
// ergonomics: end

// ergonomics: session, actors
#[derive(Default)]
struct Session {
    behaviour: Behaviour,
    requests: Lines,
    answers: Lines,
    client_ended: bool,
}

/// What is done with the next line.
#[derive(Default)]
enum Behaviour {
    /// It is a login.
    #[default]
    New,
    /// It is a request.
    Idle { name: String, count: u64 },
    /// It is the downstream server's answer.
    Asked { name: String, count: u64 },
    /// There is none.
    Closed,
}

impl Session {
    fn receive(&mut self, message: &Message, out: &mut Outbox) -> io::Result<Next> {
        match (message.side, &message.bytes[..]) {
            (Side::Client, []) => self.client_ended = true,
            (Side::Client, bytes) => self.requests.push(bytes),
            (Side::Downstream, []) => return Err(io::ErrorKind::UnexpectedEof.into()),
            (Side::Downstream, bytes) => self.answers.push(bytes),
        }
        let mut next = Next::Continue;
        // What a behaviour does not listen to waits.
        while let Some(line) = match self.behaviour {
            Behaviour::New | Behaviour::Idle { .. } => self.requests.next()?,
            Behaviour::Asked { .. } => self.answers.next()?,
            Behaviour::Closed => None,
        } {
            if matches!(self.behaviour, Behaviour::New) {
                next = Next::Connect;
            }
            self.behaviour = std::mem::take(&mut self.behaviour).read(line, out);
        }
        if self.client_ended && self.behaviour.hears(Side::Client) {
            self.behaviour = Behaviour::Closed;
        }
        match self.behaviour {
            Behaviour::Closed => Ok(Next::Close),
            _ => Ok(next),
        }
    }
}

impl Behaviour {
    fn hears(&self, side: Side) -> bool {
        match side {
            Side::Client => matches!(self, Behaviour::New | Behaviour::Idle { .. }),
            Side::Downstream => matches!(self, Behaviour::Asked { .. }),
        }
    }

    /// The behaviour after that line.
    fn read(self, line: &str, out: &mut Outbox) -> Behaviour {
        match self {
            Behaviour::New => log_in(line, out),
            Behaviour::Idle { name, count } => request(name, count, line, out),
            Behaviour::Asked { name, count } => answered(name, count + 1, line, out),
            Behaviour::Closed => Behaviour::Closed,
        }
    }
}

fn log_in(line: &str, out: &mut Outbox) -> Behaviour {
    match Request::parse(line) {
        Some(Request::Login(name)) => {
            out.client.extend_from_slice(welcome(name).as_bytes());
            let name = name.to_owned();
            Behaviour::Idle { name, count: 0 }
        }
        _ => last(&message::error(message::LOGIN_FIRST), out),
    }
}

fn request(name: String, count: u64, line: &str, out: &mut Outbox) -> Behaviour {
    match Request::parse(line) {
        Some(Request::Ask(text)) => {
            out.downstream
                .extend_from_slice(format!("{text}\n").as_bytes());
            Behaviour::Asked { name, count }
        }
        Some(Request::Quit) => last(&bye(&name, count), out),
        Some(Request::Login(_)) => last(&message::error(message::LOGGED_IN), out),
        None => last(&message::error(message::UNKNOWN), out),
    }
}

fn answered(name: String, count: u64, text: &str, out: &mut Outbox) -> Behaviour {
    out.client.extend_from_slice(answer(count, text).as_bytes());
    Behaviour::Idle { name, count }
}

fn last(words: &str, out: &mut Outbox) -> Behaviour {
    out.client.extend_from_slice(words.as_bytes());
    Behaviour::Closed
}
// ergonomics: end

/// Posts what has arrived.
struct Posts<'a> {
    service: Service,
    pool: &'a Pool<Arc<Actor>>,
    buf: Vec<u8>,
}

impl Logic for Posts<'_> {
    type Handle = Arc<Actor>;

    fn begin(&mut self, place: usize) -> Arc<Actor> {
        Arc::new(Actor {
            place,
            claim: Claim::default(),
            mailbox: Mutex::default(),
            mind: Mutex::new(match self.service {
                Service::Echo => Mind::Echo,
                Service::Session { .. } => Mind::Session(Session::default()),
            }),
        })
    }

    fn buffer(&mut self) -> Option<&mut [u8]> {
        Some(&mut self.buf)
    }

    fn arrived(&mut self, actor: &Arc<Actor>, _: usize, side: Side, length: usize) {
        let bytes = self.buf[..length].to_vec();
        let mut mailbox = actor.mailbox.lock().expect("nobody panics with it");
        mailbox.push_back(Message { side, bytes });
        drop(mailbox);
        if actor.claim.take() {
            self.pool.push(Arc::clone(actor));
        }
    }

    fn end(&mut self, _: Arc<Actor>, _: usize) {}
}
