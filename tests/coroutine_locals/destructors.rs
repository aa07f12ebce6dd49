//! Destructors of coroutine-locals: each runs once, at whatever end, in order, and may do what any code may.

use std::cell::Cell;
use std::panic::catch_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use withy::{CoroutineLocal, coroutine_local};

use crate::rig::{each_runtime, text_of, until};
use crate::support::{self, LIMIT, within};

/// What destructors did, in order.
pub(super) type Trail = Arc<Mutex<Vec<&'static str>>>;

pub(super) fn note(trail: &Trail, what: &'static str) {
    trail.lock().unwrap().push(what);
}

/// Runs its closure when dropped.
pub(super) struct OnDrop(Option<Box<dyn FnOnce()>>);

impl OnDrop {
    pub(super) fn new(f: impl FnOnce() + 'static) -> Option<OnDrop> {
        Some(OnDrop(Some(Box::new(f))))
    }
}

impl Drop for OnDrop {
    fn drop(&mut self) {
        if let Some(f) = self.0.take() {
            f();
        }
    }
}

/// A key whose destructor a test chooses.
type Last = CoroutineLocal<Cell<Option<OnDrop>>>;

/// Promise 28. One destructor for each value, however its coroutine ends, and a joiner sees that it has run.
#[test]
fn a_destructor_runs_once_at_whatever_end() {
    coroutine_local!(static LAST: Cell<Option<OnDrop>> = const { Cell::new(None) });
    let leave = |drops: &Arc<AtomicUsize>| {
        let drops = drops.clone();
        move || {
            LAST.set(OnDrop::new(move || {
                _ = drops.fetch_add(1, Ordering::SeqCst)
            }))
        }
    };
    each_runtime("ends of coroutines with locals", |runtime, label| {
        let drops = Arc::new(AtomicUsize::new(0));
        for round in 0..20 {
            let set = leave(&drops);
            runtime.spawn(set).join().unwrap();
            assert_eq!(drops.load(Ordering::SeqCst), 3 * round + 1, "{label}");

            let set = leave(&drops);
            let panics = runtime.spawn(move || {
                set();
                panic!("on purpose");
            });
            assert_eq!(text_of(&*panics.join().unwrap_err()), "on purpose");
            assert_eq!(drops.load(Ordering::SeqCst), 3 * round + 2, "{label}");

            let set = leave(&drops);
            let started = Arc::new(AtomicUsize::new(0));
            let begun = started.clone();
            let waits = runtime.spawn(move || {
                set();
                begun.store(1, Ordering::SeqCst);
                withy::park();
            });
            until(|| started.load(Ordering::SeqCst) == 1);
            waits.cancel();
            assert!(waits.join().unwrap_err().is::<withy::Cancelled>());
            assert_eq!(drops.load(Ordering::SeqCst), 3 * round + 3, "{label}");
        }
    });
}

/// Promises 28 and 55. The end of a runtime destroys the values of those that it unwinds.
#[test]
fn destructors_run_when_the_runtime_ends() {
    coroutine_local!(static LAST: Cell<Option<OnDrop>> = const { Cell::new(None) });
    for (workers, full_stealing) in [(1, false), (2, false), (2, true)] {
        within(LIMIT, "the end of a runtime with locals", || {
            let runtime = support::runtime(workers, full_stealing);
            let (started, drops) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
            for _ in 0..100 {
                let (started, drops) = (started.clone(), drops.clone());
                runtime.spawn(move || {
                    LAST.set(OnDrop::new(move || {
                        _ = drops.fetch_add(1, Ordering::SeqCst)
                    }));
                    started.fetch_add(1, Ordering::SeqCst);
                    withy::park();
                });
            }
            until(|| started.load(Ordering::SeqCst) == 100);
            runtime.shutdown(LIMIT / 2).unwrap();
            assert_eq!(drops.load(Ordering::SeqCst), 100);
        });
    }
}

