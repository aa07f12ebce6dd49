//! Every public function that waits, interrupted while it does: one row each, and a check that no row is missing.
//!
//! A function that waits says so by the heading `# Cancellation` in its docs. The table is held against these headings,
//! so a new one needs a line in `rows`.

mod rig;
mod support;

#[path = "blocking_calls_table/channel_rows.rs"]
mod channel_rows;
#[path = "blocking_calls_table/connect_rows.rs"]
mod connect_rows;
#[path = "blocking_calls_table/copy_rows.rs"]
mod copy_rows;
#[path = "blocking_calls_table/descriptor_rows.rs"]
mod descriptor_rows;
#[path = "blocking_calls_table/rows.rs"]
mod rows;
#[path = "blocking_calls_table/serve_rows.rs"]
mod serve_rows;
#[path = "blocking_calls_table/sources.rs"]
mod sources;
#[path = "blocking_calls_table/sync_rows.rs"]
mod sync_rows;
#[path = "blocking_calls_table/udp_unix_rows.rs"]
mod udp_unix_rows;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rig::{Drops, each_runtime, text_of, until};
use rows::{Row, rows};
use support::{LIMIT, within};
use withy::{Cancelled, Elapsed};

/// Long enough for most calls to be waiting when it is over, and none is wrong if it is not.
const SHORT: Duration = Duration::from_millis(2);

/// Item 3 of time and cancellation: each function that waits has a row, and each row is such a function.
#[test]
fn every_function_that_waits_has_a_row() {
    let functions = sources::functions_that_wait();
    let rows: BTreeSet<String> = rows().iter().map(|row| row.name.to_owned()).collect();
    let missing: Vec<_> = functions.difference(&rows).collect();
    let stale: Vec<_> = rows.difference(&functions).collect();
    assert!(
        missing.is_empty(),
        "functions with the heading `# Cancellation` that have no row in tests/blocking_calls_table/rows.rs: {missing:?}"
    );
    assert!(
        stale.is_empty(),
        "rows that name no function with the heading `# Cancellation`: {stale:?}"
    );
    for row in rows_like_others() {
        assert!(rows.contains(row), "a row refers to {row}, which has none");
    }
}

fn rows_like_others() -> impl Iterator<Item = &'static str> {
    rows().into_iter().filter_map(|row| row.like)
}

/// Promises 28 and 29. Cancelling a coroutine ends it wherever it waits, and what it waited for is left as it was.
#[test]
fn a_cancellation_ends_every_wait() {
    each_runtime("a cancellation of every wait", |runtime, label| {
        each_row(label, |row| {
            let call = (row.make)();
            let (started, dropped) = (
                Arc::new(AtomicBool::new(false)),
                std::sync::atomic::AtomicUsize::new(0),
            );
            let dropped = Arc::new(dropped);
            let waiter = runtime.spawn({
                let (started, dropped) = (started.clone(), dropped.clone());
                move || {
                    let _owned = Drops(&dropped);
                    started.store(true, Ordering::SeqCst);
                    (call.wait)();
                }
            });
            until(|| started.load(Ordering::SeqCst));
            // With one worker it waits by now: it is behind in no queue.
            runtime.run(withy::yield_now);
            assert!(!waiter.is_finished(), "it waits for ever");
            waiter.cancel();
            let payload = waiter.join().unwrap_err();
            assert!(payload.is::<Cancelled>(), "{}", text_of(&*payload));
            assert_eq!(dropped.load(Ordering::SeqCst), 1);
            (call.after)();
        });
    });
}

/// Promise 28. A cancellation that comes between two calls ends the next one, before or while it waits.
#[test]
fn a_cancellation_that_came_before_ends_every_wait() {
    each_runtime("calls of a cancelled coroutine", |runtime, label| {
        each_row(label, |row| {
            let call = (row.make)();
            let cancelled = Arc::new(AtomicBool::new(false));
            let waiter = runtime.spawn({
                let cancelled = cancelled.clone();
                move || {
                    // No blocking call: it holds its worker.
                    while !cancelled.load(Ordering::SeqCst) {
                        std::hint::spin_loop();
                    }
                    (call.wait)();
                }
            });
            waiter.cancel();
            cancelled.store(true, Ordering::SeqCst);
            let payload = waiter.join().unwrap_err();
            assert!(payload.is::<Cancelled>(), "{}", text_of(&*payload));
            (call.after)();
        });
    });
}

