//! `park` and `unpark`: the permit, as std's threads have it, between coroutines and plain threads.

mod rig;
mod support;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rig::{each_runtime, stress_rounds, text_of, until};
use support::{LIMIT, within};

/// An `unpark` before the `park`, or before the first run, is kept.
#[test]
fn an_unpark_before_the_park_is_kept() {
    each_runtime("a permit given early", |runtime, _| {
        for _ in 0..50 {
            let waiter = runtime.spawn(withy::park);
            waiter.coroutine().unpark();
            waiter.join().unwrap();
        }
        runtime.run(|| {
            withy::current().unpark();
            withy::park();
        });
    });
    // A plain thread keeps it as well.
    within(LIMIT, "a thread's own permit", || {
        withy::current().unpark();
        withy::park();
    });
}

/// Many permits are one.
#[test]
fn permits_do_not_add_up() {
    each_runtime("a second park", |runtime, _| {
        runtime.run(|| {
            for _ in 0..3 {
                withy::current().unpark();
            }
            withy::park();
            let start = Instant::now();
            withy::park_timeout(Duration::from_millis(5));
            assert!(
                start.elapsed() >= Duration::from_millis(5),
                "a second permit was there"
            );
        });
    });
}

/// The runtime's own wake-ups (of a sleep, a join, a yield) neither take nor make a permit.
#[test]
fn waiting_for_something_else_keeps_the_permit_and_makes_none() {
    each_runtime("permits beside other waits", |runtime, _| {
        runtime.run(|| {
            withy::current().unpark();
            withy::sleep(Duration::from_millis(1));
            withy::spawn(withy::yield_now).join().unwrap();
            withy::yield_now();
            withy::park();

            withy::sleep(Duration::from_millis(1));
            withy::spawn(withy::yield_now).join().unwrap();
            let start = Instant::now();
            withy::park_timeout(Duration::from_millis(5));
            assert!(
                start.elapsed() >= Duration::from_millis(5),
                "a wake-up was left as a permit"
            );
        });
    });
}

/// A park ends by its permit and by nothing else: what runs beside it does not show.
#[test]
fn a_park_does_not_return_without_a_permit() {
    each_runtime("a park without permits", |runtime, label| {
        let returned = Arc::new(AtomicBool::new(false));
        let waiter = runtime.spawn({
            let returned = returned.clone();
            move || {
                withy::park();
                returned.store(true, Ordering::SeqCst);
            }
        });
        runtime.run(|| {
            for _ in 0..500 {
                withy::spawn(|| ()).join().unwrap();
            }
        });
        assert!(!returned.load(Ordering::SeqCst), "{label}");
        waiter.coroutine().unpark();
        waiter.join().unwrap();
    });
}

/// Without a permit it lasts the time given at least; with one it does not wait.
#[test]
fn park_timeout_ends_at_its_time_or_by_its_permit() {
    each_runtime("park_timeout", |runtime, _| {
        runtime.run(|| {
            for millis in [0, 1, 3] {
                let limit = Duration::from_millis(millis);
                let start = Instant::now();
                withy::park_timeout(limit);
                assert!(
                    start.elapsed() >= limit,
                    "{:?} of {limit:?}",
                    start.elapsed()
                );
            }
            withy::current().unpark();
            withy::park_timeout(LIMIT * 2);
        });
        // A time that no clock reaches is no time, and the permit ends it.
        let waiter = runtime.spawn(|| withy::park_timeout(Duration::MAX));
        waiter.coroutine().unpark();
        waiter.join().unwrap();
    });
}

/// A permit and the end of the time race: whichever ends the park, the permit is taken by it or left for the next.
#[test]
fn a_permit_that_races_the_timeout_is_not_lost() {
    each_runtime("racing permits", |runtime, label| {
        let waiter = runtime.spawn(|| {
            let mut taken = 0;
            for round in 0..100_u64 {
                withy::park_timeout(Duration::from_micros(round % 7 * 20));
                taken += 1;
            }
            // The last unpark leaves a permit, or this would hang.
            withy::park();
            taken
        });
        let handle = waiter.coroutine();
        while !waiter.is_finished() {
            handle.unpark();
            std::thread::yield_now();
        }
        assert_eq!(waiter.join().unwrap(), 100, "{label}");
    });
}

