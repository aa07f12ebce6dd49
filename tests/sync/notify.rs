//! `Notify`: permits, rounds, order, who leaves.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use withy::sync::Notify;
use withy::{Cancelled, JoinHandle, now, scope, spawn, timeout};

use crate::rig::parties::{each_pair, in_virtual_time, settle, somebody_waits};
use crate::rig::{stress_rounds, text_of, until};
use crate::support::{self, LIMIT, matrix, within};

const SECOND: Duration = Duration::from_secs(1);

/// Whether a permit is there; it is taken.
fn takes_permit(event: &Notify) -> bool {
    event.wait_timeout(Duration::ZERO)
}

/// In virtual time: a coroutine that waits, and is in the queue.
fn waiter(event: &Arc<Notify>) -> JoinHandle<()> {
    let event = event.clone();
    let waiter = spawn(move || event.wait());
    settle();
    waiter
}

fn assert_cancelled(waiter: JoinHandle<()>) {
    waiter.cancel();
    assert!(waiter.join().unwrap_err().is::<Cancelled>());
}

#[test]
fn a_notification_is_kept_for_the_next_who_comes() {
    matrix(LIMIT, "a permit", |case| {
        let event = Arc::new(Notify::new());
        case.run({
            let event = event.clone();
            move || event.notify_one()
        });
        case.run({
            let event = event.clone();
            move || event.wait()
        });
        assert!(!takes_permit(&event));
    });
}

#[test]
fn notifications_do_not_add_up() {
    within(LIMIT, "permits", || {
        let event = Notify::default();
        (0..3).for_each(|_| event.notify_one());
        event.wait();
        assert!(!takes_permit(&event));
        event.notify_one();
        assert!(takes_permit(&event) && !takes_permit(&event));
    });
}

#[test]
fn a_static_needs_no_set_up() {
    static EVENT: Notify = Notify::new();
    fn is_send_sync<T: Send + Sync>() {}
    is_send_sync::<Notify>();
    is_send_sync::<withy::sync::Notified<'static>>();
    within(LIMIT, "a static", || {
        let waiter = spawn(|| EVENT.wait());
        EVENT.notify_one();
        waiter.join().unwrap();
    });
}

/// Promise 41. One wakes the other, and the other way round.
#[test]
fn two_parties_wake_each_other() {
    const ROUNDS: usize = 200;
    each_pair("ping-pong", |pair| {
        let events = Arc::new([Notify::new(), Notify::new()]);
        let count = Arc::new(AtomicUsize::new(0));
        let parties = [0, 1].map(|me| {
            let (events, count) = (events.clone(), count.clone());
            pair.spawn(me, move || {
                for round in 0..ROUNDS {
                    if (round, me) != (0, 0) {
                        events[me].wait();
                    }
                    assert_eq!(count.fetch_add(1, Ordering::Relaxed), 2 * round + me);
                    events[1 - me].notify_one();
                }
            })
        });
        for party in parties {
            party.join();
        }
        assert!(takes_permit(&events[0]) && !takes_permit(&events[1]));
    });
}

/// Each notification wakes one who waits, while there is one.
#[test]
fn each_notification_wakes_one() {
    matrix(LIMIT, "one each", |case| {
        let event = Arc::new(Notify::new());
        let woken = Arc::new(AtomicUsize::new(0));
        let waiters: Vec<_> = (0..10)
            .map(|_| {
                let (event, woken) = (event.clone(), woken.clone());
                case.spawn(move || {
                    event.wait();
                    woken.fetch_add(1, Ordering::SeqCst);
                })
            })
            .collect();
        for n in 1..=10 {
            event.notify_one();
            until(|| woken.load(Ordering::SeqCst) == n);
        }
        waiters.into_iter().for_each(|waiter| waiter.join());
        assert!(!takes_permit(&event) && !somebody_waits(&event));
    });
}

#[test]
fn who_has_waited_longest_is_woken_first() {
    in_virtual_time("a queue", || {
        let event = Notify::new();
        let woken = Mutex::new(Vec::new());
        scope(|s| {
            for turn in 0..10 {
                let (event, woken) = (&event, &woken);
                s.spawn(move || {
                    event.wait();
                    woken.lock().unwrap().push(turn);
                });
                settle();
            }
            for n in 0..10 {
                assert_eq!(*woken.lock().unwrap(), (0..n).collect::<Vec<_>>());
                event.notify_one();
                settle();
            }
        });
        assert!(!takes_permit(&event));
    });
}

