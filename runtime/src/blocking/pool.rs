//! The threads of a pool: started on demand, gone after a while without a job, joined at the end of their runtime.
//!
//! **The end.** A coroutine that waits for a job is unfinished, so when a runtime's workers leave there is no caller, no job
//! and no start under way. Each worker *closes* the pools then, which makes their threads leave, and who ends the runtime
//! *joins* them. Nobody may be there to do so (past shutdown's limit, or for a runtime dropped inside itself): they
//! leave all the same.
//!
//! **Handles.** A thread that leaves idle lays its handle down as the *last to leave*, and joins the one that lay
//! there, which is past its last use of the pool. So however many come and go there is one handle too many at most,
//! and who joins it has joined them all.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::ptr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::atomic::{AtomicUsize, Ordering};
use crate::blocking::job::JobRef;
use crate::blocking::queue::{Push, Queue, Ticket};
use crate::task::interrupt::Mask;

/// A thread waits this long for a job at least, so that one that comes too early to leave does not spin.
const IDLE_LEAST: Duration = Duration::from_millis(1);

/// How many threads a runtime's pools may have, and for how long.
pub(crate) struct Limits {
    pub(crate) blocking_threads: usize,
    pub(crate) compute_threads: usize,
    pub(crate) idle: Duration,
}

/// The two pools of a runtime.
pub(crate) struct Pools {
    pub(super) blocking: Arc<Pool>,
    pub(super) computing: Arc<Pool>,
}

impl Pools {
    /// Of the runtime called `name`. No thread starts yet.
    pub(crate) fn new(name: &str, limits: &Limits) -> Pools {
        let pool = |what, most| Arc::new(Pool::new(format!("{name}-{what}"), most, limits.idle));
        Pools {
            blocking: pool("blocking", limits.blocking_threads),
            computing: pool("compute", limits.compute_threads),
        }
    }

    /// Callers whose work is queued or runs; see [`Pool::outstanding`].
    pub(crate) fn outstanding(&self) -> usize {
        self.blocking.outstanding() + self.computing.outstanding()
    }

    /// Whether the calling thread is one of theirs.
    pub(crate) fn is_own_thread(&self) -> bool {
        let served = SERVED.get();
        ptr::eq(served, &raw const *self.blocking) || ptr::eq(served, &raw const *self.computing)
    }

    /// Makes the threads leave. There is no caller any more.
    pub(crate) fn close(&self) {
        self.blocking.close();
        self.computing.close();
    }

    /// Waits until the threads have left. After `close`.
    pub(crate) fn join(&self) {
        self.blocking.join();
        self.computing.join();
    }
}

thread_local! {
    /// The pool whose thread this is. Without a destructor, so that it can be read to the very end.
    static SERVED: Cell<*const Pool> = const { Cell::new(ptr::null()) };
}

pub(super) struct Pool {
    /// The threads are called after it.
    name: String,
    idle: Duration,
    state: Mutex<State>,
    /// There is a job in the queue, or the pool is closed.
    work: Condvar,
    outstanding: AtomicUsize,
}

struct State {
    queue: Queue<JobRef>,
    started: usize,
    /// By number, of those that live and are registered by who started them.
    threads: BTreeMap<usize, thread::JoinHandle<()>>,
    last_left: Option<thread::JoinHandle<()>>,
}

impl Pool {
    pub(super) fn new(name: String, most: usize, idle: Duration) -> Pool {
        Pool {
            name,
            idle: idle.max(IDLE_LEAST),
            state: Mutex::new(State {
                queue: Queue::new(most),
                started: 0,
                threads: BTreeMap::new(),
                last_left: None,
            }),
            work: Condvar::new(),
            outstanding: AtomicUsize::new(0),
        }
    }

    /// Callers whose work is queued or runs, or who have not gone on since it ended.
    ///
    /// A caller counts itself before it parks and again when it has been resumed. So on the worker of a runtime that has one,
    /// the number is exact: while it is 0 no coroutine waits for a thread of the pool.
    pub(super) fn outstanding(&self) -> usize {
        self.outstanding.load(Ordering::Relaxed)
    }

