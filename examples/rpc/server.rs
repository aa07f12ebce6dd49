//! The server: sessions outlive their connections, so that a request that comes again is not worked on again.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use withy::net::{self, Summary, TcpListener, TcpStream};
use withy::sync::Mutex;
use withy::sync::channel::{self, Sender};

use crate::buffers::{Buffer, Buffers};
use crate::cli::Orders;
use crate::connection::{self, Note, OUTBOX_NOTES_MAX, Pulse};
use crate::frame::{Frame, Kind, PAYLOAD_BYTES_MAX, invalid};

/// Calls of one session that are being worked on, or whose answers are not acknowledged. A client that has more breaks
/// the rules.
pub(crate) const CALLS_MAX: usize = 256;

/// Bytes of their requests and answers together. A request for which there is no room is not worked on, and an answer is
/// not kept: the call fails.
pub(crate) const SESSION_BYTES_MAX: usize = 16 << 20;

/// Sessions that are remembered, and for how long after their last connection. All of them together have 16 GiB: a server for
/// strangers would also bound that.
const SESSIONS_MAX: usize = 1000;
const SESSION_KEPT: Duration = Duration::from_secs(120);

/// Each session has one; the others wait for its takeover, or have not said hello.
const CONNECTIONS_MAX: usize = 2 * SESSIONS_MAX;

pub(crate) type Service = fn(&[u8]) -> Result<Vec<u8>, String>;

pub(crate) struct Server {
    service: Service,
    pulse: Pulse,
    orders: Orders,
    sessions: Mutex<HashMap<u64, Arc<Session>>>,
    buffers: Buffers,
}

/// What is known of a client, whichever connection it uses.
struct Session {
    state: Mutex<State>,
}

struct State {
    /// By their numbers: the calls that the client has not acknowledged.
    calls: HashMap<u64, Call>,
    /// Also those that it has acknowledged before they were done.
    working: usize,
    /// Of the requests that are worked on, and of the answers in `calls`.
    bytes: usize,
    /// The number of the session's latest connection, as its client counts them from one: only that is listened to.
    connection: u64,
    /// That one's, until it ends.
    outbox: Option<Sender<Note>>,
    left: Instant,
}

enum Call {
    Working,
    Done(Kind, Buffer),
}

impl Server {
    pub(crate) fn new(service: Service, pulse: Pulse, orders: Orders) -> Arc<Server> {
        Arc::new(Server {
            service,
            pulse,
            orders,
            sessions: Mutex::default(),
            buffers: Buffers::default(),
        })
    }

    /// Serves until it is told to close, and then until all that is in flight was answered, or the grace period is over.
    pub(crate) fn serve(
        self: &Arc<Server>,
        listener: TcpListener,
        grace: Duration,
    ) -> io::Result<Summary> {
        let server = net::Server::new()
            .connections_max(CONNECTIONS_MAX)
            .until(&self.orders.close)
            .drain_timeout(grace)
            .cut_by(&self.orders.cut);
        withy::scope(|s| {
            let closing = s.spawn(|| {
                self.orders.close.wait();
                let sessions = self.sessions.lock().unwrap();
                sessions.values().for_each(|session| self.let_go(session));
            });
            let summary = server.serve(listener, |stream, _| Err::<(), _>(self.attend(&stream)));
            closing.cancel();
            summary
        })
    }

    /// A connection would go on for ever. When the server closes, it ends as soon as nothing is in flight on it.
    fn let_go(&self, session: &Session) {
        let mut state = session.state.lock().unwrap();
        if self.orders.close.is_cancelled() && state.calls.is_empty() {
            state.outbox = None;
        }
    }

