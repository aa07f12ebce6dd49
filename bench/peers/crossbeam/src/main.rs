//! crossbeam-channel between std's threads.

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use harness::Routine;

fn main() -> ExitCode {
    harness::main(&[
        Routine {
            case: "pingpong",
            variant: "rendezvous",
            workers: &[1, 2],
            run: |setup| setup.measure(|iters| ping_pong(iters, || bounded(0))),
        },
        Routine {
            case: "pingpong",
            variant: "bounded1",
            workers: &[1, 2],
            run: |setup| setup.measure(|iters| ping_pong(iters, || bounded(1))),
        },
        Routine {
            case: "pingpong",
            variant: "unbounded",
            workers: &[1, 2],
            run: |setup| setup.measure(|iters| ping_pong(iters, unbounded)),
        },
        Routine {
            case: "fanin",
            variant: "bounded",
            workers: &[1, 2],
            run: |setup| setup.measure(fan_in),
        },
    ])
}

fn ping_pong(iters: u64, channel: fn() -> (Sender<u64>, Receiver<u64>)) -> Duration {
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
    let (sender, receiver) = bounded(1_024);
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
