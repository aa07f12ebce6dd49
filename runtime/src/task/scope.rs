//! `scope`, and below it `try_scope`: children that borrow from their parent, and never outlive the scope.
//!
//! **Why a borrow is good.** `scope` neither returns nor unwinds before `running` is 0. It is raised before a child is
//! made, and lowered by the worker when the child has ended: after its last switch, with its closure gone and its result
//! stored or dropped (`join::finish`). From then on nothing touches a value of the child but its handle, whose type
//! cannot leave the scope.
//!
//! **Whatever happens.** Code that waits for children catches its own unwinding first: a panic of the parent, an
//! interruption in the body or in the wait. It then cancels the children, waits for them with interruptions masked,
//! and lets the unwinding go on. Children that run stand in a list, which `cancel` marks and empties under its lock;
//! one that starts later finds the mark and does not run.

#[cfg(panic = "unwind")]
mod try_scope;

use core::fmt;
use core::marker::PhantomData;
use std::io;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::coroutine::unwind;
use crate::spawn::{self, AbortOnUnwind, Builder, Options};
use crate::task::JoinHandle;
use crate::task::handle::Coroutine;
use crate::task::header::discard;
use crate::task::interrupt::{self, Mask};
use crate::task::join_word::JoinWord;
use crate::task::no_park::assert_may_park;
use crate::task::park::{self, Unparker};
use crate::time::{self, Moment};

#[cfg(panic = "unwind")]
pub use try_scope::{TryScope, try_scope};

/// What a scope and its children share.
pub(crate) struct ScopeData {
    /// Children that have not ended.
    running: AtomicUsize,
    /// Panics of children that no `join` has returned.
    panics: AtomicUsize,
    /// A deadline around the scope has ended a child.
    cut_short: AtomicBool,
    /// Whom the last child wakes.
    owner: Unparker,
    children: Mutex<Children>,
}

#[derive(Default)]
struct Children {
    cancelled: bool,
    /// Those that run; bounded by what is spawned (law 8).
    running: Vec<Option<Unparker>>,
    free: Vec<usize>,
}

impl ScopeData {
    fn new() -> ScopeData {
        ScopeData {
            running: AtomicUsize::new(0),
            panics: AtomicUsize::new(0),
            cut_short: AtomicBool::new(false),
            owner: Unparker::current(),
            children: Mutex::default(),
        }
    }

    /// The worker, when a child has ended for good; or the spawner of one that was not made.
    pub(crate) fn child_ended(&self) {
        // Release: all that the child did, for the owner. `self` stays: the caller holds a count of it.
        if self.running.fetch_sub(1, Ordering::Release) == 1 {
            self.owner.unpark();
        }
    }

    /// A child ends with a panic, which it is about to leave for a `join`.
    pub(crate) fn child_panicked(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits for the end of all children.
    fn wait(&self) {
        while self.running.load(Ordering::Acquire) > 0 {
            park::park(Moment::NEVER);
        }
    }

    /// As `wait`; unwinds also if the deadline that has ended a child has not ended the wait.
    fn wait_for_all(&self) {
        self.wait();
        if self.cut_short.load(Ordering::Relaxed) {
            interrupt::look();
        }
    }

    /// Asks all children to unwind, those that start later, too.
    fn cancel(&self) {
        let mut children = self.children.lock();
        children.cancelled = true;
        let running = core::mem::take(&mut children.running);
        drop(children);
        running.iter().flatten().for_each(Unparker::cancel);
    }

    /// Enters the calling child in the list, unless the children were cancelled.
    fn enlist(&self) -> Option<Enlisted<'_>> {
        let me = Unparker::current();
        let mut children = self.children.lock();
        if children.cancelled {
            return None;
        }
        let place = children.free.pop().unwrap_or(children.running.len());
        if place == children.running.len() {
            children.running.push(Some(me));
        } else {
            children.running[place] = Some(me);
        }
        Some(Enlisted { data: self, place })
    }
}

/// A child's place in the list.
struct Enlisted<'a> {
    data: &'a ScopeData,
    place: usize,
}

impl Drop for Enlisted<'_> {
    fn drop(&mut self) {
        let mut children = self.data.children.lock();
        // After a cancellation the list is gone.
        if !children.cancelled {
            let me = children.running[self.place].take();
            children.free.push(self.place);
            drop(children);
            drop(me);
        }
    }
}

