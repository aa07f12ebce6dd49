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

use std::cell::{Cell as StdCell, OnceCell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use loom::cell::UnsafeCell;
use loom::sync::atomic as checked;
use loom::sync::{Arc, Mutex, Notify as Token};
use loom::thread::{self, Thread, ThreadId};

use crate::state::{Notify, Park, State};

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

pub use loom::hint::spin_loop;
pub use loom::sync::atomic::Ordering;
#[allow(unused_imports, reason = "for those that need it")]
pub use loom::sync::atomic::fence;

macro_rules! atomic {
    ($($name:ident: $value:ty),*) => { $(
        /// loom's, but with a constant `new`, and a last access when it is dropped.
        pub struct $name {
            initial: $value,
            atomic: OnceCell<checked::$name>,
        }

        // SAFETY: the threads of a model take turns on one thread.
        unsafe impl Send for $name {}
        // SAFETY: as above; nothing switches while the cell is filled.
        unsafe impl Sync for $name {}

        impl $name {
            pub const fn new(initial: $value) -> $name {
                $name { initial, atomic: OnceCell::new() }
            }

            #[track_caller]
            pub fn load(&self, order: Ordering) -> $value {
                self.checked().load(order)
            }

            #[track_caller]
            pub fn store(&self, value: $value, order: Ordering) {
                self.checked().store(value, order);
            }

            #[track_caller]
            pub fn swap(&self, value: $value, order: Ordering) -> $value {
                self.checked().swap(value, order)
            }

            #[track_caller]
            pub fn compare_exchange(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                self.checked().compare_exchange(current, new, success, failure)
            }

            #[track_caller]
            pub fn compare_exchange_weak(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                self.checked().compare_exchange(current, new, success, failure)
            }

            #[track_caller]
            pub fn fetch_and(&self, value: $value, order: Ordering) -> $value {
                self.checked().fetch_and(value, order)
            }

            #[track_caller]
            pub fn fetch_or(&self, value: $value, order: Ordering) -> $value {
                self.checked().fetch_or(value, order)
            }

            #[track_caller]
            pub fn get_mut(&mut self) -> &mut $value {
                // What is read here is exclusive: loom checks that, and the word begins anew.
                let value = self.atomic.take().map(|mut atomic| atomic.with_mut(|value| *value));
                self.initial = value.unwrap_or(self.initial);
                &mut self.initial
            }

            fn checked(&self) -> &checked::$name {
                self.atomic.get_or_init(|| checked::$name::new(self.initial))
            }
        }

        impl Drop for $name {
            fn drop(&mut self) {
                if let Some(mut atomic) = self.atomic.take()
                    && !has_failed()
                {
                    atomic.with_mut(|_| {});
                }
            }
        }
    )* };
}

macro_rules! counts {
    ($($name:ident: $value:ty),*) => { $(
        impl $name {
            #[track_caller]
            pub fn fetch_add(&self, value: $value, order: Ordering) -> $value {
                self.checked().fetch_add(value, order)
            }

            #[track_caller]
            pub fn fetch_sub(&self, value: $value, order: Ordering) -> $value {
                self.checked().fetch_sub(value, order)
            }
        }
    )* };
}

atomic!(AtomicU32: u32, AtomicU64: u64, AtomicUsize: usize);
counts!(AtomicU32: u32, AtomicU64: u64, AtomicUsize: usize);

/// A bool, likewise; loom's own cannot be asked for the last access.
pub struct AtomicBool(AtomicU32);

impl AtomicBool {
    pub const fn new(initial: bool) -> AtomicBool {
        AtomicBool(AtomicU32::new(initial as u32))
    }

    #[track_caller]
    pub fn load(&self, order: Ordering) -> bool {
        self.0.load(order) != 0
    }

    #[track_caller]
    pub fn store(&self, value: bool, order: Ordering) {
        self.0.store(value.into(), order);
    }

    #[track_caller]
    pub fn swap(&self, value: bool, order: Ordering) -> bool {
        self.0.swap(value.into(), order) != 0
    }

    #[track_caller]
    pub fn compare_exchange(
        &self,
        current: bool,
        new: bool,
        success: Ordering,
        failure: Ordering,
    ) -> Result<bool, bool> {
        self.0
            .compare_exchange(current.into(), new.into(), success, failure)
            .map(|value| value != 0)
            .map_err(|value| value != 0)
    }
}

/// core's `Cell`, whose uses loom checks, its drop among them.
pub struct Cell<T>(UnsafeCell<T>);

impl<T> Cell<T> {
    #[track_caller]
    pub fn new(value: T) -> Cell<T> {
        Cell(UnsafeCell::new(value))
    }

    #[track_caller]
    pub fn set(&self, value: T) {
        drop(self.replace(value));
    }

    #[track_caller]
    pub fn replace(&self, value: T) -> T {
        // SAFETY: nobody else is in here; loom checks that it is so.
        self.0
            .with_mut(|cell| std::mem::replace(unsafe { &mut *cell }, value))
    }

    #[track_caller]
    pub fn take(&self) -> T
    where
        T: Default,
    {
        self.replace(T::default())
    }

    #[track_caller]
    pub fn get(&self) -> T
    where
        T: Copy,
    {
        // SAFETY: nobody writes meanwhile; loom checks that it is so.
        self.0.with(|cell| unsafe { *cell })
    }
}

impl<T> Drop for Cell<T> {
    fn drop(&mut self) {
        if !has_failed() {
            self.0.with_mut(|_| {});
        }
    }
}

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

// What stands for `crate::task::park`.

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
