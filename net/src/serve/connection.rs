//! One connection's life: from accept(2) to the last of it.

use std::any::Any;
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use withy_runtime::sync::Permit;
use withy_runtime::{is_interruption, timeout};

use super::counters::{Counters, End};
use super::hall::Hall;
use super::outcome::Outcome;

/// A connection that was taken from the kernel. It is counted when it comes and when it goes, however it goes; no
/// handler has seen it.
pub(super) struct Arrival<'a, C, P> {
    // Fields are dropped in this order: it is closed before it is counted as gone.
    pub(super) connection: C,
    pub(super) peer: P,
    entry: Entry<'a>,
}

/// Counts one connection.
struct Entry<'a> {
    counters: &'a Counters,
    end: End,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.counters.ended(self.end);
    }
}

impl<'a, C, P> Arrival<'a, C, P> {
    pub(super) fn new(counters: &'a Counters, connection: C, peer: P) -> Arrival<'a, C, P> {
        counters.accepted();
        Arrival {
            connection,
            peer,
            entry: Entry {
                counters,
                end: End::Shed,
            },
        }
    }

    /// It goes as it came.
    pub(super) fn refuse(self, refuse: impl FnOnce(C)) {
        refuse(self.connection);
    }

    /// It gets its place, and with that its turn.
    pub(super) fn seat(self, hall: &'a Hall, place: Permit<'a>) -> Guest<'a, C, P> {
        Guest {
            arrival: self,
            leaving: Leaving {
                hall,
                place: Some(place),
            },
        }
    }
}

/// A connection that has a place.
pub(super) struct Guest<'a, C, P> {
    arrival: Arrival<'a, C, P>,
    leaving: Leaving<'a>,
}

/// Gives the place back when the connection is closed and counted, and says so to acceptors that want a descriptor.
struct Leaving<'a> {
    hall: &'a Hall,
    place: Option<Permit<'a>>,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        drop(self.place.take());
        self.hall.relief.descriptor_freed();
    }
}

/// A handler that runs.
struct Running<'a>(&'a Counters);

impl<'a> Running<'a> {
    fn new(counters: &'a Counters) -> Running<'a> {
        counters.began();
        Running(counters)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.left();
    }
}

impl<C, P: Clone + Debug> Guest<'_, C, P> {
    /// What the connection's coroutine does. `prepare` comes first; an error of it closes the connection.
    pub(super) fn attend<O: Outcome>(
        self,
        prepare: impl FnOnce(&C) -> std::io::Result<()>,
        handler: &(impl Fn(C, P) -> O + Sync),
    ) {
        let Guest { arrival, leaving } = self;
        let Arrival {
            connection,
            peer,
            mut entry,
        } = arrival;
        let hall = leaving.hall;
        // For the report: the handler takes its own.
        let name = peer.clone();
        let handled = catch_unwind(AssertUnwindSafe(|| {
            hall.cut.run(|| {
                if let Err(error) = prepare(&connection) {
                    log::debug!(target: "withy::net", "the connection of {name:?} could not be set up: {error}");
                    return End::Shed;
                }
                // If it unwinds.
                entry.end = End::Cut;
                let _running = Running::new(&hall.counters);
                judge(handler(connection, peer), &name)
            })
        }));
        match handled {
            Ok(Ok(end)) => entry.end = end,
            // Cut off at the end of the drain.
            Ok(Err(_)) => {}
            Err(interruption) if is_interruption(&*interruption) => resume_unwind(interruption),
            Err(panic) => {
                entry.end = End::Panicked;
                report(hall, &name, panic);
            }
        }
    }
}

/// The hook for panics may wait as well, until all are cut off; from then on it runs to its first wait.
fn report(hall: &Hall, name: &dyn Debug, panic: Box<dyn Any + Send>) {
    let mut panic = Some(panic);
    let mut tell = || {
        if let Some(panic) = panic.take() {
            hall.report_panic(name, panic);
        }
    };
    // A token that is cancelled already runs nothing.
    if hall.cut.run(&mut tell).is_err() {
        let _cut = timeout(Duration::ZERO, tell);
    }
}

/// What the handler's value says. Inside the region that catches panics: it is the user's, and so is its destructor.
fn judge(outcome: impl Outcome, peer: &dyn Debug) -> End {
    match outcome.failure() {
        None => End::Finished,
        Some(failure) => {
            log::debug!(target: "withy::net", "the connection of {peer:?} failed: {}", failure.error);
            match failure.timed_out {
                true => End::TimedOut,
                false => End::Failed,
            }
        }
    }
}

/// Drops a panic's payload, whose destructor is the user's and may panic as well.
pub(super) fn discard(payload: Box<dyn Any + Send>) {
    if let Err(another) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        // Its destructor might go on for ever.
        std::mem::forget(another);
    }
}
