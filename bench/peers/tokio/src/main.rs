//! tokio: tasks, `tokio::sync`. One worker is a `current_thread` runtime, two are `multi_thread`.
//!
//! Everything measured runs in spawned tasks, so that the thread that blocks on the runtime is not part of it.

use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use harness::{Routine, Setup};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Mutex, mpsc};

fn main() -> ExitCode {
    harness::main(&[
        Routine {
            case: "lock",
            variant: "task",
            workers: &[1],
            run: |setup| measure(setup, lock),
        },
        Routine {
            case: "mutex8",
            variant: "tasks",
            workers: &[1, 2],
            run: |setup| measure(setup, mutex8),
        },
        Routine {
            case: "pingpong",
            variant: "bounded1",
            workers: &[1, 2],
            run: |setup| measure(setup, ping_pong),
        },
        Routine {
            case: "pingpong",
            variant: "unbounded",
            workers: &[1, 2],
            run: |setup| measure(setup, ping_pong_unbounded),
        },
        Routine {
            case: "fanin",
            variant: "bounded",
            workers: &[1, 2],
            run: |setup| measure(setup, fan_in),
        },
        Routine {
            case: "skynet",
            variant: "bounded10",
            workers: &[1, 2],
            run: |setup| skynet(setup, tree),
        },
        Routine {
            case: "skynet",
            variant: "unbounded",
            workers: &[1, 2],
            run: |setup| skynet(setup, tree_unbounded),
        },
    ])
}

/// Measures a routine that runs in a task.
fn measure<F: Future<Output = Duration> + Send + 'static>(setup: &Setup, routine: fn(u64) -> F) {
    let runtime = start(setup);
    setup.measure(|iters| in_task(&runtime, routine(iters)));
}

fn skynet<F: Future<Output = Duration> + Send + 'static>(setup: &Setup, tree: fn(u64) -> F) {
    let runtime = start(setup);
    setup.measure_rounds(setup.leaves, || in_task(&runtime, tree(setup.leaves)));
}

fn in_task<T: Send + 'static>(
    runtime: &Runtime,
    future: impl Future<Output = T> + Send + 'static,
) -> T {
    runtime.block_on(runtime.spawn(future)).unwrap()
}

fn start(setup: &Setup) -> Runtime {
    let mut builder = match setup.workers {
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    builder
        .worker_threads(setup.workers)
        .build()
        .expect("the system has room for two threads")
}

async fn lock(iters: u64) -> Duration {
    let mutex = Mutex::new(0);
    let begin = Instant::now();
    for _ in 0..iters {
        *black_box(&mutex).lock().await += 1;
    }
    let elapsed = begin.elapsed();
    assert_eq!(mutex.into_inner(), iters);
    elapsed
}

async fn mutex8(iters: u64) -> Duration {
    let each = iters.div_ceil(8);
    let mutex = Arc::new(Mutex::new(0));
    let begin = Instant::now();
    let start = |_| {
        let mutex = Arc::clone(&mutex);
        tokio::spawn(async move {
            for _ in 0..each {
                *mutex.lock().await += 1;
            }
        })
    };
    let adders: Vec<_> = (0..8).map(start).collect();
    for adder in adders {
        adder.await.unwrap();
    }
    let elapsed = begin.elapsed();
    assert_eq!(*mutex.lock().await, 8 * each);
    elapsed.mul_f64(iters as f64 / (8 * each) as f64)
}

async fn ping_pong(iters: u64) -> Duration {
    let (there, mut arrives) = mpsc::channel(1);
    let (back, mut returns) = mpsc::channel(1);
    let echo = tokio::spawn(async move {
        while let Some(n) = arrives.recv().await {
            back.send(n).await.unwrap();
        }
    });
    let begin = Instant::now();
    for n in 0..iters {
        there.send(n).await.unwrap();
        assert_eq!(returns.recv().await, Some(n));
    }
    let elapsed = begin.elapsed();
    drop(there);
    echo.await.unwrap();
    elapsed
}

async fn ping_pong_unbounded(iters: u64) -> Duration {
    let (there, mut arrives) = mpsc::unbounded_channel();
    let (back, mut returns) = mpsc::unbounded_channel();
    let echo = tokio::spawn(async move {
        while let Some(n) = arrives.recv().await {
            back.send(n).unwrap();
        }
    });
    let begin = Instant::now();
    for n in 0..iters {
        there.send(n).unwrap();
        assert_eq!(returns.recv().await, Some(n));
    }
    let elapsed = begin.elapsed();
    drop(there);
    echo.await.unwrap();
    elapsed
}

async fn fan_in(iters: u64) -> Duration {
    let each = iters.div_ceil(4);
    let (sender, mut receiver) = mpsc::channel(1_024);
    let begin = Instant::now();
    let start = |_| {
        let sender = sender.clone();
        tokio::spawn(async move {
            for n in 0..each {
                sender.send(n).await.unwrap();
            }
        })
    };
    let producers: Vec<_> = (0..4).map(start).collect();
    drop(sender);
    let mut sum: u64 = 0;
    while let Some(n) = receiver.recv().await {
        sum += n;
    }
    let elapsed = begin.elapsed();
    for producer in producers {
        producer.await.unwrap();
    }
    assert_eq!(sum, 4 * (each * (each - 1) / 2));
    elapsed.mul_f64(iters as f64 / (4 * each) as f64)
}

async fn tree(leaves: u64) -> Duration {
    let (up, mut sum) = mpsc::channel(10);
    let begin = Instant::now();
    spawn_node(up, 0, leaves);
    let sum = sum.recv().await.unwrap();
    let elapsed = begin.elapsed();
    assert_eq!(sum, leaves * (leaves - 1) / 2);
    elapsed
}

/// A node over `size` leaves, which are numbered from `first`; it sends their sum up.
fn spawn_node(up: mpsc::Sender<u64>, first: u64, size: u64) {
    tokio::spawn(async move {
        if size == 1 {
            up.send(first).await.unwrap();
            return;
        }
        let (sender, mut receiver) = mpsc::channel(10);
        for child in 0..10 {
            spawn_node(sender.clone(), first + child * (size / 10), size / 10);
        }
        let mut sum = 0;
        for _ in 0..10 {
            sum += receiver.recv().await.unwrap();
        }
        up.send(sum).await.unwrap();
    });
}

async fn tree_unbounded(leaves: u64) -> Duration {
    let (up, mut sum) = mpsc::unbounded_channel();
    let begin = Instant::now();
    spawn_node_unbounded(up, 0, leaves);
    let sum = sum.recv().await.unwrap();
    let elapsed = begin.elapsed();
    assert_eq!(sum, leaves * (leaves - 1) / 2);
    elapsed
}

fn spawn_node_unbounded(up: mpsc::UnboundedSender<u64>, first: u64, size: u64) {
    tokio::spawn(async move {
        if size == 1 {
            up.send(first).unwrap();
            return;
        }
        let (sender, mut receiver) = mpsc::unbounded_channel();
        for child in 0..10 {
            spawn_node_unbounded(sender.clone(), first + child * (size / 10), size / 10);
        }
        let mut sum = 0;
        for _ in 0..10 {
            sum += receiver.recv().await.unwrap();
        }
        up.send(sum).unwrap();
    });
}
