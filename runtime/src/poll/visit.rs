//! One call in one direction that may have to wait: deadline, announcement, lobby, baton.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Instant;

use super::interest::{Interest, Lane, View};
use super::lobby::{Ticket, Withdraw};
use super::registration::Direction;
use super::slab::Token;
use super::slot::{Announce, EnterLobby, Retract, Waiter, Word};
use crate::task::park::{self, Unparker};

/// Until when a call waits.
pub(super) enum Limit {
    /// As long as the direction's timeout says, from the moment that it begins to wait or that the timeout was changed.
    Timeout,
    /// Whatever the timeout says.
    Deadline(Option<Instant>),
}

/// A [`Limit`] as a point in time.
pub(super) struct Clock {
    limit: Limit,
    /// The timeout, and the deadline that was computed from it.
    armed: Option<(std::time::Duration, Option<Instant>)>,
}

impl Clock {
    pub(super) fn new(limit: Limit) -> Clock {
        Clock { limit, armed: None }
    }

    /// Whether there is no point in beginning to wait. A timeout begins with the wait.
    fn is_over(&self) -> bool {
        match self.limit {
            Limit::Timeout => false,
            Limit::Deadline(deadline) => has_passed(deadline),
        }
    }

    /// To be called after the caller can be interrupted (`README.md`, G3). A deadline beyond the clock's range is none.
    fn deadline(&mut self, lane: &Lane) -> Option<Instant> {
        if let Limit::Deadline(deadline) = self.limit {
            return deadline;
        }
        let timeout = lane.timeout()?;
        match self.armed {
            Some((armed, deadline)) if armed == timeout => deadline,
            _ => {
                let deadline = Instant::now().checked_add(timeout);
                self.armed = Some((timeout, deadline));
                deadline
            }
        }
    }
}

fn has_passed(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| Instant::now() >= deadline)
}

/// A coroutine's call; dropped when it leaves the direction, however it does.
pub(super) struct Visit<'a> {
    interest: &'a Interest,
    direction: Direction,
    clock: Clock,
    /// Its place in the lobby's order, once it had one.
    ticket: Option<Ticket>,
    /// It must call the next from the lobby when it leaves (`README.md`, B1).
    responsible: bool,
    /// It is counted in the lobby as called.
    called: bool,
    expired: bool,
}

impl<'a> Visit<'a> {
    pub(super) fn new(interest: &'a Interest, direction: Direction, limit: Limit) -> Visit<'a> {
        let clock = Clock::new(limit);
        Visit {
            interest,
            direction,
            clock,
            ticket: None,
            responsible: false,
            called: false,
            expired: false,
        }
    }

    #[inline]
    pub(super) fn view(&self) -> Option<View> {
        self.interest.view(self.direction)
    }

    /// Whether the deadline has passed: the next attempt is the last, for data that races a deadline is returned.
    #[inline]
    pub(super) fn has_expired(&self) -> bool {
        self.expired
    }

    /// Waits until there is a reason to look again, or the deadline has passed. `view` is what the caller saw before
    /// the attempt that failed; none of its changes since is missed.
    ///
    /// # Errors
    /// `TimedOut` for a coroutine that unwinds from a cancellation; those of registering.
    pub(super) fn wait(&mut self, view: Option<View>) -> io::Result<()> {
        if park::is_cancelled_unwinding() {
            park::yield_now();
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "would have to wait while the coroutine unwinds from a cancellation",
            ));
        }
        if self.clock.is_over() {
            self.expired = true;
            return Ok(());
        }
        let Some(view) = view else {
            return self.interest.register(self.direction, Token::NONE);
        };
        if view.seen.is_closed() {
            return self.interest.register(self.direction, view.token);
        }
        if self.interest.settle(self.direction, view)? {
            return Ok(());
        }
        let deadline = self.clock.deadline(self.interest.lane(self.direction));
        let newcomer = self.ticket.is_none() && !self.responsible;
        if view.seen.has_waiter() || (newcomer && view.seen.has_lobby()) {
            self.wait_in_lobby(view);
        } else {
            self.wait_in_word(view, deadline);
        }
        Ok(())
    }

    fn wait_in_word(&mut self, view: View, deadline: Option<Instant>) {
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
            park::park_until(deadline);
            if !announced.word.holds(me) {
                return;
            }
            if has_passed(deadline) {
                self.expired = true;
                return;
            }
        }
    }

    #[cold]
    fn wait_in_lobby(&mut self, view: View) {
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
            return;
        }
        // A caller that was responsible is not any more: the waiter in the word is (B1).
        self.responsible = false;
        self.called = false;
        let seat = Seat {
            visit: self,
            ticket,
        };
        loop {
            // After the caller is in the queue, whose lock shows a change that came before.
            let deadline = seat.visit.clock.deadline(lane);
            if has_passed(deadline) {
                seat.visit.expired = true;
                return;
            }
            park::park_until(deadline);
            if !lane.with_queue(|queue| queue.lobby.holds(ticket)) {
                return;
            }
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
    clock: Clock,
    expired: bool,
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
            clock: Clock::new(limit),
            expired: false,
        }
    }

    /// As [`Visit::has_expired`].
    pub(super) fn has_expired(&self) -> bool {
        self.expired
    }

    /// Blocks the thread until `fd` is ready, or the deadline has passed.
    ///
    /// # Errors
    /// Those of `ThreadParker::park_on_fd`.
    pub(super) fn wait(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let lane = self.lane;
        let ticket = lane.with_queue(|queue| {
            let ticket = queue.threads.ticket();
            queue.threads.admit(ticket, Unparker::current());
            ticket
        });
        // After it is in the queue, whose lock shows a change that came before.
        let deadline = self.clock.deadline(lane);
        let waited = if has_passed(deadline) {
            self.expired = true;
            Ok(())
        } else {
            park::with_thread_parker(|parker| parker.park_on_fd(fd, self.direction, deadline))
        };
        // Outside the lock: what the handle's drop frees is nobody's business.
        let _left = lane.with_queue(|queue| queue.threads.withdraw(ticket));
        waited
    }
}