    /// One connection, to its end.
    fn attend(self: &Arc<Server>, stream: &TcpStream) -> io::Error {
        if let Err(error) = stream.set_nodelay(true) {
            return error;
        }
        let (outbox, notes) = channel::bounded(OUTBOX_NOTES_MAX);
        let mut outbox = Some(outbox);
        let attached: OnceLock<Attached> = OnceLock::new();
        let beat = || {
            if let Some(Ok(state)) = attached.get().map(Attached::state)
                && let Some(outbox) = &state.outbox
            {
                // Where there is no room, there is something to send.
                let _ = outbox.try_send((Kind::Beat, 0));
            }
        };
        let payload = |note| attached.get()?.state().ok()?.payload(note, &self.buffers);
        let handle = |frame: Frame| match (frame.kind, attached.get(), outbox.take()) {
            (Kind::Hello, None, Some(outbox)) => {
                let session = self.session(frame.number)?;
                let new = Attached::new(session, outbox, &frame.payload)?;
                self.let_go(&attached.get_or_init(|| new).session);
                Ok(())
            }
            (Kind::Request, Some(attached), _) => self.request(attached, frame),
            (Kind::Ack, Some(attached), _) => {
                attached.state()?.forget(frame.number);
                self.let_go(&attached.session);
                Ok(())
            }
            (Kind::Beat, Some(_), _) => Ok(()),
            (kind, ..) => Err(invalid(format!("got a frame of kind {kind:?} out of turn"))),
        };
        let buffers = &self.buffers;
        connection::run(stream, self.pulse, &notes, buffers, beat, payload, handle)
    }

    /// The session of that number, which may be new.
    fn session(&self, number: u64) -> io::Result<Arc<Session>> {
        let mut sessions = self.sessions.lock().unwrap();
        if let Some(known) = sessions.get(&number) {
            return Ok(Arc::clone(known));
        }
        // At each new one, so that the answers of those that are gone are not kept for the sake of room.
        sessions.retain(|_, session| !session.is_forgotten());
        if sessions.len() >= SESSIONS_MAX {
            return Err(io::Error::other(format!(
                "{SESSIONS_MAX} sessions are open"
            )));
        }
        let session = Arc::new(Session {
            state: Mutex::new(State {
                calls: HashMap::new(),
                working: 0,
                bytes: 0,
                connection: 0,
                outbox: None,
                left: withy::now(),
            }),
        });
        sessions.insert(number, Arc::clone(&session));
        Ok(session)
    }

    /// Begins to work on a request, unless it is known: then its answer is sent again, or will come.
    fn request(self: &Arc<Server>, attached: &Attached, frame: Frame) -> io::Result<()> {
        let (number, request) = (frame.number, frame.payload);
        let mut state = attached.state()?;
        if state.outbox.is_none() {
            let text = "the connection was given up before the request came";
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, text));
        }
        match state.calls.get(&number) {
            Some(Call::Working) => return Ok(()),
            Some(Call::Done(..)) => return state.send_answer(number),
            None => {}
        }
        if state.calls.len() >= CALLS_MAX {
            return Err(invalid(format!(
                "got another call, expected {CALLS_MAX} in flight at most"
            )));
        }
        state.calls.insert(number, Call::Working);
        if state.working >= CALLS_MAX || !state.has_room(request.len()) {
            // Calls that the client has given up are worked on, too.
            let text = "the server has too much to do for this client";
            return state.answer(number, Kind::Failure, self.buffers.copy_of(text.as_bytes()));
        }
        state.working += 1;
        state.bytes += request.len();
        drop(state);
        let work = Work {
            server: Arc::clone(self),
            session: Arc::clone(&attached.session),
            number,
            request,
        };
        // Not in the connection's scope: the work goes on without it.
        withy::spawn(move || work.run());
        Ok(())
    }
}

impl Session {
    fn is_forgotten(&self) -> bool {
        let state = self.state.lock().unwrap();
        state.outbox.is_none() && state.working == 0 && withy::now() >= state.left + SESSION_KEPT
    }
}

impl State {
    fn has_room(&self, bytes: usize) -> bool {
        self.bytes + bytes <= SESSION_BYTES_MAX
    }

    /// Keeps the answer until it is acknowledged, and sends it if there is a connection.
    fn answer(&mut self, number: u64, kind: Kind, answer: Buffer) -> io::Result<()> {
        self.bytes += answer.len();
        self.calls.insert(number, Call::Done(kind, answer));
        self.send_answer(number)
    }

