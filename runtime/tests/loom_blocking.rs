//! The queue of a pool (`blocking/queue.rs`) under every interleaving: a job has one outcome, done or withdrawn; nobody
//! touches it after its caller has left; and none is forgotten, whether threads leave idle or fail to start.
//!
//! Each model names what it hangs on: change that, and the model fails (tried; the outcomes are in its doc).

use loom::cell::UnsafeCell;
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

mod model;

mod atomic {
    pub(crate) use loom::sync::atomic::{AtomicBool, Ordering};
}
#[allow(dead_code)]
#[path = "../src/blocking/queue.rs"]
mod queue;

use model::Gate;
use queue::{Done, Push, Queue};

/// Parks of a caller that nothing interrupts.
const PATIENT: usize = usize::MAX;

/// A job as it lies on its caller's stack.
struct Job {
    done: Done,
    /// The closure, then the outcome: what TAKEN gives to the thread, and DONE or WITHDRAWN back to the caller.
    stage: UnsafeCell<Stage>,
    /// The waker's side of the caller: outlives the job, as an `Unparker` does.
    caller: Arc<Caller>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Waiting,
    Ended,
    /// The caller has left, and the memory is something else's.
    Gone,
}

struct Caller {
    token: Mutex<bool>,
    condvar: Condvar,
}

impl Caller {
    fn unpark(&self) {
        *self.token.lock().unwrap() = true;
        self.condvar.notify_one();
    }

    fn park(&self) {
        let mut token = self.token.lock().unwrap();
        while !*token {
            token = self.condvar.wait(token).unwrap();
        }
        *token = false;
    }
}

impl Job {
    fn new() -> Arc<Job> {
        Arc::new(Job {
            done: Done::new(),
            stage: UnsafeCell::new(Stage::Waiting),
            caller: Arc::new(Caller {
                token: Mutex::new(false),
                condvar: Condvar::new(),
            }),
        })
    }

    /// `Job::execute`.
    fn execute(&self) {
        let caller = self.caller.clone();
        self.set_stage(Stage::Waiting, Stage::Ended);
        self.done.set();
        caller.unpark();
    }

    /// Whoever does this has the stage to itself: loom checks it.
    fn set_stage(&self, from: Stage, to: Stage) {
        self.stage.with_mut(|stage| {
            // SAFETY: as said above.
            let stage = unsafe { &mut *stage };
            assert_eq!(*stage, from);
            *stage = to;
        });
    }
}

/// `Pool`, with jobs that are counted rather than borrowed, so that a use after the caller has left is seen as such.
struct Pool {
    gate: Gate,
    queue: Mutex<Queue<Arc<Job>>>,
    work: Condvar,
}

impl Pool {
    fn new(most: usize) -> Arc<Pool> {
        Arc::new(Pool {
            gate: Gate::new(),
            queue: Mutex::new(Queue::new(most)),
            work: Condvar::new(),
        })
    }

    /// `Pool::submit` and `wait`. The start of a thread works as `start` says: the caller of this runs it.
    fn lend(&self, patience: usize, start: impl FnOnce()) -> Stage {
        let job = Job::new();
        let (ticket, push) = self.queue.lock().unwrap().push(job.clone());
        match push {
            Push::Notify => self.work.notify_one(),
            Push::Start => start(),
            Push::Wait => {}
        }
        let mut patience = patience;
        loop {
            self.gate.pass();
            if job.done.is_set() {
                job.set_stage(Stage::Ended, Stage::Gone);
                return Stage::Ended;
            }
            if patience == 0 {
                // Interrupted. Whether it can take the job back or not, it is not interrupted again.
                patience = PATIENT;
                self.gate.pass();
                if self.queue.lock().unwrap().withdraw(ticket) {
                    job.set_stage(Stage::Waiting, Stage::Gone);
                    return Stage::Waiting;
                }
                continue;
            }
            patience -= 1;
            job.caller.park();
        }
    }

    /// `Pool::serve`. With `notified` a wait ends by a notification only, otherwise by itself only.
    fn serve(&self, notified: bool) {
        let mut queue = self.queue.lock().unwrap();
        loop {
            if let Some(job) = queue.take() {
                drop(queue);
                self.gate.pass();
                job.execute();
                self.gate.pass();
                queue = self.queue.lock().unwrap();
                continue;
            }
            if queue.is_closed() {
                return;
            }
            queue.rest();
            if notified {
                queue = self.work.wait(queue).unwrap();
                queue.wake();
                continue;
            }
            // loom's condvar has no time limit: this wait is one that ends by itself.
            drop(queue);
            self.gate.pass();
            queue = self.queue.lock().unwrap();
            queue.wake();
            if queue.leave() {
                return;
            }
        }
    }

