//! Sleeping: never early, never for ever, and nothing left behind.

mod rig;
mod support;

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rig::each_runtime;
use rig::process::status;
use support::sockets::pair;
use support::{Caller, LIMIT, matrix, within};
use withy::{Cancelled, timeout};

const MS: Duration = Duration::from_millis(1);

/// Promises 22 and 23. From 1 ns to 1 s none is early, and all end.
#[test]
fn sleeps_of_every_length_end_and_never_early() {
    matrix(LIMIT, "sleeps from 1 ns to 1 s", |case| {
        let lengths = (0..30).map(|power| Duration::from_nanos(1 << power));
        let sleepers: Vec<_> = lengths
            .chain([Duration::from_secs(1)])
            .map(|length| {
                case.spawn(move || {
                    let start = Instant::now();
                    withy::sleep(length);
                    assert!(start.elapsed() >= length, "{length:?}");
                    let start = Instant::now();
                    withy::park_timeout(length / 16);
                    assert!(start.elapsed() >= length / 16, "{length:?}");
                })
            })
            .collect();
        sleepers.into_iter().for_each(Caller::join);
    });
}

/// Promises 22 and 23. Many at once, again and again, of random lengths; parks with a limit between them, so that a timer is
/// moved to and fro.
#[test]
fn many_sleepers_at_once_all_wake_and_never_early() {
    each_runtime("10,000 sleepers", |runtime, label| {
        let woken = Arc::new(AtomicUsize::new(0));
        let sleepers: Vec<_> = (0..10_000)
            .map(|seed| {
                let woken = woken.clone();
                runtime.spawn(move || {
                    let mut random = fastrand::Rng::with_seed(seed);
                    for _ in 0..3 {
                        let length = Duration::from_nanos(random.u64(1..20_000_000));
                        let start = Instant::now();
                        withy::sleep(length);
                        let slept = start.elapsed();
                        assert!(slept >= length, "{slept:?} of {length:?}");
                        // Ends at once, and leaves a timer that is far off.
                        withy::current().unpark();
                        withy::park_timeout(Duration::from_secs(3600));
                    }
                    woken.fetch_add(1, Ordering::SeqCst);
                })
            })
            .collect();
        for sleeper in sleepers {
            sleeper.join().unwrap();
        }
        assert_eq!(woken.load(Ordering::SeqCst), 10_000, "{label}");
    });
}

/// Promise 22. A wake-up that is meant for a park does not end a later sleep, nor does a timer that was set for an earlier
/// wait.
#[test]
fn neither_permits_nor_old_timers_end_a_sleep() {
    matrix(LIMIT, "sleeps between wake-ups", |case| {
        let sleeper = case.spawn(|| {
            for round in 0..50 {
                // Left behind: a timer that comes in the middle of the sleep.
                withy::current().unpark();
                withy::park_timeout(Duration::from_micros(50));
                let start = Instant::now();
                withy::sleep(Duration::from_micros(300));
                assert!(start.elapsed() >= Duration::from_micros(300), "{round}");
                let start = Instant::now();
                let ended = timeout(Duration::from_micros(100), || withy::sleep(MS));
                assert!(ended.is_err());
                assert!(start.elapsed() >= Duration::from_micros(100), "{round}");
            }
        });
        for _ in 0..100 {
            sleeper.unpark();
            std::thread::sleep(Duration::from_micros(100));
        }
        sleeper.join();
    });
}

/// Bad input: nothing, now, and the past.
#[test]
fn what_is_over_is_not_waited_for() {
    matrix(LIMIT, "sleeps that are over", |case| {
        case.run(|| {
            withy::sleep(Duration::ZERO);
            withy::park_timeout(Duration::ZERO);
            withy::sleep_until(withy::now());
            withy::sleep_until(Instant::now());
            if let Some(past) = Instant::now().checked_sub(Duration::from_secs(10)) {
                withy::sleep_until(past);
            }
            let at = withy::now() + MS;
            withy::sleep_until(at);
            assert!(withy::now() >= at && Instant::now() >= at);
        });
    });
}

