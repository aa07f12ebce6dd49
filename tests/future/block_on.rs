//! `block_on`: a coroutine or thread waits for a future that knows nothing of withy.

use std::future::{poll_fn, ready};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Poll, Waker};
use std::time::Duration;

use withy::{Cancelled, block_on};

use super::door::{Door, second_poll, until_asleep};
use crate::rig::{each_runtime, stress_rounds, until};
use crate::support::{self, LIMIT, matrix, runtime, within};

/// What need not wait does not: it works where nothing may park, and needs no `Send`.
#[test]
fn a_ready_future_does_not_wait() {
    matrix(LIMIT, "ready futures", |case| {
        let sum = case.run(|| {
            let local = std::rc::Rc::new(3);
            let borrowed = &local;
            withy::no_park(|| block_on(ready(1)) + block_on(async { ready(2).await + **borrowed }))
        });
        assert_eq!(sum, 6);
    });
}

/// Promise 41, for wakers: woken by a coroutine of the same runtime, of another one, and by a plain thread; polled once more each time.
#[test]
fn a_pending_future_is_woken_from_anywhere() {
    let other = runtime(1, false);
    matrix(LIMIT, "futures that are woken", |case| {
        let wakers: [&dyn Fn(Door); 4] = [
            &|door| drop(case.runtime.spawn(move || door.open())),
            &|door| drop(other.spawn(move || door.open())),
            &|door| drop(std::thread::spawn(move || door.open())),
            &|door| door.open(),
        ];
        for wake in wakers {
            let door = Door::new();
            let waiter = case.spawn({
                let door = door.clone();
                move || block_on(door)
            });
            until_asleep(&door);
            assert_eq!(door.polls(), 1);
            wake(door);
            assert_eq!(waiter.join(), 2);
        }
    });
}

/// Promise 35, for wakers. A wake-up before the poll has returned is kept, however it is made; many are one.
#[test]
fn a_wake_up_before_the_park_is_kept() {
    matrix(LIMIT, "futures that are woken early", |case| {
        case.run(|| {
            block_on(second_poll(Waker::wake_by_ref));
            block_on(second_poll(|waker| {
                let clone = waker.clone();
                clone.wake();
            }));
            block_on(second_poll(|waker| {
                std::thread::scope(|s| _ = s.spawn(|| waker.wake_by_ref()));
            }));
            // The coroutine's own parking in between, which takes its internal wake-ups, does not take this one.
            block_on(second_poll(|waker| {
                waker.wake_by_ref();
                withy::sleep(Duration::from_micros(10));
                withy::spawn(|| ()).join().unwrap();
            }));
            let (mut polls, mut woken) = (0, false);
            let door = Door::new();
            let opener = door.clone();
            block_on(async {
                let mut door = pin!(door);
                poll_fn(|context| {
                    polls += 1;
                    if !std::mem::replace(&mut woken, true) {
                        (0..100).for_each(|_| context.waker().wake_by_ref());
                        return Poll::Pending;
                    }
                    if polls == 2 {
                        let opener = opener.clone();
                        // The hundred wake-ups led to this poll, and to no other.
                        std::thread::spawn(move || {
                            until_asleep(&opener);
                            opener.open();
                        });
                    }
                    door.as_mut().poll(context)
                })
                .await
            });
            assert_eq!(polls, 3);
        });
    });
}

/// Promise 9, for futures. What else wakes the coroutine does not poll, and is not taken.
#[test]
fn a_future_is_polled_when_its_waker_was_woken_only() {
    each_runtime("polls of a future", |runtime, label| {
        let door = Door::new();
        let waiter = runtime.spawn({
            let door = door.clone();
            move || {
                let polls = block_on(door);
                // The permit that was given meanwhile.
                withy::park();
                polls
            }
        });
        until_asleep(&door);
        for _ in 0..10 {
            waiter.coroutine().unpark();
            runtime.run(withy::yield_now);
        }
        assert_eq!(door.polls(), 1, "{label}");
        for knocks in 1..=3 {
            door.knock();
            until(|| door.polls() == 1 + knocks);
        }
        door.open();
        assert_eq!(waiter.join().unwrap(), 5, "{label}");
    });
}

