//! `scope` and `try_scope`: children that borrow, and never outlive it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use withy::{Builder, Cancelled, Coroutine, current, scope, timeout, try_scope};

use crate::rig::endings::{OnDrop, wait_for_the_end};
use crate::rig::{Drops, each_runtime, text_of, until};
use crate::support::{self, LIMIT, matrix, within};

const MS: Duration = Duration::from_millis(1);

/// The same for children that may fail.
fn wait_and_succeed<E>(begun: &AtomicUsize, ended: &AtomicUsize) -> Result<(), E> {
    wait_for_the_end(begun, ended);
    Ok(())
}

/// Item 5. As std's: borrows, results, handles.
#[test]
fn children_borrow_and_give_results() {
    matrix(LIMIT, "children that borrow", |case| {
        case.run(|| {
            let words = ["plain", "blocking", "code"].map(str::to_owned);
            let mut longest = 0;
            let done = AtomicUsize::new(0);
            let total: usize = scope(|s| {
                let lengths: Vec<_> = words.iter().map(|word| s.spawn(|| word.len())).collect();
                let named = Builder::new()
                    .name("longest".into())
                    .spawn_scoped(s, || {
                        longest = words.iter().map(String::len).max().unwrap();
                        withy::current().name().map(str::to_owned)
                    })
                    .unwrap();
                assert_eq!(named.coroutine().id(), named.thread().id());
                assert_eq!(named.join().unwrap().as_deref(), Some("longest"));
                // Not joined.
                s.spawn(|| {
                    withy::sleep(MS);
                    done.fetch_add(1, Ordering::SeqCst);
                });
                lengths
                    .into_iter()
                    .map(|length| length.join().unwrap())
                    .sum()
            });
            assert_eq!((total, longest, done.into_inner()), (17, 8, 1));
            assert_eq!(scope(|_| 3), 3);
        });
    });
}

/// Item 5. All children, and theirs, have ended when it returns, however late they were spawned and by whom.
#[test]
fn children_may_spawn_siblings_and_scopes() {
    matrix(LIMIT, "scopes in scopes", |case| {
        case.run(|| {
            let ended = AtomicUsize::new(0);
            let ended = &ended;
            scope(|s| {
                for _ in 0..5 {
                    s.spawn(move || {
                        s.spawn(move || {
                            withy::yield_now();
                            s.spawn(move || {
                                withy::sleep(MS / 10);
                                ended.fetch_add(1, Ordering::SeqCst);
                            });
                        });
                        let local = 7;
                        scope(|inner| {
                            inner.spawn(|| ended.fetch_add(local, Ordering::SeqCst));
                            inner.spawn(|| s.spawn(move || ended.fetch_add(1, Ordering::SeqCst)));
                        });
                    });
                }
            });
            assert_eq!(ended.load(Ordering::SeqCst), 5 * (1 + 7 + 1));
        });
    });
}

/// Item 5. Many children: all have ended, their borrow is over.
#[test]
fn ten_thousand_children_end_before_their_scope() {
    each_runtime("10,000 children", |runtime, label| {
        let count = runtime.run(|| {
            let mut counts = vec![0_u8; 10_000];
            scope(|s| {
                for (n, count) in counts.iter_mut().enumerate() {
                    s.spawn(move || {
                        if n % 3 == 0 {
                            withy::yield_now();
                        }
                        *count += 1;
                    });
                }
            });
            counts
                .iter()
                .map(|count| usize::from(*count))
                .sum::<usize>()
        });
        assert_eq!(count, 10_000, "{label}");
    });
}

/// Item 5. A panic that nobody joined surfaces when all have ended, as std's; one that was joined does not.
#[test]
fn a_panic_surfaces_unless_it_was_joined() {
    matrix(LIMIT, "children that panic", |case| {
        case.run(|| {
            let ended = AtomicUsize::new(0);
            let panicked = catch_unwind(AssertUnwindSafe(|| {
                scope(|s| {
                    s.spawn(|| panic!("nobody sees it"));
                    s.spawn(|| {
                        withy::sleep(MS);
                        ended.fetch_add(1, Ordering::SeqCst);
                    });
                });
            }));
            assert_eq!(
                text_of(&*panicked.unwrap_err()),
                "a scoped coroutine panicked"
            );
            assert_eq!(ended.load(Ordering::SeqCst), 1);
            let joined = scope(|s| {
                let payload = s.spawn(|| panic!("joined")).join().map(drop).unwrap_err();
                text_of(&*payload).to_owned()
            });
            assert_eq!(joined, "joined");
        });
    });
}

