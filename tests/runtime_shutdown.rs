//! The end of a runtime: what unwinds, what it leaves behind, and what may race with it.

mod rig;
mod support;

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rig::process::{descriptors, mappings, tasks, threads_named};
use rig::{Drops, each_runtime, stress_rounds, until};
use support::sockets::pair;
use support::{LIMIT, runtime, within};

fn all_modes(body: impl Fn(usize, bool)) {
    for workers in [1, 2, 8] {
        for full_stealing in [false, true] {
            body(workers, full_stealing);
        }
    }
}

/// Promise 55. Whatever a coroutine waits for, the end of the runtime unwinds it, with every destructor.
#[test]
fn shutdown_unwinds_whatever_coroutines_wait_for() {
    static DROPPED: AtomicUsize = AtomicUsize::new(0);
    all_modes(|workers, full_stealing| {
        within(LIMIT, "the end of waiting coroutines", || {
            DROPPED.store(0, Ordering::SeqCst);
            let runtime = runtime(workers, full_stealing);
            let started = Arc::new(AtomicUsize::new(0));
            let (mut reader, _peer) = pair();
            let (mut writer, _other_peer) = pair();
            let listener = withy::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let waits: [Box<dyn FnOnce() + Send>; 8] = [
                Box::new(withy::park),
                Box::new(|| withy::park_timeout(Duration::from_secs(3600))),
                Box::new(|| withy::sleep(Duration::MAX)),
                // The child may be unwound first, on another worker; then the next join meets the end.
                Box::new(|| {
                    loop {
                        drop(withy::spawn(withy::park).join());
                    }
                }),
                Box::new(move || drop(reader.read(&mut [0; 1]))),
                Box::new(move || while writer.write(&[0; 65536]).is_ok() {}),
                Box::new(move || drop(listener.accept())),
                Box::new(|| {
                    loop {
                        withy::yield_now();
                    }
                }),
            ];
            let handles = waits.map(|wait| {
                let started = started.clone();
                runtime.spawn(move || {
                    let _outer = Drops(&DROPPED);
                    let inner = || {
                        let _inner = Drops(&DROPPED);
                        started.fetch_add(1, Ordering::SeqCst);
                        wait();
                        unreachable!("it waits for ever");
                    };
                    inner();
                })
            });
            until(|| started.load(Ordering::SeqCst) == 8);
            runtime.shutdown(LIMIT).unwrap();
            assert_eq!(DROPPED.load(Ordering::SeqCst), 16);
            for handle in handles {
                let payload = handle.join().map(drop).unwrap_err();
                assert!(!rig::text_of(&*payload).contains("unreachable"));
            }
        });
    });
}

/// Promise 55. Once the end has begun a builder's spawn says so, in a scope too; a bare one, which destructors use, gives
/// a handle that does.
#[test]
fn a_spawn_that_comes_too_late_is_told() {
    all_modes(|workers, full_stealing| {
        within(LIMIT, "spawns after the end has begun", || {
            let runtime = runtime(workers, full_stealing);
            let (held, ending) = (
                Arc::new(AtomicBool::new(false)),
                Arc::new(AtomicBool::new(false)),
            );
            let late = runtime.spawn({
                let (held, ending) = (held.clone(), ending.clone());
                move || {
                    held.store(true, Ordering::SeqCst);
                    // No blocking call, so that the end does not unwind it.
                    while !ending.load(Ordering::SeqCst) {
                        std::hint::spin_loop();
                    }
                    let refused = withy::Builder::new().spawn(|| ()).unwrap_err();
                    let scoped = withy::scope(|s| {
                        let builder = withy::Builder::new();
                        builder.spawn_scoped(s, || ()).unwrap_err()
                    });
                    (refused, scoped, withy::spawn(|| ()))
                }
            });
            until(|| held.load(Ordering::SeqCst));
            let leftover = runtime.shutdown(Duration::ZERO).unwrap_err();
            assert_eq!(leftover.kind(), ErrorKind::TimedOut);
            ending.store(true, Ordering::SeqCst);
            let (refused, scoped, handle) = late.join().unwrap();
            for error in [refused, scoped] {
                assert_eq!(error.kind(), ErrorKind::Other);
                assert!(error.to_string().contains("is shutting down"), "{error}");
            }
            assert!(handle.join().unwrap_err().is::<withy::Cancelled>());
        });
    });
}

