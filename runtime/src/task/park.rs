//! The one waiting primitive (law 1): park and unpark, for coroutines and plain threads alike.
//!
//! Inside the runtime everything waits through [`Unparker`] and [`park_until`]: wake-ups coalesce and may be
//! spurious, so whoever waits has a word of its own and rechecks it. The public [`park`] adds the permit that std's
//! has, kept apart from the internal wake-ups.

use core::cell::Cell;
use core::ptr::NonNull;
use std::time::{Duration, Instant};

use crate::atomic::{AtomicBool, AtomicU32, Ordering};
use crate::context;
use crate::coroutine::Unwound;
use crate::scheduler::{self, Worker};
use crate::task::header::{self, Header, ParkKind, Parkable, TaskRef, ThreadRecord, next_id};
use crate::task::state::Notify;
use crate::task::thread::ThreadParker;

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
    fn view(&self) -> View<'_> {
        // SAFETY: a counted reference: the record lives, and `kind` says which record begins with this prefix.
        unsafe {
            match self.0.as_ref().kind {
                ParkKind::Coroutine => View::Coroutine(self.0.cast::<Header>().as_ref()),
                ParkKind::Thread => View::Thread(self.0.cast::<ThreadRecord>().as_ref()),
            }
        }
    }
}

enum View<'a> {
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

    #[inline]
    pub(crate) fn address(&self) -> usize {
        match self {
            Waiting::Coroutine(record) => record.as_ptr().expose_provenance(),
            Waiting::Thread(unparker) => unparker.0.as_ptr().expose_provenance(),
        }
    }
}

/// Does what a wake-up's outcome asks for.
#[inline]
fn wake(header: &Header, outcome: Notify) {
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

/// Parks the calling coroutine, or blocks the calling thread, until it is unparked or `deadline` has passed.
/// May return for no reason.
///
/// A coroutine that shall unwind unwinds out of here (law 6): whoever has announced itself somewhere retracts in a
/// drop guard.
#[inline]
pub(crate) fn park_until(deadline: Option<Instant>) {
    match context::current_worker() {
        Some(worker) if worker.is_running() => park_coroutine(worker, deadline),
        _ => with_thread(|thread| thread.parker.park(deadline)),
    }
}

#[inline]
fn park_coroutine(worker: &Worker, deadline: Option<Instant>) {
    let task = worker.running_task();
    refuse_no_park(task, "park");
    if task.state.is_cancelled() {
        throw_if_due(true);
    }
    match deadline {
        None => worker.suspend_parked(),
        Some(at) => {
            // Dropped after the switch, when a coroutine that may move can be on another worker: the guard
            // remembers the wheel that it armed.
            let _armed = crate::time::arm(worker, at);
            worker.suspend_parked();
        }
    }
    // `worker` may be the wrong one from here on (full stealing).
    if task.state.is_cancelled() {
        throw_if_due(false);
    }
}

/// Lets others run first.
#[inline]
pub(crate) fn yield_coroutine(worker: &Worker) {
    let task = worker.running_task();
    refuse_no_park(task, "yield");
    worker.suspend_yielding();
    if task.state.is_cancelled() {
        throw_if_due(false);
    }
}

#[inline]
fn refuse_no_park(task: &Header, what: &str) {
    assert!(
        task.no_park.get() == 0,
        "a coroutine must not {what} inside withy::no_park or a hook of on_switch: code up the stack relies on it"
    );
}

/// Panics if the calling coroutine is inside `no_park`.
pub(crate) fn assert_may_park() {
    with_current(|task| refuse_no_park(task, "park"));
}

/// Unwinds the calling coroutine if it was cancelled and nothing withholds it. A coroutine that has met its
/// cancellation before, and swallowed it, passes through the scheduler first so that it cannot starve others.
#[cold]
fn throw_if_due(pass_first: bool) {
    let Some(task) = context::current_task() else {
        return;
    };
    // SAFETY: the running coroutine's record is alive while it runs.
    let task = unsafe { task.as_ref() };
    if task.masked.get() > 0 || cfg!(panic = "abort") {
        return;
    }
    if pass_first
        && task.unwinding.get()
        && !std::thread::panicking()
        && let Some(worker) = context::current_worker()
    {
        worker.suspend_yielding();
    }
    // After the pass, in which a neighbour may have begun to unwind. std counts panics per OS thread, so one that is
    // parked in the middle of unwinding withholds it too (law 6). The worker wakes us again when that is over.
    if std::thread::panicking() {
        if let Some(worker) = context::current_worker() {
            worker.note_withheld();
        }
        return;
    }
    task.unwinding.set(true);
    Unwound::throw();
}

/// Whether the calling coroutine unwinds from a cancellation just now, so that I/O that would have to wait must give
/// up instead (law 5).
pub(crate) fn is_cancelled_unwinding() -> bool {
    context::current_task().is_some_and(|task| {
        // SAFETY: the running coroutine's record is alive while it runs.
        unsafe { task.as_ref() }.unwinding.get() && std::thread::panicking()
    })
}

/// Withholds cancellation from the calling coroutine while it lives; nothing on a plain thread.
pub(crate) struct Mask(core::marker::PhantomData<*mut ()>);

impl Mask {
    pub(crate) fn new() -> Mask {
        with_current(|task| task.masked.set(task.masked.get() + 1));
        Mask(core::marker::PhantomData)
    }
}

impl Drop for Mask {
    fn drop(&mut self) {
        with_current(|task| task.masked.set(task.masked.get() - 1));
    }
}

fn with_current(f: impl FnOnce(&Header)) {
    if let Some(task) = context::current_task() {
        // SAFETY: the running coroutine's record is alive while it runs.
        f(unsafe { task.as_ref() });
    }
}

/// Runs `f` and panics if it would park or yield its coroutine.
///
/// For code that must not interleave with other coroutines of its worker: thread-local code that believes itself
/// nested (see the crate's guarantees). A forced yield (call budget, time slice) waits until the end of the region.
/// On a plain thread `f` just runs.
///
/// # Panics
/// If `f` reaches a call that would suspend the coroutine.
///
/// # Examples
/// ```
/// let n = withy_runtime::no_park(|| 1 + 1);
/// assert_eq!(n, 2);
/// ```
pub fn no_park<T>(f: impl FnOnce() -> T) -> T {
    let task = context::current_task();
    // SAFETY: the running coroutine's record is alive while it runs, and `f` ends before.
    let _forbidden = task.map(|task| NoPark::new(unsafe { task.as_ref() }));
    f()
}

/// While it lives, parking is forbidden to a coroutine, or (lifted) allowed again within such a region.
pub(crate) struct NoPark<'a> {
    task: &'a Header,
    before: u32,
}

