//! What poisons a lock, asked of std and of us.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::rig::endings::OnDrop;
use crate::rig::text_of;
use crate::support::{LIMIT, matrix, within};

/// The same cases for std's locks and ours: which of them poison?
macro_rules! outcomes {
    ($name:ident, $sync:path) => {
        #[allow(clippy::too_many_lines, reason = "a list")]
        fn $name() -> Vec<(&'static str, bool)> {
            use $sync::{LazyLock, Mutex, Once, OnceLock};
            fn caught(f: impl FnOnce()) {
                let _ = catch_unwind(AssertUnwindSafe(f));
            }
            let mut outcomes = Vec::new();
            let mut of = |what, body: &dyn Fn(&Mutex<u8>)| {
                let lock = Mutex::new(0);
                caught(|| body(&lock));
                let by_lock = lock.lock().is_err();
                assert_eq!(by_lock, lock.is_poisoned());
                outcomes.push((what, by_lock));
            };
            of("a guard that is held", &|lock| {
                let _guard = lock.lock();
                panic!("1");
            });
            of("a guard that was tried for", &|lock| {
                let _guard = lock.try_lock();
                panic!("2");
            });
            of("a guard that was dropped", &|lock| {
                drop(lock.lock());
                panic!("3");
            });
            of("a guard around a panic that is caught", &|lock| {
                let _guard = lock.lock();
                caught(|| panic!("4"));
            });
            of("a guard within a panic that is caught", &|lock| {
                caught(|| {
                    let _guard = lock.lock();
                    panic!("5");
                });
            });
            of("a guard made in a destructor", &|lock| {
                let _locks = OnDrop(|| drop(lock.lock()));
                panic!("6");
            });
            of("a guard in a destructor, and a panic there", &|lock| {
                let _locks = OnDrop(|| {
                    caught(|| {
                        let _guard = lock.lock();
                        panic!("7a");
                    });
                });
                panic!("7b");
            });
            of("a guard that a destructor drops", &|lock| {
                let mut guard = Some(lock.lock().unwrap());
                let _drops = OnDrop(|| drop(guard.take()));
                panic!("8");
            });
            of("a guard and an unwinding that is resumed", &|lock| {
                let _guard = lock.lock();
                std::panic::resume_unwind(Box::new(()));
            });
            of("a guard and an unwinding that was cleared", &|lock| {
                caught(|| {
                    let _guard = lock.lock();
                    panic!("10");
                });
                lock.clear_poison();
            });
            of("an initialiser's unwinding", &|lock| {
                let cell: OnceLock<u8> = OnceLock::new();
                let _ = cell.get_or_init(|| {
                    let _guard = lock.lock();
                    panic!("11")
                });
            });
            // Those that are no mutex.
            let once = Once::new();
            caught(|| once.call_once(|| panic!("12")));
            let mut poisoned = false;
            once.call_once_force(|state| poisoned = state.is_poisoned());
            outcomes.push(("a once", poisoned));
            let once = Once::new();
            caught(|| {
                let _calls = OnDrop(|| once.call_once(|| ()));
                panic!("13");
            });
            outcomes.push(("a once that ends in a destructor", !once.is_completed()));
            let once = Once::new();
            caught(|| {
                let _calls = OnDrop(|| caught(|| once.call_once(|| panic!("14a"))));
                panic!("14b");
            });
            once.call_once_force(|state| poisoned = state.is_poisoned());
            outcomes.push(("a once that panics in a destructor", poisoned));
            let lazy: LazyLock<u8> = LazyLock::new(|| panic!("15"));
            caught(|| _ = *lazy);
            let again = catch_unwind(AssertUnwindSafe(|| *lazy)).unwrap_err();
            outcomes.push(("a lazy lock", text_of(&*again).contains("poisoned")));
            outcomes
        }
    };
}

outcomes!(outcomes_of_std, std::sync);
outcomes!(outcomes_of_withy, withy::sync);

/// Promise 40. std's own locks, asked the same questions on a thread, give the same answers.
#[test]
fn what_poisons_is_what_poisons_in_std() {
    let expected = within(LIMIT, "std", outcomes_of_std);
    assert!(expected.iter().any(|case| case.1) && !expected.iter().all(|case| case.1));
    matrix(LIMIT, "withy", |case| {
        let expected = expected.clone();
        case.run(move || assert_eq!(outcomes_of_withy(), expected));
    });
}
