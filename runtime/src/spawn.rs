//! Starting coroutines.

use std::io;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::sync::Arc;

use crate::context;
use crate::coroutine::unwind::is_interruption;
use crate::fork;
use crate::runtime;
use crate::scheduler::{Shared, Worker};
use crate::stack::StackSize;
use crate::task::JoinHandle;
use crate::task::header::{Spec, TaskRef};
use crate::task::scope::ScopeData;
use crate::time::Outstanding;

/// Starts a coroutine and returns a handle to its result, as [`std::thread::spawn`] does a thread.
///
/// Inside a coroutine it starts in the same runtime, otherwise in the default one, which starts at its first use. A panic
/// in it reaches [`JoinHandle::join`] only. In the default mode an idle worker may take it before it has
/// started; then it stays on its worker for life.
///
/// When the runtime is shutting down, the closure is dropped and `join` returns [`Cancelled`](crate::Cancelled): it is no
/// panic, since destructors spawn, too.
///
/// # Panics
/// If there is no memory for a stack, the limit of coroutines is reached, or the default runtime cannot start;
/// [`Builder::spawn`] returns these as errors.
///
/// # Examples
/// ```
/// let answers: Vec<_> = (0..10).map(|n| withy_runtime::spawn(move || n * n)).collect();
/// let sum: i32 = answers.into_iter().map(|answer| answer.join().unwrap()).sum();
/// assert_eq!(sum, 285);
/// ```
#[track_caller]
pub fn spawn<F, T>(f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    match spawn_here(f, Options::default(), Location::caller()) {
        Ok(handle) => handle,
        Err(error) => refused(&error),
    }
}

/// Starts a coroutine on one worker, by index (0 to [`Runtime::workers`](crate::Runtime::workers) − 1), where it stays. For those who know better
/// than the placement.
///
/// # Panics
/// If there is no such worker, and as [`spawn`].
#[track_caller]
pub fn spawn_on<F, T>(worker: usize, f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let options = Options {
        target: Some(worker),
        ..Options::default()
    };
    match spawn_here(f, options, Location::caller()) {
        Ok(handle) => handle,
        Err(error) => refused(&error),
    }
}

/// Starts a coroutine on the caller's worker from a closure that need not be `Send`.
///
/// It never leaves that worker. In full stealing the caller does not either from now on, since the two may share what is
/// not `Send`.
///
/// # Panics
/// Outside a coroutine: there is no worker to stay on. And as [`spawn`].
///
/// # Examples
/// ```
/// use std::rc::Rc;
/// withy_runtime::run(|| {
///     let shared = Rc::new(5);
///     let child = withy_runtime::spawn_local({ let shared = shared.clone(); move || *shared + 1 });
///     assert_eq!(child.join().unwrap(), 6);
/// });
/// ```
#[track_caller]
pub fn spawn_local<F, T>(f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + 'static,
    T: 'static,
{
    let Some(worker) = context::current_worker().filter(|worker| worker.is_running()) else {
        panic!(
            "spawn_local must be called inside a coroutine: from a plain thread there is no worker for the closure to stay on; use spawn, or withy::run around it"
        );
    };
    worker.running_task().pinned_for_life.set(true);
    let options = Options {
        local: true,
        ..Options::default()
    };
    // SAFETY: the closure goes to the local queue of this worker, from which nobody steals, and a local coroutine is
    // pinned in both modes: closure, locals and result live and die on this thread, or go to a handle that is
    // as little `Send` as the result.
    let spawned = unsafe { Place::Worker(worker).spawn_unchecked(f, options, Location::caller()) };
    match spawned {
        Ok(handle) => handle,
        Err(error) => refused(&error),
    }
}

/// Runs a closure as a coroutine and waits for its value; inside a coroutine it just runs it.
///
/// The closure may borrow: the call does not return before the closure has ended.
///
/// # Cancellation
/// A blocking call: when a [`timeout`](crate::timeout) around it elapses, or the calling coroutine (of another runtime)
/// is cancelled, the closure's coroutine is cancelled and waited for, and then the call unwinds. If the closure ended all
/// the same, its value is returned, and the next blocking call unwinds.
///
/// # Panics
/// With the closure's panic; and as [`spawn`].
///
/// # Examples
/// ```
/// let words = vec!["plain", "blocking", "code"];
/// let longest = withy_runtime::run(|| words.iter().map(|word| word.len()).max());
/// assert_eq!(longest, Some(8));
/// ```
#[track_caller]
pub fn run<F, T>(f: F) -> T
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    if context::in_coroutine() {
        return f();
    }
    match runtime::default() {
        Ok(shared) => run_in(shared, f, Location::caller()),
        Err(error) => refused(&error),
    }
}

/// How many workers the caller's runtime has, or else the default one, which starts at its first use.
///
/// # Errors
/// What keeps the default runtime from starting.
pub fn workers() -> io::Result<usize> {
    Ok(Place::here()?.shared().workers())
}

