//! The one waiting primitive (law 1): park and unpark, for coroutines and plain threads alike.
//!
//! Inside the runtime everything waits through [`Unparker`] and [`park`]: wake-ups coalesce and may be spurious, so
//! whoever waits has a word of its own and rechecks it. The public `park` (`handle.rs`) adds the permit that std's has,
//! kept apart from the internal wake-ups.

use core::ptr::NonNull;
use std::time::Instant;

use crate::context;
use crate::scheduler::{self, Worker};
use crate::task::header::{self, Header, ParkKind, Parkable, TaskRef, ThreadRecord};
use crate::task::interrupt::{self, Look};
use crate::task::no_park::refuse_no_park;
use crate::task::plain::{self, with_thread};
use crate::task::state::Notify;
use crate::time::{self, Moment};

/// Wakes one waiting coroutine or plain thread: a counted reference of one word.
///
/// The address is a multiple of 16 and below 2^48, so that a slot or join word has room for flags beside it.
pub(crate) struct Unparker(NonNull<Parkable>);

// SAFETY: what is reached through it (state word, thread parker) is made for sharing; see `task/README.md`.
unsafe impl Send for Unparker {}
// SAFETY: as above.
unsafe impl Sync for Unparker {}

impl Unparker {
    /// Of the calling coroutine, or else of the calling thread.
    #[inline]
    pub(crate) fn current() -> Unparker {
        match context::current_task() {
            // SAFETY: the running coroutine's record is alive; `retain` counts the new reference.
            Some(task) => unsafe {
                header::retain(task.cast::<Parkable>().as_ref());
                Unparker(task.cast())
            },
            None => with_thread(|thread| {
                header::retain(&thread.parkable);
                Unparker(NonNull::from(thread).cast())
            }),
        }
    }

    /// Wakes it. Coalesces; the woken side rechecks its own word.
    #[inline]
    pub(crate) fn unpark(&self) {
        match self.view() {
            View::Coroutine(header) => wake(header, header.state.notify()),
            View::Thread(thread) => thread.parker.unpark(),
        }
    }

    /// Takes over a reference to a coroutine.
    pub(crate) fn of_task(task: TaskRef) -> Unparker {
        Unparker(task.into_raw().cast())
    }

    /// Takes over a reference to a plain thread's record.
    pub(crate) fn of_thread(record: NonNull<ThreadRecord>) -> Unparker {
        Unparker(record.cast())
    }

    /// Asks it to unwind, at its current or next wait. A plain thread cannot be asked.
    pub(crate) fn cancel(&self) {
        if let View::Coroutine(header) = self.view() {
            wake(header, header.state.cancel());
        }
    }

    /// A flag of one of its frames was set: it must look.
    pub(crate) fn raise(&self) {
        match self.view() {
            View::Coroutine(header) => wake(header, header.state.raise()),
            View::Thread(thread) => thread.parker.unpark(),
        }
    }

    /// The reference as a bare address.
    #[inline]
    pub(crate) fn into_raw(self) -> NonNull<()> {
        let raw = self.0.cast();
        core::mem::forget(self);
        raw
    }

    /// # Safety
    /// `raw` came from `into_raw` and is taken back once.
    #[inline]
    pub(crate) unsafe fn from_raw(raw: NonNull<()>) -> Unparker {
        Unparker(raw.cast())
    }

    #[inline]
    pub(crate) fn view(&self) -> View<'_> {
        // SAFETY: a counted reference: the record lives, and `kind` says which record begins with this prefix.
        unsafe {
            match self.0.as_ref().kind {
                ParkKind::Coroutine => View::Coroutine(self.0.cast::<Header>().as_ref()),
                ParkKind::Thread => View::Thread(self.0.cast::<ThreadRecord>().as_ref()),
            }
        }
    }
}

