//! What ends a wait from outside: cancellation, and frames (timeouts, tokens) that have become due.
//!
//! A *frame* is a region of a coroutine's (or plain thread's) stack that may be unwound by itself: it has a deadline, or
//! a flag that others *raise*. Frames are chained, innermost first. When a wait begins, and when it ends, the waiter
//! looks whether something is due, and if so unwinds: to its root if it is cancelled, otherwise to the **outermost**
//! frame that is due, so that an inner one never hides an outer one. A frame stays due: code that swallows the
//! unwinding meets it again at its next wait.
//!
//! Everything here is the waiter's own, touched by nobody else. What others do is to set a bit of its state word, or a
//! frame's flag, and wake it (`task/state.rs`).
//!
//! # When nothing is thrown
//! * While the caller has *masked* interruptions: then the chain begins anew, so that frames inside the mask work.
//! * While the thread unwinds. std counts panics per thread, so a neighbour that is parked in the middle of unwinding
//!   counts too, unless the caller knows better: a coroutine that was switched away while nobody on its thread unwound
//!   is not unwinding when it comes back. What is withheld is looked at again when the thread unwinds no more.

use core::cell::Cell;
use core::marker::PhantomData;
use core::ptr::NonNull;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::atomic::{AtomicBool, Ordering};
use crate::context;
use crate::coroutine::unwind::{self, FrameId, Target};
use crate::task::header::Header;
use crate::task::plain;
use crate::time::{self, Moment};

/// The interruptions of one coroutine or plain thread.
pub(crate) struct Interrupts {
    /// The innermost frame that may be unwound.
    innermost: Cell<Option<NonNull<Frame>>>,
    /// The earliest deadline of those frames.
    limit: Cell<Moment>,
    /// Depth of regions in which interruptions are withheld.
    masked: Cell<u32>,
    /// Something was thrown and not caught by its frame yet.
    unwinding: Cell<bool>,
    /// What would have run is dropped unrun.
    abandoning: Cell<bool>,
    /// Something was due and could not be thrown.
    withheld: Cell<bool>,
    /// Somebody else on the thread unwinds: one did when this coroutine last came back to it, and was not itself.
    foreign: Cell<bool>,
    /// Frames so far.
    frames: Cell<u64>,
}

/// A region that may be unwound by itself. It lies on the stack of whoever runs in it.
struct Frame {
    number: u64,
    outer: Option<NonNull<Frame>>,
    deadline: Moment,
    raised: Option<NonNull<AtomicBool>>,
}

impl Frame {
    fn is_due(&self, now: Moment) -> bool {
        // SAFETY: `within` borrows the flag for as long as the frame is in the chain.
        self.deadline <= now
            || self
                .raised
                .is_some_and(|flag| unsafe { flag.as_ref() }.load(Ordering::Acquire))
    }
}

/// A frame was unwound because it was due.
pub(crate) struct Due;

impl Interrupts {
    pub(crate) fn new(cancellable: bool) -> Interrupts {
        Interrupts {
            innermost: Cell::new(None),
            limit: Cell::new(Moment::NEVER),
            masked: Cell::new(u32::from(!cancellable)),
            unwinding: Cell::new(false),
            abandoning: Cell::new(false),
            withheld: Cell::new(false),
            foreign: Cell::new(false),
            frames: Cell::new(0),
        }
    }

    /// When a wait has to end at the latest, for a frame's sake.
    #[inline]
    pub(crate) fn limit(&self) -> Moment {
        if self.withheld.get() {
            // It is over, and nothing can be done about it yet.
            return Moment::NEVER;
        }
        self.limit.get()
    }

    /// Whether there was something to throw that could not be thrown.
    #[inline]
    pub(crate) fn is_withheld(&self) -> bool {
        self.withheld.get()
    }

    /// Whether something was thrown that its frame has not caught yet.
    #[inline]
    pub(crate) fn is_unwinding(&self) -> bool {
        self.unwinding.get()
    }

    /// The coroutine was switched away, and is back. `quiet`: nobody on its thread was unwinding when it left.
    #[inline]
    pub(crate) fn come_back(&self, quiet: bool) {
        let foreign = std::thread::panicking() && (quiet || self.foreign.get());
        self.foreign.set(foreign);
    }

    /// The coroutine begins, or has ended: whoever unwinds on its thread, it is a neighbour.
    pub(crate) fn settle(&self) {
        self.come_back(true);
    }

