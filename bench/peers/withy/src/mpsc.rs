//! The routines over `withy::sync::mpsc`: std's names.

use std::time::{Duration, Instant};

use harness::Routine;
use withy::sync::mpsc::{Receiver, SyncSender, sync_channel};

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
    let (there, arrives): (SyncSender<u64>, Receiver<u64>) = sync_channel(1);
    let (back, returns) = sync_channel(1);
    let echo = place.spawn(1, move || {
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

fn fan_in(iters: u64, place: Place) -> Duration {
    let each = iters.div_ceil(4);
    let (sender, receiver) = sync_channel(1_024);
    let begin = Instant::now();
    let start = |_| {
        let sender = sender.clone();
        place.spawn(1, move || (0..each).for_each(|n| sender.send(n).unwrap()))
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
