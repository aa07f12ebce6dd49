//! The state word (`task/state.rs`) under every interleaving: wake-ups are never lost and never doubled.
//!
//! A coroutine is a state machine here, and whoever is told to schedule it runs it at once, as another worker would
//! in full stealing. So nothing blocks: a lost wake-up is a coroutine that has not finished when all threads have
//! ended, and two runners of one stack are a race on its cell.
//!
//! Each model names what it hangs on: change that, and the model fails (tried; the outcomes are in `task/README.md`).

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;

mod model;

mod atomic {
    pub(crate) use loom::sync::atomic::{AtomicU32, Ordering};
}
#[allow(dead_code)]
#[path = "../src/task/state.rs"]
mod state;

use model::{Gate, with_preemptions};
use state::{Notify, Park, State};

/// What a coroutine does when it has the worker.
enum Step {
    Park,
    Yield,
    Finish,
}

/// What lies on the coroutine's stack: touched by its runner only.
#[derive(Default)]
struct Stack {
    step: u32,
    parks: u32,
    finished: bool,
}

struct Task<B> {
    gate: Gate,
    state: State,
    stack: UnsafeCell<Stack>,
    body: B,
}

impl<B: Fn(&State, &mut Stack) -> Step> Task<B> {
    fn new(body: B) -> Arc<Task<B>> {
        Arc::new(Task {
            gate: Gate::new(),
            state: State::new(),
            stack: UnsafeCell::new(Stack::default()),
            body,
        })
    }

