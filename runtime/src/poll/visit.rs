//! One call in one direction that may have to wait: deadline, announcement, lobby, baton.

mod stand;

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Instant;

use super::interest::{Interest, Lane, View};
use super::limits::{Clock, End};
use super::lobby::{Ticket, Withdraw};
use super::registration::Direction;
use super::slab::Token;
use super::slot::{Announce, EnterLobby, Retract, Waiter, Word};
use crate::context;
use crate::task::interrupt;
use crate::task::park::{self, Unparker};
use crate::task::plain;
use crate::time::{Moment, Outstanding};

pub(super) use stand::Stand;

/// Until when a call waits.
#[derive(Clone, Copy)]
pub(super) enum Limit {
    /// As long as the direction's limits say.
    Shared,
    /// Whatever those say.
    Own(Option<Instant>),
}

/// A [`Limit`], and what has become of it.
struct Patience {
    limit: Limit,
    clock: Clock,
    /// The end that has come: the next attempt is the last, for data that races a deadline is returned.
    expired: Option<End>,
}

impl Patience {
    fn new(limit: Limit) -> Patience {
        Patience {
            limit,
            clock: Clock::default(),
            expired: None,
        }
    }

    /// When the wait ends. To be called after the caller can be interrupted (`README.md`, G3).
    #[inline]
    fn end(&mut self, lane: &Lane) -> Option<End> {
        match self.limit {
            Limit::Shared => self.clock.end(lane.limits()),
            Limit::Own(deadline) => deadline.map(|at| End::at_deadline(Moment::from(at))),
        }
    }

    /// True, and noted, if `end` has come.
    fn expires(&mut self, end: Option<End>) -> bool {
        self.expired = end.filter(|end| end.has_passed());
        self.expired.is_some()
    }

    /// As `expires`, for a wait that has not begun.
    fn expired_before(&mut self, end: Option<End>) -> bool {
        self.expired = end.filter(|end| end.was_over());
        self.expired.is_some()
    }
}

/// Where a call has to wait.
pub(super) enum Place {
    Word(View),
    Lobby(View),
}

/// A coroutine's call; dropped when it leaves the direction, however it does.
pub(super) struct Visit<'a> {
    interest: &'a Interest,
    direction: Direction,
    patience: Patience,
    /// Its place in the lobby's order, once it had one.
    ticket: Option<Ticket>,
    /// It must call the next from the lobby when it leaves (`README.md`, B1).
    responsible: bool,
    /// It is counted in the lobby as called.
    called: bool,
}