/// A scope to spawn coroutines in that borrow from around it, as [`std::thread::Scope`]. See [`scope`].
pub struct Scope<'scope, 'env: 'scope> {
    data: Arc<ScopeData>,
    /// The deadline of the timeouts around the scope.
    limit: Moment,
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

/// Runs `f` with a scope for coroutines that may borrow from the caller, and waits for them, as [`std::thread::scope`].
///
/// All children have ended when it returns, or unwinds: if `f` panics, or the caller is cancelled or a
/// [`timeout`](crate::timeout) around the scope elapses, the children are cancelled and waited for, and the unwinding goes on
/// then. Children inherit the timeouts around the scope: once one has elapsed they unwind at their next wait, too.
/// A child that cannot be interrupted keeps the scope waiting.
///
/// Works on plain threads too: the children are coroutines of the default runtime.
///
/// # Cancellation
/// Waiting for the children is a blocking call: it unwinds as told above.
///
/// # Panics
/// If a child has panicked and nobody joined it. If `f` panics. Inside [`no_park`](crate::no_park).
///
/// # Examples
/// ```
/// let words = vec!["plain", "blocking", "code"];
/// let mut longest = 0;
/// let total: usize = withy_runtime::scope(|s| {
///     let lengths: Vec<_> = words.iter().map(|word| s.spawn(|| word.len())).collect();
///     s.spawn(|| longest = words.iter().map(|word| word.len()).max().unwrap());
///     lengths.into_iter().map(|length| length.join().unwrap()).sum()
/// });
/// assert_eq!((total, longest), (17, 8));
/// ```
#[track_caller]
pub fn scope<'env, F, T>(f: F) -> T
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T,
{
    assert_may_park();
    let scope = Scope::new();
    let result = catch_unwind(AssertUnwindSafe(|| f(&scope)));
    scope.finish(result)
}

impl<'scope, 'env> Scope<'scope, 'env> {
    fn new() -> Scope<'scope, 'env> {
        Scope {
            data: Arc::new(ScopeData::new()),
            limit: interrupt::current_limit(),
            scope: PhantomData,
            env: PhantomData,
        }
    }

    /// Starts a coroutine that may borrow from outside the scope. As [`spawn`](crate::spawn) otherwise.
    ///
    /// # Panics
    /// As [`spawn`](crate::spawn).
    ///
    /// # Examples
    /// A child may spawn siblings:
    /// ```
    /// use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
    /// let count = AtomicU32::new(0);
    /// withy_runtime::scope(|s| {
    ///     s.spawn(|| {
    ///         s.spawn(|| count.fetch_add(1, Relaxed));
    ///         count.fetch_add(1, Relaxed);
    ///     });
    /// });
    /// assert_eq!(count.into_inner(), 2);
    /// ```
    #[track_caller]
    pub fn spawn<F, T>(&'scope self, f: F) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        match self.start(f, Options::default(), Location::caller()) {
            Ok(handle) => handle,
            Err(error) => spawn::refused(&error),
        }
    }

    fn start<F, T>(
        &'scope self,
        f: F,
        mut options: Options,
        location: &'static Location<'static>,
    ) -> io::Result<ScopedJoinHandle<'scope, T>>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        let data = self.data.clone();
        let limit = self.limit;
        let cancellable = !options.uncancellable;
        let child = move || run_child(&data, limit, cancellable, f);
        options.scope = Some(self.data.clone());
        // Before the child is made: it may have ended when `spawn` returns.
        self.data.running.fetch_add(1, Ordering::Relaxed);
        let unmade = Unmade(&self.data);
        // SAFETY: Send; and what it borrows outlives 'scope, which does not end before `running` is 0 (module doc).
        let handle = unsafe { spawn::spawn_scoped(child, options, location) }?;
        core::mem::forget(unmade);
        Ok(ScopedJoinHandle {
            handle,
            data: self.data.clone(),
            scope: PhantomData,
        })
    }

    /// Waits for the children, cancelled first if the body or the wait unwound; gives the body's value or goes on
    /// unwinding.
    fn finish<T>(&self, body: std::thread::Result<T>) -> T {
        let data = &self.data;
        let waited = match body {
            Ok(value) => match catch_unwind(AssertUnwindSafe(|| data.wait_for_all())) {
                Ok(()) => Ok(value),
                Err(payload) => Err((Some(value), payload)),
            },
            Err(payload) => Err((None, payload)),
        };
        // Children borrow from this stack.
        let borrowed = AbortOnUnwind;
        if waited.is_err() {
            data.cancel();
        }
        let mask = Mask::new();
        data.wait();
        drop(mask);
        core::mem::forget(borrowed);
        match waited {
            Ok(_) if data.panics.load(Ordering::Relaxed) > 0 => {
                panic!("a scoped coroutine panicked")
            }
            Ok(value) => value,
            Err((value, payload)) => {
                discard(value);
                resume_unwind(payload)
            }
        }
    }
}

