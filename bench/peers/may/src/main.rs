//! may: coroutines, `may::sync`.
//!
//! All its channels are unbounded: a fan-in has no back-pressure, unlike the others'.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use harness::{Routine, Setup, Spawn, fan_in, ping_pong};
use may::coroutine::JoinHandle;
use may::go;
use may::sync::{Mutex, mpmc, mpsc, spsc};

/// The ends of a channel. may's kinds have no trait in common.
macro_rules! ends {
    ($kind:ident) => {{
        let (sender, receiver) = $kind::channel();
        (
            move |n| sender.send(n).unwrap(),
            move || receiver.recv().ok(),
        )
    }};
}

fn main() -> ExitCode {
    harness::main(&[
        Routine {
            case: "lock",
            variant: "coroutine",
            workers: &[1],
            run: |setup| measure(setup, lock),
        },
        Routine {
            case: "mutex8",
            variant: "coroutines",
            workers: &[1, 2],
            run: |setup| measure(setup, mutex8),
        },
        Routine {
            case: "pingpong",
            variant: "spsc",
            workers: &[1, 2],
            run: |setup| measure(setup, |iters| ping_pong(iters, &Coroutines, || ends!(spsc))),
        },
        Routine {
            case: "pingpong",
            variant: "mpsc",
            workers: &[1, 2],
            run: |setup| measure(setup, |iters| ping_pong(iters, &Coroutines, || ends!(mpsc))),
        },
        Routine {
            case: "fanin",
            variant: "mpsc",
            workers: &[1, 2],
            run: |setup| measure(setup, |iters| fan_in(iters, &Coroutines, || ends!(mpsc))),
        },
        Routine {
            case: "fanin",
            variant: "mpmc",
            workers: &[1, 2],
            run: |setup| measure(setup, |iters| fan_in(iters, &Coroutines, || ends!(mpmc))),
        },
        Routine {
            case: "skynet",
            variant: "mpsc",
            workers: &[1, 2],
            run: |setup| {
                let leaves = setup.leaves;
                may::config().set_workers(setup.workers);
                setup.measure_rounds(leaves, || go!(move || tree(leaves)).join().unwrap());
            },
        },
    ])
}

/// Measures a routine that runs in a coroutine.
fn measure(setup: &Setup, routine: fn(u64) -> Duration) {
    may::config().set_workers(setup.workers);
    setup.measure(|iters| go!(move || routine(iters)).join().unwrap());
}

struct Coroutines;

impl Spawn for Coroutines {
    type Handle = JoinHandle<()>;

    fn spawn(&self, _worker: usize, job: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
        go!(job)
    }

    fn join(handle: JoinHandle<()>) {
        handle.join().unwrap();
    }
}

fn lock(iters: u64) -> Duration {
    let add_one = |mutex: &Mutex<u64>| *mutex.lock().unwrap() += 1;
    harness::lock(iters, Mutex::new(0), add_one, |mutex| {
        mutex.into_inner().unwrap()
    })
}

fn mutex8(iters: u64) -> Duration {
    let mutex = Arc::new(Mutex::new(0));
    let shared = Arc::clone(&mutex);
    let add_one = move || *shared.lock().unwrap() += 1;
    harness::contended(iters, &Coroutines, add_one, || *mutex.lock().unwrap())
}

fn tree(leaves: u64) -> Duration {
    let (up, sum) = mpsc::channel();
    let begin = Instant::now();
    spawn_node(up, 0, leaves);
    let sum = sum.recv().unwrap();
    let elapsed = begin.elapsed();
    assert_eq!(sum, leaves * (leaves - 1) / 2);
    elapsed
}

/// A node over `size` leaves, which are numbered from `first`; it sends their sum up.
fn spawn_node(up: mpsc::Sender<u64>, first: u64, size: u64) {
    go!(move || {
        if size == 1 {
            up.send(first).unwrap();
            return;
        }
        let (sender, receiver) = mpsc::channel();
        for child in 0..10 {
            spawn_node(sender.clone(), first + child * (size / 10), size / 10);
        }
        let sum = (0..10).map(|_| receiver.recv().unwrap()).sum();
        up.send(sum).unwrap();
    });
}
