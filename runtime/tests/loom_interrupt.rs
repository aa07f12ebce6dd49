//! Interruptions (RAISED, CANCELLED, FIRED, WITHHELD of `task/state.rs`) under every interleaving: what is due is found, and
//! a wait has one outcome.
//!
//! The steps of `task/interrupt.rs` (`due`, `Mask`, `throw_if_due`) and of a waiter that retracts are repeated here, on
//! the state word that ships.
//!
//! Each model names what it hangs on: change that, and the model fails (tried; the outcomes are in `task/README.md`).

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

/// The flag of a frame, as `within` borrows it.
struct Frame {
    gate: Gate,
    raised: AtomicBool,
}

impl Frame {
    fn new() -> Arc<Frame> {
        Arc::new(Frame {
            gate: Gate::new(),
            raised: AtomicBool::new(false),
        })
    }

    /// `interrupt::due`, of a chain of frames, outermost first: which is due.
    fn due(state: &State, chain: &[&Frame]) -> Option<usize> {
        state.lower();
        let due = chain.iter().position(|frame| {
            frame.gate.pass();
            frame.raised.load(Ordering::Acquire)
        });
        if due.is_some() {
            state.stay_raised();
        }
        due
    }

    /// Others: `CancelToken::cancel`, `TryScope::stop`.
    fn raise<B: Fn(&State, &mut Stack) -> Step>(&self, task: &Task<B>) {
        self.gate.pass();
        self.raised.store(true, Ordering::Release);
        task.wake(State::raise);
    }
}

/// What `park` does before and after a wait: looks only if the word tells it to.
fn look(state: &State, chain: &[&Frame]) -> Option<usize> {
    if !state.pending().cancelled_or_raised() {
        return None;
    }
    Frame::due(state, chain)
}

/// A frame is raised before, while or after its coroutine looks and parks, and another wake-up comes in between.
///
/// Hangs on: the flag being set before `raise`, RAISED and the wake-up being one step, `lower` before the look.
#[test]
fn a_raised_frame_is_found() {
    with_preemptions(2, || {
        let frame = Frame::new();
        let task = Task::new({
            let frame = frame.clone();
            move |state: &State, _: &mut Stack| match look(state, &[&frame]) {
                Some(_) => Step::Finish,
                None => Step::Park,
            }
        });
        let raiser = thread::spawn({
            let task = task.clone();
            move || frame.raise(&task)
        });
        let other = thread::spawn({
            let task = task.clone();
            move || task.wake(State::notify)
        });
        task.run();
        raiser.join().unwrap();
        other.join().unwrap();
        task.assert_finished();
    });
}

/// Two frames, each raised by somebody: the coroutine leaves the inner one if it is due first, and is unwound from the
/// outer one then, whatever the look for the inner one has lowered.
///
/// Hangs on: `lower` before the look. (`stay_raised` is not needed for this, but for the next.)
#[test]
fn an_inner_frame_does_not_hide_the_outer_one() {
    with_preemptions(2, || {
        let (outer, inner) = (Frame::new(), Frame::new());
        let task = Task::new({
            let (outer, inner) = (outer.clone(), inner.clone());
            move |state: &State, stack: &mut Stack| {
                let due = if stack.step == 0 {
                    look(state, &[&outer, &inner])
                } else {
                    look(state, &[&outer])
                };
                match due {
                    Some(0) => Step::Finish,
                    Some(_) => {
                        stack.step = 1;
                        // Out of the inner frame, and on to the next wait.
                        Step::Yield
                    }
                    None => Step::Park,
                }
            }
        });
        let raisers = [outer, inner].map(|frame| {
            let task = task.clone();
            thread::spawn(move || frame.raise(&task))
        });
        task.run();
        raisers
            .into_iter()
            .for_each(|raiser| raiser.join().unwrap());
        task.assert_finished();
    });
}

