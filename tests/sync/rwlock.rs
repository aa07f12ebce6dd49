//! `RwLock` as std has it: who excludes whom, poisoning, downgrades, and what is not locking.
//!
//! Who comes next is tested beside the lock, where it can be seen who waits (`runtime/src/sync/raw_rwlock/tests.rs`).

use std::fmt::{Debug, Display};
use std::panic::{AssertUnwindSafe, RefUnwindSafe, UnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use withy::Cancelled;
use withy::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError};

use crate::rig::{each_runtime, until};
use crate::support::{self, LIMIT, matrix, within};

fn would_block<T>(result: Result<T, TryLockError<T>>) -> bool {
    matches!(result, Err(TryLockError::WouldBlock))
}

fn is_poisoned<T>(result: Result<T, TryLockError<T>>) -> bool {
    matches!(result, Err(TryLockError::Poisoned(_)))
}

/// Promise 41. Any number of readers hold it at once, from coroutines and threads.
#[test]
fn readers_hold_it_together() {
    matrix(LIMIT, "readers that wait for each other inside", |case| {
        let lock = Arc::new(RwLock::new(7));
        let inside = Arc::new(AtomicUsize::new(0));
        let readers: Vec<_> = (0..10)
            .map(|_| {
                let (lock, inside) = (lock.clone(), inside.clone());
                case.spawn(move || {
                    let guard = lock.read().unwrap();
                    inside.fetch_add(1, Ordering::SeqCst);
                    until(|| inside.load(Ordering::SeqCst) == 10);
                    assert!(would_block(lock.try_write()));
                    *guard
                })
            })
            .collect();
        for reader in readers {
            assert_eq!(reader.join(), 7);
        }
        assert!(lock.try_write().is_ok());
    });
}

/// Promise 41. A writer holds it alone, over calls that park, too.
#[test]
fn a_writer_holds_it_alone() {
    matrix(LIMIT, "writers that wait inside", |case| {
        let lock = Arc::new(RwLock::new((0, 0)));
        let actors: Vec<_> = (0..12)
            .map(|n| {
                let lock = lock.clone();
                case.spawn(move || {
                    for _ in 0..20 {
                        if n % 3 == 0 {
                            let mut guard = lock.write().unwrap();
                            guard.0 += 1;
                            withy::yield_now();
                            assert!(would_block(lock.try_read()));
                            assert!(would_block(lock.try_write()));
                            guard.1 += 1;
                        } else {
                            let guard = lock.read().unwrap();
                            assert_eq!(guard.0, guard.1);
                            withy::yield_now();
                            assert_eq!(guard.0, guard.1);
                        }
                    }
                })
            })
            .collect();
        actors.into_iter().for_each(support::Caller::join);
        assert_eq!(*lock.read().unwrap(), (80, 80));
    });
}

/// Promise 42. A writer that waits keeps new readers out, and comes before them.
#[test]
fn a_waiting_writer_keeps_new_readers_out() {
    matrix(LIMIT, "a writer among readers", |case| {
        let lock = Arc::new(RwLock::new(Vec::new()));
        let guard = lock.read().unwrap();
        let writer = case.spawn({
            let lock = lock.clone();
            move || lock.write().unwrap().push("written")
        });
        // That is how a writer that waits can be seen.
        until(|| would_block(lock.try_read()));
        let readers: Vec<_> = (0..8)
            .map(|_| {
                let lock = lock.clone();
                case.spawn(move || assert_eq!(*lock.read().unwrap(), ["written"]))
            })
            .collect();
        case.until_at_rest();
        assert!(guard.is_empty());
        drop(guard);
        writer.join();
        readers.into_iter().for_each(support::Caller::join);
    });
}

/// Promise 42. A writer among readers that never let the lock go free, each taking it again before the other lets it go, gets it.
#[test]
fn readers_that_take_turns_do_not_starve_a_writer() {
    matrix(LIMIT, "a writer among readers that overlap", |case| {
        let lock = Arc::new(RwLock::new(()));
        let written = Arc::new(AtomicBool::new(false));
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let (lock, written) = (lock.clone(), written.clone());
                case.spawn(move || {
                    while !written.load(Ordering::SeqCst) {
                        let guard = lock.read().unwrap();
                        for _ in 0..3 {
                            withy::yield_now();
                        }
                        drop(guard);
                    }
                })
            })
            .collect();
        let writer = case.spawn({
            let (lock, written) = (lock.clone(), written.clone());
            move || {
                drop(lock.write().unwrap());
                written.store(true, Ordering::SeqCst);
            }
        });
        writer.join();
        readers.into_iter().for_each(support::Caller::join);
    });
}

