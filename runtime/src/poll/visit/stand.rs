//! A visit that waits for other things, too: it announces itself and goes on, instead of parking.

use std::io;

use super::{Place, Visit, own};
use crate::poll::interest::View;
use crate::poll::lobby::{Ticket, Withdraw};
use crate::poll::slot::{Announce, Retract, Waiter, Word};
use crate::task::park::Unparker;

/// Where a visit has announced itself.
pub(in crate::poll) enum Stand {
    Word { word: &'static Word, me: Waiter },
    Lobby(Ticket),
}

impl Visit<'_> {
    /// Announces the caller. `view` is what it saw before the attempt that was in vain. `None`: look again.
    ///
    /// The caller has to `step_out` in the end.
    ///
    /// # Errors
    /// Those of registering.
    pub(in crate::poll) fn stand(&mut self, view: Option<View>) -> io::Result<Option<Stand>> {
        let Some(place) = self.place(view)? else {
            return Ok(None);
        };
        match place {
            Place::Lobby(view) => Ok(self.enter_lobby(view).map(Stand::Lobby)),
            Place::Word(view) => {
                let me = Unparker::current().into_raw();
                match view.word.announce(view.seen, me) {
                    Announce::Waiting => {
                        self.responsible = true;
                        let word = view.word;
                        Ok(Some(Stand::Word { word, me }))
                    }
                    Announce::Changed => {
                        drop(own(me));
                        Ok(None)
                    }
                }
            }
        }
    }

    /// Whether nothing has come since.
    pub(in crate::poll) fn stands(&self, stand: &Stand) -> bool {
        match stand {
            Stand::Word { word, me } => word.holds(*me),
            Stand::Lobby(ticket) => {
                let lane = self.interest.lane(self.direction);
                lane.with_queue(|queue| queue.lobby.holds(*ticket))
            }
        }
    }

    /// It is announced no more. If it was taken out, or called, it is responsible now.
    pub(in crate::poll) fn step_out(&mut self, stand: Stand) {
        match stand {
            Stand::Word { word, me } => match word.retract(me) {
                Retract::Retracted => drop(own(me)),
                Retract::Taken => {}
            },
            Stand::Lobby(ticket) => {
                let lane = self.interest.lane(self.direction);
                match lane.with_queue(|queue| queue.lobby.withdraw(ticket)) {
                    Withdraw::Withdrawn(_handle) => {}
                    Withdraw::Called => {
                        self.responsible = true;
                        self.called = true;
                    }
                }
            }
        }
    }
}
