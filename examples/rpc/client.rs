//! The client: many calls in flight on one connection, which is made again when it breaks.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use withy::JoinHandle;
use withy::net::{Backoff, TcpStream, reconnect};
use withy::sync::channel::oneshot::{self, oneshot};
use withy::sync::channel::{self, Sender};
use withy::sync::{Mutex, Semaphore};

use crate::buffers::{Buffer, Buffers};
use crate::connection::{self, Note, OUTBOX_NOTES_MAX, Pulse};
use crate::frame::{Frame, Kind, PAYLOAD_BYTES_MAX, invalid};
use crate::server::{CALLS_MAX, SESSION_BYTES_MAX};

const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// Of the delays between attempts to connect.
const DELAY_MIN: Duration = Duration::from_millis(10);
const DELAY_MAX: Duration = Duration::from_secs(5);

/// Shared by reference; the connection ends when it is dropped.
pub(crate) struct Client {
    shared: Arc<Shared>,
    connecting: JoinHandle<()>,
}

/// Why a call has no answer.
#[derive(Debug)]
pub(crate) enum CallError {
    /// It has taken too long. Whether it was worked on is not known.
    Deadline,
    /// The service's own.
    Failed(String),
    TooLong(usize),
}

struct Shared {
    server: SocketAddr,
    pulse: Pulse,
    /// The server knows the client by it, whichever connection it uses.
    session: u64,
    /// One for each call in flight, and one for each byte of their requests: further callers wait.
    room: Semaphore,
    bytes_room: Semaphore,
    buffers: Buffers,
    state: Mutex<State>,
    counts: Counts,
}

#[derive(Default)]
struct State {
    last: u64,
    /// By their numbers, and so in their order: the calls that are not answered yet.
    calls: BTreeMap<u64, Pending>,
    /// The connection's, while there is one.
    outbox: Option<Sender<Note>>,
}

struct Pending {
    request: Buffer,
    answer: oneshot::Sender<Result<Buffer, String>>,
}

/// What has happened so far.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) connections: AtomicUsize,
    /// Connections that ended because the server was silent.
    pub(crate) silent: AtomicUsize,
    /// Requests that were sent again on another connection.
    pub(crate) repeated: AtomicUsize,
}

impl Client {
    /// Connects in the background, for as long as the client lives.
    pub(crate) fn new(server: SocketAddr, pulse: Pulse) -> Client {
        let shared = Arc::new(Shared {
            server,
            pulse,
            session: fastrand::u64(..),
            // A call that its client has given up may still be on its way to the server: so half of what that allows.
            room: Semaphore::new(CALLS_MAX / 2),
            bytes_room: Semaphore::new(SESSION_BYTES_MAX / 2),
            buffers: Buffers::default(),
            state: Mutex::default(),
            counts: Counts::default(),
        });
        let connecting = withy::spawn({
            let shared = Arc::clone(&shared);
            move || shared.keep_connected()
        });
        Client { shared, connecting }
    }

    /// Calls the server, and waits for the answer: over as many connections as it takes, but no longer than `deadline`.
    pub(crate) fn call(&self, request: &[u8], deadline: Duration) -> Result<Buffer, CallError> {
        if request.len() > PAYLOAD_BYTES_MAX {
            return Err(CallError::TooLong(request.len()));
        }
        let answered = withy::timeout(deadline, || {
            let shared = &self.shared;
            let _room = shared.room.acquire().expect("it is never closed");
            let _bytes_room = shared.bytes_room.acquire_many(request.len());
            let (call, answer) = InFlight::begin(&self.shared, request);
            let answer = answer.recv().expect("the connection's end drops no call");
            drop(call);
            answer
        });
        match answered {
            Ok(answer) => answer.map_err(CallError::Failed),
            Err(_elapsed) => Err(CallError::Deadline),
        }
    }

    pub(crate) fn counts(&self) -> &Counts {
        &self.shared.counts
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.connecting.cancel();
    }
}

impl Shared {
    /// One connection after another.
    fn keep_connected(&self) {
        let mut backoff = Backoff::new(DELAY_MIN, DELAY_MAX);
        loop {
            let connect = || TcpStream::connect_timeout(&self.server, CONNECT_LIMIT);
            let stream = reconnect(&mut backoff, connect).expect("it tries without end");
            let number = 1 + self.counts.connections.fetch_add(1, Ordering::Relaxed);
            let error = self.use_connection(&stream, number, &mut backoff);
            if error.kind() == io::ErrorKind::TimedOut {
                self.counts.silent.fetch_add(1, Ordering::Relaxed);
            }
            log::info!("connection to {} ended: {error}", self.server);
        }
    }

