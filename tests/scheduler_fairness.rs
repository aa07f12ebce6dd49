//! Who gets to run when somebody does not wait: bounds in counts of runs, on one worker, where they are sharpest.
//!
//! A count is read *after* the news was made (a byte written, an unpark given) and again by whoever it was for. What
//! the machine does to this process in between can only make the difference smaller, so the bounds hold on a busy one.

mod rig;
mod support;

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rig::until;
use support::sockets::pair;
use support::{LIMIT, pollers_of, runtime, within};
use withy::{JoinHandle, Runtime};

/// Runtime calls that do not block before a coroutine lets others run (`scheduler/budget.rs`).
const CALLS_MAX: usize = 128;
/// Runs between two turns of the netpoller, the timers, the inbox and the injector (`scheduler/worker.rs`).
const TURN_RUNS_MAX: usize = 61;
/// Runs from the local queue before the deque has as many, and the other way round (`scheduler/worker.rs`).
const QUEUE_RUNS: usize = 16;

/// Coroutines that only yield, and the number of their runs.
struct Yielders {
    stop: Arc<AtomicBool>,
    runs: Arc<AtomicUsize>,
    handles: Vec<JoinHandle<()>>,
}

impl Yielders {
    fn start(runtime: &Runtime, number: usize) -> Yielders {
        let stop = Arc::new(AtomicBool::new(false));
        let runs = Arc::new(AtomicUsize::new(0));
        let handles = (0..number)
            .map(|_| {
                let (stop, runs) = (stop.clone(), runs.clone());
                runtime.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        runs.fetch_add(1, Ordering::SeqCst);
                        withy::yield_now();
                    }
                })
            })
            .collect();
        until(|| runs.load(Ordering::SeqCst) > 10);
        Yielders {
            stop,
            runs,
            handles,
        }
    }

    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.handles
            .into_iter()
            .for_each(|handle| handle.join().unwrap());
    }
}

