//! `Once`, as std has it.

use core::fmt;
use core::panic::{RefUnwindSafe, UnwindSafe};

use crate::sync::raw_once::{Poisoned, Poisoning, RawOnce};

/// Runs an initialiser once, whoever comes first; [`std::sync::Once`] for coroutines and plain threads alike.
///
/// Who comes while it runs waits for its end: a coroutine is parked, and its worker goes on with others. The initialiser may
/// itself park, in a coroutine or in a thread. Once it has ended, a call is one load.
///
/// An initialiser that panics *poisons* the `Once`: later calls panic, too, but for [`call_once_force`](Once::call_once_force).
///
/// # Interruption
/// One that is cancelled, or unwound by a [`timeout`](crate::timeout) around the call, does not: everything is as if it had not been called,
/// and the next caller runs its own. If callers wait already that is the first of them.
///
/// # Differences from std
/// An initialiser that calls its own `Once`, or waits for it, panics; in std it may wait for ever. (In
/// another coroutine or thread that it waits for, it does so here, too.)
///
/// # Examples
/// ```
/// use withy_runtime::{scope, sync::Once};
///
/// static START: Once = Once::new();
///
/// scope(|s| {
///     for _ in 0..10 {
///         s.spawn(|| START.call_once(|| println!("printed once")));
///     }
/// });
/// assert!(START.is_completed());
/// ```
pub struct Once {
    raw: RawOnce,
}

/// What an initialiser of [`Once::call_once_force`] is told.
pub struct OnceState {
    poisoned: bool,
}

/// A [`Once`] that has not run.
#[deprecated(
    since = "0.1.0",
    note = "std has deprecated it, too: use `Once::new()`"
)]
#[allow(
    clippy::declare_interior_mutable_const,
    reason = "std's; each use is meant to be a new one"
)]
pub const ONCE_INIT: Once = Once::new();

impl UnwindSafe for Once {}
impl RefUnwindSafe for Once {}

impl Once {
    /// One that has not run.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "std has no `Default` either")]
    #[inline]
    pub const fn new() -> Once {
        Once {
            raw: RawOnce::new(),
        }
    }

    /// Runs `f` if nobody has run an initialiser yet; waits if one is running. When this returns, one has ended, and
    /// what it did is seen.
    ///
    /// # Cancellation
    /// A blocking call: it unwinds if the coroutine is cancelled, or a [`timeout`](crate::timeout) around it elapses, while it waits for
    /// another caller's initialiser. If that happens inside `f`, the next caller runs its own.
    ///
    /// # Panics
    /// If `f` does, which poisons it; if it is poisoned; if `f` calls it. Inside [`no_park`](crate::no_park), if it would have to wait.
    ///
    /// # Examples
    /// ```
    /// let once = withy_runtime::sync::Once::new();
    /// let mut runs = 0;
    /// once.call_once(|| runs += 1);
    /// once.call_once(|| runs += 1);
    /// assert_eq!(runs, 1);
    /// ```
    #[inline]
    #[track_caller]
    pub fn call_once<F>(&self, f: F)
    where
        F: FnOnce(),
    {
        if !self.raw.is_complete() {
            self.call(false, |_| f());
        }
    }

    /// As [`call_once`](Once::call_once), also if it is poisoned: `f` is told so, and if it ends it is not poisoned any more.
    ///
    /// # Cancellation
    /// A blocking call: as [`call_once`](Once::call_once). What was poisoned stays so if `f` is interrupted.
    ///
    /// # Panics
    /// If `f` does, which poisons it; if `f` calls it. Inside [`no_park`](crate::no_park), if it would have to wait.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::{spawn, sync::Once};
    ///
    /// static START: Once = Once::new();
    /// let failed = spawn(|| START.call_once(|| panic!("the first attempt fails"))).join();
    /// assert!(failed.is_err());
    /// START.call_once_force(|state| assert!(state.is_poisoned()));
    /// START.call_once(|| unreachable!("it is done"));
    /// ```
    #[inline]
    pub fn call_once_force<F>(&self, f: F)
    where
        F: FnOnce(&OnceState),
    {
        if !self.raw.is_complete() {
            self.call(true, f);
        }
    }

    /// Whether an initialiser has run to its end. What it did is seen then.
    ///
    /// # Examples
    /// ```
    /// let once = withy_runtime::sync::Once::new();
    /// assert!(!once.is_completed());
    /// once.call_once(|| assert!(!once.is_completed()));
    /// assert!(once.is_completed());
    /// ```
    #[inline]
    pub fn is_completed(&self) -> bool {
        self.raw.is_complete()
    }

    /// Waits until somebody's initialiser has run to its end.
    ///
    /// # Cancellation
    /// A blocking call: it unwinds if the coroutine is cancelled, or a [`timeout`](crate::timeout) around it elapses.
    ///
    /// # Panics
    /// If it is poisoned, or gets so; inside its own initialiser. Inside [`no_park`](crate::no_park), if it would have to wait.
    ///
    /// # Examples
    /// ```
    /// use std::sync::Arc;
    /// use withy_runtime::{spawn, sync::Once};
    ///
    /// let ready = Arc::new(Once::new());
    /// let starter = spawn({
    ///     let ready = ready.clone();
    ///     move || ready.call_once(|| ())
    /// });
    /// ready.wait();
    /// starter.join().unwrap();
    /// ```
    #[inline]
    #[track_caller]
    pub fn wait(&self) {
        if !self.raw.is_complete() && self.raw.wait(false).is_err() {
            panic_poisoned();
        }
    }

    /// As [`wait`](Once::wait), and goes on waiting while it is poisoned.
    ///
    /// # Cancellation
    /// A blocking call: it unwinds if the coroutine is cancelled, or a [`timeout`](crate::timeout) around it elapses.
    ///
    /// # Panics
    /// Inside its own initialiser, and inside [`no_park`](crate::no_park), if it would have to wait.
    ///
    /// # Examples
    /// ```
    /// let once = withy_runtime::sync::Once::new();
    /// once.call_once(|| ());
    /// once.wait_force(); // returns at once
    /// ```
    #[inline]
    pub fn wait_force(&self) {
        if !self.raw.is_complete() {
            // With force it does not matter.
            let _ = self.raw.wait(true);
        }
    }

    #[track_caller]
    fn call(&self, force: bool, f: impl FnOnce(&OnceState)) {
        let mut f = Some(f);
        let called = self.raw.call(force, Poisoning::ByPanic, &mut |poisoned| {
            let f = f.take().expect("it is called once");
            f(&OnceState { poisoned });
        });
        if let Err(Poisoned) = called {
            panic_poisoned();
        }
    }
}

#[cold]
#[inline(never)]
#[track_caller]
fn panic_poisoned() -> ! {
    panic!("Once instance has previously been poisoned")
}

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once").finish_non_exhaustive()
    }
}

impl OnceState {
    /// Whether an initialiser has panicked before.
    #[inline]
    pub fn is_poisoned(&self) -> bool {
        self.poisoned
    }
}

impl fmt::Debug for OnceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnceState")
            .field("poisoned", &self.poisoned)
            .finish()
    }
}
