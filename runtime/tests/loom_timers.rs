//! A coroutine's one timer in full stealing (`time/timers.rs`): fire against move against end, and FIRED of the state
//! word that ships.
//!
//! The steps of `Timers::fire`, `Timer::set`, `place` and `remove`, and of `park_in`, are repeated here with one
//! entry to a wheel: the file itself reaches workers and records.
//!
//! Each model names what it hangs on: change that, and the model fails (tried; the outcomes are in `task/README.md`).

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use loom::sync::{Arc, Mutex};
use loom::thread;

#[path = "model/coroutine.rs"]
mod coroutine;
mod model;

mod atomic {
    pub(crate) use loom::sync::atomic::{AtomicU32, Ordering};
}
#[allow(dead_code)]
#[path = "../src/task/state.rs"]
mod state;

use coroutine::{Stack, Step, Task};
use model::{Gate, with_preemptions};
use state::{Notify, State};

const NEVER: u32 = u32::MAX;

struct Timers {
    gate: Gate,
    now: AtomicU32,
    /// A wheel for each worker: the deadline of the coroutine's entry, if that is in this wheel.
    wheels: [Mutex<Option<u32>>; 2],
    /// The coroutine's record, which is freed when it has ended.
    record: UnsafeCell<bool>,
    /// The root of its stack, touched by itself alone: in whose wheel the entry is, and what it was last set to.
    root: UnsafeCell<(Option<usize>, u32)>,
}

impl Timers {
    fn new() -> Arc<Timers> {
        Arc::new(Timers {
            gate: Gate::new(),
            now: AtomicU32::new(0),
            wheels: [Mutex::new(None), Mutex::new(None)],
            record: UnsafeCell::new(true),
            root: UnsafeCell::new((None, NEVER)),
        })
    }

    fn now(&self) -> u32 {
        self.now.load(Ordering::Relaxed)
    }

    fn with_root<R>(&self, f: impl FnOnce(&mut (Option<usize>, u32)) -> R) -> R {
        // SAFETY: by the coroutine alone; loom checks it.
        self.root.with_mut(|root| f(unsafe { &mut *root }))
    }

    /// `Timers::fire` by a worker that finds the clock at `now`.
    fn fire<B: Fn(&State, &mut Stack) -> Step>(&self, task: &Task<B>, worker: usize, now: u32) {
        self.now.fetch_max(now, Ordering::Relaxed);
        self.gate.pass();
        let mut wheel = self.wheels[worker].lock().unwrap();
        if !wheel.is_some_and(|at| at <= now) {
            return;
        }
        *wheel = Some(NEVER);
        assert!(
            // SAFETY: what is in a wheel has not ended; loom checks it against `end`.
            self.record.with(|alive| unsafe { *alive }),
            "the record was gone"
        );
        let outcome = task.state.fire();
        drop(wheel);
        if outcome == Notify::Schedule {
            task.run_on(worker);
        }
    }

    /// `Timer::set`, by the coroutine on `worker`.
    fn set(&self, worker: usize, at: u32, fired: bool) {
        let (entry, set) = self.with_root(|root| *root);
        if at == set && !fired {
            return;
        }
        self.with_root(|root| root.1 = at);
        self.gate.pass();
        match entry {
            None if at == NEVER => return,
            Some(index) if index == worker || at == NEVER => {
                *self.wheels[index].lock().unwrap() = Some(at);
                return;
            }
            Some(index) => *self.wheels[index].lock().unwrap() = None,
            None => {}
        }
        self.gate.pass();
        *self.wheels[worker].lock().unwrap() = Some(at);
        self.with_root(|root| root.0 = Some(worker));
    }

    /// The coroutine's last step: `Timer::remove`; from then on its record may be freed.
    fn end(&self) {
        self.gate.pass();
        if let Some(index) = self.with_root(|root| root.0.take()) {
            *self.wheels[index].lock().unwrap() = None;
        }
        // SAFETY: nobody looks at it any more; loom checks it.
        self.record.with_mut(|alive| unsafe { *alive = false });
    }

    /// `park_in` from its begin to the switch.
    fn begin_wait(&self, state: &State, stack: &Stack, at: u32) -> Step {
        self.gate.pass();
        let fired = state.pending().fired();
        self.set(stack.worker, at, fired);
        Step::Park
    }

