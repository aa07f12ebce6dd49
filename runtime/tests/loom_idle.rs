//! The wake-up protocols (`scheduler/idle.rs`, with `scheduler/inbox.rs` for pinned work) under every interleaving: no
//! worker sleeps while there is work that it should do.
//!
//! A worker that waits in its netpoller is one whose thread has ended and left its continuation with its bell; whoever
//! rings starts it in a thread of its own. So nothing blocks, and a lost wake-up is work that is left when all threads
//! have ended. The bell is sticky, as the netpoller's eventfd is.
//!
//! Each model names what it hangs on: change that, and the model fails (tried; the outcomes are in
//! `scheduler/README.md`).

use std::ptr::{self, NonNull};
use std::sync::Arc;

use loom::sync::Mutex;
use loom::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use loom::thread::{self, JoinHandle};

mod model;
#[path = "model/scheduler.rs"]
mod shim;

mod atomic {
    pub(crate) use crate::shim::{AtomicBool, Lock};
    pub(crate) use loom::sync::atomic::{AtomicPtr, AtomicU32, Ordering, fence};
}
#[allow(dead_code)]
#[path = "../src/scheduler/idle.rs"]
mod idle;
#[allow(dead_code)]
#[path = "../src/scheduler/inbox.rs"]
mod inbox;

use idle::{Idle, SleepFlag, Woken};
use inbox::{Inbox, Linked};
use model::{Gate, with_preemptions};

// ---- movable work ----

/// What a ring finds.
enum Bell {
    Silent,
    Rung,
    /// The worker waits.
    Waiting,
}

struct Runtime {
    gate: Gate,
    idle: Idle,
    /// How much movable work is visible. Relaxed, as a deque's indices are: the fences must do.
    work: AtomicUsize,
    workers: Vec<(SleepFlag, Mutex<Bell>)>,
}

/// Where a worker begins in a model.
#[derive(Clone, Copy)]
enum From {
    Searching,
    Look,
}

impl Runtime {
    /// Worker 0 runs something for ever in each model; those in `asleep` wait.
    fn new(workers: usize, asleep: &[usize]) -> Arc<Runtime> {
        let runtime = Runtime {
            gate: Gate::new(),
            idle: Idle::new(workers),
            work: AtomicUsize::new(0),
            workers: (0..workers)
                .map(|_| (SleepFlag::new(), Mutex::new(Bell::Silent)))
                .collect(),
        };
        for &worker in asleep {
            runtime.workers[worker].0.set();
            runtime.idle.sleep(worker, false);
            *runtime.workers[worker].1.lock().unwrap() = Bell::Waiting;
        }
        Arc::new(runtime)
    }

    /// `push_movable`, `inject`: gives the worker that this has started again.
    fn push(self: &Arc<Runtime>) -> Option<JoinHandle<()>> {
        self.gate.pass();
        self.work.fetch_add(1, Ordering::Relaxed);
        self.notify_work()
    }

    /// `Shared::notify_work`.
    fn notify_work(self: &Arc<Runtime>) -> Option<JoinHandle<()>> {
        self.gate.pass();
        let worker = self.idle.worker_to_wake()?;
        self.workers[worker]
            .0
            .must_wake()
            .then(|| self.ring(worker))?
    }

    fn ring(self: &Arc<Runtime>, worker: usize) -> Option<JoinHandle<()>> {
        let mut bell = self.workers[worker].1.lock().unwrap();
        let waited = matches!(*bell, Bell::Waiting);
        *bell = if waited { Bell::Silent } else { Bell::Rung };
        drop(bell);
        let runtime = self.clone();
        waited.then(|| thread::spawn(move || runtime.awake(worker)))
    }

    /// A worker's life from a given point, until it has found work (which then keeps it busy for ever) or waits.
    fn live(self: &Arc<Runtime>, me: usize, from: From) {
        let mut searching = matches!(from, From::Searching);
        loop {
            searching = searching || self.idle.start_search();
            if searching && self.steal() {
                return self.found_work();
            }
            // `Rest::sleep`: announce first, look again second, wait third.
            self.workers[me].0.set();
            self.gate.pass();
            self.idle.sleep(me, searching);
            self.gate.pass();
            if self.work.load(Ordering::Relaxed) == 0 && self.wait(me) {
                return;
            }
            searching = self.rise(me);
            if !searching {
                // It goes round until a searcher has taken the work that it saw: let the searcher.
                thread::yield_now();
            }
        }
    }