/// A program swallows the unwinding once: it meets it again at the next wait.
///
/// Hangs on: `stay_raised` when a frame is due.
#[test]
fn a_swallowed_interruption_comes_again() {
    loom::model(|| {
        let frame = Frame::new();
        let task = Task::new({
            let frame = frame.clone();
            move |state: &State, stack: &mut Stack| match look(state, &[&frame]) {
                Some(_) if stack.step == 1 => Step::Finish,
                Some(_) => {
                    stack.step = 1;
                    Step::Yield
                }
                None => Step::Park,
            }
        });
        let raiser = thread::spawn({
            let task = task.clone();
            move || frame.raise(&task)
        });
        task.run();
        raiser.join().unwrap();
        task.assert_finished();
    });
}

/// A frame is raised while the coroutine waits under a mask, which hides the frame: it is found at the first wait after.
///
/// Hangs on: `stay_raised` at the end of the mask.
#[test]
fn a_frame_raised_behind_a_mask_is_found_after_it() {
    with_preemptions(2, || {
        let frame = Frame::new();
        let news = Arc::new(AtomicBool::new(false));
        let task = Task::new({
            let (frame, news) = (frame.clone(), news.clone());
            move |state: &State, stack: &mut Stack| {
                if stack.step == 0 {
                    assert_eq!(look(state, &[]), None);
                    frame.gate.pass();
                    if !news.load(Ordering::Relaxed) {
                        return Step::Park;
                    }
                    // `Mask::drop`.
                    stack.step = 1;
                    state.stay_raised();
                }
                match look(state, &[&frame]) {
                    Some(_) => Step::Finish,
                    None => Step::Park,
                }
            }
        });
        let friend = thread::spawn({
            let (task, frame) = (task.clone(), frame.clone());
            move || {
                frame.gate.pass();
                news.store(true, Ordering::Relaxed);
                task.wake(State::notify);
            }
        });
        let raiser = thread::spawn({
            let task = task.clone();
            move || frame.raise(&task)
        });
        task.run();
        friend.join().unwrap();
        raiser.join().unwrap();
        task.assert_finished();
    });
}

/// The one place in which a waiter stands, and what there is to hand over: a permit, a message, a connection.
struct Counter {
    gate: Gate,
    desk: Mutex<Desk>,
    /// The deadline has come.
    late: AtomicBool,
}

#[derive(Default)]
struct Desk {
    waits: bool,
    given: bool,
    /// What nobody holds.
    left: u32,
}

#[derive(Clone, Copy, PartialEq)]
enum Outcome {
    Got,
    Cancelled,
    Late,
}

impl Counter {
    /// The waiter leaves, for whatever reason: true if it was given something before.
    fn retract(&self) -> bool {
        let mut desk = self.desk.lock().unwrap();
        desk.waits = false;
        core::mem::take(&mut desk.given)
    }

    /// The step of a coroutine that waits here, with its outcome when it has one.
    fn step(&self, state: &State, stack: &mut Stack) -> Option<Outcome> {
        if stack.step == 0 {
            stack.step = 1;
            let mut desk = self.desk.lock().unwrap();
            if desk.left > 0 {
                desk.left -= 1;
                return Some(Outcome::Got);
            }
            desk.waits = true;
        }
        self.gate.pass();
        let pending = state.pending();
        if pending.cancelled() {
            // It unwinds out of `park`: what it was given meanwhile goes to the next.
            if self.retract() {
                self.desk.lock().unwrap().left += 1;
            }
            return Some(Outcome::Cancelled);
        }
        if self.desk.lock().unwrap().given {
            self.retract();
            return Some(Outcome::Got);
        }
        if pending.fired() && self.late.load(Ordering::Relaxed) {
            // A timeout of the call itself: what it was given meanwhile counts.
            return Some(if self.retract() {
                Outcome::Got
            } else {
                Outcome::Late
            });
        }
        None
    }

