//! The join word: how a result gets from a finished coroutine to whoever waits for it.
//!
//! ```text
//! bits 63..4  the waiter: an Unparker's address, or 0
//! bit 0       RESULT    the result is stored; the coroutine may still be on its stack
//! bit 1       DONE      the coroutine is off its stack, which is back in the pool
//! bit 2       DETACHED  the handle is gone
//! ```
//! The coroutine sets RESULT on its own stack; its worker sets DONE after the last switch. Whoever comes second of
//! RESULT and DETACHED owns the result: the coroutine drops it on its stack (law 11), or the handle's dropper does.
//! The waiter's reference belongs to the word until DONE is set, then to the worker that set it; before that the
//! joiner may take it back. So nobody is woken before the stack is free again, and nobody is woken twice.

use core::marker::PhantomData;
use core::ptr::NonNull;

use crate::atomic::{AtomicUsize, Ordering};
use crate::task::header::{TaskRef, discard};
use crate::task::park::{self, Coroutine, Unparker};

const RESULT: usize = 1;
const DONE: usize = 2;
const DETACHED: usize = 4;
const FLAGS: usize = 15;

pub(crate) struct JoinWord(AtomicUsize);

/// Whether the handle was gone when the result was stored.
#[must_use]
pub(crate) struct Published(usize);

impl Published {
    pub(crate) fn is_detached(&self) -> bool {
        self.0 & DETACHED != 0
    }
}

impl JoinWord {
    pub(crate) fn new() -> JoinWord {
        JoinWord(AtomicUsize::new(0))
    }

    /// The coroutine: its result is stored.
    pub(crate) fn publish_result(&self) -> Published {
        // Release the result to the handle's dropper; Acquire is for nobody's benefit but costs nothing here.
        Published(self.0.fetch_or(RESULT, Ordering::AcqRel))
    }

    /// The worker, after the coroutine's last switch: wakes the joiner, if one waits.
    #[inline]
    pub(crate) fn finish(&self) {
        let before = self.0.fetch_or(DONE, Ordering::AcqRel);
        if let Some(waiter) = NonNull::new((before & !FLAGS) as *mut ()) {
            // SAFETY: a waiter's reference belongs to the word until DONE is set; we set it, so it is ours now.
            unsafe { Unparker::from_raw(waiter) }.unpark();
        }
    }

    fn is_done(&self) -> bool {
        self.0.load(Ordering::Acquire) & DONE != 0
    }

    /// The joiner: leaves its handle to be woken at the end. False: it is done already.
    fn announce(&self, me: Unparker) -> bool {
        let raw = me.into_raw();
        let mut word = self.0.load(Ordering::Acquire);
        loop {
            debug_assert_eq!(word & !FLAGS, 0, "a handle is not cloned, so one joiner waits at most");
            if word & DONE != 0 {
                // SAFETY: it was not stored, so it is still ours.
                drop(unsafe { Unparker::from_raw(raw) });
                return false;
            }
            let next = word | raw.as_ptr() as usize;
            match self.0.compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
    }

    /// The joiner: takes its handle back, unless the worker has it.
    fn retract(&self) {
        let mut word = self.0.load(Ordering::Acquire);
        while word & DONE == 0 && word & !FLAGS != 0 {
            match self.0.compare_exchange_weak(
                word,
                word & FLAGS,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => {
                    let raw = NonNull::new((word & !FLAGS) as *mut ()).expect("checked above");
                    // SAFETY: DONE was not set when we took it out, so the reference is ours again.
                    return drop(unsafe { Unparker::from_raw(raw) });
                }
                Err(now) => word = now,
            }
        }
    }

    /// The handle's dropper. True: the result is stored and is the dropper's to drop.
    fn detach(&self) -> bool {
        self.0.fetch_or(DETACHED, Ordering::AcqRel) & RESULT != 0
    }
}

/// Waits for one coroutine's result, as [`std::thread::JoinHandle`] does for a thread's.
///
/// Dropping the handle detaches the coroutine: it goes on, and its result is dropped when it ends.
pub struct JoinHandle<T> {
    task: TaskRef,
    result: PhantomData<T>,
}

// SAFETY: the handle only ever moves a T out of or drops it in the record; that is sending a T.
unsafe impl<T: Send> Send for JoinHandle<T> {}
// SAFETY: `&JoinHandle` reaches no T.
unsafe impl<T> Sync for JoinHandle<T> {}
impl<T> std::panic::UnwindSafe for JoinHandle<T> {}
impl<T> std::panic::RefUnwindSafe for JoinHandle<T> {}

impl<T> JoinHandle<T> {
    /// `task` must have result type T.
    pub(crate) fn new(task: TaskRef) -> JoinHandle<T> {
        JoinHandle { task, result: PhantomData }
    }

    /// Waits for the coroutine to end and returns its result.
    ///
    /// From a coroutine this parks the coroutine; from a plain thread it blocks the thread. When it returns, the
    /// coroutine's stack is back in its pool. May unwind if the calling coroutine's runtime shuts down.
    ///
    /// # Errors
    /// If the coroutine panicked, its panic's payload; if its runtime shut down before it ended, a payload of
    /// withy's own.
    ///
    /// # Panics
    /// Inside [`no_park`](crate::no_park). A coroutine that joins itself waits forever, where std's thread would be
    /// told of a deadlock.
    ///
    /// # Examples
    /// ```
    /// let child = withy_runtime::spawn(|| 6 * 7);
    /// assert_eq!(child.join().unwrap(), 42);
    /// ```
    pub fn join(self) -> std::thread::Result<T> {
        self.wait();
        let this = core::mem::ManuallyDrop::new(self);
        // SAFETY: `this` is never dropped, so its reference is taken over once.
        let task = unsafe { core::ptr::read(&this.task) };
        // SAFETY: `new` promised the type; DONE was seen (acquire) and implies RESULT; the handle is consumed.
        unsafe { task.take_result() }
    }

    /// Waits without taking the result.
    fn wait(&self) {
        struct Retract<'a>(&'a JoinWord);
        impl Drop for Retract<'_> {
            fn drop(&mut self) {
                self.0.retract();
            }
        }
        let word = &self.task.join;
        if word.is_done() || !word.announce(Unparker::current()) {
            return;
        }
        // Parking may unwind (shutdown): the word must not keep a handle that nobody will come back for.
        let retract = Retract(word);
        while !word.is_done() {
            park::park_until(None);
        }
        drop(retract);
    }

    /// Waits even while the caller is asked to unwind; for callers whose borrows the coroutine uses.
    pub(crate) fn join_masked(self) -> std::thread::Result<T> {
        let _mask = park::Mask::new();
        self.join()
    }

    /// Whether the coroutine has ended, so that [`join`](JoinHandle::join) would not wait.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.task.join.is_done()
    }

    /// The coroutine: its id, its name, and the means to unpark it.
    #[must_use]
    pub fn coroutine(&self) -> Coroutine {
        Coroutine::of_task(self.task.clone())
    }

    /// The same as [`coroutine`](JoinHandle::coroutine), under the name that [`std::thread::JoinHandle`] gives it.
    #[must_use]
    pub fn thread(&self) -> Coroutine {
        self.coroutine()
    }
}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        if self.task.join.detach() {
            // SAFETY: RESULT was set before DETACHED, so the result is the dropper's; T is the type (`new`).
            discard(unsafe { self.task.take_result::<T>() });
        }
    }
}

impl<T> core::fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("JoinHandle").field("coroutine", &self.coroutine()).finish_non_exhaustive()
    }
}