#[test]
fn all_who_wait_are_woken_and_nothing_is_kept() {
    matrix(LIMIT, "all", |case| {
        let event = Arc::new(Notify::new());
        event.notify_waiters();
        assert!(!takes_permit(&event));
        let woken = Arc::new(AtomicUsize::new(0));
        let waiters: Vec<_> = (0..10)
            .map(|_| {
                let (event, woken) = (event.clone(), woken.clone());
                case.spawn(move || {
                    event.wait();
                    woken.fetch_add(1, Ordering::SeqCst);
                })
            })
            .collect();
        // Each round wakes those who wait by then.
        until(|| {
            event.notify_waiters();
            woken.load(Ordering::SeqCst) == 10
        });
        waiters.into_iter().for_each(|waiter| waiter.join());
        assert!(!takes_permit(&event) && !somebody_waits(&event));
    });
}

#[test]
fn a_round_wakes_those_who_wait_by_then_and_no_others() {
    in_virtual_time("a round", || {
        let event = Arc::new(Notify::new());
        let first = [(); 3].map(|()| waiter(&event));
        event.notify_waiters();
        let second = waiter(&event);
        for one in first {
            one.join().unwrap();
        }
        settle();
        assert!(!second.is_finished());
        event.notify_one();
        second.join().unwrap();
    });
}

#[test]
fn a_round_leaves_the_permit() {
    within(LIMIT, "a permit and a round", || {
        let event = Notify::new();
        event.notify_one();
        let announced = event.notified();
        event.notify_waiters();
        // It was notified by the round, and takes nothing.
        announced.wait();
        assert!(takes_permit(&event) && !takes_permit(&event));
    });
}

#[test]
fn a_round_after_an_announcement_is_not_missed() {
    in_virtual_time("announcements", || {
        let event = Notify::new();
        let before = now();
        for rounds in 1..3 {
            let announced = [(); 3].map(|()| event.notified());
            (0..rounds).for_each(|_| event.notify_waiters());
            for one in announced {
                assert!(one.wait_timeout(SECOND));
            }
        }
        assert_eq!(now(), before);
        // One that came before does not count, and one that is dropped is nothing.
        drop(event.notified());
        assert!(!event.notified().wait_timeout(SECOND));
        assert_eq!(now(), before + SECOND);
        let announced = event.notified();
        event.notify_one();
        assert!(announced.wait_timeout(SECOND) && !takes_permit(&event));
        // Also while another one waits.
        let event = Arc::new(event);
        let other = waiter(&event);
        let announced = event.notified();
        event.notify_waiters();
        assert!(announced.wait_timeout(SECOND) && !takes_permit(&event));
        other.join().unwrap();
    });
}

/// Promise 35, for who looks before it waits: whatever the order, the flag or the round is seen.
#[test]
fn a_flag_and_a_round_are_not_missed_together() {
    each_pair("a flag", |pair| {
        for _ in 0..50 {
            let shared = Arc::new((AtomicBool::new(false), Notify::new()));
            let waits = pair.spawn(0, {
                let shared = shared.clone();
                move || {
                    let announced = shared.1.notified();
                    if !shared.0.load(Ordering::Relaxed) {
                        announced.wait();
                    }
                    assert!(shared.0.load(Ordering::Relaxed));
                }
            });
            let tells = pair.spawn(1, move || {
                shared.0.store(true, Ordering::Relaxed);
                shared.1.notify_waiters();
            });
            waits.join();
            tells.join();
        }
    });
}

/// Promise 29. A notification whose receiver unwinds goes to the next, or is kept.
#[test]
fn a_notification_of_one_that_unwinds_is_not_lost() {
    in_virtual_time("notifications in vain", || {
        let event = Arc::new(Notify::new());
        let (first, second, third) = (waiter(&event), waiter(&event), waiter(&event));
        event.notify_one();
        assert_cancelled(first);
        second.join().unwrap();
        assert!(!third.is_finished());
        event.notify_one();
        assert_cancelled(third);
        assert!(takes_permit(&event) && !takes_permit(&event));
        assert!(!somebody_waits(&event));
    });
}

/// Promise 29. Who leaves the queue has nothing to pass on, and is in nobody's way.
#[test]
fn who_leaves_the_queue_takes_nothing_along() {
    in_virtual_time("waiters that leave", || {
        let event = Arc::new(Notify::new());
        let (first, second, third) = (waiter(&event), waiter(&event), waiter(&event));
        assert_cancelled(second);
        assert_cancelled(first);
        assert!(somebody_waits(&event));
        event.notify_one();
        third.join().unwrap();
        assert!(!takes_permit(&event));
        assert_cancelled(waiter(&event));
        assert!(!somebody_waits(&event));
        event.notify_one();
        assert!(takes_permit(&event));
    });
}

/// One that was woken with all others owes nothing to anybody.
#[test]
fn a_round_whose_receiver_unwinds_is_passed_on_to_nobody() {
    in_virtual_time("a round in vain", || {
        let event = Arc::new(Notify::new());
        let first = waiter(&event);
        event.notify_waiters();
        let second = spawn({
            let event = event.clone();
            move || event.wait()
        });
        assert_cancelled(first);
        settle();
        assert!(!second.is_finished());
        assert_cancelled(second);
        assert!(!takes_permit(&event));
    });
}

