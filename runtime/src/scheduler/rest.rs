//! A worker without work: it searches, spins, sleeps. The order of its steps is the protocol of
//! `scheduler/README.md`.

use core::cell::Cell;
use std::time::{Duration, Instant};

use crate::scheduler::idle::Woken;
use crate::scheduler::spin::Spinner;
use crate::scheduler::{Shared, Worker};
use crate::task::header::TaskRef;
use crate::time::Moment;

/// What a rest came to.
pub(crate) enum Rested {
    /// There may be work in the worker's own queues.
    Look,
    /// Work from elsewhere.
    Run(TaskRef),
    /// The runtime has ended.
    Ended,
}

/// One worker's state of rest.
pub(crate) struct Rest {
    /// Counted as a searcher in `Idle`.
    searching: Cell<bool>,
    spinner: Spinner,
    /// When unused stacks want attention.
    stacks_due: Cell<Option<Instant>>,
    /// Coroutines have ended here since, so there may be unused stacks.
    stacks_used: Cell<bool>,
}

impl Rest {
    pub(crate) fn new(spin_limit: Duration) -> Rest {
        Rest {
            searching: Cell::new(false),
            spinner: Spinner::new(spin_limit),
            stacks_due: Cell::new(None),
            stacks_used: Cell::new(false),
        }
    }

    /// Finds work or sleeps until there may be some.
    #[inline(never)]
    pub(crate) fn rest(&self, worker: &Worker) -> Rested {
        worker.notice_stop();
        worker.notice_quiet();
        worker.open_inbox();
        if worker.has_local_work() {
            return Rested::Look;
        }
        if let Some(task) = self.search(worker) {
            return Rested::Run(task);
        }
        if self.spinner.spin(worker) {
            return Rested::Look;
        }
        self.sleep(worker)
    }

    fn search(&self, worker: &Worker) -> Option<TaskRef> {
        let shared = worker.shared();
        if shared.workers() > 1 {
            if !self.searching.get() {
                self.searching.set(shared.idle.start_search());
            }
            if !self.searching.get() {
                return None;
            }
        }
        worker.steal()
    }

    /// The worker has work: it searches no longer. The last searcher wakes another one if there is more to find.
    #[inline]
    pub(crate) fn found_work(&self, shared: &Shared) {
        if self.searching.get() {
            self.searching.set(false);
            if shared.idle.stop_search() && shared.has_movable_work() {
                shared.notify_work();
            }
        }
    }

    fn sleep(&self, worker: &Worker) -> Rested {
        let shared = worker.shared();
        worker.watched().begin(core::ptr::null_mut());
        // Announce first, look again second, wait third.
        worker.remote().asleep.set();
        if shared.workers() > 1 {
            shared
                .idle
                .sleep(worker.index(), self.searching.replace(false));
        }
        // The wake-up that came with a stop may have ended a look of the spin instead, so the stop is looked for, too.
        let ended = !worker.has_work() && !worker.has_unnoticed_stop() && self.wait(worker);
        worker.remote().asleep.clear();
        worker.watched().end();
        // After that `end`: it has a fence before its look whether the watchdog sleeps.
        shared.watch.wake();
        if shared.workers() > 1 && shared.idle.wake(worker.index()) == Woken::ToSearch {
            self.searching.set(true);
        }
        worker.forget_turn_time();
        if ended { Rested::Ended } else { Rested::Look }
    }

    /// Waits in the netpoller. True: the runtime has ended.
    fn wait(&self, worker: &Worker) -> bool {
        let shared = worker.shared();
        if worker.has_drained() {
            if shared.ending.arrive(shared) {
                return true;
            }
            // Full stealing: a coroutine of another worker's list may wait for a timer of this one.
            let _ = self.poll(worker);
            return shared.ending.leave();
        }
        let events = self.poll(worker);
        self.spinner.note_sleep(events);
        false
    }

    /// Waits until there is an event, or something is due. Gives the number of events.
    fn poll(&self, worker: &Worker) -> usize {
        let clock = &worker.shared().clock;
        if clock.is_virtual() {
            return self.poll_in_virtual_time(worker);
        }
        worker.poll(self.timeout(worker, worker.next_timer()))
    }

    /// As `poll`. The clock goes to the next timer at most, so none fires after its time. That may be a moment at which
    /// the timers want attention only, and none is due: then the worker comes again.
    fn poll_in_virtual_time(&self, worker: &Worker) -> usize {
        let clock = &worker.shared().clock;
        let timer = worker.next_timer();
        let mut events = 0;
        if worker.outstanding() == 0 && timer != Moment::NEVER {
            clock.advance(timer);
        } else {
            let started = Instant::now();
            events = worker.poll_sockets(self.timeout(worker, timer));
            if worker.outstanding() > 0 {
                clock.advance(clock.now().after(started.elapsed()).min(timer));
            }
        }
        worker.fire_timers();
        events
    }

    fn timeout(&self, worker: &Worker, timer: Moment) -> Option<Duration> {
        let stacks_idle = !self.stacks_used.get() && self.stacks_due.get().is_none();
        if timer == Moment::NEVER && stacks_idle {
            // The usual case reads no clock.
            return None;
        }
        let now = Instant::now();
        self.maintain_stacks(worker, now);
        let timer = timer.since(worker.shared().clock.at(now));
        let stacks = self.stacks_due.get();
        let stacks = stacks.map(|due| due.saturating_duration_since(now));
        [timer, stacks].into_iter().flatten().min()
    }

    /// Gives memory of unused stacks back to the kernel, little by little.
    pub(crate) fn maintain_stacks(&self, worker: &Worker, now: Instant) {
        let due = match self.stacks_due.get() {
            Some(due) => due <= now,
            None => self.stacks_used.replace(false),
        };
        if due {
            self.stacks_due.set(worker.maintain_stacks(now));
        }
    }

    /// A coroutine has ended here.
    #[inline]
    pub(crate) fn note_end(&self) {
        self.stacks_used.set(true);
    }
}