/// A waker that is left over may be cloned, woken and dropped: by anyone, after its call, its coroutine and its runtime have ended.
#[test]
fn a_waker_outlives_its_coroutine_and_its_runtime() {
    matrix(LIMIT, "wakers that are left over", |case| {
        let door = Door::new();
        let opener = std::thread::spawn({
            let door = door.clone();
            move || {
                until_asleep(&door);
                door.open();
            }
        });
        let left = door.clone();
        case.run(move || {
            block_on(door);
            // Woken after its call: nothing happens, and a later call is polled as it would be without.
            let stale = left.waker();
            stale.wake_by_ref();
            let later = Door::new();
            let opener = std::thread::spawn({
                let later = later.clone();
                move || {
                    until_asleep(&later);
                    later.open();
                }
            });
            assert_eq!(block_on(later.clone()), 2);
            assert!(later.waker().will_wake(&stale));
            opener.join().unwrap();
        });
        opener.join().unwrap();
    });
    each_runtime("wakers of coroutines that are gone", |runtime, _| {
        let door = Door::new();
        let waiter = runtime.spawn({
            let door = door.clone();
            move || block_on(door)
        });
        until_asleep(&door);
        door.open();
        waiter.join().unwrap();
        wake_in_all_ways(&door.waker());
    });
    for workers in [1, 2, 8] {
        let door = Door::new();
        let runtime = runtime(workers, false);
        let waiter = runtime.spawn({
            let door = door.clone();
            move || block_on(door)
        });
        until_asleep(&door);
        drop(runtime);
        assert!(waiter.join().unwrap_err().is::<Cancelled>());
        wake_in_all_ways(&door.waker());
    }
}

fn wake_in_all_ways(waker: &Waker) {
    std::thread::scope(|s| {
        for _ in 0..4 {
            s.spawn(|| {
                for _ in 0..100 {
                    waker.wake_by_ref();
                    let clone = waker.clone();
                    assert!(clone.will_wake(waker));
                    clone.wake();
                    drop(waker.clone());
                }
            });
        }
    });
}

/// So that futures need not replace the waker that they keep. Those of other tasks, and of calls inside, differ.
#[test]
fn wakers_of_one_call_are_the_same() {
    matrix(LIMIT, "wakers", |case| {
        let foreign = case.run(|| {
            let mut kept: Option<Waker> = None;
            block_on(poll_fn(|context| {
                let waker = context.waker();
                if let Some(kept) = &kept {
                    assert!(kept.will_wake(waker) && waker.clone().will_wake(kept));
                    return Poll::Ready(());
                }
                let inner = block_on(poll_fn(|context| Poll::Ready(context.waker().clone())));
                assert!(!inner.will_wake(waker));
                kept = Some(waker.clone());
                waker.wake_by_ref();
                Poll::Pending
            }));
            kept.unwrap()
        });
        block_on(poll_fn(|context| {
            assert!(!foreign.will_wake(context.waker()));
            Poll::Ready(())
        }));
    });
}

/// A poll waits itself: the inner call neither loses the outer one's wake-up nor is polled for it, nor the reverse.
#[test]
fn calls_nest() {
    matrix(LIMIT, "nested calls", |case| {
        let (outer, inner) = (Door::new(), Door::new());
        let waiter = case.spawn({
            let (outer, inner) = (outer.clone(), inner.clone());
            move || {
                let mut outer = pin!(outer);
                let mut inner = Some(inner);
                block_on(poll_fn(|context| {
                    let polled = outer.as_mut().poll(context);
                    if let Some(inner) = inner.take() {
                        assert_eq!(block_on(inner), 2, "polls of the inner future");
                    }
                    polled
                }))
            }
        });
        until_asleep(&inner);
        outer.open();
        case.until_at_rest();
        assert_eq!((outer.polls(), inner.polls()), (1, 1));
        inner.open();
        assert_eq!(waiter.join(), 2, "polls of the outer future");
    });
}

