//! Coroutine-locals: each coroutine has its own value, wherever it runs, and its destructor runs once, when it ends.

mod rig;
mod support;

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rig::{each_runtime, text_of, until};
use support::{LIMIT, matrix, within};
use withy::{CoroutineLocal, coroutine_local};

/// What destructors did, in order.
type Trail = Arc<Mutex<Vec<&'static str>>>;

fn note(trail: &Trail, what: &'static str) {
    trail.lock().unwrap().push(what);
}

/// Runs its closure when dropped.
struct OnDrop(Option<Box<dyn FnOnce()>>);

impl OnDrop {
    fn new(f: impl FnOnce() + 'static) -> Option<OnDrop> {
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

// As `thread_local!`'s: nothing, attributes, visibility, constant and lazy initialisers, no last semicolon.
coroutine_local! {}
coroutine_local!(static PLAIN: u32 = 5);
coroutine_local! {
    /// Documented.
    #[allow(dead_code, reason = "it is here to be declared")]
    pub static PUBLIC: &'static str = const { "public" };
    #[cfg(any())]
    static ABSENT: Absent = Absent;
    pub(crate) static NAMES: RefCell<Vec<&'static str>> = const { RefCell::new(Vec::new()) };
    static SUM: Cell<u64> = Cell::new(1) // as an expression
}

/// Promise 41 for coroutine-locals. Everyone has a value of its own: coroutines, wherever they resume, and plain threads.
#[test]
fn each_caller_has_its_own_value() {
    coroutine_local! {
        static OWN: Cell<usize> = const { Cell::new(usize::MAX) };
        static HISTORY: RefCell<Vec<usize>> = RefCell::default();
    }
    matrix(LIMIT, "callers with locals", |case| {
        let callers: Vec<_> = (0..40)
            .map(|n| {
                case.spawn(move || {
                    assert_eq!(OWN.get(), usize::MAX);
                    OWN.set(n);
                    for round in 0..50 {
                        assert_eq!(OWN.replace(n), n);
                        // Lent over a wait, and in the same place after it.
                        OWN.with(|own| {
                            let place: *const _ = own;
                            withy::yield_now();
                            assert_eq!((own.get(), OWN.with(|own| own as *const _)), (n, place));
                        });
                        HISTORY.with_borrow_mut(|history| history.push(round));
                    }
                    withy::sleep(Duration::from_micros(100));
                    assert_eq!(HISTORY.with_borrow(Vec::len), 50);
                    OWN.take() == n && OWN.get() == 0
                })
            })
            .collect();
        for caller in callers {
            assert!(caller.join());
        }
    });
}

/// Thousands that live at once on one worker do not meet in a value.
#[test]
fn thousands_of_coroutines_on_one_worker_keep_theirs_apart() {
    const MANY: usize = 5_000;
    coroutine_local!(static MINE: Cell<Option<Box<usize>>> = const { Cell::new(None) });
    for full_stealing in [false, true] {
        within(LIMIT, "thousands of coroutines with a local", || {
            let runtime = support::runtime(1, full_stealing);
            let started = Arc::new(AtomicUsize::new(0));
            let many: Vec<_> = (0..MANY)
                .map(|n| {
                    let started = started.clone();
                    runtime.spawn(move || {
                        assert!(MINE.take().is_none());
                        MINE.set(Some(Box::new(n)));
                        started.fetch_add(1, Ordering::SeqCst);
                        withy::park();
                        MINE.take()
                    })
                })
                .collect();
            until(|| started.load(Ordering::SeqCst) == MANY);
            for one in &many {
                one.thread().unpark();
            }
            for (n, one) in many.into_iter().enumerate() {
                assert_eq!(one.join().unwrap().as_deref(), Some(&n));
            }
        });
    }
}

/// A value that is lent stays where it is while the table of its coroutine grows.
#[test]
fn a_value_stays_in_its_place_while_others_come() {
    macro_rules! many {
        ($($name:ident)*) => {
            coroutine_local! { $(static $name: String = stringify!($name).repeat(3);)* }
            const REST: &[&CoroutineLocal<String>] = &[$(&$name),*];
        };
    }
    coroutine_local!(static FIRST: String = "first".repeat(3));
    many!(A B C D E F G H I J K L M N O P Q R S T U V W X Y Z);
    each_runtime("a table that grows", |runtime, label| {
        runtime.run(|| {
            FIRST.with(|first| {
                let before = (first as *const String, first.as_ptr());
                for key in REST {
                    key.with(|value| assert_eq!(value.len(), 3));
                    withy::yield_now();
                }
                assert_eq!((first as *const String, first.as_ptr()), before, "{label}");
                assert_eq!(first, "firstfirstfirst");
            });
        });
    });
}

/// Children have their own: of a scope, and on their parent's worker.
#[test]
fn children_do_not_inherit_values() {
    coroutine_local!(static NUMBER: Cell<u32> = const { Cell::new(1) });
    each_runtime("children with locals", |runtime, label| {
        runtime.run(|| {
            NUMBER.set(2);
            withy::scope(|s| {
                s.spawn(|| assert_eq!(NUMBER.replace(3), 1, "{label}"));
            });
            let child = withy::spawn_local(|| NUMBER.replace(4));
            assert_eq!(child.join().unwrap(), 1, "{label}");
            assert_eq!(NUMBER.get(), 2, "{label}");
        });
    });
}

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

/// An initialiser that comes back to its own key, waits or panics, on a coroutine.
#[test]
fn initialisers_may_recur_wait_and_panic() {
    static DROPS: AtomicUsize = AtomicUsize::new(0);
    struct Depth(u32);
    impl Drop for Depth {
        fn drop(&mut self) {
            DROPS.fetch_add(1, Ordering::SeqCst);
        }
    }
    coroutine_local! {
        static LEFT: Cell<u32> = const { Cell::new(3) };
        static RECURS: Depth = {
            withy::yield_now();
            let left = LEFT.replace(LEFT.get() - 1);
            if left > 1 {
                RECURS.with(|inner| assert_eq!(inner.0, 1));
            }
            Depth(left)
        };
        static FAILS: u32 = match LEFT.replace(LEFT.get() - 1) {
            0..2 => 1,
            left => panic!("{left} to go"),
        };
    }
    each_runtime("initialisers", |runtime, label| {
        DROPS.store(0, Ordering::SeqCst);
        runtime.run(|| RECURS.with(|depth| assert_eq!(depth.0, 1, "{label}")));
        assert_eq!(DROPS.load(Ordering::SeqCst), 3, "{label}");
        runtime.run(|| {
            for left in [3, 2] {
                let payload = catch_unwind(|| FAILS.with(|_| ())).unwrap_err();
                assert_eq!(text_of(&*payload), format!("{left} to go"), "{label}");
            }
            FAILS.with(|value| assert_eq!(*value, 1, "{label}"));
        });
    });
}

/// As std's: `set` does not run the initialiser, the other methods do; a `RefCell`'s borrows are checked.
#[test]
fn methods_behave_as_those_of_local_key() {
    static MADE: AtomicUsize = AtomicUsize::new(0);
    coroutine_local! {
        static NUMBER: Cell<u32> = { MADE.fetch_add(1, Ordering::SeqCst); Cell::new(1) };
        static TEXT: RefCell<String> = { MADE.fetch_add(1, Ordering::SeqCst); RefCell::default() };
        static SHARED: Rc<u32> = Rc::new(8);
    }
    matrix(LIMIT, "methods of locals", |case| {
        // A worker's thread, on which callers may run, is no plain thread; so each case has its own callers.
        MADE.store(0, Ordering::SeqCst);
        case.run(|| {
            NUMBER.set(2);
            TEXT.set("two".into());
            assert_eq!(MADE.load(Ordering::SeqCst), 0);
            assert_eq!((NUMBER.get(), NUMBER.replace(3), NUMBER.take()), (2, 2, 3));
            assert_eq!(NUMBER.get(), 0);
            NUMBER.set(9);
            assert_eq!(NUMBER.get(), 9);
            TEXT.with_borrow_mut(|text| {
                text.push('!');
                let again = catch_unwind(AssertUnwindSafe(|| TEXT.with_borrow(String::len)));
                assert!(again.is_err());
                assert!(catch_unwind(|| TEXT.set(String::new())).is_err());
            });
            assert_eq!(
                (TEXT.replace("3".into()), TEXT.take()),
                ("two!".into(), "3".into())
            );
            TEXT.set("four".into());
            assert_eq!(TEXT.with_borrow(String::len), 4);
            assert_eq!(SHARED.with(Rc::clone).checked_add(1), Some(9));
        });
        case.run(|| {
            assert_eq!((NUMBER.get(), TEXT.take()), (1, String::new()));
            assert_eq!(MADE.load(Ordering::SeqCst), 2);
        });
    });
    assert_eq!(format!("{NUMBER:?}"), "CoroutineLocal { .. }");
}

/// The macro takes what `thread_local!` takes.
#[test]
fn declarations_are_those_of_thread_local() {
    each_runtime("declared locals", |runtime, _| {
        runtime.run(|| {
            assert_eq!(PLAIN.with(|plain| *plain), 5);
            assert_eq!(PUBLIC.with(|text| *text), "public");
            NAMES.with_borrow_mut(|names| names.push("one"));
            assert_eq!(NAMES.take(), ["one"]);
            assert_eq!(SUM.replace(2), 1);
        });
    });
}

/// On a plain thread a value is the thread's: it goes with it.
#[test]
fn a_plain_thread_has_thread_locals() {
    coroutine_local!(static LAST: Cell<Option<OnDrop>> = const { Cell::new(None) });
    within(LIMIT, "a plain thread with locals", || {
        let trail = Trail::default();
        let seen = trail.clone();
        std::thread::spawn(move || {
            let child = trail.clone();
            LAST.set(OnDrop::new(move || {
                assert!(LAST.try_with(|_| ()).is_err());
                note(&trail, "thread");
            }));
            // A coroutine that it starts has its own.
            let coroutine = withy::spawn(move || {
                assert!(LAST.take().is_none());
                LAST.set(OnDrop::new(move || note(&child, "coroutine")));
            });
            coroutine.join().unwrap();
        })
        .join()
        .unwrap();
        assert_eq!(*seen.lock().unwrap(), ["coroutine", "thread"]);
    });
}
