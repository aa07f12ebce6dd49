//! What all channels of messages are inside: a buffer, and those who wait, under one lock.
//!
//! # What holds whenever the lock is free
//! * Where a receiver waits there is no message, and no sender waits that has one. (A late one may: a select that has been claimed elsewhere;
//!   and one for which there is no room, since other late ones keep it.)
//! * Where a sender waits there is no room: `buffer.len() + reserved >= capacity`. A rendezvous has a capacity of 0.
//! * Who changes that hands over at once: a sender puts its message into the slot of the receiver that waits longest; a
//!   receiver that makes room moves the message of the sender that waits longest into the buffer. So messages come out
//!   in the order in which they, or their waiting senders, came in, and whoever is woken is done.
//!
//! # Late senders
//! A select makes the message of a send arm only when it has chosen that arm. Until then its sender is *late*: what it is given
//! is a *reservation*: room in the buffer that nobody else fills. At a rendezvous it is a receiver, that has
//! to wait for the message: it lies in the queue PROMISED. If that one leaves before the message comes, the message goes to
//! another, and the sender waits for one if need be.
//!
//! # Watchers
//! One who only wants to know whether something can be done (`Select::ready`) waits in the same queues, with the payload Watch.
//! It is woken by whoever comes, who then goes on as if it had not been there.
//!
//! # Nothing is lost
//! A message that was put into the slot of a receiver that unwinds goes to the next receiver, or back to the front of
//! the buffer, which may hold more than its capacity then. One in the slot of a sender that leaves is the sender's again. Messages are
//! dropped outside the lock. One that may still come back is *in flight* (`ends.rs`).
//!
//! Messages that come back from several receivers which unwind at once come back in the order in which those do.

use crate::atomic::AtomicUsize;
use crate::sync::channel::buffer::Buffer;
use crate::sync::channel::hand_over::{Take, put, take};
use crate::sync::tally::Tally;
use crate::sync::waiters::{self, Enter, Guarded, Place, Waited};
use crate::task::interrupt::Mask;
use crate::time::Moment;

pub(super) const RECEIVERS: usize = 0;
pub(super) const SENDERS: usize = 1;
pub(super) const PROMISED: usize = 2;
const QUEUES: usize = 3;

pub(crate) struct Exchange<T> {
    pub(super) guarded: Guarded<State<T>, Slot<T>, QUEUES>,
    /// As in the state; it does not change.
    capacity: usize,
    tally: Tally,
    pub(super) senders: AtomicUsize,
    pub(super) receivers: AtomicUsize,
    /// Messages that receivers have found in their slots, in NOTICEs; and GONE (`ends.rs`).
    pub(super) noticed: AtomicUsize,
}

pub(super) type Access<'a, T> = waiters::Access<'a, State<T>, Slot<T>, QUEUES>;

type Held<'a, T> = waiters::Held<'a, State<T>, Slot<T>, QUEUES>;

pub(super) struct State<T> {
    pub(super) buffer: Buffer<T>,
    pub(super) capacity: usize,
    /// Room that is kept for late senders.
    pub(super) reserved: usize,
    /// Messages that were put into slots of receivers, in NOTICEs.
    pub(super) handed: usize,
    /// And nothing is in flight.
    pub(super) senders_gone: bool,
    pub(super) receivers_gone: bool,
}

/// What somebody who waits has, or is given.
pub(super) enum Slot<T> {
    /// A receiver's, until there is a message; a sender's, when its message was taken.
    Empty,
    Message(T),
    /// A sender's that will have a message when it has been chosen.
    Late,
    /// The same, chosen.
    Reserved,
    /// A receiver's: what it was promised does not come. It has to look again.
    Broken,
    /// It takes and gives nothing.
    Watch,
}

/// Why nothing was sent; with the message.
pub(super) enum Unsent<T> {
    /// There is no room, or there was none until the deadline.
    Full(T),
    Disconnected(T),
}

/// Why nothing was received.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Unreceived {
    /// There is no message, or there was none until the deadline.
    Empty,
    Disconnected,
}

impl<T> Slot<T> {
    pub(super) fn is_message(&self) -> bool {
        matches!(self, Slot::Message(_))
    }
}

impl<T> State<T> {
    #[inline]
    pub(super) fn has_room(&self) -> bool {
        self.buffer.len() + self.reserved < self.capacity
    }
}

impl<T> Exchange<T> {
    /// For one sender and one receiver.
    pub(super) fn new(capacity: usize, room: usize) -> Exchange<T> {
        Exchange {
            guarded: Guarded::new(State {
                buffer: Buffer::with_room(room),
                capacity,
                reserved: 0,
                handed: 0,
                senders_gone: false,
                receivers_gone: false,
            }),
            capacity,
            tally: Tally::new(),
            senders: AtomicUsize::new(1),
            receivers: AtomicUsize::new(1),
            noticed: AtomicUsize::new(0),
        }
    }

    // ---- sending ----

    #[inline]
    pub(super) fn send(&self, message: T, deadline: Moment) -> Result<(), Unsent<T>> {
        self.tally.count();
        let mut held = self.guarded.hold();
        let access = held.access();
        if access.is_empty(RECEIVERS) && access.state.has_room() && !access.state.receivers_gone {
            access.state.buffer.push(message);
            return Ok(());
        }
        Exchange::send_slowly(held, message, deadline)
    }

