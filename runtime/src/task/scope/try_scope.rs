//! `try_scope`: a scope that its first failure ends. It exists where there is unwinding.

use core::fmt;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};

use parking_lot::Mutex;

use super::{Scope, ScopedJoinHandle};
use crate::atomic::{AtomicBool, Ordering};
use crate::coroutine::unwind;
use crate::spawn::{self, Options};
use crate::task::interrupt;
use crate::task::no_park::assert_may_park;
use crate::time::Moment;

/// A [`Scope`] whose children may fail. See [`try_scope`].
///
/// With `panic = "abort"` it does not exist.
pub struct TryScope<'scope, 'env: 'scope, E> {
    scope: Scope<'scope, 'env>,
    failed: AtomicBool,
    first: Mutex<Option<E>>,
}

/// A [`scope`](crate::scope) whose first failure ends it: when a child returns an error, or panics, its siblings are cancelled and
/// `f` is unwound from its current or next blocking call; when all have ended the first error is returned.
///
/// A function of programs that unwind: with `panic = "abort"` it does not exist.
///
/// # Cancellation
/// As [`scope`](crate::scope).
///
/// # Errors
/// The first error that a child or `f` has returned.
///
/// # Panics
/// As [`scope`](crate::scope).
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use withy_runtime::{sleep, try_scope};
///
/// let result: Result<(), String> = try_scope(|s| {
///     s.spawn(|| Ok(sleep(Duration::from_secs(3600)))); // cancelled
///     s.spawn(|| "seven".parse::<u32>().map_err(|error| error.to_string()));
///     Ok(())
/// });
/// assert_eq!(result, Err("invalid digit found in string".into()));
/// ```
#[track_caller]
pub fn try_scope<'env, F, T, E>(f: F) -> Result<T, E>
where
    F: for<'scope> FnOnce(&'scope TryScope<'scope, 'env, E>) -> Result<T, E>,
    E: Send + 'env,
{
    assert_may_park();
    let scope = TryScope {
        scope: Scope::new(),
        failed: AtomicBool::new(false),
        first: Mutex::new(None),
    };
    let body = || {
        match interrupt::within(Moment::NEVER, Some(&scope.failed), || f(&scope)) {
            Ok(Ok(value)) => Some(value),
            Ok(Err(error)) => {
                scope.fail(error);
                None
            }
            // A child has left its error, or panicked.
            Err(interrupt::Due) => None,
        }
    };
    let body = catch_unwind(AssertUnwindSafe(body));
    let value = scope.scope.finish(body);
    let first = scope.first.lock().take();
    match first {
        Some(error) => Err(error),
        None => match value {
            Some(value) => Ok(value),
            // `f` was unwound by a child's panic, and had joined that child before: there is no value, and no error.
            None => panic!("a scoped coroutine panicked"),
        },
    }
}

impl<'scope, 'env, E: Send> TryScope<'scope, 'env, E> {
    /// Starts a coroutine whose error ends the scope. Its handle gives `None` if that was the case.
    ///
    /// # Panics
    /// As [`spawn`](crate::spawn).
    ///
    /// # Examples
    /// ```
    /// let sum = withy_runtime::try_scope(|s| {
    ///     let numbers = ["1", "2", "39"].map(|text| s.spawn(move || text.parse::<u32>()));
    ///     // None only where the scope ends with an error anyway.
    ///     Ok(numbers.into_iter().filter_map(|number| number.join().unwrap()).sum::<u32>())
    /// });
    /// assert_eq!(sum, Ok(42));
    /// ```
    #[track_caller]
    pub fn spawn<F, T>(&'scope self, f: F) -> ScopedJoinHandle<'scope, Option<T>>
    where
        F: FnOnce() -> Result<T, E> + Send + 'scope,
        T: Send + 'scope,
        E: 'scope,
    {
        let child = move || match catch_unwind(AssertUnwindSafe(f)) {
            Ok(Ok(value)) => Some(value),
            Ok(Err(error)) => {
                self.fail(error);
                None
            }
            Err(payload) => {
                if !unwind::is_interruption(&*payload) {
                    self.stop();
                }
                resume_unwind(payload)
            }
        };
        match self
            .scope
            .start(child, Options::default(), Location::caller())
        {
            Ok(handle) => handle,
            Err(error) => spawn::refused(&error),
        }
    }

    /// Keeps the first error, and ends the scope.
    fn fail(&self, error: E) {
        let mut first = self.first.lock();
        let late = match &*first {
            None => first.replace(error),
            Some(_) => Some(error),
        };
        drop(first);
        drop(late);
        self.stop();
    }

    fn stop(&self) {
        self.failed.store(true, Ordering::Release);
        self.scope.data.cancel();
        self.scope.data.owner.raise();
    }
}

impl<E> fmt::Debug for TryScope<'_, '_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TryScope")
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}
