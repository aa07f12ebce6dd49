//! The public face of parking: handles, permits, and letting others run.

use std::time::Duration;

use crate::atomic::Ordering;
use crate::context;
use crate::task::header::TaskRef;
use crate::task::park::{self, Unparker, View};
use crate::task::plain::with_thread;
use crate::time::{self, Moment};

/// A handle to a coroutine (or to a plain thread that waits on withy): its id, its name, and the means to unpark it.
///
/// The counterpart of [`std::thread::Thread`]. Cheap to clone; keeps the record alive, not the coroutine.
#[derive(Clone)]
pub struct Coroutine(Unparker);

/// The number of a coroutine, unique in the process; the counterpart of [`std::thread::ThreadId`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct CoroutineId(u64);

impl Coroutine {
    pub(crate) fn of_task(task: TaskRef) -> Coroutine {
        Coroutine(Unparker::of_task(task))
    }

    /// Its number, unique in the process.
    #[must_use]
    pub fn id(&self) -> CoroutineId {
        match self.0.view() {
            View::Coroutine(header) => CoroutineId(header.id()),
            View::Thread(thread) => CoroutineId(thread.id),
        }
    }

    /// The name that [`Builder::name`](crate::Builder::name) gave it, or the plain thread's name.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self.0.view() {
            View::Coroutine(header) => header.spec.name.as_deref(),
            View::Thread(thread) => thread.name.as_deref(),
        }
    }

    /// Makes its current or next [`park`] return.
    ///
    /// The permit does not add up, and is kept while the coroutine has not started or waits for something else, as
    /// std's is.
    pub fn unpark(&self) {
        match self.0.view() {
            View::Coroutine(header) => park::wake(header, header.state.unpark()),
            View::Thread(thread) => {
                // Release: what was done before `unpark` is seen after `park`.
                thread.permit.store(true, Ordering::Release);
                thread.parker.unpark();
            }
        }
    }
}

impl core::fmt::Debug for Coroutine {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Coroutine")
            .field("id", &self.id())
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}

/// The handle of the calling coroutine, or of the calling thread.
#[must_use]
pub fn current() -> Coroutine {
    Coroutine(Unparker::current())
}

/// Blocks until the caller's permit is given by [`Coroutine::unpark`], and takes it. As [`std::thread::park`], but it
/// does not return without a permit.
///
/// # Cancellation
/// A blocking call: it unwinds if the coroutine is cancelled, or a [`timeout`](crate::timeout) around it elapses. A
/// permit that comes at that moment is kept for the next `park`.
///
/// # Panics
/// Inside [`no_park`](crate::no_park).
///
/// # Examples
/// ```
/// let waiter = withy_runtime::spawn(withy_runtime::park);
/// waiter.coroutine().unpark();
/// waiter.join().unwrap();
/// ```
pub fn park() {
    park_for_permit(Moment::NEVER);
}

/// [`park`] for `timeout` at most: with zero it takes a permit that is there, and does not wait. Never early when no permit
/// comes; one that ends more than 500 years from now is [`park`].
///
/// # Cancellation
/// As [`park`].
///
/// # Panics
/// Inside [`no_park`](crate::no_park).
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use withy_runtime::{current, now, park_timeout};
///
/// let start = now();
/// while now() - start < Duration::from_millis(2) {
///     park_timeout(Duration::from_millis(2)); // it may return without a reason, as std's
/// }
/// current().unpark();
/// park_timeout(Duration::MAX); // the permit is there
/// ```
pub fn park_timeout(timeout: Duration) {
    park_for_permit(time::moment().after(timeout));
}

/// [`park_timeout`] in milliseconds, for what is ported from [`std::thread::park_timeout_ms`].
///
/// # Cancellation
/// As [`park`].
#[deprecated(note = "use park_timeout")]
pub fn park_timeout_ms(ms: u32) {
    park_timeout(Duration::from_millis(ms.into()));
}

fn park_for_permit(deadline: Moment) {
    let mut passed = false;
    while !take_permit() && !passed {
        passed = park::park(deadline);
    }
}

fn take_permit() -> bool {
    match context::current_task() {
        // SAFETY: the running coroutine's record is alive while it runs.
        Some(task) => unsafe { task.as_ref() }.state.take_permit(),
        None => with_thread(|thread| thread.permit.swap(false, Ordering::Acquire)),
    }
}

/// Lets other coroutines of the worker run; on a plain thread, [`std::thread::yield_now`].
///
/// # Cancellation
/// In a coroutine it counts as a blocking call: it unwinds if the coroutine is cancelled, or a [`timeout`](crate::timeout)
/// around it has elapsed, once the others have run. On a plain thread it does not.
///
/// # Panics
/// Inside [`no_park`](crate::no_park).
///
/// # Examples
/// ```
/// withy_runtime::run(|| withy_runtime::yield_now());
/// ```
#[inline]
pub fn yield_now() {
    match context::current_worker() {
        Some(worker) if worker.is_running() => park::yield_coroutine(worker),
        _ => std::thread::yield_now(),
    }
}
