//! Where coroutines run: `spawn_local`, `spawn_on`, `run`, and hooks around their suspensions.

mod rig;
mod support;

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rig::process::thread_id;
use rig::{each_runtime, text_of};
use support::{LIMIT, within};

/// Closures and results that are not `Send` stay on the worker of both; in full stealing the parent stays too.
#[test]
fn local_coroutines_share_what_is_not_send() {
    each_runtime("local coroutines", |runtime, label| {
        runtime.run(|| {
            let home = thread_id();
            let log = Rc::new(RefCell::new(Vec::new()));
            let children: Vec<_> = (0..50)
                .map(|n| {
                    let log = log.clone();
                    withy::spawn_local(move || {
                        for _ in 0..5 {
                            withy::yield_now();
                            (0..2_000).for_each(|_| std::hint::spin_loop());
                            log.borrow_mut().push(n);
                            assert_eq!(thread_id(), home);
                        }
                        Rc::new(n)
                    })
                })
                .collect();
            // Thieves come by while the children hold the worker.
            for _ in 0..200 {
                withy::yield_now();
                assert_eq!(
                    thread_id(),
                    home,
                    "the parent has left its children, {label}"
                );
            }
            let sum: i32 = children
                .into_iter()
                .map(|child| *child.join().unwrap())
                .sum();
            assert_eq!(sum, 49 * 50 / 2);
            assert_eq!(log.borrow().len(), 250, "{label}");
            assert_eq!(thread_id(), home, "{label}");
            assert_eq!(Rc::strong_count(&log), 1);
        });
    });
}

/// A plain thread has no worker for the closure to stay on; it is told what to do instead.
#[test]
fn spawn_local_panics_outside_a_coroutine() {
    let payload = catch_unwind(|| withy::spawn_local(|| ()).join()).unwrap_err();
    let text = text_of(&*payload);
    assert!(
        text.contains("spawn_local") && text.contains("inside a coroutine"),
        "{text}"
    );
}

/// From a coroutine of the runtime, each worker can be aimed at, and in fresh-stealing is kept for life.
#[test]
fn spawn_on_starts_on_the_worker_asked_for() {
    each_runtime("spawn_on", |runtime, label| {
        let workers = runtime.workers();
        runtime.run(|| {
            let threads: Vec<_> = (0..workers)
                .map(|worker| withy::spawn_on(worker, thread_id).join().unwrap())
                .collect();
            let mut distinct = threads.clone();
            distinct.sort_unstable();
            distinct.dedup();
            assert_eq!(distinct.len(), workers, "{label}: {threads:?}");
            for (worker, thread) in threads.iter().enumerate() {
                let again = withy::spawn_on(worker, thread_id);
                assert_eq!(again.join().unwrap(), *thread, "{label}");
            }
        });
    });
}

/// A worker that does not exist is named together with those that do.
#[test]
fn spawn_on_panics_for_a_worker_that_does_not_exist() {
    each_runtime("spawn_on beyond", |runtime, _| {
        let workers = runtime.workers();
        let payload = runtime
            .spawn(move || withy::spawn_on(workers, || ()).join())
            .join();
        let payload = payload.map(drop).unwrap_err();
        let text = text_of(&*payload);
        assert!(
            text.contains(&format!("there is no worker {workers}")),
            "{text}"
        );
    });
}

/// In fresh-stealing a started coroutine never leaves its worker.
#[test]
fn a_started_coroutine_stays_on_its_worker() {
    for workers in [2, 8] {
        within(LIMIT, "coroutines that stay", || {
            let runtime = support::runtime(workers, false);
            let children: Vec<_> = (0..200)
                .map(|_| {
                    runtime.spawn(|| {
                        let home = thread_id();
                        (0..50).all(|_| {
                            withy::yield_now();
                            thread_id() == home
                        })
                    })
                })
                .collect();
            assert!(children.into_iter().all(|child| child.join().unwrap()));
        });
    }
}

