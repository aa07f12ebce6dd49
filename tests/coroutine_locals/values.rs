//! Values of coroutine-locals: each coroutine has its own, wherever it runs.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use withy::{CoroutineLocal, coroutine_local};

use super::destructors::{OnDrop, Trail, note};
use crate::rig::{each_runtime, text_of, until};
use crate::support::{self, LIMIT, matrix, within};

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