impl<'a> NoPark<'a> {
    pub(crate) fn new(task: &'a Header) -> NoPark<'a> {
        let before = task.no_park.get();
        task.no_park.set(before + 1);
        NoPark { task, before }
    }

    pub(crate) fn lifted(task: &'a Header) -> NoPark<'a> {
        NoPark {
            task,
            before: task.no_park.replace(0),
        }
    }
}

impl Drop for NoPark<'_> {
    fn drop(&mut self) {
        self.task.no_park.set(self.before);
    }
}

// ---- plain threads ----

thread_local! {
    /// The thread's record, if it has waited on withy. Without a destructor, so that it can be read to the very end.
    static RECORD: Cell<*const ThreadRecord> = const { Cell::new(core::ptr::null()) };
    static RELEASE: ReleaseRecord = const { ReleaseRecord };
}

/// Gives up the thread's own reference to its record.
struct ReleaseRecord;

impl Drop for ReleaseRecord {
    fn drop(&mut self) {
        if let Some(record) = NonNull::new(RECORD.replace(core::ptr::null()).cast_mut()) {
            // SAFETY: the cell held one counted reference, and does no more.
            drop(Unparker(record.cast()));
        }
    }
}

/// Runs `f` on the calling thread's record: the same one from call to call, also in destructors of thread-locals, since
/// whoever announces one and waits on another is never woken.
pub(crate) fn with_thread<R>(f: impl FnOnce(&ThreadRecord) -> R) -> R {
    let record = NonNull::new(RECORD.get().cast_mut()).unwrap_or_else(enrol_thread);
    // SAFETY: the cell holds a counted reference, given up only by a destructor that cannot run inside `f`.
    f(unsafe { record.as_ref() })
}

#[cold]
fn enrol_thread() -> NonNull<ThreadRecord> {
    let record = NonNull::from(Box::leak(Box::new(ThreadRecord {
        parkable: Parkable {
            kind: ParkKind::Thread,
            refs: AtomicU32::new(1),
        },
        parker: ThreadParker::new(),
        permit: AtomicBool::new(false),
        id: next_id(),
        name: std::thread::current().name().map(Into::into),
    })));
    RECORD.set(record.as_ptr());
    // A thread whose destructors are past this one's leaks the record that it makes then: one a thread at most.
    let _ = RELEASE.try_with(|_| {});
    record
}

/// Runs `f` on the calling thread's parker.
pub(crate) fn with_thread_parker<R>(f: impl FnOnce(&ThreadParker) -> R) -> R {
    with_thread(|thread| f(&thread.parker))
}

// ---- the public face ----

/// A handle to a coroutine (or to a plain thread that waits on withy): its id, its name, and the means to unpark it.
///
/// The counterpart of [`std::thread::Thread`]. Cheap to clone; keeps the record alive, not the coroutine.
#[derive(Clone)]
pub struct Coroutine(Unparker);

/// The number of a coroutine, unique in the process; the counterpart of [`std::thread::ThreadId`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct CoroutineId(u64);

impl Coroutine {
    pub(crate) fn of_task(task: TaskRef) -> Coroutine {
        Coroutine(Unparker(task.into_raw().cast()))
    }

