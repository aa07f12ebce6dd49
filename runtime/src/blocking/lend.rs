//! The ways in: a closure is lent to a pool, and its caller waits.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::blocking::job::{Job, Payload};
use crate::blocking::pool::{Pool, Pools};
use crate::blocking::queue::Ticket;
use crate::context;
use crate::coroutine::unwind::is_interruption;
use crate::spawn::spawn;
use crate::task::JoinHandle;
use crate::task::interrupt::Mask;
use crate::task::no_park::assert_may_park;
use crate::task::park;

/// How often a caller whom parking has failed looks whether its job is done.
const LOOK_AGAIN: Duration = Duration::from_micros(200);

/// Runs `f` on a thread that may block, and waits for its value; other coroutines run meanwhile. A plain thread runs
/// it itself.
///
/// For what blocks and is not withy's: files (see [`fs`](crate::fs)), foreign libraries, a `std::sync` lock that is
/// held for long. The caller waits to the end, so `f` may borrow. It runs outside of any coroutine: what it calls blocks
/// its thread, and a `blocking` within it just runs.
///
/// At most [`blocking_threads`](crate::RuntimeBuilder::blocking_threads) run at a time in a runtime, further ones wait
/// for their turn, in order. When a thread cannot be started, one that lives does the work; if none does, the caller's
/// worker.
///
/// # Cancellation
/// A blocking call. A coroutine that is cancelled, or whose timeout elapses, while `f` waits for its turn unwinds, and
/// `f` is dropped without being run. Once `f` has started it is waited for: this returns its value, and the
/// coroutine unwinds at its next blocking call.
///
/// # Panics
/// If `f` does, with its payload. Inside [`no_park`](crate::no_park), unless it is called on a plain thread.
///
/// # Examples
/// ```
/// withy_runtime::run(|| {
///     let mut words = vec!["lent"];
///     let len = withy_runtime::blocking(|| {
///         std::thread::sleep(std::time::Duration::from_millis(1));
///         words.push("changed");
///         words.len()
///     });
///     assert_eq!((len, words[1]), (2, "changed"));
/// });
/// ```
pub fn blocking<T: Send>(f: impl FnOnce() -> T + Send) -> T {
    lend(|pools| &pools.blocking, f)
}

/// Runs `f` on a thread for work that computes, and waits for its value. A plain thread runs it itself.
///
/// As [`blocking`], for work that holds a core for longer than other coroutines should wait (parsing, compressing,
/// hashing): at most [`compute_threads`](crate::RuntimeBuilder::compute_threads) run at a time in a runtime, by default
/// as many as there are cores. What blocks would keep them from others.
///
/// # Cancellation
/// As [`blocking`]: `f` is dropped while it waits for its turn, and waited for once it has started.
///
/// # Panics
/// As [`blocking`].
///
/// # Examples
/// ```
/// let numbers: Vec<u64> = (1..=1_000).collect();
/// let sum = withy_runtime::run(|| withy_runtime::compute(|| numbers.iter().sum::<u64>()));
/// assert_eq!(sum, 500_500);
/// ```
pub fn compute<T: Send>(f: impl FnOnce() -> T + Send) -> T {
    lend(|pools| &pools.computing, f)
}

/// Starts a coroutine that runs `f` by [`blocking`], and returns a handle to its value.
///
/// It starts where [`spawn`] would start it.
///
/// # Panics
/// As [`spawn`]. A panic of `f` reaches [`JoinHandle::join`] only.
///
/// # Examples
/// ```
/// let reader = withy_runtime::spawn_blocking(|| std::fs::read_to_string("/proc/self/comm"));
/// assert!(!reader.join().unwrap()?.is_empty());
/// # Ok::<(), std::io::Error>(())
/// ```
#[track_caller]
pub fn spawn_blocking<F, T>(f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    spawn(move || blocking(f))
}

fn lend<T: Send>(which: fn(&Pools) -> &Arc<Pool>, f: impl FnOnce() -> T + Send) -> T {
    let Some(worker) = context::current_worker().filter(|worker| worker.is_running()) else {
        return f();
    };
    let pool = which(&worker.shared().pools).clone();
    assert_may_park();
    // A job may be done before its caller gets to park.
    context::consume_budget();
    let job = Job::new(f);
    let outstanding = pool.count_caller();
    // SAFETY: nothing unwinds from here to the end of `wait`, which returns when the job is done or withdrawn. Until then
    // `job` is only borrowed, so it does not move, and its stage is not touched.
    let (ticket, started) = unsafe { pool.submit(job.as_ref()) };
    let waited = wait(&pool, &job, ticket);
    drop(outstanding);
    if let Err(error) = started {
        log::warn!(
            target: "withy::blocking",
            "a thread of the pool could not be started: {error}; the work was done without it"
        );
    }
    match waited {
        Ok(()) => job.into_value(),
        // With it goes `job`: its closure that never ran, or its value.
        Err(payload) => panic::resume_unwind(payload),
    }
}

/// Parks the caller until its job is done or withdrawn, whatever unwinds out of parking; that goes on afterwards, if
/// it shall.
fn wait<F, T>(pool: &Pool, job: &Job<F, T>, ticket: Ticket) -> Result<(), Payload>
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    let mut deferred = None;
    let mut panicked = None;
    while !job.is_done() {
        if panicked.is_some() {
            // It would panic each time.
            thread::sleep(LOOK_AGAIN);
            continue;
        }
        // Caught, not waited for in a destructor: neighbours would see their thread panicking meanwhile (law 5).
        let parked = panic::catch_unwind(AssertUnwindSafe(|| park::park_until(None)));
        let Err(payload) = parked else { continue };
        if pool.withdraw(ticket) {
            return Err(payload);
        }
        if is_interruption(&*payload) {
            // It is sticky: it comes again at the caller's next blocking call.
            deferred = Some(Mask::new());
        } else {
            panicked = Some(payload);
        }
    }
    drop(deferred);
    panicked.map_or(Ok(()), Err)
}
