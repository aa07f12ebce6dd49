//! A ring buffer, as in the LMAX Disruptor: one I/O thread, one business thread, and between them rings of slots that were made once.
//!
//! **Flow of control**: the I/O thread reads from a socket straight into the next slot of a ring. The business thread goes through the slots
//! in order, calls the connection's machine, and puts what it says into a second ring; the I/O thread sends it. Nobody takes a lock.
//! **Good at**: all of the logic in one thread, so without locks, and with its data in one core's caches; batches arise by themselves under load. **Bad at**: all of
//! the logic in one thread, which must never wait; a core that spins, or wake-ups, as here; callbacks.
//! **In the wild**: LMAX's exchange, Aeron, log4j's asynchronous appenders.

use std::collections::VecDeque;
use std::hint;
use std::io;
use std::thread::{self, Thread};

use mio::{Token, Waker};

use crate::catalog::{AtOnce, Model, Shape, Style, count};
use crate::parts::event_loop::{RESERVED, Reactor};
use crate::parts::io_thread::{Answer, Connection, IoThread, Logic};
use crate::parts::pollers::Epoll;
use crate::parts::ring::{Consumer, Producer, Ring, Sleeper};
use crate::protocol::machine::{Machine, Outbox, Side};
use crate::protocol::{BUFFER_BYTES, LINE_BYTES_MAX, Service};
use crate::server::Server;

pub(crate) const MODEL: Model = Model {
    name: "ring-buffer",
    run,
    at_once: AtOnce::Any,
    shape: Shape {
        processes: count(1, 0, 0),
        threads: count(2, 0, 0),
        epolls: count(1, 0, 0),
    },
    style: Style::Callbacks,
    pollers: &[],
};

/// Of each ring. A power of two.
const SLOTS: usize = 256;

/// How often the business thread looks for more before it sleeps: about what a wake-up costs.
const LOOKS_MAX: usize = 64;

/// What the I/O thread tells the business thread.
struct Arrival {
    place: usize,
    what: What,
    buf: Box<[u8]>,
}

#[derive(Clone, Copy)]
enum What {
    /// So many bytes have arrived there; none are its end.
    Bytes(Side, usize),
    /// The connection has ended: another may have its place.
    Ended,
    /// There will be nothing more.
    Stop,
}

fn run(server: &Server) -> io::Result<()> {
    let listener = server.listener()?;
    server.ready(listener.local_addr()?);
    let epoll = Epoll::new()?;
    let waker = Waker::new(epoll.poll.registry(), Token(RESERVED))?;
    let wake = || waker.wake().expect("an eventfd can be written");
    let mut arrivals = Ring::new(SLOTS, new_arrival);
    let mut answers = Ring::new(SLOTS, new_answer);
    let (arrivals_in, arrivals_out) = arrivals.split();
    let (answers_in, mut answers_out) = answers.split();
    let io_sleeper = Sleeper::default();
    let business_sleeper = Sleeper::default();
    let business = Business {
        is_session: server.service != Service::Echo,
        machines: Vec::new(),
        arrivals: arrivals_out,
        answers: answers_in,
        sleeper: &business_sleeper,
        io_sleeper: &io_sleeper,
        wake_io: &wake,
    };
    thread::scope(|threads| {
        let business = threads.spawn(|| business.run());
        let rings = Rings {
            arrivals: arrivals_in,
            unsaid: VecDeque::new(),
            sleeper: &business_sleeper,
            business: business.thread().clone(),
        };
        let mut reactor = Reactor::with(epoll, IoThread::new(server.service, rings));
        let result = reactor.listen(listener).and_then(|()| {
            while !reactor.is_idle() {
                io_sleeper.lie_down();
                // Then it looks at the sockets all the same, but does not wait.
                if !answers_out.is_empty() || reactor.serves.has_room_at_last() {
                    reactor.look(|_| {})?;
                } else {
                    reactor.turn(|_| {})?;
                }
                io_sleeper.get_up();
                take_answers(&mut reactor, &mut answers_out)?;
            }
            Ok(())
        });
        let rings = &mut reactor.serves.logic;
        rings.stop(&mut answers_out, || business.is_finished());
        result
    })
}

fn new_arrival() -> Arrival {
    Arrival {
        place: 0,
        what: What::Stop,
        buf: vec![0; BUFFER_BYTES].into(),
    }
}

fn new_answer() -> Answer {
    Answer {
        place: 0,
        side: Side::Client,
        out: Outbox {
            client: Vec::with_capacity(BUFFER_BYTES),
            downstream: Vec::with_capacity(LINE_BYTES_MAX),
        },
        next: None,
        wants_client: false,
    }
}

