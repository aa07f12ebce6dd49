//! The pools, from coroutines and plain threads.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use super::queue::{Push, Queue};
use super::{blocking, compute};
use crate::{Runtime, RuntimeBuilder, context, no_park, spawn, yield_now};

const SHORT: Duration = Duration::from_millis(20);
/// Guards against hanging only.
const LIMIT: Duration = Duration::from_secs(60);

fn builder(workers: usize) -> RuntimeBuilder {
    Runtime::builder().workers(workers)
}

fn runtime(workers: usize) -> Runtime {
    builder(workers).build().expect("a runtime")
}

fn thread_name() -> Option<String> {
    thread::current().name().map(str::to_owned)
}

/// Callers outstanding in the calling coroutine's runtime.
fn outstanding() -> usize {
    let worker = context::current_worker().expect("a coroutine");
    worker.shared().pools.outstanding()
}

/// Lets others run until `condition` holds.
fn until(condition: impl Fn() -> bool) {
    let end = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < end, "waited {LIMIT:?}");
        yield_now();
    }
}

/// The worker runs others meanwhile: twenty sleepers on one worker sleep at the same time.
#[test]
fn what_blocks_runs_on_threads_of_its_own() {
    static AT_ONCE: AtomicUsize = AtomicUsize::new(0);
    runtime(1).run(|| {
        let sleepers: Vec<_> = (0..20)
            .map(|_| {
                spawn(|| {
                    blocking(|| {
                        AT_ONCE.fetch_add(1, Ordering::SeqCst);
                        while AT_ONCE.load(Ordering::SeqCst) < 20 {
                            thread::sleep(Duration::from_millis(1));
                        }
                        thread_name().expect("a name")
                    })
                })
            })
            .collect();
        let mut names: Vec<_> = sleepers.into_iter().map(|s| s.join().unwrap()).collect();
        names.sort_by_key(|name| (name.len(), name.clone()));
        let all: Vec<_> = (1..=20).map(|n| format!("withy-blocking-{n}")).collect();
        assert_eq!(names, all);
    });
}

/// The closure borrows from the caller's stack, and its value comes back.
#[test]
fn a_closure_may_borrow() {
    runtime(1).run(|| {
        let mut words = vec![String::from("lent")];
        let len = blocking(|| {
            words.push(String::from("changed"));
            words.len()
        });
        assert_eq!((len, &*words[1]), (2, "changed"));
    });
}

/// A plain thread needs no other, and a job is a plain thread's.
#[test]
fn a_plain_thread_runs_it_itself() {
    assert_eq!(blocking(thread_name), thread_name());
    assert_eq!(compute(thread_name), thread_name());
    runtime(1).run(|| {
        let (outer, inner) = blocking(|| (thread_name(), compute(thread_name)));
        assert_eq!(outer, inner);
    });
}

/// Where parking is forbidden nothing is started.
#[test]
fn a_forbidden_wait_starts_nothing() {
    runtime(1).run(|| {
        let mut done = false;
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            no_park(|| blocking(|| done = true));
        }));
        assert!(outcome.is_err() && !done);
    });
}

/// When parking panics after the work has begun, its end is waited for before the borrows end, and the panic goes on.
#[test]
fn a_panic_of_parking_does_not_end_the_borrow() {
    static STARTED: AtomicBool = AtomicBool::new(false);
    let runtime = builder(1)
        .on_switch(
            || {
                // With the closure on its way only: then no withdrawal can win.
                let end = Instant::now() + LIMIT;
                while !STARTED.load(Ordering::SeqCst) && Instant::now() < end {
                    thread::yield_now();
                }
                assert!(!STARTED.swap(false, Ordering::SeqCst), "a hook panics");
            },
            |()| (),
        )
        .build()
        .unwrap();
    runtime.run(|| {
        let mut done = false;
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            blocking(|| {
                STARTED.store(true, Ordering::SeqCst);
                thread::sleep(SHORT);
                done = true;
            })
        }));
        assert!(outcome.is_err() && done);
        assert_eq!(outstanding(), 0);
    });
}

/// Law 6: work that has started is waited for, even when the runtime shuts down; its value comes back, and the caller
/// unwinds at its next blocking call.
#[test]
fn shutdown_waits_for_work_that_has_started() {
    static STEPS: AtomicUsize = AtomicUsize::new(0);
    let runtime = runtime(1);
    let (started, start) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let worker = runtime.spawn(move || {
        let value = blocking(move || {
            started.send(()).unwrap();
            released.recv().unwrap_err();
            7
        });
        STEPS.fetch_add(value, Ordering::SeqCst);
        crate::park();
        STEPS.fetch_add(100, Ordering::SeqCst);
    });
    start.recv().unwrap();
    let (told, neighbour) = mpsc::channel::<()>();
    runtime.spawn(move || {
        let _told = told;
        crate::park();
    });
    let ender = thread::spawn(move || runtime.shutdown(LIMIT));
    // The end has begun, and reached one that does not work.
    neighbour.recv().unwrap_err();
    assert!(!ender.is_finished());
    drop(release);
    ender.join().unwrap().expect("the coroutine unwinds");
    assert_eq!(STEPS.load(Ordering::SeqCst), 7);
    assert!(worker.join().is_err());
}

