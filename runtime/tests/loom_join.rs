//! The join word (`task/join_word.rs`) under every interleaving: one owner of the result, a joiner that is woken once
//! and never before the stack is free, and a waiter's record that nobody touches after it is gone. And for a future: one owner of
//! its waker, and a wake-up for each poll that was pending.
//!
//! Each model names what it hangs on: change that, and the model fails (tried; the outcomes are in `task/README.md`).

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

mod model;

mod atomic {
    pub(crate) use loom::sync::atomic::Ordering;

    /// loom's, with the name that core has given `fetch_update` since.
    pub(crate) struct AtomicUsize(loom::sync::atomic::AtomicUsize);

    impl AtomicUsize {
        pub(crate) fn new(value: usize) -> AtomicUsize {
            AtomicUsize(loom::sync::atomic::AtomicUsize::new(value))
        }
        pub(crate) fn try_update(
            &self,
            success: Ordering,
            failure: Ordering,
            f: impl FnMut(usize) -> Option<usize>,
        ) -> Result<usize, usize> {
            self.0.fetch_update(success, failure, f)
        }
    }

    impl std::ops::Deref for AtomicUsize {
        type Target = loom::sync::atomic::AtomicUsize;
        fn deref(&self) -> &Self::Target {
            &self.0
        }
    }
}
#[allow(dead_code)]
#[path = "../src/task/join_word.rs"]
mod join_word;

use join_word::{Join, JoinWord, Published};
use model::Gate;

/// The joiner's record. It stands for a coroutine's header or a thread's parker: `alive` is its memory, which the joiner
/// gives up when it leaves.
struct Record {
    token: Mutex<bool>,
    condvar: Condvar,
    alive: UnsafeCell<bool>,
    /// Wake-ups by the worker.
    notified: UnsafeCell<u32>,
}

/// The address that the joiner leaves in the word; there is one joiner in each model.
const JOINER: usize = 16;

/// A waker's box. A future is polled with one waker and then with the other.
struct Waker {
    /// Made, and not freed.
    alive: UnsafeCell<bool>,
    woken: AtomicBool,
}

const WAKERS: [usize; 2] = [32, 48];

struct Task {
    gate: Gate,
    join: JoinWord,
    /// The result's cell: `Some` between its birth and whoever takes or drops it.
    result: UnsafeCell<Option<u32>>,
    /// Set by the worker when the stack is back in the pool.
    stack_free: UnsafeCell<bool>,
    joiner: Record,
    wakers: [Waker; 2],
}

impl Task {
    fn new() -> Arc<Task> {
        Arc::new(Task {
            gate: Gate::new(),
            join: JoinWord::new(),
            result: UnsafeCell::new(None),
            stack_free: UnsafeCell::new(false),
            joiner: Record {
                token: Mutex::new(false),
                condvar: Condvar::new(),
                alive: UnsafeCell::new(false),
                notified: UnsafeCell::new(0),
            },
            wakers: [Waker::new(), Waker::new()],
        })
    }

    /// `TaskRef::run_to_end`, then `Worker::finish`.
    fn run(&self) {
        // SAFETY: the stage is the coroutine's until RESULT; loom checks it.
        self.result.with_mut(|result| unsafe { *result = Some(42) });
        self.gate.pass();
        match self.join.publish_result() {
            Published::Kept => {}
            Published::Detached => self.take_result(),
            Published::Awaited(address) => self.waker(address).wake(),
        }
        // SAFETY: the worker's; loom checks that the joiner looks later.
        self.stack_free.with_mut(|free| unsafe { *free = true });
        self.gate.pass();
        let waiter = self.join.waiter();
        if waiter != 0 {
            assert_eq!(waiter, JOINER);
            self.joiner.notify();
        }
        self.gate.pass();
        self.join.set_done();
    }

    fn take_result(&self) {
        // SAFETY: the caller has found the result to be its own; loom checks it.
        let result = self.result.with_mut(|result| unsafe { (*result).take() });
        assert_eq!(result, Some(42), "the result has two owners");
    }

