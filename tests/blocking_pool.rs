//! The pools for blocking and computing work: how many threads, their names, their end, and what becomes of the work.

mod rig;
mod support;

use std::io::ErrorKind;
use std::panic::catch_unwind;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use rig::process::{
    THREAD_STACK, descriptors, mappings, tasks, threads_may_start, threads_named,
    threads_once_named,
};
use rig::{Drops, child, each_runtime, steal, stress_rounds, until};
use support::{LIMIT, matrix, rest, within};
use withy::{RuntimeBuilder, blocking, compute, spawn, spawn_blocking};

fn thread_name() -> String {
    thread::current().name().unwrap_or_default().to_owned()
}

/// A builder for each number of workers and steal mode.
fn each_builder(what: &str, body: impl Fn(RuntimeBuilder)) {
    for workers in [1, 2, 8] {
        for full_stealing in [false, true] {
            within(LIMIT, what, || {
                let builder = withy::Runtime::builder();
                body(builder.workers(workers).steal(steal(full_stealing)));
            });
        }
    }
}

/// Work that borrows gives its value to any caller; a coroutine's runs elsewhere, a plain thread's on itself.
#[test]
fn work_is_lent_and_its_value_comes_back() {
    matrix(LIMIT, "lent work", |case| {
        let callers: Vec<_> = (0..100)
            .map(|n| {
                case.spawn(move || {
                    let here = thread::current().id();
                    let mut list = vec![n];
                    let elsewhere = blocking(|| {
                        list.push(n + 1);
                        thread::current().id() != here
                    });
                    let sum = compute(|| list.iter().sum::<usize>());
                    (elsewhere, sum)
                })
            })
            .collect();
        for (n, caller) in callers.into_iter().enumerate() {
            let (elsewhere, sum) = caller.join();
            assert_eq!(sum, 2 * n + 1);
            if case.callers == support::Callers::Coroutines {
                assert!(elsewhere, "a coroutine's work leaves the worker");
            } else if case.callers == support::Callers::Threads {
                assert!(!elsewhere);
            }
        }
    });
}

/// Many more jobs than threads: as many run at a time as may, never more, in both pools, and all are done.
#[test]
fn no_more_threads_than_allowed() {
    const MOST: usize = 3;
    each_builder("more jobs than threads", |builder| {
        let runtime = builder
            .blocking_threads(MOST)
            .compute_threads(MOST)
            .build()
            .unwrap();
        for computing in [false, true] {
            let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let counts = Arc::new((now, most));
            let job = {
                let counts = counts.clone();
                move || {
                    let at_once = counts.0.fetch_add(1, Ordering::SeqCst) + 1;
                    counts.1.fetch_max(at_once, Ordering::SeqCst);
                    // Until they were as many as may be: then all threads have been started.
                    until(|| counts.1.load(Ordering::SeqCst) >= MOST);
                    counts.0.fetch_sub(1, Ordering::SeqCst);
                }
            };
            let callers: Vec<_> = (0..300)
                .map(|_| {
                    let job = job.clone();
                    runtime.spawn(move || {
                        if computing {
                            compute(job)
                        } else {
                            blocking(job)
                        }
                    })
                })
                .collect();
            callers.into_iter().for_each(|c| c.join().unwrap());
            assert_eq!(counts.1.load(Ordering::SeqCst), MOST);
        }
    });
}

/// Blocking work that holds every thread of its pool leaves computing work alone, and the other way round.
#[test]
fn the_pools_do_not_wait_for_each_other() {
    each_builder("the other pool", |builder| {
        let runtime = builder
            .blocking_threads(1)
            .compute_threads(1)
            .build()
            .unwrap();
        let (release, released) = mpsc::channel::<()>();
        let holder = runtime.spawn(move || blocking(move || released.recv().unwrap_err()));
        assert_eq!(runtime.run(|| compute(|| 1)), 1);
        drop(release);
        holder.join().unwrap();
        let (release, released) = mpsc::channel::<()>();
        let holder = runtime.spawn(move || compute(move || released.recv().unwrap_err()));
        assert_eq!(runtime.run(|| blocking(|| 2)), 2);
        drop(release);
        holder.join().unwrap();
    });
}

/// The threads bear the runtime's name, leave when there has been nothing for them, and come back; however often, no
/// more handles are kept than threads.
#[test]
fn idle_threads_leave() {
    within(LIMIT, "idle threads to leave", || {
        let runtime = withy::Runtime::builder()
            .workers(2)
            .name("idl")
            .blocking_idle(Duration::from_millis(1))
            .build()
            .unwrap();
        for _ in 0..20 {
            let names = runtime.run(|| (blocking(thread_name), compute(thread_name)));
            assert!(names.0.starts_with("idl-blocking-"), "{names:?}");
            assert!(names.1.starts_with("idl-compute-"), "{names:?}");
            until(|| threads_named("idl-b").is_empty() && threads_named("idl-c").is_empty());
        }
        threads_once_named("idl-worker", 2);
    });
}