/// Settings of one coroutine, as [`std::thread::Builder`] has of a thread.
///
/// # Examples
/// ```
/// let child = withy_runtime::Builder::new()
///     .name("parser".into())
///     .stack_size(1024 * 1024)
///     .spawn(|| withy_runtime::current().name().map(str::to_owned))?;
/// assert_eq!(child.join().unwrap().as_deref(), Some("parser"));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Default)]
#[must_use = "a builder does nothing until `spawn`"]
pub struct Builder {
    name: Option<String>,
    stack_size: Option<usize>,
    uncancellable: bool,
    worker: Option<usize>,
}

impl Builder {
    /// No name, the runtime's stack size.
    pub fn new() -> Builder {
        Builder::default()
    }

    /// Names the coroutine, for reports and [`Coroutine::name`](crate::Coroutine::name).
    pub fn name(mut self, name: String) -> Builder {
        self.name = Some(name);
        self
    }

    /// Bytes of its stack, guard (64 KiB) included: rounded up to a power of two, and to at least 128 KiB; at most
    /// 1 GiB.
    pub fn stack_size(mut self, bytes: usize) -> Builder {
        self.stack_size = Some(bytes);
        self
    }

    /// Whether cancelling it has an effect: by default it has. `false` is for code that must run to its end: unsafe code
    /// that waits to keep borrows alive, callbacks of C libraries, through which nothing may unwind. It runs even if it is
    /// cancelled before it has started; only a shutdown drops what has not started, and waits for the end of what has, up to
    /// its limit. Timeouts inside it work as everywhere.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// let saving = withy_runtime::Builder::new().cancellable(false).spawn(|| {
    ///     withy_runtime::sleep(Duration::from_millis(2));
    ///     "saved"
    /// })?;
    /// saving.cancel();
    /// assert_eq!(saving.join().unwrap(), "saved");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn cancellable(mut self, cancellable: bool) -> Builder {
        self.uncancellable = !cancellable;
        self
    }

    /// Starts it on one worker, by index, where it stays, as [`spawn_on`] does.
    ///
    /// # Examples
    /// ```
    /// let here = withy_runtime::Builder::new().worker(0).spawn(|| "on the first worker")?;
    /// assert_eq!(here.join().unwrap(), "on the first worker");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn worker(mut self, worker: usize) -> Builder {
        self.worker = Some(worker);
        self
    }

    /// Starts it. See [`spawn`].
    ///
    /// # Errors
    /// `OutOfMemory` if there is no memory for a stack or the limit of coroutines is reached, `InvalidInput` for a
    /// stack size out of range or a worker that there is not, `Other` if the runtime is shutting down, and what keeps the default runtime from starting.
    #[track_caller]
    pub fn spawn<F, T>(self, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        spawn_here(f, self.options()?, Location::caller())
    }

    pub(crate) fn options(self) -> io::Result<Options> {
        Ok(Options {
            name: self.name.map(Into::into),
            stack_size: self.stack_size.map(StackSize::new).transpose()?,
            uncancellable: self.uncancellable,
            target: self.worker,
            reports_the_end: true,
            ..Options::default()
        })
    }
}

/// What a spawn was asked for.
#[derive(Default)]
pub(crate) struct Options {
    name: Option<Box<str>>,
    stack_size: Option<StackSize>,
    target: Option<usize>,
    local: bool,
    pub(crate) uncancellable: bool,
    /// A spawn that comes too late is an error, not a coroutine that was cancelled before it began.
    reports_the_end: bool,
    pub(crate) scope: Option<Arc<ScopeData>>,
}

