//! A worker: the OS thread's loop that runs coroutines.

use core::cell::{Cell, UnsafeCell};
use core::ptr::NonNull;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_deque::{Steal, Worker as Deque};

use crate::atomic::Ordering;
use crate::context;
use crate::coroutine::{Suspend, Switch, Switched};
use crate::poll::Driver;
use crate::scheduler::budget::Budget;
use crate::scheduler::placement::Placement;
use crate::scheduler::queue::LocalQueue;
use crate::scheduler::rest::{Rest, Rested};
use crate::scheduler::shared::Remote;
use crate::scheduler::{Shared, shutdown};
use crate::stack::{StackCache, StackSize};
use crate::task::header::{Header, TaskRef};
use crate::task::join;
use crate::task::park::NoPark;
use crate::task::records::Records;
use crate::task::state::Park;
use crate::time::Timers;

/// The injector, the inbox, the timers and the netpoller come first at every so manieth run.
const TURN_RUNS_MAX: u32 = 61;
/// Local queue and deque take turns of so many runs: singly, a coroutine that joins a batch of children would be woken
/// by each (measured: 300 instructions a child).
const QUEUE_RUNS: i32 = 16;
/// Turns come after so much time, too: the number of runs between turns shrinks when runs are long.
const TURN_TIME: Duration = Duration::from_micros(200);

/// The part of a worker that only its thread touches.
pub(crate) struct Worker {
    shared: Arc<Shared>,
    index: usize,
    local: UnsafeCell<LocalQueue>,
    /// Fresh coroutines; in full stealing, all that may move.
    deque: Deque<TaskRef>,
    stacks: UnsafeCell<StackCache>,
    records: UnsafeCell<Records>,
    /// The coroutine that runs; null on the worker's own stack.
    current: Cell<Option<NonNull<Header>>>,
    budget: Budget,
    placement: Placement,
    rest: Rest,
    turn: Turn,
    /// Nobody steals: the deque stays unused.
    alone: bool,
    /// Local queue and deque take turns: runs left to the one, then to the other.
    deque_runs: Cell<i32>,
    /// Has told all its coroutines to unwind.
    cancelled_all: Cell<bool>,
    /// Some could not, since a neighbour was unwinding: they must be told again.
    withheld: Cell<bool>,
}

/// When the netpoller and the others have their turn.
struct Turn {
    runs_left: Cell<u32>,
    /// Runs between two turns, 1 to `TURN_RUNS_MAX`, so that a turn comes about every `TURN_TIME`.
    runs: Cell<u32>,
    last: Cell<Option<Instant>>,
}

impl Turn {
    /// A coroutine ran for its whole budget: sixty more of that length are too long for whoever waits outside.
    fn end_early(&self) {
        self.runs
            .set((self.runs.get() - self.runs_left.get()).max(1));
        self.runs_left.set(0);
    }
}

impl Worker {
    pub(crate) fn new(shared: Arc<Shared>, index: usize, deque: Deque<TaskRef>) -> Worker {
        Worker {
            index,
            local: UnsafeCell::new(LocalQueue::new()),
            deque,
            stacks: UnsafeCell::new(StackCache::new(shared.pool.clone())),
            records: UnsafeCell::new(Records::new()),
            current: Cell::new(None),
            budget: Budget::new(),
            placement: Placement::new(),
            rest: Rest::new(shared.config.spin),
            turn: Turn {
                runs_left: Cell::new(TURN_RUNS_MAX),
                runs: Cell::new(TURN_RUNS_MAX),
                last: Cell::new(None),
            },
            alone: shared.workers() == 1,
            deque_runs: Cell::new(0),
            cancelled_all: Cell::new(false),
            withheld: Cell::new(false),
            shared,
        }
    }

    /// The worker's life.
    pub(crate) fn run_to_end(&self) {
        context::enter(self, || {
            while let Some(task) = self.next_or_rest() {
                self.run(task);
            }
        });
    }

    #[inline]
    fn next_or_rest(&self) -> Option<TaskRef> {
        loop {
            let found = match self.next() {
                Some(task) => Some(task),
                None => match self.rest.rest(self) {
                    Rested::Look => None,
                    Rested::Run(task) => Some(task),
                    Rested::Ended => return None,
                },
            };
            if let Some(task) = found {
                self.rest.found_work(&self.shared);
                return Some(task);
            }
        }
    }

    // ---- what runs next ----