/// Promise 55. What has not started is dropped without being run, and its joiner is told.
#[test]
fn shutdown_drops_what_has_not_started() {
    static DROPPED: AtomicUsize = AtomicUsize::new(0);
    within(LIMIT, "fresh coroutines at the end", || {
        let runtime = runtime(1, false);
        let (held, release) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicBool::new(false)),
        );
        let blocker = runtime.spawn({
            let (held, release) = (held.clone(), release.clone());
            move || {
                held.store(true, Ordering::SeqCst);
                // Holds the worker, so that nothing else starts before the end has begun.
                while !release.load(Ordering::SeqCst) {
                    std::hint::spin_loop();
                }
            }
        });
        until(|| held.load(Ordering::SeqCst));
        let ran = Arc::new(AtomicUsize::new(0));
        let fresh: Vec<_> = (0..100)
            .map(|_| {
                let (ran, owned) = (ran.clone(), Drops(&DROPPED));
                runtime.spawn(move || {
                    let _owned = owned;
                    ran.fetch_add(1, Ordering::SeqCst);
                })
            })
            .collect();
        assert_eq!(
            runtime.shutdown(Duration::ZERO).unwrap_err().kind(),
            ErrorKind::TimedOut
        );
        release.store(true, Ordering::SeqCst);
        blocker.join().unwrap();
        for handle in fresh {
            assert!(handle.join().is_err());
        }
        assert_eq!(
            (ran.load(Ordering::SeqCst), DROPPED.load(Ordering::SeqCst)),
            (0, 100)
        );
    });
}

/// Promise 55. A coroutine that does not end is reported within the limit, and served until it ends after all.
#[test]
fn shutdown_reports_what_does_not_end_within_its_limit() {
    within(LIMIT, "a coroutine that holds its worker", || {
        let runtime = withy::Runtime::builder()
            .workers(2)
            .name("stuck")
            .build()
            .unwrap();
        let (held, release) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicBool::new(false)),
        );
        let stuck = runtime.spawn({
            let (held, release) = (held.clone(), release.clone());
            move || {
                held.store(true, Ordering::SeqCst);
                while !release.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(1));
                }
                5
            }
        });
        until(|| held.load(Ordering::SeqCst));
        let error = runtime.shutdown(Duration::from_millis(20)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        let text = error.to_string();
        assert!(
            text.contains("1 coroutine") && text.contains("stuck"),
            "{text}"
        );
        release.store(true, Ordering::SeqCst);
        assert_eq!(stuck.join().unwrap(), 5);
        until(|| threads_named("stuck-worker").is_empty());
    });
}

/// Promise 55. Dropping does what `shutdown` does.
#[test]
fn dropping_a_runtime_waits_for_its_end() {
    static DROPPED: AtomicUsize = AtomicUsize::new(0);
    all_modes(|workers, full_stealing| {
        within(LIMIT, "a dropped runtime", || {
            DROPPED.store(0, Ordering::SeqCst);
            let runtime = runtime(workers, full_stealing);
            let started = Arc::new(AtomicUsize::new(0));
            for _ in 0..50 {
                let started = started.clone();
                runtime.spawn(move || {
                    let _owned = Drops(&DROPPED);
                    started.fetch_add(1, Ordering::SeqCst);
                    withy::park();
                });
            }
            until(|| started.load(Ordering::SeqCst) == 50);
            drop(runtime);
            assert_eq!(DROPPED.load(Ordering::SeqCst), 50);
        });
    });
}

/// The "dropping a runtime from inside one of its coroutines": it ends without waiting for itself.
#[test]
fn a_runtime_may_be_dropped_inside_one_of_its_coroutines() {
    all_modes(|workers, full_stealing| {
        within(LIMIT, "a runtime that drops itself", || {
            let runtime = Arc::new(runtime(workers, full_stealing));
            let neighbour = runtime.spawn(withy::park);
            let dropped = Arc::new(AtomicBool::new(false));
            let last = runtime.spawn({
                let (held, dropped) = (runtime.clone(), dropped.clone());
                move || {
                    until(|| Arc::strong_count(&held) == 1);
                    drop(held);
                    dropped.store(true, Ordering::SeqCst);
                    // The end has begun: the next wait unwinds.
                    withy::park();
                }
            });
            drop(runtime);
            assert!(last.join().is_err());
            assert!(neighbour.join().is_err());
            assert!(dropped.load(Ordering::SeqCst));
        });
    });
}