    fn send_answer(&self, number: u64) -> io::Result<()> {
        let (Some(outbox), Some(Call::Done(kind, _))) = (&self.outbox, self.calls.get(&number))
        else {
            return Ok(());
        };
        let sent = outbox.try_send((*kind, number));
        sent.map_err(|_| invalid("the client does not read its answers"))
    }

    /// A copy of the answer that belongs to the note; none if it was acknowledged meanwhile.
    fn payload(&self, (kind, number): Note, buffers: &Buffers) -> Option<Buffer> {
        match (kind, self.calls.get(&number)) {
            (Kind::Beat, _) => Some(buffers.take()),
            (_, Some(Call::Done(_, answer))) => Some(buffers.copy_of(answer)),
            _ => None,
        }
    }

    fn forget(&mut self, number: u64) {
        if let Some(Call::Done(_, answer)) = self.calls.remove(&number) {
            self.bytes -= answer.len();
        }
    }
}

/// A session and the one of its connections that this is.
struct Attached {
    session: Arc<Session>,
    connection: u64,
}

impl Attached {
    /// Takes the session over from its last connection, which ends, as its outbox does. Answers that the client does
    /// not want any more are forgotten.
    fn new(session: Arc<Session>, outbox: Sender<Note>, hello: &[u8]) -> io::Result<Attached> {
        let ([connection, wanted @ ..], []) = hello.as_chunks::<8>() else {
            return Err(invalid(format!("got a hello of {} bytes", hello.len())));
        };
        let connection = u64::from_be_bytes(*connection);
        let mut state = session.state.lock().unwrap();
        // A hello may have been on its way for long.
        if connection <= state.connection {
            return Err(invalid("got a connection that was given up already"));
        }
        state.connection = connection;
        state.outbox = Some(outbox);
        let known: Vec<_> = state.calls.keys().copied().collect();
        for number in known {
            if !wanted.contains(&number.to_be_bytes()) {
                state.forget(number);
            }
        }
        drop(state);
        Ok(Attached {
            session,
            connection,
        })
    }

    /// The session's state, unless a later connection has taken over. What is still in this one's buffers is repeated
    /// there.
    fn state(&self) -> io::Result<withy::sync::MutexGuard<'_, State>> {
        let state = self.session.state.lock().unwrap();
        if state.connection == self.connection {
            return Ok(state);
        }
        let text = "a later connection of the session has taken over";
        Err(io::Error::new(io::ErrorKind::ConnectionAborted, text))
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        if let Ok(mut state) = self.state() {
            state.outbox = None;
            state.left = withy::now();
        }
    }
}

/// One call that is being worked on. It is answered in any case: what is dropped early, by a panic, has failed.
struct Work {
    server: Arc<Server>,
    session: Arc<Session>,
    number: u64,
    request: Buffer,
}

impl Work {
    fn run(self) {
        match (self.server.service)(&self.request) {
            Ok(answer) => self.done(Kind::Answer, &answer),
            Err(text) => self.done(Kind::Failure, text.as_bytes()),
        }
    }

    fn done(&self, kind: Kind, answer: &[u8]) {
        // The client would not take it, and break every connection on which it comes.
        if answer.len() > PAYLOAD_BYTES_MAX {
            let text = format!("got an answer of {} bytes to send", answer.len());
            return self.done(Kind::Failure, text.as_bytes());
        }
        let mut state = self.session.state.lock().unwrap();
        if !matches!(state.calls.get(&self.number), Some(Call::Working)) {
            return;
        }
        let buffers = &self.server.buffers;
        let sent = match state.has_room(answer.len()) {
            true => state.answer(self.number, kind, buffers.copy_of(answer)),
            false => {
                let text = b"the answer found no room among those that are not acknowledged";
                state.answer(self.number, Kind::Failure, buffers.copy_of(text))
            }
        };
        if sent.is_err() {
            // Given up: it ends as its outbox does.
            state.outbox = None;
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.done(Kind::Failure, b"the service panicked");
        let mut state = self.session.state.lock().unwrap();
        state.working -= 1;
        state.bytes -= self.request.len();
    }
}
