//! `Once`, `OnceLock` and `LazyLock`: one initialiser, those who wait for it, and what its panic leaves.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use withy::sync::{LazyLock, Once, OnceLock};

use crate::rig::{Drops, each_runtime, text_of, until};
use crate::support::{self, Case, LIMIT, matrix};

/// What a test and its callers share.
#[derive(Default)]
pub(super) struct Shared {
    once: OnceBox,
    pub(super) cell: OnceLock<usize>,
    pub(super) begun: AtomicUsize,
    pub(super) ended: AtomicUsize,
    waiting: AtomicUsize,
    released: AtomicBool,
}

/// `Once` has no `Default`, as std's has none.
pub(super) struct OnceBox(Once);

impl Default for OnceBox {
    fn default() -> OnceBox {
        OnceBox(Once::new())
    }
}

impl Shared {
    /// An initialiser that waits for its release.
    pub(super) fn initialise(&self) -> usize {
        let begun = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        until(|| self.released.load(Ordering::SeqCst));
        self.ended.fetch_add(1, Ordering::SeqCst);
        begun
    }

    pub(super) fn release(&self) {
        self.released.store(true, Ordering::SeqCst);
    }

    pub(super) fn until_begun(&self, count: usize) {
        until(|| self.begun.load(Ordering::SeqCst) == count);
    }

    /// Announces that the caller is about to wait.
    pub(super) fn announce(&self) {
        self.waiting.fetch_add(1, Ordering::SeqCst);
    }

    /// They have announced themselves, and had time to begin to wait: no test is right only because of that.
    pub(super) fn until_waiting(&self, count: usize) {
        until(|| self.waiting.load(Ordering::SeqCst) == count);
        withy::sleep(Duration::from_millis(1));
    }
}

/// Promise 41. Whoever comes first runs the initialiser, which waits itself; all others wait for its end, and see what it did.
#[test]
fn one_initialiser_runs_and_all_see_its_value() {
    matrix(LIMIT, "one initialisation", |case| {
        let shared = Arc::new(Shared::default());
        let made = Arc::new(LazyLock::new({
            let shared = shared.clone();
            move || shared.initialise() * 10
        }));
        let callers: Vec<_> = (0..12)
            .map(|number| {
                let (shared, made) = (shared.clone(), made.clone());
                case.spawn(move || {
                    shared.announce();
                    match number % 6 {
                        0 => assert_eq!(**made, 10),
                        1 => shared.once.0.call_once(|| assert_eq!(**made, 10)),
                        2 => shared.once.0.call_once_force(|_| assert_eq!(**made, 10)),
                        3 => shared.once.0.wait(),
                        4 => shared.once.0.wait_force(),
                        _ => assert_eq!(*LazyLock::force(&made), 10),
                    }
                    assert_eq!(LazyLock::get(&made), Some(&10));
                })
            })
            .collect();
        shared.until_begun(1);
        shared.until_waiting(12);
        assert!(LazyLock::get(&made).is_none() && !shared.once.0.is_completed());
        shared.release();
        callers.into_iter().for_each(|caller| caller.join());
        assert!(shared.once.0.is_completed());
        assert_eq!(shared.begun.load(Ordering::SeqCst), 1);
    });
}

/// Promise 41. The same for a cell: of all who set and make, one wins.
#[test]
fn a_cell_takes_one_value() {
    matrix(LIMIT, "one value", |case| {
        let shared = Arc::new(Shared::default());
        let callers: Vec<_> = (0..12)
            .map(|number| {
                let shared = shared.clone();
                case.spawn(move || {
                    shared.announce();
                    match number % 3 {
                        0 => *shared.cell.get_or_init(|| shared.initialise()),
                        1 => *shared.cell.wait(),
                        _ => {
                            shared.until_begun(1);
                            assert_eq!(shared.cell.get(), None);
                            assert_eq!(shared.cell.set(7), Err(7));
                            *shared.cell.get().unwrap()
                        }
                    }
                })
            })
            .collect();
        shared.until_waiting(12);
        shared.release();
        for caller in callers {
            assert_eq!(caller.join(), 1);
        }
    });
}

