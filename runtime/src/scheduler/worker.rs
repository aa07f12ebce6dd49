//! A worker: the OS thread's loop that runs coroutines.

mod pick;
mod suspend;

use core::cell::{Cell, UnsafeCell};
use core::ptr::NonNull;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_deque::Worker as Deque;
use crossbeam_utils::CachePadded;

use crate::atomic::Ordering;
use crate::context;
use crate::coroutine::{Suspend, Switch, Switched};
use crate::fork;
use crate::poll::Driver;
use crate::scheduler::Shared;
use crate::scheduler::budget::Budget;
use crate::scheduler::placement::Placement;
use crate::scheduler::queue::LocalQueue;
use crate::scheduler::rest::{Rest, Rested};
use crate::scheduler::seed::Random;
use crate::scheduler::shared::Remote;
use crate::scheduler::turn::{self, Turn};
use crate::scheduler::watched::Watched;
use crate::stack::{StackCache, StackSize};
use crate::task::header::{Header, TaskRef};
use crate::task::join;
use crate::task::records::Records;
use crate::task::state::Park;
use crate::time::Moment;

/// Local queue and deque take turns of so many runs: singly, a coroutine that joins a batch of children would be woken
/// by each (measured: 300 instructions a child).
const QUEUE_RUNS: i32 = 16;

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
    /// The same for the watchdog.
    watched: Arc<CachePadded<Watched<Header>>>,
    budget: Budget,
    placement: Placement,
    rest: Rest,
    turn: Turn,
    /// Picks what runs next in a runtime with a seed.
    random: Option<Random>,
    /// For what is left to chance in a runtime without one.
    chance: Random,
    /// Coroutines that wait for the world outside, but for blocking work; counted in virtual time only.
    pub(crate) socket_waits: Cell<usize>,
    /// Nobody steals: the deque stays unused.
    alone: bool,
    /// Local queue and deque take turns: runs left to the one, then to the other.
    deque_runs: Cell<i32>,
    /// Has told all its coroutines to unwind.
    cancelled_all: Cell<bool>,
    /// Some could not be interrupted, since a neighbour was unwinding: they must be told again.
    withheld: Cell<bool>,
}

impl Worker {
    pub(crate) fn new(shared: Arc<Shared>, index: usize, deque: Deque<TaskRef>) -> Worker {
        // With a seed each pick is a turn, and the turn draws: so a pick need not look whether there is one.
        let runs_max = if shared.config.seed.is_some() {
            0
        } else {
            turn::RUNS_MAX
        };
        Worker {
            index,
            local: UnsafeCell::new(LocalQueue::new()),
            deque,
            stacks: UnsafeCell::new(StackCache::new(shared.pool.clone())),
            records: UnsafeCell::new(Records::new()),
            current: Cell::new(None),
            watched: shared.remotes[index].watched.clone(),
            budget: Budget::new(!shared.config.is_reproducible()),
            placement: Placement::new(),
            rest: Rest::new(shared.config.spin),
            turn: Turn::new(runs_max, shared.remotes[index].due.clone()),
            random: shared.config.seed.map(Random::new),
            chance: Random::new(RandomState::new().hash_one(index)),
            socket_waits: Cell::new(0),
            alone: shared.workers() == 1,
            deque_runs: Cell::new(0),
            cancelled_all: Cell::new(false),
            withheld: Cell::new(false),
            shared,
        }
    }

    /// A random number; with a seed, the next of its sequence.
    pub(crate) fn draw(&self) -> u64 {
        self.random.as_ref().unwrap_or(&self.chance).next()
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

    #[inline]
    fn run(&self, task: TaskRef) {
        if task.is_fresh() {
            self.start(&task);
        } else if self.shared.config.steal_started {
            task.home.store(self.index as u32, Ordering::Relaxed);
        }
        self.budget.reset();
        self.current.set(Some(task.as_ptr()));
        self.watched.begin(task.as_ptr().as_ptr());
        // SAFETY: ACTIVE with the queue link ours: the cell is this worker's, and written since it has started. The
        // reference into it ends with the call; the running coroutine does not touch the cell.
        let switched = unsafe { (*task.switch.get()).assume_init_mut() }.resume(self);
        self.watched.end();
        self.current.set(None);
        // The parent's coroutines must neither go on nor unwind here.
        fork::refuse_child();
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
        if self.has_stopped() {
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

    /// Whether it is its runtime's only one.
    #[inline]
    pub(crate) fn is_alone(&self) -> bool {
        self.alone
    }

    #[inline]
    pub(crate) fn index(&self) -> usize {
        self.index
    }

    #[inline]
    pub(crate) fn remote(&self) -> &Remote {
        &self.shared.remotes[self.index]
    }

    pub(crate) fn watched(&self) -> &Watched<Header> {
        &self.watched
    }

    pub(crate) fn driver(&self) -> &Arc<Driver> {
        &self.remote().driver
    }

    /// When the next timer wants attention.
    pub(crate) fn next_timer(&self) -> Moment {
        // SAFETY: this is the owner worker's thread.
        unsafe { self.remote().timers.next() }
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
