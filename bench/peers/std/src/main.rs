//! std: threads, `std::sync::Mutex`, `std::sync::mpsc`.
//!
//! No skynet: 100,000 threads are more than a system gives.

use std::process::ExitCode;
use std::sync::mpsc::{channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use harness::{Routine, Threads, fan_in, ping_pong};

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
            run: |setup| setup.measure(|iters| ping_pong(iters, &Threads, || bounded(0))),
        },
        Routine {
            case: "pingpong",
            variant: "bounded1",
            workers: &[1, 2],
            run: |setup| setup.measure(|iters| ping_pong(iters, &Threads, || bounded(1))),
        },
        Routine {
            case: "pingpong",
            variant: "unbounded",
            workers: &[1, 2],
            run: |setup| setup.measure(|iters| ping_pong(iters, &Threads, unbounded)),
        },
        Routine {
            case: "fanin",
            variant: "bounded",
            workers: &[1, 2],
            run: |setup| setup.measure(|iters| fan_in(iters, &Threads, || bounded(1_024))),
        },
    ])
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
    harness::contended(iters, &Threads, add_one, || *mutex.lock().unwrap())
}

fn bounded(capacity: usize) -> (impl Fn(u64) + Clone + Send, impl Fn() -> Option<u64> + Send) {
    let (sender, receiver) = sync_channel(capacity);
    (
        move |n| sender.send(n).unwrap(),
        move || receiver.recv().ok(),
    )
}

fn unbounded() -> (impl Fn(u64) + Send, impl Fn() -> Option<u64> + Send) {
    let (sender, receiver) = channel();
    (
        move |n| sender.send(n).unwrap(),
        move || receiver.recv().ok(),
    )
}
