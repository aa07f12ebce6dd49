//! What of `sync::Mutex` is poisoned by panics, and that nothing else poisons it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use withy::Cancelled;
use withy::sync::{Mutex, PoisonError, TryLockError};

use super::mutex::MS;
use super::mutex_surface::NonCopy;
use crate::rig::{self, text_of};
use crate::support::{self, Case, LIMIT, matrix, within};

/// A mutex whose holder has panicked.
pub(super) fn poisoned<T: Send + 'static>(case: &Case, value: T) -> Arc<Mutex<T>> {
    let mutex = Arc::new(Mutex::new(value));
    let held = mutex.clone();
    let panicked = case.run(move || {
        let panics = || {
            let _guard = held.lock().unwrap();
            panic!("on purpose");
        };
        catch_unwind(AssertUnwindSafe(panics))
    });
    assert_eq!(text_of(&*panicked.unwrap_err()), "on purpose");
    mutex
}

/// Promise 40. A holder's panic poisons, for every way to the value; `clear_poison` ends that.
#[test]
fn a_panic_of_the_holder_poisons() {
    matrix(LIMIT, "poisoned mutexes", |case| {
        let mutex = poisoned(case, NonCopy(7));
        assert!(mutex.is_poisoned());
        assert_eq!(*mutex.lock().unwrap_err().into_inner(), NonCopy(7));
        let Err(TryLockError::Poisoned(error)) = mutex.try_lock() else {
            panic!("a try says so, too");
        };
        assert!(mutex.is_poisoned(), "nothing but clear_poison ends it");
        assert!(matches!(mutex.try_lock(), Err(TryLockError::WouldBlock)));
        drop(error);
        let mut mutex = Arc::into_inner(mutex).unwrap();
        assert_eq!(*mutex.get_mut().unwrap_err().into_inner(), NonCopy(7));
        mutex.clear_poison();
        assert!(!mutex.is_poisoned());
        assert_eq!(*mutex.lock().unwrap(), NonCopy(7));
        let mutex = Arc::into_inner(poisoned(case, NonCopy(8))).unwrap();
        let error: PoisonError<NonCopy> = mutex.into_inner().unwrap_err();
        assert_eq!(error.into_inner(), NonCopy(8));
    });
}

/// Promise 40. Not every guard that meets a panic poisons: one that was made during it does not, nor one that outlives it.
#[test]
fn only_a_panic_that_begins_under_the_guard_poisons() {
    struct LockOnDrop(Arc<Mutex<i32>>);
    impl Drop for LockOnDrop {
        fn drop(&mut self) {
            *self.0.lock().unwrap() += 1;
        }
    }
    matrix(LIMIT, "guards around panics", |case| {
        let mutex = Arc::new(Mutex::new(1));
        case.run({
            let mutex = mutex.clone();
            move || {
                let unlocker = LockOnDrop(mutex.clone());
                let panics = AssertUnwindSafe(move || {
                    let _unlocker = unlocker;
                    panic!("on purpose");
                });
                assert!(catch_unwind(panics).is_err());
                let guard = mutex.lock().unwrap();
                assert!(catch_unwind(|| panic!("on purpose")).is_err());
                drop(guard);
            }
        });
        assert_eq!(*mutex.lock().unwrap(), 2);
    });
}

/// Law 5. A holder that is cancelled, or whose timeout elapses, unlocks and poisons nothing.
#[test]
fn an_interruption_of_the_holder_poisons_nothing() {
    matrix(LIMIT, "interrupted holders", |case| {
        let mutex = Arc::new(Mutex::new(0));
        let ended = case.run({
            let mutex = mutex.clone();
            move || {
                withy::timeout(MS, || {
                    *mutex.lock().unwrap() += 1;
                    let _guard = mutex.lock().unwrap();
                    withy::park();
                })
            }
        });
        assert!(ended.is_err());
        let holder = case.runtime.spawn({
            let mutex = mutex.clone();
            move || {
                let _guard = mutex.lock().unwrap();
                loop {
                    withy::park();
                }
            }
        });
        rig::until(|| mutex.try_lock().is_err());
        holder.cancel();
        assert!(holder.join().unwrap_err().is::<Cancelled>());
        assert!(!mutex.is_poisoned());
        assert_eq!(*mutex.try_lock().unwrap(), 1);
    });
}

/// Promise 40. While a neighbour on the same thread waits in the middle of its panic, other holders poison nothing.
#[test]
fn a_neighbours_panic_poisons_nothing() {
    struct ParkOnDrop(Arc<AtomicUsize>);
    impl Drop for ParkOnDrop {
        fn drop(&mut self) {
            self.0.store(1, Ordering::SeqCst);
            while self.0.load(Ordering::SeqCst) == 1 {
                withy::yield_now();
            }
        }
    }
    for full_stealing in [false, true] {
        within(LIMIT, "a neighbour that panics", || {
            support::runtime(1, full_stealing).run(|| {
                let (stage, mutex) = (Arc::new(AtomicUsize::new(0)), Mutex::new(0));
                let guard = mutex.lock().unwrap();
                let neighbour = withy::spawn({
                    let stage = stage.clone();
                    move || {
                        let _parks = ParkOnDrop(stage);
                        panic!("on purpose");
                    }
                });
                while stage.load(Ordering::SeqCst) == 0 {
                    withy::yield_now();
                }
                assert!(std::thread::panicking(), "std counts per thread");
                drop(guard);
                drop(mutex.lock().unwrap());
                stage.store(2, Ordering::SeqCst);
                assert!(neighbour.join().is_err());
                assert!(!mutex.is_poisoned());
            });
        });
    }
}
