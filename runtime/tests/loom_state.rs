//! The state word (`task/state.rs`) under every interleaving: wake-ups are never lost and never doubled.
//!
//! `model/coroutine.rs` says what a coroutine is here. Interruptions and timers have models of their own, on the same word:
//! `loom_interrupt.rs`, `loom_timers.rs`, `loom_token.rs`, `loom_scope.rs`.
//!
//! Each model names what it hangs on: change that, and the model fails (tried; the outcomes are in `task/README.md`).

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, Ordering};
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
use model::with_preemptions;
use state::State;

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

/// The waker of a `block_on` is woken while its coroutine waits for something else, or for an inner `block_on`: each call
/// takes its own wake-up, and sees what was done before it.
///
/// Hangs on: `wake_future` setting its level's bit with the wake-up and releasing, `take_woken` acquiring and taking no other bit, and
/// `park` keeping the bits.
#[test]
fn a_woken_future_is_polled_at_its_own_level() {
    with_preemptions(3, || {
        let gift = Arc::new(UnsafeCell::new(0));
        let body = {
            let gift = gift.clone();
            move |state: &State, stack: &mut Stack| {
                // The inner call first, then the one around it.
                if stack.step == 0 {
                    if !state.take_woken(1) {
                        return Step::Park;
                    }
                    stack.step = 1;
                }
                if !state.take_woken(0) {
                    return Step::Park;
                }
                // SAFETY: the wake-up says that it is ours; loom checks it.
                assert_eq!(gift.with(|gift| unsafe { *gift }), 7);
                Step::Finish
            }
        };
        let task = Task::new(body);
        let outer = thread::spawn({
            let (gift, task) = (gift.clone(), task.clone());
            move || {
                // SAFETY: ours until the wake-up.
                gift.with_mut(|gift| unsafe { *gift = 7 });
                task.wake(|state| state.wake_future(0))
            }
        });
        let inner = thread::spawn({
            let task = task.clone();
            move || task.wake(|state| state.wake_future(1))
        });
        task.run();
        outer.join().unwrap();
        inner.join().unwrap();
        task.assert_finished();
        assert!(!task.state.take_woken(0) && !task.state.take_woken(1));
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
