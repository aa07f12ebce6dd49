//! What a worker runs next: its own queues, what comes from outside, what it takes from others.

use std::time::{Duration, Instant};

use crossbeam_deque::Steal;

use super::{QUEUE_RUNS, Worker};
use crate::scheduler::queue::LocalQueue;
use crate::scheduler::seed::Random;
use crate::task::header::TaskRef;

impl Worker {
    /// The next coroutine from this worker's own queues, and now and then from outside.
    #[inline]
    pub(super) fn next(&self) -> Option<TaskRef> {
        if self.turn.is_due() {
            self.take_turn();
        }
        if let Some(task) = self.with_local(LocalQueue::pop_lifo) {
            return Some(task);
        }
        // In turn, so that neither new nor woken work starves.
        let turn = self.deque_runs.get();
        self.deque_runs.set(if turn == QUEUE_RUNS {
            1 - QUEUE_RUNS
        } else {
            turn + 1
        });
        if turn > 0 {
            self.pop_deque()
                .or_else(|| self.with_local(LocalQueue::pop))
        } else {
            self.with_local(LocalQueue::pop)
                .or_else(|| self.pop_deque())
        }
    }

    /// The next fresh (or movable) coroutine that shall run here.
    #[inline]
    pub(super) fn pop_deque(&self) -> Option<TaskRef> {
        if self.alone {
            return self.with_local(LocalQueue::pop_unshared);
        }
        loop {
            let task = self.deque.pop()?;
            if let Some(task) = self.keep(task) {
                return Some(task);
            }
        }
    }

    /// Keeps a coroutine to run it here, or sends it to a worker with less to do.
    #[inline]
    pub(super) fn keep(&self, task: TaskRef) -> Option<TaskRef> {
        if !task.is_fresh() {
            return Some(task);
        }
        match self.placement.elsewhere(&self.shared, self.index) {
            None => Some(task),
            Some(worker) => {
                self.shared.send_fresh(worker, task);
                None
            }
        }
    }

    /// Inbox, injector, timers, netpoller: what comes from outside.
    #[cold]
    pub(super) fn take_turn(&self) {
        self.open_inbox();
        let share = self.shared.injector_share();
        self.shared
            .injector
            .pop_batch(share, |task| self.push_stealable(task));
        let _ = self.poll(Some(Duration::ZERO));
        self.notice_stop();
        self.notice_quiet();
        if let Some(random) = &self.random {
            self.draw_next(random);
        }
        let now = Instant::now();
        if self.shared.config.is_reproducible() {
            self.turn.restart();
        } else {
            self.turn.tune(now);
        }
        self.rest.maintain_stacks(self, now);
    }

    /// Lets chance choose what runs next, and for how many calls.
    #[cold]
    pub(super) fn draw_next(&self, random: &Random) {
        let runnable = self.with_local(|local| local.len());
        // Of none no number is drawn: how often a worker looks in vain depends on what is outside.
        if runnable > 0 {
            self.budget.draw(random);
            let index = random.below(runnable);
            self.with_local(|local| local.prefer(index));
        }
    }

    /// The pause was no run: what comes after it is measured anew.
    pub(crate) fn forget_turn_time(&self) {
        self.turn.forget();
    }

    /// Waits in the netpoller for `timeout` at most, then serves the timers.
    /// Returns how many sockets had events.
    pub(crate) fn poll(&self, timeout: Option<Duration>) -> usize {
        let events = self.poll_sockets(timeout);
        self.fire_timers();
        events
    }

    pub(crate) fn poll_sockets(&self, timeout: Option<Duration>) -> usize {
        let driver = self.driver();
        if timeout == Some(Duration::ZERO) && !driver.has_sources() {
            return 0;
        }
        match driver.turn(timeout) {
            Ok(events) => events,
            // A netpoller that fails would leave its sockets waiting for ever.
            Err(error) => panic!("worker {}'s netpoller failed: {error}", self.index),
        }
    }

    pub(crate) fn fire_timers(&self) {
        let timers = &self.remote().timers;
        // SAFETY: this is the owner worker's thread.
        unsafe {
            if !timers.is_empty() {
                timers.fire(self.shared.clock.now());
            }
        }
    }

    /// Moves what others handed over to the local queue.
    pub(crate) fn open_inbox(&self) {
        let inbox = &self.remote().inbox;
        if inbox.is_empty() {
            return;
        }
        for task in inbox.take_all() {
            // SAFETY: the inbox hands over the reference with the queue link.
            let task = unsafe { TaskRef::from_raw(task) };
            self.with_local(|local| local.push(task));
        }
    }

    /// Takes movable work from the injector or another worker.
    pub(crate) fn steal(&self) -> Option<TaskRef> {
        let shared = &*self.shared;
        let share = shared.injector_share();
        shared
            .injector
            .pop_batch(share, |task| self.push_stealable(task));
        if self.random.is_some() {
            // What has come is drawn from at the next turn.
            return None;
        }
        if let Some(task) = self.pop_deque() {
            return Some(task);
        }
        let workers = shared.workers();
        for step in 1..workers {
            let victim = &shared.remotes[(self.index + step) % workers];
            loop {
                match victim.stealer.steal_batch_and_pop(&self.deque) {
                    Steal::Success(task) => {
                        if let Some(task) = self.keep(task).or_else(|| self.pop_deque()) {
                            return Some(task);
                        }
                        break;
                    }
                    Steal::Retry => core::hint::spin_loop(),
                    Steal::Empty => break,
                }
            }
        }
        None
    }

    pub(crate) fn has_local_work(&self) -> bool {
        !self.with_local(|local| local.is_empty()) || !self.deque.is_empty()
    }

    /// Whether the runtime stops and nothing is left for this worker to unwind.
    pub(crate) fn has_drained(&self) -> bool {
        self.cancelled_all.get() && self.remote().load() == 0
    }

    /// Whether the runtime stops and this worker has not told its coroutines yet.
    pub(crate) fn has_unnoticed_stop(&self) -> bool {
        self.shared.ending.is_stopping() && !self.cancelled_all.get()
    }

    /// Whether there is anything for this worker to do.
    pub(crate) fn has_work(&self) -> bool {
        !self.with_local(|local| local.is_empty())
            || !self.remote().inbox.is_empty()
            || self.shared.has_movable_work()
    }

    // ---- queueing ----

    /// Queues a coroutine that yielded or was notified while it parked, behind the others.
    #[inline]
    pub(super) fn push_again(&self, task: TaskRef) {
        if self.shared.config.steal_started && !task.pinned.get() {
            self.push_movable(task);
        } else {
            self.with_local(|local| local.push(task));
        }
    }

    /// Queues a pinned coroutine of this worker that was woken on this worker.
    #[inline]
    pub(crate) fn push_woken(&self, task: TaskRef) {
        if self.is_running() {
            self.with_local(|local| local.push_lifo(task));
        } else {
            self.with_local(|local| local.push(task));
        }
    }

    /// Queues what any worker may run.
    #[inline]
    pub(crate) fn push_movable(&self, task: TaskRef) {
        self.push_stealable(task);
        if !self.alone {
            self.shared.notify_work();
        }
    }

    #[inline]
    pub(super) fn push_stealable(&self, task: TaskRef) {
        if self.alone {
            self.with_local(|local| local.push_unshared(task));
        } else {
            self.deque.push(task);
        }
    }

    /// Queues a fresh coroutine that must run here.
    pub(crate) fn push_local(&self, task: TaskRef) {
        self.with_local(|local| local.push(task));
    }
}
