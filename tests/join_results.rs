//! What a join handle gives back, and what becomes of results that nobody joins.

mod rig;
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rig::{Drops, each_runtime, text_of, until};
use support::{LIMIT, within};

/// The value comes back to a thread and to a coroutine, also when the coroutine has ended long before.
#[test]
fn join_gives_the_value_to_threads_and_coroutines() {
    each_runtime("values of joined coroutines", |runtime, _| {
        let early = runtime.spawn(|| String::from("early"));
        until(|| early.is_finished());
        assert_eq!(early.join().unwrap(), "early");

        let late = runtime.spawn(|| {
            withy::sleep(Duration::from_millis(2));
            String::from("late")
        });
        assert_eq!(late.join().unwrap(), "late");

        let sum = runtime.run(|| {
            let children: Vec<_> = (0..100_u64).map(|n| withy::spawn(move || n)).collect();
            children
                .into_iter()
                .map(|child| child.join().unwrap())
                .sum::<u64>()
        });
        assert_eq!(sum, 4950);
    });
}

/// Promise 52. The worker and its other coroutines go on.
#[test]
fn a_panic_reaches_its_joiner_only() {
    each_runtime("the joiner of a panic", |runtime, _| {
        let neighbours: Vec<_> = (0..8)
            .map(|n| {
                runtime.spawn(move || {
                    for _ in 0..50 {
                        withy::yield_now();
                    }
                    n
                })
            })
            .collect();
        let failing = runtime.spawn(|| {
            withy::yield_now();
            std::panic::panic_any(Payload(42));
        });
        let payload = failing.join().unwrap_err();
        assert_eq!(payload.downcast_ref::<Payload>().unwrap().0, 42);
        for (n, neighbour) in neighbours.into_iter().enumerate() {
            assert_eq!(neighbour.join().unwrap(), n);
        }
        assert!(
            runtime.run(|| !std::thread::panicking()),
            "the panic is over for the worker"
        );
        assert_eq!(runtime.spawn(|| 5).join().unwrap(), 5);
    });
}

#[derive(Debug)]
struct Payload(i32);

/// Promise 52. A panic that nobody joins ends its coroutine, and nothing else.
#[test]
fn a_panic_of_a_detached_coroutine_is_dropped_with_its_payload() {
    static DROPPED: AtomicUsize = AtomicUsize::new(0);
    each_runtime("a detached panic", |runtime, _| {
        DROPPED.store(0, Ordering::SeqCst);
        drop(runtime.spawn(|| std::panic::panic_any(Drops(&DROPPED))));
        until(|| DROPPED.load(Ordering::SeqCst) == 1);
        assert_eq!(runtime.run(|| 1), 1);
    });
}

/// Whether the handle is dropped before the start, during the run, or after the end.
#[test]
fn a_detached_result_is_dropped_exactly_once() {
    static DROPPED: AtomicUsize = AtomicUsize::new(0);
    each_runtime("results that nobody joins", |runtime, label| {
        DROPPED.store(0, Ordering::SeqCst);
        for _ in 0..20 {
            drop(runtime.spawn(|| Drops(&DROPPED)));
            let held = runtime.spawn(|| {
                withy::park();
                Drops(&DROPPED)
            });
            let parked = held.coroutine();
            drop(held);
            parked.unpark();
            let ended = runtime.spawn(|| Drops(&DROPPED));
            until(|| ended.is_finished());
            drop(ended);
        }
        until(|| DROPPED.load(Ordering::SeqCst) >= 60);
        assert_eq!(DROPPED.load(Ordering::SeqCst), 60, "{label}");
    });
}

