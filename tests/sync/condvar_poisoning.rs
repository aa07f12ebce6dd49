//! Waits at a `Condvar` and panics: who finds the mutex poisoned, and that no wait holds it while it unwinds.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use withy::sync::{Condvar, Mutex, WaitTimeoutResult};

use super::condvar::Shared;
use super::condvar_timed::HOUR;
use crate::rig::{each_runtime, until};
use crate::support::{LIMIT, matrix};

/// Promise 40. A mutex that was poisoned meanwhile says so when a wait locks it again, by whatever the wait ended.
#[test]
fn a_wait_tells_of_poison() {
    matrix(LIMIT, "waits at a poisoned mutex", |case| {
        for timed in [false, true] {
            let shared = Arc::new((Mutex::new(0), Condvar::new()));
            let waits = shared.clone();
            let waiter = case.spawn(move || {
                let (mutex, condvar) = &*waits;
                let mut guard = mutex.lock().unwrap();
                *guard = 1;
                if timed {
                    let waited = condvar.wait_timeout(guard, HOUR);
                    let (guard, result): (_, WaitTimeoutResult) = waited.unwrap_err().into_inner();
                    assert!(!result.timed_out());
                    assert_eq!(*guard, 2);
                    let waited = condvar.wait_timeout_while(guard, Duration::ZERO, |_| true);
                    assert!(waited.unwrap_err().into_inner().1.timed_out());
                } else {
                    let waited = condvar.wait_while(guard, |_| true);
                    assert_eq!(*waited.unwrap_err().into_inner(), 2);
                }
            });
            until(|| *shared.0.lock().unwrap() == 1);
            let breaks = shared.clone();
            let broken = case.run(move || {
                catch_unwind(AssertUnwindSafe(|| {
                    let mut guard = breaks.0.lock().unwrap();
                    *guard = 2;
                    panic!("with the mutex held");
                }))
            });
            assert!(broken.is_err());
            shared.1.notify_one();
            waiter.join();
        }
    });
}

/// `panics_while_it_waits` panics with a mutex held, and waits with it in a destructor, for somebody to set the value. Says whether the wait
/// and that somebody found the mutex poisoned, and whether it is so in the end.
macro_rules! waits_in_a_panic {
    ($name:ident, $sync:ident :: sync) => {
        fn $name(run: impl FnOnce(Box<dyn FnOnce() + Send>)) -> [bool; 3] {
            use $sync::sync::{Condvar, Mutex, MutexGuard};

            type Shared = (Mutex<bool>, Condvar, AtomicBool);
            struct Late<'a>(Option<MutexGuard<'a, bool>>, &'a Shared);

            impl Drop for Late<'_> {
                fn drop(&mut self) {
                    let guard = self.0.take().expect("dropped once");
                    let waited = self.1.1.wait_while(guard, |set| !*set);
                    self.1.2.store(waited.is_err(), Ordering::Relaxed);
                }
            }

            let shared = Arc::new(Shared::default());
            let held = Arc::new(AtomicBool::new(false));
            let setter = {
                let (shared, held) = (shared.clone(), held.clone());
                std::thread::spawn(move || {
                    until(|| held.load(Ordering::Acquire));
                    let set = shared.0.lock();
                    let poisoned = set.is_err();
                    *set.unwrap_or_else(|poisoned| poisoned.into_inner()) = true;
                    shared.1.notify_all();
                    poisoned
                })
            };
            let waits = shared.clone();
            run(Box::new(move || {
                let panicked = catch_unwind(AssertUnwindSafe(|| {
                    let _late = Late(Some(waits.0.lock().unwrap()), &waits);
                    held.store(true, Ordering::Release);
                    std::panic::resume_unwind(Box::new("with the mutex held"));
                }));
                assert!(panicked.is_err());
            }));
            let setter_met = setter.join().unwrap();
            let waiter_met = shared.2.load(Ordering::Relaxed);
            [waiter_met, setter_met, shared.0.is_poisoned()]
        }
    };
}

waits_in_a_panic!(of_std, std::sync);
waits_in_a_panic!(of_withy, withy::sync);

/// Promises 40 and 53. A destructor that waits with a mutex that its panic found locked still holds it, and poisons it at the end, not for
/// the wait: as with std, those for whom it waits find it in order.
#[test]
fn a_wait_in_a_panic_poisons_when_the_mutex_is_given_up_for_good() {
    assert_eq!(of_std(|body| body()), [false, false, true]);
    matrix(LIMIT, "a wait in a panic", |case| {
        let met = of_withy(|body| case.run(body));
        assert_eq!(met, [false, false, true], "{:?}", case.callers);
    });
}

/// Promise 40. A condition that panics does so with the mutex held.
#[test]
fn a_panic_in_the_condition_poisons() {
    matrix(LIMIT, "a condition that panics", |case| {
        let shared = Shared::default();
        let waits = shared.clone();
        let panicked = case.run(move || {
            catch_unwind(AssertUnwindSafe(|| {
                drop(
                    waits
                        .1
                        .wait_while(waits.0.lock().unwrap(), |_| panic!("in the condition")),
                );
            }))
        });
        assert!(panicked.is_err() && shared.0.is_poisoned());
    });
}

/// Promises 29 and 40. A wait that unwinds has given the mutex away: destructors up the stack find it free, and not poisoned.
#[test]
fn the_mutex_is_not_held_while_a_wait_unwinds() {
    struct Looks(Shared, Arc<AtomicBool>);
    impl Drop for Looks {
        fn drop(&mut self) {
            let is_free = self.0.0.try_lock().is_ok();
            self.1.store(is_free, Ordering::SeqCst);
        }
    }
    matrix(LIMIT, "waits that elapse", |case| {
        let shared = Shared::default();
        let free = Arc::new(AtomicBool::new(false));
        let waits = shared.clone();
        let looks = Looks(shared.clone(), free.clone());
        let elapsed = case.run(move || {
            withy::timeout(Duration::from_millis(1), || {
                let _looks = looks;
                drop(waits.1.wait(waits.0.lock().unwrap()));
            })
        });
        assert!(elapsed.is_err() && free.load(Ordering::SeqCst));
        assert!(!shared.0.is_poisoned());
    });
    each_runtime("waits that are cancelled", |runtime, label| {
        let shared = Shared::default();
        let free = Arc::new(AtomicBool::new(false));
        let waits = shared.clone();
        let looks = Looks(shared.clone(), free.clone());
        let waiter = runtime.spawn(move || {
            let _looks = looks;
            let mut guard = waits.0.lock().unwrap();
            guard.waiting = 1;
            drop(waits.1.wait(guard));
        });
        until(|| shared.0.lock().unwrap().waiting == 1);
        waiter.cancel();
        assert!(waiter.join().is_err(), "{label}");
        assert!(free.load(Ordering::SeqCst), "{label}");
        assert!(!shared.0.is_poisoned(), "{label}");
    });
}
