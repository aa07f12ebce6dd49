//! Waiting for a coroutine's result. The protocol is in `task/join_word.rs`.

use core::marker::PhantomData;
use core::ptr::NonNull;
use std::time::Duration;

use crate::scheduler;
use crate::task::handle::Coroutine;
use crate::task::header::{Header, TaskRef, discard};
use crate::task::interrupt::Mask;
use crate::task::join_word::{Join, JoinWord};
use crate::task::park;

/// The worker, after the coroutine's last switch, its stack back in the pool: wakes the joiner, if one waits.
#[inline]
pub(crate) fn finish(task: &Header) {
    let word = &task.join;
    let woken = match NonNull::new(core::ptr::with_exposed_provenance_mut(word.waiter())) {
        // SAFETY: RESULT is set, so the waiter is frozen, and its record lives until we set DONE.
        Some(waiter) => unsafe { park::notify_borrowed(waiter) },
        None => None,
    };
    word.set_done();
    if let Some(joiner) = woken {
        scheduler::schedule(joiner);
    }
    if let Some(scope) = task.scope.take() {
        scope.child_ended();
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
        JoinHandle {
            task,
            result: PhantomData,
        }
    }

    /// Waits for the coroutine to end and returns its result.
    ///
    /// From a coroutine this parks the coroutine; from a plain thread it blocks the thread. When it returns, the
    /// coroutine's stack is back in its pool.
    ///
    /// # Cancellation
    /// A blocking call: it unwinds if the calling coroutine is cancelled, or a [`timeout`](crate::timeout) around it
    /// elapses. The handle is gone then, as if dropped: the coroutine goes on by itself.
    ///
    /// # Errors
    /// If the coroutine panicked, its panic's payload; if it was [cancelled](JoinHandle::cancel), or its runtime shut
    /// down before it ended, [`Cancelled`](crate::Cancelled).
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
        // SAFETY: `new` promised the type; DONE was seen (acquire) and implies RESULT; the handle is consumed.
        unsafe { self.into_task().take_result() }
    }

    /// What it knows, with its rights: to take the result, or to detach the coroutine.
    pub(crate) fn into_task(self) -> TaskRef {
        let this = core::mem::ManuallyDrop::new(self);
        // SAFETY: `this` is never dropped, so its reference is taken over once.
        unsafe { core::ptr::read(&this.task) }
    }

    /// Waits without taking the result.
    #[inline]
    pub(crate) fn wait(&self) {
        let word = &self.task.join;
        let me = park::Waiting::new();
        match word.announce(me.address()) {
            Join::Wait => {}
            Join::Spin => return spin_for_done(word),
            Join::Done => return,
        }
        // Parking may unwind (shutdown): the word must not keep an address that nobody answers for.
        let retract = Retract(word);
        loop {
            park::park_until(None);
            match word.look() {
                Join::Wait => {}
                Join::Spin => break spin_for_done(word),
                Join::Done => break,
            }
        }
        core::mem::forget(retract);
    }

    /// What a select waits by: alone, since the handle is borrowed mutably.
    pub(crate) fn word(&mut self) -> &JoinWord {
        &self.task.join
    }

    /// Waits even while the caller is asked to unwind; for callers whose borrows the coroutine uses.
    pub(crate) fn join_masked(self) -> std::thread::Result<T> {
        let _mask = Mask::new();
        self.join()
    }

    /// Asks the coroutine to unwind: its current or next blocking call runs the destructors of everything on its stack
    /// and ends it, and [`join`](JoinHandle::join) returns an error whose payload downcasts to
    /// [`Cancelled`](crate::Cancelled). One that has not started yet only drops its closure. Returns at once; nothing happens to
    /// one that has ended.
    ///
    /// It cannot be taken back: code that catches the unwinding meets it again at its next blocking call. It waits while the coroutine
    /// is inside [`shield`](crate::shield), was built with [`cancellable(false)`](crate::Builder::cancellable), runs
    /// [`blocking`](crate::blocking) work, or unwinds already.
    ///
    /// A method of programs that unwind: with `panic = "abort"` it does not exist.
    ///
    /// # Examples
    /// ```
    /// let waiter = withy_runtime::spawn(withy_runtime::park);
    /// waiter.cancel();
    /// assert!(waiter.join().unwrap_err().is::<withy_runtime::Cancelled>());
    /// ```
    #[cfg(panic = "unwind")]
    pub fn cancel(&self) {
        self.ask_to_unwind();
    }

    pub(crate) fn ask_to_unwind(&self) {
        park::wake(&self.task, self.task.state.cancel());
    }

    /// Whether the coroutine has ended, so that [`join`](JoinHandle::join) would not wait.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.task.join.look() == Join::Done
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
        f.debug_struct("JoinHandle")
            .field("coroutine", &self.coroutine())
            .finish_non_exhaustive()
    }
}

struct Retract<'a>(&'a JoinWord);

impl Drop for Retract<'_> {
    fn drop(&mut self) {
        if !self.0.retract() {
            spin_for_done(self.0);
        }
    }
}

/// The result is stored, and the worker that ran the coroutine is about to set DONE, unless it is off its core. A joiner of a higher
/// priority has put it off: that is notified just before DONE, and must sleep to let the worker go on.
#[cold]
pub(crate) fn spin_for_done(word: &JoinWord) {
    const YIELDS: u32 = 64;
    let mut yields = 0;
    while word.look() != Join::Done {
        for _ in 0..64 {
            core::hint::spin_loop();
        }
        if word.look() == Join::Done {
            return;
        }
        if yields < YIELDS {
            std::thread::yield_now();
            yields += 1;
        } else {
            std::thread::sleep(Duration::from_micros(50));
        }
    }
}