/// Promise 42. Writers that take it again at once, and wait inside, do not starve a reader or another writer.
#[test]
fn writers_that_take_it_again_at_once_starve_nobody() {
    matrix(LIMIT, "others among busy writers", |case| {
        let lock = Arc::new(RwLock::new(()));
        let left = Arc::new(AtomicUsize::new(2));
        let busy: Vec<_> = (0..2)
            .map(|_| {
                let (lock, left) = (lock.clone(), left.clone());
                case.spawn(move || {
                    while left.load(Ordering::SeqCst) > 0 {
                        let guard = lock.write().unwrap();
                        withy::yield_now();
                        drop(guard);
                    }
                })
            })
            .collect();
        let others = [true, false].map(|reads| {
            let (lock, left) = (lock.clone(), left.clone());
            case.spawn(move || {
                if reads {
                    drop(lock.read().unwrap());
                } else {
                    drop(lock.write().unwrap());
                }
                left.fetch_sub(1, Ordering::SeqCst);
            })
        });
        others.into_iter().for_each(support::Caller::join);
        busy.into_iter().for_each(support::Caller::join);
    });
}

/// Promise 40. A writer's panic poisons the lock for all functions; a reader's does not.
#[test]
fn only_the_panic_of_a_writer_poisons() {
    matrix(LIMIT, "panics of holders", |case| {
        let mut lock = Arc::new(RwLock::new(1));
        let reads = lock.clone();
        let reader = case.run(move || {
            catch_unwind(AssertUnwindSafe(|| {
                let _guard = reads.read().unwrap();
                panic!("a reader's");
            }))
        });
        assert!(reader.is_err() && !lock.is_poisoned());
        let reads = lock.clone();
        let was_writer = case.run(move || {
            catch_unwind(AssertUnwindSafe(|| {
                let _guard = RwLockWriteGuard::downgrade(reads.write().unwrap());
                panic!("a reader's by then");
            }))
        });
        assert!(was_writer.is_err() && !lock.is_poisoned());
        let writes = lock.clone();
        let writer = case.run(move || {
            catch_unwind(AssertUnwindSafe(|| {
                let mut guard = writes.write().unwrap();
                *guard = 2;
                panic!("a writer's");
            }))
        });
        assert!(writer.is_err() && lock.is_poisoned());
        let looks = lock.clone();
        case.run(move || {
            assert_eq!(*looks.read().unwrap_err().into_inner(), 2);
            assert_eq!(*looks.write().unwrap_err().into_inner(), 2);
            assert!(is_poisoned(looks.try_read()));
            assert!(is_poisoned(looks.try_write()));
            // Locked and poisoned: that it is locked comes first.
            let _guard = looks.read().unwrap_err().into_inner();
            assert!(would_block(looks.try_write()));
        });
        let alone = Arc::get_mut(&mut lock).expect("the callers have ended");
        assert_eq!(**alone.get_mut().unwrap_err().get_ref(), 2);
        alone.clear_poison();
        assert!(!lock.is_poisoned());
        assert_eq!(*lock.read().unwrap(), 2);
        drop(lock.write().unwrap());
    });
}

/// Promise 40. `into_inner` tells of the poison, and gives the value.
#[test]
fn a_poisoned_lock_gives_its_value_up() {
    let lock = RwLock::new(String::from("kept"));
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _guard = lock.write().unwrap();
        panic!("with the lock held");
    }));
    assert!(panicked.is_err());
    assert!(format!("{lock:?}").contains(r#"data: "kept", poisoned: true"#));
    assert_eq!(lock.into_inner().unwrap_err().into_inner(), "kept");
}

/// Promises 40 and 53. A destructor that writes while its coroutine unwinds does not poison; one that has held the lock since before does.
#[test]
fn a_lock_taken_in_a_destructor_during_a_panic_is_not_poisoned() {
    struct Writes<'a>(&'a RwLock<u32>);
    impl Drop for Writes<'_> {
        fn drop(&mut self) {
            *self.0.write().unwrap() += 1;
            let mut guard = self.0.write().unwrap();
            *guard += 1;
            assert_eq!(*RwLockWriteGuard::downgrade(guard), 2);
        }
    }
    matrix(LIMIT, "a destructor that writes", |case| {
        let lock = Arc::new(RwLock::new(0));
        let writes = lock.clone();
        let panicked = case.run(move || {
            catch_unwind(AssertUnwindSafe(|| {
                let _writes = Writes(&writes);
                panic!("outside the lock");
            }))
        });
        assert!(panicked.is_err() && !lock.is_poisoned());
        assert_eq!(*lock.read().unwrap(), 2);
    });
}