    #[inline(never)]
    fn send_slowly(held: Held<'_, T>, message: T, deadline: Moment) -> Result<(), Unsent<T>> {
        let waited = held.wait(
            deadline,
            |access| match put(access, message) {
                Err(Unsent::Full(message)) => Enter::Wait {
                    queue: SENDERS,
                    place: Place::Back,
                    payload: Slot::Message(message),
                },
                done => Enter::Done(done),
            },
            // The message is its own still, or was taken: it is sent then, although the call unwinds.
            |_, _, _| {},
        );
        sent(waited)
    }

    #[inline]
    pub(super) fn try_send(&self, message: T) -> Result<(), Unsent<T>> {
        let done = self.guarded.with(|access| put(access, message));
        if let Err(Unsent::Full(_)) = done {
            self.tally.count_failure();
        }
        done
    }

    // ---- receiving ----

    #[inline]
    pub(super) fn recv(&self, deadline: Moment) -> Result<T, Unreceived> {
        self.tally.count();
        let mut held = self.guarded.hold();
        let access = held.access();
        if access.is_empty(SENDERS)
            && let Some(message) = access.state.buffer.pop()
        {
            return Ok(message);
        }
        self.recv_slowly(held, deadline)
    }

    #[inline(never)]
    fn recv_slowly<'a>(&'a self, mut held: Held<'a, T>, deadline: Moment) -> Result<T, Unreceived> {
        loop {
            let waited = held.wait(
                deadline,
                |access| match take(access) {
                    Take::Message(message) => Enter::Done(Ok(message)),
                    Take::Disconnected => Enter::Done(Err(Unreceived::Disconnected)),
                    Take::Empty => wait_in(RECEIVERS),
                    Take::Promised => wait_in(PROMISED),
                },
                |access, slot, _| self.pass_on(access, slot),
            );
            if let Some(done) = self.received(waited) {
                return done;
            }
            held = self.guarded.hold();
        }
    }

    #[inline]
    pub(super) fn try_recv(&self) -> Result<T, Unreceived> {
        let taken = if self.capacity == 0 {
            self.try_recv_from_sender()
        } else {
            self.guarded.with(|access| match take(access) {
                Take::Message(message) => Ok(message),
                Take::Disconnected => Err(Unreceived::Disconnected),
                Take::Empty | Take::Promised => Err(Unreceived::Empty),
            })
        };
        if let Err(Unreceived::Empty) = taken {
            self.tally.count_failure();
        }
        taken
    }

    /// A late sender makes its message now: that is waited for.
    fn try_recv_from_sender(&self) -> Result<T, Unreceived> {
        let _mask = Mask::new();
        loop {
            let waited = self.guarded.wait(
                Moment::NEVER,
                |access| match take(access) {
                    Take::Message(message) => Enter::Done(Ok(message)),
                    Take::Disconnected => Enter::Done(Err(Unreceived::Disconnected)),
                    Take::Empty => Enter::Done(Err(Unreceived::Empty)),
                    Take::Promised => wait_in(PROMISED),
                },
                |access, slot, _| self.pass_on(access, slot),
            );
            if let Some(done) = self.received(waited) {
                return done;
            }
        }
    }

    // ---- what it is like ----

    pub(super) fn len(&self) -> usize {
        self.guarded.with(|access| access.state.buffer.len())
    }

    pub(super) fn is_full(&self) -> bool {
        self.guarded.with(|access| !access.state.has_room())
    }

    /// `None`: there is no limit.
    pub(super) fn capacity(&self) -> Option<usize> {
        (self.capacity != usize::MAX).then_some(self.capacity)
    }

    /// By what channels are told apart.
    pub(crate) fn guarded_address(&self) -> usize {
        self.guarded.address()
    }

    /// What a receiver's wait has come to. `None`: it has to look again.
    #[inline]
    fn received(
        &self,
        waited: Waited<Result<T, Unreceived>, Slot<T>>,
    ) -> Option<Result<T, Unreceived>> {
        match waited {
            Waited::Done(done) => Some(done),
            Waited::Woken(Slot::Message(message)) => {
                self.notice();
                Some(Ok(message))
            }
            // A promise was broken; or it is the end, unless a message has come back meanwhile.
            Waited::Woken(_) => None,
            Waited::TimedOut(_) => Some(Err(Unreceived::Empty)),
        }
    }
}

/// What a sender's wait has come to.
#[inline]
pub(super) fn sent<T>(waited: Waited<Result<(), Unsent<T>>, Slot<T>>) -> Result<(), Unsent<T>> {
    match waited {
        Waited::Done(done) => done,
        Waited::Woken(Slot::Message(message)) => Err(Unsent::Disconnected(message)),
        Waited::TimedOut(Slot::Message(message)) => Err(Unsent::Full(message)),
        Waited::Woken(_) | Waited::TimedOut(_) => Ok(()),
    }
}

fn wait_in<R, T>(queue: usize) -> Enter<R, Slot<T>> {
    Enter::Wait {
        queue,
        place: Place::Back,
        payload: Slot::Empty,
    }
}
