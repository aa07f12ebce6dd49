//! A runtime: its start, its end, and the process's default one.

use std::io;
use std::panic::Location;
use std::ptr;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use crossbeam_deque::Worker as Deque;
use crossbeam_utils::CachePadded;
use parking_lot::Mutex;

use crate::atomic::{AtomicBool, AtomicUsize};
use crate::builder::RuntimeBuilder;
use crate::context;
use crate::fork;
use crate::poll::Driver;
use crate::scheduler::idle::{Idle, SleepFlag};
use crate::scheduler::turn::Due;
use crate::scheduler::watched::Watched;
use crate::scheduler::{Config, Remote, Shared, Worker, left_over, watchdog};
use crate::spawn::{Options, Place};
use crate::stack::{AltStack, Guards, Overflow, StackPool};
use crate::task::JoinHandle;
use crate::task::header::TaskRef;
use crate::task::interrupt::Mask;
use crate::task::live::LiveList;
use crate::task::park::{self, Unparker};
use crate::time::{self, Moment, Outstanding, Timers};

/// Worker threads that run coroutines.
///
/// Most programs need none of their own: [`spawn`](crate::spawn) uses the default runtime, which starts at its first
/// use. Several may live side by side; what happens inside a coroutine happens in its own runtime.
///
/// Dropping it shuts it down, as [`shutdown`](Runtime::shutdown) with the builder's limit does.
pub struct Runtime {
    shared: Arc<Shared>,
    threads: Mutex<Vec<thread::JoinHandle<()>>>,
    limit: Duration,
}

impl Runtime {
    /// Settings for a runtime of one's own.
    pub fn builder() -> RuntimeBuilder {
        RuntimeBuilder::new()
    }

    /// 1. what the workers share, 2. the report of stack overflows, 3. the workers' threads, 4. the watchdog's.
    pub(crate) fn start(
        config: Config,
        workers: usize,
        max_coroutines: Option<usize>,
        guards: Guards,
        limit: Duration,
    ) -> io::Result<Runtime> {
        fork::refuse_child();
        fork::watch();
        let pool = StackPool::new(config.stack_size, workers, max_coroutines, guards);
        let mut deques = Vec::with_capacity(workers);
        let mut remotes = Vec::with_capacity(workers);
        for _ in 0..workers {
            let deque = Deque::new_fifo();
            remotes.push(CachePadded::new(Remote {
                inbox: crate::scheduler::inbox::Inbox::new(),
                asleep: SleepFlag::new(),
                stealer: deque.stealer(),
                driver: Driver::new()?,
                timers: Timers::new(config.steal_started),
                live: AtomicUsize::new(0),
                inbound: AtomicUsize::new(0),
                list: LiveList::new(config.steal_started),
                watched: Arc::new(CachePadded::new(Watched::new())),
                due: Arc::new(CachePadded::new(Due::new())),
                held: AtomicBool::new(false),
            }));
            deques.push(deque);
        }
        let shared = Arc::new(Shared::new(
            config,
            remotes.into(),
            Idle::new(workers),
            pool,
        ));
        crate::stack::install(overflow_at)?;
        let runtime = Runtime {
            shared,
            threads: Mutex::new(Vec::with_capacity(workers)),
            limit,
        };
        for (index, deque) in deques.into_iter().enumerate() {
            if let Err(error) = runtime.start_worker(index, deque) {
                // Nothing was spawned yet: the workers that did start leave at once, and are waited for here.
                runtime.shared.ending.give_up(&runtime.shared);
                runtime.join_threads();
                return Err(error);
            }
        }
        runtime.start_watchdog();
        Ok(runtime)
    }

    /// Not inside `start`: a logger may use the default runtime, and must not find its start under way on this thread.
    pub(crate) fn log_start(&self) {
        log::debug!(target: "withy::runtime", "{} started {} workers", self.shared.config.name, self.workers());
        if let Some(error) = self.shared.watch.failure.get() {
            log::warn!(target: "withy::watchdog", "runtime '{}' goes without a watchdog, whose thread could not be started: {error}", self.shared.config.name);
        }
    }

    fn start_worker(&self, index: usize, deque: Deque<TaskRef>) -> io::Result<()> {
        let shared = self.shared.clone();
        let name = format!("{}-worker-{index}", shared.config.name);
        let handle = thread::Builder::new().name(name).spawn(move || {
            let _abort = AbortOnPanic;
            // A guard hit is reported from this stack. Without it the process dies of the fault without a report.
            let _alternate = AltStack::new()
                .inspect_err(|e| log::warn!(target: "withy::stack", "no signal stack: {e}"));
            // SAFETY: no arguments, and it cannot fail.
            let thread = unsafe { libc::gettid() };
            shared.remotes[index].watched.set_thread(thread as u32);
            let driver = shared.remotes[index].driver.clone();
            Worker::new(shared.clone(), index, deque).run_to_end();
            driver.close_all();
            shared.pools.close();
            let workers = shared.workers();
            shared.ending.exit(workers);
            shared.watch.end_wait();
        })?;
        self.threads.lock().push(handle);
        Ok(())
    }

