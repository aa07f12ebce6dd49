//! A closure on its caller's stack, as a thread of the pool sees it. The states are in `queue.rs`.

use std::any::Any;
use std::cell::UnsafeCell;
use std::mem;
use std::panic::{self, AssertUnwindSafe};
use std::ptr::NonNull;

use crate::blocking::queue::Done;
use crate::task::park::Unparker;

/// What an unwinding carries.
pub(super) type Payload = Box<dyn Any + Send>;

/// A closure that a thread of the pool runs, its outcome, and who waits for it.
pub(super) struct Job<F, T> {
    /// TAKEN: the executing thread's. QUEUED: nobody's. Otherwise the caller's.
    stage: UnsafeCell<Stage<F, T>>,
    done: Done,
}

enum Stage<F, T> {
    Waiting(F, Unparker),
    Running,
    Ended(Result<T, Payload>),
}

impl<T: Send, F: FnOnce() -> T + Send> Job<F, T> {
    /// Of the calling coroutine.
    pub(super) fn new(f: F) -> Job<F, T> {
        Job {
            stage: UnsafeCell::new(Stage::Waiting(f, Unparker::current())),
            done: Done::new(),
        }
    }

    /// # Safety
    /// The job stays where it is, and nobody touches `stage`, until the reference was executed and `is_done` says so, or
    /// the reference is gone unexecuted.
    pub(super) unsafe fn as_ref(&self) -> JobRef {
        JobRef {
            job: NonNull::from(self).cast(),
            execute: Self::execute,
        }
    }

    /// # Safety
    /// `job` is what `as_ref` was called on, alive until `done`, and this is the only call.
    unsafe fn execute(job: NonNull<()>) {
        // SAFETY: the caller's promise: it lives until the flag is set below.
        let job = unsafe { job.cast::<Job<F, T>>().as_ref() };
        // SAFETY: TAKEN, and this is the only call: the stage is ours until the flag is set.
        let stage = unsafe { &mut *job.stage.get() };
        let Stage::Waiting(f, caller) = mem::replace(stage, Stage::Running) else {
            unreachable!("a job is executed once")
        };
        *stage = Stage::Ended(panic::catch_unwind(AssertUnwindSafe(f)));
        // The job may be gone from here on; `caller` is ours.
        job.done.set();
        caller.unpark();
    }

    pub(super) fn is_done(&self) -> bool {
        self.done.is_set()
    }

    /// What the closure gave, or its panic. The job is done.
    pub(super) fn into_value(self) -> T {
        match self.stage.into_inner() {
            Stage::Ended(Ok(value)) => value,
            Stage::Ended(Err(payload)) => panic::resume_unwind(payload),
            Stage::Waiting(..) | Stage::Running => unreachable!("the caller waits for the end"),
        }
    }
}

/// A pointer to somebody's [`Job`], whose type is forgotten.
pub(super) struct JobRef {
    job: NonNull<()>,
    /// SAFETY: to be called once, with `job`, while the job lives.
    execute: unsafe fn(NonNull<()>),
}

// SAFETY: the job's closure and its value are `Send` (`Job::as_ref` asks for that), and all else in it is made for
// sharing.
unsafe impl Send for JobRef {}

impl JobRef {
    /// # Safety
    /// The reference was taken out of the queue to be executed, so the job is TAKEN and its caller waits.
    pub(super) unsafe fn execute(self) {
        // SAFETY: as above; `self` is consumed, and there is no other.
        unsafe { (self.execute)(self.job) }
    }
}
