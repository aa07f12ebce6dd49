//! Tokens (`task/cancel.rs`) under every interleaving: a listener is told, or finds the flag; a child never stays behind.
//!
//! The steps of `cancel`, `listen`, `child` and of the listener's leaving are repeated here, with coroutines on the state
//! word that ships. Whoever tells a listener may have to run it at once: a listener that is told under the lock
//! deadlocks with its own leaving.
//!
//! Each model names what it hangs on: change that, and the model fails (tried; the outcomes are in `task/README.md`).

use loom::sync::atomic::{AtomicBool, Ordering};
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

#[derive(Default)]
struct Listeners {
    waiters: Vec<(u64, Arc<Task<Body>>)>,
    children: Vec<Arc<Token>>,
    next: u64,
}

struct Token {
    gate: Gate,
    cancelled: AtomicBool,
    state: Mutex<Listeners>,
}

impl Token {
    fn new() -> Arc<Token> {
        Arc::new(Token {
            gate: Gate::new(),
            cancelled: AtomicBool::new(false),
            state: Mutex::default(),
        })
    }

    fn is_cancelled(&self) -> bool {
        self.gate.pass();
        self.cancelled.load(Ordering::Acquire)
    }

    fn cancel(&self) {
        self.gate.pass();
        let mut state = self.state.lock().unwrap();
        if self.cancelled.swap(true, Ordering::AcqRel) {
            return;
        }
        let waiters = core::mem::take(&mut state.waiters);
        let children = core::mem::take(&mut state.children);
        drop(state);
        for (_, listener) in &waiters {
            listener.wake(State::raise);
        }
        children.iter().for_each(|child| child.cancel());
    }

    fn child(&self) -> Arc<Token> {
        let child = Token::new();
        self.gate.pass();
        let mut state = self.state.lock().unwrap();
        if self.is_cancelled() {
            child.cancelled.store(true, Ordering::Release);
        } else {
            state.children.push(child.clone());
        }
        drop(state);
        child
    }

    fn listen(&self, me: Arc<Task<Body>>) -> Option<u64> {
        self.gate.pass();
        let mut state = self.state.lock().unwrap();
        if self.is_cancelled() {
            return None;
        }
        state.next += 1;
        let ticket = state.next;
        state.waiters.push((ticket, me));
        Some(ticket)
    }

    /// `Listening::drop`.
    fn leave(&self, ticket: u64) {
        self.gate.pass();
        let mut state = self.state.lock().unwrap();
        let place = state
            .waiters
            .binary_search_by_key(&ticket, |(ticket, _)| *ticket);
        let gone = place.ok().map(|place| state.waiters.remove(place));
        drop(state);
        drop(gone);
    }
}

/// What a listener does.
#[derive(Clone, Copy)]
enum Listener {
    /// `CancelToken::wait`.
    Wait,
    /// `CancelToken::run`: the frame's flag is looked at only when RAISED tells it to.
    Region,
    /// Leaves at its first look.
    Impatient,
}

/// Begins on the calling thread.
fn listener(token: Arc<Token>, kind: Listener) -> Arc<Task<Body>> {
    let itself = Arc::new(Mutex::new(None));
    let task: Arc<Task<Body>> = Task::new(Box::new({
        let itself = itself.clone();
        move |state, stack| {
            if stack.step == 0 {
                let me = itself.lock().unwrap().take().unwrap();
                let Some(ticket) = token.listen(me) else {
                    return Step::Finish;
                };
                stack.step = ticket as u32;
            }
            let ends = match kind {
                Listener::Wait => token.is_cancelled(),
                Listener::Region => {
                    let told = state.pending().cancelled_or_raised();
                    state.lower();
                    told && token.is_cancelled()
                }
                Listener::Impatient => true,
            };
            if !ends {
                return Step::Park;
            }
            token.leave(stack.step.into());
            Step::Finish
        }
    }));
    *itself.lock().unwrap() = Some(task.clone());
    task.run();
    task
}

fn race(preemptions: usize, kinds: [Listener; 2], cancels: usize) {
    with_preemptions(preemptions, move || {
        let token = Token::new();
        let other = thread::spawn({
            let token = token.clone();
            move || listener(token, kinds[0])
        });
        let cancellers: Vec<_> = (0..cancels)
            .map(|_| {
                let token = token.clone();
                thread::spawn(move || token.cancel())
            })
            .collect();
        let listening = listener(token.clone(), kinds[1]);
        for canceller in cancellers {
            canceller.join().unwrap();
        }
        other.join().unwrap().assert_finished();
        listening.assert_finished();
        assert!(token.state.lock().unwrap().waiters.is_empty());
    });
}

/// A region and a waiter against a cancellation: both end, and nobody is left in the list.
///
/// Hangs on: the flag being set before the list is taken, and looked at by whoever enters under the lock; telling after
/// the lock is free.
#[test]
fn each_listener_is_told_or_finds_the_flag() {
    race(3, [Listener::Region, Listener::Wait], 1);
}

/// A listener that leaves while the list is taken and told, and two cancellations at once.
///
/// Hangs on: a ticket that is not in the list any more being nothing to remove.
#[test]
fn a_listener_may_leave_while_it_is_told() {
    race(2, [Listener::Impatient, Listener::Region], 2);
}

/// A child that is made while its parent is cancelled, and listened to.
///
/// Hangs on: `child` looking at the flag under the parent's lock.
#[test]
fn a_child_is_cancelled_with_its_parent() {
    with_preemptions(2, || {
        let parent = Token::new();
        let canceller = thread::spawn({
            let parent = parent.clone();
            move || parent.cancel()
        });
        let listening = listener(parent.child(), Listener::Region);
        canceller.join().unwrap();
        listening.assert_finished();
    });
}