    /// A runtime works without a watchdog, so a failed start is told when the runtime's start is logged.
    fn start_watchdog(&self) {
        let Some(limit) = self.shared.config.watchdog else {
            return;
        };
        let shared = self.shared.clone();
        let name = format!("{}-watchdog", shared.config.name);
        let started = thread::Builder::new()
            .name(name)
            .spawn(move || watchdog::run(&shared, limit));
        match started {
            Ok(handle) => {
                let _ = self.shared.watch.thread.set(handle.thread().clone());
                self.threads.lock().push(handle);
            }
            Err(error) => _ = self.shared.watch.failure.set(error),
        }
    }

    /// Number of worker threads.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.shared.workers()
    }

    /// Starts a coroutine in this runtime. See [`spawn`](crate::spawn).
    ///
    /// # Panics
    /// If there is no memory for a stack or the limit of coroutines is reached.
    #[track_caller]
    pub fn spawn<F, T>(&self, f: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let options = Options::default();
        match Place::of(&self.shared).spawn(f, options, Location::caller()) {
            Ok(handle) => handle,
            Err(error) => crate::spawn::refused(&error),
        }
    }

    /// Runs a closure as a coroutine of this runtime and waits for its value. See [`run`](crate::run).
    ///
    /// Inside a coroutine of this runtime it just runs the closure; one of another runtime waits as a plain thread does, and so
    /// runtimes may call each other.
    ///
    /// # Cancellation
    /// As [`run`](crate::run).
    ///
    /// # Panics
    /// With the closure's panic; or if there is no memory for a stack or the limit of coroutines is reached.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::{Runtime, current};
    ///
    /// let (one, other) = (Runtime::builder().build()?, Runtime::builder().build()?);
    /// one.run(|| {
    ///     let here = current().id();
    ///     assert_eq!(one.run(|| current().id()), here); // in place
    ///     assert_ne!(other.run(|| current().id()), here); // over there, and waited for
    /// });
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn run<F, T>(&self, f: F) -> T
    where
        F: FnOnce() -> T + Send,
        T: Send,
    {
        crate::spawn::run_in(&self.shared, f, Location::caller())
    }

    /// Ends the runtime, in these steps:
    ///
    /// 1. New coroutines are refused: [`Builder::spawn`](crate::Builder::spawn) gives an error; the handle of
    ///    [`spawn`](crate::spawn) gives [`Cancelled`](crate::Cancelled) when it is joined.
    /// 2. Those that have not started are dropped; all others are cancelled: they unwind from their current or next blocking
    ///    call, and are run until they have ended. What they wait for in destructors is waited for.
    /// 3. When the last one has ended, the workers leave together: their netpollers close, their threads exit, and so do
    ///    those of the pools and the watchdog.
    /// 4. If the limit passes before, the rest is reported and left as it is: nobody's stack is freed that may still be in use.
    ///
    /// Waits for that, `timeout` at most: not at all with zero, without a limit if it ends more than 500 years from now.
    /// Inside one of the runtime's own coroutines, and on the threads of its [`blocking`](crate::blocking) work, it only
    /// begins the end, since it cannot wait for itself: it returns at once, without an error, and a caller that is a
    /// coroutine unwinds at its next wait. Inside a coroutine of another runtime for which one of this runtime waits it
    /// ends at its limit.
    ///
    /// # Interruption
    /// None: neither a cancellation nor a [`timeout`](crate::timeout) around it cuts the wait short; `timeout` does.
    ///
    /// # Errors
    /// `TimedOut` if coroutines are left that did not end; it says how many, and which (up to eight): they are leaked together with the runtime's threads,
    /// which go on serving them and exit when they end after all. With `panic = "abort"` nothing can be unwound:
    /// then only coroutines that end by themselves do.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use withy_runtime::{Cancelled, Runtime, park};
    ///
    /// let runtime = Runtime::builder().workers(2).build()?;
    /// let waiter = runtime.spawn(park);
    /// runtime.shutdown(Duration::from_secs(5))?;
    /// assert!(waiter.join().unwrap_err().is::<Cancelled>());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn shutdown(self, timeout: Duration) -> io::Result<()> {
        let result = self.end(timeout);
        // `end` was done with this limit; the drop has nothing to add.
        self.threads.lock().clear();
        result
    }

    fn end(&self, timeout: Duration) -> io::Result<()> {
        fork::refuse_child();
        let shared = &self.shared;
        shared.ending.stop();
        shared.wake_all();
        let workers = shared.workers();
        let on_worker = context::current_worker().is_some_and(|w| Arc::ptr_eq(w.shared(), shared));
        // A thread of its pools works for a coroutine, or is to be joined.
        if on_worker || shared.pools.is_own_thread() {
            log::warn!(target: "withy::runtime", "a runtime was dropped inside one of its own coroutines, or on a thread that works for them: it ends without being waited for");
            return Ok(());
        }
        let deadline = time::moment().after(timeout);
        // The other runtime's threads take real time.
        let _outstanding = Outstanding::new();
        shared.ending.announce(Unparker::current());
        let _mask = Mask::new();
        while !shared.ending.all_exited(workers) {
            if time::moment() >= deadline && deadline != Moment::NEVER {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!(
                        "{} of runtime '{}' did not end within {timeout:?}; they and its {workers} worker thread(s) are leaked",
                        left_over(shared),
                        shared.config.name,
                    ),
                ));
            }
            park::park(deadline);
        }
        self.join_threads();
        Ok(())
    }

    /// Waits for threads that are past their last use of the runtime.
    fn join_threads(&self) {
        let threads = core::mem::take(&mut *self.threads.lock());
        // What is left of them is destructors of thread-locals, which may do anything: off the worker, if we are a
        // coroutine; and to the end, even if that is cancelled.
        let _mask = Mask::new();
        crate::blocking::blocking(|| {
            for thread in threads {
                // Workers abort the process rather than panic.
                let _ = thread.join();
            }
            self.shared.pools.join();
        });
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if self.threads.lock().is_empty() {
            return;
        }
        if let Err(error) = self.end(self.limit) {
            log::warn!(target: "withy::runtime", "{error}");
        }
    }
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime")
            .field("name", &self.shared.config.name)
            .field("workers", &self.workers())
            .finish_non_exhaustive()
    }
}