/// Promise 56.
#[test]
fn two_runtimes_live_side_by_side() {
    all_modes(|workers, full_stealing| {
        within(LIMIT, "two runtimes", || {
            let (one, two) = (runtime(workers, full_stealing), runtime(2, false));
            // A coroutine of one joins a coroutine of the other, and is unparked from there.
            let answer = two.spawn(|| {
                withy::park();
                42
            });
            let waiting = answer.coroutine();
            let joiner = one.spawn(move || {
                waiting.unpark();
                answer.join().unwrap()
            });
            assert_eq!(joiner.join().unwrap(), 42);
            // The end of one does not touch the other.
            let parked = two.spawn(withy::park);
            drop(one);
            parked.coroutine().unpark();
            parked.join().unwrap();
            assert_eq!(two.run(|| withy::spawn(|| 1).join().unwrap()), 1);
        });
    });
}

/// Promise 56. A coroutine of one runtime may build, use and end another.
#[test]
fn a_runtime_may_live_and_end_inside_a_coroutine_of_another() {
    each_runtime("a nested runtime", |outer, _| {
        let sum = outer.run(|| {
            let inner = runtime(2, false);
            let child = inner.spawn(|| 20);
            let parked = inner.spawn(withy::park);
            let value = inner.run(|| 22) + child.join().unwrap();
            inner.shutdown(LIMIT).unwrap();
            assert!(parked.join().is_err());
            value
        });
        assert_eq!(sum, 42);
    });
}

/// Promise 56. A thousand starts and stops, with work in between, leave threads, descriptors, mappings and memory as
/// they were.
#[test]
fn starting_and_stopping_a_thousand_times_leaks_nothing() {
    const TEST: &str = "starting_and_stopping_a_thousand_times_leaks_nothing";
    if !rig::child::alone(TEST, &[]) {
        return;
    }
    within(LIMIT * 2, "1,000 runtimes", || {
        let cycle = |round: usize| {
            let runtime = runtime(1 + round % 3, round.is_multiple_of(2));
            let parked = runtime.spawn(withy::park);
            let (mut ours, mut peer) = pair();
            let echo = runtime.spawn(move || {
                let mut byte = [0];
                ours.read_exact(&mut byte).unwrap();
                ours.write_all(&byte).unwrap();
                // Blocked at the end.
                let _ = ours.read(&mut byte);
            });
            peer.write_all(b"x").unwrap();
            peer.read_exact(&mut [0]).unwrap();
            let ended = runtime.shutdown(LIMIT);
            assert!(ended.is_ok(), "round {round}: {ended:?}");
            assert!(parked.join().is_err() && echo.join().is_err());
        };
        // Before the first ones: the kernel may list a thread for a moment after it was joined. One that stays fails by
        // the time limit.
        let threads = tasks().len();
        let until_all_left = || rig::until(|| tasks().len() == threads);
        (0..50).for_each(cycle);
        until_all_left();
        let before = (
            tasks().len(),
            descriptors(),
            mappings(),
            rig::process::status("VmRSS"),
        );
        (0..1_000).for_each(cycle);
        until_all_left();
        let after = (
            tasks().len(),
            descriptors(),
            mappings(),
            rig::process::status("VmRSS"),
        );
        assert_eq!(
            (before.0, before.1),
            (after.0, after.1),
            "threads and descriptors"
        );
        // The allocator keeps arenas of threads that have ended; 1,000 leaked runtimes would be 1,000 of each.
        assert!(
            after.2 < before.2 + 100,
            "{} mappings, then {}",
            before.2,
            after.2
        );
        assert!(
            after.3 < before.3 + 20_000,
            "{} KiB, then {}",
            before.3,
            after.3
        );
    });
}