/// Bad input: a duration beyond any clock has no end, but a cancellation or a timeout ends it.
#[test]
fn a_sleep_without_an_end_can_be_ended() {
    each_runtime("endless sleeps", |runtime, label| {
        for length in [
            Duration::MAX,
            Duration::from_secs(1 << 40),
            Duration::from_nanos(u64::MAX),
        ] {
            let sleeper = runtime.spawn(move || withy::sleep(length));
            let parker = runtime.spawn(move || withy::park_timeout(length));
            runtime.run(|| {
                withy::yield_now();
                assert!(timeout(MS, || withy::sleep(length)).is_err(), "{label}");
            });
            sleeper.cancel();
            parker.cancel();
            assert!(sleeper.join().unwrap_err().is::<Cancelled>(), "{label}");
            assert!(parker.join().unwrap_err().is::<Cancelled>(), "{label}");
        }
    });
    within(LIMIT, "endless sleeps of a thread", || {
        assert!(timeout(MS, || withy::sleep(Duration::MAX)).is_err());
    });
}

/// Promise 30. A million timeouts that are set and go unused, and as many waits that end early, leave no memory; nor do
/// those that elapse, coroutines that come and go with timers of their own, or a plain thread's.
#[test]
fn a_million_timers_leave_no_memory_behind() {
    const TEST: &str = "a_million_timers_leave_no_memory_behind";
    if !rig::child::alone(TEST, &[]) {
        return;
    }
    within(LIMIT * 2, "a million timers", || {
        for full_stealing in [false, true] {
            let runtime = support::runtime(2, full_stealing);
            let round = |times: u32| {
                runtime.run(|| {
                    for n in 0..times {
                        let far = Duration::from_secs(1 + u64::from(n));
                        let set = timeout(far, || {
                            withy::current().unpark();
                            withy::park_timeout(far);
                        });
                        assert!(set.is_ok());
                        if n % 64 == 0 {
                            // One that has its timer armed when it is woken, and ends with it armed.
                            let child = withy::spawn(move || withy::park_timeout(far));
                            withy::yield_now();
                            child.coroutine().unpark();
                            child.join().unwrap();
                            assert!(timeout(Duration::ZERO, withy::park).is_err());
                        }
                    }
                });
            };
            round(50_000);
            let before = status("VmRSS");
            round(500_000);
            let after = status("VmRSS");
            assert!(after < before + 4_000, "{before} KiB, then {after} KiB");
        }
    });
}

/// Promise 30. Nor does what nobody's result does in its destructor, when the coroutine has all but ended.
#[test]
fn a_result_that_waits_when_it_is_dropped_leaves_no_timer() {
    struct Waits;
    impl Drop for Waits {
        fn drop(&mut self) {
            let me = withy::current();
            let waker = withy::spawn(move || me.unpark());
            // Ends early, and leaves the timer armed.
            withy::park_timeout(Duration::from_millis(100));
            waker.join().unwrap();
        }
    }
    const TEST: &str = "a_result_that_waits_when_it_is_dropped_leaves_no_timer";
    if !rig::child::alone(TEST, &[]) {
        return;
    }
    within(LIMIT, "results that wait", || {
        for full_stealing in [false, true] {
            let runtime = support::runtime(1, full_stealing);
            let round = |times: u32| {
                runtime.run(|| {
                    for _ in 0..times {
                        drop(withy::spawn(|| Waits));
                        for _ in 0..4 {
                            withy::yield_now();
                        }
                    }
                });
            };
            round(5_000);
            let before = status("VmRSS");
            round(50_000);
            // What was left in a wheel would be found by now, though its coroutine has gone.
            runtime.run(|| withy::sleep(Duration::from_millis(150)));
            let after = status("VmRSS");
            assert!(after < before + 400, "{before} KiB, then {after} KiB");
        }
    });
}

/// Promise 30. Neither do waits on a socket that a plain thread or a coroutine gives up.
#[test]
fn reads_that_were_cut_short_leave_no_memory_behind() {
    const TEST: &str = "reads_that_were_cut_short_leave_no_memory_behind";
    if !rig::child::alone(TEST, &[]) {
        return;
    }
    within(LIMIT, "reads that are cut short", || {
        let runtime = support::runtime(1, false);
        for coroutine in [true, false] {
            let (mut ours, _peer) = pair();
            let mut round = |times: u32| {
                let mut reads = || {
                    for _ in 0..times {
                        let read = timeout(Duration::ZERO, || ours.read(&mut [0; 1]));
                        assert!(read.is_err());
                    }
                };
                match coroutine {
                    true => runtime.run(&mut reads),
                    false => reads(),
                }
            };
            round(5_000);
            let before = status("VmRSS");
            round(40_000);
            let after = status("VmRSS");
            assert!(
                after < before + 300,
                "coroutine {coroutine}: {before} KiB, then {after} KiB"
            );
        }
    });
}
