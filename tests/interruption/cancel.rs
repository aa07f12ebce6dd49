//! Cancellation: what unwinds, what is spared, and who may cancel.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use withy::{Builder, CancelToken, Cancelled, JoinHandle};

use crate::rig::endings::{Flag, OnDrop, assert_cancelled};
use crate::rig::{self, Drops, each_runtime, stress_rounds, until};
use crate::support::{self, LIMIT, within};

/// Calls itself `depth` times with a destructor on each frame, then waits.
#[inline(never)]
fn dig(depth: usize, dropped: &AtomicUsize, reached: &Flag) {
    let _owned = Drops(dropped);
    if depth == 0 {
        reached.set();
        withy::park();
        unreachable!("nobody unparks it");
    }
    dig(depth - 1, dropped, reached);
}

/// Promise 28. Every frame unwinds, each destructor runs once, and `join` gives `Cancelled`.
#[test]
fn a_cancellation_runs_each_destructor_once() {
    each_runtime("a cancelled stack of frames", |runtime, label| {
        let dropped = Arc::new(AtomicUsize::new(0));
        let reached = Flag::default();
        let deep = runtime.spawn({
            let (dropped, reached) = (dropped.clone(), reached.clone());
            move || dig(99, &dropped, &reached)
        });
        reached.wait();
        assert_eq!(dropped.load(Ordering::SeqCst), 0, "{label}");
        deep.cancel();
        deep.cancel();
        assert_cancelled(deep, label);
        assert_eq!(dropped.load(Ordering::SeqCst), 100, "{label}");
    });
}

/// Promise 28. A coroutine that has not started drops its closure and never runs.
#[test]
fn a_fresh_coroutine_that_is_cancelled_never_runs() {
    for full_stealing in [false, true] {
        within(LIMIT, "fresh coroutines that are cancelled", || {
            let runtime = support::runtime(1, full_stealing);
            let (dropped, ran) = (Arc::new(AtomicUsize::new(0)), Flag::default());
            let owned = dropped.clone();
            runtime.run(|| {
                // One worker, and this coroutine holds it: the other cannot start before.
                let fresh = withy::spawn({
                    let ran = ran.clone();
                    let owned = OnDrop(move || _ = owned.fetch_add(1, Ordering::SeqCst));
                    move || {
                        let _owned = owned;
                        ran.set();
                    }
                });
                fresh.cancel();
                assert_cancelled(fresh, "fresh");
            });
            assert_eq!(dropped.load(Ordering::SeqCst), 1);
            assert!(!ran.is_set());
        });
    }
}

/// Bad input: a coroutine that has ended keeps its result.
#[test]
fn cancelling_a_finished_coroutine_does_nothing() {
    each_runtime("finished coroutines", |runtime, label| {
        let finished = runtime.spawn(|| 7);
        until(|| finished.is_finished());
        finished.cancel();
        assert_eq!(finished.join().unwrap(), 7, "{label}");
        // One that ends without waiting again keeps it too.
        let (go, asked) = (Flag::default(), Flag::default());
        let busy = runtime.spawn({
            let (go, asked) = (go.clone(), asked.clone());
            move || {
                asked.set();
                while !go.is_set() {
                    std::hint::spin_loop();
                }
                8
            }
        });
        asked.wait();
        busy.cancel();
        go.set();
        assert_eq!(busy.join().unwrap(), 8, "{label}");
    });
}

/// Law 6. Code that swallows the unwinding meets it again at its next wait, whatever that is.
#[test]
fn a_cancellation_is_sticky() {
    each_runtime("a swallowed cancellation", |runtime, label| {
        let reached = Flag::default();
        let swallower = runtime.spawn({
            let reached = reached.clone();
            move || {
                reached.set();
                let waits: [&dyn Fn(); 5] = [
                    &withy::park,
                    &|| withy::sleep(Duration::from_micros(1)),
                    &withy::yield_now,
                    &|| drop(withy::spawn(withy::park).join()),
                    &|| withy::park_timeout(Duration::from_secs(3600)),
                ];
                for wait in waits {
                    let payload = catch_unwind(AssertUnwindSafe(wait)).unwrap_err();
                    assert!(payload.is::<Cancelled>());
                }
                5
            }
        });
        reached.wait();
        swallower.cancel();
        // It ends by itself: its value counts.
        assert_eq!(swallower.join().ok(), Some(5), "{label}");
    });
}

