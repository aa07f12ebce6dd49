//! A visit that waits for other things, too: it announces itself and goes on, instead of parking.

use std::io;

use super::{Place, Visit, own};
use crate::poll::interest::View;
use crate::poll::lobby::{Ticket, Withdraw};
use crate::poll::slot::{Announce, Retract, Waiter};
use crate::task::park::Unparker;

/// Where a visit has announced itself.
pub(in crate::poll) enum Stand {
    Word { view: View, me: Waiter },
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
                        Ok(Some(Stand::Word { view, me }))
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
            Stand::Word { view, me } => is_same_life(view) && view.word.holds(*me),
            Stand::Lobby(ticket) => {
                let lane = self.interest.lane(self.direction);
                lane.with_queue(|queue| queue.lobby.holds(*ticket))
            }
        }
    }

    /// It is announced no more. If it was taken out, or called, it is responsible now.
    pub(in crate::poll) fn step_out(&mut self, stand: Stand) {
        match stand {
            Stand::Word { view, .. } if !is_same_life(&view) => {}
            Stand::Word { view, me } => match view.word.retract(me) {
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

/// Whether the slot is that of the registration still. If not, `close` has taken the waiter out before; and one caller, who waits for
/// several descriptors, may stand in the slot's next life for another's sake: by its address alone it does not know itself.
fn is_same_life(view: &View) -> bool {
    view.slot.generation() == view.token.generation()
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;
    use crate::poll::interest::Interest;
    use crate::poll::registration::Direction;
    use crate::poll::slab::SlotSet;
    use crate::poll::slot::{Beginning, Carried};
    use crate::poll::visit::Limit;

    /// A caller waits for two descriptors. The first one's registration moves, and its slot becomes the other's: the caller is not
    /// taken to wait for the first still, nor does it leave the word for the other when it leaves the first.
    #[test]
    fn a_caller_knows_in_whose_slot_it_stands() {
        let slots = SlotSet::new(0);
        let begin = || Beginning {
            ready: false,
            lobby: false,
            carried: Carried::NONE,
        };
        let live = || {
            let token = slots.acquire(begin(), begin()).unwrap();
            let slot = token.slot();
            let word = &slot.read;
            let seen = word.load();
            View {
                token,
                slot,
                word,
                seen,
            }
        };
        let (first, other) = std::io::pipe().unwrap();
        let first = Interest::new(first.as_raw_fd());
        let other = Interest::new(other.as_raw_fd());
        let mut first = Visit::new(&first, Direction::Read, Limit::Own(None));
        let mut other = Visit::new(&other, Direction::Read, Limit::Own(None));

        let view = live();
        let for_first = first.stand(Some(view)).unwrap().unwrap();
        assert!(first.stands(&for_first));
        drop(view.word.close().map(own));
        slots.retire(view.token);
        slots.recycle();
        let view = std::iter::repeat_with(live)
            .find(|next| core::ptr::eq(next.slot, view.slot))
            .unwrap();
        let for_other = other.stand(Some(view)).unwrap().unwrap();

        assert!(!first.stands(&for_first));
        first.step_out(for_first);
        assert!(other.stands(&for_other));
        other.step_out(for_other);
    }
}
