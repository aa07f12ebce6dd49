//! What a coroutine does on its own stack with its worker: it suspends, spends its budget, is told to unwind.

use super::Worker;
use crate::coroutine::Suspend;
use crate::scheduler::shutdown;
use crate::task::no_park::NoPark;
use crate::task::park;

impl Worker {
    #[inline]
    pub(crate) fn suspend_parked(&self) {
        self.suspend(Suspend::Park);
    }

    #[inline]
    pub(crate) fn suspend_yielding(&self) {
        self.suspend(Suspend::Yield);
    }

    #[inline]
    pub(super) fn suspend(&self, why: Suspend) {
        let task = self.running_task();
        if self.shared.config.steal_started {
            // Law 5: what unwinds stays on its thread.
            task.pinned
                .set(task.spec.local || task.pinned_for_life.get() || std::thread::panicking());
        }
        let quiet = !std::thread::panicking();
        let yielder = task.yielder.get();
        match self.shared.config.hook.get() {
            // SAFETY: the caller is the running coroutine, on its own stack.
            None => unsafe { yielder.suspend(why) },
            Some(hook) => {
                // The caller may have announced itself somewhere already: a hook that parked would take its wake-up.
                let _forbidden = NoPark::new(task);
                hook.around(&mut || {
                    let _allowed = NoPark::lifted(task);
                    // SAFETY: as above: the hook calls it on the same stack.
                    unsafe { yielder.suspend(why) };
                });
            }
        }
        task.root().interrupts.come_back(quiet);
    }

    #[inline]
    pub(crate) fn consume_budget(&self) {
        if self.is_running() && self.budget.spend() {
            self.yield_for_others();
        }
    }

    /// So many calls at once.
    pub(crate) fn consume_budget_of(&self, calls: u32) {
        if self.is_running() && self.budget.spend_many(calls) {
            self.yield_for_others();
        }
    }

    #[cold]
    pub(crate) fn yield_for_others(&self) {
        let task = self.running_task();
        if task.no_park.get() > 0 {
            self.budget.postpone();
        } else {
            self.turn.end_early();
            let quiet = !std::thread::panicking();
            self.suspend_yielding();
            // A coroutine that never has to wait can be interrupted here.
            park::look_after_yield(task, quiet);
        }
    }

    // ---- interruption; called on the worker's stack ----

    /// Tells every coroutine of this worker to unwind when the runtime stops.
    pub(crate) fn notice_stop(&self) {
        if self.shared.ending.is_stopping() && !self.cancelled_all.replace(true) {
            shutdown::cancel_all(&self.shared, self.index);
        }
    }

    /// Wakes those that could not be interrupted while a neighbour was unwinding, once that is over.
    pub(crate) fn notice_quiet(&self) {
        if self.withheld.get() && !std::thread::panicking() {
            self.withheld.set(false);
            shutdown::release_withheld(&self.shared, self.index);
        }
    }

    /// Whether what starts from now on must not run.
    pub(crate) fn has_stopped(&self) -> bool {
        // Not `cancelled_all`: a worker hears of the end at its next turn only.
        self.shared.ending.is_stopping()
    }

    /// The running coroutine should be interrupted, but somebody on this thread is in the middle of unwinding.
    pub(crate) fn note_withheld(&self) {
        self.withheld.set(true);
    }

    /// What of this worker's coroutines happens outside: a virtual clock does not jump meanwhile.
    pub(crate) fn outstanding(&self) -> usize {
        self.socket_waits.get() + self.shared.pools.outstanding()
    }
}