    /// The next coroutine from this worker's own queues, and now and then from outside.
    #[inline]
    fn next(&self) -> Option<TaskRef> {
        let left = self.turn.runs_left.get();
        if left == 0 {
            self.take_turn();
        } else {
            self.turn.runs_left.set(left - 1);
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
    fn pop_deque(&self) -> Option<TaskRef> {
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
    fn keep(&self, task: TaskRef) -> Option<TaskRef> {
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
    fn take_turn(&self) {
        self.open_inbox();
        let share = self.shared.injector_share();
        self.shared
            .injector
            .pop_batch(share, |task| self.push_stealable(task));
        let _ = self.poll(Some(Duration::ZERO));
        self.notice_stop();
        self.tune_turn();
    }

    /// Adapts the runs between turns to how long runs take.
    fn tune_turn(&self) {
        let now = Instant::now();
        let turn = &self.turn;
        if let Some(last) = turn.last.replace(Some(now)) {
            let ran = turn.runs.get().max(1);
            let per_run = (now - last).as_nanos() as u64 / u64::from(ran);
            let fitting = TURN_TIME.as_nanos() as u64 / per_run.max(1);
            turn.runs
                .set(fitting.clamp(1, u64::from(TURN_RUNS_MAX)) as u32);
        }
        turn.runs_left.set(turn.runs.get());
        self.rest.maintain_stacks(self, now);
    }

    /// The pause was no run: what comes after it is measured anew.
    pub(crate) fn forget_turn_time(&self) {
        self.turn.last.set(None);
        self.turn.runs_left.set(self.turn.runs.get());
    }

    /// Waits in the netpoller for `timeout` at most, then serves the timers.
    /// Returns how many sockets had events.
    pub(crate) fn poll(&self, timeout: Option<Duration>) -> usize {
        let remote = self.remote();
        let mut events = 0;
        if timeout != Some(Duration::ZERO) || remote.driver.has_sources() {
            events = match remote.driver.turn(timeout) {
                Ok(events) => events,
                // A netpoller that fails would leave its sockets waiting for ever.
                Err(error) => panic!("worker {}'s netpoller failed: {error}", self.index),
            };
        }
        if !remote.timers.is_empty() {
            remote.timers.fire(Instant::now());
        }
        events
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

    // ---- running one ----

    #[inline]
    fn run(&self, task: TaskRef) {
        if task.is_fresh() {
            self.start(&task);
        } else if self.shared.config.steal_started {
            task.home.store(self.index as u32, Ordering::Relaxed);
        }
        self.budget.reset();
        self.current.set(Some(task.as_ptr()));
        // SAFETY: ACTIVE with the queue link ours: the cell is this worker's, and written since it has started. The
        // reference into it ends with the call; the running coroutine does not touch the cell.
        let switched = unsafe { (*task.switch.get()).assume_init_mut() }.resume(self);
        self.current.set(None);
        match switched {
            Switched::Suspended(Suspend::Park) => match task.state.park() {
                // The reference stays with the parked state, for whoever notifies it.
                Park::Parked => _ = task.into_raw(),
                Park::Requeue => self.push_again(task),
            },
            Switched::Suspended(Suspend::Yield) => self.push_again(task),
            Switched::Finished => self.finish(task),
        }
    }

    /// First run: a stack, a home, a place in the live list.
    #[inline]
    fn start(&self, task: &TaskRef) {
        if self.cancelled_all.get() {
            // Law 11: it runs only to drop its closure. It runs already, so there is nothing to schedule.
            let _ = task.state.cancel();
        }
        task.home.store(self.index as u32, Ordering::Relaxed);
        let stack = self.with_stacks(|stacks| stacks.take(task.spec.stack_size));
        // SAFETY: ACTIVE with the queue link ours, for the first time: the cell is ours, and `run` holds the reference until the end.
        unsafe { (*task.switch.get()).write(Switch::new(stack, task.as_ptr())) };
        let remote = self.remote();
        self.add_live(remote, 1);
        if task.sent.get() {
            remote.inbound.fetch_sub(1, Ordering::Relaxed);
        }
        // SAFETY: this is the list's worker, at the first run.
        unsafe { remote.list.insert(self.index, task.as_ptr()) };
    }

    #[inline]
    fn finish(&self, task: TaskRef) {
        // SAFETY: it has returned: nobody is on the stack, the cell is the worker's, and nobody uses it again.
        let stack = unsafe { (*task.switch.get()).assume_init_mut().take_stack() };
        let size = task.spec.stack_size;
        self.rest.note_end();
        self.with_stacks(|stacks| {
            stacks.put(stack);
            stacks.unreserve(size);
        });
        let remote = &self.shared.remotes[task.live.list()];
        // SAFETY: it was entered at its first run; in fresh-stealing that was here.
        unsafe { remote.list.remove(task.as_ptr()) };
        self.add_live(remote, usize::MAX);
        if self.shared.config.steal_started && task.live.list() != self.index {
            self.shared.ended_elsewhere(remote);
        }
        task.state.finish();
        join::finish(&task);
    }

    /// Adds (wrapping) to a load. In fresh-stealing only the worker itself writes it, so no locked instruction.
    #[inline]
    fn add_live(&self, remote: &Remote, n: usize) {
        if self.shared.config.steal_started {
            remote.live.fetch_add(n, Ordering::Relaxed);
        } else {
            let live = remote.live.load(Ordering::Relaxed);
            remote.live.store(live.wrapping_add(n), Ordering::Relaxed);
        }
    }

    // ---- queueing ----

    /// Queues a coroutine that yielded or was notified while it parked, behind the others.
    #[inline]
    fn push_again(&self, task: TaskRef) {
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
    fn push_stealable(&self, task: TaskRef) {
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

    // ---- suspending; called on the coroutine's stack ----

    #[inline]
    pub(crate) fn suspend_parked(&self) {
        self.suspend(Suspend::Park);
    }

    #[inline]
    pub(crate) fn suspend_yielding(&self) {
        self.suspend(Suspend::Yield);
    }

    #[inline]
    fn suspend(&self, why: Suspend) {
        let task = self.running_task();
        if self.shared.config.steal_started {
            // Law 5: what unwinds stays on its thread.
            task.pinned
                .set(task.spec.local || task.pinned_for_life.get() || std::thread::panicking());
        }
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
    }

    #[inline]
    pub(crate) fn consume_budget(&self) {
        if self.is_running() && self.budget.spend() {
            self.yield_for_others();
        }
    }

    #[cold]
    fn yield_for_others(&self) {
        if self.running_task().no_park.get() > 0 {
            self.budget.postpone();
        } else {
            self.turn.end_early();
            self.suspend_yielding();
        }
    }

    // ---- shutdown ----

    /// Tells every coroutine of this worker to unwind when the runtime stops: once, and again after a neighbour's
    /// unwinding has withheld it from some.
    pub(crate) fn notice_stop(&self) {
        if !self.shared.ending.is_stopping() {
            return;
        }
        if !self.cancelled_all.replace(true) {
            shutdown::cancel_all(&self.shared, self.index);
        }
        if self.withheld.get() && !std::thread::panicking() {
            self.withheld.set(false);
            shutdown::cancel_withheld(&self.shared, self.index);
        }
    }

    /// The running coroutine should unwind, but a neighbour on this thread is in the middle of that.
    pub(crate) fn note_withheld(&self) {
        self.withheld.set(true);
    }

    // ---- parts ----

    #[inline]
    pub(crate) fn current(&self) -> Option<NonNull<Header>> {
        self.current.get()
    }

    #[inline]
    pub(crate) fn is_running(&self) -> bool {
        self.current.get().is_some()
    }

    /// The running coroutine's record. Not for the worker's own stack.
    #[inline]
    pub(crate) fn running_task<'a>(&self) -> &'a Header {
        let task = self.current.get().expect("called by a coroutine");
        // SAFETY: `run` holds a reference while it runs, and the caller is that coroutine: its stack ends before.
        unsafe { task.as_ref() }
    }

    #[inline]
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    #[inline]
    pub(crate) fn index(&self) -> usize {
        self.index
    }

    #[inline]
    pub(crate) fn remote(&self) -> &Remote {
        &self.shared.remotes[self.index]
    }

    pub(crate) fn driver(&self) -> &Arc<Driver> {
        &self.remote().driver
    }

    pub(crate) fn timers(&self) -> &Timers {
        &self.remote().timers
    }

    /// Gives memory of unused stacks back; says when to call again.
    pub(crate) fn maintain_stacks(&self, now: Instant) -> Option<Instant> {
        let later = self
            .with_records(Records::trim)
            .then(|| now + Duration::from_secs(1));
        let stacks = self.with_stacks(|stacks| stacks.maintain(now));
        [later, stacks].into_iter().flatten().min()
    }

    /// Reserves a stack for a coroutine that this worker spawns.
    #[inline]
    pub(crate) fn reserve_stack(&self, size: StackSize) -> std::io::Result<()> {
        self.with_stacks(|stacks| stacks.reserve(size))
    }

    #[inline]
    fn with_local<R>(&self, f: impl FnOnce(&mut LocalQueue) -> R) -> R {
        // SAFETY: only this thread gets here, and the queue's methods neither switch nor come back to the worker.
        f(unsafe { &mut *self.local.get() })
    }

    #[inline]
    pub(crate) fn with_records<R>(&self, f: impl FnOnce(&mut Records) -> R) -> R {
        // SAFETY: only this thread gets here, and the stock's methods neither switch nor come back to the worker.
        f(unsafe { &mut *self.records.get() })
    }

    #[inline]
    fn with_stacks<R>(&self, f: impl FnOnce(&mut StackCache) -> R) -> R {
        // SAFETY: only this thread gets here, and the cache's methods neither switch nor come back to the worker.
        f(unsafe { &mut *self.stacks.get() })
    }
}