/// Memory that the waker wrote before `unpark` is seen after `park`.
#[test]
fn what_was_written_before_unpark_is_seen_after_park() {
    each_runtime("published values", |runtime, _| {
        for round in 1..200 {
            let value = Arc::new(AtomicUsize::new(0));
            let waiter = runtime.spawn({
                let value = value.clone();
                move || {
                    withy::park();
                    value.load(Ordering::Relaxed)
                }
            });
            value.store(round, Ordering::Relaxed);
            waiter.coroutine().unpark();
            assert_eq!(waiter.join().unwrap(), round);
        }
    });
}

/// Each pair of callers: two coroutines, a coroutine and a thread, two threads.
#[test]
fn coroutines_and_threads_unpark_each_other() {
    const ROUNDS: usize = 200;
    each_runtime("ping-pong", |runtime, label| {
        for threads in [[false, false], [false, true], [true, false], [true, true]] {
            let turns = Arc::new(AtomicUsize::new(0));
            let players = Arc::new([const { OnceLock::new() }; 2]);
            let ends = [0, 1].map(|me| {
                let (turns, players) = (turns.clone(), players.clone());
                let body = move || {
                    players[me].set(withy::current()).unwrap();
                    for turn in (me..2 * ROUNDS).step_by(2) {
                        while turns.load(Ordering::SeqCst) != turn {
                            withy::park();
                        }
                        until(|| players[1 - me].get().is_some());
                        turns.store(turn + 1, Ordering::SeqCst);
                        players[1 - me].get().unwrap().unpark();
                    }
                };
                if threads[me] {
                    let thread = std::thread::spawn(body);
                    Box::new(move || thread.join().unwrap()) as Box<dyn FnOnce()>
                } else {
                    let coroutine = runtime.spawn(body);
                    Box::new(move || coroutine.join().unwrap())
                }
            });
            ends.into_iter().for_each(|end| end());
            assert_eq!(turns.load(Ordering::SeqCst), 2 * ROUNDS, "{label}");
        }
    });
}

/// Promise 35. Each round finds the worker on its way to sleep or asleep, with and without a spin before.
#[test]
fn stress_no_wake_up_is_lost_between_an_empty_queue_and_sleep() {
    for spin in [Duration::ZERO, Duration::from_micros(50)] {
        for workers in [1, 2, 8] {
            within(
                LIMIT * 2,
                &format!("wake-ups, spin {spin:?}, {workers} workers"),
                || {
                    let runtime = withy::Runtime::builder()
                        .workers(workers)
                        .spin(spin)
                        .build()
                        .unwrap();
                    let seen = Arc::new(AtomicUsize::new(0));
                    let rounds = 3_000 * stress_rounds();
                    let me = withy::current();
                    let waiter = runtime.spawn({
                        let seen = seen.clone();
                        move || {
                            for round in 1..=rounds {
                                withy::park();
                                seen.store(round, Ordering::SeqCst);
                                me.unpark();
                            }
                        }
                    });
                    let handle = waiter.coroutine();
                    for round in 1..=rounds {
                        handle.unpark();
                        while seen.load(Ordering::SeqCst) < round {
                            withy::park();
                        }
                    }
                    waiter.join().unwrap();
                },
            );
        }
    }
}

/// Promise 35. The same for fresh coroutines, which any worker may take, from several threads at once.
#[test]
fn stress_no_spawn_from_outside_is_forgotten() {
    for workers in [1, 2, 8] {
        within(
            LIMIT * 2,
            &format!("spawns from threads, {workers} workers"),
            || {
                let runtime = support::runtime(workers, false);
                std::thread::scope(|scope| {
                    for _ in 0..4 {
                        scope.spawn(|| {
                            for n in 0..1_000 * stress_rounds() {
                                assert_eq!(runtime.spawn(move || n).join().unwrap(), n);
                            }
                        });
                    }
                });
            },
        );
    }
}

