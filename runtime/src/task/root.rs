//! What a coroutine keeps at the root of its own stack while it lives: so its record, of which a parked million has a
//! million, does not grow.

use core::cell::Cell;

use crate::context;
use crate::task::interrupt::Interrupts;
use crate::task::local::Locals;
use crate::time::Timer;

/// Touched by its coroutine alone.
pub(crate) struct Root {
    pub(crate) interrupts: Interrupts,
    pub(crate) timer: Timer,
    pub(crate) locals: Locals,
    /// Depth of `block_on` calls.
    pub(crate) block_ons: Cell<u32>,
}

impl Root {
    pub(crate) fn new(cancellable: bool) -> Root {
        let interrupts = Interrupts::new(cancellable);
        interrupts.settle();
        Root {
            interrupts,
            timer: Timer::new(),
            locals: Locals::new(),
            block_ons: Cell::new(0),
        }
    }

    /// The closure has ended, or the result was dropped: destroys the locals, and leaves nothing in a wheel.
    #[inline]
    pub(crate) fn end(&self) {
        if self.locals.exist() || self.timer.exists() {
            self.clear();
        }
    }

    #[inline(never)]
    fn clear(&self) {
        // What it unwound from, if it did, has been caught.
        self.interrupts.settle();
        self.locals.destroy();
        // Last: their destructors may have waited, too.
        if let Some(worker) = context::current_worker() {
            self.timer.remove(worker);
        }
    }
}
