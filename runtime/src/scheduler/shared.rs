//! What the workers of one runtime share.

use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_deque::Stealer;
use crossbeam_utils::CachePadded;

use crate::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use crate::blocking::{Limits, Pools};
use crate::builder::Hook;
use crate::context;
use crate::fork;
use crate::poll::Driver;
use crate::scheduler::idle::{Idle, SleepFlag};
use crate::scheduler::inbox::{Inbox, Linked};
use crate::scheduler::injector::Injector;
use crate::scheduler::spin::SpinSlot;
use crate::scheduler::turn::Due;
use crate::scheduler::watchdog::Watch;
use crate::scheduler::watched::Watched;
use crate::scheduler::{Ending, Worker};
use crate::stack::{StackPool, StackSize};
use crate::task::header::{Header, NO_HOME, TaskRef};
use crate::task::live::LiveList;
use crate::time::{Clock, Timers};

/// What a runtime was built with.
pub(crate) struct Config {
    pub(crate) name: String,
    pub(crate) stack_size: StackSize,
    /// Full stealing: started coroutines may move.
    pub(crate) steal_started: bool,
    /// How long a worker looks again before it sleeps; zero: not at all.
    pub(crate) spin: Duration,
    pub(crate) hook: Hook,
    /// The clock stands still, and jumps to the next timer.
    pub(crate) virtual_time: bool,
    /// How long a coroutine may hold its worker before it is reported; `None`: nobody looks.
    pub(crate) watchdog: Option<Duration>,
    pub(crate) pools: Limits,
    /// What runs next is left to chance, begun with this.
    pub(crate) seed: Option<u64>,
}

impl Config {
    /// Whether the order of runs shall be the same each time, so that real time must have no say in it.
    pub(crate) fn is_reproducible(&self) -> bool {
        self.virtual_time || self.seed.is_some()
    }
}

/// The part of a worker that others touch.
pub(crate) struct Remote {
    /// Pinned work from other threads.
    pub(crate) inbox: Inbox<Header>,
    pub(crate) asleep: SleepFlag,
    pub(crate) stealer: Stealer<TaskRef>,
    pub(crate) driver: Arc<Driver>,
    pub(crate) timers: Timers,
    /// Started and unfinished coroutines that count towards this worker's load. Written by the worker (in full
    /// stealing by whoever ends one), read by placement.
    pub(crate) live: AtomicUsize,
    /// Fresh coroutines sent here and not yet started.
    pub(crate) inbound: AtomicUsize,
    pub(crate) list: LiveList,
    pub(crate) watched: Arc<CachePadded<Watched<Header>>>,
    pub(crate) due: Arc<CachePadded<Due>>,
    /// The watchdog: a coroutine holds this worker for long, so nothing new is placed here.
    pub(crate) held: AtomicBool,
}

impl Remote {
    /// What placement compares.
    pub(crate) fn load(&self) -> usize {
        self.live.load(Ordering::Relaxed) + self.inbound.load(Ordering::Relaxed)
    }

    /// Whether a coroutine holds this worker for long.
    pub(crate) fn is_held(&self) -> bool {
        self.held.load(Ordering::Relaxed)
    }

    /// Hands over pinned work and wakes the worker if it sleeps.
    pub(crate) fn deliver(&self, task: TaskRef) {
        // SAFETY: the reference goes along and keeps the record alive; whoever holds the queue link (we) may use `next`.
        unsafe { self.inbox.push(task.into_raw()) };
        self.wake_if_asleep();
    }

    pub(crate) fn wake_if_asleep(&self) {
        if self.asleep.must_wake() {
            self.driver.wake();
        }
    }
}

impl Linked for Header {
    fn next(&self) -> &AtomicPtr<Header> {
        &self.next
    }
}

/// One runtime, as its workers see it.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) remotes: Box<[CachePadded<Remote>]>,
    pub(crate) idle: Idle,
    pub(crate) injector: Injector,
    pub(crate) spinner: SpinSlot,
    pub(crate) pool: Arc<StackPool>,
    /// Threads for what would hold a worker.
    pub(crate) pools: Pools,
    pub(crate) ending: Ending,
    pub(crate) clock: Clock,
    pub(crate) watch: Watch,
}

