//! A proactor, simulated with a poller: the main thread does the I/O, workers get data.
//!
//! **Flow of control**: the main thread waits until a socket is ready, and does the reading itself: to the workers it looks as if the system
//! had read. A worker is called with what has arrived, says what is to be sent, and what next; the main thread sends it.
//! **Good at**: workers never see a socket, so they are the same on a system that has real completions. **Bad at**: one thread copies all
//! bytes of all connections; two changes of threads for each message; logic in callbacks.
//! **In the wild**: Asio on Linux (its proactor is made of epoll), You Shuang's "Linux high-performance server programming", libuv.

use std::io;
use std::sync::{Arc, Mutex};

use crate::catalog::{AtOnce, Model, Shape, Style, count};
use crate::parts::event_loop::Reactor;
use crate::parts::io_thread::{Answer, IoThread, Logic};
use crate::parts::pollers::Epoll;
use crate::parts::pool::{Pool, with_pool};
use crate::parts::returns::Returns;
use crate::protocol::BUFFER_BYTES;
use crate::protocol::Service;
use crate::protocol::machine::{Machine, Outbox, Side};
use crate::server::Server;

pub(crate) const MODEL: Model = Model {
    name: "simulated-proactor",
    run,
    at_once: AtOnce::Any,
    shape: Shape {
        processes: count(1, 0, 0),
        threads: count(1, 1, 0),
        epolls: count(1, 0, 0),
    },
    style: Style::Callbacks,
    pollers: &[],
};

fn run(server: &Server) -> io::Result<()> {
    let listener = server.listener()?;
    server.ready(listener.local_addr()?);
    let epoll = Epoll::new()?;
    let answers = Returns::new(&epoll)?;
    let call_back = |completion: Completion| completion.call_back(&answers);
    with_pool(server.workers, call_back, |pool| {
        let completions = Completions {
            is_session: server.service != Service::Echo,
            pool,
            buf: vec![0; BUFFER_BYTES],
        };
        let mut reactor = Reactor::with(epoll, IoThread::new(server.service, completions));
        reactor.listen(listener)?;
        while !reactor.is_idle() {
            reactor.turn(|_| {})?;
            for answer in answers.take() {
                reactor.resume(answer.place, |connection| connection.answered(&answer))?;
            }
        }
        Ok(())
    })
}

/// A read that is complete.
struct Completion {
    machine: Arc<Mutex<Machine>>,
    place: usize,
    side: Side,
    bytes: Vec<u8>,
}

impl Completion {
    fn call_back(self, answers: &Returns<Answer>) {
        let mut machine = self.machine.lock().expect("nobody panics with it");
        let mut out = Outbox::default();
        let next = machine.received(self.side, &self.bytes, &mut out);
        // While nobody else can call the machine: answers are in its order.
        answers.push(Answer {
            place: self.place,
            side: self.side,
            out,
            next: next.ok(),
            wants_client: machine.wants_client(),
        });
    }
}

/// Hands completions to the workers.
struct Completions<'a> {
    is_session: bool,
    pool: &'a Pool<Completion>,
    buf: Vec<u8>,
}

impl Logic for Completions<'_> {
    type Handle = Arc<Mutex<Machine>>;

    fn begin(&mut self, _: usize) -> Self::Handle {
        Arc::new(Mutex::new(Machine::new(self.is_session)))
    }

    fn buffer(&mut self) -> Option<&mut [u8]> {
        Some(&mut self.buf)
    }

    fn arrived(&mut self, handle: &Self::Handle, place: usize, side: Side, length: usize) {
        self.pool.push(Completion {
            machine: Arc::clone(handle),
            place,
            side,
            bytes: self.buf[..length].to_vec(),
        });
    }

    fn end(&mut self, _: Self::Handle, _: usize) {}
}
