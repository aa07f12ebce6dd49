//! The arm of a select that waits until a descriptor is ready. It takes nothing.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use super::interest::View;
use super::registration::{Direction, Registration};
use super::slot::Clear;
use super::visit::{Limit, Queued, Stand, Visit};
use crate::context;
use crate::sync::select::{Arm, Lend, Operation, SourceArm};
use crate::task::interrupt;
use crate::task::park::Waiting;
use crate::time::Outstanding;

/// What [`select!`](crate::select) can wait for to be readable or writable: the sockets of `withy-net`, and whatever else has a
/// [`Registration`].
pub trait AsRegistration {
    /// Where its readiness is told. `None`: it is never ready, as an `Option` of a socket where there is none.
    fn registration(&self) -> Option<&Registration>;
}

impl AsRegistration for Registration {
    fn registration(&self) -> Option<&Registration> {
        Some(self)
    }
}

impl<P: AsRegistration> AsRegistration for Option<P> {
    fn registration(&self) -> Option<&Registration> {
        self.as_ref()?.registration()
    }
}

impl<P: AsRegistration + ?Sized> AsRegistration for &P {
    fn registration(&self) -> Option<&Registration> {
        (**self).registration()
    }
}

impl<P: AsRegistration + ?Sized> AsRegistration for &mut P {
    fn registration(&self) -> Option<&Registration> {
        (**self).registration()
    }
}

impl<P: AsRegistration + ?Sized> AsRegistration for Box<P> {
    fn registration(&self) -> Option<&Registration> {
        (**self).registration()
    }
}

impl<P: AsRegistration + ?Sized> AsRegistration for Arc<P> {
    fn registration(&self) -> Option<&Registration> {
        (**self).registration()
    }
}

/// Waits until a call in one direction would not wait.
pub struct SocketArm<'a> {
    registration: Option<&'a Registration>,
    direction: Direction,
    waits: Option<Waits<'a>>,
    /// A plain thread's, while the select waits.
    queued: Option<Queued<'a>>,
}

/// What it needs while the select waits.
struct Waits<'a> {
    visit: Visit<'a>,
    stand: Option<Stand>,
    _outstanding: Outstanding,
}

/// What a look at the descriptor has come to.
enum Seen {
    Ready,
    /// And nothing has come since this view.
    Idle(Option<View>),
}

impl<'a> SocketArm<'a> {
    pub(crate) fn new(
        registration: Option<&'a Registration>,
        direction: Direction,
    ) -> SocketArm<'a> {
        SocketArm {
            registration,
            direction,
            waits: None,
            queued: None,
        }
    }

    fn look(&self, registration: &Registration) -> Seen {
        loop {
            let view = registration.view(self.direction);
            if view.is_some_and(|view| !view.seen.is_ready()) {
                return Seen::Idle(view);
            }
            if self.is_ready_now(registration) {
                return Seen::Ready;
            }
            let Some(mut view) = view else {
                return Seen::Idle(None);
            };
            if let Clear::Cleared(seen) = view.word.clear(view.seen) {
                view.seen = seen;
                return Seen::Idle(Some(view));
            }
        }
    }

    /// A failure is something to be told, too.
    fn is_ready_now(&self, registration: &Registration) -> bool {
        let polled = registration.poll(self.direction);
        polled.map_or_else(|error| error.kind() != io::ErrorKind::WouldBlock, |()| true)
    }

    fn announce_in_coroutine(&mut self, registration: &'a Registration) -> bool {
        if let Some(waits) = &mut self.waits
            && let Some(stand) = waits.stand.take()
        {
            if waits.visit.stands(&stand) {
                waits.stand = Some(stand);
                return false;
            }
            waits.visit.step_out(stand);
        }
        loop {
            let Seen::Idle(view) = self.look(registration) else {
                return true;
            };
            let waits = self.waits.get_or_insert_with(|| Waits {
                visit: registration.visit(self.direction, Limit::Own(None)),
                stand: None,
                _outstanding: Outstanding::new(),
            });
            match waits.visit.stand(view) {
                Ok(None) => {}
                Ok(stand) => {
                    waits.stand = stand;
                    return false;
                }
                // It cannot be waited for. The call that follows says why.
                Err(_) => return true,
            }
        }
    }
}

impl Lend for SocketArm<'_> {
    fn arm(&mut self) -> Arm<'_> {
        Arm::of_source(self)
    }
}

impl Operation for SocketArm<'_> {}

impl SourceArm for SocketArm<'_> {
    fn is_ready(&mut self) -> bool {
        let Some(registration) = self.registration else {
            return false;
        };
        if context::in_coroutine() {
            matches!(self.look(registration), Seen::Ready)
        } else {
            self.is_ready_now(registration)
        }
    }

    fn announce(&mut self, _me: &Waiting) -> bool {
        let Some(registration) = self.registration else {
            return false;
        };
        // Law 5: whoever unwinds from an interruption does not wait for the world.
        if interrupt::is_unwinding() {
            return true;
        }
        if context::in_coroutine() {
            self.announce_in_coroutine(registration)
        } else {
            // Before it looks: a wake-up in between finds it.
            self.queued
                .get_or_insert_with(|| registration.queue_thread(self.direction));
            self.is_ready_now(registration)
        }
    }

    fn retract(&mut self) {
        self.queued = None;
        if let Some(mut waits) = self.waits.take()
            && let Some(stand) = waits.stand.take()
        {
            waits.visit.step_out(stand);
        }
    }

    fn descriptor(&self) -> Option<(BorrowedFd<'_>, Direction)> {
        Some((self.registration?.fd(), self.direction))
    }
}
