//! corosensei's coroutine, narrowed to the one shape that the scheduler uses.

use core::mem::ManuallyDrop;
use core::ptr::NonNull;

use corosensei::stack::{Stack as _, StackPointer};
use corosensei::{CoroutineResult, Yielder};

use crate::scheduler::Worker;
use crate::stack::Stack;
use crate::task::header::{Header, TaskRef};

/// What a coroutine asks of the worker that it switches back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Suspend {
    /// Queue me again, behind the others.
    Yield,
    /// Publish me as parked (law 2).
    Park,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Switched {
    Suspended(Suspend),
    Finished,
}

/// The input is nothing: a resumed coroutine finds its worker through the context, never from before the switch.
type Inner = corosensei::Coroutine<(), Suspend, (), Lent>;

/// A started coroutine's stack with where it stands on it.
///
/// Dropping it frees nothing and unwinds nothing: a coroutine that is not brought to its end is leaked with all that
/// its frames hold (law 4).
pub(crate) struct Switch {
    inner: ManuallyDrop<Inner>,
    stack: ManuallyDrop<Stack>,
}

/// The bounds of a stack that a `Switch` owns, as corosensei wants them. A copy, so that the end of a coroutine reads its stack without
/// the words that the last switch has just written: reading those together stalls (measured: 15 ns a spawn).
#[derive(Clone, Copy)]
struct Lent {
    base: StackPointer,
    limit: StackPointer,
}

// SAFETY: the bounds of a `Stack`, which promises the same: guarded, and at least 64 KiB of usable memory.
unsafe impl corosensei::stack::Stack for Lent {
    #[inline]
    fn base(&self) -> StackPointer {
        self.base
    }

    #[inline]
    fn limit(&self) -> StackPointer {
        self.limit
    }
}

/// Where a coroutine suspends: lives on its stack, valid from first run to its end.
#[derive(Clone, Copy)]
pub(crate) struct YielderRef(Option<NonNull<Yielder<(), Suspend>>>);

impl YielderRef {
    pub(crate) fn none() -> YielderRef {
        YielderRef(None)
    }

    /// Switches to the worker that resumed the calling coroutine.
    ///
    /// # Safety
    /// Called by the coroutine that owns this yielder, on its own stack.
    #[inline]
    pub(crate) unsafe fn suspend(self, why: Suspend) {
        let yielder = self
            .0
            .expect("a running coroutine has begun and knows its yielder");
        // SAFETY: it lives at the base of the stack that the caller runs on.
        unsafe { yielder.as_ref() }.suspend(why);
    }
}

impl Switch {
    /// Lays the first frame of `task` on `stack`.
    ///
    /// # Safety
    /// `task` runs for the first time and its record outlives the run: the worker holds a reference until
    /// `resume` has returned `Finished`.
    #[inline]
    pub(crate) unsafe fn new(stack: Stack, task: NonNull<Header>) -> Switch {
        let entry = move |yielder: &Yielder<(), Suspend>, ()| {
            // SAFETY: the record lives for the whole run; only the running coroutine writes its yielder, and this
            // is the one place that runs it, once, on its own stack.
            unsafe {
                task.as_ref()
                    .yielder
                    .set(YielderRef(Some(NonNull::from(yielder))));
                TaskRef::run_to_end(task);
            }
        };
        let lent = Lent {
            base: stack.base(),
            limit: stack.limit(),
        };
        // SAFETY: the closure borrows nothing but the record, see above. It never unwinds: `run_to_end` catches.
        let inner = unsafe { Inner::with_stack_unchecked(lent, entry) };
        Switch {
            inner: ManuallyDrop::new(inner),
            stack: ManuallyDrop::new(stack),
        }
    }

    /// Runs the coroutine until it suspends or ends. The caller is `_worker`, on its own stack.
    #[inline]
    pub(crate) fn resume(&mut self, _worker: &Worker) -> Switched {
        match self.inner.resume(()) {
            CoroutineResult::Yield(why) => Switched::Suspended(why),
            CoroutineResult::Return(()) => Switched::Finished,
        }
    }

    /// Takes the stack of a coroutine that has finished.
    ///
    /// # Safety
    /// `resume` has returned `Finished`, and this is the last use of the switch.
    #[inline]
    pub(crate) unsafe fn take_stack(&mut self) -> Stack {
        // SAFETY: taken once, by the promise. What is left of corosensei's coroutine owns nothing: it has returned.
        unsafe { ManuallyDrop::take(&mut self.stack) }
    }

    /// The addresses whose touch means that the stack has overflowed.
    pub(crate) fn guard(&self) -> core::ops::Range<usize> {
        self.stack.guard()
    }
}