/// Promise 55. The end waits for threads that have left already but not ended, too: here one whose thread-local's destructor
/// takes its time while another leaves behind it.
#[test]
fn the_end_waits_for_threads_that_left_before() {
    static LEAVING: AtomicBool = AtomicBool::new(false);
    static MAY_LEAVE: AtomicBool = AtomicBool::new(false);
    static LEFT: AtomicBool = AtomicBool::new(false);
    struct Slow;
    impl Drop for Slow {
        fn drop(&mut self) {
            LEAVING.store(true, Ordering::SeqCst);
            while !MAY_LEAVE.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(1));
            }
            LEFT.store(true, Ordering::SeqCst);
        }
    }
    thread_local!(static SLOW: std::cell::Cell<Option<Slow>> = const { std::cell::Cell::new(None) });

    within(LIMIT, "threads that left", || {
        let runtime = withy::Runtime::builder()
            .workers(1)
            .name("slow")
            .blocking_idle(Duration::from_millis(1))
            .build()
            .unwrap();
        runtime.run(|| blocking(|| SLOW.set(Some(Slow))));
        until(|| LEAVING.load(Ordering::SeqCst));
        runtime.run(|| blocking(|| ()));
        // Mostly the second one is idle for long enough, leaves and joins the first; if not, the end waits for it as for any
        // other. Nothing tells of it from outside.
        thread::sleep(Duration::from_millis(20));
        let (id, thread_id) = mpsc::channel();
        let ender = thread::spawn(move || {
            id.send(rest::current_thread_id()).unwrap();
            runtime.shutdown(LIMIT).unwrap();
            assert!(LEFT.load(Ordering::SeqCst));
        });
        rest::until_all_sleep(&[thread_id.recv().unwrap()]);
        MAY_LEAVE.store(true, Ordering::SeqCst);
        ender.join().unwrap();
    });
}

/// A thread that has something to do again and again stays: twenty jobs in turn need one.
#[test]
fn a_thread_is_used_again() {
    each_builder("one thread", |builder| {
        let runtime = builder.name("again").build().unwrap();
        let names = runtime.run(|| {
            let one = || {
                let (name, id) = blocking(|| (thread_name(), rest::current_thread_id()));
                // It is idle again at some time after its caller was woken.
                until(|| rest::asleep(id).is_some());
                name
            };
            (0..20).map(|_| one()).collect::<Vec<_>>()
        });
        // A thread that is slow to rest costs another one now and then.
        assert!(
            names.iter().filter(|name| **name == names[0]).count() > 1,
            "{names:?}"
        );
    });
}

/// Promise 52. A panic reaches the caller alone, with its payload, or whoever joins it.
#[test]
fn a_panic_reaches_the_caller() {
    each_runtime("panics of lent work", |runtime, label| {
        runtime.run(|| {
            let ways: [fn(); 2] = [
                || blocking(|| std::panic::resume_unwind(Box::new(7))),
                || compute(|| std::panic::resume_unwind(Box::new(7))),
            ];
            for way in ways {
                let payload = catch_unwind(way).unwrap_err();
                assert_eq!(payload.downcast_ref::<i32>(), Some(&7), "{label}");
            }
            let child = spawn_blocking(|| std::panic::resume_unwind(Box::new(8)));
            let payload = child.join().unwrap_err();
            assert_eq!(payload.downcast_ref::<i32>(), Some(&8), "{label}");
            assert_eq!(blocking(|| 1) + compute(|| 1), 2);
        });
    });
}

/// `spawn_blocking` starts in the caller's runtime, or else in the default one; dropping its handle detaches it.
#[test]
fn blocking_work_can_be_spawned() {
    within(LIMIT, "spawned work", || {
        let name = spawn_blocking(thread_name).join().unwrap();
        assert!(name.starts_with("withy-blocking-"), "{name}");
    });
    each_builder("spawned work", |builder| {
        let runtime = builder.name("own").build().unwrap();
        let (done, told) = mpsc::channel();
        let name = runtime.run(|| {
            drop(spawn_blocking(move || done.send(1).unwrap()));
            spawn_blocking(thread_name).join().unwrap()
        });
        assert!(name.starts_with("own-blocking-"), "{name}");
        assert_eq!(told.recv(), Ok(1));
    });
}

