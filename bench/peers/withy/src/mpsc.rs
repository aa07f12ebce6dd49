//! The routines over `withy::sync::mpsc`: std's names.

use std::time::Duration;

use harness::Routine;
use withy::sync::mpsc::sync_channel;

use crate::{Place, measure};

pub(crate) fn routines() -> Vec<Routine> {
    vec![
        Routine {
            case: "pingpong",
            variant: "mpsc-bounded1",
            workers: &[1, 2],
            run: |setup| measure(setup, |iters| ping_pong(iters, Place::Any)),
        },
        Routine {
            case: "pingpong",
            variant: "mpsc-bounded1-apart",
            workers: &[2],
            run: |setup| measure(setup, |iters| ping_pong(iters, Place::Apart)),
        },
        Routine {
            case: "fanin",
            variant: "mpsc-bounded",
            workers: &[1, 2],
            run: |setup| measure(setup, |iters| fan_in(iters, Place::Any)),
        },
        Routine {
            case: "fanin",
            variant: "mpsc-bounded-apart",
            workers: &[2],
            run: |setup| measure(setup, |iters| fan_in(iters, Place::Apart)),
        },
    ]
}

fn ping_pong(iters: u64, place: Place) -> Duration {
    harness::ping_pong(iters, &place, || bounded(1))
}

fn fan_in(iters: u64, place: Place) -> Duration {
    harness::fan_in(iters, &place, || bounded(1_024))
}

fn bounded(capacity: usize) -> (impl Fn(u64) + Clone + Send, impl Fn() -> Option<u64> + Send) {
    let (sender, receiver) = sync_channel(capacity);
    (
        move |n| sender.send(n).unwrap(),
        move || receiver.recv().ok(),
    )
}
