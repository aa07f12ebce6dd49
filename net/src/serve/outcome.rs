//! What a handler returns.

use std::any::Any;
use std::error::Error;
use std::fmt::Display;
use std::io;

/// What a handler of a [`Server`](super::Server) may return: nothing, or a `Result`, whose error is counted and logged
/// (`withy::net`, level debug).
///
/// An [`io::Error`] of kind `WouldBlock` or `TimedOut`, also in a box, counts as a connection that timed out.
pub trait Outcome: sealed::Sealed {
    /// `None`: all went well.
    #[doc(hidden)]
    fn failure(self) -> Option<Failure>;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for () {}
    impl<T, E> Sealed for Result<T, E> {}
}

/// How a handler failed.
#[doc(hidden)]
pub struct Failure {
    pub(super) error: Box<dyn Display>,
    pub(super) timed_out: bool,
}

impl Outcome for () {
    fn failure(self) -> Option<Failure> {
        None
    }
}

impl<T, E: Display + 'static> Outcome for Result<T, E> {
    fn failure(self) -> Option<Failure> {
        let error = self.err()?;
        Some(Failure {
            timed_out: is_timeout(&error),
            error: Box::new(error),
        })
    }
}

fn is_timeout(error: &dyn Any) -> bool {
    let io_error = error.downcast_ref::<io::Error>().or_else(|| {
        let boxed = error.downcast_ref::<Box<dyn Error>>();
        boxed.and_then(|boxed| boxed.downcast_ref())
    });
    let io_error = io_error.or_else(|| {
        let boxed = error.downcast_ref::<Box<dyn Error + Send + Sync>>();
        boxed.and_then(|boxed| boxed.downcast_ref())
    });
    io_error.is_some_and(|error| {
        matches!(
            error.kind(),
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
        )
    })
}
