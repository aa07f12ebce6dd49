//! The accept loop of one listener.

use std::io;
use std::time::Duration;

use withy_runtime::sync::Notified;
use withy_runtime::{Builder, Scope, timeout};

use super::connection::{Arrival, Guest};
use super::exhaustion::{Remedy, Trouble, Troubles};
use super::hall::Hall;
use super::listener::Listener;
use super::outcome::Outcome;

/// The most connections that are turned away between two pauses (law 8).
const SHED_MAX: usize = 256;

pub(super) struct Acceptor<'scope, 'env, L, H> {
    pub(super) listener: L,
    pub(super) handler: &'env H,
    pub(super) hall: &'env Hall,
    pub(super) connections: &'scope Scope<'scope, 'env>,
}

impl<'scope, 'env, L, H, O> Acceptor<'scope, 'env, L, H>
where
    L: Listener,
    H: Fn(L::Connection, L::Peer) -> O + Sync,
    O: Outcome,
    L::Connection: 'env,
    L::Peer: 'env,
{
    /// Accepts until the server is closed, by the token that unwinds it, or the listener fails for good.
    pub(super) fn run(&self) -> io::Error {
        let hall = self.hall;
        let mut troubles = Troubles::new(&hall.relief, hall.settings.patience);
        loop {
            // At the limit, connections wait in the kernel's backlog. The place is not held: with several listeners the
            // last one would otherwise wait at one that nobody connects to.
            drop(hall.place());
            let relief = hall.relief.watch();
            let trouble = match self.listener.accept() {
                Ok((connection, peer)) => {
                    let arrival = Arrival::new(&hall.counters, connection, peer);
                    match self.hand_over(arrival.seat(hall, hall.place())) {
                        Ok(()) => {
                            troubles.are_over();
                            continue;
                        }
                        Err(error) => error,
                    }
                }
                Err(error) => {
                    hall.counters.accept_failed();
                    error
                }
            };
            match Trouble::of(&trouble) {
                Trouble::Final => return trouble,
                kind => self.get_over(troubles.remedy(kind, &trouble), &mut troubles, relief),
            }
        }
    }

    /// Starts the connection's coroutine. Without memory for it, the connection is closed.
    fn hand_over(&self, guest: Guest<'env, L::Connection, L::Peer>) -> io::Result<()> {
        let Acceptor { handler, hall, .. } = *self;
        let idle = hall.settings.idle;
        let prepare = move |connection: &L::Connection| match idle {
            Some(limit) => L::set_idle_timeout(connection, limit),
            None => Ok(()),
        };
        let mut builder = Builder::new();
        if let Some(bytes) = hall.settings.stack_size {
            builder = builder.stack_size(bytes);
        }
        builder
            .spawn_scoped(self.connections, move || guest.attend(prepare, handler))
            .map(drop)
    }

    #[cold]
    fn get_over(&self, remedy: Remedy, troubles: &mut Troubles<'_>, relief: Notified<'_>) {
        let pause = match remedy {
            Remedy::GoOn => return,
            Remedy::Pause(pause) => pause,
            Remedy::Shed(pause) => {
                self.shed(troubles);
                pause
            }
        };
        relief.wait_timeout(pause);
    }

    /// Turns away those who wait in the backlog, with the descriptor that was kept for it.
    fn shed(&self, troubles: &mut Troubles<'_>) {
        if !troubles.give_up_reserve() {
            return;
        }
        for _ in 0..SHED_MAX {
            // Without a wait: who waited may have been accepted by a clone of this listener meanwhile.
            match timeout(Duration::ZERO, || self.listener.accept()) {
                Ok(Ok((connection, peer))) => {
                    Arrival::new(&self.hall.counters, connection, peer).refuse(L::refuse);
                }
                Ok(Err(_)) => {
                    self.hall.counters.accept_failed();
                    break;
                }
                Err(_nobody_waits) => break,
            }
        }
        troubles.take_reserve();
    }
}