/// Promise 40. A panic poisons a `Once`: who waits panics, and so do later callers, but for those that use force.
#[test]
fn a_panic_poisons_a_once() {
    matrix(LIMIT, "a poisoned once", |case| {
        let shared = Arc::new(Shared::default());
        let first = case.spawn({
            let shared = shared.clone();
            move || {
                let call = || {
                    shared.once.0.call_once(|| {
                        shared.initialise();
                        panic!("the first");
                    });
                };
                catch_unwind(AssertUnwindSafe(call)).unwrap_err()
            }
        });
        shared.until_begun(1);
        let callers: Vec<_> = (0..4)
            .map(|number| {
                let shared = shared.clone();
                case.spawn(move || {
                    shared.announce();
                    let once = &shared.once.0;
                    catch_unwind(AssertUnwindSafe(|| match number {
                        0 => once.call_once(|| unreachable!("poisoned")),
                        1 => once.wait(),
                        2 => {
                            once.wait_force();
                            assert!(once.is_completed());
                        }
                        _ => {
                            shared.until_begun(2);
                            shared.until_waiting(4);
                            shared.once.0.call_once_force(|state| {
                                assert!(state.is_poisoned());
                                assert_eq!(format!("{state:?}"), "OnceState { poisoned: true }");
                            });
                        }
                    }))
                })
            })
            .collect();
        until(|| shared.waiting.load(Ordering::SeqCst) == 4);
        shared.release();
        assert_eq!(text_of(&*first.join()), "the first");
        let poisoned = catch_unwind(AssertUnwindSafe(|| shared.once.0.call_once(|| ())));
        let text = "Once instance has previously been poisoned";
        assert_eq!(text_of(&*poisoned.unwrap_err()), text);
        // Now somebody may put it in order.
        shared.begun.fetch_add(1, Ordering::SeqCst);
        let ended: Vec<_> = callers.into_iter().map(|caller| caller.join()).collect();
        for ended in &ended[..2] {
            assert_eq!(text_of(&**ended.as_ref().unwrap_err()), text);
        }
        assert!(ended[2].is_ok() && ended[3].is_ok());
        shared.once.0.call_once(|| unreachable!("complete"));
        shared.once.0.wait();
    });
}

/// Promise 40. A panic does not poison a cell: the next who waits makes the value.
#[test]
fn a_panic_leaves_a_cell_to_the_next() {
    matrix(LIMIT, "a cell after a panic", |case| {
        let shared = Arc::new(Shared::default());
        let first = case.spawn({
            let shared = shared.clone();
            move || {
                let make = || {
                    shared.initialise();
                    panic!("the first");
                };
                let call = || _ = shared.cell.get_or_init(make);
                catch_unwind(AssertUnwindSafe(call)).unwrap_err()
            }
        });
        shared.until_begun(1);
        let callers = waiters(case, &shared);
        shared.until_waiting(4);
        shared.release();
        assert_eq!(text_of(&*first.join()), "the first");
        for caller in callers {
            assert_eq!(caller.join(), 2);
        }
    });
}

pub(super) fn waiters(case: &Case, shared: &Arc<Shared>) -> Vec<support::Caller<usize>> {
    (0..4)
        .map(|number| {
            let shared = shared.clone();
            case.spawn(move || {
                shared.announce();
                match number {
                    0 => *shared.cell.wait(),
                    _ => *shared.cell.get_or_init(|| shared.initialise()),
                }
            })
        })
        .collect()
}

/// Promise 40. A panic poisons a `LazyLock` for good, since its initialiser is used up.
#[test]
fn a_panic_poisons_a_lazy_lock() {
    matrix(LIMIT, "a poisoned lazy lock", |case| {
        let shared = Arc::new(Shared::default());
        let lazy: Arc<LazyLock<usize, _>> = Arc::new(LazyLock::new({
            let shared = shared.clone();
            move || {
                shared.initialise();
                panic!("the first")
            }
        }));
        let callers: Vec<_> = (0..4)
            .map(|_| {
                let (shared, lazy) = (shared.clone(), lazy.clone());
                case.spawn(move || {
                    shared.announce();
                    let text = catch_unwind(AssertUnwindSafe(|| **lazy)).unwrap_err();
                    text_of(&*text).to_owned()
                })
            })
            .collect();
        shared.until_waiting(4);
        shared.release();
        let texts: Vec<_> = callers.into_iter().map(|caller| caller.join()).collect();
        let poisoned = "LazyLock instance has previously been poisoned";
        assert_eq!(texts.iter().filter(|text| *text == "the first").count(), 1);
        assert_eq!(texts.iter().filter(|text| *text == poisoned).count(), 3);
        assert_eq!(format!("{lazy:?}"), "LazyLock(<uninit>)");
        assert!(LazyLock::get(&lazy).is_none());
        let mut lazy = Arc::try_unwrap(lazy).ok().unwrap();
        assert!(LazyLock::get_mut(&mut lazy).is_none());
        let again = catch_unwind(AssertUnwindSafe(|| *LazyLock::force_mut(&mut lazy)));
        assert_eq!(text_of(&*again.unwrap_err()), poisoned);
        let mut lazy: LazyLock<u8> = LazyLock::new(|| resume_unwind(Box::new("exclusively")));
        let first = catch_unwind(AssertUnwindSafe(|| *LazyLock::force_mut(&mut lazy)));
        assert_eq!(text_of(&*first.unwrap_err()), "exclusively");
        assert!(LazyLock::get(&lazy).is_none());
        let again = catch_unwind(AssertUnwindSafe(|| *lazy));
        assert_eq!(text_of(&*again.unwrap_err()), poisoned);
    });
}