/// Promises 23, 25 and 27. A timeout around it ends every wait, in a coroutine that goes on afterwards.
#[test]
fn a_timeout_ends_every_wait_of_a_coroutine() {
    each_runtime("a timeout around every wait", |runtime, label| {
        each_row(label, |row| {
            let call = (row.make)();
            let ended = runtime.spawn(move || withy::timeout(SHORT, call.wait));
            let ended: Result<(), Elapsed> = ended.join().unwrap();
            assert!(ended.is_err());
            (call.after)();
            let call = (row.make)();
            let past = withy::now();
            let ended = runtime.spawn(move || {
                let ended = withy::deadline(past, call.wait);
                // No trace of it: the next wait is bound by nothing.
                withy::sleep(Duration::from_micros(10));
                ended
            });
            let ended: Result<(), Elapsed> = ended.join().unwrap();
            assert!(ended.is_err());
            (call.after)();
        });
    });
}

/// Promises 24 and 27. The same on a plain thread.
#[test]
fn a_timeout_ends_every_wait_of_a_plain_thread() {
    within(LIMIT, "a timeout around every wait of a thread", || {
        each_row("a plain thread", |row| {
            if row.coroutines_only {
                return;
            }
            for limit in [SHORT, Duration::ZERO] {
                let call = (row.make)();
                let ended: Result<(), Elapsed> = withy::timeout(limit, call.wait);
                assert!(ended.is_err());
                (call.after)();
                withy::sleep(Duration::from_micros(10));
            }
        });
    });
}

/// Promise 27. A token's cancellation ends the region that waits, of a coroutine and of a plain thread.
#[test]
fn a_token_ends_every_wait() {
    each_runtime("a token around every wait", |runtime, label| {
        each_row(label, |row| {
            let call = (row.make)();
            let token = withy::CancelToken::new();
            let waiter = runtime.spawn({
                let token = token.clone();
                move || token.run(call.wait)
            });
            token.cancel();
            let ended: Result<(), Cancelled> = waiter.join().unwrap();
            assert!(ended.is_err());
            if !row.coroutines_only {
                let call = (row.make)();
                let token = withy::CancelToken::new();
                let waiter = std::thread::spawn({
                    let token = token.clone();
                    move || token.run(call.wait)
                });
                token.cancel();
                let ended: Result<(), Cancelled> = waiter.join().unwrap();
                assert!(ended.is_err());
            }
        });
    });
}

/// Law 6. Under a shield no wait is cut short: one that has a limit of its own inside ends by that.
#[test]
fn a_shield_keeps_every_wait() {
    each_runtime("shields around every wait", |runtime, label| {
        each_row(label, |row| {
            let call = (row.make)();
            let shielded = Arc::new(AtomicBool::new(false));
            let waiter = runtime.spawn({
                let shielded = shielded.clone();
                move || {
                    withy::shield(|| {
                        shielded.store(true, Ordering::SeqCst);
                        assert!(withy::timeout(SHORT, call.wait).is_err());
                    });
                    (call.after)();
                }
            });
            until(|| shielded.load(Ordering::SeqCst));
            waiter.cancel();
            // What comes after the shield may have met the cancellation, or not have waited at all.
            if let Err(payload) = waiter.join() {
                assert!(payload.is::<Cancelled>(), "{}", text_of(&*payload));
            }
        });
    });
}

/// Runs `body` for each row that has a call of its own; a failure names the row.
fn each_row(label: &str, body: impl Fn(&Row)) {
    for row in rows().iter().filter(|row| row.like.is_none()) {
        within(LIMIT, &format!("{} ({label})", row.name), || {
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| body(row))) {
                panic!("{} ({label}): {}", row.name, text_of(&*payload));
            }
        });
    }
}