impl<'a> Visit<'a> {
    pub(super) fn new(interest: &'a Interest, direction: Direction, limit: Limit) -> Visit<'a> {
        Visit {
            interest,
            direction,
            patience: Patience::new(limit),
            ticket: None,
            responsible: false,
            called: false,
        }
    }

    #[inline]
    pub(super) fn view(&self) -> Option<View> {
        self.interest.view(self.direction)
    }

    /// The end that has come: the next attempt is the last.
    #[inline]
    pub(super) fn expired(&self) -> Option<End> {
        self.patience.expired
    }

    /// Waits until there is a reason to look again, or the end has come. `view` is what the caller saw before
    /// the attempt that failed; none of its changes since is missed.
    ///
    /// # Errors
    /// `TimedOut` for a coroutine that unwinds from a cancellation; those of registering.
    pub(super) fn wait(&mut self, view: Option<View>) -> io::Result<()> {
        refuse_while_unwinding()?;
        // After the load of `view`, and so before anything that fails if the limits have changed since.
        let end = self.patience.end(self.interest.lane(self.direction));
        if self.patience.expired_before(end) {
            return Ok(());
        }
        let Some(place) = self.place(view)? else {
            return Ok(());
        };
        let _outstanding = Outstanding::new();
        match place {
            Place::Word(view) => self.wait_in_word(view, end),
            Place::Lobby(view) => self.wait_in_lobby(view),
        }
        Ok(())
    }

    fn wait_in_word(&mut self, view: View, end: Option<End>) {
        let me = Unparker::current().into_raw();
        match view.word.announce(view.seen, me) {
            Announce::Waiting => self.responsible = true,
            Announce::Changed => return drop(own(me)),
        }
        let announced = Announced {
            word: view.word,
            me,
        };
        loop {
            park::park(end.map_or(Moment::NEVER, End::moment));
            if !announced.word.holds(me) || self.patience.expires(end) {
                return;
            }
        }
    }

    #[cold]
    fn wait_in_lobby(&mut self, view: View) {
        let lane = self.interest.lane(self.direction);
        let Some(ticket) = self.enter_lobby(view) else {
            return;
        };
        let seat = Seat {
            visit: self,
            ticket,
        };
        loop {
            // After the caller is in the queue, whose lock shows a change that came before.
            let end = seat.visit.patience.end(lane);
            if seat.visit.patience.expires(end) {
                return;
            }
            park::park(end.map_or(Moment::NEVER, End::moment));
            if !lane.with_queue(|queue| queue.lobby.holds(ticket)) {
                return;
            }
        }
    }

    /// `None` if the lobby is no place to wait in after all: look again.
    pub(super) fn enter_lobby(&mut self, view: View) -> Option<Ticket> {
        let lane = self.interest.lane(self.direction);
        let known = self.ticket;
        let called = self.called;
        let (ticket, entered) = lane.with_queue(|queue| {
            let ticket = known.unwrap_or_else(|| queue.lobby.ticket());
            let entered = if view.seen.has_waiter() {
                let entered = queue
                    .lobby
                    .enter(view.word, view.seen, ticket, Unparker::current);
                entered == EnterLobby::Entered
            } else {
                queue.lobby.queue_up(ticket, Unparker::current)
            };
            if entered && called {
                queue.lobby.settle_called();
            }
            (ticket, entered)
        });
        // Kept also when the lobby was empty after all: then it goes to the word, as nobody is before it.
        self.ticket = Some(ticket);
        if !entered {
            return None;
        }
        // A caller that was responsible is not any more: the waiter in the word is (B1).
        self.responsible = false;
        self.called = false;
        Some(ticket)
    }

    /// Where the caller has to wait: with the slot's word, or in the lobby. `None`: the descriptor was registered (anew), look again.
    ///
    /// # Errors
    /// Those of registering.
    #[inline]
    pub(super) fn place(&mut self, view: Option<View>) -> io::Result<Option<Place>> {
        let Some(view) = view else {
            self.interest.register(self.direction, Token::NONE)?;
            return Ok(None);
        };
        if view.seen.is_closed() {
            self.interest.register(self.direction, view.token)?;
            return Ok(None);
        }
        if self.interest.settle(self.direction, view)? {
            return Ok(None);
        }
        let newcomer = self.ticket.is_none() && !self.responsible;
        if view.seen.has_waiter() || (newcomer && view.seen.has_lobby()) {
            Ok(Some(Place::Lobby(view)))
        } else {
            Ok(Some(Place::Word(view)))
        }
    }

    /// Calls the next from the lobby, if there is anybody for whom nobody else is responsible.
    #[cold]
    fn pass_baton(&self) {
        let lane = self.interest.lane(self.direction);
        if self.called {
            // First, for a newcomer behind nobody else relies on it.
            lane.with_queue(|queue| queue.lobby.settle_called());
        }
        let view = self.view();
        if let Some(view) = view
            && (!view.seen.has_lobby() || view.seen.has_waiter())
        {
            return;
        }
        let called =
            lane.with_queue(|queue| queue.lobby.call(view.map(|view| (view.word, view.seen))));
        if let Some(next) = called {
            next.unpark();
        }
    }
}

impl Drop for Visit<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.responsible {
            self.pass_baton();
        }
    }
}

/// A waiter that may stand in a word, and must not any more when its call goes on or unwinds.
struct Announced {
    word: &'static Word,
    me: Waiter,
}

impl Drop for Announced {
    #[inline]
    fn drop(&mut self) {
        match self.word.retract(self.me) {
            Retract::Retracted => drop(own(self.me)),
            Retract::Taken => {}
        }
    }
}

