//! What a runtime is built with.

mod for_tests;
mod hook;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::blocking::Limits;
use crate::runtime::{self, Runtime};
use crate::scheduler::idle::WORKERS_MAX;
use crate::scheduler::watchdog::LIMIT_DEFAULT as WATCHDOG_LIMIT_DEFAULT;
use crate::scheduler::{Config, SPIN_LIMIT_DEFAULT};
use crate::stack::{Guards, StackSize};
use crate::sync;

use hook::SaveRestore;
pub(crate) use hook::{Hook, SwitchHook};

/// What idle workers may take from others.
///
/// The crate's guarantees (thread-locals, values that are not `Send`) depend on it; they are told in the README and in
/// the crate's documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steal {
    pub(crate) started: bool,
}

impl Steal {
    /// Only coroutines that have not started: once started, a coroutine stays on its worker for life. The default.
    #[must_use]
    pub const fn fresh() -> Steal {
        Steal { started: false }
    }

    /// Started coroutines too: one may go on on another worker after any blocking call, as goroutines do.
    ///
    /// # Safety
    /// For every coroutine of the runtime, over every call that may block or yield:
    /// - no value that is not `Send` and shares state outside the coroutine is alive (an `Rc` whose clone is in a
    ///   thread-local or in another coroutine, a guard of `std::sync`);
    /// - no `std::thread::scope` is open, and no lock that is owned by a thread id is held;
    /// - no function, inlined dependencies included, uses a thread-local both before and after such a call: the
    ///   compiler may have kept its address.
    ///
    /// Nothing checks this. A coroutine that unwinds, was started by [`spawn_local`](crate::spawn_local), or has
    /// called it, stays where it is in this mode too.
    #[must_use]
    pub const unsafe fn started() -> Steal {
        Steal { started: true }
    }
}

impl Default for Steal {
    fn default() -> Steal {
        Steal::fresh()
    }
}

/// Builds a [`Runtime`].
///
/// # Examples
/// ```
/// let runtime = withy_runtime::Runtime::builder().workers(2).stack_size(512 * 1024).build()?;
/// assert_eq!(runtime.run(|| 6 * 7), 42);
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use = "a builder does nothing until `build` or `install`"]
pub struct RuntimeBuilder {
    workers: Option<usize>,
    stack_size: usize,
    steal: Steal,
    spin: Duration,
    max_coroutines: Option<usize>,
    name: String,
    shutdown_limit: Duration,
    hook: Option<Arc<dyn SwitchHook>>,
    guards: Guards,
    watchdog: Option<Duration>,
    blocking_threads: usize,
    blocking_idle: Duration,
    compute_threads: Option<usize>,
    virtual_time: bool,
    seed: Option<u64>,
}

impl RuntimeBuilder {
    pub(crate) fn new() -> RuntimeBuilder {
        RuntimeBuilder {
            workers: None,
            stack_size: StackSize::DEFAULT.bytes(),
            steal: Steal::fresh(),
            spin: SPIN_LIMIT_DEFAULT,
            max_coroutines: None,
            name: "withy".to_owned(),
            shutdown_limit: Duration::from_secs(5),
            hook: None,
            guards: Guards::Auto,
            watchdog: Some(WATCHDOG_LIMIT_DEFAULT),
            blocking_threads: 512,
            blocking_idle: Duration::from_secs(10),
            compute_threads: None,
            virtual_time: false,
            seed: None,
        }
    }

    /// A builder set by the environment, as the default runtime's is: `WITHY_WORKERS`, `WITHY_STACK_SIZE` (bytes).
    ///
    /// # Errors
    /// `InvalidInput` if one of them is set to something that is no number.
    pub fn from_env() -> io::Result<RuntimeBuilder> {
        let mut builder = RuntimeBuilder::new();
        if let Some(workers) = number_from_env("WITHY_WORKERS")? {
            builder = builder.workers(workers);
        }
        if let Some(bytes) = number_from_env("WITHY_STACK_SIZE")? {
            builder = builder.stack_size(bytes);
        }
        Ok(builder)
    }

    /// Number of worker threads, 1 to 1,024. By default [`std::thread::available_parallelism`].
    pub fn workers(mut self, workers: usize) -> RuntimeBuilder {
        self.workers = Some(workers);
        self
    }

    /// Bytes of a coroutine's stack, guard (64 KiB) included: rounded up to a power of two, and to at least 128 KiB; at
    /// most 1 GiB. By default 256 KiB. Only pages that are touched cost memory.
    pub fn stack_size(mut self, bytes: usize) -> RuntimeBuilder {
        self.stack_size = bytes;
        self
    }

    /// What idle workers may take. By default [`Steal::fresh`].
    pub fn steal(mut self, steal: Steal) -> RuntimeBuilder {
        self.steal = steal;
        self
    }