    /// Its number, unique in the process.
    #[must_use]
    pub fn id(&self) -> CoroutineId {
        match self.0.view() {
            View::Coroutine(header) => CoroutineId(header.id()),
            View::Thread(thread) => CoroutineId(thread.id),
        }
    }

    /// The name that [`Builder::name`](crate::Builder::name) gave it, or the plain thread's name.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self.0.view() {
            View::Coroutine(header) => header.spec.name.as_deref(),
            View::Thread(thread) => thread.name.as_deref(),
        }
    }

    /// Makes its current or next [`park`] return.
    ///
    /// The permit does not add up, and is kept while the coroutine has not started or waits for something else, as
    /// std's is.
    pub fn unpark(&self) {
        match self.0.view() {
            View::Coroutine(header) => wake(header, header.state.unpark()),
            View::Thread(thread) => {
                // Release: what was done before `unpark` is seen after `park`.
                thread.permit.store(true, Ordering::Release);
                thread.parker.unpark();
            }
        }
    }
}

impl core::fmt::Debug for Coroutine {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Coroutine")
            .field("id", &self.id())
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}

/// The handle of the calling coroutine, or of the calling thread.
#[must_use]
pub fn current() -> Coroutine {
    Coroutine(Unparker::current())
}

/// Blocks until the caller's permit is given by [`Coroutine::unpark`], and takes it. As [`std::thread::park`], but it
/// does not return without a permit.
///
/// From a coroutine this parks the coroutine, and may unwind if its runtime shuts down.
///
/// # Panics
/// Inside [`no_park`].
///
/// # Examples
/// ```
/// let waiter = withy_runtime::spawn(withy_runtime::park);
/// waiter.coroutine().unpark();
/// waiter.join().unwrap();
/// ```
pub fn park() {
    park_for_permit(None);
}

/// [`park`] for `timeout` at most.
///
/// # Panics
/// Inside [`no_park`].
pub fn park_timeout(timeout: Duration) {
    // An end beyond the clock's range is no end.
    match Instant::now().checked_add(timeout) {
        Some(at) => park_for_permit(Some(at)),
        None => park_for_permit(None),
    }
}

/// [`park_timeout`] in milliseconds, for what is ported from [`std::thread::park_timeout_ms`].
#[deprecated(note = "use park_timeout")]
pub fn park_timeout_ms(ms: u32) {
    park_timeout(Duration::from_millis(ms.into()));
}

fn park_for_permit(deadline: Option<Instant>) {
    while !take_permit() {
        if deadline.is_some_and(|at| Instant::now() >= at) {
            return;
        }
        park_until(deadline);
    }
}

fn take_permit() -> bool {
    match context::current_task() {
        // SAFETY: the running coroutine's record is alive while it runs.
        Some(task) => unsafe { task.as_ref() }.state.take_permit(),
        None => with_thread(|thread| thread.permit.swap(false, Ordering::Acquire)),
    }
}

/// Lets other coroutines of the worker run; on a plain thread, [`std::thread::yield_now`].
///
/// # Panics
/// Inside [`no_park`].
///
/// # Examples
/// ```
/// withy_runtime::run(|| withy_runtime::yield_now());
/// ```
#[inline]
pub fn yield_now() {
    match context::current_worker() {
        Some(worker) if worker.is_running() => yield_coroutine(worker),
        _ => std::thread::yield_now(),
    }
}