/// Promise 55. A spawn that races with the end either runs or is refused through its handle; its closure is dropped
/// exactly once.
#[test]
fn stress_spawns_that_race_with_the_end_are_run_or_refused() {
    all_modes(|workers, full_stealing| {
        for _ in 0..10 * stress_rounds() {
            within(LIMIT, "spawns at the end", || {
                let dropped = Arc::new(AtomicUsize::new(0));
                struct Counted(Arc<AtomicUsize>);
                impl Drop for Counted {
                    fn drop(&mut self) {
                        self.0.fetch_add(1, Ordering::SeqCst);
                    }
                }
                let runtime = Arc::new(runtime(workers, full_stealing));
                let begun = Arc::new(AtomicBool::new(false));
                let spawner = std::thread::spawn({
                    let (runtime, dropped, begun) =
                        (runtime.clone(), dropped.clone(), begun.clone());
                    move || {
                        let mut handles = Vec::new();
                        for _ in 0..500 {
                            let owned = Counted(dropped.clone());
                            handles.push(runtime.spawn(move || {
                                let _owned = owned;
                                withy::yield_now();
                                let grandchild = withy::spawn(|| 1);
                                let _ = grandchild.join();
                            }));
                            begun.store(true, Ordering::SeqCst);
                        }
                        drop(runtime);
                        handles
                    }
                });
                until(|| begun.load(Ordering::SeqCst));
                // Dropped inside a coroutine: it begins the end while the thread still spawns.
                let inside = runtime.clone();
                let ender = runtime.spawn(move || drop(inside));
                drop(runtime);
                let handles = spawner.join().unwrap();
                let _ = ender.join();
                assert_eq!(handles.len(), 500);
                for handle in handles {
                    // Ends, one way or the other.
                    let _ = handle.join();
                }
                assert_eq!(dropped.load(Ordering::SeqCst), 500);
            });
        }
    });
}

/// Promise 55. In full stealing a coroutine may end on another worker than the one in whose list it stands, which may
/// sleep by then and must be told.
#[test]
fn stress_a_runtime_ends_wherever_its_last_coroutines_do() {
    for workers in [2, 8] {
        for _ in 0..20 + 10 * stress_rounds() {
            within(LIMIT, "coroutines that end away from home", || {
                let runtime = runtime(workers, true);
                let started = Arc::new(AtomicUsize::new(0));
                for _ in 0..2 * workers {
                    let started = started.clone();
                    runtime.spawn(move || {
                        started.fetch_add(1, Ordering::SeqCst);
                        loop {
                            // Queued for whoever comes, and long enough to be stolen.
                            for _ in 0..100 {
                                std::hint::spin_loop();
                            }
                            withy::yield_now();
                        }
                    });
                }
                until(|| started.load(Ordering::SeqCst) == 2 * workers);
                runtime.shutdown(LIMIT / 2).unwrap();
            });
        }
    }
}

/// Promise 55. Unparks and I/O that race with the end are safe: nothing is touched that has gone.
#[test]
fn stress_unparks_and_bytes_that_race_with_the_end_are_safe() {
    all_modes(|workers, full_stealing| {
        for _ in 0..10 * stress_rounds() {
            within(LIMIT, "unparks at the end", || {
                let runtime = runtime(workers, full_stealing);
                let parked: Vec<_> = (0..50)
                    .map(|_| {
                        runtime.spawn(|| {
                            loop {
                                withy::park();
                            }
                        })
                    })
                    .collect();
                let handles: Vec<_> = parked.iter().map(|waiter| waiter.coroutine()).collect();
                let (mut ours, mut peer) = pair();
                let reader =
                    runtime.spawn(move || while ours.read(&mut [0; 64]).is_ok_and(|n| n > 0) {});
                let stop = Arc::new(AtomicBool::new(false));
                let wakers: Vec<_> = (0..2)
                    .map(|_| {
                        let (handles, stop) = (handles.clone(), stop.clone());
                        std::thread::spawn(move || {
                            while !stop.load(Ordering::SeqCst) {
                                handles.iter().for_each(withy::Coroutine::unpark);
                            }
                        })
                    })
                    .collect();
                let writer = std::thread::spawn(move || while peer.write_all(b"bytes").is_ok() {});
                runtime.shutdown(LIMIT).unwrap();
                // The records are still held, by us and by the threads; then they go.
                assert!(parked.into_iter().all(|waiter| waiter.join().is_err()));
                stop.store(true, Ordering::SeqCst);
                wakers.into_iter().for_each(|waker| waker.join().unwrap());
                let _ = reader.join();
                writer.join().unwrap();
            });
        }
    });
}
