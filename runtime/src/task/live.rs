//! The list of a worker's live coroutines: started and not finished. Used to cancel them all and to report them.
//!
//! Intrusive and doubly linked. In fresh-stealing only the home worker touches its list; in full stealing a
//! coroutine may end elsewhere, so the list's lock is taken. A list of the whole runtime would cost more than a spawn.

use core::cell::{Cell, UnsafeCell};
use core::ptr::NonNull;

use parking_lot::Mutex;

use crate::task::header::Header;

/// A coroutine's place in its list. Guarded by the list.
pub(crate) struct Links {
    prev: Cell<Option<NonNull<Header>>>,
    next: Cell<Option<NonNull<Header>>>,
    /// The worker whose list it is in: in full stealing `home` moves, this does not.
    list: Cell<u32>,
}

impl Links {
    /// Where the next member's address stands, for whoever reads copies of records.
    pub(crate) const NEXT: usize = core::mem::offset_of!(Links, next);

    pub(crate) fn new() -> Links {
        Links {
            prev: Cell::new(None),
            next: Cell::new(None),
            list: Cell::new(0),
        }
    }

    /// The index of the worker in whose list the coroutine stands, once it has started.
    pub(crate) fn list(&self) -> usize {
        self.list.get() as usize
    }
}

pub(crate) struct LiveList {
    lock: Mutex<()>,
    /// Full stealing: others than the owner come.
    shared: bool,
    head: UnsafeCell<Option<NonNull<Header>>>,
}

// SAFETY: `head` and the links are touched under the lock (full stealing) or by the owner worker alone (fresh-stealing):
// the contract of the three unsafe functions below.
unsafe impl Sync for LiveList {}
// SAFETY: as above; the list holds no thread-bound state.
unsafe impl Send for LiveList {}

impl LiveList {
    pub(crate) fn new(shared: bool) -> LiveList {
        LiveList {
            lock: Mutex::new(()),
            shared,
            head: UnsafeCell::new(None),
        }
    }

    fn locked<R>(&self, f: impl FnOnce(&mut Option<NonNull<Header>>) -> R) -> R {
        let _guard = self.shared.then(|| self.lock.lock());
        // SAFETY: by the lock, or by the callers' contract, we are alone; `f` does not come back here.
        f(unsafe { &mut *self.head.get() })
    }

    /// # Safety
    /// Called by the list's worker `owner` at the coroutine's first run.
    pub(crate) unsafe fn insert(&self, owner: usize, task: NonNull<Header>) {
        self.locked(|head| {
            // SAFETY: the record is alive (its worker holds a reference), its links are guarded by the list.
            let links = &unsafe { task.as_ref() }.live;
            links.list.set(owner as u32);
            links.prev.set(None);
            links.next.set(*head);
            if let Some(old) = *head {
                // SAFETY: members are unfinished, so their records are alive.
                unsafe { old.as_ref() }.live.prev.set(Some(task));
            }
            *head = Some(task);
        });
    }

    /// # Safety
    /// `task` is in this list. In fresh-stealing: called by the list's worker.
    pub(crate) unsafe fn remove(&self, task: NonNull<Header>) {
        self.locked(|head| {
            // SAFETY: members are unfinished, so their records are alive; the links are guarded by the list.
            unsafe {
                let links = &task.as_ref().live;
                match links.prev.get() {
                    Some(prev) => prev.as_ref().live.next.set(links.next.get()),
                    None => *head = links.next.get(),
                }
                if let Some(next) = links.next.get() {
                    next.as_ref().live.prev.set(links.prev.get());
                }
            }
        });
    }

    /// Calls `f` with the address of the first link, under the list's lock if it has one. For whoever copies memory that it
    /// must not touch; in fresh-stealing the list may change meanwhile.
    pub(crate) fn observed<R>(&self, f: impl FnOnce(usize) -> R) -> R {
        let _guard = self.shared.then(|| self.lock.lock());
        f(self.head.get().addr())
    }

    /// Calls `f` on each member.
    ///
    /// # Safety
    /// In fresh-stealing: called by the list's worker. `f` neither enters nor leaves a list.
    pub(crate) unsafe fn for_each(&self, mut f: impl FnMut(&Header)) {
        self.locked(|head| {
            let mut at = *head;
            while let Some(task) = at {
                // SAFETY: members are unfinished, so their records are alive, and stay so under the lock.
                let header = unsafe { task.as_ref() };
                at = header.live.next.get();
                f(header);
            }
        });
    }
}