/// A panic on a worker's own stack is a bug of the runtime; its coroutines would hang for ever.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!(
                "withy: a worker panicked outside any coroutine; please report this. Aborting"
            );
            std::process::abort();
        }
    }
}

/// For the overflow report: what runs on this thread, if `fault` lies in its guard. In a signal handler.
fn overflow_at(fault: usize) -> Option<Overflow> {
    let task = context::current_task()?;
    // SAFETY: it runs on this thread, so its record is alive, and stays so until the process has aborted.
    let task: &'static crate::task::header::Header = unsafe { &*task.as_ptr().cast_const() };
    // SAFETY: it runs, so the cell is written; the worker that resumed it only holds on to corosensei's part.
    let guard = unsafe { (*task.switch.get()).assume_init_ref() }.guard();
    guard.contains(&fault).then(|| Overflow {
        name: task.spec.name.as_deref(),
        id: task.id(),
        spawned_at: task.spec.location,
        stack_size: task.spec.stack_size.bytes(),
    })
}

// ---- the default runtime ----

static DEFAULT: OnceLock<Runtime> = OnceLock::new();
/// Held while the default runtime starts, so that two first uses start one. A failure leaves nothing behind, and the
/// next use tries again.
static STARTING: Mutex<()> = Mutex::new(());

/// The default runtime; started by the environment's settings if it does not run yet.
pub(crate) fn default() -> io::Result<&'static Arc<Shared>> {
    if let Some(runtime) = DEFAULT.get() {
        return Ok(&runtime.shared);
    }
    start_default(false, RuntimeBuilder::from_env).map(|runtime| &runtime.shared)
}

pub(crate) fn install(builder: RuntimeBuilder) -> io::Result<()> {
    start_default(true, || Ok(builder)).map(drop)
}

fn start_default(
    must_be_first: bool,
    builder: impl FnOnce() -> io::Result<RuntimeBuilder>,
) -> io::Result<&'static Runtime> {
    fork::refuse_child();
    let starting = STARTING.lock();
    if let Some(runtime) = DEFAULT.get() {
        if must_be_first {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "the default runtime runs already; install it before the first spawn, run or network call",
            ));
        }
        return Ok(runtime);
    }
    let runtime = builder()?.start()?;
    let runtime = DEFAULT.get_or_init(|| runtime);
    drop(starting);
    runtime.log_start();
    Ok(runtime)
}

/// Whether the caller runs in a coroutine of this runtime.
pub(crate) fn is_inside(shared: &Arc<Shared>) -> bool {
    context::current_worker()
        .is_some_and(|worker| worker.is_running() && ptr::eq(&**worker.shared(), &**shared))
}
