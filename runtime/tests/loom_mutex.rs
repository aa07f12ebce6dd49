//! The mutex (`sync/raw_mutex.rs`) that ships, on the wait queue that ships, under every interleaving.
#![allow(
    unfulfilled_lint_expectations,
    reason = "the library leaves unused what models use"
)]

#[path = "../src/time/moment.rs"]
#[allow(dead_code)]
mod moment;
#[path = "../src/sync/raw_mutex.rs"]
#[allow(dead_code)]
mod raw_mutex;
#[path = "model/sync.rs"]
mod shim;
#[path = "../src/task/state.rs"]
#[allow(dead_code)]
mod state;
#[path = "../src/sync/waiters.rs"]
#[allow(dead_code)]
mod waiters;

mod atomic {
    pub(crate) use crate::shim::{AtomicU32, AtomicUsize, Cell, Ordering, spin_loop};
}
mod context {
    pub(crate) use crate::shim::current_worker;
}
mod sync {
    pub(crate) use crate::waiters;
    pub(crate) mod lock {
        pub(crate) use crate::shim::SpinLock;
    }
}
mod task {
    pub(crate) mod park {
        pub(crate) use crate::shim::{Waiting, Wake, park};
    }
}
mod time {
    pub(crate) use crate::moment::Moment;
    pub(crate) use crate::shim::moment;
}

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

use raw_mutex::RawMutex;
use shim::{Cancelled, Record, at_the_end_of_time, check, coroutine, plain_thread};

/// A lock, and what it protects: how often it was held.
struct Counted {
    lock: RawMutex,
    sections: UnsafeCell<u32>,
}

impl Counted {
    fn new() -> Arc<Counted> {
        let counted = Counted {
            lock: RawMutex::new(),
            sections: UnsafeCell::new(0),
        };
        counted.lock.lock();
        counted.lock.unlock();
        Arc::new(counted)
    }

    fn lock_and_count(&self) {
        self.lock.lock();
        self.count();
        self.lock.unlock();
    }

    /// For the holder: nobody else is here, loom checks that.
    fn count(&self) {
        // SAFETY: as above.
        self.sections.with_mut(|sections| unsafe { *sections += 1 });
    }

    /// The lock is free, and nobody waits.
    fn assert_sections(&self, expected: u32) {
        assert!(self.lock.try_lock(), "it is locked for ever");
        // SAFETY: the lock is held.
        assert_eq!(
            self.sections.with(|sections| unsafe { *sections }),
            expected
        );
        self.lock.unlock();
    }
}

/// Three coroutines lock: none is forgotten, and one at a time holds the lock.
#[test]
fn one_at_a_time_holds_it_and_no_waiter_is_forgotten() {
    check(2, || {
        let counted = Counted::new();
        let others = [(), ()].map(|()| {
            let counted = counted.clone();
            thread::spawn(move || coroutine(&Record::coroutine(), || counted.lock_and_count()))
        });
        assert_eq!(
            coroutine(&Record::coroutine(), || counted.lock_and_count()),
            Ok(())
        );
        for other in others {
            assert_eq!(other.join().unwrap(), Ok(()));
        }
        counted.assert_sections(3);
    });
}
