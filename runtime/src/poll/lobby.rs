//! Where further callers of one direction wait while another stands in its word: the baton rule of `README.md`.
//!
//! Pure, like `slot.rs`: the lock around it is the caller's.

use std::collections::VecDeque;

use super::slot::{EnterLobby, Snapshot, Word};

/// A place in the order of arrival, kept when a caller has to return to the lobby.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Ticket(u64);

struct Guest<H> {
    ticket: Ticket,
    handle: H,
}

/// Guests in the order of their tickets, each with the handle that wakes it.
pub(crate) struct Lobby<H> {
    guests: VecDeque<Guest<H>>,
    next: u64,
    /// Guests that were called and have not left the direction yet, nor come back: each is responsible.
    called: usize,
}

/// How a guest that leaves by itself was found.
#[must_use]
#[derive(Debug)]
pub(crate) enum Withdraw<H> {
    /// It was still waiting; its handle.
    Withdrawn(H),
    /// It has been called before, and is responsible.
    Called,
}

impl<H> Default for Lobby<H> {
    fn default() -> Lobby<H> {
        Lobby {
            guests: VecDeque::new(),
            next: 0,
            called: 0,
        }
    }
}

impl<H> Lobby<H> {
    /// The next place at the end.
    pub(crate) fn ticket(&mut self) -> Ticket {
        self.next += 1;
        Ticket(self.next)
    }

    /// A guest that waits for the baton, behind the waiter that stands in `seen`; nothing happens if the word has
    /// changed since.
    pub(crate) fn enter(
        &mut self,
        word: &Word,
        seen: Snapshot,
        ticket: Ticket,
        handle: impl FnOnce() -> H,
    ) -> EnterLobby {
        let entered = word.enter_lobby(seen);
        if entered == EnterLobby::Entered {
            self.admit(ticket, handle());
        }
        entered
    }

    /// A newcomer that found nobody in the word: it waits behind guests that wait or are on their way, or it would take
    /// the word from them again and again. Those in the lobby have someone responsible for them (B1), and so has it.
    pub(crate) fn queue_up(&mut self, ticket: Ticket, handle: impl FnOnce() -> H) -> bool {
        let behind_someone = !self.guests.is_empty() || self.called > 0;
        if behind_someone {
            self.admit(ticket, handle());
        }
        behind_someone
    }

    /// A called guest leaves the direction, or comes back to the lobby.
    pub(crate) fn settle_called(&mut self) {
        self.called -= 1;
    }

    /// A guest that waits for no baton.
    pub(crate) fn admit(&mut self, ticket: Ticket, handle: H) {
        let place = self.guests.partition_point(|guest| guest.ticket < ticket);
        self.guests.insert(place, Guest { ticket, handle });
    }

    /// Whether the guest has not been called.
    pub(crate) fn holds(&self, ticket: Ticket) -> bool {
        self.place(ticket).is_some()
    }

    /// Takes a guest out that does not want to wait any longer.
    pub(crate) fn withdraw(&mut self, ticket: Ticket) -> Withdraw<H> {
        match self
            .place(ticket)
            .and_then(|place| self.guests.remove(place))
        {
            Some(guest) => Withdraw::Withdrawn(guest.handle),
            None => Withdraw::Called,
        }
    }

    /// Takes out the guest that came first: it is responsible now, and must be woken. `word`, if there is one, is told
    /// when the lobby is empty and nobody who was called from it is on the way.
    #[must_use]
    pub(crate) fn call(&mut self, word: Option<(&Word, Snapshot)>) -> Option<H> {
        let called = self.guests.pop_front();
        if called.is_some() {
            self.called += 1;
        }
        if self.guests.is_empty()
            && self.called == 0
            && let Some((word, seen)) = word
        {
            word.empty_lobby(seen);
        }
        called.map(|guest| guest.handle)
    }

    /// The handles of all who wait.
    pub(crate) fn handles(&self) -> impl Iterator<Item = &H> {
        self.guests.iter().map(|guest| &guest.handle)
    }

    fn place(&self, ticket: Ticket) -> Option<usize> {
        self.guests
            .binary_search_by_key(&ticket, |guest| guest.ticket)
            .ok()
    }
}
