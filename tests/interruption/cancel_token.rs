//! Tokens: who is told, what is interrupted, and what they leave behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use withy::{CancelToken, Cancelled};

use crate::rig::process::status;
use crate::rig::{self, Drops, stress_rounds, until};
use crate::support::{LIMIT, matrix, within};

/// Item 4. Whoever waits is told, clones are the same token, and it stays cancelled.
#[test]
fn cancelling_a_token_tells_whoever_waits() {
    matrix(LIMIT, "waiters of a token", |case| {
        let token = CancelToken::new();
        assert!(!token.is_cancelled());
        let waiters: Vec<_> = (0..10)
            .map(|_| {
                let token = token.clone();
                case.spawn(move || {
                    token.wait();
                    token.is_cancelled()
                })
            })
            .collect();
        let canceller = case.spawn({
            let token = token.clone();
            move || token.cancel()
        });
        canceller.join();
        assert!(waiters.into_iter().all(|waiter| waiter.join()));
        token.cancel();
        token.wait();
        assert!(token.is_cancelled() && token.child().is_cancelled());
        assert!(!CancelToken::default().is_cancelled());
        assert_eq!(format!("{token:?}"), "CancelToken { cancelled: true, .. }");
    });
}

/// Item 4. A region under a token is unwound to its beginning, and the caller goes on.
#[test]
fn cancelling_a_token_unwinds_the_regions_under_it() {
    matrix(LIMIT, "regions under a token", |case| {
        let token = CancelToken::new();
        let dropped = Arc::new(AtomicUsize::new(0));
        let entered = Arc::new(AtomicUsize::new(0));
        let regions: Vec<_> = (0..10)
            .map(|_| {
                let (token, dropped, entered) = (token.clone(), dropped.clone(), entered.clone());
                case.spawn(move || {
                    let ended = token.run(|| {
                        let _owned = Drops(&dropped);
                        entered.fetch_add(1, Ordering::SeqCst);
                        withy::park();
                    });
                    // The frame is gone: this waits.
                    withy::sleep(Duration::from_micros(10));
                    ended
                })
            })
            .collect();
        until(|| entered.load(Ordering::SeqCst) == 10);
        token.cancel();
        for region in regions {
            let ended: Result<(), Cancelled> = region.join();
            assert_eq!(ended.unwrap_err().to_string(), "cancelled");
        }
        assert_eq!(dropped.load(Ordering::SeqCst), 10);
    });
}

/// Item 4. A value that was there first counts; a token that was cancelled before does not run the region at all.
#[test]
fn a_region_runs_whole_or_not_at_all() {
    matrix(LIMIT, "regions that do not wait", |case| {
        case.run(|| {
            let token = CancelToken::new();
            let value = token.run(|| {
                token.cancel();
                7
            });
            assert_eq!(value, Ok(7));
            let mut ran = false;
            assert!(token.run(|| ran = true).is_err() && !ran);
        });
    });
}

/// Item 4. A parent cancels its children, a child neither its parent nor its siblings.
#[test]
fn cancellation_goes_down_the_tree_only() {
    matrix(LIMIT, "a tree of tokens", |case| {
        let root = CancelToken::new();
        let (one, two) = (root.child(), root.child());
        let (below, other) = (one.child(), two.child());
        one.cancel();
        assert!(one.is_cancelled() && below.is_cancelled());
        assert!(!root.is_cancelled() && !two.is_cancelled() && !other.is_cancelled());
        // A token in between may be dropped.
        drop(two);
        let waiter = case.spawn({
            let other = other.clone();
            move || {
                other.run(|| {
                    loop {
                        withy::sleep(Duration::from_millis(1));
                    }
                })
            }
        });
        root.cancel();
        let ended: Result<(), Cancelled> = waiter.join();
        assert!(ended.is_err() && other.is_cancelled());
    });
}

/// Law 6. Regions nest, in each other and in timeouts: the outermost one that is due is the one that ends.
#[test]
fn the_outermost_token_that_is_cancelled_ends() {
    matrix(LIMIT, "nested regions", |case| {
        case.run(|| {
            let (outer, inner) = (CancelToken::new(), CancelToken::new());
            let mut after_inner = false;
            let ended = outer.run(|| {
                let ended = inner.run(|| {
                    inner.cancel();
                    withy::park();
                });
                assert!(ended.is_err());
                after_inner = true;
                let again = CancelToken::new();
                let _hidden = again.run(|| {
                    again.cancel();
                    outer.cancel();
                    withy::park();
                });
                unreachable!("the outer one is due");
            });
            let ended: Result<(), Cancelled> = ended;
            assert!(ended.is_err() && after_inner);
        });
    });
}

