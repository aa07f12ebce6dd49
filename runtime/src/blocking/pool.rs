//! Threads on demand for closures that block: DNS, files, foreign libraries.
//!
//! A job lies on its caller's stack, borrows included; the queue holds bare pointers to it. What makes that right is
//! one rule: **the caller does not leave `run` before the job is done**, whatever happens to it. A coroutine that is
//! never resumed again keeps its stack (law 4), so that is no exception.

use std::any::Any;
use std::cell::UnsafeCell;
use std::collections::VecDeque;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::ptr::NonNull;
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::atomic::{AtomicBool, Ordering};
use crate::context;
use crate::task::park::{self, Mask, Unparker};

/// More jobs at a time wait in the queue.
const THREADS_MAX: usize = 512;
/// How long a thread waits for a further job.
const IDLE: Duration = Duration::from_secs(10);
/// How often a caller that must not park looks whether its job is done.
const LOOK_AGAIN: Duration = Duration::from_micros(200);

static POOL: Pool = Pool {
    state: Mutex::new(State {
        queue: VecDeque::new(),
        threads: 0,
        idle: 0,
    }),
    work: Condvar::new(),
};

struct Pool {
    state: Mutex<State>,
    /// There is a job in the queue.
    work: Condvar,
}

struct State {
    queue: VecDeque<JobRef>,
    /// Alive, or about to be.
    threads: usize,
    /// Of those, waiting for a job. One that was notified counts until it has woken up.
    idle: usize,
}

/// Runs `f` on a thread that may block, and waits for its value. A plain thread runs it itself.
///
/// The caller waits to the end, so `f` may borrow; for the same reason it cannot be cancelled meanwhile. At most 512
/// run at a time, further ones wait for their turn. When no thread can be started and none is alive, `f` blocks the
/// caller's worker instead.
///
/// # Panics
/// If `f` does, with its payload. In a region where parking is forbidden (`no_park`), after `f` has run.
pub fn run<T: Send>(f: impl FnOnce() -> T + Send) -> T {
    if !context::in_coroutine() {
        return f();
    }
    let job = Job::new(f);
    // A cancellation comes at the caller's next blocking call: nothing may unwind from here to the end of `wait`, so
    // nothing that is a user's runs in between either, not even a logger.
    let mask = Mask::new();
    // SAFETY: this function neither returns nor unwinds before `wait` has seen the job's end, nor moves `job` or
    // touches its state until then.
    let submitted = POOL.submit(unsafe { job.as_ref() });
    job.wait();
    drop(mask);
    if let Err(error) = submitted {
        log::warn!(
            target: "withy::blocking",
            "a thread of the blocking pool could not be started: {error}"
        );
    }
    job.into_value()
}

impl Pool {
    /// # Errors
    /// If a thread could not be started. The job is seen to all the same.
    fn submit(&'static self, job: JobRef) -> io::Result<()> {
        let mut state = self.state.lock();
        state.queue.push_back(job);
        if state.queue.len() <= state.idle {
            drop(state);
            self.work.notify_one();
            return Ok(());
        }
        if state.threads >= THREADS_MAX {
            return Ok(());
        }
        // Counted before it is started, and started outside the lock: starting a thread takes tens of microseconds.
        state.threads += 1;
        drop(state);
        let started = thread::Builder::new()
            .name("withy-blocking".into())
            .spawn(move || self.serve());
        if started.is_err() {
            self.do_without();
        }
        started.map(drop)
    }

    /// After a failed start: the queue is left to the other threads, if there are any. `threads` counts starts that
    /// may fail yet, too; so the last of them to fail finds itself alone, and serves the queue on its caller's
    /// thread.
    #[cold]
    fn do_without(&self) {
        let mut state = self.state.lock();
        state.threads -= 1;
        while state.threads == 0
            && let Some(job) = state.queue.pop_front()
        {
            drop(state);
            // SAFETY: it came out of the queue, so this is the only reference, and its caller waits.
            unsafe { job.execute() };
            state = self.state.lock();
        }
    }