    /// `JoinHandle::join`; gives up and unwinds after `patience` rounds of parking.
    fn join(&self, patience: usize) {
        self.joiner.live();
        self.gate.pass();
        match self.join.announce(JOINER) {
            Join::Wait => {}
            Join::Spin => return self.spin_and_take(),
            Join::Done => return self.leave_with_result(),
        }
        for _ in 0..patience {
            self.joiner.park();
            self.gate.pass();
            match self.join.look() {
                Join::Wait => {}
                Join::Spin => return self.spin_and_take(),
                Join::Done => return self.leave_with_result(),
            }
        }
        self.gate.pass();
        if !self.join.retract() {
            self.spin();
        }
        self.joiner.die();
        self.drop_handle();
    }

    fn spin_and_take(&self) {
        self.spin();
        self.leave_with_result();
    }

    fn spin(&self) {
        while self.join.look() != Join::Done {
            thread::yield_now();
        }
    }

    fn leave_with_result(&self) {
        self.joiner.die();
        assert!(
            // SAFETY: DONE was seen; loom checks that it means what it says.
            self.stack_free.with(|free| unsafe { *free }),
            "joined before the stack was free"
        );
        self.take_result();
    }

    fn drop_handle(&self) {
        self.gate.pass();
        if self.join.detach() {
            self.take_result();
        }
    }

    fn waker(&self, address: usize) -> &Waker {
        let index = WAKERS.iter().position(|&waker| waker == address);
        &self.wakers[index.expect("the address of a waker")]
    }

    /// `JoinFuture`, polled with one waker after the other, `polls` times at most, and dropped then.
    fn await_result(&self, polls: usize) {
        let mut standing = None;
        for address in WAKERS.into_iter().take(polls) {
            self.gate.pass();
            if self.join.look() != Join::Wait {
                return self.take_result();
            }
            self.gate.pass();
            if let Some(old) = standing.take() {
                if !self.join.retract() {
                    return self.take_result();
                }
                self.waker(old).free();
            }
            self.waker(address).make();
            self.gate.pass();
            if self.join.announce_waker(address) != Join::Wait {
                self.waker(address).free();
                return self.take_result();
            }
            standing = Some(address);
        }
        self.gate.pass();
        if let Some(address) = standing
            && self.join.retract()
        {
            self.waker(address).free();
        }
        self.drop_handle();
    }

    /// `JoinFuture` on an executor that sleeps until the waker is woken.
    fn await_woken(&self) {
        let address = WAKERS[0];
        self.gate.pass();
        self.waker(address).make();
        if self.join.announce_waker(address) == Join::Wait {
            while !self.waker(address).woken.load(Ordering::Acquire) {
                thread::yield_now();
            }
            assert_ne!(self.join.look(), Join::Wait, "woken for nothing");
        } else {
            self.waker(address).free();
        }
        self.take_result();
    }

    /// After both have ended.
    fn assert_no_result_left(&self) {
        assert_eq!(
            // SAFETY: nobody else is left.
            self.result.with(|result| unsafe { *result }),
            None,
            "nobody dropped the result"
        );
        for waker in &self.wakers {
            // SAFETY: nobody else is left.
            let alive = waker.alive.with(|alive| unsafe { *alive });
            assert!(!alive, "nobody freed the waker");
        }
    }
}

impl Waker {
    fn new() -> Waker {
        Waker {
            alive: UnsafeCell::new(false),
            woken: AtomicBool::new(false),
        }
    }

    fn make(&self) {
        // SAFETY: the future's own, and not announced yet.
        self.alive.with_mut(|alive| unsafe { *alive = true });
    }

    fn free(&self) {
        self.alive.with_mut(|alive| {
            // SAFETY: the caller has taken it out of the word; loom checks it.
            let was_alive = unsafe { core::mem::replace(&mut *alive, false) };
            assert!(was_alive, "a waker has two owners");
        });
    }

