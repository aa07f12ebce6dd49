//! A scope's `running` and its list (`task/scope.rs`) under every interleaving: the owner leaves when nobody borrows from
//! it any more, and then at last; and a cancellation reaches every child.
//!
//! The steps of `ScopeData` are repeated here, with coroutines on the state word that ships.
//!
//! Each model names what it hangs on: change that, and the model fails (tried; the outcomes are in `task/README.md`).

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicUsize, Ordering};
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
use state::State;

type Body = Box<dyn Fn(&State, &mut Stack) -> Step>;

/// What children borrow, one cell for each.
struct Scope {
    gate: Gate,
    running: AtomicUsize,
    borrowed: [UnsafeCell<u32>; 2],
}

impl Scope {
    fn new() -> Arc<Scope> {
        Arc::new(Scope {
            gate: Gate::new(),
            running: AtomicUsize::new(0),
            borrowed: [UnsafeCell::new(0), UnsafeCell::new(0)],
        })
    }

    /// The owner: waits, then takes back what it has lent.
    fn owner(scope: &Arc<Scope>) -> Arc<Task<Body>> {
        let scope = scope.clone();
        Task::new(Box::new(move |_, _| {
            scope.gate.pass();
            if scope.running.load(Ordering::Acquire) > 0 {
                return Step::Park;
            }
            for cell in &scope.borrowed {
                // SAFETY: all children have ended; loom checks it.
                let value = cell.with_mut(|value| unsafe { *value });
                assert_eq!(value, 1, "left too early");
            }
            Step::Finish
        }))
    }

    /// `Scope::start`.
    fn start(&self) {
        self.gate.pass();
        self.running.fetch_add(1, Ordering::Relaxed);
    }

    /// A child's work, then `child_ended`.
    fn work_and_end(&self, child: usize, owner: &Task<Body>) {
        // SAFETY: borrowed by this child; loom checks it.
        self.borrowed[child].with_mut(|value| unsafe { *value += 1 });
        self.gate.pass();
        if self.running.fetch_sub(1, Ordering::Release) == 1 {
            owner.wake(State::notify);
        }
    }
}

/// Two children that end while the owner waits.
///
/// Hangs on: the last child waking the owner after it has counted itself out, `child_ended` releasing, `wait` acquiring.
#[test]
fn the_owner_leaves_when_all_children_have_ended() {
    with_preemptions(2, || {
        let scope = Scope::new();
        let owner = Scope::owner(&scope);
        let children = [0, 1].map(|child| {
            scope.start();
            let (scope, owner) = (scope.clone(), owner.clone());
            thread::spawn(move || scope.work_and_end(child, &owner))
        });
        owner.run();
        children.into_iter().for_each(|child| child.join().unwrap());
        owner.assert_finished();
    });
}

/// A child starts a sibling and ends before it.
///
/// Hangs on: a child being counted before it is made.
#[test]
fn a_child_may_start_another() {
    with_preemptions(2, || {
        let scope = Scope::new();
        let owner = Scope::owner(&scope);
        scope.start();
        let first = thread::spawn({
            let (scope, owner) = (scope.clone(), owner.clone());
            move || {
                scope.start();
                let second = thread::spawn({
                    let (scope, owner) = (scope.clone(), owner.clone());
                    move || scope.work_and_end(1, &owner)
                });
                scope.work_and_end(0, &owner);
                second.join().unwrap();
            }
        });
        owner.run();
        first.join().unwrap();
        owner.assert_finished();
    });
}

#[derive(Default)]
struct Children {
    cancelled: bool,
    running: Vec<Option<Arc<Task<Body>>>>,
    free: Vec<usize>,
}

/// The list, with its lock.
struct List {
    gate: Gate,
    children: Mutex<Children>,
}

impl List {
    fn new() -> Arc<List> {
        Arc::new(List {
            gate: Gate::new(),
            children: Mutex::default(),
        })
    }

    fn cancel(&self) {
        self.gate.pass();
        let mut children = self.children.lock().unwrap();
        children.cancelled = true;
        let running = core::mem::take(&mut children.running);
        drop(children);
        for child in running.iter().flatten() {
            child.wake(State::cancel);
        }
    }

    fn enlist(&self, me: Arc<Task<Body>>) -> Option<usize> {
        self.gate.pass();
        let mut children = self.children.lock().unwrap();
        if children.cancelled {
            return None;
        }
        let place = children.free.pop().unwrap_or(children.running.len());
        if place == children.running.len() {
            children.running.push(Some(me));
        } else {
            children.running[place] = Some(me);
        }
        Some(place)
    }

    /// `Enlisted::drop`.
    fn strike_off(&self, place: usize) {
        self.gate.pass();
        let mut children = self.children.lock().unwrap();
        if !children.cancelled {
            let me = children.running[place].take();
            children.free.push(place);
            drop(children);
            drop(me);
        }
    }

    /// `run_child`; the child waits to be cancelled, or ends at once.
    fn run_child(list: &Arc<List>, waits: bool) -> Arc<Task<Body>> {
        let (list, itself) = (list.clone(), Arc::new(Mutex::new(None)));
        let task: Arc<Task<Body>> = Task::new(Box::new({
            let itself = itself.clone();
            move |state, stack| {
                if stack.step == 0 {
                    let me = itself.lock().unwrap().take().unwrap();
                    let Some(place) = list.enlist(me) else {
                        return Step::Finish;
                    };
                    stack.step = place as u32 + 1;
                }
                if waits && !state.is_cancelled() {
                    return Step::Park;
                }
                list.strike_off(stack.step as usize - 1);
                Step::Finish
            }
        }));
        *itself.lock().unwrap() = Some(task.clone());
        task.run();
        task
    }
}

/// Children that begin, wait and end while the scope is cancelled: each is cancelled, finds the mark, or has ended.
///
/// Hangs on: mark and list in one step under the lock; waking after it; a child that ends after the mark leaving the
/// list, which is gone, alone.
#[test]
fn a_cancellation_reaches_every_child() {
    with_preemptions(2, || {
        let list = List::new();
        let canceller = thread::spawn({
            let list = list.clone();
            move || list.cancel()
        });
        let brief = thread::spawn({
            let list = list.clone();
            move || List::run_child(&list, false)
        });
        let waiting = List::run_child(&list, true);
        canceller.join().unwrap();
        brief.join().unwrap().assert_finished();
        waiting.assert_finished();
        assert!(list.children.lock().unwrap().running.is_empty());
    });
}