/// Deeper than there are levels with a bit of their own, and woken from the outermost to the innermost.
#[test]
fn calls_nest_deeply() {
    fn wait_for(doors: &[Door]) {
        let Some((door, inside)) = doors.split_first() else {
            return;
        };
        let mut door = pin!(door.clone());
        let mut waited = false;
        block_on(poll_fn(|context| {
            let polled = door.as_mut().poll(context);
            if !std::mem::replace(&mut waited, true) {
                wait_for(inside);
            }
            polled.map(|_| ())
        }));
    }
    matrix(LIMIT, "deeply nested calls", |case| {
        let doors: Arc<Vec<Door>> = Arc::new((0..40).map(|_| Door::new()).collect());
        let waiter = case.spawn({
            let doors = doors.clone();
            move || {
                wait_for(&doors);
                // Nothing is left of it: a call at the first level waits as before.
                let mut polls = 0;
                block_on(poll_fn(|context| {
                    polls += 1;
                    let waker = context.waker().clone();
                    std::thread::spawn(move || waker.wake());
                    if polls == 3 {
                        Poll::Ready(())
                    } else {
                        Poll::Pending
                    }
                }));
            }
        });
        until_asleep(&doors[39]);
        doors.iter().for_each(Door::open);
        waiter.join();
    });
}

/// Promise 31, for futures. On one worker: who is woken before it waits lets the others run, each time.
#[test]
fn a_future_that_wakes_itself_lets_others_run() {
    for full_stealing in [false, true] {
        within(LIMIT, "the neighbour of a busy future", || {
            let runtime = runtime(1, full_stealing);
            runtime.run(|| {
                let runs = Arc::new(AtomicUsize::new(0));
                let neighbour = withy::spawn({
                    let runs = runs.clone();
                    move || {
                        for _ in 0..100 {
                            runs.fetch_add(1, Ordering::SeqCst);
                            withy::yield_now();
                        }
                    }
                });
                let mut polls = 0;
                block_on(poll_fn(|context| {
                    polls += 1;
                    if runs.load(Ordering::SeqCst) == 100 {
                        return Poll::Ready(());
                    }
                    context.waker().wake_by_ref();
                    Poll::Pending
                }));
                assert!(polls <= 120, "{polls} polls for 100 runs of a neighbour");
                neighbour.join().unwrap();
            });
        });
    }
}

/// The same for calls that never wait.
#[test]
fn ready_futures_count_as_calls() {
    within(LIMIT, "the neighbour of many ready futures", || {
        runtime(1, false).run(|| {
            let ran = Arc::new(AtomicBool::new(false));
            let neighbour = withy::spawn({
                let ran = ran.clone();
                move || ran.store(true, Ordering::SeqCst)
            });
            let mut calls = 0;
            while !ran.load(Ordering::SeqCst) {
                block_on(ready(()));
                calls += 1;
            }
            assert!(calls <= 1_000, "{calls} calls");
            neighbour.join().unwrap();
        });
    });
}

/// Law 1: many coroutines and threads wait for each other by futures of a foreign crate.
#[test]
fn stress_async_channels_between_coroutines_and_threads() {
    matrix(LIMIT * 4, "values through async channels", |case| {
        let (values, pairs) = (300 * stress_rounds(), 4);
        let (send, receive) = async_channel::bounded(2);
        let senders: Vec<_> = (0..pairs)
            .map(|sender| {
                let send = send.clone();
                case.spawn(move || {
                    for n in 0..values {
                        block_on(send.send(sender * values + n)).unwrap();
                    }
                })
            })
            .collect();
        drop(send);
        let receivers: Vec<_> = (0..pairs)
            .map(|_| {
                let receive = receive.clone();
                case.spawn(move || {
                    let mut sum = 0;
                    while let Ok(value) = block_on(receive.recv()) {
                        sum += value;
                    }
                    sum
                })
            })
            .collect();
        senders.into_iter().for_each(support::Caller::join);
        let sum: usize = receivers.into_iter().map(support::Caller::join).sum();
        let count = pairs * values;
        assert_eq!(sum, count * (count - 1) / 2);
    });
}