/// Promise 28. The last that was initialised goes first, and one that a destructor makes goes next.
#[test]
fn destructors_run_from_the_last_to_the_first() {
    coroutine_local! {
        static ONE: Cell<Option<OnDrop>> = const { Cell::new(None) };
        static TWO: Cell<Option<OnDrop>> = const { Cell::new(None) };
        static THREE: Cell<Option<OnDrop>> = const { Cell::new(None) };
        static LATE: Cell<Option<OnDrop>> = const { Cell::new(None) };
    }
    fn leave(key: &'static Last, trail: &Trail, what: &'static str) {
        let trail = trail.clone();
        key.set(OnDrop::new(move || note(&trail, what)));
    }
    each_runtime("an order of destructors", |runtime, label| {
        let trail = Trail::default();
        let seen = trail.clone();
        runtime
            .spawn(move || {
                // Their numbers, which others may have given out, are in another order than their first use here.
                leave(&THREE, &trail, "three");
                leave(&ONE, &trail, "one");
                let late = trail.clone();
                TWO.set(OnDrop::new(move || {
                    note(&late, "two");
                    leave(&LATE, &late, "late");
                }));
                // A use is no initialisation.
                leave(&THREE, &trail, "three again");
                note(&trail, "end");
            })
            .join()
            .unwrap();
        assert_eq!(
            *seen.lock().unwrap(),
            ["three", "end", "two", "late", "one", "three again"],
            "{label}"
        );
    });
}

/// A destructor sees those that are older and makes new ones; its own and the younger ones are refused for good.
#[test]
fn a_destructor_may_use_other_locals() {
    coroutine_local! {
        static OLDER: Cell<u32> = const { Cell::new(0) };
        static OWN: Cell<Option<OnDrop>> = const { Cell::new(None) };
        static YOUNGER: Cell<u32> = const { Cell::new(0) };
        static UNUSED: Cell<u32> = const { Cell::new(30) };
    }
    each_runtime("a destructor that uses locals", |runtime, label| {
        let seen = Arc::new(Mutex::new(None));
        let result = seen.clone();
        let ends = move || {
            OLDER.set(10);
            OWN.set(OnDrop::new(move || {
                let refused = catch_unwind(|| YOUNGER.get()).unwrap_err();
                *seen.lock().unwrap() = Some((
                    OLDER.get(),
                    OWN.try_with(|_| ()),
                    YOUNGER.try_with(Cell::get),
                    catch_unwind(|| YOUNGER.set(3)).is_err(),
                    UNUSED.get(),
                    text_of(&*refused).to_owned(),
                ));
            }));
            YOUNGER.set(20);
        };
        runtime.spawn(ends).join().unwrap();
        let (older, own, younger, set_refused, unused, text) =
            result.lock().unwrap().take().unwrap();
        assert_eq!((older, unused), (10, 30), "{label}");
        assert!(own.is_err() && set_refused, "{label}");
        assert_eq!(younger, Err(own.unwrap_err()), "{label}");
        let gone = "the coroutine-local value is being destroyed, or was already";
        assert_eq!(text, format!("cannot access a coroutine-local: {gone}"));
    });
}

/// Promise 53. A destructor may wait in any way, and a joiner waits for it.
#[test]
fn a_destructor_may_spawn_and_wait() {
    coroutine_local!(static LAST: Cell<Option<OnDrop>> = const { Cell::new(None) });
    fn wait_in_every_way() {
        withy::yield_now();
        withy::sleep(Duration::from_millis(1));
        assert_eq!(withy::spawn(|| 5).join().unwrap(), 5);
        assert_eq!(withy::spawn_local(|| 6).join().unwrap(), 6);
        withy::current().unpark();
        withy::park();
        withy::park_timeout(Duration::from_micros(100));
    }
    each_runtime("destructors that wait", |runtime, label| {
        let waited = Arc::new(AtomicUsize::new(0));
        let ends = |cancelled: bool| {
            let waited = waited.clone();
            runtime.spawn(move || {
                LAST.set(OnDrop::new(move || {
                    // Where the coroutine was cancelled, each wait would unwind.
                    withy::shield(wait_in_every_way);
                    waited.fetch_add(1, Ordering::SeqCst);
                }));
                if cancelled {
                    until(|| false);
                }
            })
        };
        let quiet: Vec<_> = (0..10).map(|_| ends(false)).collect();
        quiet.into_iter().for_each(|one| one.join().unwrap());
        assert_eq!(waited.load(Ordering::SeqCst), 10, "{label}");

        // A joiner on the same worker, that comes in the middle of it, lets it go on.
        runtime.run(|| {
            let child = withy::spawn_local(|| {
                LAST.set(OnDrop::new(|| withy::sleep(Duration::from_millis(1))));
            });
            withy::yield_now();
            child.join().unwrap();
        });

        let cancelled: Vec<_> = (0..10).map(|_| ends(true)).collect();
        withy::sleep(Duration::from_millis(1));
        for one in &cancelled {
            one.cancel();
        }
        for one in cancelled {
            assert!(one.join().unwrap_err().is::<withy::Cancelled>(), "{label}");
        }
        assert!(waited.load(Ordering::SeqCst) <= 20, "{label}");
    });
}

