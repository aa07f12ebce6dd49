//! std: threads, `std::sync::Mutex`, `std::sync::mpsc`.
//!
//! No skynet: 100,000 threads are more than a system gives.

use std::hint::black_box;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use harness::Routine;

fn main() -> ExitCode {
    harness::main(&[
        Routine {
            case: "lock",
            variant: "thread",
            workers: &[1],
            run: |setup| setup.measure(lock),
        },
        Routine {
            case: "mutex8",
            variant: "threads",
            workers: &[1, 2],
            run: |setup| setup.measure(mutex8),
        },
        Routine {
            case: "pingpong",
            variant: "rendezvous",
            workers: &[1, 2],
            run: |setup| setup.measure(|iters| ping_pong(iters, || sync_channel(0))),
        },
        Routine {
            case: "pingpong",
            variant: "bounded1",
            workers: &[1, 2],
            run: |setup| setup.measure(|iters| ping_pong(iters, || sync_channel(1))),
        },
        Routine {
            case: "pingpong",
            variant: "unbounded",
            workers: &[1, 2],
            run: |setup| setup.measure(ping_pong_unbounded),
        },
        Routine {
            case: "fanin",
            variant: "bounded",
            workers: &[1, 2],
            run: |setup| setup.measure(fan_in),
        },
    ])
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
        thread::spawn(move || (0..each).for_each(|_| *mutex.lock().unwrap() += 1))
    };
    let adders: Vec<_> = (0..8).map(start).collect();
    for adder in adders {
        adder.join().unwrap();
    }
    let elapsed = begin.elapsed();
    assert_eq!(*mutex.lock().unwrap(), 8 * each);
    elapsed.mul_f64(iters as f64 / (8 * each) as f64)
}

fn ping_pong(iters: u64, channel: fn() -> (SyncSender<u64>, Receiver<u64>)) -> Duration {
    let (there, arrives) = channel();
    let (back, returns) = channel();
    let echo = thread::spawn(move || {
        for n in arrives {
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

fn ping_pong_unbounded(iters: u64) -> Duration {
    let (there, arrives) = channel();
    let (back, returns) = channel();
    let echo = thread::spawn(move || {
        for n in arrives {
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

fn fan_in(iters: u64) -> Duration {
    let each = iters.div_ceil(4);
    let (sender, receiver) = sync_channel(1_024);
    let begin = Instant::now();
    let start = |_| {
        let sender = sender.clone();
        thread::spawn(move || (0..each).for_each(|n| sender.send(n).unwrap()))
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