    /// A thread's life: jobs until there has been none for a while.
    fn serve(&self) {
        let mut state = self.state.lock();
        loop {
            if let Some(job) = state.queue.pop_front() {
                drop(state);
                // SAFETY: it came out of the queue, so this is the only reference, and its caller waits.
                unsafe { job.execute() };
                state = self.state.lock();
                continue;
            }
            state.idle += 1;
            let timed_out = self.work.wait_for(&mut state, IDLE).timed_out();
            state.idle -= 1;
            // A job that came at the last moment counted on this thread.
            if timed_out && state.queue.is_empty() {
                state.threads -= 1;
                return;
            }
        }
    }
}

/// A pointer to somebody's [`Job`], whose type is forgotten.
#[derive(Clone, Copy)]
struct JobRef {
    job: NonNull<()>,
    /// SAFETY: to be called once, with `job`, while the job lives.
    execute: unsafe fn(NonNull<()>),
}

// SAFETY: the job's closure and its value are `Send` (`Job::as_ref` asks for that), and all else in it is made for
// sharing.
unsafe impl Send for JobRef {}

impl JobRef {
    /// # Safety
    /// This is the only reference to a job that is not done; its caller waits.
    unsafe fn execute(self) {
        // SAFETY: as above.
        unsafe { (self.execute)(self.job) }
    }
}

/// A closure that a thread of the pool runs, its outcome, and who waits for it.
struct Job<F, T> {
    /// Before `done`: the executing thread's; afterwards the caller's.
    state: UnsafeCell<JobState<F, T>>,
    done: AtomicBool,
}

enum JobState<F, T> {
    Waiting(F, Unparker),
    Taken,
    Done(Result<T, Box<dyn Any + Send>>),
}

impl<T: Send, F: FnOnce() -> T + Send> Job<F, T> {
    fn new(f: F) -> Job<F, T> {
        let state = UnsafeCell::new(JobState::Waiting(f, Unparker::current()));
        Job {
            state,
            done: AtomicBool::new(false),
        }
    }

    /// # Safety
    /// The job stays where it is, and nobody touches `state`, until the reference was executed and `done` is set.
    unsafe fn as_ref(&self) -> JobRef {
        JobRef {
            job: NonNull::from(self).cast(),
            execute: Self::execute,
        }
    }

    /// # Safety
    /// `job` is what `as_ref` was called on, alive until `done`, and this is the only call.
    unsafe fn execute(job: NonNull<()>) {
        // SAFETY: the caller's promise: it lives until the store below.
        let job = unsafe { job.cast::<Job<F, T>>().as_ref() };
        // SAFETY: before `done` the state belongs to the one call of this function.
        let state = unsafe { &mut *job.state.get() };
        let JobState::Waiting(f, caller) = std::mem::replace(state, JobState::Taken) else {
            unreachable!("a job is executed once")
        };
        *state = JobState::Done(panic::catch_unwind(AssertUnwindSafe(f)));
        // Release: pairs with the acquire in `is_done`. The job may be gone from here on; `caller` is ours.
        job.done.store(true, Ordering::Release);
        caller.unpark();
    }

    fn is_done(&self) -> bool {
        self.done.load(Ordering::Acquire)
    }

    /// Parks the caller until the job is done, even when parking panics; the panic goes on then.
    fn wait(&self) {
        let mut unwound = None;
        while !self.is_done() {
            match &unwound {
                None => {
                    let parked = panic::catch_unwind(AssertUnwindSafe(|| park::park_until(None)));
                    unwound = parked.err();
                }
                // Parking is forbidden here (`no_park`): it would panic each time.
                Some(_) => thread::sleep(LOOK_AGAIN),
            }
        }
        if let Some(payload) = unwound {
            panic::resume_unwind(payload);
        }
    }

    fn into_value(self) -> T {
        match self.state.into_inner() {
            JobState::Done(Ok(value)) => value,
            JobState::Done(Err(payload)) => panic::resume_unwind(payload),
            JobState::Waiting(..) | JobState::Taken => unreachable!("the caller waits for the end"),
        }
    }
}
