//! How many coroutines there can be at a time, and what becomes of their stacks.

mod rig;
mod support;

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rig::child::alone;
use rig::until;
use support::within;

const LIMIT: Duration = Duration::from_secs(300);

/// A hundred thousand, parked at once, each with a guard of its own, on mappings that do not grow with them.
#[test]
fn a_hundred_thousand_guarded_coroutines_park_at_once() {
    const TEST: &str = "a_hundred_thousand_guarded_coroutines_park_at_once";
    const NUMBER: usize = 100_000;
    if !alone(TEST, &[]) {
        return;
    }
    within(LIMIT, "100,000 parked coroutines", || {
        let runtime = support::runtime(2, false);
        let before = rig::process::mappings();
        let parked = Arc::new(AtomicUsize::new(0));
        let handles: Vec<_> = (0..NUMBER)
            .map(|n| {
                let parked = parked.clone();
                runtime.spawn(move || {
                    parked.fetch_add(1, Ordering::Relaxed);
                    withy::park();
                    n
                })
            })
            .collect();
        until(|| parked.load(Ordering::Relaxed) == NUMBER);
        let added = rig::process::mappings().saturating_sub(before);
        assert!(added < 2_000, "{added} mappings were added");
        handles
            .iter()
            .for_each(|handle| handle.coroutine().unpark());
        for (n, handle) in handles.into_iter().enumerate() {
            assert_eq!(handle.join().unwrap(), n);
        }
    });
}

/// Promise 46. Guards by `mprotect` end at `vm.max_map_count`: the error names it, and what lives goes on.
#[test]
fn guards_by_mprotect_end_with_an_error_that_names_the_limit() {
    const TEST: &str = "guards_by_mprotect_end_with_an_error_that_names_the_limit";
    if !alone(TEST, &[]) {
        return;
    }
    within(LIMIT, "coroutines up to the limit of mappings", || {
        let runtime = withy::Runtime::builder()
            .workers(2)
            .mprotect_guards()
            .build()
            .unwrap();
        let (handles, error) = runtime.run(|| {
            let mut handles = Vec::new();
            loop {
                match withy::Builder::new().spawn(withy::park) {
                    Ok(handle) => handles.push(handle),
                    Err(error) => return (handles, error),
                }
                assert!(
                    handles.len() < 1_000_000,
                    "vm.max_map_count is no limit on this machine"
                );
            }
        });
        assert_eq!(error.kind(), ErrorKind::OutOfMemory);
        assert!(error.to_string().contains("vm.max_map_count"), "{error}");
        assert!(handles.len() > 10_000, "{} coroutines", handles.len());
        handles
            .iter()
            .for_each(|handle| handle.coroutine().unpark());
        handles
            .into_iter()
            .for_each(|handle| handle.join().unwrap());
        assert_eq!(runtime.run(|| withy::spawn(|| 3).join().unwrap()), 3);
    });
}

/// Stacks are used again: ten thousand coroutines, one after the other or a few at a time, need the mappings of a few.
#[test]
fn stacks_of_ended_coroutines_are_used_again() {
    const TEST: &str = "stacks_of_ended_coroutines_are_used_again";
    if !alone(TEST, &[]) {
        return;
    }
    within(LIMIT, "10,000 short coroutines", || {
        let runtime = support::runtime(2, false);
        let batch = || {
            let handles: Vec<_> = (0..50).map(|_| runtime.spawn(withy::yield_now)).collect();
            handles
                .into_iter()
                .for_each(|handle| handle.join().unwrap());
        };
        (0..20).for_each(|_| batch());
        let before = (rig::process::mappings(), rig::process::status("VmRSS"));
        (0..200).for_each(|_| batch());
        let after = (rig::process::mappings(), rig::process::status("VmRSS"));
        assert!(
            after.0 <= before.0 + 8,
            "{} mappings, then {}",
            before.0,
            after.0
        );
        assert!(
            after.1 <= before.1 + 4_096,
            "{} KiB, then {}",
            before.1,
            after.1
        );
    });
}