    /// The outermost frame that is due.
    fn due(&self) -> Option<u64> {
        let now = match self.limit.get() {
            // No frame has a deadline: no clock is needed.
            Moment::NEVER => Moment::from_ns(0),
            _ => time::moment(),
        };
        let mut due = None;
        let mut at = self.innermost.get();
        while let Some(frame) = at {
            // SAFETY: a frame leaves the chain before it dies (`within`).
            let frame = unsafe { frame.as_ref() };
            if frame.is_due(now) {
                due = Some(frame.number);
            }
            at = frame.outer;
        }
        due
    }
}

/// When the caller looks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// Before it parks.
    Before,
    /// After it was switched away. `quiet`: nobody on the thread was unwinding when it was.
    After { quiet: bool },
}

/// Unwinds the calling coroutine, `task`, if something is due and can be thrown.
#[cold]
#[inline(never)]
pub(crate) fn throw_if_due(task: &Header, look: Look) {
    let interrupts = &task.root().interrupts;
    interrupts.withheld.set(false);
    if cfg!(panic = "abort") {
        return;
    }
    let Some(target) = due(task, interrupts) else {
        return;
    };
    let panicking = std::thread::panicking();
    if look == Look::Before
        && interrupts.unwinding.get()
        && !panicking
        && let Some(worker) = context::current_worker()
    {
        // It has met its interruption before, and swallowed it: others run first, so that it cannot starve them.
        return crate::task::park::yield_coroutine(worker);
    }
    if panicking && look != (Look::After { quiet: true }) {
        interrupts.withheld.set(true);
        task.state.withhold();
        if let Some(worker) = context::current_worker() {
            worker.note_withheld();
        }
        return;
    }
    interrupts.unwinding.set(true);
    unwind::throw(target);
}

/// Unwinds the caller if something is due, although there is nothing to wait for.
pub(crate) fn look() {
    match context::current_task() {
        // SAFETY: the running coroutine's record is alive while it runs.
        Some(task) => throw_if_due(unsafe { task.as_ref() }, Look::Before),
        None => plain::with_thread(|thread| throw_on_thread(thread.id, &thread.interrupts)),
    }
}

fn due(task: &Header, interrupts: &Interrupts) -> Option<Target> {
    if interrupts.masked.get() == 0 && task.state.is_cancelled() {
        return Some(Target::Root);
    }
    task.state.lower();
    let number = interrupts.due()?;
    task.state.stay_raised();
    Some(Target::Frame(FrameId {
        owner: task.id(),
        number,
    }))
}

/// Unwinds the calling plain thread, if a frame of it is due.
pub(crate) fn throw_on_thread(owner: u64, interrupts: &Interrupts) {
    if interrupts.innermost.get().is_none() || cfg!(panic = "abort") {
        return;
    }
    // A thread's panic count is its own: it says whether the caller unwinds.
    let panicking = std::thread::panicking();
    let due = interrupts.due();
    interrupts.withheld.set(panicking && due.is_some());
    if let Some(number) = due
        && !panicking
    {
        interrupts.unwinding.set(true);
        unwind::throw(Target::Frame(FrameId { owner, number }));
    }
}

/// Whether the calling coroutine or thread unwinds from an interruption just now, so that I/O that would have to wait
/// must give up instead (law 5).
pub(crate) fn is_unwinding() -> bool {
    with_current(|_, interrupts| {
        interrupts.abandoning.get() || interrupts.is_unwinding() && std::thread::panicking()
    })
}

/// Whether the caller unwinds from a panic: not from an interruption, and not only a neighbour that waits in the middle
/// of its own unwinding, which [`std::thread::panicking`] counts too.
///
/// std tells whether a thread unwinds, not how often. So the answer can be wrong in these cases, all of them rare:
/// * While such a neighbour waits, a panic of the caller's own is not known from it, and taken for its; if the caller itself waits
///   in the middle of that, also later.
/// * If the caller waits in the middle of its own panic's unwinding, and a neighbour begins to unwind and waits, too, the caller is
///   taken to be panicking still after it has caught its panic, until the neighbour's is over.
/// * Code that has swallowed an interruption, and then panics within the same frame: the panic is taken for the interruption's unwinding.
#[inline]
pub(crate) fn is_panicking() -> bool {
    std::thread::panicking() && panics_itself()
}

#[cold]
fn panics_itself() -> bool {
    with_current(|_, interrupts| {
        // While something is abandoned nothing unwinds but a panic.
        !interrupts.is_unwinding() && !interrupts.foreign.get()
    })
}

/// Drops, by `f`, what a coroutine that was cancelled would have run: destructors in it may do what they may while a
/// coroutine unwinds, though this is no unwinding.
pub(crate) fn abandon(f: impl FnOnce()) {
    struct Restore<'a>(&'a Cell<bool>, bool);
    impl Drop for Restore<'_> {
        fn drop(&mut self) {
            self.0.set(self.1);
        }
    }
    let _mask = Mask::new();
    let interrupts = current();
    // SAFETY: the caller's own, and it is here until this returns.
    let abandoning = &unsafe { interrupts.as_ref() }.abandoning;
    let _restore = Restore(abandoning, abandoning.replace(true));
    f();
}

