//! The two lock-free protocols of the example `models`: the ring between an I/O thread and a business thread, and the claim by which
//! several threads share what any of them may find ready.
#![allow(dead_code, reason = "the example uses the rest")]

#[path = "../examples/models/parts/atomic.rs"]
mod atomic;
#[path = "../examples/models/parts/claim.rs"]
mod claim;
#[path = "../examples/models/parts/ring.rs"]
mod ring;
mod support;

use std::hint;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use claim::Claim;
use ring::{Ring, Sleeper};
use support::within;

const ITEMS: usize = 200_000;

#[test]
fn a_ring_is_full_after_its_slots_and_empty_again() {
    let mut ring = Ring::new(4, || 0);
    let (mut producer, mut consumer) = ring.split();
    for round in 0..10 {
        assert!(consumer.is_empty());
        for item in 0..4 {
            *producer.claim().expect("there is room") = round * 4 + item;
            producer.publish();
        }
        assert!(producer.is_full() && !producer.is_drained());
        for item in 0..4 {
            assert_eq!(consumer.peek(), Some(&mut (round * 4 + item)));
            consumer.consume();
        }
        assert!(producer.is_drained());
    }
}

#[test]
fn a_slot_that_was_claimed_is_not_seen_before_it_is_published() {
    let mut ring = Ring::new(2, || 0);
    let (mut producer, mut consumer) = ring.split();
    *producer.claim().expect("there is room") = 7;
    assert!(consumer.is_empty());
    producer.publish();
    assert_eq!(consumer.peek(), Some(&mut 7));
}

#[test]
#[should_panic(expected = "published, not claimed")]
fn to_publish_more_than_there_is_room_for_panics() {
    let mut ring = Ring::new(2, || 0);
    let (mut producer, _consumer) = ring.split();
    for _ in 0..3 {
        producer.publish();
    }
}

#[test]
#[should_panic(expected = "consumed, not looked at")]
fn to_consume_what_is_not_there_panics() {
    let mut ring = Ring::new(2, || 0);
    let (_producer, mut consumer) = ring.split();
    consumer.consume();
}

/// Both sides sleep whenever they have to wait, so that a wake-up that is lost is a hang.
#[test]
fn everything_arrives_in_order_and_nobody_oversleeps() {
    within(
        Duration::from_secs(60),
        "two threads and a ring of two",
        || {
            let mut ring = Ring::new(2, || [0; 4]);
            let (mut producer, mut consumer) = ring.split();
            let (fed, drained) = (&Sleeper::default(), &Sleeper::default());
            let main = &thread::current();
            thread::scope(|threads| {
                let reader = threads.spawn(move || {
                    for expected in 0..ITEMS {
                        sleep_until(fed, || !consumer.is_empty());
                        // All of it: no slot is half written.
                        assert_eq!(consumer.peek(), Some(&mut [expected; 4]));
                        consumer.consume();
                        drained.rouse(|| main.unpark());
                    }
                });
                for item in 0..ITEMS {
                    sleep_until(drained, || !producer.is_full());
                    *producer.claim().expect("there is room") = [item; 4];
                    producer.publish();
                    fed.rouse(|| reader.thread().unpark());
                }
            });
        },
    );
}

fn sleep_until(sleeper: &Sleeper, mut is_ready: impl FnMut() -> bool) {
    while !is_ready() {
        sleeper.lie_down();
        if is_ready() {
            sleeper.get_up();
            return;
        }
        thread::park();
    }
}

/// One publishes and looks for a sleeper, the other lies down and looks again, at the same time: one of them must see the other.
#[test]
fn who_lies_down_while_something_is_published_sees_it_or_is_woken() {
    within(Duration::from_secs(60), "two threads in step", || {
        let (published, begun) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let (sleeper, is_woken) = (Sleeper::default(), AtomicBool::new(false));
        // Twice in each round, so that both look at the same time, and nobody begins the next before it was judged.
        let meet = |step: usize| {
            begun.fetch_add(1, Ordering::AcqRel);
            let mut looks = 0;
            while begun.load(Ordering::Acquire) < step * 2 {
                looks += 1;
                if looks % 1000 == 0 {
                    // The other one is not running.
                    thread::yield_now();
                }
                hint::spin_loop();
            }
        };
        let rounds = ITEMS / 4;
        let mut missed = 0;
        thread::scope(|threads| {
            threads.spawn(|| {
                for round in 1..=rounds {
                    meet(round * 2 - 1);
                    published.store(round, Ordering::Release);
                    sleeper.rouse(|| is_woken.store(true, Ordering::Relaxed));
                    meet(round * 2);
                }
            });
            for round in 1..=rounds {
                meet(round * 2 - 1);
                sleeper.lie_down();
                let is_seen = published.load(Ordering::Acquire) == round;
                meet(round * 2);
                let is_woken = is_woken.swap(false, Ordering::Relaxed);
                missed += usize::from(!is_seen && !is_woken);
                sleeper.get_up();
            }
        });
        assert_eq!(missed, 0, "of {rounds} rounds");
    });
}

#[test]
fn a_claim_is_one_s_at_a_time_and_nothing_that_came_meanwhile_is_left() {
    within(
        Duration::from_secs(60),
        "threads that share a claim",
        || {
            let claim = Claim::default();
            let is_taken = AtomicBool::new(false);
            let (posted, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let threads_max = 4;
            thread::scope(|threads| {
                for _ in 0..threads_max {
                    threads.spawn(|| {
                        for _ in 0..ITEMS / threads_max {
                            // Relaxed: it is the claim that has to carry it over.
                            posted.fetch_add(1, Ordering::Relaxed);
                            if !claim.take() {
                                continue;
                            }
                            loop {
                                assert!(!is_taken.swap(true, Ordering::Relaxed), "two at a time");
                                done.store(posted.load(Ordering::Relaxed), Ordering::Relaxed);
                                is_taken.store(false, Ordering::Relaxed);
                                if claim.release() {
                                    break;
                                }
                            }
                        }
                    });
                }
            });
            assert_eq!(done.into_inner(), ITEMS);
        },
    );
}