/// Promises 27 and 55, law 6: at the end of the runtime, work that is queued is dropped unrun at once; work that runs is
/// waited for, and its value comes back before its caller unwinds.
#[test]
fn the_end_withdraws_what_is_queued_and_waits_for_what_runs() {
    static UNRUN: AtomicUsize = AtomicUsize::new(0);
    each_builder("the end of lent work", |builder| {
        UNRUN.store(0, Ordering::SeqCst);
        let runtime = builder.name("ended").blocking_threads(1).build().unwrap();
        let (started, start) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let (back, value) = mpsc::channel();
        let runs = runtime.spawn(move || {
            let work = move || {
                started.send(()).unwrap();
                released.recv().unwrap_err();
                5
            };
            back.send(blocking(work)).unwrap();
            withy::park();
        });
        start.recv().unwrap();
        let begun = Arc::new(AtomicUsize::new(0));
        let queued: Vec<_> = (0..100)
            .map(|_| {
                let (owned, begun) = (Drops(&UNRUN), begun.clone());
                runtime.spawn(move || {
                    begun.fetch_add(1, Ordering::SeqCst);
                    blocking(move || {
                        std::mem::forget(owned);
                    });
                })
            })
            .collect();
        // They are in the queue.
        until(|| begun.load(Ordering::SeqCst) == 100);
        rest::until_all_sleep(&rest::workers_of(&runtime));
        let ender = thread::spawn(move || runtime.shutdown(LIMIT));
        for caller in queued {
            assert!(caller.join().is_err());
        }
        assert_eq!(UNRUN.load(Ordering::SeqCst), 100);
        assert!(value.try_recv().is_err() && !ender.is_finished());
        drop(release);
        ender.join().unwrap().unwrap();
        assert_eq!(value.recv(), Ok(5));
        assert!(runs.join().is_err());
        // They were joined; the kernel's list may tell so a moment later.
        until(|| threads_named("ended").is_empty());
    });
}

/// Promise 55. Work that does not end keeps its caller unfinished: shutdown says so at its limit, and the threads leave
/// when it ends after all.
#[test]
fn shutdown_reports_work_that_does_not_end() {
    within(LIMIT, "work that does not end", || {
        let runtime = withy::Runtime::builder()
            .workers(2)
            .name("late")
            .build()
            .unwrap();
        let (started, start) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let caller = runtime.spawn(move || {
            blocking(move || {
                started.send(()).unwrap();
                released.recv().unwrap_err();
            });
        });
        start.recv().unwrap();
        let error = runtime.shutdown(Duration::from_millis(10)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert_eq!(threads_named("late-blocking").len(), 1);
        drop(release);
        caller.join().unwrap();
        until(|| threads_named("late").is_empty());
    });
}

/// Promise 56. Runtimes start and stop, with threads of their pools idle or just started, and leave nothing behind.
#[test]
fn stress_starts_and_stops_leave_no_threads() {
    if !child::alone("stress_starts_and_stops_leave_no_threads", &[]) {
        return;
    }
    let round = |n: usize| {
        let runtime = withy::Runtime::builder()
            .workers(1 + n % 2)
            .steal(steal(n.is_multiple_of(3)))
            .build()
            .unwrap();
        runtime.run(|| {
            let children: Vec<_> = (0..4).map(|n| spawn(move || blocking(|| n))).collect();
            compute(|| ());
            children.into_iter().for_each(|c| assert!(c.join().is_ok()));
        });
        drop(runtime);
    };
    // The watchdog's thread is there in all counts.
    within(2 * LIMIT, "starts and stops", || {
        // Before the first ones: a thread is joined a moment before the kernel takes it out of the list.
        let threads = tasks().len();
        // One that stays fails by the time limit.
        let until_all_left = || until(|| tasks().len() == threads);
        (0..10).for_each(round);
        until_all_left();
        let before = (descriptors(), mappings());
        let rounds = if cfg!(debug_assertions) { 200 } else { 1_000 };
        for n in 0..rounds * stress_rounds() {
            round(n);
            until_all_left();
        }
        assert_eq!(descriptors(), before.0);
        // Arenas and cached thread stacks of libc's may come and go.
        assert!(mappings() < before.1 + 50, "{} to {}", before.1, mappings());
    });
}

/// A coroutine ends another runtime: whose threads it joins without holding its worker.
#[test]
fn a_coroutine_may_end_another_runtime() {
    each_builder("the end of another runtime", |builder| {
        let other = withy::Runtime::builder().workers(1).name("other").build();
        let other = other.unwrap();
        other.run(|| blocking(|| ()));
        let runtime = builder.build().unwrap();
        runtime.run(move || other.shutdown(LIMIT)).unwrap();
        until(|| threads_named("other").is_empty());
    });
}

/// Promise 55. A runtime may end on a thread of its own pools, inside the work or in a destructor of a thread-local: it
/// cannot wait for what waits for that thread, nor join it.
#[test]
fn a_runtime_may_end_on_a_thread_of_its_pools() {
    thread_local!(static KEPT: std::cell::Cell<Option<Arc<withy::Runtime>>> = const { std::cell::Cell::new(None) });

    fn kept_by(name: &str) -> Arc<withy::Runtime> {
        let builder = withy::Runtime::builder()
            .workers(1)
            .name(name)
            .blocking_idle(Duration::from_millis(1))
            .shutdown_limit(2 * LIMIT);
        Arc::new(builder.build().unwrap())
    }
    within(LIMIT, "a runtime that ends inside its own work", || {
        let runtime = kept_by("inside");
        let (kept, alone) = (runtime.clone(), Arc::downgrade(&runtime));
        let work = runtime.spawn(move || {
            blocking(move || {
                until(|| Arc::strong_count(&kept) == 1);
                drop(kept);
            });
        });
        drop(runtime);
        work.join()
            .expect("the end does not reach into work that has begun");
        assert_eq!(alone.strong_count(), 0);
        until(|| threads_named("inside").is_empty());
    });
    within(
        LIMIT,
        "a runtime that ends with a thread of its pool",
        || {
            let runtime = kept_by("beside");
            let kept = runtime.clone();
            runtime.run(|| blocking(move || KEPT.set(Some(kept))));
            drop(runtime);
            until(|| threads_named("beside").is_empty());
        },
    );
}

/// A pool of no threads is refused, by the setting's name.
#[test]
fn pools_without_threads_are_refused() {
    let builder = withy::Runtime::builder;
    for (refused, name) in [
        (builder().blocking_threads(0).build(), "blocking_threads"),
        (builder().compute_threads(0).build(), "compute_threads"),
    ] {
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(name), "{error}");
    }
    let runtime = builder()
        .workers(1)
        .blocking_threads(usize::MAX)
        .compute_threads(usize::MAX)
        .build()
        .unwrap();
    assert_eq!(runtime.run(|| blocking(|| 1) + compute(|| 1)), 2);
}