    /// Who hands something over: to the waiter, or onto the desk.
    fn give<B: Fn(&State, &mut Stack) -> Step>(&self, task: &Task<B>) {
        self.gate.pass();
        let mut desk = self.desk.lock().unwrap();
        if !desk.waits {
            desk.left += 1;
            return;
        }
        desk.waits = false;
        desk.given = true;
        drop(desk);
        task.wake(State::notify);
    }
}

/// A hand-over, a cancellation and a deadline meet one waiter: it has one outcome, and what was handed over is its own
/// or lies where the next one finds it.
///
/// Hangs on: whoever leaves looking, under the lock, whether it was given something.
#[test]
fn a_wait_has_one_outcome_and_loses_nothing() {
    with_preemptions(2, || {
        let counter = Arc::new(Counter {
            gate: Gate::new(),
            desk: Mutex::default(),
            late: AtomicBool::new(false),
        });
        let outcomes = Arc::new(Mutex::new(Vec::new()));
        let task = Task::new({
            let (counter, outcomes) = (counter.clone(), outcomes.clone());
            move |state: &State, stack: &mut Stack| match counter.step(state, stack) {
                Some(outcome) => {
                    outcomes.lock().unwrap().push(outcome);
                    Step::Finish
                }
                None => Step::Park,
            }
        });
        let giver = thread::spawn({
            let (task, counter) = (task.clone(), counter.clone());
            move || counter.give(&task)
        });
        let canceller = thread::spawn({
            let task = task.clone();
            move || _ = task.wake(State::cancel)
        });
        let clock = thread::spawn({
            let (task, counter) = (task.clone(), counter.clone());
            move || {
                counter.late.store(true, Ordering::Relaxed);
                task.wake(State::fire);
            }
        });
        task.run();
        for thread in [giver, canceller, clock] {
            thread.join().unwrap();
        }
        task.assert_finished();
        let outcomes = outcomes.lock().unwrap();
        assert_eq!(outcomes.len(), 1);
        let got = u32::from(outcomes[0] == Outcome::Got);
        assert_eq!(got + counter.desk.lock().unwrap().left, 1);
    });
}

/// Full stealing: a coroutine that is to be interrupted cannot be unwound while a neighbour on its worker is unwinding. That worker tells
/// it when this is over, and another worker, over whose own neighbours it is over, tells it any time.
///
/// Hangs on: `release_withheld` clearing WITHHELD before it fires, and firing.
#[test]
fn what_was_withheld_is_looked_at_when_it_is_quiet() {
    with_preemptions(4, || {
        // Of the coroutine's worker, this model's first thread: its panic count, its note, its inbox.
        let unwinding = Arc::new(AtomicU32::new(1));
        let noted = Arc::new(AtomicBool::new(false));
        let inbox = Arc::new(AtomicBool::new(false));
        let task = Task::new({
            let (unwinding, noted) = (unwinding.clone(), noted.clone());
            move |state: &State, _: &mut Stack| {
                if unwinding.load(Ordering::Relaxed) == 0 {
                    return Step::Finish;
                }
                state.withhold();
                noted.store(true, Ordering::Relaxed);
                Step::Park
            }
        });
        let other = thread::spawn({
            let (task, inbox) = (task.clone(), inbox.clone());
            move || {
                task.gate.pass();
                if task.state.release_withheld() == Notify::Schedule {
                    // An exchange, since loom leaves a store and another thread's exchange unordered.
                    inbox.swap(true, Ordering::AcqRel);
                }
            }
        });
        task.run();
        let open_inbox = || {
            task.gate.pass();
            if inbox.swap(false, Ordering::AcqRel) {
                task.run();
            }
        };
        open_inbox();
        unwinding.store(0, Ordering::Relaxed);
        // `Worker::notice_quiet`.
        if noted.load(Ordering::Relaxed) {
            task.gate.pass();
            if task.state.release_withheld() == Notify::Schedule {
                task.run();
            }
        }
        other.join().unwrap();
        open_inbox();
        task.assert_finished();
    });
}