/// Bad input: an initialiser that uses what it initialises would wait for itself.
#[test]
fn an_initialiser_that_waits_for_itself_panics() {
    matrix(LIMIT, "recursive initialisation", |case| {
        case.run(|| {
            let itself = |f: &dyn Fn()| {
                let payload = catch_unwind(AssertUnwindSafe(f)).unwrap_err();
                assert!(text_of(&*payload).contains("its own end"));
            };
            let once = || Box::leak(Box::new(Once::new()));
            let (a, b, c, d) = (once(), once(), once(), once());
            itself(&|| a.call_once(|| a.call_once(|| ())));
            itself(&|| b.call_once(|| b.call_once_force(|_| ())));
            itself(&|| c.call_once(|| c.wait()));
            itself(&|| d.call_once(|| d.wait_force()));
            let cell = OnceLock::new();
            itself(&|| _ = cell.get_or_init(|| *cell.get_or_init(|| 1)));
            itself(&|| _ = cell.get_or_init(|| *cell.wait()));
            itself(&|| _ = cell.get_or_init(|| cell.set(1).map_or(3, |()| 4)));
            // What does not wait works.
            assert_eq!(cell.get_or_init(|| cell.get().map_or(2, |_| 3)), &2);
            thread_local!(static LAZY: LazyLock<u8> = LazyLock::new(|| LAZY.with(|lazy| **lazy)));
            itself(&|| LAZY.with(|lazy| _ = **lazy));
        });
    });
}

/// Promise 40. Values and initialisers are dropped once, and neither is where there is none.
#[test]
fn everything_is_dropped_once() {
    let drops = AtomicUsize::new(0);
    let dropped = || drops.swap(0, Ordering::SeqCst);
    let cell = OnceLock::new();
    assert!(cell.set(Drops(&drops)).is_ok());
    assert!(cell.set(Drops(&drops)).is_err());
    assert_eq!(dropped(), 1, "the one that came too late");
    drop(cell);
    assert_eq!(dropped(), 1);
    let mut cell = OnceLock::from(Drops(&drops));
    drop(cell.take());
    assert_eq!(dropped(), 1);
    assert!(cell.get().is_none() && cell.take().is_none());
    cell.get_or_init(|| Drops(&drops));
    drop(cell.into_inner());
    assert_eq!(dropped(), 1);

    let captured = Drops(&drops);
    drop(LazyLock::new(move || drop(captured)));
    assert_eq!(dropped(), 1, "an initialiser that never ran");
    let lazy = LazyLock::new(|| Drops(&drops));
    LazyLock::force(&lazy);
    assert_eq!(dropped(), 0);
    drop(lazy);
    assert_eq!(dropped(), 1);
    let captured = Drops(&drops);
    let lazy: LazyLock<(), _> = LazyLock::new(move || {
        let _captured = &captured;
        panic!("no value")
    });
    assert!(catch_unwind(AssertUnwindSafe(|| *lazy)).is_err());
    assert_eq!(dropped(), 1);
    drop(lazy);
    assert_eq!(dropped(), 0);
}

/// Promise 41. What statics hold is there for all runtimes and threads.
#[test]
fn statics_are_initialised_once() {
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    static START: Once = Once::new();
    static WORDS: LazyLock<Vec<&str>> = LazyLock::new(|| {
        RUNS.fetch_add(1, Ordering::SeqCst);
        withy::yield_now();
        vec!["a", "b"]
    });
    static NAME: OnceLock<String> = OnceLock::new();
    each_runtime("statics", |runtime, _| {
        let lengths: Vec<_> = (0..8)
            .map(|_| {
                runtime.spawn(|| {
                    START.call_once(|| _ = RUNS.fetch_add(1, Ordering::SeqCst));
                    WORDS.len() + NAME.get_or_init(|| "one".into()).len()
                })
            })
            .collect();
        for length in lengths {
            assert_eq!(length.join().unwrap(), 5);
        }
    });
    assert_eq!(RUNS.load(Ordering::SeqCst), 2);
}
