//! Destructors that wait while their coroutine unwinds, from a panic or from the end of its runtime.

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::rig::endings::OnDrop;
use crate::rig::{self, each_runtime, text_of, until};
use crate::support::sockets::pair;
use crate::support::{LIMIT, runtime, within};

/// Every wait that a destructor may make.
fn wait_in_every_way(waited: &AtomicUsize) {
    withy::yield_now();
    withy::sleep(Duration::from_millis(1));
    assert_eq!(withy::spawn(|| 5).join().map_err(|_| ()).unwrap_or(5), 5);
    withy::current().unpark();
    withy::park();
    withy::park_timeout(Duration::from_micros(100));
    waited.fetch_add(1, Ordering::SeqCst);
}

/// Promise 53. From a panic: every wait in the destructor works, and the panic arrives whole.
#[test]
fn destructors_may_wait_while_a_panic_unwinds() {
    each_runtime("waits in destructors of a panic", |runtime, label| {
        let waited = Arc::new(AtomicUsize::new(0));
        let failing: Vec<_> = (0..20)
            .map(|n| {
                let waited = waited.clone();
                runtime.spawn(move || {
                    let _waits = OnDrop(|| wait_in_every_way(&waited));
                    panic!("failure {n}");
                })
            })
            .collect();
        for (n, failing) in failing.into_iter().enumerate() {
            let payload = failing.join().unwrap_err();
            assert_eq!(text_of(&*payload), format!("failure {n}"), "{label}");
        }
        assert_eq!(waited.load(Ordering::SeqCst), 20, "{label}");
        assert!(runtime.run(|| !std::thread::panicking()), "{label}");
    });
}

/// Promise 53. From the end of the runtime: the same.
#[test]
fn destructors_may_wait_while_shutdown_unwinds() {
    for workers in [1, 2, 8] {
        for full_stealing in [false, true] {
            let what = format!("waits in destructors, {workers} workers, {full_stealing}");
            within(LIMIT, &what, || {
                let runtime = runtime(workers, full_stealing);
                let waited = Arc::new(AtomicUsize::new(0));
                let started = Arc::new(AtomicUsize::new(0));
                for _ in 0..20 {
                    let (waited, started) = (waited.clone(), started.clone());
                    runtime.spawn(move || {
                        let _waits = OnDrop(|| wait_in_every_way(&waited));
                        started.fetch_add(1, Ordering::SeqCst);
                        withy::park();
                    });
                }
                until(|| started.load(Ordering::SeqCst) == 20);
                runtime.shutdown(LIMIT / 2).unwrap();
                assert_eq!(waited.load(Ordering::SeqCst), 20);
            });
        }
    }
}

/// Promises 53 and 55. A neighbour that meets its end while another is in the middle of unwinding is not forgotten.
#[test]
fn a_wait_in_a_destructor_does_not_hide_the_end_from_neighbours() {
    for full_stealing in [false, true] {
        within(LIMIT, "neighbours of a destructor that waits", || {
            let runtime = runtime(1, full_stealing);
            let started = Arc::new(AtomicUsize::new(0));
            let ended = Arc::new(AtomicUsize::new(0));
            let neighbours: Vec<_> = (0..20)
                .map(|n| {
                    let (started, ended) = (started.clone(), ended.clone());
                    runtime.spawn(move || {
                        let _waits = OnDrop(|| {
                            // Some are in the middle of it until the others have ended.
                            until(|| n % 5 != 0 || ended.load(Ordering::SeqCst) == 16);
                            ended.fetch_add(usize::from(n % 5 != 0), Ordering::SeqCst);
                        });
                        started.fetch_add(1, Ordering::SeqCst);
                        withy::park();
                    })
                })
                .collect();
            until(|| started.load(Ordering::SeqCst) == 20);
            runtime.shutdown(Duration::from_secs(20)).unwrap();
            assert!(
                neighbours
                    .into_iter()
                    .all(|neighbour| neighbour.join().is_err())
            );
        });
    }
}

