//! Scopes that end otherwise than by themselves: a parent that panics or is interrupted, a runtime that ends.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use withy::{Builder, CancelToken, Cancelled, scope, timeout};

use crate::rig::endings::{OnDrop, wait_for_the_end};
use crate::rig::{each_runtime, stress_rounds, text_of, until};
use crate::support::{self, LIMIT, matrix, within};

const MS: Duration = Duration::from_millis(1);

/// Item 5. If the parent panics, its children are cancelled and waited for, and then its own panic goes on.
#[test]
fn a_parent_that_panics_cancels_its_children_first() {
    matrix(LIMIT, "parents that panic", |case| {
        case.run(|| {
            let (begun, ended) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let panicked = catch_unwind(AssertUnwindSafe(|| {
                scope(|s| {
                    for _ in 0..5 {
                        s.spawn(|| wait_for_the_end(&begun, &ended));
                    }
                    until(|| begun.load(Ordering::SeqCst) == 5);
                    for _ in 0..5 {
                        s.spawn(|| wait_for_the_end(&begun, &ended));
                    }
                    panic!("the parent's own");
                });
            }));
            assert_eq!(text_of(&*panicked.unwrap_err()), "the parent's own");
            let begun = begun.load(Ordering::SeqCst);
            assert!((5..=10).contains(&begun));
            assert_eq!(ended.load(Ordering::SeqCst), begun);
        });
    });
}

