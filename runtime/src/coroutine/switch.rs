//! corosensei's coroutine, narrowed to the one shape that the scheduler uses.

use core::ptr::NonNull;

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
type Inner = corosensei::Coroutine<(), Suspend, (), Stack>;

/// A started coroutine's stack with where it stands on it.
pub(crate) struct Switch(Inner);

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
        let yielder = self.0.expect("a running coroutine has begun and knows its yielder");
        // SAFETY: it lives at the base of the stack that the caller runs on.
        unsafe { yielder.as_ref() }.suspend(why);
    }
}

impl Switch {
    /// Lays the first frame of `task` on `stack`.
    ///
    /// # Safety
    /// `task` is RUNNING for the first time and its record outlives the run: the worker holds a reference until
    /// `resume` has returned `Finished`.
    #[inline]
    pub(crate) unsafe fn new(stack: Stack, task: NonNull<Header>) -> Switch {
        let entry = move |yielder: &Yielder<(), Suspend>, ()| {
            // SAFETY: the record lives for the whole run; only the running coroutine writes its yielder, and this
            // is the one place that runs it, once, on its own stack.
            unsafe {
                task.as_ref().yielder.set(YielderRef(Some(NonNull::from(yielder))));
                TaskRef::run_to_end(task);
            }
        };
        // SAFETY: the closure borrows nothing but the record, see above. It never unwinds: `run_to_end` catches.
        Switch(unsafe { Inner::with_stack_unchecked(stack, entry) })
    }

    /// Runs the coroutine until it suspends or ends. The caller is `_worker`, on its own stack.
    #[inline]
    pub(crate) fn resume(&mut self, _worker: &Worker) -> Switched {
        match self.0.resume(()) {
            CoroutineResult::Yield(why) => Switched::Suspended(why),
            CoroutineResult::Return(()) => Switched::Finished,
        }
    }

    /// The stack of a coroutine that has finished.
    #[inline]
    pub(crate) fn into_stack(self) -> Stack {
        self.0.into_stack()
    }
}
