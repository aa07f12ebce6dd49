//! Monitors between coroutines and plain threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::Monitor;
use crate::{Runtime, Steal};

const SHORT: Duration = Duration::from_millis(10);
/// Guards against hanging, and nothing else.
const TOO_LONG: Duration = Duration::from_secs(30);

fn each_runtime(body: impl Fn(&Runtime)) {
    for workers in [1, 2, 8] {
        for full_stealing in [false, true] {
            let steal = if full_stealing {
                // SAFETY: what these tests hold over a blocking call is `Send` and not bound to a thread.
                unsafe { Steal::started() }
            } else {
                Steal::fresh()
            };
            let builder = Runtime::builder().workers(workers).steal(steal);
            body(&builder.build().expect("a runtime"));
        }
    }
}

/// Starts `body` as a coroutine or as a plain thread, in turn; the result waits for it, with a limit of time.
fn start(
    runtime: &Runtime,
    turn: usize,
    body: impl FnOnce() + Send + 'static,
) -> Box<dyn FnOnce()> {
    let (done, receiver) = std::sync::mpsc::channel();
    let body = move || {
        body();
        let _ = done.send(());
    };
    if turn.is_multiple_of(2) {
        runtime.spawn(body);
    } else {
        thread::spawn(body);
    }
    Box::new(move || {
        receiver
            .recv_timeout(TOO_LONG)
            .expect("every waiter is woken, and none panics");
    })
}

fn waiters<T>(monitor: &Monitor<T>) -> usize {
    monitor.guarded.lock().waiters.len()
}

fn until_waiting<T>(monitor: &Monitor<T>, number: usize) {
    let start = Instant::now();
    while waiters(monitor) != number {
        assert!(start.elapsed() < TOO_LONG, "waited for {number} waiters");
        thread::sleep(Duration::from_micros(100));
    }
}

/// Promises 6 and 41: a turn that goes round among coroutines and threads; a wake-up that is lost stops it.
#[test]
fn a_turn_goes_round() {
    const CALLERS: usize = 4;
    const ROUNDS: usize = 500;
    each_runtime(|runtime| {
        let turn = Arc::new(Monitor::new(0_usize));
        let callers: Vec<_> = (0..CALLERS)
            .map(|me| {
                let turn = Arc::clone(&turn);
                start(runtime, me, move || {
                    for _ in 0..ROUNDS {
                        turn.wait_until(None, |turn| (*turn % CALLERS == me).then_some(()));
                        turn.update(|turn| *turn += 1);
                    }
                })
            })
            .collect();
        callers.into_iter().for_each(|wait| wait());
        assert_eq!(turn.with(|turn| *turn), CALLERS * ROUNDS);
        assert_eq!(waiters(&turn), 0);
    });
}

/// Promises 29 and 41: what one update brings goes to one waiter each, whoever else gives up meanwhile.
#[test]
fn waiters_that_give_up_take_nothing_along() {
    const CALLERS: usize = 6;
    const TOKENS: usize = 300;
    each_runtime(|runtime| {
        let tokens = Arc::new(Monitor::new(0_usize));
        let taken = Arc::new(AtomicUsize::new(0));
        let callers: Vec<_> = (0..CALLERS)
            .map(|me| {
                let (tokens, taken) = (Arc::clone(&tokens), Arc::clone(&taken));
                start(runtime, me, move || {
                    while taken.load(Ordering::Relaxed) < TOKENS {
                        let soon = Instant::now() + Duration::from_micros(50 * me as u64);
                        let take = |tokens: &mut usize| {
                            *tokens = tokens.checked_sub(1)?;
                            Some(())
                        };
                        if tokens.wait_until(Some(soon), take).is_some() {
                            taken.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                })
            })
            .collect();
        for _ in 0..TOKENS {
            tokens.update(|tokens| *tokens += 1);
        }
        callers.into_iter().for_each(|wait| wait());
        assert_eq!(taken.load(Ordering::Relaxed), TOKENS);
        assert_eq!(tokens.with(|tokens| *tokens), 0);
        assert_eq!(waiters(&tokens), 0);
    });
}

/// One update wakes all.
#[test]
fn an_update_wakes_everyone() {
    each_runtime(|runtime| {
        let open = Arc::new(Monitor::new(false));
        let callers: Vec<_> = (0..8)
            .map(|me| {
                let open = Arc::clone(&open);
                start(runtime, me, move || {
                    open.wait_until(None, |open| open.then_some(()));
                })
            })
            .collect();
        until_waiting(&open, 8);
        // No change, and nobody leaves.
        open.update(|_| ());
        until_waiting(&open, 8);
        open.update(|open| *open = true);
        callers.into_iter().for_each(|wait| wait());
        assert_eq!(waiters(&open), 0);
    });
}

/// Promises 22, 24 and 25: never early; in the past, one look; and what is there at the end is returned.
#[test]
fn a_deadline_ends_the_wait() {
    each_runtime(|runtime| {
        for turn in [0, 1] {
            let wait = start(runtime, turn, || {
                let monitor = Monitor::new(7);
                let end = Instant::now() + SHORT;
                assert_eq!(monitor.wait_until(Some(end), |_| None::<()>), None);
                assert!(Instant::now() >= end);
                assert_eq!(monitor.wait_until(Some(end), |_| None::<()>), None);
                assert_eq!(monitor.wait_until(Some(end), |value| Some(*value)), Some(7));
                assert_eq!(waiters(&monitor), 0);
            });
            wait();
        }
    });
}

/// Promise 22: not early either when it is woken over and over.
#[test]
fn updates_do_not_end_the_wait() {
    each_runtime(|runtime| {
        let monitor = Arc::new(Monitor::new(true));
        let waits = Arc::clone(&monitor);
        let wait = start(runtime, 0, move || {
            let end = Instant::now() + SHORT;
            let waited = waits.wait_until(Some(end), |_| None::<()>);
            let at = Instant::now();
            // First, for the other side goes on until then.
            waits.update(|waiting| *waiting = false);
            assert_eq!(waited, None);
            assert!(at >= end);
        });
        while monitor.update(|waiting| *waiting) {
            thread::yield_now();
        }
        wait();
    });
}

/// Promise 29: a waiter that is unwound leaves the list.
#[test]
fn an_unwound_waiter_leaves_the_list() {
    let never = Arc::new(Monitor::new(()));
    let runtime = Runtime::builder().workers(2).build().expect("a runtime");
    for _ in 0..5 {
        let never = Arc::clone(&never);
        runtime.spawn(move || never.wait_until(None, |()| None::<()>));
    }
    until_waiting(&never, 5);
    runtime.shutdown(TOO_LONG).expect("all unwound");
    assert_eq!(waiters(&never), 0);
    assert_eq!(Arc::strong_count(&never), 1);
}

/// Results are dropped, and coroutines woken, when the lock is free: a destructor may use the monitor.
#[test]
fn results_are_dropped_outside_the_lock() {
    struct Reenters(Arc<Monitor<usize>>);
    impl Drop for Reenters {
        fn drop(&mut self) {
            self.0.update(|drops| *drops += 1);
        }
    }
    let monitor = Arc::new(Monitor::new(0));
    let make = || Reenters(Arc::clone(&monitor));
    drop(monitor.update(|_| make()));
    drop(monitor.with(|_| make()));
    drop(monitor.attempt(|_| Some(make())));
    drop(monitor.wait_until(None, |_| Some(make())));
    assert_eq!(monitor.with(|drops| *drops), 4);
}