    /// A worker that holds the queue link: `Worker::run`, until it parks or ends.
    fn run(&self) {
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

    fn on_stack<R>(&self, f: impl FnOnce(&mut Stack) -> R) -> R {
        // SAFETY: called by the runner; that there is one at a time is what loom checks here.
        self.stack.with_mut(|stack| f(unsafe { &mut *stack }))
    }

    /// A waker: wakes, and does what the outcome asks for. Gives 1 if it had to schedule.
    fn wake(&self, wake_up: fn(&State) -> Notify) -> u32 {
        self.gate.pass();
        if wake_up(&self.state) == Notify::Schedule {
            self.run();
            return 1;
        }
        0
    }

    /// When all threads have ended: it has finished. Gives the number of times it asked to park.
    fn assert_finished(&self) -> u32 {
        self.on_stack(|stack| {
            assert!(stack.finished, "a wake-up was lost: it is parked for ever");
            stack.parks
        })
    }
}

/// The first run, on a thread of its own, against `wakers`; gives how many of them had to schedule.
fn race<B>(task: &Arc<Task<B>>, wakers: Vec<fn(&Task<B>) -> u32>) -> u32
where
    B: Fn(&State, &mut Stack) -> Step + 'static,
{
    let threads: Vec<_> = wakers
        .into_iter()
        .map(|waker| {
            let task = task.clone();
            thread::spawn(move || waker(&task))
        })
        .collect();
    task.run();
    threads
        .into_iter()
        .map(|thread| thread.join().unwrap())
        .sum()
}

#[derive(Default)]
struct News(AtomicBool, AtomicBool);

/// Two wakers, each with news of its own, and a coroutine that needs both: each is seen, although wake-ups coalesce.
///
/// Hangs on: `notify` being a releasing read-modify-write also where it changes nothing (on NOTIFIED), `park` acquiring,
/// and `park` minding NOTIFIED.
#[test]
fn news_stored_before_a_notify_is_seen_after_the_next_park() {
    with_preemptions(3, || {
        let news = Arc::new(News::default());
        let body = {
            let news = news.clone();
            move |_: &State, _: &mut Stack| {
                let first = news.0.load(Ordering::Relaxed);
                if first && news.1.load(Ordering::Relaxed) {
                    Step::Finish
                } else {
                    Step::Park
                }
            }
        };
        let task = Task::new(body);
        let waker = |tell: fn(&News)| {
            let (news, task) = (news.clone(), task.clone());
            thread::spawn(move || {
                tell(&news);
                task.wake(State::notify)
            })
        };
        let wakers = [
            waker(|news| news.0.store(true, Ordering::Relaxed)),
            waker(|news| news.1.store(true, Ordering::Relaxed)),
        ];
        task.run();
        let scheduled: u32 = wakers.into_iter().map(|waker| waker.join().unwrap()).sum();
        // One Schedule for a park at most: the rest of the parks met NOTIFIED.
        assert!(scheduled <= task.assert_finished());
    });
}

/// Wake-ups of a coroutine that parks once: whatever they meet, it is scheduled once at most, and its stack has one
/// runner.
///
/// Hangs on: `notify` leaving PARKED by one exchange, and acquiring there what `park` released: the stack.
#[test]
fn a_park_is_scheduled_once() {
    with_preemptions(3, || {
        let body = |_: &State, stack: &mut Stack| {
            stack.step += 1;
            if stack.step == 1 {
                Step::Park
            } else {
                Step::Finish
            }
        };
        let task = Task::new(body);
        let scheduled = race(
            &task,
            vec![|t| t.wake(State::notify), |t| t.wake(State::notify)],
        );
        assert_eq!(task.assert_finished(), 1);
        assert!(scheduled <= 1);
    });
}

/// A yield leaves the word alone: a wake-up before or during it is met at the next park.
///
/// Hangs on: nothing but `park` resetting NOTIFIED.
#[test]
fn a_wake_up_during_a_yield_is_kept_for_the_park() {
    loom::model(|| {
        let news = Arc::new(AtomicBool::new(false));
        let body = {
            let news = news.clone();
            move |_: &State, stack: &mut Stack| {
                stack.step += 1;
                match stack.step {
                    // It looks before it yields, and parks on what it saw then.
                    1 if news.load(Ordering::Relaxed) => Step::Finish,
                    1 => Step::Yield,
                    2 => Step::Park,
                    _ if news.load(Ordering::Relaxed) => Step::Finish,
                    _ => Step::Park,
                }
            }
        };
        let task = Task::new(body);
        let waker = thread::spawn({
            let (news, task) = (news.clone(), task.clone());
            move || {
                news.store(true, Ordering::Relaxed);
                task.wake(State::notify)
            }
        });
        task.run();
        waker.join().unwrap();
        task.assert_finished();
    });
}

/// A public `unpark` is kept while the coroutine has not begun, and while it waits for something else.
///
/// Hangs on: `unpark` setting PERMIT in every state, and `park` and `notify` keeping the flags.
#[test]
fn a_permit_is_kept_until_the_public_park() {
    with_preemptions(3, || {
        let io = Arc::new(AtomicBool::new(false));
        let body = {
            let io = io.clone();
            move |state: &State, stack: &mut Stack| {
                if stack.step == 0 {
                    if !io.load(Ordering::Relaxed) {
                        return Step::Park;
                    }
                    stack.step = 1;
                }
                if state.take_permit() {
                    Step::Finish
                } else {
                    Step::Park
                }
            }
        };
        let task = Task::new(body);
        let netpoller = thread::spawn({
            let (io, task) = (io.clone(), task.clone());
            move || {
                io.store(true, Ordering::Relaxed);
                task.wake(State::notify)
            }
        });
        let friend = thread::spawn({
            let task = task.clone();
            move || task.wake(State::unpark)
        });
        task.run();
        netpoller.join().unwrap();
        friend.join().unwrap();
        task.assert_finished();
        assert!(!task.state.take_permit(), "one unpark is one permit");
    });
}

/// What was done before a public `unpark` is seen after the `park` that takes its permit.
///
/// Hangs on: `notify_with` releasing and `take_permit` acquiring (the coroutine may find the permit without having
/// been switched away in between).
#[test]
fn a_permit_carries_what_was_done_before_it() {
    loom::model(|| {
        let gift = Arc::new(UnsafeCell::new(0));
        let body = {
            let gift = gift.clone();
            move |state: &State, _: &mut Stack| {
                if !state.take_permit() {
                    return Step::Park;
                }
                // SAFETY: the permit says that it is ours; loom checks it.
                assert_eq!(gift.with(|gift| unsafe { *gift }), 7);
                Step::Finish
            }
        };
        let task = Task::new(body);
        let friend = thread::spawn({
            let (gift, task) = (gift.clone(), task.clone());
            move || {
                // SAFETY: ours until the permit is given.
                gift.with_mut(|gift| unsafe { *gift = 7 });
                task.wake(State::unpark)
            }
        });
        task.run();
        friend.join().unwrap();
        task.assert_finished();
    });
}

/// A cancellation reaches a coroutine that has not begun, runs, or is parked, whatever else wakes it.
///
/// Hangs on: CANCELLED and the wake-up being one read-modify-write.
#[test]
fn a_cancellation_reaches_the_coroutine() {
    with_preemptions(3, || {
        let body = |state: &State, _: &mut Stack| {
            if state.is_cancelled() {
                Step::Finish
            } else {
                Step::Park
            }
        };
        let task = Task::new(body);
        race(
            &task,
            vec![|t| t.wake(State::cancel), |t| t.wake(State::notify)],
        );
        task.assert_finished();
    });
}

/// Wake-ups that come with or after the end do nothing.
///
/// Hangs on: `finish` leaving nothing behind that reads as PARKED.
#[test]
fn a_finished_coroutine_is_not_scheduled() {
    with_preemptions(3, || {
        let task = Task::new(|_: &State, _: &mut Stack| Step::Finish);
        let scheduled = race(
            &task,
            vec![|t| t.wake(State::unpark), |t| t.wake(State::cancel)],
        );
        assert_eq!(scheduled + task.wake(State::notify), 0);
        task.assert_finished();
    });
}
