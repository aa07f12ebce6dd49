//! What the tests of the runtime itself share beside `support`: every sort of runtime in turn, processes of their own,
//! and what the system says of this process. Every test crate includes this module whole and uses a part of it.
#![allow(dead_code, reason = "each test crate uses its own part")]

pub(crate) mod child;
pub(crate) mod endings;
pub(crate) mod example;
pub(crate) mod network;
pub(crate) mod parties;
pub(crate) mod places;
pub(crate) mod process;
pub(crate) mod serving;
pub(crate) mod storm;
pub(crate) mod tools;
pub(crate) mod trace;

use std::sync::atomic::{AtomicUsize, Ordering};

use withy::{Runtime, Steal};

use crate::support::{LIMIT, within};

/// Runs `body` on a runtime of 1, 2 and 8 workers in both steal modes, each within `LIMIT`. The text says which it is.
pub(crate) fn each_runtime(what: &str, body: impl Fn(&Runtime, &str)) {
    for workers in [1, 2, 8] {
        for full_stealing in [false, true] {
            let label = format!("{workers} workers, full stealing {full_stealing}");
            within(LIMIT, &format!("{what} ({label})"), || {
                // One thread for each pool, so that a second job waits.
                let runtime = Runtime::builder()
                    .workers(workers)
                    .steal(steal(full_stealing))
                    .blocking_threads(1)
                    .compute_threads(1)
                    .build()
                    .expect("a runtime can be built");
                body(&runtime, &label);
            });
        }
    }
}

/// A mode of stealing by its name in the tests' labels.
pub(crate) fn steal(full_stealing: bool) -> Steal {
    if full_stealing {
        // SAFETY: what these tests hold over a blocking call is `Send` and neither thread-local nor locked by thread.
        unsafe { Steal::started() }
    } else {
        Steal::fresh()
    }
}

/// How often a stress test repeats: `WITHY_STRESS_ROUNDS`, or else a few times.
pub(crate) fn stress_rounds() -> usize {
    match std::env::var("WITHY_STRESS_ROUNDS") {
        Ok(text) => text.parse().expect("WITHY_STRESS_ROUNDS is a whole number"),
        Err(_) => 1,
    }
}

/// Counts its drops.
pub(crate) struct Drops<'a>(pub(crate) &'a AtomicUsize);

impl Drop for Drops<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Waits for a count that other threads or coroutines raise. The watchdog around the test ends it if it never comes.
pub(crate) fn until(condition: impl Fn() -> bool) {
    while !condition() {
        withy::sleep(std::time::Duration::from_micros(100));
    }
}

/// The text of a panic.
pub(crate) fn text_of(payload: &(dyn std::any::Any + Send)) -> &str {
    payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("a payload that is no text")
}