/// Promise 53. A neighbour's panic, catch and `panicking` are its own while another waits in a destructor.
#[test]
fn a_neighbour_of_an_unwinding_coroutine_may_panic_too() {
    each_runtime("panics side by side", |runtime, label| {
        let pairs: Vec<_> = (0..10)
            .map(|n| {
                runtime.spawn(move || {
                    let _waits = OnDrop(|| {
                        for _ in 0..5 {
                            let inner = std::panic::catch_unwind(|| panic!("inner"));
                            assert_eq!(text_of(&*inner.unwrap_err()), "inner");
                            withy::yield_now();
                        }
                    });
                    withy::yield_now();
                    panic!("outer {n}");
                })
            })
            .collect();
        for (n, failing) in pairs.into_iter().enumerate() {
            let payload = failing.join().unwrap_err();
            assert_eq!(text_of(&*payload), format!("outer {n}"), "{label}");
        }
        assert!(runtime.run(|| !std::thread::panicking()), "{label}");
    });
}

/// Promise 53. I/O that would wait during the unwinding of an end gives up at once; what is ready is done.
#[test]
fn io_in_a_destructor_at_the_end_fails_instead_of_waiting() {
    for workers in [1, 2] {
        for full_stealing in [false, true] {
            within(LIMIT, "reads in destructors at the end", || {
                let runtime = runtime(workers, full_stealing);
                let (mut silent, _peer) = pair();
                let (mut farewell, mut far) = pair();
                let parked = Arc::new(AtomicBool::new(false));
                let outcome = Arc::new(std::sync::Mutex::new(None));
                runtime.spawn({
                    let (parked, outcome) = (parked.clone(), outcome.clone());
                    move || {
                        let _flush = OnDrop(|| {
                            let read = silent.read(&mut [0; 1]);
                            let written = farewell.write_all(b"bye");
                            *outcome.lock().unwrap() = Some((read, written));
                        });
                        parked.store(true, Ordering::SeqCst);
                        withy::park();
                    }
                });
                until(|| parked.load(Ordering::SeqCst));
                let start = Instant::now();
                runtime.shutdown(LIMIT).unwrap();
                assert!(start.elapsed() < LIMIT);
                let (read, written) = outcome.lock().unwrap().take().expect("the destructor ran");
                assert_eq!(read.unwrap_err().kind(), ErrorKind::TimedOut);
                written.unwrap();
                let mut last = String::new();
                far.read_to_string(&mut last).unwrap();
                assert_eq!(last, "bye");
            });
        }
    }
}

/// Promise 55. Code that swallows the unwinding meets it again at its next wait.
#[test]
fn an_end_that_is_swallowed_comes_again() {
    for workers in [1, 2] {
        for full_stealing in [false, true] {
            within(LIMIT, "a coroutine that swallows its end", || {
                let runtime = runtime(workers, full_stealing);
                let swallowed = Arc::new(AtomicUsize::new(0));
                runtime.spawn({
                    let swallowed = swallowed.clone();
                    move || {
                        for _ in 0..5 {
                            let _ = std::panic::catch_unwind(withy::park);
                            swallowed.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                });
                runtime.run(withy::yield_now);
                runtime.shutdown(LIMIT).unwrap();
                // None if it had not started by then.
                let times = swallowed.load(Ordering::SeqCst);
                assert!(times == 5 || times == 0, "{times}");
            });
        }
    }
}

/// The panic hook stays silent for unwindings that are no panics.
#[test]
fn an_end_is_no_panic_to_the_hook() {
    const TEST: &str = "unwinding::an_end_is_no_panic_to_the_hook";
    if !rig::child::alone(TEST, &[]) {
        return;
    }
    static HOOKED: AtomicUsize = AtomicUsize::new(0);
    std::panic::set_hook(Box::new(|_| _ = HOOKED.fetch_add(1, Ordering::SeqCst)));
    let runtime = runtime(2, false);
    let parked: Vec<_> = (0..10).map(|_| runtime.spawn(withy::park)).collect();
    runtime.shutdown(LIMIT).unwrap();
    assert!(parked.into_iter().all(|waiter| waiter.join().is_err()));
    assert_eq!(HOOKED.load(Ordering::SeqCst), 0);
}
