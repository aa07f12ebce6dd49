//! Where a fresh coroutine starts. In fresh-stealing it stays there for life, so this is part of scheduling.
//!
//! Decided at the first run, not at the spawn: a burst of 10,000 spawns is taken apart by thieves first, and what a
//! worker then takes from its deque it starts itself only while its load (started and unfinished coroutines, and
//! fresh ones that are on their way to it) is within a margin of the least loaded worker's. What lies
//! beyond goes there, and counts there at once (`inbound`), so that a burst does not pile up on the worker that was
//! least loaded when it began. Queue delay needs no figure of its own: a worker that falls behind has its deque
//! emptied by thieves.

use core::cell::Cell;

use crate::scheduler::Shared;

/// Below this difference a coroutine stays where its caches are: children of a small tree are not worth a wake-up.
const MARGIN: usize = 8;
/// Starts between two looks at the other workers' loads.
const LOOK_EVERY: u32 = 16;

/// One worker's view of the loads.
pub(crate) struct Placement {
    /// Starts until the next look.
    until_look: Cell<u32>,
    /// Own load up to which a coroutine is started here without another look.
    keep_up_to: Cell<usize>,
}

impl Placement {
    pub(crate) fn new() -> Placement {
        Placement {
            until_look: Cell::new(0),
            keep_up_to: Cell::new(0),
        }
    }

    /// The worker that should start the next fresh coroutine instead of worker `me`, if any.
    #[inline]
    pub(crate) fn elsewhere(&self, shared: &Shared, me: usize) -> Option<usize> {
        let left = self.until_look.get();
        if left > 0 && shared.remotes[me].load() <= self.keep_up_to.get() {
            self.until_look.set(left - 1);
            return None;
        }
        self.look(shared, me)
    }

    #[cold]
    fn look(&self, shared: &Shared, me: usize) -> Option<usize> {
        // A worker that a coroutine holds for long would hold up what is sent there, too.
        let remotes = shared.remotes.iter().enumerate();
        let takers = remotes.filter(|(index, remote)| *index == me || !remote.is_held());
        let loads = takers.map(|(index, remote)| (index, remote.load()));
        let (least, load) = loads.min_by_key(|&(_, load)| load)?;
        let keep_up_to = load + MARGIN + load / 8;
        self.keep_up_to.set(keep_up_to);
        self.until_look.set(LOOK_EVERY);
        (least != me && shared.remotes[me].load() > keep_up_to).then_some(least)
    }
}