/// Promises 29 and 40. A writer that is cancelled, or whose timeout elapses, lets the lock go and poisons nothing.
#[test]
fn an_interrupted_holder_poisons_nothing() {
    each_runtime("interrupted holders", |runtime, label| {
        let lock = Arc::new(RwLock::new(0));
        let writes = lock.clone();
        let held = Arc::new(AtomicBool::new(false));
        let holds = held.clone();
        let writer = runtime.spawn(move || {
            let _guard = writes.write().unwrap();
            holds.store(true, Ordering::SeqCst);
            withy::park();
        });
        until(|| held.load(Ordering::SeqCst));
        writer.cancel();
        assert!(writer.join().unwrap_err().is::<Cancelled>(), "{label}");
        let writes = lock.clone();
        let elapsed = runtime.run(move || {
            withy::timeout(Duration::from_millis(1), || {
                let _guard = writes.write().unwrap();
                withy::park();
            })
        });
        assert!(elapsed.is_err() && !lock.is_poisoned(), "{label}");
        assert_eq!(*lock.try_write().expect("it is free"), 0, "{label}");
    });
}

/// Promise 29. What waits in vain for a time leaves no trace: neither a writer that keeps readers out, nor a place in a queue.
#[test]
fn a_wait_that_elapses_leaves_the_lock_as_it_was() {
    matrix(LIMIT, "timeouts at the lock", |case| {
        let lock = Arc::new(RwLock::new(0));
        let reader = lock.read().unwrap();
        let writes = lock.clone();
        let elapsed = case.run(move || {
            withy::timeout(Duration::from_millis(1), || drop(writes.write())).is_err()
        });
        assert!(elapsed);
        drop(lock.try_read().expect("nobody waits any more"));
        drop(reader);
        let writer = lock.write().unwrap();
        let reads = lock.clone();
        let elapsed = case
            .run(move || withy::timeout(Duration::from_millis(1), || drop(reads.read())).is_err());
        assert!(elapsed);
        drop(writer);
        drop(lock.try_write().expect("nobody holds it"));
    });
}

/// A coroutine that tries in vain lets the holder run, on one worker too.
#[test]
fn who_tries_again_and_again_does_not_keep_the_holder_from_going_on() {
    each_runtime("tries in vain", |runtime, _| {
        for reads in [true, false] {
            let lock = Arc::new(RwLock::new(()));
            let holder = runtime.spawn({
                let lock = lock.clone();
                move || {
                    let _guard = lock.write().unwrap();
                    withy::yield_now();
                }
            });
            let tries = runtime.spawn(move || match reads {
                true => while lock.try_read().is_err() {},
                false => while lock.try_write().is_err() {},
            });
            holder.join().unwrap();
            tries.join().unwrap();
        }
    });
}

/// A coroutine that only ever takes what is free lets others run now and then.
#[test]
fn an_uncontended_lock_lets_others_run() {
    each_runtime("a coroutine that only reads and writes", |runtime, _| {
        let over = Arc::new(AtomicBool::new(false));
        let busy = runtime.spawn({
            let over = over.clone();
            move || {
                let lock = RwLock::new(0);
                while !over.load(Ordering::SeqCst) {
                    drop(lock.read());
                    drop(lock.write());
                }
            }
        });
        runtime
            .spawn(move || over.store(true, Ordering::SeqCst))
            .join()
            .unwrap();
        busy.join().unwrap();
    });
}

/// No writer comes between a writer and the reader that it becomes, and other readers may come in.
#[test]
fn a_downgraded_writer_sees_what_it_wrote() {
    matrix(LIMIT, "downgrades among writers", |case| {
        let lock = Arc::new(RwLock::new(0_u32));
        let actors: Vec<_> = (0..6)
            .map(|_| {
                let lock = lock.clone();
                case.spawn(move || {
                    for _ in 0..30 {
                        let mut writer = lock.write().unwrap();
                        *writer += 1;
                        let written = *writer;
                        let reader = RwLockWriteGuard::downgrade(writer);
                        withy::yield_now();
                        assert_eq!(*reader, written);
                        assert!(would_block(lock.try_write()));
                    }
                })
            })
            .collect();
        actors.into_iter().for_each(support::Caller::join);
        assert_eq!(*lock.try_write().expect("nobody holds it"), 180);
    });
}

