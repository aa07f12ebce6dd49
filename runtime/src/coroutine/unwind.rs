//! Unwinding that is not a panic: how a coroutine that waits is taken apart, whole or up to a frame.
//!
//! It is thrown by `resume_unwind`, so the panic hook stays silent. A payload that is meant for a frame names the frame
//! and its owner: one that a program keeps and throws elsewhere is nobody's.

use core::fmt;
use std::any::Any;
use std::panic::resume_unwind;

/// What [`JoinHandle::join`](crate::JoinHandle::join) returns of a coroutine that was cancelled: its payload downcasts to
/// this.
///
/// # Examples
/// ```
/// let sleeper = withy_runtime::spawn(|| withy_runtime::sleep(std::time::Duration::from_secs(3600)));
/// sleeper.cancel();
/// assert!(sleeper.join().unwrap_err().is::<withy_runtime::Cancelled>());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Cancelled;

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cancelled")
    }
}

impl std::error::Error for Cancelled {}

/// How far an interruption unwinds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Target {
    /// The whole coroutine.
    Root,
    Frame(FrameId),
}

/// A frame of a coroutine or of a plain thread, unique in the process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FrameId {
    /// The number of the coroutine or thread.
    pub(crate) owner: u64,
    pub(crate) number: u64,
}

/// The payload on the way to a frame.
struct ToFrame(FrameId);

/// Unwinds the caller.
pub(crate) fn throw(target: Target) -> ! {
    resume_unwind(match target {
        Target::Root => cancelled(),
        Target::Frame(id) => Box::new(ToFrame(id)),
    })
}

/// What `join` returns of a coroutine that was cancelled.
pub(crate) fn cancelled() -> Box<dyn Any + Send> {
    Box::new(Cancelled)
}

/// Whether a payload was thrown for this frame.
pub(crate) fn is_for(payload: &(dyn Any + Send), frame: FrameId) -> bool {
    payload
        .downcast_ref::<ToFrame>()
        .is_some_and(|to| to.0 == frame)
}

/// Whether a payload is an interruption (a cancellation, an elapsed timeout) and no panic.
#[must_use]
pub fn is_interruption(payload: &(dyn Any + Send)) -> bool {
    payload.is::<Cancelled>() || payload.is::<ToFrame>() || payload.is::<crate::time::Elapsed>()
}