/// Promise 31. Calls that need not wait are counted: after 128 of them others run.
#[test]
fn a_coroutine_whose_calls_never_block_yields_after_128_of_them() {
    for full_stealing in [false, true] {
        within(LIMIT, "a coroutine that peeks without end", || {
            let runtime = runtime(1, full_stealing);
            let (ours, mut peer) = pair();
            peer.write_all(b"always there").unwrap();
            let calls = Arc::new(AtomicUsize::new(0));
            let stop = Arc::new(AtomicBool::new(false));
            let peeker = runtime.spawn({
                let (calls, stop) = (calls.clone(), stop.clone());
                move || {
                    while !stop.load(Ordering::SeqCst) {
                        ours.peek(&mut [0; 1]).unwrap();
                        calls.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
            until(|| calls.load(Ordering::SeqCst) > 0);
            let longest = runtime.run(|| {
                let mut longest = 0;
                for _ in 0..200 {
                    let before = calls.load(Ordering::SeqCst);
                    withy::yield_now();
                    longest = longest.max(calls.load(Ordering::SeqCst) - before);
                }
                stop.store(true, Ordering::SeqCst);
                longest
            });
            peeker.join().unwrap();
            assert!(
                (1..=CALLS_MAX).contains(&longest),
                "{longest} calls in one run"
            );
        });
    }
}

/// Promise 31. Calls that are slow count by the clock: the slice of 10 ms ends a run long before 128 calls do.
#[test]
fn a_coroutine_whose_calls_are_slow_yields_when_its_slice_is_over() {
    within(LIMIT, "a coroutine that computes between calls", || {
        let runtime = runtime(1, false);
        let (ours, mut peer) = pair();
        peer.write_all(b"x").unwrap();
        let calls = Arc::new(AtomicUsize::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let worker = runtime.spawn({
            let (calls, stop) = (calls.clone(), stop.clone());
            move || {
                while !stop.load(Ordering::SeqCst) {
                    ours.peek(&mut [0; 1]).unwrap();
                    calls.fetch_add(1, Ordering::SeqCst);
                    let start = Instant::now();
                    while start.elapsed() < Duration::from_millis(2) {
                        std::hint::spin_loop();
                    }
                }
            }
        });
        until(|| calls.load(Ordering::SeqCst) > 0);
        // From inside, on the same worker: a thread that comes from outside may be kept from its core for any number of calls.
        let longest = runtime.run(|| {
            let mut longest = 0;
            for _ in 0..10 {
                let before = calls.load(Ordering::SeqCst);
                withy::yield_now();
                longest = longest.max(calls.load(Ordering::SeqCst) - before);
            }
            stop.store(true, Ordering::SeqCst);
            longest
        });
        worker.join().unwrap();
        // The clock is read at every eighth call: the slice is seen to be over at the 16th at the latest.
        assert!(
            (1..=16).contains(&longest),
            "{longest} calls of 2 ms in one run"
        );
    });
}

/// Promise 32. A socket's event is served while two coroutines keep the run queue from ever being empty.
#[test]
fn the_netpoller_is_served_while_the_run_queue_is_never_empty() {
    for full_stealing in [false, true] {
        within(LIMIT, "a reader beside yielders", || {
            let runtime = runtime(1, full_stealing);
            let yielders = Yielders::start(&runtime, 2);
            let (mut ours, mut peer) = pair();
            let fd = ours.as_raw_fd();
            let heard = Arc::new(AtomicUsize::new(usize::MAX));
            let reader = runtime.spawn({
                let (runs, heard) = (yielders.runs.clone(), heard.clone());
                move || {
                    while ours.read(&mut [0; 1]).unwrap() == 1 {
                        heard.store(runs.load(Ordering::SeqCst), Ordering::SeqCst);
                    }
                }
            });
            until(|| pollers_of(fd) == 1);
            let mut late = 0;
            for _ in 0..100 {
                heard.store(usize::MAX, Ordering::SeqCst);
                peer.write_all(b"x").unwrap();
                let written = yielders.runs.load(Ordering::SeqCst);
                until(|| heard.load(Ordering::SeqCst) != usize::MAX);
                let runs = heard.load(Ordering::SeqCst).saturating_sub(written);
                late += usize::from(runs > TURN_RUNS_MAX + QUEUE_RUNS + 8);
            }
            // The kernel itself may bring a byte late over loopback, so a few rounds are forgiven.
            assert!(late <= 10, "{late} of 100 bytes were read late");
            drop(peer);
            reader.join().unwrap();
            yielders.end();
        });
    }
}

/// Promise 32. Runs that are long all at once come when the worker has just settled for sixty short ones to its next turn:
/// the watchdog sees to it that these are not waited for.
#[test]
fn the_netpoller_is_served_when_runs_become_long_all_at_once() {
    const LONG: Duration = Duration::from_millis(20);
    within(LIMIT, "a reader behind long runs", || {
        let runtime = runtime(1, false);
        let (mut ours, mut peer) = pair();
        let reads = Arc::new(AtomicUsize::new(0));
        let seen = reads.clone();
        let reader = runtime.spawn(move || {
            for _ in 0..2 {
                ours.read_exact(&mut [0]).unwrap();
                seen.fetch_add(1, Ordering::SeqCst);
            }
        });
        let neighbour = runtime.spawn(move || {
            for _ in 0..1_000 {
                withy::yield_now();
            }
            peer.write_all(b"1").unwrap();
            // A turn finds it: the next is sixty runs away.
            while reads.load(Ordering::SeqCst) == 0 {
                withy::yield_now();
            }
            peer.write_all(b"2").unwrap();
            let mut runs = 0;
            while reads.load(Ordering::SeqCst) == 1 {
                let begun = Instant::now();
                while begun.elapsed() < LONG {
                    std::hint::spin_loop();
                }
                runs += 1;
                withy::yield_now();
            }
            runs
        });
        let runs = neighbour.join().unwrap();
        reader.join().unwrap();
        // Four by the watchdog's time; it may be late.
        assert!(runs < TURN_RUNS_MAX / 2, "{runs} long runs came first");
    });
}

/// Promise 32. A sleeper's time is served while two coroutines keep the run queue from ever being empty.
#[test]
fn timers_are_served_while_the_run_queue_is_never_empty() {
    for full_stealing in [false, true] {
        within(LIMIT, "a sleeper beside yielders", || {
            let runtime = runtime(1, full_stealing);
            let yielders = Yielders::start(&runtime, 2);
            let longest = runtime.run(|| {
                let mut longest = 0;
                for _ in 0..50 {
                    let deadline = Instant::now() + Duration::from_micros(500);
                    // The first run that sees the deadline passed tells from where to count.
                    let witness = withy::spawn({
                        let runs = yielders.runs.clone();
                        move || {
                            while Instant::now() < deadline {
                                withy::yield_now();
                            }
                            runs.load(Ordering::SeqCst)
                        }
                    });
                    withy::sleep(deadline.saturating_duration_since(Instant::now()));
                    let woken = yielders.runs.load(Ordering::SeqCst);
                    longest = longest.max(woken.saturating_sub(witness.join().unwrap()));
                }
                longest
            });
            yielders.end();
            assert!(
                longest <= 2 * TURN_RUNS_MAX,
                "a sleeper was woken {longest} runs late"
            );
        });
    }
}

/// Promise 33. What another thread unparks or spawns comes in within one turn.
#[test]
fn work_from_outside_is_not_starved_by_local_work() {
    for full_stealing in [false, true] {
        within(LIMIT, "unparks and spawns beside yielders", || {
            let runtime = runtime(1, full_stealing);
            let yielders = Yielders::start(&runtime, 2);
            for round in 0..200 {
                let come = Arc::new(AtomicUsize::new(usize::MAX));
                let note = {
                    let (come, runs) = (come.clone(), yielders.runs.clone());
                    move || come.store(runs.load(Ordering::SeqCst), Ordering::SeqCst)
                };
                let given = if round % 2 == 0 {
                    let parked = Arc::new(AtomicBool::new(false));
                    let waiter = runtime.spawn({
                        let parked = parked.clone();
                        move || {
                            parked.store(true, Ordering::SeqCst);
                            withy::park();
                            note();
                        }
                    });
                    until(|| parked.load(Ordering::SeqCst));
                    // It is past its store, and parks before any yielder runs again.
                    let run = yielders.runs.load(Ordering::SeqCst);
                    until(|| yielders.runs.load(Ordering::SeqCst) > run);
                    waiter.coroutine().unpark();
                    yielders.runs.load(Ordering::SeqCst)
                } else {
                    runtime.spawn(note);
                    yielders.runs.load(Ordering::SeqCst)
                };
                until(|| come.load(Ordering::SeqCst) != usize::MAX);
                let runs = come.load(Ordering::SeqCst).saturating_sub(given);
                assert!(
                    runs <= TURN_RUNS_MAX + QUEUE_RUNS + 8,
                    "round {round}: {runs} runs late"
                );
            }
            yielders.end();
        });
    }
}

/// Promise 34. Two that keep waking each other run from the LIFO slot, at most three times in a row.
#[test]
fn two_that_ping_pong_do_not_starve_a_third() {
    for full_stealing in [false, true] {
        within(LIMIT, "a third beside a ping-pong", || {
            let runtime = runtime(1, full_stealing);
            let runs = Arc::new(AtomicUsize::new(0));
            let stop = Arc::new(AtomicBool::new(false));
            let longest = runtime.run(|| {
                // Strictly in turn, so that each wake-up finds a parked peer and takes the LIFO slot.
                let player = |me: usize, peer: Arc<OnceLock<withy::Coroutine>>| {
                    let (runs, stop) = (runs.clone(), stop.clone());
                    withy::spawn(move || {
                        withy::park();
                        while !stop.load(Ordering::SeqCst) {
                            if runs.load(Ordering::SeqCst) % 2 == me {
                                runs.fetch_add(1, Ordering::SeqCst);
                                peer.get().expect("set before the start").unpark();
                            }
                            withy::park();
                        }
                    })
                };
                let peers = [const { OnceLock::new() }; 2].map(Arc::new);
                let players = [player(0, peers[0].clone()), player(1, peers[1].clone())];
                peers[0].set(players[1].coroutine()).unwrap();
                peers[1].set(players[0].coroutine()).unwrap();
                // Both are parked before the first ball.
                (0..40).for_each(|_| withy::yield_now());
                players[0].coroutine().unpark();
                let mut longest = 0;
                for _ in 0..500 {
                    let before = runs.load(Ordering::SeqCst);
                    withy::yield_now();
                    longest = longest.max(runs.load(Ordering::SeqCst) - before);
                }
                stop.store(true, Ordering::SeqCst);
                players
                    .iter()
                    .for_each(|player| player.coroutine().unpark());
                players
                    .into_iter()
                    .for_each(|player| player.join().unwrap());
                longest
            });
            assert!(
                (1..=8).contains(&longest),
                "the third waited for {longest} runs"
            );
        });
    }
}

/// Promise 34. Neither new nor woken work starves: local queue and deque take turns of 16 runs.
#[test]
fn a_family_that_spawns_without_end_does_not_starve_a_woken_neighbour() {
    for full_stealing in [false, true] {
        within(LIMIT, "a neighbour of endless spawns", || {
            let runtime = runtime(1, full_stealing);
            let spawned = Arc::new(AtomicUsize::new(0));
            let stop = Arc::new(AtomicBool::new(false));
            fn breed(spawned: Arc<AtomicUsize>, stop: Arc<AtomicBool>) {
                spawned.fetch_add(1, Ordering::SeqCst);
                if !stop.load(Ordering::SeqCst) {
                    withy::spawn(move || breed(spawned, stop));
                }
            }
            let longest = runtime.run(|| {
                withy::spawn({
                    let (spawned, stop) = (spawned.clone(), stop.clone());
                    move || breed(spawned, stop)
                });
                let mut longest = 0;
                for _ in 0..500 {
                    let before = spawned.load(Ordering::SeqCst);
                    withy::yield_now();
                    longest = longest.max(spawned.load(Ordering::SeqCst) - before);
                }
                stop.store(true, Ordering::SeqCst);
                longest
            });
            assert!(
                (1..=QUEUE_RUNS + 4).contains(&longest),
                "the neighbour waited for {longest} generations"
            );
        });
    }
}

/// Promise 39. A reader whose peer never stops sending leaves its neighbours their turns.
#[test]
fn an_always_ready_socket_does_not_starve_its_neighbours() {
    for full_stealing in [false, true] {
        within(LIMIT, "a socket beside a flood", || {
            let runtime = runtime(1, full_stealing);
            let (mut flooded, mut flood) = pair();
            let stop = Arc::new(AtomicBool::new(false));
            let source = std::thread::spawn(move || while flood.write(&[1; 65536]).is_ok() {});
            let reads = Arc::new(AtomicUsize::new(0));
            let drain = runtime.spawn({
                let (reads, stop) = (reads.clone(), stop.clone());
                move || {
                    while !stop.load(Ordering::SeqCst) {
                        assert!(flooded.read(&mut [0; 16]).unwrap() > 0);
                        reads.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
            let (mut ours, mut peer) = pair();
            let fd = ours.as_raw_fd();
            let heard = Arc::new(AtomicUsize::new(usize::MAX));
            let neighbour = runtime.spawn({
                let (reads, heard) = (reads.clone(), heard.clone());
                move || {
                    while ours.read(&mut [0; 1]).unwrap() == 1 {
                        heard.store(reads.load(Ordering::SeqCst), Ordering::SeqCst);
                    }
                }
            });
            until(|| pollers_of(fd) == 1);
            let mut late = 0;
            for _ in 0..100 {
                heard.store(usize::MAX, Ordering::SeqCst);
                peer.write_all(b"x").unwrap();
                let written = reads.load(Ordering::SeqCst);
                until(|| heard.load(Ordering::SeqCst) != usize::MAX);
                let turns = heard.load(Ordering::SeqCst).saturating_sub(written) / CALLS_MAX;
                late += usize::from(turns > TURN_RUNS_MAX);
            }
            // As above, the kernel itself may be late.
            assert!(late <= 10, "{late} of 100 bytes were read late");
            drop(peer);
            neighbour.join().unwrap();
            stop.store(true, Ordering::SeqCst);
            drain.join().unwrap();
            source.join().unwrap();
        });
    }
}