    /// `park_in` after the switch: whether the deadline has passed.
    fn end_wait(&self, state: &State, at: u32) -> bool {
        self.gate.pass();
        state.pending().fired() && at != NEVER && self.now() >= at
    }

    /// When all threads have ended: the worker's next turns.
    fn fire_the_rest<B: Fn(&State, &mut Stack) -> Step>(&self, task: &Task<B>, now: u32) {
        for _ in 0..3 {
            (0..2).for_each(|worker| self.fire(task, worker, now));
        }
        for wheel in &self.wheels {
            assert_eq!(*wheel.lock().unwrap(), None, "an entry was left behind");
        }
    }
}

/// A coroutine waits for news until 1 (its first step is 0), then sleeps until `second`, then ends. Both waits begin
/// and end anywhere between the wake-ups by news and by timers.
fn two_waits(
    timers: &Timers,
    news: &AtomicBool,
    state: &State,
    stack: &mut Stack,
    second: u32,
) -> Step {
    // Steps 0 and 2 begin a wait, 1 and 3 end one.
    if stack.step == 1 {
        let late = timers.end_wait(state, 1);
        stack.step = if late || news.load(Ordering::Relaxed) {
            2
        } else {
            0
        };
    }
    if stack.step == 3 {
        if timers.end_wait(state, second) {
            assert!(timers.now() >= second, "woken early");
            timers.end();
            return Step::Finish;
        }
        stack.step = 2;
    }
    let at = if stack.step == 0 { 1 } else { second };
    stack.step += 1;
    timers.begin_wait(state, stack, at)
}

/// Moves the coroutine between two workers: it starts on worker 0, and whoever wakes it runs it on its own.
fn race(preemptions: usize, second: u32) {
    with_preemptions(preemptions, move || {
        let timers = Timers::new();
        let news = Arc::new(AtomicBool::new(false));
        let task = Task::new({
            let (timers, news) = (timers.clone(), news.clone());
            move |state: &State, stack: &mut Stack| two_waits(&timers, &news, state, stack, second)
        });
        let other = thread::spawn({
            let (timers, task) = (timers.clone(), task.clone());
            move || {
                news.store(true, Ordering::Relaxed);
                task.gate.pass();
                if task.state.notify() == Notify::Schedule {
                    task.run_on(1);
                }
                timers.fire(&task, 1, 2);
            }
        });
        task.run_on(0);
        timers.fire(&task, 0, 1);
        timers.fire(&task, 0, 2);
        other.join().unwrap();
        timers.fire_the_rest(&task, 2);
        task.assert_finished();
    });
}

/// A timer that fires while its coroutine moves it, on the other worker, to a later time: the later time is not lost,
/// and the coroutine is not told before. It ends while timers are fired, and nobody touches its record after that.
///
/// Hangs on: everything under the wheel's lock, notification included; the old entry being taken out before a new one is
/// made, and at the end; `fired` placing the timer anew.
#[test]
fn a_timer_that_fires_while_it_is_moved_is_not_lost() {
    race(3, 2);
}

/// The same deadline twice: what the first wait left in the wheel serves the second one, unless it has fired meanwhile.
///
/// Hangs on: FIRED being kept by a `park` that found NOTIFIED, and `fired` placing the timer anew.
#[test]
fn a_timer_that_has_fired_for_an_earlier_wait_is_set_again() {
    race(3, 1);
}

/// An expiry that its coroutine has not looked at before it parks for good does not stay, or each later wait would look
/// for it.
///
/// Hangs on: `park` clearing FIRED when it parks.
#[test]
fn an_old_expiry_is_forgotten() {
    loom::model(|| {
        let news = Arc::new(AtomicBool::new(false));
        let task = Task::new({
            let news = news.clone();
            move |state: &State, _: &mut Stack| {
                if !news.load(Ordering::Relaxed) {
                    return Step::Park;
                }
                assert!(!state.pending().fired(), "nobody took it back");
                Step::Finish
            }
        });
        let timer = thread::spawn({
            let task = task.clone();
            move || task.wake(State::fire)
        });
        task.run();
        timer.join().unwrap();
        // It has parked since.
        news.store(true, Ordering::Relaxed);
        task.wake(State::notify);
        task.assert_finished();
    });
}