/// The same handles, dropped while their coroutine stores its result.
#[test]
fn stress_results_are_dropped_once_when_the_end_races_the_detaching() {
    within(LIMIT * 2, "racing detaches", || {
        let dropped = Arc::new(AtomicUsize::new(0));
        struct Counted(Arc<AtomicUsize>);
        impl Drop for Counted {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        let runtime = support::runtime(2, false);
        let spawned = 5_000 * rig::stress_rounds();
        for _ in 0..spawned {
            let dropped = dropped.clone();
            drop(runtime.spawn(move || Counted(dropped)));
        }
        until(|| dropped.load(Ordering::SeqCst) >= spawned);
        drop(runtime);
        assert_eq!(dropped.load(Ordering::SeqCst), spawned);
    });
}

/// As std's: false while it runs, true once `join` would not wait.
#[test]
fn is_finished_turns_true_at_the_end() {
    each_runtime("the end of a coroutine", |runtime, _| {
        let go = Arc::new(AtomicBool::new(false));
        let waiter = runtime.spawn({
            let go = go.clone();
            move || {
                while !go.load(Ordering::SeqCst) {
                    withy::park();
                }
            }
        });
        assert!(!waiter.is_finished());
        go.store(true, Ordering::SeqCst);
        waiter.coroutine().unpark();
        until(|| waiter.is_finished());
        waiter.join().unwrap();
    });
}

struct PanicsWhenDropped(Arc<AtomicUsize>);

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
        panic!("a result's destructor");
    }
}

/// The "a panic in the destructor of a result": on the coroutine's side it stays there.
#[test]
fn a_panic_in_the_destructor_of_a_detached_result_harms_nobody() {
    each_runtime("a panicking destructor", |runtime, _| {
        let dropped = Arc::new(AtomicUsize::new(0));
        for _ in 0..3 {
            let dropped = dropped.clone();
            drop(runtime.spawn(move || {
                withy::yield_now();
                PanicsWhenDropped(dropped)
            }));
        }
        until(|| dropped.load(Ordering::SeqCst) == 3);
        assert_eq!(runtime.run(|| 1), 1);
    });
}

/// A joined result belongs to the joiner, its panicking destructor too.
#[test]
fn a_panic_in_the_destructor_of_a_joined_result_is_the_joiners() {
    each_runtime("a joined panicking destructor", |runtime, _| {
        let dropped = Arc::new(AtomicUsize::new(0));
        let result = runtime.spawn({
            let dropped = dropped.clone();
            move || PanicsWhenDropped(dropped)
        });
        let result = result.join().map_err(|_| ()).unwrap();
        let payload = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(result)))
            .expect_err("the destructor panics where the value is dropped");
        assert_eq!(text_of(&*payload), "a result's destructor");
        assert_eq!(dropped.load(Ordering::SeqCst), 1);
    });
}

/// Closures are dropped with what they own when their coroutine ends, before `join` returns.
#[test]
fn what_a_coroutine_owned_is_dropped_before_join_returns() {
    static DROPPED: AtomicUsize = AtomicUsize::new(0);
    each_runtime("owned values", |runtime, label| {
        DROPPED.store(0, Ordering::SeqCst);
        for n in 1..=50 {
            let owned = Drops(&DROPPED);
            runtime
                .spawn(move || {
                    let _owned = owned;
                    withy::yield_now();
                })
                .join()
                .unwrap();
            assert_eq!(DROPPED.load(Ordering::SeqCst), n, "{label}");
        }
    });
}

/// The joiner may itself be joined, across threads and coroutines.
#[test]
fn joins_chain_through_coroutines_and_threads() {
    each_runtime("a chain of joins", |runtime, _| {
        let mut last = runtime.spawn(|| 0_u32);
        for link in 0..20 {
            last = if link % 2 == 0 {
                runtime.spawn(move || last.join().unwrap() + 1)
            } else {
                let thread = std::thread::spawn(move || last.join().unwrap() + 1);
                // A thread cannot be joined without holding a worker, so the thread is awaited here.
                let value = thread.join().unwrap();
                runtime.spawn(move || value)
            };
        }
        assert_eq!(last.join().unwrap(), 20);
    });
}