/// Never early, in a coroutine or on a thread, and zero is allowed.
#[test]
fn a_sleep_is_never_early() {
    each_runtime("sleeps", |runtime, label| {
        let sleepers: Vec<_> = (0..100_u64)
            .map(|n| {
                runtime.spawn(move || {
                    let wanted = Duration::from_micros(n * n);
                    let start = Instant::now();
                    withy::sleep(wanted);
                    (wanted, start.elapsed())
                })
            })
            .collect();
        for sleeper in sleepers {
            let (wanted, slept) = sleeper.join().unwrap();
            assert!(slept >= wanted, "slept {slept:?} of {wanted:?}, {label}");
        }
    });
    let start = Instant::now();
    withy::sleep(Duration::from_millis(2));
    assert!(start.elapsed() >= Duration::from_millis(2));
}

/// Permits that arrive meanwhile neither shorten a sleep nor are used up by it.
#[test]
fn an_unpark_does_not_end_a_sleep() {
    each_runtime("a sleep under unparks", |runtime, label| {
        let sleeper = runtime.spawn(|| {
            let start = Instant::now();
            withy::sleep(Duration::from_millis(5));
            let slept = start.elapsed();
            withy::park();
            slept
        });
        let handle = sleeper.coroutine();
        for _ in 0..20 {
            handle.unpark();
        }
        assert!(
            sleeper.join().unwrap() >= Duration::from_millis(5),
            "{label}"
        );
    });
}

/// Sleepers wake in the order of their times, whatever the order of their calls.
#[test]
fn sleepers_wake_in_the_order_of_their_deadlines() {
    within(LIMIT, "three sleepers", || {
        let runtime = support::runtime(1, false);
        for unit in (0..).map(|doublings| Duration::from_millis(10 << doublings)) {
            let (started, order) = (AtomicUsize::new(0), std::sync::Mutex::new(Vec::new()));
            let in_time = runtime.run(|| {
                let begin = withy::now();
                withy::scope(|s| {
                    for number in [3, 1, 2] {
                        let (started, order) = (&started, &order);
                        s.spawn(move || {
                            started.fetch_add(1, Ordering::SeqCst);
                            withy::sleep_until(begin + number * unit);
                            order.lock().unwrap().push(number);
                        });
                    }
                    while started.load(Ordering::SeqCst) < 3 {
                        withy::yield_now();
                    }
                    // All sleep, for they have this worker alone. Else the machine was slow: again, with more time.
                    withy::now() < begin + unit
                })
            });
            if in_time {
                assert_eq!(*order.lock().unwrap(), [1, 2, 3]);
                return;
            }
        }
    });
}

/// Every call that would suspend panics there, and says why; afterwards all is as before.
#[test]
fn no_park_panics_on_every_suspending_call() {
    each_runtime("no_park", |runtime, label| {
        let calls: [(&str, fn()); 5] = [
            ("park", || withy::park()),
            ("park_timeout", || {
                withy::park_timeout(Duration::from_secs(1))
            }),
            ("sleep", || withy::sleep(Duration::from_millis(1))),
            ("yield_now", || withy::yield_now()),
            ("join", || {
                withy::spawn(|| withy::sleep(Duration::from_millis(1)))
                    .join()
                    .unwrap();
            }),
        ];
        for (name, call) in calls {
            let child = runtime.spawn(move || {
                let payload = std::panic::catch_unwind(|| withy::no_park(call)).unwrap_err();
                withy::yield_now();
                text_of(&*payload).to_owned()
            });
            let text = child.join().unwrap();
            assert!(text.contains("no_park"), "{name}, {label}: {text}");
        }
        assert_eq!(runtime.run(|| withy::no_park(|| withy::no_park(|| 3))), 3);
    });
    assert_eq!(withy::no_park(|| 4), 4);
}

/// A permit that is there already is no reason to suspend.
#[test]
fn no_park_lets_through_what_does_not_suspend() {
    each_runtime("no_park without waiting", |runtime, _| {
        runtime.run(|| {
            withy::current().unpark();
            withy::no_park(withy::park);
            let ended = withy::spawn(|| 9);
            until(|| ended.is_finished());
            assert_eq!(withy::no_park(|| ended.join().unwrap()), 9);
        });
    });
}
