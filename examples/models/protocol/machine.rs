//! Both services for models that are called back when something has happened: what comes next is a state, what must be
//! remembered is a field. No I/O: whoever owns the sockets tells what has arrived, and does what it is told.

use std::io;
use std::mem;

use super::message::{self, Lines, Request, answer, bye, welcome};

/// Where bytes come from, and go to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    Client,
    Downstream,
}

/// What is to be done now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Next {
    /// Send what there is to be sent, and tell what arrives.
    Continue,
    /// Connect to the downstream server, too.
    Connect,
    /// Send what there is to be sent to the client, and close both.
    Close,
}

/// One connection of either service.
pub(crate) enum Machine {
    Echo(Echo),
    Session(Session),
}

/// What is to be sent to the two sides, in this order. The owner of the sockets takes it away as it is sent.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pub(crate) client: Vec<u8>,
    pub(crate) downstream: Vec<u8>,
}

impl Machine {
    pub(crate) fn new(is_session: bool) -> Machine {
        if is_session {
            Machine::Session(Session::default())
        } else {
            Machine::Echo(Echo)
        }
    }

    /// `bytes` have arrived from that side; no bytes are its end.
    ///
    /// # Errors
    /// If they make no sense: both sockets are to be closed.
    pub(crate) fn received(
        &mut self,
        side: Side,
        bytes: &[u8],
        out: &mut Outbox,
    ) -> io::Result<Next> {
        match self {
            Machine::Echo(echo) => Ok(echo.received(bytes, out)),
            Machine::Session(session) => session.received(side, bytes, out),
        }
    }

    /// Whether more is wanted from the client: what it sends while it is not wanted waits in the kernel.
    pub(crate) fn wants_client(&self) -> bool {
        match self {
            Machine::Echo(_) => true,
            Machine::Session(session) => session.wants_client(),
        }
    }
}

// ergonomics: echo, callbacks
pub(crate) struct Echo;

impl Echo {
    fn received(&mut self, bytes: &[u8], out: &mut Outbox) -> Next {
        out.client.extend_from_slice(bytes);
        match bytes {
            [] => Next::Close,
            _ => Next::Continue,
        }
    }
}
// ergonomics: end

// ergonomics: session, callbacks
#[derive(Default)]
pub(crate) struct Session {
    state: State,
    name: String,
    count: u64,
    requests: Lines,
    answers: Lines,
    client_ended: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    /// Nothing was said yet.
    #[default]
    New,
    /// The next request is awaited.
    Idle,
    /// The downstream server was asked.
    Asked,
    Closing,
}

impl Session {
    fn received(&mut self, side: Side, bytes: &[u8], out: &mut Outbox) -> io::Result<Next> {
        match (side, bytes) {
            (Side::Client, []) => self.client_ended = true,
            (Side::Client, bytes) => self.requests.push(bytes),
            (Side::Downstream, []) => return Err(io::ErrorKind::UnexpectedEof.into()),
            (Side::Downstream, bytes) => {
                self.answers.push(bytes);
                self.answered(out)?;
            }
        }
        self.go_on(out)
    }

    fn wants_client(&self) -> bool {
        matches!(self.state, State::New | State::Idle) && !self.client_ended
    }

    /// The downstream server has answered, perhaps.
    fn answered(&mut self, out: &mut Outbox) -> io::Result<()> {
        if self.state == State::Asked
            && let Some(text) = self.answers.next()?
        {
            self.count += 1;
            out.client
                .extend_from_slice(answer(self.count, text).as_bytes());
            self.state = State::Idle;
        }
        Ok(())
    }

    /// Does the requests that can be done.
    fn go_on(&mut self, out: &mut Outbox) -> io::Result<Next> {
        let mut next = Next::Continue;
        // Taken out, since a request is borrowed from it.
        let mut requests = mem::take(&mut self.requests);
        while matches!(self.state, State::New | State::Idle) {
            let Some(line) = requests.next()? else {
                break;
            };
            match (self.state, Request::parse(line)) {
                (State::New, Some(Request::Login(name))) => {
                    self.name = name.to_owned();
                    out.client.extend_from_slice(welcome(name).as_bytes());
                    self.state = State::Idle;
                    next = Next::Connect;
                }
                (State::New, _) => self.refuse(message::LOGIN_FIRST, out),
                (_, Some(Request::Ask(text))) => {
                    out.downstream.extend_from_slice(text.as_bytes());
                    out.downstream.push(b'\n');
                    self.state = State::Asked;
                }
                (_, Some(Request::Quit)) => {
                    out.client
                        .extend_from_slice(bye(&self.name, self.count).as_bytes());
                    self.state = State::Closing;
                }
                (_, Some(Request::Login(_))) => self.refuse(message::LOGGED_IN, out),
                (_, None) => self.refuse(message::UNKNOWN, out),
            }
        }
        self.requests = requests;
        if self.state == State::Closing || self.client_ended && self.state != State::Asked {
            next = Next::Close;
        }
        Ok(next)
    }

    fn refuse(&mut self, why: &str, out: &mut Outbox) {
        out.client.extend_from_slice(message::error(why).as_bytes());
        self.state = State::Closing;
    }
}
// ergonomics: end
