//! crossbeam-channel between std's threads.

use std::process::ExitCode;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use harness::{Routine, Threads, fan_in, ping_pong};

fn main() -> ExitCode {
    harness::main(&[
        Routine {
            case: "pingpong",
            variant: "rendezvous",
            workers: &[1, 2],
            run: |setup| setup.measure(|iters| ping_pong(iters, &Threads, || ends(bounded(0)))),
        },
        Routine {
            case: "pingpong",
            variant: "bounded1",
            workers: &[1, 2],
            run: |setup| setup.measure(|iters| ping_pong(iters, &Threads, || ends(bounded(1)))),
        },
        Routine {
            case: "pingpong",
            variant: "unbounded",
            workers: &[1, 2],
            run: |setup| setup.measure(|iters| ping_pong(iters, &Threads, || ends(unbounded()))),
        },
        Routine {
            case: "fanin",
            variant: "bounded",
            workers: &[1, 2],
            run: |setup| setup.measure(|iters| fan_in(iters, &Threads, || ends(bounded(1_024)))),
        },
    ])
}

fn ends(
    (sender, receiver): (Sender<u64>, Receiver<u64>),
) -> (impl Fn(u64) + Clone + Send, impl Fn() -> Option<u64> + Send) {
    (
        move |n| sender.send(n).unwrap(),
        move || receiver.recv().ok(),
    )
}
