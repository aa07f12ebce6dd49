//! What `sync/waiters/` and the locks and channels on it import, for loom: the shipped sources run on this.
//!
//! A model includes this file as `shim`, says so to the sources in modules of the names that they import, and includes
//! them at its root (`loom_waiters.rs` shows it). Then
//!
//! * each thread that waits does so within [`coroutine`] or [`plain_thread`], on a [`Record`] of its own. A coroutine parks on
//!   the state word that ships; its record is borrowed, and dies when the closure has returned: a waker that uses it later is
//!   a race. A plain thread has a sticky token, and may wake up for no reason;
//! * others interrupt: [`Record::cancel`] unwinds a coroutine at its current or next wait; [`Record::expire`] makes its
//!   deadline pass, if it has one;
//! * cells and atomics of the sources are written to when they are dropped, so that loom finds whoever uses them later;
//! * time stands still, until [`at_the_end_of_time`] says that every patience is over.
//!
//! `const fn new` cannot make loom's atomics, so an atomic is made when it is first used. Whoever makes a lock, or whatever
//! has one, uses it once before it is shared (`try_lock` and `unlock`, say): loom finds it if this was forgotten ("concurrent
//! load and mut accesses"). [`SpinLock`] needs nothing of the kind.
#![allow(dead_code, unreachable_pub)]

#[path = "sync/atomic.rs"]
mod atomic;
#[path = "sync/record.rs"]
mod record;

use std::cell::{Cell as StdCell, OnceCell, RefCell};

use loom::sync::{Arc, Mutex};
use loom::thread::{self, Thread, ThreadId};

#[allow(unused_imports, reason = "each model uses its own part")]
pub use record::{Cancelled, Record, Waiting, Wake, coroutine, park, plain_thread};

thread_local! {
    /// The interruptions that are being thrown. All threads of a model share a thread, and so its count of panics.
    static INTERRUPTIONS: StdCell<u32> = const { StdCell::new(0) };
    static END_OF_TIME: StdCell<bool> = const { StdCell::new(false) };
    /// On which record each thread of the model waits.
    static CURRENT: RefCell<Vec<(ThreadId, *const Arc<Record>)>> = const { RefCell::new(Vec::new()) };
}

/// Whether a model has failed, so that what is dropped now is no news.
fn has_failed() -> bool {
    std::thread::panicking() && INTERRUPTIONS.get() == 0
}

/// Checks an execution after the other, with up to `most` preemptions.
pub fn check(most: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(most);
    builder.check(move || {
        END_OF_TIME.set(false);
        INTERRUPTIONS.set(0);
        CURRENT.take();
        model();
    });
}

/// From now on, in this execution, everybody has waited for ever.
pub fn at_the_end_of_time() {
    END_OF_TIME.set(true);
}

// What stands for `crate::atomic`.

#[allow(unused_imports, reason = "each model uses its own part")]
pub use atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Cell};
pub use loom::hint::spin_loop;
pub use loom::sync::atomic::Ordering;
#[allow(unused_imports, reason = "for those that need it")]
pub use loom::sync::atomic::fence;

// What stands for `crate::sync::lock`.

/// A lock as the shipped one, but those who wait for it sleep: loom has nothing to explore in spinning.
pub struct SpinLock {
    /// Held for no more than a look. Not for longer: it would be poisoned when a holder unwinds, or another thread meanwhile.
    steps: OnceCell<Mutex<()>>,
    held: StdCell<bool>,
    sleepers: RefCell<Vec<Thread>>,
}

// SAFETY: the threads of a model take turns on one thread, and none switches while it uses the cells.
unsafe impl Send for SpinLock {}
// SAFETY: as above.
unsafe impl Sync for SpinLock {}

impl SpinLock {
    pub const fn new() -> SpinLock {
        SpinLock {
            steps: OnceCell::new(),
            held: StdCell::new(false),
            sleepers: RefCell::new(Vec::new()),
        }
    }

    pub fn lock(&self) {
        while !self.step(|| self.enter()) {
            thread::park();
        }
    }

    pub fn unlock(&self) {
        self.step(|| self.held.set(false));
        for sleeper in self.sleepers.take() {
            sleeper.unpark();
        }
    }

    /// Whether it was free. If not, the caller is among the sleepers, and will be woken.
    fn enter(&self) -> bool {
        let held = self.held.replace(true);
        if held {
            self.sleepers.borrow_mut().push(thread::current());
        }
        !held
    }

    /// Runs `f` while nobody else is in a step.
    fn step<R>(&self, f: impl FnOnce() -> R) -> R {
        let _step = self.steps.get_or_init(|| Mutex::new(())).lock().unwrap();
        f()
    }
}

// What stands for `crate::context`.

/// A worker that is the only one: nobody spins.
pub struct Worker;

impl Worker {
    pub fn is_alone(&self) -> bool {
        true
    }
}

pub fn current_worker() -> Option<Worker> {
    Some(Worker)
}

// What stands for `crate::time`; `Moment` is the one that ships.

pub fn moment() -> crate::moment::Moment {
    if END_OF_TIME.get() {
        crate::moment::Moment::NEVER
    } else {
        crate::moment::Moment::from_ns(0)
    }
}