/// Where a spawn comes from, seen from the runtime that it goes to.
pub(crate) enum Place<'a> {
    /// One of its workers.
    Worker(&'a Worker),
    /// Any other thread.
    Outside(&'a Arc<Shared>),
}

impl<'a> Place<'a> {
    /// The caller's place with regard to a runtime.
    pub(crate) fn of(shared: &'a Arc<Shared>) -> Place<'a> {
        match context::current_worker() {
            Some(worker) if Arc::ptr_eq(worker.shared(), shared) => Place::Worker(worker),
            _ => Place::Outside(shared),
        }
    }

    /// The caller's runtime, or else the default one.
    #[inline]
    fn here() -> io::Result<Place<'a>> {
        Ok(match context::current_worker() {
            Some(worker) => Place::Worker(worker),
            None => Place::Outside(runtime::default()?),
        })
    }

    #[inline]
    fn shared(&self) -> &Arc<Shared> {
        match self {
            Place::Worker(worker) => worker.shared(),
            Place::Outside(shared) => shared,
        }
    }

    #[inline]
    pub(crate) fn spawn<F, T>(
        self,
        f: F,
        options: Options,
        location: &'static Location<'static>,
    ) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        // SAFETY: Send and 'static.
        unsafe { self.spawn_unchecked(f, options, location) }
    }

    /// # Safety
    /// `f` and its result may be sent to the thread where the options let it run, and live until the coroutine has
    /// ended.
    #[inline]
    unsafe fn spawn_unchecked<F, T>(
        self,
        f: F,
        options: Options,
        location: &'static Location<'static>,
    ) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T,
    {
        let shared = self.shared();
        if options.reports_the_end && shared.ending.is_stopping() {
            return Err(too_late(shared));
        }
        let stack_size = options.stack_size.unwrap_or(shared.config.stack_size);
        self.reserve(stack_size, options.target)?;
        let spec = Spec {
            name: options.name,
            stack_size,
            location,
            local: options.local,
            cancellable: !options.uncancellable,
        };
        // One reference for the queue, one for the handle.
        let task = TaskRef::new(f, spec, options.scope, Arc::as_ptr(shared), 2);
        // SAFETY: the second reference.
        let handle = JoinHandle::new(unsafe { TaskRef::from_raw(task.as_ptr()) });
        self.queue(task, options.target);
        Ok(handle)
    }

    #[inline]
    fn reserve(&self, size: StackSize, target: Option<usize>) -> io::Result<()> {
        if let Some(worker) = target {
            check_target(worker, self.shared().workers())?;
        }
        match self {
            Place::Worker(worker) => worker.reserve_stack(size),
            Place::Outside(shared) => {
                // Before anything that locks: a thread that does not exist in a child may hold it.
                fork::refuse_child();
                shared.pool.reserve(size)
            }
        }
    }

    #[inline]
    fn queue(&self, task: TaskRef, target: Option<usize>) {
        match (self, target) {
            (Place::Worker(worker), None) if task.spec.local => worker.push_local(task),
            (Place::Worker(worker), None) => worker.push_movable(task),
            (Place::Worker(worker), Some(target)) if worker.index() == target => {
                worker.push_local(task);
            }
            (Place::Worker(worker), Some(target)) => worker.shared().send_fresh(target, task),
            (Place::Outside(shared), target) => {
                if let Err(task) = shared.inject(task, target) {
                    shared.pool.unreserve(task.spec.stack_size);
                    // SAFETY: it was given back: fresh, and its queue link is ours.
                    unsafe { task.cancel_unstarted() };
                }
            }
        }
    }
}

#[cold]
fn too_late(shared: &Shared) -> io::Error {
    io::Error::other(format!(
        "runtime '{}' is shutting down: it starts no more coroutines",
        shared.config.name
    ))
}

#[cold]
fn check_target(worker: usize, workers: usize) -> io::Result<()> {
    if worker < workers {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("there is no worker {worker}: the runtime has {workers}, counted from 0"),
    ))
}

/// `spawn_here` for a closure that borrows.
///
/// # Safety
/// `f` and its result are `Send`, and what they borrow lives until the coroutine has ended.
pub(crate) unsafe fn spawn_scoped<F, T>(
    f: F,
    options: Options,
    location: &'static Location<'static>,
) -> io::Result<JoinHandle<T>>
where
    F: FnOnce() -> T,
{
    // SAFETY: the caller's promise.
    unsafe { Place::here()?.spawn_unchecked(f, options, location) }
}

#[inline]
fn spawn_here<F, T>(
    f: F,
    options: Options,
    location: &'static Location<'static>,
) -> io::Result<JoinHandle<T>>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    Place::here()?.spawn(f, options, location)
}

/// `run` in a given runtime.
#[track_caller]
pub(crate) fn run_in<F, T>(shared: &Arc<Shared>, f: F, location: &'static Location<'static>) -> T
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    if runtime::is_inside(shared) {
        return f();
    }
    crate::task::no_park::assert_may_park();
    // SAFETY: Send; and what it borrows outlives it, since we leave only after its end: the last wait below cannot be
    // interrupted (masked), was checked not to be forbidden, and aborts if it unwinds all the same.
    let spawned = unsafe { Place::of(shared).spawn_unchecked(f, Options::default(), location) };
    let handle = match spawned {
        Ok(handle) => handle,
        Err(error) => refused(&error),
    };
    let borrowed = AbortOnUnwind;
    // The other runtime's work takes real time.
    let outstanding = Outstanding::new();
    let waited = catch_unwind(AssertUnwindSafe(|| handle.wait()));
    if let Err(payload) = &waited {
        // A timeout or a token around the call, or the cancellation of a coroutine of another runtime. A hook that
        // panics would do so again, and end the process.
        if is_interruption(&**payload) {
            handle.ask_to_unwind();
        }
    }
    let result = handle.join_masked();
    drop(outstanding);
    core::mem::forget(borrowed);
    match (waited, result) {
        // An interruption that came too late is met again at the next wait.
        (_, Ok(value)) => value,
        (Err(interruption), Err(payload)) if is_interruption(&*payload) => {
            resume_unwind(interruption)
        }
        (_, Err(payload)) => resume_unwind(payload),
    }
}

/// Dropped only when the wait for a borrowing coroutine unwinds (a panic of an `on_switch` hook).
pub(crate) struct AbortOnUnwind;

impl Drop for AbortOnUnwind {
    fn drop(&mut self) {
        eprintln!(
            "withy: the wait for a coroutine that borrows from its caller was unwound. Aborting"
        );
        std::process::abort();
    }
}

/// What the panicking spawns do with an error.
#[cold]
#[track_caller]
pub(crate) fn refused(error: &io::Error) -> ! {
    panic!("failed to spawn a coroutine: {error}")
}
