//! The end of a runtime: stop, unwind what lives, and leave together.
//!
//! 1. `stop` sets the flag and wakes every worker. From now on a coroutine that starts only drops its closure.
//! 2. Each worker cancels the coroutines of its live list, once, and goes on running: they unwind.
//! 3. A worker whose live list and queues are empty *arrives*: it counts itself under the lock and sleeps. Work that
//!    reaches it makes it *leave* and run again. Whoever arrives last, and finds every queue empty, closes the
//!    injector (so that a spawn from outside is refused rather than forgotten), declares the end and wakes the others.
//!    While all have arrived nothing runs, so nothing can fill a queue but the injector, which is checked and
//!    closed in one step.
//! 4. Each worker closes its netpoller's slots and its thread exits.
//!
//! A coroutine that does not end keeps its worker from arriving, and so keeps all of them: they go on serving it, and
//! leave when it ends after all. `Runtime::shutdown` stops waiting at its limit and says so (law 4).

use crate::atomic::{AtomicBool, AtomicUsize, Lock, Ordering, fence};
use crate::scheduler::{Remote, Shared, schedule};
use crate::task::header::TaskRef;
use crate::task::park::Unparker;
use crate::task::state::{Notify, State};

pub(crate) struct Ending {
    stopping: AtomicBool,
    /// Workers whose threads are about to exit.
    exited: AtomicUsize,
    state: Lock<EndingState>,
}

struct EndingState {
    arrived: usize,
    ended: bool,
    /// Who waits in `Runtime::shutdown`.
    waiters: Vec<Unparker>,
}

impl Ending {
    pub(crate) fn new() -> Ending {
        Ending {
            stopping: AtomicBool::new(false),
            exited: AtomicUsize::new(0),
            state: Lock::new(EndingState {
                arrived: 0,
                ended: false,
                waiters: Vec::new(),
            }),
        }
    }

    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    #[inline]
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// A worker with nothing left. True: everyone is, and the runtime has ended.
    pub(crate) fn arrive(&self, shared: &Shared) -> bool {
        let (last, ended) = self.state.with(|state| {
            state.arrived += 1;
            let last = state.arrived == shared.workers() && !state.ended && shared.close();
            state.ended |= last;
            (last, state.ended)
        });
        if last {
            shared.wake_all();
        }
        ended
    }

    /// The runtime's start failed half-way: those workers that run shall leave at once.
    pub(crate) fn give_up(&self, shared: &Shared) {
        self.stop();
        self.state.with(|state| state.ended = true);
        shared.wake_all();
    }

    /// An arrived worker was woken. True: the runtime has ended.
    pub(crate) fn leave(&self) -> bool {
        self.state.with(|state| {
            if !state.ended {
                state.arrived -= 1;
            }
            state.ended
        })
    }

    /// A worker's thread is about to exit.
    pub(crate) fn exit(&self, workers: usize) {
        if self.exited.fetch_add(1, Ordering::AcqRel) + 1 == workers {
            let waiters = self.state.with(|state| core::mem::take(&mut state.waiters));
            waiters.iter().for_each(Unparker::unpark);
        }
    }

    pub(crate) fn all_exited(&self, workers: usize) -> bool {
        self.exited.load(Ordering::Acquire) == workers
    }

    /// Leaves a handle to be woken when all have exited; the caller checks `all_exited` afterwards.
    pub(crate) fn announce(&self, waiter: Unparker) {
        self.state.with(|state| state.waiters.push(waiter));
    }
}

impl Shared {
    /// Closes the injector if nothing is queued anywhere. Called when every worker has arrived.
    fn close(&self) -> bool {
        self.injector.close_if(|| {
            self.remotes.iter().all(|remote| {
                remote.load() == 0 && remote.inbox.is_empty() && remote.stealer.is_empty()
            })
        })
    }

    /// Full stealing: a coroutine of the live list of `remote`'s worker has ended on another worker. If it was the
    /// last one that kept that worker from arriving, the worker may have gone to sleep before: it must look again.
    pub(super) fn ended_elsewhere(&self, remote: &Remote) {
        // Between the count and the looks at both flags: pairs with the fence of `SleepFlag::set`, after which the
        // worker reads the count (`has_drained`). Either it reads zero, or we see that it stops and sleeps.
        fence(Ordering::SeqCst);
        if self.ending.is_stopping() && remote.load() == 0 {
            remote.wake_if_asleep();
        }
    }

    /// Unfinished coroutines, as far as workers know of them.
    pub(crate) fn unfinished(&self) -> usize {
        self.remotes.iter().map(|remote| remote.load()).sum()
    }
}

/// Tells every coroutine in the live list of worker `index`, the caller, to unwind.
pub(super) fn cancel_all(shared: &Shared, index: usize) {
    if cfg!(panic = "abort") {
        // Nothing can be unwound; `shutdown` waits for what ends by itself and reports the rest.
        return;
    }
    notify_all(shared, index, State::cancel);
}

/// Does `notify` to every coroutine in the live list of worker `index`, and queues those that it wakes.
fn notify_all(shared: &Shared, index: usize, notify: impl Fn(&State) -> Notify) {
    // Waking one may take a lock or wake a worker: do it after the list's lock is free.
    let mut woken = Vec::new();
    // SAFETY: called by the list's worker, or in full stealing; nothing enters or leaves a list meanwhile.
    unsafe {
        shared.remotes[index].list.for_each(|task| {
            if notify(&task.state) == Notify::Schedule {
                // SAFETY: `Schedule` hands over the queue link and its reference.
                woken.push(TaskRef::from_raw(core::ptr::NonNull::from(task)));
            }
        });
    }
    // Newest first, as the list has them: children mostly end before a parent whose destructor joins them.
    woken.into_iter().for_each(schedule);
}

/// Wakes those on worker `index`, the caller, that could not be interrupted because a neighbour was unwinding. In full
/// stealing they may stand in any worker's list.
pub(super) fn release_withheld(shared: &Shared, index: usize) {
    if shared.config.steal_started {
        (0..shared.workers()).for_each(|index| notify_all(shared, index, State::release_withheld));
    } else {
        notify_all(shared, index, State::release_withheld);
    }
}
