//! The server: sessions outlive their connections, so that a request that comes again is not worked on again.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use withy::net::{TcpListener, TcpStream};
use withy::sync::Mutex;
use withy::sync::channel::{self, Sender};

use crate::buffers::{Buffer, Buffers};
use crate::connection::{self, OUTBOX_FRAMES_MAX, Pulse};
use crate::frame::{Frame, Kind, PAYLOAD_BYTES_MAX, invalid};

/// Calls of one session that are being worked on, or whose answers are not acknowledged. A client that has more breaks
/// the rules.
pub(crate) const CALLS_MAX: usize = 256;

/// Sessions that are remembered, and for how long after their last connection.
const SESSIONS_MAX: usize = 1000;
const SESSION_KEPT: Duration = Duration::from_secs(120);

/// How long the server stops accepting when the system has no descriptor or memory for more.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

pub(crate) type Service = fn(&[u8]) -> Result<Vec<u8>, String>;

pub(crate) struct Server {
    service: Service,
    pulse: Pulse,
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
    /// The number of the session's latest connection, as its client counts them from one: only that is listened to.
    connection: u64,
    /// That one's, until it ends.
    outbox: Option<Sender<Frame>>,
    left: Instant,
}

enum Call {
    Working,
    Done(Kind, Buffer),
}

impl Server {
    pub(crate) fn new(service: Service, pulse: Pulse) -> Arc<Server> {
        Arc::new(Server {
            service,
            pulse,
            sessions: Mutex::default(),
            buffers: Buffers::default(),
        })
    }

    /// Accepts for ever.
    pub(crate) fn serve(self: &Arc<Server>, listener: &TcpListener) -> ! {
        loop {
            match listener.accept() {
                Ok((stream, peer)) => {
                    let server = Arc::clone(self);
                    withy::spawn(move || {
                        let error = server.attend(&stream);
                        log::debug!("connection from {peer} ended: {error}");
                    });
                }
                Err(error) => {
                    log::warn!("cannot take a connection: {error}");
                    withy::sleep(ACCEPT_PAUSE);
                }
            }
        }
    }

    /// One connection, to its end.
    fn attend(self: &Arc<Server>, stream: &TcpStream) -> io::Error {
        if let Err(error) = stream.set_nodelay(true) {
            return error;
        }
        let (outbox, frames) = channel::bounded(OUTBOX_FRAMES_MAX);
        let mut outbox = Some(outbox);
        let attached: OnceLock<Attached> = OnceLock::new();
        let beat = || {
            if let Some(Ok(state)) = attached.get().map(Attached::state)
                && let Some(outbox) = &state.outbox
            {
                // Where there is no room, there is something to send.
                let _ = outbox.try_send(self.beat());
            }
        };
        connection::run(
            stream,
            self.pulse,
            &frames,
            &self.buffers,
            beat,
            |frame| match (frame.kind, attached.get(), outbox.take()) {
                (Kind::Hello, None, Some(outbox)) => {
                    let session = self.session(frame.number)?;
                    let new = Attached::new(session, outbox, &frame.payload)?;
                    attached.get_or_init(|| new);
                    Ok(())
                }
                (Kind::Request, Some(attached), _) => self.request(attached, frame),
                (Kind::Ack, Some(attached), _) => attached.state()?.acknowledge(frame.number),
                (Kind::Beat, Some(_), _) => Ok(()),
                (kind, ..) => Err(invalid(format!("got a frame of kind {kind:?} out of turn"))),
            },
        )
    }

    fn beat(&self) -> Frame {
        Frame {
            kind: Kind::Beat,
            number: 0,
            payload: self.buffers.take(),
        }
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
        let mut state = attached.state()?;
        match state.calls.get(&frame.number) {
            Some(Call::Working) => return Ok(()),
            Some(Call::Done(..)) => return state.send_answer(frame.number, &self.buffers),
            None => {}
        }
        if state.calls.len() >= CALLS_MAX || state.working >= CALLS_MAX {
            return Err(invalid(format!(
                "got another call, expected {CALLS_MAX} in flight at most"
            )));
        }
        state.calls.insert(frame.number, Call::Working);
        state.working += 1;
        drop(state);
        let work = Work {
            server: Arc::clone(self),
            session: Arc::clone(&attached.session),
            number: frame.number,
        };
        // Not in the connection's scope: the work goes on without it.
        withy::spawn(move || work.run(&frame.payload));
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
    fn acknowledge(&mut self, number: u64) -> io::Result<()> {
        self.calls.remove(&number);
        Ok(())
    }

    /// Sends a copy of the answer, if there is a connection; it is kept until it is acknowledged.
    fn send_answer(&self, number: u64, buffers: &Buffers) -> io::Result<()> {
        let (Some(outbox), Some(Call::Done(kind, answer))) =
            (&self.outbox, self.calls.get(&number))
        else {
            return Ok(());
        };
        let frame = Frame {
            kind: *kind,
            number,
            payload: buffers.copy_of(answer),
        };
        let sent = outbox.try_send(frame);
        sent.map_err(|_| invalid("the client does not read its answers"))
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
    fn new(session: Arc<Session>, outbox: Sender<Frame>, hello: &[u8]) -> io::Result<Attached> {
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
        state
            .calls
            .retain(|number, _| wanted.contains(&number.to_be_bytes()));
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
}

impl Work {
    fn run(self, request: &[u8]) {
        let (kind, answer) = match (self.server.service)(request) {
            Ok(answer) => (Kind::Answer, answer),
            Err(text) => (Kind::Failure, text.into_bytes()),
        };
        // The client would not take it, and break every connection on which it comes.
        if answer.len() > PAYLOAD_BYTES_MAX {
            let text = format!("got an answer of {} bytes to send", answer.len());
            return self.done(Kind::Failure, text.as_bytes());
        }
        self.done(kind, &answer);
    }

    fn done(&self, kind: Kind, answer: &[u8]) {
        let buffers = &self.server.buffers;
        let mut state = self.session.state.lock().unwrap();
        if let Some(call @ Call::Working) = state.calls.get_mut(&self.number) {
            *call = Call::Done(kind, buffers.copy_of(answer));
            if state.send_answer(self.number, buffers).is_err() {
                // Given up: it ends as its outbox does.
                state.outbox = None;
            }
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.done(Kind::Failure, b"the service panicked");
        self.session.state.lock().unwrap().working -= 1;
    }
}
