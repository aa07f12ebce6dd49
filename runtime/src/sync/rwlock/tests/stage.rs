//! Where the tests play: a lock, those who want it, and what they did.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::atomic::Ordering;
use crate::sync::raw_rwlock::{READING, RawRwLock, STARVING, WOKEN, WRITERS, WRITING};
use crate::{CancelToken, Cancelled, Runtime, Steal};

/// Guards against hanging only.
const LIMIT: Duration = Duration::from_secs(60);

/// Lets others run until `condition` holds.
pub(super) fn until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < LIMIT, "waited {LIMIT:?} until {what}");
        thread::sleep(Duration::from_micros(50));
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Callers {
    Coroutines,
    Threads,
}

/// A lock, those who use it, and what they did.
pub(super) struct Stage {
    pub(super) runtime: Runtime,
    callers: Callers,
    pub(super) lock: Arc<RawRwLock>,
    pub(super) log: Arc<Mutex<Vec<&'static str>>>,
}

/// One that wants the lock.
pub(super) struct Actor {
    pub(super) token: CancelToken,
    join: Box<dyn FnOnce() -> thread::Result<Result<(), Cancelled>>>,
}

/// The handle of one that has ended.
fn joined<H>(handle: H, has_ended: impl Fn(&H) -> bool) -> H {
    until("one that wants the lock has ended", || has_ended(&handle));
    handle
}

impl Actor {
    /// It got the lock, and gave it up.
    pub(super) fn join(self) {
        assert!((self.join)().expect("it does not panic").is_ok());
    }

    pub(super) fn was_cancelled(self) {
        assert!((self.join)().expect("it does not panic").is_err());
    }
}

impl Stage {
    fn new(workers: usize, full_stealing: bool, callers: Callers) -> Stage {
        let steal = match full_stealing {
            // SAFETY: what these tests hold over a blocking call is `Send` and neither thread-local nor locked by thread.
            true => unsafe { Steal::started() },
            false => Steal::fresh(),
        };
        let runtime = Runtime::builder().workers(workers).steal(steal).build();
        Stage {
            runtime: runtime.expect("a runtime"),
            callers,
            lock: Arc::new(RawRwLock::new()),
            log: Arc::default(),
        }
    }

    pub(super) fn start(&self, body: impl FnOnce(&RawRwLock) + Send + 'static) -> Actor {
        let token = CancelToken::new();
        let lock = self.lock.clone();
        let region = token.clone();
        let body = move || region.run(|| body(&lock));
        match self.callers {
            Callers::Coroutines => {
                let handle = self.runtime.spawn(body);
                Actor {
                    token,
                    join: Box::new(move || joined(handle, |handle| handle.is_finished()).join()),
                }
            }
            Callers::Threads => {
                let handle = thread::spawn(body);
                Actor {
                    token,
                    join: Box::new(move || joined(handle, |handle| handle.is_finished()).join()),
                }
            }
        }
    }

    /// One that reads, says so, and stops.
    pub(super) fn reader(&self, name: &'static str) -> Actor {
        let log = self.log.clone();
        self.start(move |lock| {
            lock.read();
            log.lock().unwrap().push(name);
            lock.unlock_read();
        })
    }

    /// A reader that waits, for which it needs a reason.
    pub(super) fn waiting_reader(&self, name: &'static str) -> Actor {
        let before = self.lock.readers_waiting();
        let reader = self.reader(name);
        until("a reader waits", || self.lock.readers_waiting() > before);
        reader
    }

    pub(super) fn writer(&self, name: &'static str) -> Actor {
        let log = self.log.clone();
        self.start(move |lock| {
            lock.write();
            log.lock().unwrap().push(name);
            lock.unlock_write();
        })
    }

    /// The first writer that waits.
    pub(super) fn waiting_writer(&self, name: &'static str) -> Actor {
        assert!(!self.lock.has(WRITERS));
        let writer = self.writer(name);
        until("a writer waits", || self.lock.has(WRITERS));
        writer
    }

    /// Makes the writer that waits lose against the caller, which is a writer, until it is to be handed the lock; says how often.
    pub(super) fn starve(&self) -> u32 {
        let mut times = 0;
        while !self.lock.has(STARVING) {
            let busy = self.busy_worker();
            self.lock.unlock_write();
            assert!(self.lock.has(WOKEN));
            assert!(self.lock.try_write(), "a lock that is free is anyone's");
            times += 1;
            drop(busy);
            until("the loser waits again", || !self.lock.has(WOKEN));
        }
        times
    }

    pub(super) fn log(&self) -> Vec<&'static str> {
        self.log.lock().unwrap().clone()
    }

    /// Keeps the only worker until it is dropped.
    pub(super) fn busy_worker(&self) -> Busy {
        let (busy, over) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicBool::new(false)),
        );
        self.runtime.spawn({
            let (busy, over) = (busy.clone(), over.clone());
            move || {
                busy.store(true, Ordering::SeqCst);
                while !over.load(Ordering::SeqCst) {
                    core::hint::spin_loop();
                }
            }
        });
        until("the worker is busy", || busy.load(Ordering::SeqCst));
        Busy(over)
    }
}

pub(super) struct Busy(Arc<AtomicBool>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl RawRwLock {
    pub(super) fn readers_waiting(&self) -> usize {
        self.queues.with(|queues| *queues.state)
    }

    pub(super) fn has(&self, bits: usize) -> bool {
        self.word.load(Ordering::SeqCst) & bits != 0
    }

    pub(super) fn is_unused(&self) -> bool {
        self.queues.with(|queues| {
            *queues.state == 0 && queues.is_empty(READING) && queues.is_empty(WRITING)
        }) && self.word.load(Ordering::SeqCst) == 0
    }
}

impl Drop for Stage {
    /// Whatever has happened, the lock is as it was at first.
    fn drop(&mut self) {
        if !thread::panicking() {
            assert!(self.lock.is_unused());
        }
    }
}

/// Everything on which a test does not depend, in turn.
pub(super) fn each_stage(test: impl Fn(&Stage)) {
    for workers in [1, 2, 8] {
        for full_stealing in [false, true] {
            for callers in [Callers::Coroutines, Callers::Threads] {
                if callers == Callers::Coroutines || (workers, full_stealing) == (1, false) {
                    test(&Stage::new(workers, full_stealing, callers));
                }
            }
        }
    }
}

/// Where the one worker has to be kept busy.
pub(super) fn each_single_worker(test: impl Fn(&Stage)) {
    for full_stealing in [false, true] {
        test(&Stage::new(1, full_stealing, Callers::Coroutines));
    }
}