/// In full stealing it does move when its worker is busy with something else: that is what the mode is for.
#[test]
fn full_stealing_moves_started_coroutines_off_a_busy_worker() {
    within(LIMIT, "a coroutine that moves", || {
        let runtime = support::runtime(2, true);
        runtime.run(|| {
            let workers = [0, 1].map(|worker| withy::spawn_on(worker, thread_id).join().unwrap());
            loop {
                let home = thread_id();
                let here = workers.iter().position(|&worker| worker == home).unwrap();
                // Next on this worker, and it holds it: whoever goes on sooner than that has moved.
                let blocker = withy::spawn_on(here, || {
                    let start = Instant::now();
                    while start.elapsed() < Duration::from_millis(5) {
                        std::hint::spin_loop();
                    }
                });
                withy::yield_now();
                if thread_id() != home {
                    return blocker.join().unwrap();
                }
            }
        });
    });
}

/// `run` borrows from its caller, gives back the value, and carries a panic over.
#[test]
fn run_borrows_and_gives_the_value_back() {
    each_runtime("run", |runtime, _| {
        let words = ["plain".to_owned(), "blocking".to_owned()];
        let mut lengths = Vec::new();
        let total: usize = runtime.run(|| {
            withy::yield_now();
            lengths.extend(words.iter().map(String::len));
            lengths.iter().sum()
        });
        assert_eq!((total, lengths.len()), (13, 2));
        let payload = catch_unwind(AssertUnwindSafe(|| {
            runtime.run(|| panic!("inside {}", words[0]))
        }));
        assert_eq!(text_of(&*payload.unwrap_err()), "inside plain");
    });
}

/// Inside a coroutine of the runtime it just runs; inside one of another runtime it goes over and comes back.
#[test]
fn run_nests_and_crosses_runtimes() {
    each_runtime("run within run", |runtime, label| {
        let other = support::runtime(2, false);
        let (outer, nested, across, back) = runtime.run(|| {
            let outer = withy::current().id();
            let nested = runtime.run(|| withy::current().id());
            let across = other.run(|| withy::current().id());
            (outer, nested, across, withy::current().id())
        });
        assert_eq!(outer, nested, "{label}");
        assert_ne!(outer, across, "{label}");
        assert_eq!(outer, back, "{label}");
    });
}

thread_local!(static DEPTH: Cell<u32> = const { Cell::new(0) });

/// The value that `save` took is the one that `restore` gets, for each coroutine its own, over every kind of wait.
#[test]
fn switch_hooks_keep_each_coroutines_own_value() {
    for workers in [1, 2] {
        within(LIMIT, "hooks", || {
            let saves = Arc::new(AtomicUsize::new(0));
            let restores = Arc::new(AtomicUsize::new(0));
            let runtime = withy::Runtime::builder()
                .workers(workers)
                .on_switch(
                    {
                        let saves = saves.clone();
                        move || {
                            saves.fetch_add(1, Ordering::SeqCst);
                            DEPTH.replace(0)
                        }
                    },
                    {
                        let restores = restores.clone();
                        move |depth| {
                            restores.fetch_add(1, Ordering::SeqCst);
                            DEPTH.set(depth);
                        }
                    },
                )
                .build()
                .unwrap();
            let children: Vec<_> = (1..=20)
                .map(|own| {
                    runtime.spawn(move || {
                        assert_eq!(DEPTH.get(), 0, "a neighbour's value shows");
                        DEPTH.set(own);
                        for _ in 0..10 {
                            withy::yield_now();
                            assert_eq!(DEPTH.get(), own);
                            withy::sleep(Duration::from_micros(10));
                            assert_eq!(DEPTH.get(), own);
                        }
                        DEPTH.set(0);
                    })
                })
                .collect();
            children.into_iter().for_each(|child| child.join().unwrap());
            let saves = saves.load(Ordering::SeqCst);
            assert!(saves >= 20 * 20, "{saves} suspensions were seen");
            assert_eq!(saves, restores.load(Ordering::SeqCst));
        });
    }
}