    /// How long a worker that runs out of work looks again before it sleeps; zero turns it off. By default 50 µs.
    ///
    /// One worker at a time spins, only while its waits are that short, and it stops at once when another thread
    /// wants the core.
    pub fn spin(mut self, limit: Duration) -> RuntimeBuilder {
        self.spin = limit;
        self
    }

    /// The most coroutines that may exist at a time; a spawn beyond it fails. By default memory decides.
    pub fn max_coroutines(mut self, most: usize) -> RuntimeBuilder {
        self.max_coroutines = Some(most);
        self
    }

    /// Names the runtime; its worker threads are called `NAME-worker-N`. By default `withy`.
    pub fn name(mut self, name: impl Into<String>) -> RuntimeBuilder {
        self.name = name.into();
        self
    }

    /// How long dropping the runtime waits for its coroutines to unwind, as [`Runtime::shutdown`] does. By default 5 s.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// let hasty = withy_runtime::Runtime::builder().shutdown_limit(Duration::from_millis(100)).build()?;
    /// hasty.spawn(withy_runtime::park);
    /// drop(hasty); // unwinds it
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn shutdown_limit(mut self, limit: Duration) -> RuntimeBuilder {
        self.shutdown_limit = limit;
        self
    }

    /// How long a coroutine may hold its worker before the watchdog reports it; `None`: there is no watchdog. By default
    /// 100 ms.
    ///
    /// A coroutine that computes, or blocks its thread in foreign code, keeps the others of its worker from running. A
    /// thread called `NAME-watchdog` looks at the workers about twice in that time and logs (target `withy::watchdog`,
    /// level warn) who holds a worker, for how long, whether its thread runs or in which system call it sleeps, and which
    /// coroutines wait behind it: once, and again after 1, 2, 4, … seconds. While a worker is held nothing new is placed
    /// there, and in full stealing its sockets and timers are served, so that others go on with its coroutines. A worker whose runs have become
    /// long all at once is told to serve its own, ahead of the usual number of runs. In an idle runtime
    /// the watchdog sleeps, too. If its thread cannot be started, a warning is logged and the runtime goes without.
    ///
    /// A limit of zero is refused by [`build`](RuntimeBuilder::build).
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// let patient = withy_runtime::Runtime::builder().watchdog(Some(Duration::from_secs(2))).build()?;
    /// let unwatched = withy_runtime::Runtime::builder().watchdog(None).build()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn watchdog(mut self, limit: Option<Duration>) -> RuntimeBuilder {
        self.watchdog = limit;
        self
    }

    /// Runs `save` before a coroutine is suspended and `restore` with its value when it goes on, both on the
    /// coroutine's stack.
    ///
    /// For thread-local stacks whose owners let one take and put back what is on them (spans of a tracing library): `save`
    /// takes what is the coroutine's, `restore` puts it back. Neither may park or yield (that panics). A panic of either
    /// is a panic of the coroutine; while that waits in [`run`](crate::run) for a coroutine that borrows from it, the
    /// process aborts.
    ///
    /// # Examples
    /// ```
    /// use std::cell::Cell;
    /// thread_local!(static DEPTH: Cell<u32> = const { Cell::new(0) });
    ///
    /// let runtime = withy_runtime::Runtime::builder()
    ///     .on_switch(|| DEPTH.replace(0), |depth| DEPTH.set(depth))
    ///     .build()?;
    /// runtime.run(|| {
    ///     DEPTH.set(3);
    ///     withy_runtime::yield_now();
    ///     assert_eq!(DEPTH.get(), 3);
    /// });
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn on_switch<S: 'static>(
        mut self,
        save: impl Fn() -> S + Send + Sync + 'static,
        restore: impl Fn(S) + Send + Sync + 'static,
    ) -> RuntimeBuilder {
        self.hook = Some(Arc::new(SaveRestore { save, restore }));
        self
    }

    /// The most threads that run [`blocking`](crate::blocking) work at a time. By default 512; they start on demand and
    /// are called `NAME-blocking-N`. Zero is refused by [`build`](RuntimeBuilder::build).
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// let runtime = withy_runtime::Runtime::builder()
    ///     .name("files")
    ///     .blocking_threads(2)
    ///     .blocking_idle(Duration::from_secs(1))
    ///     .compute_threads(1)
    ///     .build()?;
    /// let name = runtime.run(|| withy_runtime::blocking(|| std::thread::current().name().map(str::to_owned)));
    /// assert!(name.unwrap().starts_with("files-blocking-"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn blocking_threads(mut self, most: usize) -> RuntimeBuilder {
        self.blocking_threads = most;
        self
    }

    /// How long a thread that runs [`blocking`](crate::blocking) or [`compute`](crate::compute) work waits for more
    /// before it ends. By default 10 s; at least 1 ms. For an example see
    /// [`blocking_threads`](RuntimeBuilder::blocking_threads).
    pub fn blocking_idle(mut self, idle: Duration) -> RuntimeBuilder {
        self.blocking_idle = idle;
        self
    }

    /// The most threads that run [`compute`](crate::compute) work at a time. By default as many as there are cores; they
    /// start on demand and are called `NAME-compute-N`. Zero is refused by [`build`](RuntimeBuilder::build). For an example
    /// see [`blocking_threads`](RuntimeBuilder::blocking_threads).
    pub fn compute_threads(mut self, most: usize) -> RuntimeBuilder {
        self.compute_threads = Some(most);
        self
    }

    /// Makes guards by `mprotect`, as on kernels before 6.13. For withy's own tests.
    #[doc(hidden)]
    pub fn mprotect_guards(mut self) -> RuntimeBuilder {
        self.guards = Guards::Mprotect;
        self
    }

    /// Starts the runtime.
    ///
    /// # Errors
    /// `InvalidInput` for a setting out of range, and for more than one worker with virtual time or a seed; what the
    /// system says when it has no descriptor, thread or memory left. Nothing is left behind then.
    pub fn build(self) -> io::Result<Runtime> {
        let runtime = self.start()?;
        runtime.log_start();
        Ok(runtime)
    }

    /// `build` without a word in the log.
    pub(crate) fn start(self) -> io::Result<Runtime> {
        let workers = match self.workers {
            Some(workers) => workers,
            None if self.virtual_time || self.seed.is_some() => 1,
            None => std::thread::available_parallelism()?.get().min(WORKERS_MAX),
        };
        if !(1..=WORKERS_MAX).contains(&workers) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("a runtime has 1 to {WORKERS_MAX} workers, got {workers}"),
            ));
        }
        if self.watchdog == Some(Duration::ZERO) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the watchdog's limit must not be zero; None turns it off",
            ));
        }
        if workers > 1 && (self.virtual_time || self.seed.is_some()) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "a runtime with virtual time or a seed has one worker, got {workers}; leave `workers` out, \
                     and unset WITHY_WORKERS if the builder is from the environment"
                ),
            ));
        }
        let config = Config {
            name: self.name,
            stack_size: StackSize::new(self.stack_size)?,
            steal_started: self.steal.started,
            // A virtual clock does not tell how long a spin lasts.
            spin: if self.virtual_time {
                Duration::ZERO
            } else {
                self.spin
            },
            hook: Hook(self.hook),
            // Who is told of seconds that did not pass?
            watchdog: self.watchdog.filter(|_| !self.virtual_time),
            pools: Limits {
                blocking_threads: at_least_one(self.blocking_threads, "blocking_threads")?,
                compute_threads: match self.compute_threads {
                    Some(most) => at_least_one(most, "compute_threads")?,
                    None => std::thread::available_parallelism()?.get(),
                },
                idle: self.blocking_idle,
            },
            virtual_time: self.virtual_time,
            seed: self.seed,
        };
        if self.seed.is_some() {
            sync::charge_each_use();
        }
        Runtime::start(
            config,
            workers,
            self.max_coroutines,
            self.guards,
            self.shutdown_limit,
        )
    }

    /// Starts the runtime as the process's default one: what [`spawn`](crate::spawn) and [`run`](crate::run) use from a plain
    /// thread.
    ///
    /// # Errors
    /// `AlreadyExists` if the default runtime runs already, set up or started by first use; otherwise as
    /// [`build`](RuntimeBuilder::build).
    pub fn install(self) -> io::Result<()> {
        runtime::install(self)
    }
}

fn at_least_one(threads: usize, setting: &str) -> io::Result<usize> {
    match threads {
        0 => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{setting} must be at least 1, got 0: work of that sort would wait for ever"),
        )),
        threads => Ok(threads),
    }
}

fn number_from_env(name: &str) -> io::Result<Option<usize>> {
    let Some(value) = std::env::var_os(name) else {
        return Ok(None);
    };
    value
        .to_str()
        .and_then(|text| text.trim().parse().ok())
        .map(Some)
        .ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("the environment variable {name} must be a whole number, got {value:?}"),
            )
        })
}

impl std::fmt::Debug for RuntimeBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RuntimeBuilder")
            .field("workers", &self.workers)
            .field("stack_size", &self.stack_size)
            .field("steal", &self.steal)
            .field("spin", &self.spin)
            .field("max_coroutines", &self.max_coroutines)
            .field("watchdog", &self.watchdog)
            .field("name", &self.name)
            .field("virtual_time", &self.virtual_time)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}
