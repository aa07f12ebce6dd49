//! Interruptions and scopes at their edges: what is withheld and comes later, children that never began.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use withy::{Builder, CancelToken, Cancelled, Runtime, park, scope, shield, sleep, spawn, timeout};

use crate::support::{LIMIT, matrix, within};

/// Promise 28. A token that is cancelled while its region is shielded: the shield withholds the interruption, and it
/// comes at the first blocking call after it, also when the region has looked for it in vain meanwhile.
#[test]
fn an_interruption_that_a_shield_withheld_comes_after_it() {
    matrix(LIMIT, "a region to be unwound after its shield", |case| {
        let ended = case.run(|| {
            let token = CancelToken::new();
            let canceller = token.clone();
            token.run(|| {
                shield(|| {
                    let child = spawn(move || {
                        canceller.cancel();
                        sleep(Duration::from_millis(2));
                    });
                    // The token wakes it here; it looks, may not throw, and waits on.
                    child.join().unwrap();
                });
                loop {
                    park();
                }
            })
        });
        assert!(ended.is_err());
    });
}

/// Promise 27. A timeout that has ended a child ends the scope too, also if the owner finds no child left to wait for:
/// otherwise nobody would hear that work was cut short.
#[test]
fn a_scope_whose_child_has_elapsed_has_elapsed() {
    within(LIMIT, "a child to elapse", || {
        let ended = timeout(Duration::from_millis(5), || {
            scope(|s| {
                let child = s.spawn(|| sleep(Duration::from_secs(3600)));
                // No wait of withy's: the owner is not cut short here.
                while !child.is_finished() {
                    std::thread::yield_now();
                }
            });
        });
        assert!(ended.is_err());
    });
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("dropped");
    }
}

/// Promise 52. A child that was cancelled before it began and whose closure panics when it is dropped: `join` gives the
/// panic, and then it is not the scope's any more.
#[test]
fn a_joined_panic_of_a_child_that_never_began_is_not_the_scopes() {
    within(LIMIT, "a scope to end", || {
        let runtime = Runtime::builder().workers(1).build().unwrap();
        runtime.run(|| {
            scope(|s| {
                let bomb = Bomb;
                let child = s.spawn(move || drop(bomb));
                child.cancel();
                assert!(!child.join().unwrap_err().is::<Cancelled>());
            });
        });
    });
}

/// Promise 52. The same child, not joined: the scope panics, as it does for any child's panic.
#[test]
fn a_panic_of_a_child_that_never_began_is_told_by_the_scope() {
    within(LIMIT, "a scope to end", || {
        let runtime = Runtime::builder().workers(1).build().unwrap();
        runtime.run(|| {
            let told = catch_unwind(|| {
                scope(|s| {
                    let bomb = Bomb;
                    s.spawn(move || drop(bomb)).cancel();
                });
            });
            assert!(told.is_err());
        });
    });
}

/// Promise 46. A spawn that is refused, and whose closure panics when it is dropped, leaves no child that the scope waits for.
#[test]
fn a_refused_spawn_is_not_waited_for() {
    within(LIMIT, "a scope whose child was not made", || {
        let runtime = Runtime::builder()
            .workers(1)
            .max_coroutines(1)
            .build()
            .unwrap();
        runtime.run(|| {
            scope(|s| {
                let bomb = Bomb;
                let refused = catch_unwind(AssertUnwindSafe(|| {
                    Builder::new().spawn_scoped(s, move || drop(bomb))
                }));
                assert!(refused.is_err(), "its closure was dropped");
            });
        });
    });
}
