//! Cancellation and code that unwinds: destructors that wait, panics, and neighbours in the middle of theirs.

use std::io::{ErrorKind, Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use withy::{CancelToken, JoinHandle, Runtime};

use crate::rig::child::alone;
use crate::rig::endings::{Flag, OnDrop, assert_cancelled};
use crate::rig::{each_runtime, text_of, until};
use crate::support::sockets::{narrow_pair, pair};
use crate::support::{self, LIMIT, within};

/// Promise 53. What a fresh coroutine's closure owns may wait in its destructor, as in one that has started; I/O that would
/// wait gives up.
#[test]
fn destructors_of_a_closure_that_never_ran_may_wait() {
    for full_stealing in [false, true] {
        within(LIMIT, "closures that wait when dropped", || {
            let runtime = support::runtime(1, full_stealing);
            let (mut silent, _peer) = pair();
            let outcome = Arc::new(Mutex::new(None));
            let owned = OnDrop({
                let outcome = outcome.clone();
                move || {
                    withy::sleep(Duration::from_millis(1));
                    withy::yield_now();
                    assert_eq!(withy::spawn(|| 5).join().unwrap(), 5);
                    *outcome.lock().unwrap() = Some(silent.read(&mut [0; 1]));
                }
            });
            runtime.run(|| {
                let fresh = withy::spawn(move || drop(owned));
                fresh.cancel();
                assert_cancelled(fresh, "fresh");
            });
            let read = outcome.lock().unwrap().take().expect("the destructor ran");
            assert_eq!(read.unwrap_err().kind(), ErrorKind::TimedOut);
        });
    }
}

/// Promise 53. A cancellation never starts a second unwinding: the payload stays the panic's, and the destructor that
/// waits goes on waiting.
#[test]
fn a_coroutine_that_unwinds_from_a_panic_is_not_cancelled() {
    each_runtime("a panic that is cancelled", |runtime, label| {
        let (unwinding, release, waited) = (Flag::default(), Flag::default(), Flag::default());
        let panicking = runtime.spawn({
            let (unwinding, release, waited) = (unwinding.clone(), release.clone(), waited.clone());
            move || {
                let _waits = OnDrop(|| {
                    unwinding.set();
                    release.wait();
                    withy::yield_now();
                    assert_eq!(withy::spawn(|| 4).join().unwrap(), 4);
                    waited.set();
                });
                panic!("the first");
            }
        });
        unwinding.wait();
        panicking.cancel();
        release.set();
        let payload = panicking.join().unwrap_err();
        assert_eq!(text_of(&*payload), "the first", "{label}");
        assert!(waited.is_set(), "{label}");
        assert!(runtime.run(|| !std::thread::panicking()), "{label}");
    });
}

/// Promise 28. A neighbour that waits in the middle of its unwinding keeps no cancellation from a coroutine that was
/// parked before it began to unwind.
#[test]
fn a_neighbour_in_mid_unwinding_delays_nobody_who_was_parked_before() {
    for full_stealing in [false, true] {
        within(LIMIT, "a cancellation beside an unwinding", || {
            let runtime = support::runtime(1, full_stealing);
            let (unwinding, release) = (Flag::default(), Flag::default());
            let parked: Vec<_> = (0..10).map(|_| runtime.spawn(withy::park)).collect();
            runtime.run(withy::yield_now);
            let neighbour = unwinding_until(&runtime, &unwinding, &release);
            unwinding.wait();
            parked.iter().for_each(JoinHandle::cancel);
            // The neighbour unwinds until all of them have ended.
            for parked in parked {
                assert_cancelled(parked, "parked before");
            }
            assert!(!neighbour.is_finished());
            release.set();
            assert_eq!(text_of(&*neighbour.join().unwrap_err()), "neighbour");
        });
    }
}

/// A coroutine that unwinds from a panic and waits in a destructor until `release`.
fn unwinding_until(runtime: &Runtime, unwinding: &Flag, release: &Flag) -> JoinHandle<()> {
    let (unwinding, release) = (unwinding.clone(), release.clone());
    runtime.spawn(move || {
        let _waits = OnDrop(|| {
            unwinding.set();
            release.wait();
        });
        panic!("neighbour");
    })
}

/// Promise 28. A coroutine that began to wait while a neighbour unwinds cannot tell whose unwinding it is: what is
/// withheld from it comes when that has ended, without a further wake-up.
#[test]
fn what_was_withheld_is_delivered_when_the_unwinding_ends() {
    for workers in [1, 2] {
        for full_stealing in [false, true] {
            within(LIMIT, "withheld cancellations", || {
                let runtime = support::runtime(workers, full_stealing);
                let (unwinding, release) = (Flag::default(), Flag::default());
                let neighbour = unwinding_until(&runtime, &unwinding, &release);
                unwinding.wait();
                let started = Arc::new(AtomicUsize::new(0));
                let late: Vec<_> = (0..10)
                    .map(|n| {
                        let started = started.clone();
                        runtime.spawn(move || {
                            started.fetch_add(1, Ordering::SeqCst);
                            match n % 3 {
                                0 => withy::park(),
                                1 => withy::sleep(Duration::MAX),
                                _ => {
                                    _ = withy::timeout(Duration::ZERO, || {
                                        withy::park_timeout(Duration::MAX)
                                    })
                                }
                            }
                            withy::park();
                        })
                    })
                    .collect();
                until(|| started.load(Ordering::SeqCst) == 10);
                runtime.run(withy::yield_now);
                late.iter().for_each(JoinHandle::cancel);
                runtime.run(withy::yield_now);
                release.set();
                assert_eq!(text_of(&*neighbour.join().unwrap_err()), "neighbour");
                for late in late {
                    assert_cancelled(late, "began to wait later");
                }
            });
        }
    }
}

/// Promise 27. The same for timeouts and tokens; meanwhile what is waited for ends a wait as usual.
#[test]
fn frames_that_were_withheld_end_when_the_unwinding_ends() {
    for workers in [1, 2] {
        for full_stealing in [false, true] {
            within(LIMIT, "withheld frames", || {
                let runtime = support::runtime(workers, full_stealing);
                let (unwinding, release) = (Flag::default(), Flag::default());
                let neighbour = unwinding_until(&runtime, &unwinding, &release);
                unwinding.wait();
                let token = CancelToken::new();
                let woken = Arc::new(AtomicUsize::new(0));
                let bounded = runtime.spawn({
                    let woken = woken.clone();
                    move || {
                        withy::timeout(Duration::from_micros(10), || {
                            for _ in 0..5 {
                                withy::sleep(Duration::from_micros(100));
                                woken.fetch_add(1, Ordering::SeqCst);
                            }
                            withy::park();
                        })
                    }
                });
                let under_token = runtime.spawn({
                    let (token, woken) = (token.clone(), woken.clone());
                    move || {
                        token.run(|| {
                            woken.fetch_add(1, Ordering::SeqCst);
                            withy::park();
                        })
                    }
                });
                // With one worker they cannot be interrupted: the neighbour unwinds on their thread.
                let all = if workers == 1 { 6 } else { 1 };
                until(|| woken.load(Ordering::SeqCst) >= all);
                token.cancel();
                runtime.run(withy::yield_now);
                release.set();
                assert_eq!(text_of(&*neighbour.join().unwrap_err()), "neighbour");
                assert!(bounded.join().unwrap().is_err());
                assert!(under_token.join().unwrap().is_err());
            });
        }
    }
}

/// Promise 53. In a destructor of a cancellation I/O that would wait gives `TimedOut`, what is ready is done, and a
/// join, a sleep, a park and a flush wait as usual.
#[test]
fn destructors_of_a_cancellation_wait_but_not_for_sockets() {
    each_runtime(
        "waits in destructors of a cancellation",
        |runtime, label| {
            let (mut silent, _peer) = pair();
            let (mut full, _narrow_peer) = narrow_pair();
            let (mut farewell, mut far) = pair();
            let listener = withy::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let (reached, outcome) = (Flag::default(), Arc::new(Mutex::new(None)));
            let cancelled = runtime.spawn({
                let (reached, outcome) = (reached.clone(), outcome.clone());
                move || {
                    let _waits = OnDrop(|| {
                        let read = silent.read(&mut [0; 1]).map(drop);
                        let peeked = silent.peek(&mut [0; 1]).map(drop);
                        let accepted = listener.accept().map(drop);
                        let written = full.write_all(&[0; 1 << 22]);
                        farewell.write_all(b"bye").unwrap();
                        farewell.flush().unwrap();
                        withy::sleep(Duration::from_millis(1));
                        withy::yield_now();
                        assert_eq!(withy::spawn(|| 5).join().unwrap(), 5);
                        withy::current().unpark();
                        withy::park();
                        *outcome.lock().unwrap() = Some([read, peeked, accepted, written]);
                    });
                    reached.set();
                    withy::park();
                }
            });
            reached.wait();
            runtime.run(withy::yield_now);
            cancelled.cancel();
            assert_cancelled(cancelled, label);
            let outcome = outcome.lock().unwrap().take().expect("the destructor ran");
            for result in outcome {
                assert_eq!(result.unwrap_err().kind(), ErrorKind::TimedOut, "{label}");
            }
            let mut last = String::new();
            far.read_to_string(&mut last).unwrap();
            assert_eq!(last, "bye", "{label}");
        },
    );
}

/// Promise 53. So does I/O inside `no_park`, where a panic would be the second one and end the process.
#[test]
fn io_in_a_destructor_inside_no_park_gives_up() {
    if !alone(
        "cancel_unwinding::io_in_a_destructor_inside_no_park_gives_up",
        &[],
    ) {
        return;
    }
    each_runtime("I/O where nothing may park", |runtime, label| {
        let (mut silent, _peer) = pair();
        let outcome = Arc::new(Mutex::new(None));
        let running = Flag::default();
        let cancelled = runtime.spawn({
            let (outcome, running) = (outcome.clone(), running.clone());
            move || {
                let _reads = OnDrop(move || {
                    let read = withy::no_park(|| silent.read(&mut [0; 1]));
                    *outcome.lock().unwrap() = Some(read);
                });
                running.set();
                loop {
                    withy::park();
                }
            }
        });
        running.wait();
        cancelled.cancel();
        assert_cancelled(cancelled, label);
        let read = outcome.lock().unwrap().take().expect("the destructor ran");
        assert_eq!(read.unwrap_err().kind(), ErrorKind::TimedOut, "{label}");
    });
}
