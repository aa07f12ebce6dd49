//! What the watchdog reads of workers (`scheduler/watched.rs`), and its own sleep (with `scheduler/idle.rs`'s flag), under
//! every interleaving: it believes nothing that was freed meanwhile, and it does not sleep while a worker is awake.
//!
//! Each model names what it hangs on: change that, and the model fails (tried; the outcomes are in
//! `scheduler/README.md`).

use std::ptr;
use std::sync::Arc;

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

mod model;
#[path = "model/scheduler.rs"]
mod shim;

mod atomic {
    pub(crate) use crate::shim::{AtomicBool, Lock};
    pub(crate) use loom::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering, fence};
}
#[allow(dead_code)]
#[path = "../src/scheduler/idle.rs"]
mod idle;
#[allow(dead_code)]
#[path = "../src/scheduler/watched.rs"]
mod watched;

use idle::SleepFlag;
use model::Gate;
use watched::Watched;

/// A record, as the copy through the kernel sees it: two words, without any order.
#[derive(Default)]
struct Record {
    first: AtomicUsize,
    second: AtomicUsize,
}

impl Record {
    fn write(&self, life: usize) {
        self.first.store(life, Ordering::Relaxed);
        self.second.store(life, Ordering::Relaxed);
    }

    fn copy(&self) -> (usize, usize) {
        let first = self.first.load(Ordering::Relaxed);
        (first, self.second.load(Ordering::Relaxed))
    }
}

/// Hangs on the Release of `begin`, the Acquire of `look`, and the two fences.
#[test]
fn a_copy_that_is_believed_was_whole() {
    loom::model(|| {
        let worker = Arc::new(Watched::<Record>::new());
        let record = Arc::new(Record::default());
        let address = Arc::as_ptr(&record).cast_mut();
        let watcher = {
            let (worker, record) = (worker.clone(), record.clone());
            thread::spawn(move || {
                if let Some(seen) = worker.look() {
                    let copy = record.copy();
                    if worker.is_still(seen) {
                        assert_eq!(copy.0, copy.1, "torn");
                        let life = if seen.current.is_some() { 1 } else { 2 };
                        assert_eq!(copy.0, life, "{seen:?}");
                    }
                }
            })
        };
        // A run, then a sleep; the record lives anew in between.
        record.write(1);
        worker.begin(address);
        worker.end();
        record.write(2);
        worker.begin(ptr::null_mut());
        watcher.join().unwrap();
    });
}

/// Hangs on the fences of the flag: the watchdog's look after it has announced its sleep, the worker's look after it has
/// shown that it is awake.
#[test]
fn the_watchdog_does_not_sleep_while_a_worker_is_awake() {
    loom::model(|| {
        let gate = Arc::new(Gate::new());
        let worker = Arc::new(Watched::<Record>::new());
        let dozes = Arc::new(SleepFlag::new());
        worker.begin(ptr::null_mut());
        let watchdog = {
            let (gate, worker, dozes) = (gate.clone(), worker.clone(), dozes.clone());
            thread::spawn(move || {
                gate.pass();
                dozes.set();
                gate.pass();
                worker.sleeps()
            })
        };
        gate.pass();
        worker.end();
        gate.pass();
        let woke = dozes.must_wake();
        let sleeps = watchdog.join().unwrap();
        assert!(woke || !sleeps, "it sleeps, and nobody wakes it");
    });
}
