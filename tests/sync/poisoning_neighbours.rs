//! Locks beside a neighbour on the same worker that waits in the middle of its unwinding.

use std::cell::RefCell;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use withy::sync::{Mutex, MutexGuard, PoisonError};
use withy::{Cancelled, JoinHandle};

use super::poisoning::{ENDS, End, assert_met, park_for_ever, unwinding};
use crate::rig::endings::{Flag, OnDrop};
use crate::rig::{each_runtime, text_of};

/// Promise 53. One that unwinds waits in a destructor for a lock that a neighbour on its worker holds. The neighbour goes on, unlocks, and
/// poisons nothing; the lock comes over.
#[test]
fn a_destructor_gets_a_neighbours_lock_and_poisons_nothing() {
    each_runtime("a neighbour's lock", |runtime, label| {
        runtime.run(|| {
            for end in ENDS {
                let pairs: Vec<_> = (0..runtime.workers()).map(|w| neighbours(w, end)).collect();
                for (lock, neighbour, unwinds) in pairs {
                    neighbour.join().unwrap();
                    assert_met(end, unwinds.join(), label);
                    assert!(!lock.is_poisoned(), "{end:?}: {label}");
                    assert_eq!(*lock.lock().unwrap(), 11, "{end:?}: {label}");
                }
            }
        });
    });
}

type Neighbours = (Arc<Mutex<u32>>, JoinHandle<()>, JoinHandle<()>);

fn neighbours(worker: usize, end: End) -> Neighbours {
    let lock = Arc::new(Mutex::new(0));
    let (holding, waiting) = (Flag::default(), Flag::default());
    let neighbour = withy::spawn_on(worker, {
        let (lock, holding, waiting) = (lock.clone(), holding.clone(), waiting.clone());
        move || {
            let mut guard = lock.lock().unwrap();
            holding.set();
            waiting.wait();
            // The other has parked in its destructor.
            withy::yield_now();
            *guard += 1;
            drop(guard);
        }
    });
    holding.wait();
    let unwinds = unwinding(worker, end, {
        let lock = lock.clone();
        move || {
            OnDrop(move || {
                waiting.set();
                *lock.lock().unwrap_or_else(PoisonError::into_inner) += 10;
            })
        }
    });
    (lock, neighbour, unwinds)
}

/// Promise 53. While one waits in the middle of its unwinding, neighbours use locks of their own, from before, or from then on,
/// parked or not: nothing is poisoned. When it is over a panic poisons again.
#[test]
fn what_neighbours_lock_meanwhile_is_not_poisoned() {
    each_runtime("locks beside an unwinding", |runtime, label| {
        runtime.run(|| {
            for end in ENDS {
                let locks: Arc<[Mutex<u32>; 3]> = Arc::default();
                let (before, release) = (Flag::default(), Flag::default());
                let old = withy::spawn_on(0, {
                    let (locks, before) = (locks.clone(), before.clone());
                    move || {
                        let first = locks[0].lock().unwrap();
                        before.wait();
                        let second = locks[1].lock().unwrap();
                        withy::sleep(Duration::from_micros(10));
                        drop(first);
                        withy::yield_now();
                        drop(second);
                        drop(locks[1].lock().unwrap());
                    }
                });
                let unwinds = unwinding(0, end, {
                    let (before, release) = (before.clone(), release.clone());
                    || OnDrop(move || (before.set(), release.wait()).1)
                });
                before.wait();
                let born = withy::spawn_on(0, {
                    let locks = locks.clone();
                    move || {
                        drop(locks[2].lock().unwrap());
                        let third = locks[2].lock().unwrap();
                        withy::yield_now();
                        drop(third);
                    }
                });
                old.join().unwrap();
                born.join().unwrap();
                assert!(!unwinds.is_finished(), "{end:?}: {label}");
                release.set();
                assert_met(end, unwinds.join(), label);
                assert!(locks.iter().all(|lock| !lock.is_poisoned()), "{end:?}");
                let panics = withy::spawn_on(0, {
                    let locks = locks.clone();
                    move || {
                        let _guard = locks[0].lock().unwrap();
                        resume_unwind(Box::new("held"));
                    }
                });
                assert!(panics.join().is_err() && locks[0].is_poisoned(), "{label}");
            }
        });
    });
}

