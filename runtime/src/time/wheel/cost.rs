//! What the wheel's calls cost. Not a criterion bench, which would need the wheel to be public.
//!
//! `cargo test --release -p withy-runtime --lib wheel::cost -- --ignored --nocapture`

use std::hint::black_box;
use std::time::Instant;

use fastrand::Rng;

use super::*;

const CALLS: u32 = 5_000_000;
const ENTRIES: usize = 10_000;
/// A limit of 30 s.
const LIMIT: u64 = 30_000_000_000;

fn time(name: &str, mut call: impl FnMut()) {
    let begin = Instant::now();
    (0..CALLS).for_each(|_| call());
    let ns = begin.elapsed().as_nanos() as f64 / f64::from(CALLS);
    println!("{name:<24} {ns:6.1} ns");
}

/// A wheel on which many have the limit.
fn crowded() -> (Wheel<usize>, Vec<Key>) {
    let mut wheel = Wheel::new();
    let keys: Vec<Key> = (0..ENTRIES).map(|number| wheel.insert(number)).collect();
    for (&key, now) in keys.iter().zip(0..) {
        wheel.set(key, now * 1000 + LIMIT);
    }
    (wheel, keys)
}

#[test]
#[ignore = "a measurement"]
fn what_calls_cost() {
    let (mut wheel, keys) = crowded();
    let mut now = 0;
    let mut turn = keys.iter().cycle();
    // As each blocking call that has a limit does.
    time("arm, cancel: lazily", || {
        let &key = black_box(turn.next().unwrap());
        now += 100;
        wheel.set(key, now + LIMIT);
        wheel.set(key, NEVER);
    });
    let (mut wheel, _) = crowded();
    // As a coroutine does that sleeps, is cancelled and ends.
    time("insert, arm, remove", || {
        now += 100;
        let key = wheel.insert(0);
        wheel.set(key, black_box(now + LIMIT / 1000));
        black_box(wheel.remove(key));
    });
    // All of a sleep of 1 to 100 ms that comes to its end: cascades, `next`, and arming it again.
    let (mut wheel, keys) = crowded();
    let mut rng = Rng::with_seed(1);
    let mut sleep = || rng.u64(LIMIT / 30_000..LIMIT / 300);
    let mut now = 0;
    for &key in &keys {
        wheel.set(key, sleep());
    }
    time("sleep", || {
        loop {
            if let Some(&number) = wheel.pop_due(now) {
                return wheel.set(keys[number], now + sleep());
            }
            now = wheel.next();
        }
    });
}
