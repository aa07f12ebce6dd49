//! The protocols by which threads of the example `models` meet without a lock, under every interleaving: the ring's two sequences, the sleeper
//! that is woken without a call while it is awake, and the claim. The files that ship, by path, with loom's atomics.
//!
//! Each model names what it hangs on: change that, and the model fails (tried).

#[path = "../runtime/tests/model/mod.rs"]
mod model;

mod atomic {
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering, fence};
}
#[allow(dead_code, unreachable_pub)]
#[path = "../examples/models/parts/claim.rs"]
mod claim;
#[allow(dead_code, unreachable_pub)]
#[path = "../examples/models/parts/ring.rs"]
mod ring;

use claim::Claim;
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::thread;
use model::{Gate, with_preemptions};
use ring::{Consumer, Producer, Ring, Sleeper};

/// What a slot holds: loom sees who touches it when.
type Slot = UnsafeCell<usize>;

/// The ends of a ring that lives as long as the process: loom's threads cannot borrow.
fn ring(slots: usize) -> (Producer<'static, Slot>, Consumer<'static, Slot>) {
    Box::leak(Box::new(Ring::new(slots, || Slot::new(0)))).split()
}

fn fill(slot: &Slot, item: usize) {
    // SAFETY: the slot is the caller's; loom checks that.
    slot.with_mut(|cell| unsafe { *cell = item });
}

fn read(slot: &Slot) -> usize {
    // SAFETY: as above.
    slot.with(|cell| unsafe { *cell })
}

/// More items than slots, so that each side comes to wait for the other, and slots are filled again.
///
/// Hangs on: the release of `publish` with the acquire of `peek`, and the release of `consume` with the acquires of
/// `claim` and `is_drained`.
#[test]
fn every_item_arrives_whole_and_in_order() {
    for (slots, items) in [(1, 2), (2, 3)] {
        with_preemptions(3, move || {
            let (mut producer, mut consumer) = ring(slots);
            let writer = thread::spawn(move || {
                for item in 1..=items {
                    // A look that counts for `claim`, too.
                    let _ = producer.is_drained();
                    while producer.is_full() {
                        thread::yield_now();
                    }
                    fill(producer.claim().expect("there is room"), item);
                    producer.publish();
                }
            });
            for item in 1..=items {
                while consumer.is_empty() {
                    thread::yield_now();
                }
                assert_eq!(read(consumer.peek().expect("it was there")), item);
                consumer.consume();
            }
            writer.join().unwrap();
            assert!(consumer.is_empty());
        });
    }
}

/// One publishes and looks for a sleeper, the other lies down and looks again.
///
/// Hangs on: both fences, and the order of flag and fence in `lie_down`.
#[test]
fn who_lies_down_sees_what_was_published_or_is_woken() {
    loom::model(|| {
        let sleeper = Arc::new(Sleeper::default());
        let published = Arc::new(AtomicBool::new(false));
        let publisher = thread::spawn({
            let (sleeper, published) = (sleeper.clone(), published.clone());
            move || {
                published.store(true, Ordering::Relaxed);
                let mut is_woken = false;
                sleeper.rouse(|| is_woken = true);
                is_woken
            }
        });
        sleeper.lie_down();
        let is_seen = published.load(Ordering::Relaxed);
        let is_woken = publisher.join().unwrap();
        assert!(is_seen || is_woken);
    });
}

/// Two who rouse at once wake the sleeper once: a wake-up is a system call.
///
/// Hangs on: `rouse` taking the flag by one exchange.
#[test]
fn one_sleep_is_ended_by_one_wake_up() {
    loom::model(|| {
        let sleeper = Arc::new(Sleeper::default());
        let gate = Arc::new(Gate::new());
        sleeper.lie_down();
        let rousers = [(), ()].map(|()| {
            let (sleeper, gate) = (sleeper.clone(), gate.clone());
            thread::spawn(move || {
                let mut wakes = 0;
                gate.pass();
                sleeper.rouse(|| wakes += 1);
                wakes
            })
        });
        let wakes: usize = rousers.map(|rouser| rouser.join().unwrap()).iter().sum();
        assert_eq!(wakes, 1);
    });
}

/// Both sides sleep whenever they have to wait: a wake-up that is lost is a deadlock, which loom finds.
///
/// Hangs on: as above, and that each side rouses the other after it has published or consumed.
#[test]
fn nobody_oversleeps_by_a_ring_of_one() {
    with_preemptions(2, || {
        let (mut producer, mut consumer) = ring(1);
        let (fed, drained) = (Arc::new(Sleeper::default()), Arc::new(Sleeper::default()));
        let main = thread::current();
        let reader = thread::spawn({
            let (fed, drained) = (fed.clone(), drained.clone());
            move || {
                for item in 1..=2 {
                    sleep_until(&fed, || !consumer.is_empty());
                    assert_eq!(read(consumer.peek().expect("it was there")), item);
                    consumer.consume();
                    drained.rouse(|| main.unpark());
                }
            }
        });
        for item in 1..=2 {
            sleep_until(&drained, || !producer.is_full());
            fill(producer.claim().expect("there is room"), item);
            producer.publish();
            fed.rouse(|| reader.thread().unpark());
        }
        reader.join().unwrap();
    });
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

/// Each posts something, and takes the claim or leaves it to whoever has it. The work is one's at a time, and sees everything.
///
/// Hangs on: the orderings of both sides of `take` and `release`, and on AGAIN: that who comes meanwhile is not forgotten.
fn share(threads: usize, preemptions: usize) {
    with_preemptions(preemptions, move || {
        let claim = Arc::new(Claim::default());
        let gate = Arc::new(Gate::new());
        let posted = Arc::new([(); 3].map(|()| AtomicUsize::new(0)));
        let seen = Arc::new(UnsafeCell::new(0));
        let work = |number: usize| {
            let (claim, gate) = (claim.clone(), gate.clone());
            let (posted, seen) = (posted.clone(), seen.clone());
            move || {
                // Relaxed: it is the claim that carries it over.
                posted[number].store(1, Ordering::Relaxed);
                gate.pass();
                if !claim.take() {
                    return;
                }
                loop {
                    let sum: usize = posted.iter().map(|post| post.load(Ordering::Relaxed)).sum();
                    // SAFETY: it is whose the claim is; loom checks that.
                    seen.with_mut(|cell| unsafe { *cell = sum });
                    gate.pass();
                    if claim.release() {
                        return;
                    }
                }
            }
        };
        let others: Vec<_> = (1..threads).map(|one| thread::spawn(work(one))).collect();
        work(0)();
        others.into_iter().for_each(|other| other.join().unwrap());
        // SAFETY: all have ended.
        seen.with(|cell| assert_eq!(unsafe { *cell }, threads));
    });
}

#[test]
fn of_two_who_come_nothing_is_left_and_one_works_at_a_time() {
    share(2, 4);
}

#[test]
fn of_three_who_come_nothing_is_left_and_one_works_at_a_time() {
    share(3, 2);
}
