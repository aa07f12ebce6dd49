//! The routines over `withy::sync::channel`.

use std::time::{Duration, Instant};

use harness::{Routine, Setup};
use withy::sync::channel::{Receiver, Sender, bounded, unbounded};

use crate::{Place, measure, on_worker_0, start};

pub(crate) fn routines() -> Vec<Routine> {
    vec![
        Routine {
            case: "pingpong",
            variant: "rendezvous",
            workers: &[1, 2],
            run: |setup| measure(setup, |iters| ping_pong(iters, || bounded(0), Place::Any)),
        },
        Routine {
            case: "pingpong",
            variant: "bounded1",
            workers: &[1, 2],
            run: |setup| measure(setup, |iters| ping_pong(iters, || bounded(1), Place::Any)),
        },
        Routine {
            case: "pingpong",
            variant: "unbounded",
            workers: &[1, 2],
            run: |setup| measure(setup, |iters| ping_pong(iters, unbounded, Place::Any)),
        },
        Routine {
            case: "pingpong",
            variant: "rendezvous-apart",
            workers: &[2],
            run: |setup| measure(setup, |iters| ping_pong(iters, || bounded(0), Place::Apart)),
        },
        Routine {
            case: "pingpong",
            variant: "bounded1-apart",
            workers: &[2],
            run: |setup| measure(setup, |iters| ping_pong(iters, || bounded(1), Place::Apart)),
        },
        Routine {
            case: "pingpong",
            variant: "unbounded-apart",
            workers: &[2],
            run: |setup| measure(setup, |iters| ping_pong(iters, unbounded, Place::Apart)),
        },
        Routine {
            case: "fanin",
            variant: "bounded",
            workers: &[1, 2],
            run: |setup| measure(setup, |iters| fan_in(iters, Place::Any)),
        },
        Routine {
            case: "fanin",
            variant: "bounded-apart",
            workers: &[2],
            run: |setup| measure(setup, |iters| fan_in(iters, Place::Apart)),
        },
        Routine {
            case: "skynet",
            variant: "rendezvous",
            workers: &[1, 2],
            run: |setup| skynet(setup, || bounded(0)),
        },
        Routine {
            case: "skynet",
            variant: "bounded10",
            workers: &[1, 2],
            run: |setup| skynet(setup, || bounded(10)),
        },
        Routine {
            case: "skynet",
            variant: "unbounded",
            workers: &[1, 2],
            run: |setup| skynet(setup, unbounded),
        },
    ]
}

type Channel = fn() -> (Sender<u64>, Receiver<u64>);

fn ping_pong(iters: u64, channel: Channel, place: Place) -> Duration {
    harness::ping_pong(iters, &place, || ends(channel()))
}

fn fan_in(iters: u64, place: Place) -> Duration {
    harness::fan_in(iters, &place, || ends(bounded(1_024)))
}

fn ends(
    (sender, receiver): (Sender<u64>, Receiver<u64>),
) -> (impl Fn(u64) + Clone + Send, impl Fn() -> Option<u64> + Send) {
    (
        move |n| sender.send(n).unwrap(),
        move || receiver.recv().ok(),
    )
}

fn skynet(setup: &Setup, channel: Channel) {
    let runtime = start(setup);
    let leaves = setup.leaves;
    setup.measure_rounds(leaves, || {
        on_worker_0(&runtime, move || tree(leaves, channel))
    });
}

fn tree(leaves: u64, channel: Channel) -> Duration {
    let (up, sum) = channel();
    let begin = Instant::now();
    spawn_node(up, 0, leaves, channel);
    let sum = sum.recv().unwrap();
    let elapsed = begin.elapsed();
    assert_eq!(sum, leaves * (leaves - 1) / 2);
    elapsed
}

/// A node over `size` leaves, which are numbered from `first`; it sends their sum up.
fn spawn_node(up: Sender<u64>, first: u64, size: u64, channel: Channel) {
    drop(withy::spawn(move || {
        if size == 1 {
            up.send(first).unwrap();
            return;
        }
        let (sender, receiver) = channel();
        for child in 0..10 {
            spawn_node(
                sender.clone(),
                first + child * (size / 10),
                size / 10,
                channel,
            );
        }
        let sum = (0..10).map(|_| receiver.recv().unwrap()).sum();
        up.send(sum).unwrap();
    }));
}