/// Promises 28 and 53. A destructor that panics, or that a cancellation unwinds, hinders none of the others, and changes
/// no result.
#[test]
fn each_destructor_fails_on_its_own() {
    coroutine_local! {
        static ONE: Cell<Option<OnDrop>> = const { Cell::new(None) };
        static TWO: Cell<Option<OnDrop>> = const { Cell::new(None) };
        static THREE: Cell<Option<OnDrop>> = const { Cell::new(None) };
    }
    const KEYS: [&Last; 3] = [&ONE, &TWO, &THREE];
    each_runtime("destructors that fail", |runtime, label| {
        let trail = Trail::default();
        let leave = |fail: fn()| {
            let trail = trail.clone();
            move || {
                for key in KEYS {
                    let trail = trail.clone();
                    key.set(OnDrop::new(move || {
                        note(&trail, "begun");
                        fail();
                        note(&trail, "never");
                    }));
                }
            }
        };
        let panics = leave(|| panic!("in a destructor"));
        let value = runtime.spawn(move || {
            panics();
            7
        });
        assert_eq!(value.join().unwrap(), 7, "{label}");
        assert_eq!(*trail.lock().unwrap(), ["begun"; 3], "{label}");

        trail.lock().unwrap().clear();
        let parks = leave(withy::park);
        let ready = Arc::new(AtomicUsize::new(0));
        let waits = runtime.spawn({
            let ready = ready.clone();
            move || {
                parks();
                ready.store(1, Ordering::SeqCst);
                withy::park();
            }
        });
        until(|| ready.load(Ordering::SeqCst) == 1);
        waits.cancel();
        assert!(waits.join().unwrap_err().is::<withy::Cancelled>());
        assert_eq!(*trail.lock().unwrap(), ["begun"; 3], "{label}");
    });
}

/// A result that nobody takes is dropped after the locals: those that were used are gone, and one that it makes goes too.
#[test]
fn a_result_that_nobody_takes_outlives_the_locals() {
    coroutine_local! {
        static USED: Cell<u32> = const { Cell::new(0) };
        static MADE: Cell<Option<OnDrop>> = const { Cell::new(None) };
    }
    struct Outcome(Trail);
    impl Drop for Outcome {
        fn drop(&mut self) {
            note(&self.0, "result");
            assert!(USED.try_with(|_| ()).is_err());
            let trail = self.0.clone();
            MADE.set(OnDrop::new(move || {
                assert!(MADE.try_with(|_| ()).is_err());
                note(&trail, "made");
                panic!("in a destructor");
            }));
            withy::park_timeout(Duration::from_millis(1));
        }
    }
    each_runtime("a result without a taker", |runtime, label| {
        let trail = Trail::default();
        let detached = Arc::new(AtomicUsize::new(0));
        drop(runtime.spawn({
            let (trail, detached) = (trail.clone(), detached.clone());
            move || {
                USED.set(1);
                // Had it ended before, the result would be its dropper's.
                until(|| detached.load(Ordering::SeqCst) == 1);
                Outcome(trail)
            }
        }));
        detached.store(1, Ordering::SeqCst);
        until(|| trail.lock().unwrap().len() == 2);
        assert_eq!(*trail.lock().unwrap(), ["result", "made"], "{label}");
    });
}