    /// A worker that waited and was rung for.
    fn awake(self: &Arc<Runtime>, me: usize) {
        let from = if self.rise(me) {
            From::Searching
        } else {
            From::Look
        };
        self.live(me, from);
    }

    /// True: it is a searcher now.
    fn rise(&self, me: usize) -> bool {
        self.workers[me].0.clear();
        self.gate.pass();
        self.idle.wake(me) == Woken::ToSearch
    }

    /// True: it waits. False: it has been rung for already.
    fn wait(&self, me: usize) -> bool {
        let mut bell = self.workers[me].1.lock().unwrap();
        let waits = matches!(*bell, Bell::Silent);
        *bell = if waits { Bell::Waiting } else { Bell::Silent };
        waits
    }

    fn steal(&self) -> bool {
        self.gate.pass();
        self.work
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |work| {
                work.checked_sub(1)
            })
            .is_ok()
    }

    /// `Rest::found_work`, of a searcher.
    fn found_work(self: &Arc<Runtime>) {
        self.gate.pass();
        if self.idle.stop_search() && self.work.load(Ordering::Relaxed) > 0 {
            join(self.notify_work());
        }
    }
}

fn join(thread: Option<JoinHandle<()>>) {
    if let Some(thread) = thread {
        thread.join().unwrap();
    }
}

/// One push against one searcher that is about to give up.
///
/// Hangs on: the fences of `sleep` and `worker_to_wake`, and the look between `sleep` and the wait.
#[test]
fn a_push_meets_a_searcher_that_falls_asleep() {
    loom::model(|| {
        let runtime = Runtime::new(2, &[]);
        assert!(runtime.idle.start_search());
        let searcher = thread::spawn({
            let runtime = runtime.clone();
            move || runtime.live(1, From::Searching)
        });
        join(runtime.push());
        searcher.join().unwrap();
        assert_eq!(
            runtime.work.load(Ordering::Relaxed),
            0,
            "it was pushed, and a worker sleeps"
        );
    });
}

/// The same with a worker that does not search before it sleeps, and two pushers.
///
/// Hangs on: as above, with the look of a worker that is no searcher.
#[test]
fn two_pushers_meet_a_worker_that_falls_asleep() {
    with_preemptions(2, || {
        let runtime = Runtime::new(3, &[2]);
        let other = thread::spawn({
            let runtime = runtime.clone();
            move || join(runtime.push())
        });
        let sleepy = thread::spawn({
            let runtime = runtime.clone();
            move || runtime.live(1, From::Look)
        });
        join(runtime.push());
        other.join().unwrap();
        sleepy.join().unwrap();
        assert_eq!(
            runtime.work.load(Ordering::Relaxed),
            0,
            "work is left, and a worker sleeps"
        );
    });
}

/// Two pushes in a row with two sleepers: the second finds the first's searcher and wakes nobody, so the searcher must
/// wake the other worker when it has found work.
///
/// Hangs on: `stop_search` naming the last searcher, its fence, and the look that follows it.
#[test]
fn the_last_searcher_wakes_another() {
    with_preemptions(3, || {
        let runtime = Runtime::new(3, &[1, 2]);
        let first = runtime.push();
        let second = runtime.push();
        join(first);
        join(second);
        assert_eq!(
            runtime.work.load(Ordering::Relaxed),
            0,
            "work is left, and a worker sleeps"
        );
    });
}

/// Two searchers give up at the same time as work is pushed.
///
/// Hangs on: each of them looking again, not only the one that was last.
#[test]
fn two_searchers_give_up_together() {
    with_preemptions(2, || {
        let runtime = Runtime::new(4, &[]);
        assert!(runtime.idle.start_search() && runtime.idle.start_search());
        let searchers = [1, 2].map(|me| {
            let runtime = runtime.clone();
            thread::spawn(move || runtime.live(me, From::Searching))
        });
        join(runtime.push());
        for searcher in searchers {
            searcher.join().unwrap();
        }
        assert_eq!(
            runtime.work.load(Ordering::Relaxed),
            0,
            "it was pushed, and two workers sleep"
        );
    });
}

