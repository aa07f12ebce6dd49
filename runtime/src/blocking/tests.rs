//! The pool, from coroutines and plain threads.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::run;
use crate::{Runtime, no_park, spawn, yield_now};

const SHORT: Duration = Duration::from_millis(20);

fn runtime(workers: usize) -> Runtime {
    Runtime::builder()
        .workers(workers)
        .build()
        .expect("a runtime")
}

fn thread_name() -> Option<String> {
    thread::current().name().map(str::to_owned)
}

/// The worker runs others meanwhile: twenty sleepers on one worker sleep at the same time.
#[test]
fn what_blocks_runs_on_threads_of_its_own() {
    static AT_ONCE: AtomicUsize = AtomicUsize::new(0);
    runtime(1).run(|| {
        let sleepers: Vec<_> = (0..20)
            .map(|_| {
                spawn(|| {
                    run(|| {
                        AT_ONCE.fetch_add(1, Ordering::SeqCst);
                        while AT_ONCE.load(Ordering::SeqCst) < 20 {
                            thread::sleep(Duration::from_millis(1));
                        }
                        thread_name()
                    })
                })
            })
            .collect();
        for sleeper in sleepers {
            assert_eq!(sleeper.join().unwrap().as_deref(), Some("withy-blocking"));
        }
    });
}

/// More jobs than the pool has threads: all are done.
#[test]
fn the_queue_is_worked_off() {
    runtime(2).run(|| {
        let jobs: Vec<_> = (0..2_000).map(|i| spawn(move || run(move || i))).collect();
        let sum: usize = jobs.into_iter().map(|job| job.join().unwrap()).sum();
        assert_eq!(sum, 1_999_000);
    });
}

/// The closure borrows from the caller's stack, and its value comes back.
#[test]
fn a_closure_may_borrow() {
    runtime(1).run(|| {
        let mut words = vec![String::from("lent")];
        let len = run(|| {
            words.push(String::from("changed"));
            words.len()
        });
        assert_eq!((len, &*words[1]), (2, "changed"));
    });
}

/// Promise 52: a panic reaches the caller, with its payload, and the pool goes on.
#[test]
fn a_panic_reaches_the_caller() {
    runtime(1).run(|| {
        let payload = catch_unwind(|| run(|| std::panic::resume_unwind(Box::new(7)))).unwrap_err();
        assert_eq!(payload.downcast_ref::<i32>(), Some(&7));
        assert_eq!(run(|| 1), 1);
    });
}

/// A plain thread needs no other.
#[test]
fn a_plain_thread_runs_it_itself() {
    assert_eq!(run(thread_name), thread_name());
}

/// Where parking panics, the caller still waits for the end before the borrows end.
#[test]
fn a_forbidden_wait_does_not_end_the_borrow() {
    runtime(1).run(|| {
        let mut done = false;
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            no_park(|| {
                run(|| {
                    thread::sleep(SHORT);
                    done = true;
                })
            })
        }));
        assert!(outcome.is_err() && done);
        yield_now();
    });
}

/// Law 6: work that has started is waited for, even when the runtime shuts down; then the caller unwinds.
#[test]
fn shutdown_waits_for_work_that_has_started() {
    static STEPS: AtomicUsize = AtomicUsize::new(0);
    let runtime = runtime(1);
    let worker = runtime.spawn(|| {
        run(|| {
            STEPS.fetch_add(1, Ordering::SeqCst);
            thread::sleep(SHORT * 5);
            STEPS.fetch_add(1, Ordering::SeqCst);
        });
        crate::park();
        STEPS.fetch_add(100, Ordering::SeqCst);
    });
    while STEPS.load(Ordering::SeqCst) == 0 {
        thread::sleep(Duration::from_millis(1));
    }
    runtime
        .shutdown(Duration::from_secs(5))
        .expect("the coroutine unwinds");
    assert_eq!(STEPS.load(Ordering::SeqCst), 2);
    assert!(worker.join().is_err());
}