/// Item 5. A child that was cancelled is no panic, whether it had started or not, and whoever drops what it owned.
#[test]
fn a_cancelled_child_is_no_panic() {
    matrix(LIMIT, "children that are cancelled", |case| {
        case.run(|| {
            let (begun, ended) = (AtomicUsize::new(0), AtomicUsize::new(0));
            scope(|s| {
                let joined = s.spawn(|| wait_for_the_end(&begun, &ended));
                let left = s.spawn(|| wait_for_the_end(&begun, &ended));
                until(|| begun.load(Ordering::SeqCst) == 2);
                // These may not have started.
                let fresh = s.spawn(|| wait_for_the_end(&begun, &ended));
                fresh.cancel();
                s.spawn(|| wait_for_the_end(&begun, &ended)).cancel();
                left.cancel();
                joined.cancel();
                assert!(joined.join().unwrap_err().is::<Cancelled>());
                assert!(fresh.join().unwrap_err().is::<Cancelled>());
            });
            assert_eq!(begun.load(Ordering::SeqCst), ended.load(Ordering::SeqCst));
        });
    });
}

/// Bad input: what a child owns panics when it is dropped, and the child was cancelled before it started.
#[test]
fn a_closure_that_panics_when_it_is_dropped_unstarted_is_joined_like_any() {
    for full_stealing in [false, true] {
        within(LIMIT, "closures that panic when dropped", || {
            let runtime = support::runtime(1, full_stealing);
            runtime.run(|| {
                // One worker, which this coroutine holds: the child cannot start before it is cancelled.
                let owned = || OnDrop(|| panic!("dropped"));
                scope(|s| {
                    let owned = owned();
                    let child = s.spawn(move || drop(owned));
                    child.cancel();
                    let payload = child.join().unwrap_err();
                    assert_eq!(text_of(&*payload), "dropped");
                });
                let panicked = catch_unwind(AssertUnwindSafe(|| {
                    scope(|s| {
                        let owned = owned();
                        s.spawn(move || drop(owned)).cancel();
                    });
                }));
                let payload = panicked.expect_err("nobody joined it");
                assert_eq!(text_of(&*payload), "a scoped coroutine panicked");
            });
        });
    }
}

/// Bad input: a spawn fails, and what its closure owns panics when it is dropped. The scope ends all the same: that was no
/// child's panic.
#[test]
fn a_spawn_that_fails_leaves_nothing_to_wait_for() {
    within(LIMIT, "spawns that fail", || {
        let runtime = withy::Runtime::builder()
            .workers(1)
            .max_coroutines(2)
            .build()
            .unwrap();
        let spawn_too_many = |owned: Option<OnDrop<fn()>>| {
            scope(|s| {
                let first = s.spawn(withy::park);
                let failed = catch_unwind(AssertUnwindSafe(|| {
                    Builder::new()
                        .spawn_scoped(s, move || drop(owned))
                        .map(drop)
                }));
                first.coroutine().unpark();
                first.join().unwrap();
                failed
            })
        };
        runtime.run(|| {
            let failed = spawn_too_many(None).unwrap();
            assert_eq!(failed.unwrap_err().kind(), std::io::ErrorKind::OutOfMemory);
            let failed = spawn_too_many(Some(OnDrop(|| panic!("dropped"))));
            assert_eq!(text_of(&*failed.unwrap_err()), "dropped");
        });
    });
}

/// Memory safety: a handle that is forgotten neither keeps the scope from ending, nor does its result outlive it.
#[test]
fn forgotten_handles_keep_nothing_alive() {
    static DROPPED_INSIDE: AtomicUsize = AtomicUsize::new(0);
    static DROPPED_OUTSIDE: AtomicUsize = AtomicUsize::new(0);
    struct Result<'a>(&'a AtomicBool);
    impl Drop for Result<'_> {
        fn drop(&mut self) {
            match self.0.load(Ordering::SeqCst) {
                true => DROPPED_INSIDE.fetch_add(1, Ordering::SeqCst),
                false => DROPPED_OUTSIDE.fetch_add(1, Ordering::SeqCst),
            };
        }
    }
    matrix(LIMIT, "forgotten handles", |case| {
        DROPPED_INSIDE.store(0, Ordering::SeqCst);
        case.run(|| {
            let inside = AtomicBool::new(true);
            scope(|s| {
                for n in 0..30 {
                    let handle = s.spawn(|| Result(&inside));
                    match n % 3 {
                        0 => std::mem::forget(handle),
                        1 => drop(handle),
                        _ => {
                            until(|| handle.is_finished());
                            drop(handle);
                        }
                    }
                }
            });
            inside.store(false, Ordering::SeqCst);
        });
        // Those that were forgotten are leaked, and never dropped.
        assert_eq!(DROPPED_INSIDE.load(Ordering::SeqCst), 20);
        assert_eq!(DROPPED_OUTSIDE.load(Ordering::SeqCst), 0);
    });
}

/// Memory safety: a kept `Coroutine` keeps its own record alive, not those of all scopes around it, whose release would go
/// so deep that the stack overflows.
#[test]
fn a_kept_coroutine_does_not_keep_its_parents() {
    fn nest(depth: usize, innermost: &Mutex<Option<Coroutine>>) {
        if depth == 0 {
            *innermost.lock().unwrap() = Some(current());
        } else {
            scope(|s| drop(s.spawn(|| nest(depth - 1, innermost))));
        }
    }
    each_runtime("nested scopes", |runtime, _| {
        let innermost = Mutex::new(None);
        runtime.run(|| nest(2000, &innermost));
        let kept = innermost.into_inner().unwrap();
        runtime.run(move || drop(kept));
    });
}