/// A worker may not search, since another does. That one finds work, is the last searcher, sees nothing more, and pushes
/// when it runs: no searcher and no sleeper yet, so it wakes nobody.
///
/// Hangs on: the look before the wait, of a worker that has not searched, too.
#[test]
fn a_worker_that_may_not_search_looks_before_it_sleeps() {
    with_preemptions(3, || {
        let runtime = Runtime::new(2, &[]);
        runtime.work.store(1, Ordering::Relaxed);
        assert!(runtime.idle.start_search());
        let refused = thread::spawn({
            let runtime = runtime.clone();
            move || runtime.live(1, From::Look)
        });
        let found = runtime.steal();
        if found {
            runtime.found_work();
            join(runtime.push());
        }
        refused.join().unwrap();
        // Or else the other has taken it, and is busy.
        assert!(
            !found || runtime.work.load(Ordering::Relaxed) == 0,
            "it was pushed, and a worker sleeps"
        );
    });
}

// ---- pinned work ----

struct Task(AtomicPtr<Task>);

impl Linked for Task {
    fn next(&self) -> &AtomicPtr<Task> {
        &self.0
    }
}

struct Home {
    gate: Gate,
    inbox: Inbox<Task>,
    asleep: SleepFlag,
    /// How often the eventfd was written to.
    rings: AtomicUsize,
}

impl Home {
    fn new() -> Arc<Home> {
        Arc::new(Home {
            gate: Gate::new(),
            inbox: Inbox::new(),
            asleep: SleepFlag::new(),
            rings: AtomicUsize::new(0),
        })
    }

    /// `Remote::deliver`.
    fn deliver(&self) {
        let task = Box::leak(Box::new(Task(AtomicPtr::new(ptr::null_mut()))));
        self.gate.pass();
        // SAFETY: it stays allocated until the worker frees it.
        unsafe { self.inbox.push(NonNull::from(task)) };
        self.gate.pass();
        if self.asleep.must_wake() {
            self.rings.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// `Rest::sleep` up to the wait; true if it waits.
    fn sleep(&self) -> bool {
        self.gate.pass();
        self.asleep.set();
        self.gate.pass();
        if self.inbox.is_empty() {
            return true;
        }
        self.asleep.clear();
        false
    }

    fn open_inbox(&self) -> usize {
        self.gate.pass();
        self.inbox
            .take_all()
            // SAFETY: the inbox gives a node out once.
            .map(|task| drop(unsafe { Box::from_raw(task.as_ptr()) }))
            .count()
    }
}

/// One coroutine is woken from another worker while its home falls asleep.
///
/// Hangs on: the fences of `set` and `must_wake`, and the look between `set` and the wait.
#[test]
fn a_delivery_meets_a_home_that_falls_asleep() {
    loom::model(|| {
        let home = Home::new();
        let waker = thread::spawn({
            let home = home.clone();
            move || home.deliver()
        });
        let waits = home.sleep();
        waker.join().unwrap();
        let rings = home.rings.load(Ordering::Relaxed);
        assert!(
            !waits || rings > 0,
            "the home sleeps, and its coroutine is in the inbox"
        );
        assert_eq!(home.open_inbox(), 1);
    });
}

/// Two wakers, and a home that finds the one's coroutine, runs it, and falls asleep again while the other comes.
///
/// Hangs on: as above; and on `must_wake` taking the flag down by an exchange: one ring a sleep.
#[test]
fn two_deliveries_meet_a_home_that_sleeps_twice() {
    with_preemptions(4, || {
        let home = Home::new();
        let wakers = [(); 2].map(|()| {
            let home = home.clone();
            thread::spawn(move || home.deliver())
        });
        let mut found = 0;
        let mut sleeps = 1;
        let mut waits = home.sleep();
        if !waits {
            found = home.open_inbox();
            sleeps = 2;
            waits = home.sleep();
        }
        for waker in wakers {
            waker.join().unwrap();
        }
        let rings = home.rings.load(Ordering::Relaxed);
        let left = home.open_inbox();
        assert_eq!(found + left, 2);
        assert!(
            !waits || left == 0 || rings > 0,
            "the home sleeps, and a coroutine is in the inbox"
        );
        assert!(rings <= sleeps, "one ring a sleep is enough");
    });
}