/// The reference of a waiter that stands in no word (any more).
fn own(waiter: Waiter) -> Unparker {
    // SAFETY: it came from `into_raw`, and is the caller's: `announce` has not taken it, or `retract` has given it
    // back.
    unsafe { Unparker::from_raw(waiter) }
}

/// A guest that may be in the lobby, and must not any more when its call goes on or unwinds.
struct Seat<'v, 'a> {
    visit: &'v mut Visit<'a>,
    ticket: Ticket,
}

impl Drop for Seat<'_, '_> {
    fn drop(&mut self) {
        let lane = self.visit.interest.lane(self.visit.direction);
        match lane.with_queue(|queue| queue.lobby.withdraw(self.ticket)) {
            Withdraw::Withdrawn(_handle) => {}
            Withdraw::Called => {
                self.visit.responsible = true;
                self.visit.called = true;
            }
        }
    }
}

/// A plain thread's call: it waits in poll(2), in nobody's way.
pub(super) struct ThreadVisit<'a> {
    lane: &'a Lane,
    direction: Direction,
    patience: Patience,
    /// Those of the lane before the last attempt.
    wakes: u32,
}

impl<'a> ThreadVisit<'a> {
    pub(super) fn new(
        interest: &'a Interest,
        direction: Direction,
        limit: Limit,
    ) -> ThreadVisit<'a> {
        let lane = interest.lane(direction);
        ThreadVisit {
            lane,
            direction,
            patience: Patience::new(limit),
            wakes: lane.wakes(),
        }
    }

    /// As [`Visit::expired`].
    pub(super) fn expired(&self) -> Option<End> {
        self.patience.expired
    }

    /// Blocks the thread until `fd` is ready, or the end has come.
    ///
    /// # Errors
    /// Those of `ThreadParker::park_on_fd`.
    pub(super) fn wait(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        refuse_while_unwinding()?;
        let lane = self.lane;
        // Retracts also when the wait unwinds, to a frame of the thread that is due.
        let _queued = Queued::enter(lane);
        // After it is in the queue, whose lock shows a change that came before.
        let end = self.patience.end(lane);
        let waited = if self.patience.expires(end) || lane.wakes() != self.wakes {
            Ok(())
        } else {
            plain::park_on_fd(fd, self.direction, end.map_or(Moment::NEVER, End::moment))
        };
        self.wakes = lane.wakes();
        waited
    }
}

/// A plain thread's place among those that are woken when the limits change, or by [`Registration::wake`](super::Registration::wake).
pub(super) struct Queued<'a> {
    lane: &'a Lane,
    ticket: Ticket,
}

impl<'a> Queued<'a> {
    /// Enters the calling thread.
    pub(super) fn enter(lane: &'a Lane) -> Queued<'a> {
        let ticket = lane.with_queue(|queue| {
            let ticket = queue.threads.ticket();
            queue.threads.admit(ticket, Unparker::current());
            ticket
        });
        Queued { lane, ticket }
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        // Outside the lock: what the handle's drop frees is nobody's business.
        let _left = self
            .lane
            .with_queue(|queue| queue.threads.withdraw(self.ticket));
    }
}

/// For an I/O call that would have to wait, of whatever sort.
///
/// # Errors
/// `TimedOut` for a caller that unwinds from a cancellation or a timeout, after a pass through the scheduler (law 5).
#[doc(hidden)]
pub fn refuse_while_unwinding() -> io::Result<()> {
    if !interrupt::is_unwinding() {
        return Ok(());
    }
    // Not `yield_now`, which panics inside `no_park`: that would be the second panic of this thread.
    context::let_others_run();
    Err(io::Error::new(
        io::ErrorKind::TimedOut,
        "would have to wait while the caller unwinds from a cancellation or a timeout",
    ))
}

/// Whether a wait of the caller's may be cut short: it is a coroutine, or a plain thread in a region that can be unwound. For
/// what can only be left, not interrupted, such as a call of the system's resolver.
#[doc(hidden)]
#[must_use]
pub fn wait_may_unwind() -> bool {
    context::in_coroutine() || interrupt::is_framed()
}