    /// Says hello, asks again for what is not answered, and goes on until the connection fails.
    fn use_connection(
        &self,
        stream: &TcpStream,
        number: usize,
        backoff: &mut Backoff,
    ) -> io::Error {
        if let Err(error) = stream.set_nodelay(true) {
            return error;
        }
        let (outbox, notes) = channel::bounded(OUTBOX_NOTES_MAX);
        self.begin(outbox);
        let beat = || self.state.lock().unwrap().send(Kind::Beat, 0);
        let payload = |note| self.payload(note, number);
        let handle = |frame: Frame| {
            // It has proved good.
            backoff.reset();
            match frame.kind {
                Kind::Answer | Kind::Failure => self.answered(frame),
                Kind::Beat => {}
                kind => return Err(invalid(format!("got a frame of kind {kind:?} out of turn"))),
            }
            Ok(())
        };
        let buffers = &self.buffers;
        let error = connection::run(stream, self.pulse, &notes, buffers, beat, payload, handle);
        self.state.lock().unwrap().outbox = None;
        error
    }

    fn begin(&self, outbox: Sender<Note>) {
        let mut state = self.state.lock().unwrap();
        state.outbox = Some(outbox);
        let repeated: Vec<_> = state.calls.keys().copied().collect();
        self.counts
            .repeated
            .fetch_add(repeated.len(), Ordering::Relaxed);
        state.send(Kind::Hello, self.session);
        for number in repeated {
            state.send(Kind::Request, number);
        }
    }

    /// What belongs to the note on this connection; none to a request that was given up.
    fn payload(&self, (kind, number): Note, connection: usize) -> Option<Buffer> {
        let state = self.state.lock().unwrap();
        match kind {
            Kind::Hello => {
                let mut hello = self.buffers.copy_of(&(connection as u64).to_be_bytes());
                for number in state.calls.keys() {
                    hello.extend_from_slice(&number.to_be_bytes());
                }
                Some(hello)
            }
            Kind::Request => {
                let call = state.calls.get(&number)?;
                Some(self.buffers.copy_of(&call.request))
            }
            _ => Some(self.buffers.take()),
        }
    }

    /// Gives the answer to its caller, and lets the server forget it in any case.
    fn answered(&self, frame: Frame) {
        let mut state = self.state.lock().unwrap();
        if let Some(call) = state.calls.remove(&frame.number) {
            let answer = match frame.kind {
                Kind::Failure => Err(String::from_utf8_lossy(&frame.payload).into_owned()),
                _ => Ok(frame.payload),
            };
            // A caller that has just given up does not take it.
            drop(call.answer.send(answer));
        }
        state.send(Kind::Ack, frame.number);
    }
}

impl State {
    /// Sends if there is a connection, and gives it up if that has no room: then its server does not read. What matters
    /// is said again on the next.
    fn send(&mut self, kind: Kind, number: u64) {
        if self
            .outbox
            .as_ref()
            .is_some_and(|outbox| outbox.try_send((kind, number)).is_err())
        {
            self.outbox = None;
        }
    }
}

/// A call that was begun. When it ends without an answer, nobody wants that any more.
struct InFlight<'a> {
    shared: &'a Shared,
    number: u64,
}

impl<'a> InFlight<'a> {
    fn begin(
        shared: &'a Shared,
        request: &[u8],
    ) -> (InFlight<'a>, oneshot::Receiver<Result<Buffer, String>>) {
        let (answer, receiver) = oneshot();
        let request = shared.buffers.copy_of(request);
        let mut state = shared.state.lock().unwrap();
        state.last += 1;
        let number = state.last;
        state.calls.insert(number, Pending { request, answer });
        let call = InFlight { shared, number };
        state.send(Kind::Request, number);
        (call, receiver)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock().unwrap();
        if state.calls.remove(&self.number).is_some() {
            state.send(Kind::Ack, self.number);
        }
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::Deadline => write!(f, "the call has taken too long"),
            CallError::Failed(text) => write!(f, "the call has failed: {text}"),
            CallError::TooLong(bytes) => write!(
                f,
                "got a request of {bytes} bytes, expected {PAYLOAD_BYTES_MAX} at most"
            ),
        }
    }
}

impl std::error::Error for CallError {}
