//! What the integration tests share: a watchdog, the matrix of runtimes and callers, and a way to know that a caller
//! waits. Every test crate includes this module whole and uses a part of it.
#![allow(dead_code, reason = "each test crate uses its own part")]

pub(crate) mod addresses;
pub(crate) mod fault;
pub(crate) mod rest;
pub(crate) mod sockets;

use std::cell::{Cell, RefCell};
use std::io::{self, Write};
use std::os::fd::RawFd;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use withy::{Runtime, Steal};

/// The time limit of a test that moves little data. It guards against hanging only, so it is generous.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// Runs `test`; if that takes longer than `limit`, says what was waited for and aborts the process, since neither a
/// blocked thread nor a parked coroutine could be ended in another way.
pub(crate) fn within<T>(limit: Duration, what: &str, test: impl FnOnce() -> T) -> T {
    let (done, timer) = mpsc::channel::<()>();
    let text = format!("watchdog: waited {limit:?} for {what}");
    let watchdog = thread::spawn(move || {
        if timer.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
            // Not `eprintln!`, which the test harness would capture and lose.
            let _ = writeln!(io::stderr(), "{text}");
            std::process::abort();
        }
    });
    let out = test();
    // Dropped, not sent: a panic in `test` must stop the watchdog too.
    drop(done);
    watchdog.join().expect("the watchdog only waits");
    out
}

/// Who makes the calls under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Callers {
    Coroutines,
    Threads,
    /// In turn, beginning with a coroutine.
    Mixed,
}

/// One cell of the matrix: a runtime, and who calls.
pub(crate) struct Case {
    pub(crate) runtime: Runtime,
    pub(crate) callers: Callers,
    spawned: Cell<usize>,
    /// Those that were started as callers.
    threads: RefCell<Vec<libc::pid_t>>,
}

impl Case {
    /// A case of its own, for tests that need one runtime only.
    pub(crate) fn new(workers: usize, full_stealing: bool, callers: Callers) -> Case {
        Case::of(runtime(workers, full_stealing), callers)
    }

    /// A case of its own, with this runtime.
    pub(crate) fn of(runtime: Runtime, callers: Callers) -> Case {
        Case {
            runtime,
            callers,
            spawned: Cell::new(0),
            threads: RefCell::new(Vec::new()),
        }
    }

    /// Starts a caller of this case's sort.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        body: impl FnOnce() -> T + Send + 'static,
    ) -> Caller<T> {
        let turn = self.spawned.replace(self.spawned.get() + 1);
        let coroutine = match self.callers {
            Callers::Coroutines => true,
            Callers::Threads => false,
            Callers::Mixed => turn.is_multiple_of(2),
        };
        if coroutine {
            let handle = self.runtime.spawn(body);
            let target = handle.thread().clone();
            Caller {
                thread: None,
                unpark: Box::new(move || target.unpark()),
                join: Box::new(move || handle.join()),
            }
        } else {
            let (id, thread) = mpsc::channel();
            let handle = thread::spawn(move || {
                let _ = id.send(rest::current_thread_id());
                body()
            });
            let target = handle.thread().clone();
            let thread = thread.recv().expect("the thread sends its id first");
            self.threads.borrow_mut().push(thread);
            Caller {
                thread: Some(thread),
                unpark: Box::new(move || target.unpark()),
                join: Box::new(move || handle.join()),
            }
        }
    }

    /// Runs `body` as a caller of this case's sort and gives its value.
    pub(crate) fn run<T: Send + 'static>(&self, body: impl FnOnce() -> T + Send + 'static) -> T {
        self.spawn(body).join()
    }

    /// Returns once all callers that were started wait, for somebody else or for a time, and so have come as far as they can.
    pub(crate) fn until_at_rest(&self) {
        let mut threads = rest::workers_of(&self.runtime);
        threads.extend(&*self.threads.borrow());
        rest::until_all_sleep(&threads);
    }
}

/// A started caller.
pub(crate) struct Caller<T> {
    thread: Option<libc::pid_t>,
    unpark: Box<dyn Fn()>,
    join: Box<dyn FnOnce() -> thread::Result<T>>,
}

impl<T> Caller<T> {
    /// Waits for the caller's value; its panic goes on here.
    pub(crate) fn join(self) -> T {
        (self.join)().unwrap_or_else(|payload| std::panic::resume_unwind(payload))
    }

    pub(crate) fn unpark(&self) {
        (self.unpark)();
    }

    /// Returns once the caller has found that it must wait for `fd`, for the first time: a coroutine has registered
    /// it with a netpoller, a thread sleeps in the kernel. No test is right only because of this; it makes sure that
    /// the interesting order is the one that is tried.
    pub(crate) fn until_waiting(&self, fd: RawFd) {
        let waiting = || match self.thread {
            None => pollers_of(fd) > 0,
            Some(id) => rest::asleep(id).is_some(),
        };
        while !waiting() {
            thread::sleep(Duration::from_micros(50));
        }
    }
}

/// Runs `body` in every combination of 1, 2 and 8 workers, both steal modes, and coroutines, plain threads or both as
/// callers (plain threads alone know no runtime: once), each within `limit`.
pub(crate) fn matrix(limit: Duration, what: &str, body: impl Fn(&Case)) {
    for workers in [1, 2, 8] {
        for full_stealing in [false, true] {
            for callers in [Callers::Coroutines, Callers::Mixed, Callers::Threads] {
                if callers == Callers::Threads && (workers, full_stealing) != (1, false) {
                    continue;
                }
                let case = format!("{workers} workers, full stealing {full_stealing}, {callers:?}");
                within(limit, &format!("{what} ({case})"), || {
                    let case = Case::new(workers, full_stealing, callers);
                    body(&case);
                });
            }
        }
    }
}

/// A runtime with that many workers.
pub(crate) fn runtime(workers: usize, full_stealing: bool) -> Runtime {
    let steal = if full_stealing {
        // SAFETY: what these tests hold over a blocking call is `Send` and neither thread-local nor locked by thread.
        unsafe { Steal::started() }
    } else {
        Steal::fresh()
    };
    Runtime::builder()
        .workers(workers)
        .steal(steal)
        .build()
        .expect("a runtime can be built")
}

/// How many epoll instances of this process watch `fd`.
pub(crate) fn pollers_of(fd: RawFd) -> usize {
    let Ok(infos) = std::fs::read_dir("/proc/self/fdinfo") else {
        return 0;
    };
    infos
        .flatten()
        // A descriptor that was closed meanwhile watches nothing.
        .filter_map(|info| std::fs::read_to_string(info.path()).ok())
        .filter(|text| {
            text.lines().any(|line| {
                let mut words = line.split_ascii_whitespace();
                words.next() == Some("tfd:")
                    && words.next().and_then(|word| word.parse().ok()) == Some(fd)
            })
        })
        .count()
}