/// Law 6. Code that swallows the unwinding meets it again at each wait in the region, and not after it.
#[test]
fn a_token_is_sticky() {
    matrix(LIMIT, "a swallowed token", |case| {
        case.run(|| {
            let token = CancelToken::new();
            let ended: Result<(), Cancelled> = token.run(|| {
                token.cancel();
                for _ in 0..3 {
                    assert!(std::panic::catch_unwind(withy::park).is_err());
                    // It need not wait.
                    withy::current().unpark();
                    assert!(std::panic::catch_unwind(withy::park).is_ok());
                }
                withy::park();
            });
            assert!(ended.is_err());
            withy::sleep(Duration::from_micros(10));
        });
    });
}

/// Item 4. A token that is cancelled while the region is under a shield ends it at the first wait after the shield.
#[test]
fn a_shield_withholds_a_token() {
    matrix(LIMIT, "a shield under a token", |case| {
        case.run(|| {
            let token = CancelToken::new();
            let mut shielded = false;
            let ended = token.run(|| {
                withy::shield(|| {
                    token.cancel();
                    // They look, and must not forget; the last one is woken by no timer.
                    withy::sleep(Duration::from_millis(1));
                    withy::yield_now();
                    withy::spawn(withy::yield_now).join().unwrap();
                    shielded = true;
                });
                withy::park();
            });
            assert!(ended.is_err() && shielded);
        });
    });
}

/// Item 4. A token that is cancelled while its region waits under a shield, several levels up: the outer one ends.
#[test]
fn a_shield_withholds_every_token_around_it() {
    matrix(LIMIT, "a shield under tokens", |case| {
        case.run(|| {
            let (outer, inner) = (CancelToken::new(), CancelToken::new());
            let ended: Result<(), Cancelled> = outer.run(|| {
                let _hidden = inner.run(|| {
                    withy::shield(|| {
                        outer.cancel();
                        inner.cancel();
                        withy::spawn(withy::yield_now).join().unwrap();
                        let within = CancelToken::new();
                        let ended = within.run(|| {
                            within.cancel();
                            withy::park();
                        });
                        assert!(ended.is_err());
                        withy::spawn(withy::yield_now).join().unwrap();
                    });
                    withy::park();
                });
                unreachable!("the outer one is due");
            });
            assert!(ended.is_err());
        });
    });
}

/// Law 8. A tree as deep as a list is long is cancelled, and dropped, without recursion.
#[test]
fn a_deep_line_of_tokens_overflows_no_stack() {
    const DEPTH: usize = 100_000;
    within(LIMIT, "a deep line of tokens", || {
        let small = std::thread::Builder::new().stack_size(64 * 1024);
        let line = || {
            let root = CancelToken::new();
            let leaf = (0..DEPTH).fold(root.clone(), |token, _| token.child());
            (root, leaf)
        };
        let thread = small.spawn(move || {
            let (root, leaf) = line();
            drop(root);
            drop(leaf);
            let (root, leaf) = line();
            root.cancel();
            assert!(leaf.is_cancelled());
            drop(leaf);
            drop(root);
            // Many, side by side.
            let root = CancelToken::new();
            let children: Vec<_> = (0..DEPTH).map(|_| root.child()).collect();
            root.cancel();
            assert!(children.iter().all(CancelToken::is_cancelled));
        });
        thread.unwrap().join().unwrap();
    });
}

/// Promises 30 and 49. Children, waits and regions that have gone leave nothing in a token that lives on.
#[test]
fn a_token_that_lives_long_does_not_grow() {
    const TEST: &str = "cancel_token::a_token_that_lives_long_does_not_grow";
    if !rig::child::alone(TEST, &[]) {
        return;
    }
    let token = CancelToken::new();
    let cycle = || {
        for _ in 0..100_000 {
            drop(token.child());
            assert_eq!(token.run(|| 1), Ok(1));
        }
        for _ in 0..1_000 {
            assert!(withy::timeout(Duration::ZERO, || token.wait()).is_err());
        }
    };
    cycle();
    let before = status("VmRSS");
    (0..4).for_each(|_| cycle());
    let after = status("VmRSS");
    assert!(after < before + 2_000, "{before} KiB, then {after} KiB");
}

/// Promise 28. A cancellation that races with waits that begin and end is neither lost nor doubled.
#[test]
fn stress_a_cancellation_races_with_waits() {
    matrix(LIMIT, "races for a token", |case| {
        for _ in 0..20 * stress_rounds() {
            let token = CancelToken::new();
            let waiters: Vec<_> = (0..4)
                .map(|n| {
                    let token = token.clone();
                    case.spawn(move || {
                        let region = || loop {
                            match n {
                                0 => withy::yield_now(),
                                1 => withy::sleep(Duration::from_micros(1)),
                                2 => drop(token.child().run(withy::park)),
                                _ => withy::shield(|| withy::sleep(Duration::from_micros(1))),
                            }
                            // A plain thread's yield is none of ours.
                            withy::park_timeout(Duration::from_micros(1));
                        };
                        let ended: Result<(), Cancelled> = token.run(region);
                        ended
                    })
                })
                .collect();
            token.cancel();
            assert!(waiters.into_iter().all(|waiter| waiter.join().is_err()));
        }
    });
}