impl Shared {
    pub(crate) fn new(
        config: Config,
        remotes: Box<[CachePadded<Remote>]>,
        idle: Idle,
        pool: Arc<StackPool>,
    ) -> Shared {
        Shared {
            pools: Pools::new(&config.name, &config.pools),
            remotes,
            idle,
            injector: Injector::new(),
            spinner: SpinSlot::new(),
            pool,
            ending: Ending::new(),
            clock: Clock::new(config.virtual_time),
            config,
            watch: Watch::new(),
        }
    }

    pub(crate) fn workers(&self) -> usize {
        self.remotes.len()
    }

    /// Movable work was made visible: sees to it that someone comes for it.
    #[inline]
    pub(crate) fn notify_work(&self) {
        if self.workers() == 1 {
            // Nobody else could take it. The one worker sleeps only when a plain thread is the caller.
            return self.remotes[0].wake_if_asleep();
        }
        if let Some(worker) = self.idle.worker_to_wake() {
            // It may be awake already, and then finds that it is a searcher; otherwise it must be called.
            self.remotes[worker].wake_if_asleep();
        }
    }

    /// Whether anything lies in a queue that any worker could take from.
    pub(crate) fn has_movable_work(&self) -> bool {
        !self.injector.is_empty() || self.remotes.iter().any(|remote| !remote.stealer.is_empty())
    }

    /// How many coroutines a worker takes from the injector at a time.
    pub(crate) fn injector_share(&self) -> usize {
        32_usize.div_ceil(self.workers()).max(4)
    }

    /// Wakes every worker, asleep or about to be.
    pub(crate) fn wake_all(&self) {
        for remote in &self.remotes {
            remote.driver.wake();
        }
    }

    /// Queues a fresh coroutine from a thread that is no worker of this runtime; gives it back when it has ended.
    pub(crate) fn inject(&self, task: TaskRef, target: Option<usize>) -> Result<(), TaskRef> {
        match target {
            None => self.injector.push(task)?,
            Some(worker) => {
                let mut task = Some(task);
                let send = || self.send_fresh(worker, task.take().expect("taken once"));
                let sent = self.injector.while_open(send);
                return sent.ok_or_else(|| task.expect("not taken"));
            }
        }
        self.notify_work();
        Ok(())
    }

    /// Sends a fresh coroutine to one worker, where it will start.
    pub(crate) fn send_fresh(&self, worker: usize, task: TaskRef) {
        let remote = &self.remotes[worker];
        task.sent.set(true);
        remote.inbound.fetch_add(1, Ordering::Relaxed);
        remote.deliver(task);
    }
}

/// Queues a coroutine that has been taken out of PARKED. The caller holds its queue link.
pub(crate) fn schedule(task: TaskRef) {
    // SAFETY: the coroutine is unfinished, so its workers have not exited and hold their runtime.
    let shared = unsafe { &*task.shared };
    let movable = shared.config.steal_started && !task.pinned.get();
    match context::current_worker() {
        Some(worker) if ptr::eq(&raw const **worker.shared(), shared) => {
            schedule_on(worker, task, movable)
        }
        _ => {
            fork::refuse_child();
            // Once it is queued it may run and end, and its workers exit: hold their runtime to the end of this call.
            // SAFETY: `shared` came from an Arc that a worker holds, see above.
            let shared = unsafe {
                Arc::increment_strong_count(ptr::from_ref(shared));
                Arc::from_raw(ptr::from_ref(shared))
            };
            if movable {
                // Closing waits for the live lists to empty, and this one is in one.
                let Ok(()) = shared.injector.push(task) else {
                    unreachable!("a runtime with a live coroutine has not ended")
                };
                shared.notify_work();
            } else {
                home(&shared, &task).deliver(task);
            }
        }
    }
}

fn schedule_on(worker: &Worker, task: TaskRef, movable: bool) {
    if movable {
        worker.push_movable(task);
    } else if task.home.load(Ordering::Relaxed) as usize == worker.index() {
        worker.push_woken(task);
    } else {
        home(worker.shared(), &task).deliver(task);
    }
}

fn home<'a>(shared: &'a Shared, task: &TaskRef) -> &'a Remote {
    let home = task.home.load(Ordering::Relaxed);
    debug_assert_ne!(home, NO_HOME, "a parked coroutine has run");
    &shared.remotes[home as usize]
}