/// Law 6: what is still queued when its callers are told to unwind is dropped without being run, also when that empties
/// a long queue, and others get their turn.
#[test]
fn what_is_queued_is_withdrawn() {
    const QUEUED: usize = 1_000;
    static RAN: AtomicUsize = AtomicUsize::new(0);
    struct Owned(Arc<AtomicUsize>);
    impl Drop for Owned {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    for workers in [1, 2, 8] {
        RAN.store(0, Ordering::SeqCst);
        let dropped = Arc::new(AtomicUsize::new(0));
        let runtime = builder(workers).blocking_threads(1).build().unwrap();
        let (started, start) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let first = runtime.spawn(move || {
            blocking(move || {
                started.send(()).unwrap();
                released.recv().unwrap_err();
            });
        });
        start.recv().unwrap();
        let queued: Vec<_> = (0..QUEUED)
            .map(|_| {
                let owned = Owned(dropped.clone());
                runtime.spawn(move || {
                    blocking(move || {
                        let _owned = owned;
                        RAN.fetch_add(1, Ordering::SeqCst);
                    });
                    unreachable!("it unwinds");
                })
            })
            .collect();
        runtime.run(|| until(|| outstanding() == QUEUED + 1));
        let ender = thread::spawn(move || runtime.shutdown(LIMIT));
        // Each ends although the pool's one thread is held.
        for handle in queued {
            assert!(handle.join().is_err());
        }
        assert_eq!(dropped.load(Ordering::SeqCst), QUEUED);
        assert!(!ender.is_finished(), "work that has started is waited for");
        drop(release);
        ender.join().unwrap().unwrap();
        assert!(first.join().is_ok());
        assert_eq!(RAN.load(Ordering::SeqCst), 0);
    }
}

/// The count of callers is exact on the one worker: up before the caller parks, down when it has gone on.
#[test]
fn outstanding_counts_callers_exactly() {
    runtime(1).run(|| {
        assert_eq!(outstanding(), 0);
        let (release, released) = mpsc::channel::<()>();
        let waiter = spawn(move || {
            blocking(move || released.recv().unwrap_err());
            outstanding()
        });
        until(|| outstanding() == 1);
        drop(release);
        assert_eq!(waiter.join().unwrap(), 0);
        assert_eq!(compute(|| 1), 1);
        assert_eq!(outstanding(), 0);
    });
}

/// Any idle time can be asked for.
#[test]
fn idle_times_are_taken_as_they_come() {
    for idle in [Duration::ZERO, Duration::MAX] {
        let runtime = builder(1).blocking_idle(idle).build().unwrap();
        for n in 0..20 {
            assert_eq!(runtime.run(|| blocking(|| n)), n);
        }
        runtime.shutdown(LIMIT).unwrap();
    }
}

/// The queue itself: oldest first, withdrawn ones gone for good, and a ticket that matches nothing else.
#[test]
fn a_ticket_withdraws_its_own_job_only() {
    let mut queue = Queue::new(1);
    let (first, push) = queue.push('a');
    assert_eq!(push, Push::Start);
    let (second, push) = queue.push('b');
    assert_eq!(push, Push::Wait);
    for job in ['c', 'd'] {
        assert_eq!(queue.push(job).1, Push::Wait);
    }
    assert!(queue.withdraw(second) && !queue.withdraw(second));
    assert_eq!(queue.take(), Some('a'));
    assert!(!queue.withdraw(first));
    assert_eq!([queue.take(), queue.take()], [Some('c'), Some('d')]);
    assert_eq!(queue.take(), None);
}

/// Promise 47. Threads that cannot be started leave their jobs to those that live, or else to the last that failed.
#[test]
fn a_failed_start_leaves_its_job_to_others() {
    let mut queue = Queue::new(3);
    for job in 0..2 {
        assert_eq!(queue.push(job).1, Push::Start);
    }
    // Of two starts under way the first fails: the second may succeed yet.
    queue.start_failed();
    assert_eq!(queue.take_alone(), None);
    queue.start_failed();
    assert_eq!([queue.take_alone(), queue.take_alone()], [Some(0), Some(1)]);
    assert_eq!(queue.take_alone(), None);
}

/// A job that an idle thread was notified for does not count on it twice: the next one gets a thread of its own.
#[test]
fn an_idle_thread_is_good_for_one_job() {
    let mut queue = Queue::new(2);
    assert_eq!(queue.push(0).1, Push::Start);
    assert_eq!(queue.take(), Some(0));
    queue.rest();
    assert_eq!(queue.push(1).1, Push::Notify);
    assert_eq!(queue.push(2).1, Push::Start);
    queue.wake();
    assert!(!queue.leave(), "it is needed");
    assert_eq!([queue.take(), queue.take()], [Some(1), Some(2)]);
    assert!(queue.leave());
}