    /// `future::wake`, on the coroutine's stack. The waker is gone then.
    fn wake(&self) {
        self.free();
        // What it does is foreign; here it tells the executor.
        self.woken.store(true, Ordering::Release);
    }
}

impl Record {
    fn notify(&self) {
        assert!(
            // SAFETY: the word says that the record lives; loom checks it against `die`.
            self.alive.with(|alive| unsafe { *alive }),
            "the waiter was gone"
        );
        // SAFETY: the one worker's.
        self.notified.with_mut(|notified| unsafe { *notified += 1 });
        *self.token.lock().unwrap() = true;
        self.condvar.notify_one();
    }

    fn park(&self) {
        let mut token = self.token.lock().unwrap();
        while !*token {
            token = self.condvar.wait(token).unwrap();
        }
        *token = false;
    }

    fn live(&self) {
        // SAFETY: the joiner's own record, and it is not announced yet.
        self.alive.with_mut(|alive| unsafe { *alive = true });
    }

    fn die(&self) {
        // SAFETY: the joiner's own record, which nobody may look at any more; loom checks it.
        self.alive.with_mut(|alive| unsafe { *alive = false });
    }
}

fn against(joiner: impl Fn(&Task) + Sync + Send + Copy + 'static) {
    loom::model(move || {
        let task = Task::new();
        let worker = thread::spawn({
            let task = task.clone();
            move || task.run()
        });
        joiner(&task);
        worker.join().unwrap();
        task.assert_no_result_left();
    });
}

/// The joiner gets the result, sleeps only if it will be woken, and finds the stack free and its own record untouched
/// from then on.
///
/// Hangs on: `waiter` being read after `publish_result` (or the waiter is missed) and one of the two acquiring, `announce`
/// releasing, `set_done` after the notification and releasing, `look` acquiring.
#[test]
fn a_joiner_gets_the_result() {
    against(|task| task.join(usize::MAX));
}

/// A joiner that unwinds before or while the coroutine ends: either it is out of the word before RESULT, and its record is
/// left alone, or it stays until DONE. The result is dropped once, by the coroutine or by the handle's dropper.
///
/// Hangs on: `retract` refusing once RESULT is set.
#[test]
fn a_joiner_that_unwinds_leaves_nothing_behind() {
    against(|task| task.join(0));
}

/// Of a handle that is dropped and a coroutine that ends, the second one drops the result.
///
/// Hangs on: RESULT and DETACHED being set by read-modify-writes, the former releasing, the latter acquiring.
#[test]
fn a_detached_result_is_dropped_once() {
    against(Task::drop_handle);
}

/// A look that says "done" means it, also without an announcement (`JoinHandle::is_finished`, then `join`).
///
/// Hangs on: `announce` acquiring on failure.
#[test]
fn finished_means_that_join_does_not_wait() {
    against(|task| {
        task.gate.pass();
        if task.join.look() == Join::Done {
            assert_eq!(task.join.announce(JOINER), Join::Done);
            task.leave_with_result();
        } else {
            task.drop_handle();
        }
    });
}

/// A future gets the result: at a poll that finds it, or at the one after its waker was woken. A waker that it replaces is
/// freed once, by the future; one that is still in the word at the end, by the coroutine.
///
/// Hangs on: `retract` refusing once RESULT is set, and taking AWAITED out with the address.
#[test]
fn a_future_that_is_polled_again_replaces_its_waker() {
    against(|task| task.await_result(2));
}

/// A future that is dropped while it waits: its waker is freed once, and the result dropped once.
///
/// Hangs on: the same, and DETACHED being added after the waker is out of the word.
#[test]
fn a_future_that_is_dropped_leaves_nothing_behind() {
    against(|task| task.await_result(1));
}

/// A future that was pending is woken, and finds the result then, although DONE is not there yet.
///
/// Hangs on: `publish_result` acquiring the waker and minding AWAITED, and taking it out of the word, so that the worker
/// finds no waiter; `announce_waker` releasing.
#[test]
fn a_pending_future_is_woken() {
    against(Task::await_woken);
}
