//! may: coroutines, `may::sync`.
//!
//! All its channels are unbounded: a fan-in has no back-pressure, unlike the others'.

use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use harness::{Routine, Setup};
use may::go;
use may::sync::{Mutex, mpmc, mpsc, spsc};

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
            run: |setup| measure(setup, ping_pong_spsc),
        },
        Routine {
            case: "pingpong",
            variant: "mpsc",
            workers: &[1, 2],
            run: |setup| measure(setup, ping_pong_mpsc),
        },
        Routine {
            case: "fanin",
            variant: "mpsc",
            workers: &[1, 2],
            run: |setup| measure(setup, fan_in_mpsc),
        },
        Routine {
            case: "fanin",
            variant: "mpmc",
            workers: &[1, 2],
            run: |setup| measure(setup, fan_in_mpmc),
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

fn lock(iters: u64) -> Duration {
    let mutex = Mutex::new(0);
    let begin = Instant::now();
    for _ in 0..iters {
        *black_box(&mutex).lock().unwrap() += 1;
    }
    let elapsed = begin.elapsed();
    assert_eq!(mutex.into_inner().unwrap(), iters);
    elapsed
}

fn mutex8(iters: u64) -> Duration {
    let each = iters.div_ceil(8);
    let mutex = Arc::new(Mutex::new(0));
    let begin = Instant::now();
    let start = |_| {
        let mutex = Arc::clone(&mutex);
        go!(move || (0..each).for_each(|_| *mutex.lock().unwrap() += 1))
    };
    let adders: Vec<_> = (0..8).map(start).collect();
    for adder in adders {
        adder.join().unwrap();
    }
    let elapsed = begin.elapsed();
    assert_eq!(*mutex.lock().unwrap(), 8 * each);
    elapsed.mul_f64(iters as f64 / (8 * each) as f64)
}

/// may's kinds of channel have no trait in common.
macro_rules! ping_pong {
    ($name:ident, $kind:ident) => {
        fn $name(iters: u64) -> Duration {
            let (there, arrives) = $kind::channel();
            let (back, returns) = $kind::channel();
            let echo = go!(move || {
                while let Ok(n) = arrives.recv() {
                    back.send(n).unwrap();
                }
            });
            let begin = Instant::now();
            for n in 0..iters {
                there.send(n).unwrap();
                assert_eq!(returns.recv(), Ok(n));
            }
            let elapsed = begin.elapsed();
            drop(there);
            echo.join().unwrap();
            elapsed
        }
    };
}

ping_pong!(ping_pong_spsc, spsc);
ping_pong!(ping_pong_mpsc, mpsc);

macro_rules! fan_in {
    ($name:ident, $kind:ident) => {
        fn $name(iters: u64) -> Duration {
            let each = iters.div_ceil(4);
            let (sender, receiver) = $kind::channel();
            let begin = Instant::now();
            let start = |_| {
                let sender = sender.clone();
                go!(move || (0..each).for_each(|n| sender.send(n).unwrap()))
            };
            let producers: Vec<_> = (0..4).map(start).collect();
            drop(sender);
            let mut sum: u64 = 0;
            while let Ok(n) = receiver.recv() {
                sum += n;
            }
            let elapsed = begin.elapsed();
            for producer in producers {
                producer.join().unwrap();
            }
            assert_eq!(sum, 4 * (each * (each - 1) / 2));
            elapsed.mul_f64(iters as f64 / (4 * each) as f64)
        }
    };
}

fan_in!(fan_in_mpsc, mpsc);
fan_in!(fan_in_mpmc, mpmc);

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