/// Law 6. Code that swallows it again and again cannot starve its neighbours: each meeting is a pass through the
/// scheduler, so the two run in turn.
#[test]
fn a_swallower_does_not_starve_its_neighbour() {
    for full_stealing in [false, true] {
        within(LIMIT, "the neighbour of one that swallows", || {
            let runtime = support::runtime(1, full_stealing);
            let (stop, met) = (Flag::default(), Arc::new(AtomicUsize::new(0)));
            let swallower = runtime.spawn({
                let (stop, met) = (stop.clone(), met.clone());
                move || {
                    while !stop.is_set() {
                        let _ = catch_unwind(withy::park);
                        met.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
            runtime.run(withy::yield_now);
            swallower.cancel();
            let counted = runtime.run(|| {
                until(|| met.load(Ordering::SeqCst) > 2);
                let before = met.load(Ordering::SeqCst);
                for _ in 0..1_000 {
                    withy::yield_now();
                }
                met.load(Ordering::SeqCst) - before
            });
            stop.set();
            swallower.join().unwrap();
            assert!((1..=2_000).contains(&counted), "{counted} in 1,000 runs");
        });
    }
}

/// Item 4. A shield withholds it, to any depth, and the first wait after the shield meets it.
#[test]
fn a_shield_withholds_a_cancellation() {
    each_runtime("shields", |runtime, label| {
        let (inside, cancelled) = (Flag::default(), Flag::default());
        let done = Arc::new(AtomicUsize::new(0));
        let shielded = runtime.spawn({
            let (inside, cancelled) = (inside.clone(), cancelled.clone());
            let done = done.clone();
            move || {
                withy::shield(|| {
                    withy::shield(|| {
                        inside.set();
                        // Sleeps again and again.
                        cancelled.wait();
                        withy::sleep(Duration::from_micros(10));
                        done.fetch_add(1, Ordering::SeqCst);
                    });
                    withy::park();
                    withy::yield_now();
                    assert_eq!(withy::spawn(|| 3).join().unwrap(), 3);
                    done.fetch_add(1, Ordering::SeqCst);
                });
                done.fetch_add(1, Ordering::SeqCst);
                withy::park();
                done.fetch_add(1, Ordering::SeqCst);
            }
        });
        inside.wait();
        shielded.cancel();
        cancelled.set();
        until(|| done.load(Ordering::SeqCst) == 1);
        shielded.coroutine().unpark();
        assert_cancelled(shielded, label);
        assert_eq!(done.load(Ordering::SeqCst), 3, "{label}");
    });
}

/// Item 4. `cancellable(false)` runs to its end, also when it was cancelled before it started; the end of its runtime
/// waits for it.
#[test]
fn what_is_not_cancellable_runs_to_its_end() {
    each_runtime("coroutines that cannot be cancelled", |runtime, label| {
        let ended = runtime.run(|| {
            let handle = Builder::new()
                .cancellable(false)
                .spawn(|| {
                    withy::sleep(Duration::from_millis(1));
                    withy::yield_now();
                    // Timeouts inside work as everywhere.
                    withy::timeout(Duration::from_millis(1), withy::park).is_err()
                })
                .unwrap();
            handle.cancel();
            handle.join().unwrap()
        });
        assert!(ended, "{label}");
    });
    for workers in [1, 2] {
        within(LIMIT, "an end that waits", || {
            let runtime = support::runtime(workers, false);
            let (started, ended, neighbour_ended) = <(Flag, Flag, Flag)>::default();
            let handle = runtime.run(|| {
                let (started, ended) = (started.clone(), ended.clone());
                let neighbour_ended = neighbour_ended.clone();
                Builder::new().cancellable(false).spawn(move || {
                    started.set();
                    // The end of the runtime has begun, and come to all whom it can cancel.
                    neighbour_ended.wait();
                    withy::sleep(Duration::from_micros(10));
                    ended.set();
                })
            });
            runtime.spawn({
                let ends = OnDrop(move || neighbour_ended.set());
                move || {
                    let _ends = ends;
                    withy::park();
                }
            });
            started.wait();
            runtime.shutdown(LIMIT).unwrap();
            assert!(ended.is_set());
            handle.unwrap().join().unwrap();
        });
    }
}

/// Law 6. Neither cancellations nor elapsed timeouts are panics to the hook.
#[test]
fn the_panic_hook_stays_silent() {
    const TEST: &str = "cancel::the_panic_hook_stays_silent";
    if !rig::child::alone(TEST, &[]) {
        return;
    }
    static HOOKED: AtomicUsize = AtomicUsize::new(0);
    std::panic::set_hook(Box::new(|_| _ = HOOKED.fetch_add(1, Ordering::SeqCst)));
    let runtime = support::runtime(2, false);
    let parked: Vec<_> = (0..10).map(|_| runtime.spawn(withy::park)).collect();
    parked.iter().for_each(JoinHandle::cancel);
    parked
        .into_iter()
        .for_each(|handle| assert_cancelled(handle, "hook"));
    let token = CancelToken::new();
    token.cancel();
    runtime.run(|| {
        assert!(withy::timeout(Duration::from_micros(1), withy::park).is_err());
        let inner = CancelToken::new();
        let cancelled = inner.run(|| {
            inner.cancel();
            withy::park();
        });
        assert!(cancelled.is_err());
    });
    assert_eq!(HOOKED.load(Ordering::SeqCst), 0);
}

/// Item 4. From plain threads, from coroutines of other runtimes, from itself, and from many at once.
#[test]
fn anyone_may_cancel_and_many_at_once() {
    each_runtime("cancellations from many", |runtime, label| {
        let other = support::runtime(1, false);
        for _ in 0..5 * stress_rounds() {
            let dropped = Arc::new(AtomicUsize::new(0));
            let target = Arc::new(runtime.spawn({
                let dropped = dropped.clone();
                move || {
                    let _owned = Drops(&dropped);
                    loop {
                        withy::yield_now();
                        withy::park_timeout(Duration::from_micros(10));
                    }
                }
            }));
            let threads: Vec<_> = (0..3)
                .map(|_| {
                    let target = target.clone();
                    std::thread::spawn(move || target.cancel())
                })
                .collect();
            let inside = runtime.spawn({
                let target = target.clone();
                move || target.cancel()
            });
            let outside = other.spawn({
                let target = target.clone();
                move || target.cancel()
            });
            threads
                .into_iter()
                .for_each(|thread| thread.join().unwrap());
            inside.join().unwrap();
            outside.join().unwrap();
            let target = Arc::into_inner(target).expect("the others have ended");
            assert_cancelled(target, label);
            // 0 if it had not started.
            assert!(dropped.load(Ordering::SeqCst) <= 1, "{label}");
        }
        let own = Arc::new(Mutex::new(None::<JoinHandle<()>>));
        let (goes_on, sent) = (Flag::default(), Flag::default());
        let handle = runtime.spawn({
            let (own, goes_on, sent) = (own.clone(), goes_on.clone(), sent.clone());
            move || {
                sent.wait();
                let me = own.lock().unwrap().take().unwrap();
                me.cancel();
                goes_on.set();
                let _back = OnDrop(|| *own.lock().unwrap() = None);
                *own.lock().unwrap() = Some(me);
                withy::park();
            }
        });
        *own.lock().unwrap() = Some(handle);
        sent.set();
        goes_on.wait();
        until(|| own.lock().unwrap().is_none());
    });
}

/// Promise 29. A joiner that is cancelled takes nothing along: the coroutine goes on, and its permit is kept.
#[test]
fn a_cancelled_wait_takes_nothing_along() {
    each_runtime("what a cancelled wait leaves", |runtime, label| {
        let ended = Flag::default();
        let child = runtime.spawn({
            let ended = ended.clone();
            move || {
                withy::park();
                ended.set();
            }
        });
        let coroutine = child.coroutine();
        let joiner = runtime.spawn(move || child.join().unwrap());
        runtime.run(withy::yield_now);
        joiner.cancel();
        assert_cancelled(joiner, label);
        assert!(!ended.is_set(), "{label}");
        coroutine.unpark();
        ended.wait();
        // A permit that races with the interruption of a park stays for the next one.
        let parked = Flag::default();
        let keeper = runtime.spawn({
            let parked = parked.clone();
            move || {
                let token = CancelToken::new();
                let me = withy::current();
                let stopped = token.run(|| {
                    token.cancel();
                    me.unpark();
                    withy::sleep(Duration::from_secs(3600));
                });
                assert!(stopped.is_err());
                withy::park();
                parked.set();
            }
        });
        keeper.join().unwrap();
        assert!(parked.is_set(), "{label}");
    });
}

/// Promise 29. Acceptors that are cancelled one after the other lose no connection.
#[test]
fn stress_cancelled_acceptors_lose_no_connection() {
    each_runtime("cancelled acceptors", |runtime, label| {
        let listener = Arc::new(withy::net::TcpListener::bind("127.0.0.1:0").unwrap());
        let addr = listener.local_addr().unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let rounds = 20 * stress_rounds();
        let mut peers = Vec::new();
        let acceptor = || {
            let (listener, accepted) = (listener.clone(), accepted.clone());
            runtime.spawn(move || {
                loop {
                    drop(listener.accept().unwrap());
                    accepted.fetch_add(1, Ordering::SeqCst);
                }
            })
        };
        let steady = acceptor();
        for _ in 0..rounds {
            let doomed: Vec<_> = (0..3).map(|_| acceptor()).collect();
            runtime.run(withy::yield_now);
            peers.push(std::net::TcpStream::connect(addr).unwrap());
            doomed.iter().for_each(JoinHandle::cancel);
            peers.push(std::net::TcpStream::connect(addr).unwrap());
            doomed
                .into_iter()
                .for_each(|doomed| assert_cancelled(doomed, label));
        }
        until(|| accepted.load(Ordering::SeqCst) == 2 * rounds);
        steady.cancel();
        assert_cancelled(steady, label);
    });
}