    /// `Pool::do_without`.
    fn do_without(&self) {
        self.queue.lock().unwrap().start_failed();
        loop {
            let job = self.queue.lock().unwrap().take_alone();
            let Some(job) = job else { return };
            job.execute();
        }
    }

    fn close(&self) {
        self.queue.lock().unwrap().close();
        self.work.notify_all();
    }
}

/// A caller that is interrupted at once, against the thread that takes its job and executes it: done or withdrawn, and
/// nobody touches the job afterwards.
///
/// Fails if `withdraw` says true whatever it finds, or does not remove the job; if `Done::set` releases nothing, or `is_set`
/// acquires nothing; and if a push that finds no idle thread asks for none.
#[test]
fn a_withdrawal_meets_the_start_and_the_end() {
    loom::model(|| {
        let pool = Pool::new(1);
        let mut thread = None;
        let outcome = pool.lend(0, || thread = Some(serve_aside(&pool)));
        assert_ne!(outcome, Stage::Gone);
        thread.expect("started").join().unwrap();
    });
}

/// Two callers and one thread: one withdraws late or in time, and takes nothing from the other.
///
/// Fails if a ticket is used again (the number of jobs in the queue in its place).
#[test]
fn a_withdrawal_takes_its_own_job_only() {
    model::with_preemptions(2, || {
        let pool = Pool::new(1);
        let other = thread::spawn({
            let pool = pool.clone();
            move || {
                let mut server = None;
                pool.lend(0, || server = Some(serve_aside(&pool)));
                server.into_iter().for_each(|server| server.join().unwrap());
            }
        });
        let mut server = None;
        let outcome = pool.lend(PATIENT, || server = Some(serve_aside(&pool)));
        assert_eq!(outcome, Stage::Ended, "nobody else may withdraw it");
        server.into_iter().for_each(|server| server.join().unwrap());
        other.join().unwrap();
    });
}

fn serve_aside(pool: &Arc<Pool>) -> thread::JoinHandle<()> {
    let pool = pool.clone();
    thread::spawn(move || pool.serve(false))
}

/// A thread that has waited long enough, against a job that counts on it.
///
/// Fails if `leave` does not look at the queue, or a thread that has left its wait still counts as idle.
#[test]
fn a_leaving_thread_meets_a_push() {
    model::with_preemptions(3, || {
        let pool = Pool::new(2);
        let idle = thread::spawn({
            let pool = pool.clone();
            move || pool.lend(PATIENT, || pool.serve(false))
        });
        assert_eq!(pool.lend(PATIENT, || pool.serve(false)), Stage::Ended);
        assert_eq!(idle.join().unwrap(), Stage::Ended);
    });
}

/// Two callers whose threads cannot be started, at the same time: each job is executed, by either.
///
/// Fails if `take_alone` gives nothing though nobody else is there, if a failed start is not taken back, or none is
/// counted before it is tried.
#[test]
fn failed_starts_meet_each_other() {
    model::with_preemptions(3, || {
        let pool = Pool::new(2);
        let other = thread::spawn({
            let pool = pool.clone();
            move || pool.lend(PATIENT, || pool.do_without())
        });
        assert_eq!(pool.lend(PATIENT, || pool.do_without()), Stage::Ended);
        assert_eq!(other.join().unwrap(), Stage::Ended);
    });
}

/// A start that fails, against a thread that leaves: the job is the thread's, or the failed starter's.
///
/// Fails if a failed start is not taken back, or a thread leaves without looking or uncounted.
#[test]
fn a_failed_start_meets_a_leaving_thread() {
    model::with_preemptions(3, || {
        let pool = Pool::new(2);
        let other = thread::spawn({
            let pool = pool.clone();
            move || pool.lend(PATIENT, || pool.serve(false))
        });
        assert_eq!(pool.lend(PATIENT, || pool.do_without()), Stage::Ended);
        assert_eq!(other.join().unwrap(), Stage::Ended);
    });
}

/// The end: a thread that waits for a job leaves.
///
/// Fails if `close` closes nothing.
#[test]
fn a_closed_pool_is_left() {
    loom::model(|| {
        let pool = Pool::new(1);
        let mut thread = None;
        let outcome = pool.lend(PATIENT, || {
            let pool = pool.clone();
            thread = Some(thread::spawn(move || pool.serve(true)));
        });
        assert_eq!(outcome, Stage::Ended);
        pool.close();
        thread.expect("started").join().unwrap();
    });
}
