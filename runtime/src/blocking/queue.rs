//! Whose a job is, and how many threads there are for the jobs. Pure; the model is `runtime/tests/loom_blocking.rs`.
//!
//! A job lies on its caller's stack, what it borrows lies further up, and a [`Queue`] holds bare pointers to jobs. One rule
//! makes that right: **the caller does not leave before the job is done or withdrawn.** A coroutine that is never
//! resumed again keeps its stack (law 4), so that is no exception.
//!
//! ```text
//!              push            take                 Done::set
//! (caller's) --------> QUEUED --------> TAKEN -------------------> DONE
//!                        |
//!                        +-- withdraw --> WITHDRAWN
//! ```
//!
//! | state | how it shows | closure, outcome, waker belong to | who leaves it |
//! | --- | --- | --- | --- |
//! | QUEUED | its ticket is in the queue | nobody | a thread of the pool (`take`), or the caller (`withdraw`) |
//! | TAKEN | the ticket is gone, `Done` is not set | the thread that took it, alone | that thread |
//! | DONE | `Done` is set | the caller | |
//! | WITHDRAWN | `withdraw` has said true | the caller | |
//!
//! **One outcome.** `take` and `withdraw` both remove the ticket, under the pool's lock: whoever does has the job, the other
//! finds nothing. Tickets are never used twice, so a caller that comes late cannot withdraw somebody else's job.
//!
//! **Orderings.** The lock hands the closure from the caller (`push`) to the thread (`take`). `Done` hands the outcome back: set
//! with release, read with acquire. It is the thread's last touch of the job, which may be gone the next moment; so the
//! thread takes the waker out before it and wakes afterwards. A withdrawn job has been touched by nobody.
//!
//! **No job is forgotten.** A push that finds fewer idle threads than queued jobs asks for a thread, up to the most. An
//! idle thread counts as such until it holds the lock again, notified or not; it leaves only if it finds no job then. A thread
//! counts as alive from before its start, so a start that fails takes it back, under the lock: then there are others,
//! which look at the queue before they leave or fail in their turn, or the one that failed is *alone* and serves the
//! queue itself.
//!
//! **Bounds.** A caller waits, so it has one job in the queue at most: as many jobs as coroutines (law 8).

use std::collections::BTreeMap;

use crate::atomic::{AtomicBool, Ordering};

/// Jobs in the order in which they came, and the number of threads. Lies under the pool's lock.
pub(crate) struct Queue<J> {
    jobs: BTreeMap<u64, J>,
    pushed: u64,
    /// Alive, or about to be.
    threads: usize,
    /// Of those, waiting for a job. One that was notified counts until it has woken up.
    idle: usize,
    most: usize,
    closed: bool,
}

/// A job's place in its queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ticket(u64);

/// What a push obliges to.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Push {
    /// To wake one idle thread.
    Notify,
    /// To start a thread, which is counted already; or else to say `start_failed`.
    Start,
    /// To nothing: all threads are busy, and there may be no more.
    Wait,
}

impl<J> Queue<J> {
    /// For `most` threads, one at least.
    pub(crate) fn new(most: usize) -> Queue<J> {
        Queue {
            jobs: BTreeMap::new(),
            pushed: 0,
            threads: 0,
            idle: 0,
            most,
            closed: false,
        }
    }

    /// A caller: leaves its job.
    pub(crate) fn push(&mut self, job: J) -> (Ticket, Push) {
        let ticket = Ticket(self.pushed);
        self.pushed += 1;
        self.jobs.insert(ticket.0, job);
        let push = if self.jobs.len() <= self.idle {
            Push::Notify
        } else if self.threads < self.most {
            self.threads += 1;
            Push::Start
        } else {
            Push::Wait
        };
        (ticket, push)
    }

    /// The caller that left it: takes its job back. False: a thread has taken it, and it must be waited for.
    #[must_use]
    pub(crate) fn withdraw(&mut self, ticket: Ticket) -> bool {
        self.jobs.remove(&ticket.0).is_some()
    }

    /// A thread: takes the oldest job, to execute it.
    pub(crate) fn take(&mut self) -> Option<J> {
        self.jobs.pop_first().map(|(_, job)| job)
    }

    /// A thread that has found no job, before it waits.
    pub(crate) fn rest(&mut self) {
        self.idle += 1;
    }

    /// The same after its wait.
    pub(crate) fn wake(&mut self) {
        self.idle -= 1;
    }

    /// A thread that has waited long enough. A job that came at the last moment counted on it, so it looks once more.
    /// True: it has left.
    #[must_use]
    pub(crate) fn leave(&mut self) -> bool {
        if !self.jobs.is_empty() {
            return false;
        }
        self.threads -= 1;
        true
    }

    /// A thread could not be started. Afterwards its starter must call `take_alone` until that gives nothing.
    pub(crate) fn start_failed(&mut self) {
        self.threads -= 1;
    }

    /// Takes the oldest job if there is no thread that could.
    pub(crate) fn take_alone(&mut self) -> Option<J> {
        (self.threads == 0).then(|| self.take()).flatten()
    }

    /// No jobs will come any more: threads leave.
    pub(crate) fn close(&mut self) {
        debug_assert!(self.jobs.is_empty(), "a caller waits for its job");
        self.closed = true;
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }
}

/// Set when a job has been executed.
pub(crate) struct Done(AtomicBool);

impl Done {
    pub(crate) fn new() -> Done {
        Done(AtomicBool::new(false))
    }

    /// The executing thread, its outcome stored: from here on the job is not its to touch.
    pub(crate) fn set(&self) {
        // Release: the outcome. Pairs with the acquire in `is_set`.
        self.0.store(true, Ordering::Release);
    }

    /// The caller.
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
