//! One run of a server: what its accept loops and connections share, and the order in which they end.
//!
//! Two scopes lie in each other: the connections', around all, and in it the accept loops'. The token, or a listener that
//! fails, unwinds the loops; with them go the listeners. Then the connections drain, and those that are left are cut off. If the
//! whole is unwound, from any point, each scope cancels and awaits its own, the loops first.

use std::any::Any;
use std::fmt::Debug;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::OnceLock;

use withy_runtime::sync::{Permit, Semaphore};
use withy_runtime::{Builder, CancelToken, Scope, is_interruption, scope};

use super::acceptor::Acceptor;
use super::connection::discard;
use super::counters::{Counters, Summary};
use super::exhaustion::Relief;
use super::listener::Listener;
use super::outcome::Outcome;
use super::server::Settings;

/// What the accept loops and connections of one `serve` share.
pub(super) struct Hall {
    pub(super) settings: Settings,
    pub(super) counters: Counters,
    pub(super) relief: Relief,
    /// Ends the connections.
    pub(super) cut: CancelToken,
    /// Ends the accept loops; of its own, so that one that fails can end the others.
    close: CancelToken,
    /// One for each connection that is served; nobody has got one when all have ended.
    places: Semaphore,
    /// Of the first listener that has failed.
    failure: OnceLock<io::Error>,
}

impl Hall {
    pub(super) fn new(
        settings: Settings,
        counters: Counters,
        close: &CancelToken,
        cut: CancelToken,
    ) -> Hall {
        Hall {
            places: Semaphore::new(settings.connections_max),
            settings,
            counters,
            relief: Relief::default(),
            cut,
            close: close.child(),
            failure: OnceLock::new(),
        }
    }

    /// Serves, from the first connection to the last, which ends with the scope at the latest.
    pub(super) fn open<'scope, 'env, L, H, O>(
        &'env self,
        listeners: Vec<L>,
        handler: &'env H,
        connections: &'scope Scope<'scope, 'env>,
    ) -> io::Result<()>
    where
        L: Listener,
        L::Connection: 'env,
        L::Peer: 'env,
        H: Fn(L::Connection, L::Peer) -> O + Sync,
        O: Outcome,
    {
        // If this unwinds, so do the loops first, and then the connections: each scope cancels its own.
        let workers = withy_runtime::workers()?;
        scope(|loops| {
            let several = listeners.len() > 1;
            for (number, listener) in listeners.into_iter().enumerate() {
                let acceptor = Acceptor {
                    listener,
                    handler,
                    hall: self,
                    connections,
                };
                let accepting = move || self.accept(&acceptor);
                // A single one goes where there is room.
                let builder = match several {
                    true => Builder::new().worker(number % workers),
                    false => Builder::new(),
                };
                if let Err(error) = builder.spawn_scoped(loops, accepting) {
                    // Those that have started would go on for ever.
                    self.fail(error);
                    break;
                }
            }
        });
        // The listeners are closed.
        self.drain();
        Ok(())
    }

    /// When all is over: the sum, or why a listener has failed.
    pub(super) fn close_down(self) -> io::Result<Summary> {
        match self.failure.into_inner() {
            Some(error) => Err(error),
            None => Ok(self.counters.read()),
        }
    }

    /// The life of an accept loop. With it goes the listener.
    fn accept<'scope, 'env, L, H, O>(&self, acceptor: &Acceptor<'scope, 'env, L, H>)
    where
        L: Listener,
        L::Connection: 'env,
        L::Peer: 'env,
        H: Fn(L::Connection, L::Peer) -> O + Sync,
        O: Outcome,
    {
        // However one loop ends, by a panic of its listener too: the others do not go on without it.
        let _last = Closing(&self.close);
        let accepting = || self.cut.run(|| acceptor.run());
        if let Ok(Ok(error)) = self.close.run(accepting) {
            self.fail(error);
        }
    }

    /// A listener has failed, or could not be served: all ends, with the first error.
    fn fail(&self, error: io::Error) {
        let _ = self.failure.set(error);
        self.close.cancel();
    }

    /// Waits for the end of all connections, and cuts off those that do not end in time.
    fn drain(&self) {
        let all = self.settings.connections_max;
        let limit = self.settings.drain;
        let drained = self
            .cut
            .run(|| self.places.acquire_many_timeout(all, limit).is_ok());
        if drained.ok() != Some(true) {
            self.cut.cancel();
        }
    }

    /// Waits for a place for one connection.
    pub(super) fn place(&self) -> Permit<'_> {
        self.places
            .acquire()
            .expect("nobody closes the semaphore of the places")
    }

    /// A handler has panicked.
    pub(super) fn report_panic(&self, peer: &dyn Debug, payload: Box<dyn Any + Send>) {
        // The hook is a user's, and so are the peer's `Debug` and the logger.
        let told = catch_unwind(AssertUnwindSafe(|| match &self.settings.on_panic {
            Some(hook) => hook(peer, &*payload),
            None => log::error!(
                target: "withy::net",
                "the handler of the connection of {peer:?} panicked: {}",
                text_of(&*payload)
            ),
        }));
        discard(payload);
        if let Err(another) = told {
            if is_interruption(&*another) {
                resume_unwind(another);
            }
            discard(another);
            log::error!(target: "withy::net", "the report of a handler's panic has panicked itself");
        }
    }
}

/// Ends the accept loops when it is dropped.
struct Closing<'a>(&'a CancelToken);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// The text of a panic.
fn text_of(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("a payload that is no text")
}