/// Counts a child that was not made: its spawn was refused, maybe with a panic of its closure's destructor.
struct Unmade<'a>(&'a ScopeData);

impl Drop for Unmade<'_> {
    fn drop(&mut self) {
        self.0.child_ended();
    }
}

/// A child's life, on its own stack.
fn run_child<T>(data: &ScopeData, limit: Moment, cancellable: bool, f: impl FnOnce() -> T) -> T {
    let enlisted = data.enlist();
    if enlisted.is_none() && cancellable {
        interrupt::abandon(|| drop(f));
        resume_unwind(unwind::cancelled())
    }
    match limit {
        Moment::NEVER => f(),
        _ => time::until(limit, f).unwrap_or_else(|elapsed| {
            data.cut_short.store(true, Ordering::Relaxed);
            resume_unwind(Box::new(elapsed))
        }),
    }
}

/// Waits for the result of one coroutine of a scope, as [`std::thread::ScopedJoinHandle`].
pub struct ScopedJoinHandle<'scope, T> {
    handle: JoinHandle<T>,
    data: Arc<ScopeData>,
    scope: PhantomData<&'scope mut &'scope ()>,
}

impl<T> ScopedJoinHandle<'_, T> {
    /// As [`JoinHandle::word`].
    pub(crate) fn word(&mut self) -> &JoinWord {
        self.handle.word()
    }

    /// As [`JoinHandle::join`]. A panic that it returns is not the scope's any more.
    ///
    /// # Cancellation
    /// A blocking call: it unwinds if the caller is cancelled, or a [`timeout`](crate::timeout) around it elapses.
    ///
    /// # Errors
    /// The payload of the child's panic; [`Cancelled`](crate::Cancelled) if it was cancelled, and
    /// [`Elapsed`](crate::Elapsed) if a timeout that it inherited has elapsed.
    ///
    /// # Examples
    /// ```
    /// withy_runtime::scope(|s| {
    ///     let child = s.spawn(|| panic!("taken by the join"));
    ///     assert!(child.join().is_err());
    /// }); // and so the scope does not panic
    /// ```
    pub fn join(self) -> std::thread::Result<T> {
        let result = self.handle.join();
        if let Err(payload) = &result
            && !unwind::is_interruption(&**payload)
        {
            self.data.panics.fetch_sub(1, Ordering::Relaxed);
        }
        result
    }

    /// As [`JoinHandle::cancel`]. A child that was cancelled counts as no panic.
    ///
    /// # Examples
    /// ```
    /// withy_runtime::scope(|s| s.spawn(withy_runtime::park).cancel());
    /// ```
    #[cfg(panic = "unwind")]
    pub fn cancel(&self) {
        self.handle.cancel();
    }

    /// As [`JoinHandle::is_finished`].
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }

    /// As [`JoinHandle::coroutine`].
    #[must_use]
    pub fn coroutine(&self) -> Coroutine {
        self.handle.coroutine()
    }

    /// As [`JoinHandle::thread`].
    #[must_use]
    pub fn thread(&self) -> Coroutine {
        self.handle.thread()
    }
}

impl Builder {
    /// Starts a coroutine in a scope. See [`Scope::spawn`].
    ///
    /// # Errors
    /// As [`spawn`](Builder::spawn).
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::{Builder, current, scope};
    /// scope(|s| {
    ///     let child = Builder::new().name("reader".into());
    ///     child.spawn_scoped(s, || assert_eq!(current().name(), Some("reader"))).map(drop)
    /// })
    /// # .unwrap();
    /// ```
    #[track_caller]
    pub fn spawn_scoped<'scope, 'env, F, T>(
        self,
        scope: &'scope Scope<'scope, 'env>,
        f: F,
    ) -> io::Result<ScopedJoinHandle<'scope, T>>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        scope.start(f, self.options()?, Location::caller())
    }
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope")
            .field("running", &self.data.running.load(Ordering::Relaxed))
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for ScopedJoinHandle<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopedJoinHandle")
            .field("coroutine", &self.coroutine())
            .finish_non_exhaustive()
    }
}