/// Which of the two it is.
pub(crate) enum View<'a> {
    Coroutine(&'a Header),
    Thread(&'a ThreadRecord),
}

/// Notifies the waiter of a join word; returns its queue link if the caller has to queue it.
///
/// # Safety
/// `waiter` is the address of a `Waiting` that lives until this call has returned.
#[inline]
pub(crate) unsafe fn notify_borrowed(waiter: NonNull<()>) -> Option<TaskRef> {
    let borrowed = core::mem::ManuallyDrop::new(Unparker(waiter.cast()));
    match borrowed.view() {
        View::Coroutine(header) => match header.state.notify() {
            // SAFETY: `Schedule` hands over the queue link, and with it the reference that the parked state held.
            Notify::Schedule => Some(unsafe { TaskRef::from_raw(NonNull::from(header)) }),
            Notify::Nothing => None,
        },
        View::Thread(thread) => {
            thread.parker.unpark();
            None
        }
    }
}

/// The caller while it waits, as an address: a running coroutine's record needs no counting, it cannot end meanwhile.
pub(crate) enum Waiting {
    Coroutine(NonNull<Parkable>),
    Thread(Unparker),
}

impl Waiting {
    #[inline]
    pub(crate) fn new() -> Waiting {
        match context::current_task() {
            Some(task) => Waiting::Coroutine(task.cast()),
            None => Waiting::Thread(Unparker::current()),
        }
    }

    /// Notifies it, without a reference. What is returned has to be let go.
    ///
    /// # Safety
    /// The one who waits does so, or does not end, until this has returned.
    #[inline]
    pub(crate) unsafe fn notify(self) -> Option<Wake> {
        match self {
            Waiting::Coroutine(record) => {
                // SAFETY: the caller's promise.
                unsafe { notify_borrowed(record.cast()) }.map(Wake::coroutine)
            }
            Waiting::Thread(unparker) => Some(Wake::thread(unparker)),
        }
    }

    #[inline]
    pub(crate) fn address(&self) -> usize {
        match self {
            Waiting::Coroutine(record) => record.as_ptr().expose_provenance(),
            Waiting::Thread(unparker) => unparker.0.as_ptr().expose_provenance(),
        }
    }
}

/// What is left to do for one that was notified, when its waker holds no lock any more: a coroutine's queue link, or a
/// reference to a plain thread. One word.
#[must_use]
pub(crate) struct Wake(NonNull<Parkable>);

impl Wake {
    #[inline]
    fn coroutine(task: TaskRef) -> Wake {
        Wake(task.into_raw().cast())
    }

    fn thread(unparker: Unparker) -> Wake {
        Wake(unparker.into_raw().cast())
    }

    #[inline]
    pub(crate) fn let_go(self) {
        // SAFETY: what was taken over in `coroutine` or `thread` is given on; `kind` says which it was.
        unsafe {
            match self.0.as_ref().kind {
                ParkKind::Coroutine => scheduler::schedule(TaskRef::from_raw(self.0.cast())),
                ParkKind::Thread => Unparker(self.0).unpark(),
            }
        }
    }
}

/// Does what a wake-up's outcome asks for.
#[inline]
pub(crate) fn wake(header: &Header, outcome: Notify) {
    if outcome == Notify::Schedule {
        // SAFETY: `Schedule` hands over the queue link, and with it the reference that the parked state held.
        scheduler::schedule(unsafe { TaskRef::from_raw(NonNull::from(header)) });
    }
}

impl Clone for Unparker {
    fn clone(&self) -> Unparker {
        // SAFETY: a counted reference, so the record lives.
        header::retain(unsafe { self.0.as_ref() });
        Unparker(self.0)
    }
}

impl Drop for Unparker {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: one counted reference, given up here.
        unsafe { header::release(self.0) }
    }
}

/// [`park`], with a deadline as std has it.
#[inline]
pub(crate) fn park_until(deadline: Option<Instant>) -> bool {
    park(Moment::from(deadline))
}

/// Parks the calling coroutine, or blocks the calling thread, until it is unparked or `deadline` has passed. May return
/// for no reason. True: the deadline has passed.
///
/// A caller that is interrupted unwinds out of here (law 6): whoever has announced itself somewhere retracts in a drop
/// guard.
#[inline]
pub(crate) fn park(deadline: Moment) -> bool {
    match context::current_worker() {
        Some(worker) if worker.is_running() => park_coroutine(worker, deadline),
        _ => {
            plain::park(deadline);
            deadline != Moment::NEVER && time::moment() >= deadline
        }
    }
}

#[inline]
fn park_coroutine(worker: &Worker, deadline: Moment) -> bool {
    let task = worker.running_task();
    refuse_no_park(task, "park");
    let root = task.root();
    let before = task.state.pending();
    if before.any() || root.interrupts.is_withheld() {
        interrupt::throw_if_due(task, Look::Before);
        // It may have let others run: find out anew where we are.
        return park_looked(deadline, before.fired());
    }
    park_in(worker, task, deadline, false)
}

#[cold]
fn park_looked(deadline: Moment, fired: bool) -> bool {
    let worker = context::current_worker().expect("a coroutine runs on a worker");
    park_in(worker, worker.running_task(), deadline, fired)
}

/// Parks `task`, which runs on `worker` and has looked. `fired`: its timer may have expired.
#[inline]
fn park_in(worker: &Worker, task: &Header, deadline: Moment, fired: bool) -> bool {
    let root = task.root();
    let until = deadline.min(root.interrupts.limit());
    root.timer.set(worker, task, until, fired);
    let quiet = !std::thread::panicking();
    worker.suspend_parked();
    // `worker` may be the wrong one from here on (full stealing).
    let after = task.state.pending();
    if !after.any() {
        return false;
    }
    if after.cancelled_or_raised() || root.interrupts.limit() != Moment::NEVER {
        interrupt::throw_if_due(task, Look::After { quiet });
    }
    // A timer that fired for an earlier wait is no proof.
    after.fired() && deadline != Moment::NEVER && time::moment() >= deadline
}

/// Lets others run first.
#[inline]
pub(crate) fn yield_coroutine(worker: &Worker) {
    let task = worker.running_task();
    refuse_no_park(task, "yield");
    let quiet = !std::thread::panicking();
    worker.suspend_yielding();
    look_after_yield(task, quiet);
}

/// A coroutine that never waits has no timer that tells it of a deadline: it looks at the clock.
#[inline]
pub(crate) fn look_after_yield(task: &Header, quiet: bool) {
    if task.state.pending().any() || task.root().interrupts.limit() != Moment::NEVER {
        interrupt::throw_if_due(task, Look::After { quiet });
    }
}
