//! Who am I: the current worker and, through it, the current coroutine. The scheduler's only thread-local.
//!
//! A coroutine may find itself on another thread after a switch (full stealing), and LLVM takes the address of a
//! thread-local as constant within a function. So the address is taken in a function that is never inlined, and
//! nothing obtained here is used across a switch (law 3).

use core::cell::Cell;
use core::ptr::{self, NonNull};

use crate::scheduler::Worker;
use crate::task::header::Header;

thread_local! {
    static WORKER: Cell<*const Worker> = const { Cell::new(ptr::null()) };
}

/// The worker whose thread this is.
///
/// The reference is good until the caller's next switch.
#[inline(never)]
pub(crate) fn current_worker<'a>() -> Option<&'a Worker> {
    // SAFETY: `enter` put a worker there that outlives its loop, and takes it out at the end. Everything that runs on
    // this thread in between runs inside that loop; the lifetime is bounded by the rule above.
    unsafe { WORKER.get().as_ref() }
}

/// The coroutine that runs on this thread. Its record is alive while it runs.
#[inline]
pub(crate) fn current_task() -> Option<NonNull<Header>> {
    current_worker().and_then(Worker::current)
}

/// Whether the caller is a coroutine.
pub(crate) fn in_coroutine() -> bool {
    current_task().is_some()
}

/// Makes `worker` the current one while `f` runs.
pub(crate) fn enter<R>(worker: &Worker, f: impl FnOnce() -> R) -> R {
    WORKER.set(worker);
    let result = f();
    WORKER.set(ptr::null());
    result
}

/// Runs `f` on the netpoller of the current worker; `None` on a plain thread.
pub(crate) fn with_driver<R>(
    f: impl FnOnce(Option<&std::sync::Arc<crate::poll::Driver>>) -> R,
) -> R {
    f(current_worker().map(Worker::driver))
}

/// To be called by a runtime call that has not blocked: after 128 of them in a row, or when the slice of 10 ms is
/// over, the coroutine lets others run.
#[inline]
pub(crate) fn consume_budget() {
    if let Some(worker) = current_worker() {
        worker.consume_budget();
    }
}

/// Lets others run before the caller, a coroutine that could go on; not inside `no_park`.
pub(crate) fn let_others_run() {
    if let Some(worker) = current_worker().filter(|worker| worker.is_running()) {
        worker.yield_for_others();
    }
}