/// Whether the caller is in a region that can be unwound by itself.
pub(crate) fn is_framed() -> bool {
    with_current(|_, interrupts| interrupts.innermost.get().is_some())
}

/// The deadline that the caller's frames set to its waits.
pub(crate) fn current_limit() -> Moment {
    with_current(|_, interrupts| interrupts.limit.get())
}

/// Runs `f` in a frame that is due from `deadline` on, and when `raised` is set.
///
/// # Errors
/// If the frame was unwound because it was due. A value of `f` that comes after that moment is returned all the same.
pub(crate) fn within<T>(
    deadline: Moment,
    raised: Option<&AtomicBool>,
    f: impl FnOnce() -> T,
) -> Result<T, Due> {
    let interrupts = current();
    // SAFETY: the caller's own, and it is here until this returns.
    let interrupts = unsafe { interrupts.as_ref() };
    let number = interrupts.frames.get() + 1;
    interrupts.frames.set(number);
    let frame = Frame {
        number,
        outer: interrupts.innermost.get(),
        deadline,
        raised: raised.map(NonNull::from),
    };
    let limit = interrupts.limit.get();
    let unwinding = interrupts.unwinding.get();
    interrupts.innermost.set(Some(NonNull::from(&frame)));
    interrupts.limit.set(limit.min(deadline));
    let result = catch_unwind(AssertUnwindSafe(f));
    interrupts.innermost.set(frame.outer);
    interrupts.limit.set(limit);
    match result {
        Ok(value) => {
            interrupts.unwinding.set(unwinding);
            Ok(value)
        }
        Err(payload) if is_ours(&*payload, number) => {
            interrupts.unwinding.set(unwinding);
            // After the frame has left the chain: its destructor may wait.
            drop(payload);
            Err(Due)
        }
        Err(payload) => {
            if !unwind::is_interruption(&*payload) {
                // A panic: what was thrown in here before was swallowed, and its frame may be this one.
                interrupts.unwinding.set(unwinding);
            }
            resume_unwind(payload)
        }
    }
}

#[cold]
fn is_ours(payload: &(dyn Any + Send), number: u64) -> bool {
    let owner = with_current(|id, _| id());
    unwind::is_for(payload, FrameId { owner, number })
}

/// Withholds interruptions from the caller while it lives: cancellation, and the frames around it. Frames inside work.
pub(crate) struct Mask {
    interrupts: NonNull<Interrupts>,
    innermost: Option<NonNull<Frame>>,
    limit: Moment,
    /// It belongs to the coroutine or thread that made it.
    own: PhantomData<*mut ()>,
}

impl Mask {
    pub(crate) fn new() -> Mask {
        with_current(|_, interrupts| {
            interrupts.masked.set(interrupts.masked.get() + 1);
            Mask {
                interrupts: NonNull::from(interrupts),
                innermost: interrupts.innermost.take(),
                limit: interrupts.limit.replace(Moment::NEVER),
                own: PhantomData,
            }
        })
    }
}

impl Drop for Mask {
    fn drop(&mut self) {
        // SAFETY: a coroutine's lie on its stack, a thread's in its record: both outlive what lies in its frames.
        let interrupts = unsafe { self.interrupts.as_ref() };
        interrupts.masked.set(interrupts.masked.get() - 1);
        interrupts.innermost.set(self.innermost);
        interrupts.limit.set(self.limit);
        if self.innermost.is_some()
            && let Some(task) = context::current_task()
        {
            // A frame around us may have been raised: whoever looked inside lowered the flag and did not see the frame.
            // SAFETY: the running coroutine's record is alive while it runs.
            unsafe { task.as_ref() }.state.stay_raised();
        }
    }
}

/// The caller's interruptions. A coroutine's lie on its stack, a thread's in its record: both outlive what it calls.
fn current() -> NonNull<Interrupts> {
    with_current(|_, interrupts| NonNull::from(interrupts))
}

/// Runs `f` with the caller's number (found out on demand) and interruptions.
fn with_current<R>(f: impl FnOnce(&dyn Fn() -> u64, &Interrupts) -> R) -> R {
    match context::current_task() {
        Some(task) => {
            // SAFETY: the running coroutine's record is alive while it runs.
            let task = unsafe { task.as_ref() };
            f(&|| task.id(), &task.root().interrupts)
        }
        None => plain::with_thread(|thread| f(&|| thread.id, &thread.interrupts)),
    }
}