    /// Counts the caller as outstanding while the guard lives.
    pub(super) fn count_caller(&self) -> Outstanding<'_> {
        self.outstanding.fetch_add(1, Ordering::Relaxed);
        Outstanding(&self.outstanding)
    }

    /// Queues a job. It is seen to even if a thread that it needs cannot be started; why that was so is returned.
    ///
    /// # Safety
    /// Until the job is done, or `withdraw` has said true, it stays where it is and nobody touches its stage.
    pub(super) unsafe fn submit(self: &Arc<Pool>, job: JobRef) -> (Ticket, io::Result<()>) {
        let mut state = self.state.lock();
        let (ticket, push) = state.queue.push(job);
        let started = match push {
            Push::Wait => Ok(()),
            Push::Notify => {
                drop(state);
                self.work.notify_one();
                Ok(())
            }
            Push::Start => {
                state.started += 1;
                let number = state.started;
                // Starting a thread takes tens of microseconds: outside the lock.
                drop(state);
                self.start(number).inspect_err(|_| self.do_without())
            }
        };
        (ticket, started)
    }

    /// Takes a job back. False: a thread has it, and it must be waited for.
    #[must_use]
    pub(super) fn withdraw(&self, ticket: Ticket) -> bool {
        self.state.lock().queue.withdraw(ticket)
    }

    fn start(self: &Arc<Pool>, number: usize) -> io::Result<()> {
        let pool = self.clone();
        let thread = thread::Builder::new()
            .name(format!("{}-{number}", self.name))
            .spawn(move || pool.serve(number))?;
        self.state.lock().threads.insert(number, thread);
        Ok(())
    }

    /// After a failed start: the queue is left to the other threads, if there are any. Their number counts starts that
    /// may fail yet, too; so the last of them to fail finds itself alone, and serves the queue on its caller's
    /// thread.
    #[cold]
    fn do_without(&self) {
        // The job may be another caller's, which does not unwind because we shall.
        let _mask = Mask::new();
        self.state.lock().queue.start_failed();
        loop {
            let job = self.state.lock().queue.take_alone();
            let Some(job) = job else { return };
            // SAFETY: it came out of the queue, so it is TAKEN, by us; its caller waits (`submit`).
            unsafe { job.execute() };
        }
    }

    /// A thread's life: jobs until there has been none for a while.
    fn serve(&self, number: usize) {
        SERVED.set(self);
        let mut state = self.state.lock();
        loop {
            if let Some(job) = state.queue.take() {
                drop(state);
                // SAFETY: it came out of the queue, so it is TAKEN, by us; its caller waits (`submit`).
                unsafe { job.execute() };
                state = self.state.lock();
                continue;
            }
            if state.queue.is_closed() {
                return;
            }
            state.queue.rest();
            let timed_out = self.work.wait_for(&mut state, self.idle).timed_out();
            state.queue.wake();
            // Not before it is registered, or its handle would stay behind.
            if timed_out && state.threads.contains_key(&number) && state.queue.leave() {
                let me = state.threads.remove(&number);
                let before = std::mem::replace(&mut state.last_left, me);
                drop(state);
                return join(before);
            }
        }
    }

    fn close(&self) {
        self.state.lock().queue.close();
        self.work.notify_all();
    }

    fn join(&self) {
        let mut state = self.state.lock();
        let threads = std::mem::take(&mut state.threads);
        let last_left = state.last_left.take();
        drop(state);
        join(threads.into_values().chain(last_left));
    }
}

fn join(threads: impl IntoIterator<Item = thread::JoinHandle<()>>) {
    for thread in threads {
        // A panic is that of a destructor of a thread-local; the panic hook has told of it.
        let _ = thread.join();
    }
}

/// Somebody waits for a job.
pub(super) struct Outstanding<'a>(&'a AtomicUsize);

impl Drop for Outstanding<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