struct CountingLogger;

static WARNED: AtomicUsize = AtomicUsize::new(0);

impl log::Log for CountingLogger {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        if record.target() == "withy::blocking" && record.level() == log::Level::Warn {
            WARNED.fetch_add(1, Ordering::SeqCst);
            // A logger may do anything.
            withy::yield_now();
        }
    }

    fn flush(&self) {}
}

/// Promise 47. No thread can be started, for want of address space: the work is done on the caller's worker while
/// there is no other thread, and by a thread that lives otherwise; and it is told of.
#[test]
fn a_failed_thread_start_orphans_nothing() {
    let stacks = ("RUST_MIN_STACK", &*THREAD_STACK.to_string());
    if !child::alone("a_failed_thread_start_orphans_nothing", &[stacks]) {
        return;
    }
    log::set_logger(&CountingLogger).unwrap();
    log::set_max_level(log::LevelFilter::Warn);
    within(LIMIT, "work without threads", || {
        let runtime = withy::Runtime::builder()
            .workers(2)
            .name("poor")
            .build()
            .unwrap();
        // Stacks, records and arenas are there from now on.
        let warm: Vec<_> = (0..50).map(|_| runtime.spawn(withy::yield_now)).collect();
        warm.into_iter().for_each(|c| c.join().unwrap());

        threads_may_start(false);
        assert!(thread::Builder::new().spawn(|| ()).is_err());
        let callers: Vec<_> = (0..50)
            .map(|_| runtime.spawn(|| blocking(thread_name)))
            .collect();
        for caller in callers {
            let name = caller.join().unwrap();
            assert!(name.starts_with("poor-worker-"), "{name}");
        }
        assert_eq!(WARNED.load(Ordering::SeqCst), 50);

        threads_may_start(true);
        let (started, start) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let holder = runtime.spawn(move || {
            blocking(move || {
                started.send(()).unwrap();
                released.recv().unwrap_err();
                thread_name()
            })
        });
        start.recv().unwrap();
        threads_may_start(false);
        static ASKS: AtomicBool = AtomicBool::new(false);
        static RAN: AtomicBool = AtomicBool::new(false);
        let waits = runtime.spawn(|| {
            ASKS.store(true, Ordering::SeqCst);
            blocking(|| {
                RAN.store(true, Ordering::SeqCst);
                thread_name()
            })
        });
        until(|| ASKS.load(Ordering::SeqCst));
        rest::until_all_sleep(&rest::workers_of(&runtime));
        assert!(!RAN.load(Ordering::SeqCst), "it waits for the one thread");
        drop(release);
        assert_eq!(waits.join().unwrap(), holder.join().unwrap());
        threads_may_start(true);
        assert_eq!(WARNED.load(Ordering::SeqCst), 51);
    });
}
