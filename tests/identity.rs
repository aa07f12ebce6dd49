//! Names, ids and handles of coroutines, as std's threads have them.

mod rig;
mod support;

use std::collections::HashSet;

use rig::each_runtime;

/// `current` inside a coroutine is what its join handle says from outside, over suspensions too.
#[test]
fn current_is_the_handle_that_the_joiner_holds() {
    each_runtime("ids", |runtime, label| {
        let child = runtime.spawn(|| {
            let before = withy::current().id();
            withy::yield_now();
            (before, withy::current().id())
        });
        let outside = child.coroutine().id();
        assert_eq!(child.thread().id(), outside);
        let (before, after) = child.join().unwrap();
        assert_eq!((before, after), (outside, outside), "{label}");
    });
}

/// Coroutines and plain threads share one space of ids.
#[test]
fn no_two_coroutines_or_threads_have_one_id() {
    each_runtime("unique ids", |runtime, label| {
        let mut ids = HashSet::from([withy::current().id()]);
        let children: Vec<_> = (0..200)
            .map(|_| runtime.spawn(|| withy::current().id()))
            .collect();
        for child in children {
            assert!(ids.insert(child.join().unwrap()), "{label}");
        }
        let thread = std::thread::spawn(|| withy::current().id()).join().unwrap();
        assert!(ids.insert(thread), "{label}");
        assert_eq!(withy::current().id(), withy::current().id());
    });
}

/// A name is the builder's, none if none was given; a plain thread's is the thread's own.
#[test]
fn a_name_is_what_the_builder_gave() {
    each_runtime("names", |runtime, _| {
        let (named, unnamed) = runtime.run(|| {
            let name = || withy::current().name().map(str::to_owned);
            let named = withy::Builder::new()
                .name("parser".into())
                .spawn(name)
                .unwrap();
            assert_eq!(named.coroutine().name(), Some("parser"));
            (named.join().unwrap(), withy::spawn(name).join().unwrap())
        });
        assert_eq!(named.as_deref(), Some("parser"));
        assert_eq!(unnamed, None);
        let thread = std::thread::Builder::new()
            .name("plain".into())
            .spawn(|| withy::current().name().map(str::to_owned))
            .unwrap();
        assert_eq!(thread.join().unwrap().as_deref(), Some("plain"));
    });
}

/// A handle outlives its coroutine; unparking one that has ended does nothing.
#[test]
fn a_handle_outlives_its_coroutine() {
    each_runtime("a handle of the past", |runtime, _| {
        let child = runtime.run(|| {
            withy::Builder::new()
                .name("gone".into())
                .spawn(|| 7)
                .unwrap()
        });
        let handle = child.coroutine();
        assert_eq!(child.join().unwrap(), 7);
        handle.unpark();
        assert_eq!(handle.name(), Some("gone"));
        assert_eq!(handle.id(), handle.clone().id());
        assert!(format!("{handle:?}").contains("gone"), "{handle:?}");
    });
}

/// Worker threads carry the runtime's name, for `top -H` and debuggers.
#[test]
fn worker_threads_carry_the_runtimes_name() {
    let runtime = withy::Runtime::builder()
        .workers(3)
        .name("herd")
        .build()
        .unwrap();
    runtime.run(|| ());
    support::within(support::LIMIT, "three names", || {
        rig::process::threads_once_named("herd-worker-", 3);
    });
    assert_eq!(runtime.workers(), 3);
}