/// A downgrade alone lets readers in.
#[test]
fn a_downgraded_writer_shares() {
    let lock = RwLock::new(1);
    let reader = RwLockWriteGuard::downgrade(lock.write().unwrap());
    assert_eq!(*lock.try_read().unwrap() + *reader, 2);
    assert!(would_block(lock.try_write()));
    drop(reader);
    assert!(lock.try_write().is_ok());
}

/// Inside `no_park` it locks what is free, and refuses to wait.
#[test]
fn a_wait_inside_no_park_is_refused() {
    within(LIMIT, "a lock inside no_park", || {
        withy::run(|| {
            let lock = RwLock::new(1);
            assert_eq!(withy::no_park(|| *lock.read().unwrap()), 1);
            let reader = lock.read().unwrap();
            let refused = catch_unwind(AssertUnwindSafe(|| withy::no_park(|| drop(lock.write()))));
            assert!(refused.is_err());
            drop(lock.try_read().expect("the refused writer does not wait"));
            drop(reader);
            assert!(lock.try_write().is_ok());
        });
    });
}

/// Values that are not Sized, a lock in a static, and what needs no lock.
#[test]
fn what_is_not_locking_is_as_std_has_it() {
    static STATIC: RwLock<u32> = RwLock::new(5);
    assert_eq!(*STATIC.read().unwrap(), 5);
    let slice: &RwLock<[u8]> = &RwLock::new([1, 2, 3]);
    slice.write().unwrap()[0] = 9;
    assert_eq!(*slice.read().unwrap(), [9, 2, 3]);
    let object: Box<RwLock<dyn Debug + Send + Sync>> = Box::new(RwLock::new("text"));
    assert_eq!(format!("{:?}", &*object.read().unwrap()), r#""text""#);
    let mut lock = RwLock::from(3);
    *lock.get_mut().unwrap() += 1;
    assert_eq!(lock.into_inner().unwrap(), 4);
    assert_eq!(RwLock::<u32>::default().into_inner().unwrap(), 0);
}

/// The texts are std's.
#[test]
fn its_texts_are_those_of_std() {
    fn texts(guard: &(impl Debug + Display)) -> String {
        format!("{guard:?} {guard} {guard:4}")
    }
    let (ours, stds) = (RwLock::new(12), std::sync::RwLock::new(12));
    assert_eq!(format!("{ours:?}"), format!("{stds:?}"));
    assert_eq!(format!("{ours:#?}"), format!("{stds:#?}"));
    let (our, std) = (ours.read().unwrap(), stds.read().unwrap());
    assert_eq!(format!("{ours:?}"), format!("{stds:?}"));
    assert_eq!(texts(&our), texts(&std));
    drop((our, std));
    let (our, std) = (ours.write().unwrap(), stds.write().unwrap());
    assert_eq!(format!("{ours:?}"), format!("{stds:?}"));
    assert_eq!(texts(&our), texts(&std));
}

/// What is Send, Sync and safe to unwind over is so as in std: this compiles.
#[test]
fn its_auto_traits_are_those_of_std() {
    fn send<T: Send>() {}
    fn sync<T: Sync>() {}
    fn unwind_safe<T: UnwindSafe + RefUnwindSafe>() {}
    send::<RwLock<std::cell::Cell<u32>>>();
    sync::<RwLock<u32>>();
    sync::<RwLockReadGuard<'static, u32>>();
    sync::<RwLockWriteGuard<'static, u32>>();
    unwind_safe::<RwLock<std::cell::Cell<u32>>>();

    // Of a type that is Send there are two, so that inference fails.
    trait NotSend<A> {
        fn holds() {}
    }
    struct Send2;
    impl<T: ?Sized> NotSend<()> for T {}
    impl<T: ?Sized + Send> NotSend<Send2> for T {}
    <RwLockReadGuard<'static, u32> as NotSend<_>>::holds();
    <RwLockWriteGuard<'static, u32> as NotSend<_>>::holds();

    trait NotSync<A> {
        fn holds() {}
    }
    struct Sync2;
    impl<T: ?Sized> NotSync<()> for T {}
    impl<T: ?Sized + Sync> NotSync<Sync2> for T {}
    <RwLock<std::cell::Cell<u32>> as NotSync<_>>::holds();

    // A read guard is covariant in its value, as std's.
    fn shorter<'a, 'b>(guard: RwLockReadGuard<'a, &'static str>) -> RwLockReadGuard<'a, &'b str> {
        guard
    }
    let lock = RwLock::new("text");
    assert_eq!(*shorter(lock.read().unwrap()), "text");
}
