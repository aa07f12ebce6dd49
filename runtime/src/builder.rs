//! What a runtime is built with.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::runtime::{self, Runtime};
use crate::scheduler::idle::WORKERS_MAX;
use crate::scheduler::{Config, SPIN_LIMIT_DEFAULT};
use crate::stack::{Guards, StackSize};

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

/// Runs around each suspension of a coroutine; see [`RuntimeBuilder::on_switch`].
pub(crate) trait SwitchHook: Send + Sync {
    fn around(&self, suspend: &mut dyn FnMut());
}

/// A runtime's hook. It is dropped with the runtime's last reference, wherever that is: a panic of its destructor stays
/// there.
pub(crate) struct Hook(Option<Arc<dyn SwitchHook>>);

impl Hook {
    #[inline]
    pub(crate) fn get(&self) -> Option<&dyn SwitchHook> {
        self.0.as_deref()
    }
}

impl Drop for Hook {
    fn drop(&mut self) {
        crate::task::header::discard(self.0.take());
    }
}

struct SaveRestore<A, B> {
    save: A,
    restore: B,
}

impl<S, A, B> SwitchHook for SaveRestore<A, B>
where
    A: Fn() -> S + Send + Sync,
    B: Fn(S) + Send + Sync,
{
    fn around(&self, suspend: &mut dyn FnMut()) {
        let saved = (self.save)();
        suspend();
        (self.restore)(saved);
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

    /// How long dropping the runtime waits for its coroutines to unwind. By default 5 s.
    pub fn shutdown_limit(mut self, limit: Duration) -> RuntimeBuilder {
        self.shutdown_limit = limit;
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

    /// Makes guards by `mprotect`, as on kernels before 6.13. For withy's own tests.
    #[doc(hidden)]
    pub fn mprotect_guards(mut self) -> RuntimeBuilder {
        self.guards = Guards::Mprotect;
        self
    }

    /// Starts the runtime.
    ///
    /// # Errors
    /// `InvalidInput` for a setting out of range; what the system says when it has no descriptor, thread or memory
    /// left. Nothing is left behind then.
    pub fn build(self) -> io::Result<Runtime> {
        let runtime = self.start()?;
        runtime.log_start();
        Ok(runtime)
    }

    /// `build` without a word in the log.
    pub(crate) fn start(self) -> io::Result<Runtime> {
        let workers = match self.workers {
            Some(workers) => workers,
            None => std::thread::available_parallelism()?.get().min(WORKERS_MAX),
        };
        if !(1..=WORKERS_MAX).contains(&workers) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("a runtime has 1 to {WORKERS_MAX} workers, got {workers}"),
            ));
        }
        let config = Config {
            name: self.name,
            stack_size: StackSize::new(self.stack_size)?,
            steal_started: self.steal.started,
            spin: self.spin,
            hook: Hook(self.hook),
        };
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
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