/// Sends what the business thread has said, a ring at most, and goes on where there was no room.
fn take_answers(
    reactor: &mut Reactor<Epoll, IoThread<Rings<'_>>>,
    answers: &mut Consumer<'_, Answer>,
) -> io::Result<()> {
    for _ in 0..SLOTS {
        let Some(answer) = answers.peek() else {
            break;
        };
        reactor.resume(answer.place, |connection| connection.answered(answer))?;
        answers.consume();
    }
    reactor.serves.logic.say_what_is_unsaid();
    for place in reactor.serves.take_starved() {
        reactor.resume(place, Connection::fed)?;
    }
    reactor.serves.logic.rouse();
    Ok(())
}

/// The I/O thread's end.
struct Rings<'a> {
    arrivals: Producer<'a, Arrival>,
    /// Ends of connections for which there was no room; nothing else is said before them.
    unsaid: VecDeque<usize>,
    sleeper: &'a Sleeper,
    business: Thread,
}

impl Logic for Rings<'_> {
    type Handle = ();

    fn begin(&mut self, _: usize) {}

    fn buffer(&mut self) -> Option<&mut [u8]> {
        if !self.unsaid.is_empty() {
            return None;
        }
        self.arrivals.claim().map(|arrival| &mut *arrival.buf)
    }

    fn arrived(&mut self, (): &(), place: usize, side: Side, length: usize) {
        let is_said = self.say(place, What::Bytes(side, length));
        assert!(is_said, "it has read to the slot");
    }

    fn end(&mut self, (): (), place: usize) {
        self.unsaid.push_back(place);
        self.say_what_is_unsaid();
    }
}

impl IoThread<Rings<'_>> {
    /// There is something that had no room when it came, and now there is room: the business thread may have made it, and said so,
    /// just before this thread lay down.
    fn has_room_at_last(&mut self) -> bool {
        let waits = self.has_starved() || !self.logic.unsaid.is_empty();
        waits && !self.logic.arrivals.is_full()
    }
}

impl Rings<'_> {
    fn say(&mut self, place: usize, what: What) -> bool {
        let Some(arrival) = self.arrivals.claim() else {
            return false;
        };
        (arrival.place, arrival.what) = (place, what);
        self.arrivals.publish();
        true
    }

    fn say_what_is_unsaid(&mut self) {
        while let Some(&place) = self.unsaid.front()
            && self.say(place, What::Ended)
        {
            self.unsaid.pop_front();
        }
    }

    /// After things were said, or answers taken: it may have waited for room for them, but only if there is something left to answer.
    fn rouse(&mut self) {
        if !self.arrivals.is_drained() {
            self.sleeper.rouse(|| self.business.unpark());
        }
    }

    /// Lets the business thread come to its end. Nobody needs answers any more; it needs room for them.
    fn stop(&mut self, answers: &mut Consumer<'_, Answer>, has_stopped: impl Fn() -> bool) {
        let mut is_said = false;
        while !has_stopped() {
            while answers.peek().is_some() {
                answers.consume();
            }
            is_said = is_said || self.say(0, What::Stop);
            self.rouse();
            thread::yield_now();
        }
    }
}

/// The other end.
struct Business<'a, W> {
    is_session: bool,
    machines: Vec<Option<Machine>>,
    arrivals: Consumer<'a, Arrival>,
    answers: Producer<'a, Answer>,
    sleeper: &'a Sleeper,
    io_sleeper: &'a Sleeper,
    wake_io: &'a W,
}

impl<W: Fn()> Business<'_, W> {
    fn run(mut self) {
        loop {
            self.wait();
            let Some(arrival) = self.arrivals.peek() else {
                continue;
            };
            match arrival.what {
                What::Stop => return,
                What::Ended => {
                    if let Some(machine) = self.machines.get_mut(arrival.place) {
                        *machine = None;
                    }
                }
                What::Bytes(side, length) => {
                    if self.machines.len() <= arrival.place {
                        self.machines.resize_with(arrival.place + 1, || None);
                    }
                    let machine = self.machines[arrival.place]
                        .get_or_insert_with(|| Machine::new(self.is_session));
                    let Some(answer) = self.answers.claim() else {
                        continue;
                    };
                    answer.out.client.clear();
                    answer.out.downstream.clear();
                    let bytes = &arrival.buf[..length];
                    answer.next = machine.received(side, bytes, &mut answer.out).ok();
                    answer.wants_client = machine.wants_client();
                    (answer.place, answer.side) = (arrival.place, side);
                    self.answers.publish();
                }
            }
            self.arrivals.consume();
        }
    }

    /// Until there is something to be done, and room for the answer.
    fn wait(&mut self) {
        if self.can_go_on() {
            return;
        }
        // What was said since the last time is a batch: the I/O thread is woken once for it.
        self.io_sleeper.rouse(self.wake_io);
        for _ in 0..LOOKS_MAX {
            if self.can_go_on() {
                return;
            }
            hint::spin_loop();
        }
        loop {
            self.sleeper.lie_down();
            if self.can_go_on() {
                self.sleeper.get_up();
                return;
            }
            thread::park();
        }
    }

    fn can_go_on(&mut self) -> bool {
        !self.arrivals.is_empty() && !self.answers.is_full()
    }
}
