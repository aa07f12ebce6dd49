//! What stands for `crate::task::park`: records, on which the threads of a model wait.

use std::cell::{Cell as StdCell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use loom::cell::UnsafeCell;
use loom::sync::atomic::Ordering;
use loom::sync::{Arc, Notify as Token};
use loom::thread::{self, Thread, ThreadId};

use super::atomic::AtomicBool;
use super::{CURRENT, INTERRUPTIONS};
use crate::state::{Notify, Park, State};

/// One that waits.
pub struct Record {
    sort: Sort,
    /// A plain thread's deadline has passed.
    late: AtomicBool,
    /// Written to when it has ended.
    alive: UnsafeCell<()>,
}

enum Sort {
    Coroutine {
        state: State,
        thread: RefCell<Option<Thread>>,
        /// Its link is queued: it may run.
        queued: StdCell<bool>,
        /// It is off its stack.
        parked: StdCell<bool>,
        /// It unwinds already.
        unwinding: StdCell<bool>,
    },
    Thread {
        token: Token,
    },
}

// SAFETY: the threads of a model take turns on one thread, and none switches while it uses the cells.
unsafe impl Send for Record {}
// SAFETY: as above.
unsafe impl Sync for Record {}

/// It was cancelled.
#[derive(Debug, PartialEq, Eq)]
pub struct Cancelled;

impl Record {
    pub fn coroutine() -> Arc<Record> {
        let state = State::new();
        state.pending();
        Record::of(Sort::Coroutine {
            state,
            thread: RefCell::new(None),
            queued: StdCell::new(false),
            parked: StdCell::new(false),
            unwinding: StdCell::new(false),
        })
    }

    pub fn plain_thread() -> Arc<Record> {
        Record::of(Sort::Thread {
            token: Token::new(),
        })
    }

    fn of(sort: Sort) -> Arc<Record> {
        let late = AtomicBool::new(false);
        late.load(Ordering::Relaxed);
        Arc::new(Record {
            sort,
            late,
            alive: UnsafeCell::new(()),
        })
    }

    /// Asks a coroutine to unwind.
    pub fn cancel(&self) {
        self.wake_state(State::cancel);
    }

    /// Its deadline passes.
    pub fn expire(&self) {
        self.late.store(true, Ordering::Relaxed);
        match &self.sort {
            Sort::Coroutine { .. } => self.wake_state(State::fire),
            Sort::Thread { token } => token.notify(),
        }
    }

    /// A wake-up that means nothing.
    pub fn disturb(&self) {
        match &self.sort {
            Sort::Coroutine { .. } => self.wake_state(State::notify),
            Sort::Thread { token } => token.notify(),
        }
    }

    /// Lets others run until this coroutine has parked.
    pub fn wait_until_parked(&self) {
        while !matches!(&self.sort, Sort::Coroutine { parked, .. } if parked.get()) {
            thread::yield_now();
        }
    }

    /// Whether it was asked to unwind.
    pub fn is_cancelled(&self) -> bool {
        matches!(&self.sort, Sort::Coroutine { state, .. } if state.is_cancelled())
    }

    fn wake_state(&self, wake_up: fn(&State) -> Notify) {
        if let Sort::Coroutine { state, .. } = &self.sort
            && wake_up(state) == Notify::Schedule
        {
            self.queue();
        }
    }

    /// A worker takes it.
    fn queue(&self) {
        if let Sort::Coroutine { thread, queued, .. } = &self.sort {
            queued.set(true);
            if let Some(thread) = thread.borrow().as_ref() {
                thread.unpark();
            }
        }
    }

    fn look(&self) {
        if let Sort::Coroutine {
            state, unwinding, ..
        } = &self.sort
            && state.is_cancelled()
            && !unwinding.replace(true)
        {
            INTERRUPTIONS.set(INTERRUPTIONS.get() + 1);
            resume_unwind(Box::new(Cancelled));
        }
    }

    fn park(&self) -> bool {
        match &self.sort {
            Sort::Coroutine {
                state,
                thread,
                queued,
                parked,
                ..
            } => {
                self.look();
                let before = state.pending().fired();
                *thread.borrow_mut() = Some(thread::current());
                if state.park() == Park::Parked {
                    parked.set(true);
                    while !queued.replace(false) {
                        thread::park();
                    }
                    parked.set(false);
                }
                self.look();
                before || state.pending().fired()
            }
            Sort::Thread { token } => {
                token.wait();
                true
            }
        }
    }
}

/// Runs `body` as the coroutine of `record`, which ends with it. It may be cancelled.
pub fn coroutine<T>(record: &Arc<Record>, body: impl FnOnce() -> T) -> Result<T, Cancelled> {
    let result = catch_unwind(AssertUnwindSafe(|| plain_thread(record, body)));
    let result = result.map_err(|payload| match payload.downcast::<Cancelled>() {
        Ok(cancelled) => {
            INTERRUPTIONS.set(INTERRUPTIONS.get() - 1);
            *cancelled
        }
        Err(failure) => resume_unwind(failure),
    });
    // Whoever borrows it from here on races with this.
    record.alive.with_mut(|_| {});
    if let Sort::Coroutine { state, .. } = &record.sort {
        state.finish();
    }
    result
}

/// Runs `body` on the plain thread of `record`, which is counted, not borrowed.
pub fn plain_thread<T>(record: &Arc<Record>, body: impl FnOnce() -> T) -> T {
    struct Leave(ThreadId);
    impl Drop for Leave {
        fn drop(&mut self) {
            CURRENT.with_borrow_mut(|current| current.retain(|(id, _)| *id != self.0));
        }
    }
    let leave = Leave(thread::current().id());
    CURRENT.with_borrow_mut(|current| current.push((leave.0, record)));
    body()
}

fn current<'a>() -> &'a Arc<Record> {
    let id = thread::current().id();
    let record = CURRENT.with_borrow(|current| {
        let of_thread = current.iter().find(|(thread, _)| *thread == id);
        of_thread.expect("it waits within a record").1
    });
    // SAFETY: `plain_thread` borrows it until it has left, and this is called inside.
    unsafe { &*record }
}

pub enum Waiting {
    /// Borrowed.
    Coroutine(*const Record),
    Thread(Arc<Record>),
}

impl Waiting {
    pub fn new() -> Waiting {
        let record = current();
        match record.sort {
            Sort::Coroutine { .. } => Waiting::Coroutine(&raw const **record),
            Sort::Thread { .. } => Waiting::Thread(record.clone()),
        }
    }

    /// # Safety
    /// As the shipped one's.
    pub unsafe fn notify(self) -> Option<Wake> {
        match self {
            Waiting::Coroutine(record) => {
                // SAFETY: the model keeps the memory to its end; what is checked is whether it is used too late.
                let record = unsafe { &*record };
                record.alive.with(|_| {});
                let Sort::Coroutine { state, .. } = &record.sort else {
                    unreachable!("made for a coroutine")
                };
                let outcome = state.notify();
                record.alive.with(|_| {});
                (outcome == Notify::Schedule).then_some(Wake::Coroutine(record))
            }
            Waiting::Thread(record) => Some(Wake::Thread(record)),
        }
    }
}

pub enum Wake {
    Coroutine(*const Record),
    Thread(Arc<Record>),
}

impl Wake {
    pub fn let_go(self) {
        match self {
            // SAFETY: as in `notify`. It has not run since, for this is its link.
            Wake::Coroutine(record) => unsafe { &*record }.queue(),
            Wake::Thread(record) => record.disturb(),
        }
    }
}

/// As the shipped one.
pub fn park(deadline: crate::moment::Moment) -> bool {
    let record = current();
    let has_deadline = deadline != crate::moment::Moment::NEVER;
    if has_deadline && record.late.load(Ordering::Relaxed) {
        // It had passed before, and a wait without one took the expiry: the timer that is set anew fires at once.
        record.expire();
    }
    let woken = record.park();
    woken && has_deadline && record.late.load(Ordering::Relaxed)
}
