//! A coroutine on the state word that ships, for the models of what is built on it.
//!
//! It is a state machine, and whoever is told to schedule it runs it at once, as another worker would in full stealing. So
//! nothing blocks: a lost wake-up is a coroutine that has not finished when all threads have ended, and two runners
//! of one stack are a race on its cell.
#![allow(dead_code)]

use loom::cell::UnsafeCell;
use loom::sync::Arc;

use crate::model::Gate;
use crate::state::{Notify, Park, State};

/// What a coroutine does when it has the worker.
pub(crate) enum Step {
    Park,
    Yield,
    Finish,
}

/// What lies on the coroutine's stack: touched by its runner only.
#[derive(Default)]
pub(crate) struct Stack {
    pub(crate) step: u32,
    /// The worker that runs it, where a model tells them apart.
    pub(crate) worker: usize,
    parks: u32,
    finished: bool,
}

pub(crate) struct Task<B> {
    pub(crate) gate: Gate,
    pub(crate) state: State,
    stack: UnsafeCell<Stack>,
    body: B,
}

impl<B: Fn(&State, &mut Stack) -> Step> Task<B> {
    pub(crate) fn new(body: B) -> Arc<Task<B>> {
        Arc::new(Task {
            gate: Gate::new(),
            state: State::new(),
            stack: UnsafeCell::new(Stack::default()),
            body,
        })
    }

    /// A worker that holds the queue link: `Worker::run`, until it parks or ends.
    pub(crate) fn run(&self) {
        self.run_on(0);
    }

    pub(crate) fn run_on(&self, worker: usize) {
        self.on_stack(|stack| stack.worker = worker);
        loop {
            self.gate.pass();
            let step = self.on_stack(|stack| (self.body)(&self.state, stack));
            match step {
                Step::Yield => {}
                Step::Park => {
                    self.on_stack(|stack| stack.parks += 1);
                    self.gate.pass();
                    if self.state.park() == Park::Parked {
                        return;
                    }
                }
                Step::Finish => {
                    self.on_stack(|stack| stack.finished = true);
                    self.gate.pass();
                    return self.state.finish();
                }
            }
        }
    }

    pub(crate) fn on_stack<R>(&self, f: impl FnOnce(&mut Stack) -> R) -> R {
        // SAFETY: called by the runner; that there is one at a time is what loom checks here.
        self.stack.with_mut(|stack| f(unsafe { &mut *stack }))
    }

    /// A waker: wakes, and does what the outcome asks for. Gives 1 if it had to schedule.
    pub(crate) fn wake(&self, wake_up: fn(&State) -> Notify) -> u32 {
        self.gate.pass();
        if wake_up(&self.state) == Notify::Schedule {
            self.run();
            return 1;
        }
        0
    }

    /// When all threads have ended: it has finished. Gives the number of times it asked to park.
    pub(crate) fn assert_finished(&self) -> u32 {
        self.on_stack(|stack| {
            assert!(stack.finished, "a wake-up was lost: it is parked for ever");
            stack.parks
        })
    }
}
