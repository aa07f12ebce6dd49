//! The timers of one worker: a wheel, and who may touch it.
//!
//! A coroutine has one timer, for it waits for one thing at a time: an *entry* in a wheel that it makes at its first
//! wait with a deadline and gives back when it ends. The next wait moves the entry, and moving it to a later time is a
//! store. An entry that is left behind by a wait that ended early wakes nobody before its old deadline, and then
//! costs one look that finds no reason.
//!
//! **Who touches a wheel.** In fresh-stealing a coroutine never leaves its worker, so that worker's thread alone does,
//! without a lock. In full stealing a coroutine finds its entry on a worker that it has left, and others may fire the
//! timers of one that is held up: whoever touches a wheel holds its lock.
//!
//! **Fire against end against move.** An entry names its coroutine by a bare address. The coroutine takes the entry out
//! of the wheel before it ends, so the record of whatever is *in* a wheel lives. Firing takes the entry's deadline and
//! notifies the coroutine in one go, under the lock; what remains outside is to queue a coroutine whose link the firing
//! then holds. A coroutine that moves its entry meanwhile comes before or after that, and if after, it finds
//! `FIRED` when it looks next; a wake-up too many is none of its reasons, since it asks the clock.

use core::cell::{Cell, UnsafeCell};
use core::ptr::NonNull;

use parking_lot::Mutex;

use super::moment::Moment;
use super::wheel::{Key, Wheel};
use crate::scheduler::{self, Worker};
use crate::task::header::{Header, TaskRef};
use crate::task::state::Notify;

/// Timers that one turn fires at most; what is left comes with the next (law 8).
const FIRED_MAX: usize = 1024;

pub(crate) struct Timers {
    lock: Mutex<()>,
    /// Full stealing: others than the owner come.
    shared: bool,
    wheel: UnsafeCell<Wheel<NonNull<Header>>>,
}

// SAFETY: the wheel is touched under the lock (full stealing) or by the owner worker's thread alone: the contract of
// `with`. The addresses in it are of records that live while they are in it.
unsafe impl Sync for Timers {}
// SAFETY: as above.
unsafe impl Send for Timers {}

impl Timers {
    pub(crate) fn new(shared: bool) -> Timers {
        Timers {
            lock: Mutex::new(()),
            shared,
            wheel: UnsafeCell::new(Wheel::new()),
        }
    }

    /// # Safety
    /// In fresh-stealing: called on the owner worker's thread. `f` does not come back here.
    #[inline]
    unsafe fn with<R>(&self, f: impl FnOnce(&mut Wheel<NonNull<Header>>) -> R) -> R {
        let _guard = self.shared.then(|| self.lock.lock());
        // SAFETY: by the lock, or by the caller's promise, we are alone.
        f(unsafe { &mut *self.wheel.get() })
    }

    /// When the worker must look again; `NEVER` without timers.
    ///
    /// # Safety
    /// In fresh-stealing: called on the owner worker's thread.
    #[inline]
    pub(crate) unsafe fn next(&self) -> Moment {
        // SAFETY: the caller's promise.
        Moment::from_ns(unsafe { self.with(|wheel| wheel.next()) })
    }

    /// # Safety
    /// As [`next`](Timers::next).
    #[inline]
    pub(crate) unsafe fn is_empty(&self) -> bool {
        // SAFETY: the caller's promise.
        unsafe { self.with(|wheel| wheel.is_empty()) }
    }

    /// Wakes those whose time has come, never early, 1,024 at most.
    ///
    /// # Safety
    /// As [`next`](Timers::next).
    pub(crate) unsafe fn fire(&self, now: Moment) {
        for _ in 0..FIRED_MAX {
            // SAFETY: the caller's promise.
            let due = unsafe { self.with(|wheel| wheel.pop_due(now.ns()).copied().map(notify)) };
            match due {
                // One at a time: queueing may wake another worker, which is nothing to do under a lock.
                Some(Some(woken)) => scheduler::schedule(woken),
                Some(None) => {}
                None => return,
            }
        }
    }
}

/// Notifies a coroutine that was found in a wheel, whose guard the caller holds.
#[inline]
fn notify(task: NonNull<Header>) -> Option<TaskRef> {
    // SAFETY: what is in a wheel has not ended, and cannot while the caller holds the wheel.
    match unsafe { task.as_ref() }.state.fire() {
        // SAFETY: `Schedule` hands over the queue link, and with it the reference that the parked state held.
        Notify::Schedule => Some(unsafe { TaskRef::from_raw(task) }),
        Notify::Nothing => None,
    }
}

/// A coroutine's one timer. Touched by the coroutine alone; it lies at the root of its stack.
pub(crate) struct Timer {
    entry: Cell<Option<Entry>>,
    /// What the entry was last set to.
    at: Cell<Moment>,
}

#[derive(Clone, Copy)]
struct Entry {
    /// In whose wheel it is.
    worker: usize,
    key: Key,
}

impl Timer {
    pub(crate) fn new() -> Timer {
        Timer {
            entry: Cell::new(None),
            at: Cell::new(Moment::NEVER),
        }
    }

    /// Sees to it that the running coroutine, `task` on `worker`, is notified at `at`. `fired`: it may have been since
    /// the last call, so that what was set then is not in the wheel any more.
    #[inline]
    pub(crate) fn set(&self, worker: &Worker, task: &Header, at: Moment, fired: bool) {
        if at != self.at.get() || fired {
            self.at.set(at);
            self.place(worker, task, at);
        }
    }

    fn place(&self, worker: &Worker, task: &Header, at: Moment) {
        let timers = |index: usize| &worker.shared().remotes[index].timers;
        match self.entry.get() {
            None if at == Moment::NEVER => return,
            Some(Entry { worker: index, key })
                if index == worker.index() || at == Moment::NEVER =>
            {
                // SAFETY: in fresh-stealing `index` is this thread's worker, which `task` has never left; in full
                // stealing `with` locks.
                return unsafe { timers(index).with(|wheel| wheel.set(key, at.ns())) };
            }
            Some(Entry { worker: index, key }) => {
                // SAFETY: in full stealing alone is an entry another worker's, and there `with` locks.
                unsafe { timers(index).with(|wheel| wheel.remove(key)) };
            }
            None => {}
        }
        let insert = |wheel: &mut Wheel<_>| {
            let key = wheel.insert(NonNull::from(task));
            wheel.set(key, at.ns());
            key
        };
        let index = worker.index();
        // SAFETY: `task` runs on this worker's thread.
        let key = unsafe { timers(index).with(insert) };
        self.entry.set(Some(Entry { worker: index, key }));
    }

    /// Whether it has an entry in a wheel.
    #[inline]
    pub(crate) fn exists(&self) -> bool {
        self.entry.get().is_some()
    }

    /// The coroutine ends: nothing of it stays in a wheel.
    pub(crate) fn remove(&self, worker: &Worker) {
        if let Some(Entry { worker: index, key }) = self.entry.take() {
            // SAFETY: as in `place`: the caller is the running coroutine.
            unsafe {
                worker.shared().remotes[index]
                    .timers
                    .with(|wheel| wheel.remove(key))
            };
        }
    }
}

#[cfg(test)]
mod tests;