/// Item 5. The same if it is cancelled, in its body or while it waits for them.
#[test]
fn a_parent_that_is_cancelled_cancels_its_children_first() {
    each_runtime("parents that are cancelled", |runtime, label| {
        for in_body in [true, false] {
            let (begun, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
            let in_order = Arc::new(AtomicBool::new(false));
            let parent = runtime.spawn({
                let (begun, ended, in_order) = (begun.clone(), ended.clone(), in_order.clone());
                move || {
                    let _checks = OnDrop(|| {
                        let all = begun.load(Ordering::SeqCst) == ended.load(Ordering::SeqCst);
                        in_order.store(all, Ordering::SeqCst);
                    });
                    scope(|s| {
                        for _ in 0..5 {
                            s.spawn(|| {
                                // Takes its time.
                                let _slow = OnDrop(|| withy::sleep(MS));
                                wait_for_the_end(&begun, &ended);
                            });
                        }
                        if in_body {
                            loop {
                                withy::park();
                            }
                        }
                    });
                }
            });
            until(|| begun.load(Ordering::SeqCst) == 5);
            parent.cancel();
            let payload = parent.join().unwrap_err();
            assert!(payload.is::<Cancelled>(), "{label}: {}", text_of(&*payload));
            assert_eq!(ended.load(Ordering::SeqCst), 5, "{label}");
            assert!(in_order.load(Ordering::SeqCst), "{label}");
        }
    });
}

/// Promise 27 and item 5. The same if a timeout around it elapses, or a token around it is cancelled; only that frame ends.
#[test]
fn a_frame_around_a_scope_ends_after_the_children() {
    matrix(LIMIT, "frames around scopes", |case| {
        case.run(|| {
            let (begun, ended) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let elapsed = timeout(2 * MS, || {
                scope(|s| {
                    for _ in 0..3 {
                        s.spawn(|| wait_for_the_end(&begun, &ended));
                    }
                    loop {
                        withy::park();
                    }
                });
            });
            assert!(elapsed.is_err());
            assert_eq!(begun.load(Ordering::SeqCst), ended.load(Ordering::SeqCst));
            let token = CancelToken::new();
            let cancelled = token.run(|| {
                scope(|s| {
                    s.spawn(|| wait_for_the_end(&begun, &ended));
                    s.spawn(|| {
                        token.cancel();
                        wait_for_the_end(&begun, &ended);
                    });
                });
            });
            assert!(cancelled.is_err());
            assert_eq!(begun.load(Ordering::SeqCst), ended.load(Ordering::SeqCst));
        });
    });
}

/// Item 4. A child that cannot be cancelled is waited for, whatever happens to its parent.
#[test]
fn a_child_that_cannot_be_cancelled_is_waited_for() {
    each_runtime("children that cannot be cancelled", |runtime, label| {
        let (inside, finished) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let may_end = Arc::new(AtomicBool::new(false));
        let parent = runtime.spawn({
            let (inside, finished) = (inside.clone(), finished.clone());
            let may_end = may_end.clone();
            move || {
                let waits = || {
                    inside.fetch_add(1, Ordering::SeqCst);
                    until(|| may_end.load(Ordering::SeqCst));
                    withy::yield_now();
                    finished.fetch_add(1, Ordering::SeqCst);
                };
                scope(|s| {
                    s.spawn(|| withy::shield(waits));
                    let builder = Builder::new().cancellable(false);
                    builder.spawn_scoped(s, waits).unwrap();
                    withy::park();
                });
            }
        });
        until(|| inside.load(Ordering::SeqCst) == 2);
        parent.cancel();
        // It has every chance to end, and must not.
        for _ in 0..10 {
            runtime.run(|| withy::sleep(MS / 10));
        }
        assert!(!parent.is_finished(), "{label}");
        may_end.store(true, Ordering::SeqCst);
        assert!(parent.join().unwrap_err().is::<Cancelled>(), "{label}");
        assert_eq!(finished.load(Ordering::SeqCst), 2, "{label}");
    });
}

/// Item 4. One that cannot be cancelled runs, also if it had not started when its scope was cancelled.
#[test]
fn a_child_that_cannot_be_cancelled_runs_even_late() {
    for full_stealing in [false, true] {
        within(LIMIT, "a late child that cannot be cancelled", || {
            let runtime = support::runtime(1, full_stealing);
            let ran = AtomicUsize::new(0);
            let payload = runtime.run(|| {
                catch_unwind(AssertUnwindSafe(|| {
                    scope(|s| {
                        Builder::new()
                            .cancellable(false)
                            .spawn_scoped(s, || {
                                withy::sleep(MS);
                                ran.fetch_add(1, Ordering::SeqCst);
                            })
                            .unwrap();
                        s.spawn(|| ran.fetch_add(100, Ordering::SeqCst));
                        // One worker, which this coroutine holds: neither has started.
                        panic!("the parent's own");
                    });
                }))
                .unwrap_err()
            });
            assert_eq!(text_of(&*payload), "the parent's own");
            assert_eq!(ran.load(Ordering::SeqCst), 1);
        });
    }
}

/// Promise 55 and item 5. A scope whose runtime ends meanwhile, and whose spawns are refused, ends too.
#[test]
fn stress_a_scope_ends_with_its_runtime() {
    for workers in [1, 2, 8] {
        for full_stealing in [false, true] {
            for _ in 0..5 * stress_rounds() {
                within(LIMIT, "scopes at the end of their runtime", || {
                    let runtime = support::runtime(workers, full_stealing);
                    let begun = Arc::new(AtomicUsize::new(0));
                    let alive = Arc::new(AtomicUsize::new(0));
                    let parents: Vec<_> = (0..3)
                        .map(|n| {
                            let (begun, alive) = (begun.clone(), alive.clone());
                            runtime.spawn(move || {
                                let local = AtomicUsize::new(0);
                                let _checks = OnDrop(|| {
                                    _ = alive
                                        .fetch_add(local.load(Ordering::SeqCst), Ordering::SeqCst)
                                });
                                scope(|s| {
                                    loop {
                                        // Goes on spawning while it unwinds its way out, under a shield too.
                                        s.spawn(|| {
                                            local.fetch_add(1, Ordering::SeqCst);
                                            let _ended =
                                                OnDrop(|| _ = local.fetch_sub(1, Ordering::SeqCst));
                                            withy::park();
                                        });
                                        begun.fetch_add(1, Ordering::SeqCst);
                                        match n {
                                            0 => withy::yield_now(),
                                            1 => withy::sleep(MS / 10),
                                            _ => {
                                                withy::shield(|| {
                                                    let child = s.spawn(|| ());
                                                    withy::yield_now();
                                                    let _ = child.join();
                                                });
                                                withy::yield_now();
                                            }
                                        }
                                    }
                                });
                            })
                        })
                        .collect();
                    until(|| begun.load(Ordering::SeqCst) > 10);
                    runtime.shutdown(LIMIT / 2).unwrap();
                    for parent in parents {
                        assert!(parent.join().unwrap_err().is::<Cancelled>());
                    }
                    assert_eq!(alive.load(Ordering::SeqCst), 0);
                });
            }
        }
    }
}

/// Item 5. A child may be cancelled, and end, while its parent is being cancelled and spawns on.
#[test]
fn stress_cancellations_race_with_children_that_come_and_go() {
    each_runtime("children against cancellations", |runtime, label| {
        for _ in 0..20 * stress_rounds() {
            let count = Arc::new(AtomicUsize::new(0));
            let parent = runtime.spawn({
                let count = count.clone();
                move || {
                    scope(|s| {
                        for n in 0..200 {
                            let child = s.spawn(|| {
                                count.fetch_add(1, Ordering::SeqCst);
                                withy::yield_now();
                                count.fetch_sub(1, Ordering::SeqCst);
                            });
                            match n % 4 {
                                0 => child.cancel(),
                                1 => _ = child.join(),
                                2 => withy::yield_now(),
                                _ => {}
                            }
                        }
                    });
                }
            });
            let cancel = std::thread::spawn(move || {
                parent.cancel();
                parent
            });
            let parent = cancel.join().unwrap();
            if let Err(payload) = parent.join() {
                assert!(payload.is::<Cancelled>(), "{label}: {}", text_of(&*payload));
            }
        }
    });
}