/// Item 5. The first error wins: siblings are cancelled, the body is interrupted, all have ended.
#[test]
fn the_first_error_ends_a_try_scope() {
    matrix(LIMIT, "the first error", |case| {
        case.run(|| {
            let (begun, ended) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let result: Result<(), u32> = try_scope(|s| {
                for _ in 0..3 {
                    s.spawn(|| wait_and_succeed(&begun, &ended));
                }
                s.spawn(|| {
                    until(|| begun.load(Ordering::SeqCst) == 3);
                    Err::<(), _>(7)
                });
                loop {
                    withy::park();
                }
            });
            assert_eq!(result, Err(7));
            assert_eq!(ended.load(Ordering::SeqCst), 3);
            // One of two, and each error is dropped once.
            let drops = AtomicUsize::new(0);
            let result = try_scope(|s| {
                for _ in 0..2 {
                    s.spawn(|| Err::<(), _>(Drops(&drops)));
                }
                Ok(())
            });
            assert!(result.is_err());
            drop(result);
            // The other may have been cancelled before it made its error.
            assert!((1..=2).contains(&drops.load(Ordering::SeqCst)));
        });
    });
}

/// Item 5. Without an error it is a scope: values, handles, the body's own error, panics of children.
#[test]
fn a_try_scope_without_an_error_is_a_scope() {
    matrix(LIMIT, "try_scope without errors", |case| {
        case.run(|| {
            let text = "12";
            let result = try_scope(|s| {
                let one = s.spawn(|| text.parse::<u32>().map_err(|error| error.to_string()));
                let two = s.spawn(|| Ok(30));
                Ok::<_, String>(one.join().unwrap().unwrap() + two.join().unwrap().unwrap())
            });
            assert_eq!(result, Ok(42));
            let (begun, ended) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let result: Result<(), &str> = try_scope(|s| {
                s.spawn(|| wait_and_succeed(&begun, &ended));
                Err("the body's")
            });
            assert_eq!(result, Err("the body's"));
            assert_eq!(begun.load(Ordering::SeqCst), ended.load(Ordering::SeqCst));
            let panicked = catch_unwind(AssertUnwindSafe(|| {
                let _: Result<(), ()> = try_scope(|s| {
                    s.spawn(|| wait_and_succeed(&begun, &ended));
                    s.spawn(|| -> Result<(), ()> { panic!("nobody sees it") });
                    loop {
                        withy::park();
                    }
                });
            }));
            assert_eq!(
                text_of(&*panicked.unwrap_err()),
                "a scoped coroutine panicked"
            );
            assert_eq!(begun.load(Ordering::SeqCst), ended.load(Ordering::SeqCst));
            // A timeout around it is none of its errors.
            let elapsed = timeout(MS, || {
                try_scope(|s| {
                    s.spawn(|| wait_and_succeed::<()>(&begun, &ended));
                    loop {
                        withy::park();
                    }
                })
            });
            let elapsed: Result<Result<(), ()>, _> = elapsed;
            assert!(elapsed.is_err());
            assert_eq!(begun.load(Ordering::SeqCst), ended.load(Ordering::SeqCst));
        });
    });
}

/// Item 5. A child's panic that the body has joined, and an end of the body after that.
#[test]
fn a_joined_panic_ends_a_try_scope_as_a_panic() {
    matrix(LIMIT, "a joined panic in try_scope", |case| {
        case.run(|| {
            let panicked = catch_unwind(AssertUnwindSafe(|| {
                let _: Result<(), ()> = try_scope(|s| {
                    let child = s.spawn(|| -> Result<(), ()> { panic!("joined") });
                    // Without a blocking call, which would be interrupted.
                    withy::shield(|| until(|| child.is_finished()));
                    let _ = withy::shield(|| child.join());
                    loop {
                        withy::park();
                    }
                });
            }));
            assert_eq!(
                text_of(&*panicked.unwrap_err()),
                "a scoped coroutine panicked"
            );
        });
    });
}

/// Item 5. An error that comes while the body is under a shield, or waits in an inner scope, is not forgotten.
#[test]
fn an_error_reaches_a_body_that_was_shielded() {
    matrix(LIMIT, "errors against shields", |case| {
        case.run(|| {
            let result: Result<(), u32> = try_scope(|s| {
                let failing = s.spawn(|| Err::<(), _>(9));
                withy::shield(|| {
                    until(|| failing.is_finished());
                    withy::spawn(withy::yield_now).join().unwrap();
                });
                withy::park();
                unreachable!("it is interrupted");
            });
            assert_eq!(result, Err(9));
        });
    });
}