/// Promise 22. Limits are kept to the nanosecond.
#[test]
fn a_limit_ends_the_wait_at_its_time() {
    in_virtual_time("limits", || {
        let event = Arc::new(Notify::new());
        for limit in [Duration::ZERO, Duration::from_nanos(1), SECOND] {
            let began = now();
            assert!(!event.wait_timeout(limit));
            assert_eq!(now() - began, limit);
            assert!(timeout(limit, || event.wait()).is_err());
            assert_eq!(now() - began, 2 * limit);
        }
        let began = now();
        let notifier = spawn({
            let event = event.clone();
            move || {
                withy::sleep(SECOND);
                event.notify_one();
            }
        });
        assert!(event.wait_timeout(Duration::MAX));
        assert_eq!(now() - began, SECOND);
        notifier.join().unwrap();
        assert!(withy::deadline(began, || event.wait()).is_err());
        event.notify_one();
        assert!(event.wait_timeout(Duration::ZERO));
    });
}

#[test]
fn inside_no_park_it_panics_rather_than_wait() {
    within(LIMIT, "no_park", || {
        let event = Notify::new();
        withy::run(|| {
            event.notify_one();
            withy::no_park(|| event.wait());
            let payload = catch_unwind(AssertUnwindSafe(|| withy::no_park(|| event.wait())));
            let payload = payload.expect_err("it would wait");
            assert!(text_of(&*payload).contains("no_park"));
        });
        assert!(!somebody_waits(&event));
        event.notify_one();
        assert!(takes_permit(&event));
        assert_eq!(
            format!("{event:?}"),
            "Notify { permit: false, waiting: false, .. }"
        );
    });
}

/// Promises 29 and 41. Each value is taken, though those who are told of it give up or are cancelled at any time.
#[test]
fn no_value_is_left_behind_under_stress() {
    for full_stealing in [false, true] {
        within(5 * LIMIT, "a queue under stress", || {
            let runtime = support::runtime(8, full_stealing);
            for round in 0..4 * stress_rounds() as u64 {
                queue(&runtime, round);
            }
        });
    }
}

#[derive(Default)]
struct Queue {
    values: Mutex<VecDeque<u32>>,
    taken: Mutex<Vec<u32>>,
    event: Notify,
}

impl Queue {
    fn push(&self, value: u32) {
        self.values.lock().unwrap().push_back(value);
        self.event.notify_one();
    }

    /// One value; others may be left, for which others were told, or were not, as permits do not add up.
    fn take(&self) -> bool {
        let mut values = self.values.lock().unwrap();
        let value = values.pop_front();
        let more = !values.is_empty();
        drop(values);
        if more {
            self.event.notify_one();
        }
        self.taken.lock().unwrap().extend(value);
        value.is_some()
    }
}

fn queue(runtime: &withy::Runtime, round: u64) {
    const VALUES: u32 = 1000;
    let queue = Arc::new(Queue::default());
    let taker = |seed| {
        let queue = queue.clone();
        move || {
            let mut rng = Rng::with_seed(seed);
            loop {
                let limit = Duration::from_micros(rng.u64(0..40));
                let told = match rng.u32(0..3) {
                    0 => (queue.event.wait(), true).1,
                    1 => queue.event.wait_timeout(limit),
                    _ => timeout(limit, || queue.event.wait()).is_ok(),
                };
                if told {
                    queue.take();
                }
            }
        }
    };
    // Some that are cancelled at once or soon, and some that stay.
    let takers: Vec<_> = (0..40)
        .map(|n| runtime.spawn(taker(100 * round + n)))
        .collect();
    let pusher = std::thread::spawn({
        let queue = queue.clone();
        move || (0..VALUES / 2).for_each(|value| queue.push(value))
    });
    let coroutine = runtime.spawn({
        let queue = queue.clone();
        move || (VALUES / 2..VALUES).for_each(|value| queue.push(value))
    });
    let (stay, leave) = takers.split_at(8);
    for one in leave {
        one.cancel();
        std::thread::sleep(Duration::from_micros(20));
    }
    pusher.join().unwrap();
    coroutine.join().unwrap();
    until(|| queue.taken.lock().unwrap().len() == VALUES as usize);
    stay.iter().for_each(|one| one.cancel());
    for one in takers {
        assert!(one.join().unwrap_err().is::<Cancelled>());
    }
    let mut taken = std::mem::take(&mut *queue.taken.lock().unwrap());
    taken.sort_unstable();
    assert!(taken.into_iter().eq(0..VALUES));
}
