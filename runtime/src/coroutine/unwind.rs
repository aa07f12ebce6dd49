//! Unwinding that is not a panic: how a parked coroutine is taken apart.

use std::any::Any;

/// The payload of a coroutine that was unwound because its runtime shut down.
///
/// It is thrown by `resume_unwind`, so the panic hook stays silent.
#[derive(Debug)]
pub(crate) struct Unwound;

impl Unwound {
    /// Unwinds the calling coroutine to its root.
    pub(crate) fn throw() -> ! {
        std::panic::resume_unwind(Unwound::payload())
    }

    /// What `join` returns of such a coroutine.
    pub(crate) fn payload() -> Box<dyn Any + Send> {
        Box::new(Unwound)
    }
}