/// Promise 53. A neighbour that is interrupted meanwhile does not poison what it holds either.
#[test]
fn a_neighbour_that_is_cancelled_meanwhile_poisons_nothing() {
    each_runtime("a cancellation beside an unwinding", |runtime, label| {
        runtime.run(|| {
            for end in ENDS {
                let lock: &'static Mutex<()> = Box::leak(Box::default());
                let (holding, unwound, release) = <(Flag, Flag, Flag)>::default();
                let holder = withy::spawn_on(0, {
                    let holding = holding.clone();
                    move || {
                        let _guard = lock.lock().unwrap();
                        holding.set();
                        park_for_ever();
                    }
                });
                holding.wait();
                let unwinds = unwinding(0, end, {
                    let (unwound, release) = (unwound.clone(), release.clone());
                    || OnDrop(move || (unwound.set(), release.wait()).1)
                });
                unwound.wait();
                holder.cancel();
                assert!(holder.join().unwrap_err().is::<Cancelled>(), "{label}");
                assert!(!lock.is_poisoned(), "{end:?}: {label}");
                release.set();
                assert_met(end, unwinds.join(), label);
            }
        });
    });
}

/// Promise 53. A neighbour that panics, with the lock, while the other waits for that in its destructor: nobody aborts, nobody hangs.
/// (Whether the lock is poisoned cannot be known then: the thread counts panics for both of them.)
#[test]
fn a_neighbour_that_panics_meanwhile_gives_its_lock_up() {
    each_runtime("two panics", |runtime, label| {
        runtime.run(|| {
            for end in ENDS {
                let lock: &'static Mutex<()> = Box::leak(Box::default());
                let (holding, waiting) = <(Flag, Flag)>::default();
                let neighbour = withy::spawn_on(0, {
                    let (holding, waiting) = (holding.clone(), waiting.clone());
                    move || {
                        let _guard = lock.lock().unwrap();
                        holding.set();
                        waiting.wait();
                        resume_unwind(Box::new("the neighbour"));
                    }
                });
                holding.wait();
                let got = Flag::default();
                let unwinds = unwinding(0, end, {
                    let got = got.clone();
                    move || OnDrop(move || (waiting.set(), drop(lock.lock()), got.set()).2)
                });
                let payload = neighbour.join().unwrap_err();
                assert_eq!(text_of(&*payload), "the neighbour", "{label}");
                assert_met(end, unwinds.join(), label);
                got.wait();
            }
        });
    });
}

/// Promise 53. What a coroutine's locals hold is dropped when its unwinding is over, whatever a neighbour does meanwhile.
#[test]
fn locals_are_dropped_after_the_unwinding() {
    withy::coroutine_local! {
        static HELD: RefCell<Option<MutexGuard<'static, ()>>> = const { RefCell::new(None) };
    }
    each_runtime("a guard in a local", |runtime, label| {
        runtime.run(|| {
            let lock: &'static Mutex<()> = Box::leak(Box::default());
            let [(first_in, first_out), (second_in, second_out)] = <[(Flag, Flag); 2]>::default();
            let first = unwinding(0, End::Panic, {
                let (inside, out) = (first_in.clone(), first_out.clone());
                move || {
                    HELD.with(|held| *held.borrow_mut() = Some(lock.lock().unwrap()));
                    OnDrop(move || (inside.set(), out.wait()).1)
                }
            });
            first_in.wait();
            let second = unwinding(0, End::Panic, {
                let (inside, out) = (second_in.clone(), second_out.clone());
                move || OnDrop(move || (inside.set(), out.wait()).1)
            });
            second_in.wait();
            first_out.set();
            assert_met(End::Panic, first.join(), label);
            assert!(!lock.is_poisoned(), "{label}");
            second_out.set();
            assert_met(End::Panic, second.join(), label);
        });
    });
}
