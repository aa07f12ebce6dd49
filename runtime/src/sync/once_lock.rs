//! `OnceLock`, as std has it.

use core::cell::UnsafeCell;
use core::fmt;
use core::panic::{RefUnwindSafe, UnwindSafe};

use crate::sync::raw_once::{Poisoned, Poisoning, RawOnce};

/// A value that is set once, and shared from then on; [`std::sync::OnceLock`] for coroutines and plain threads alike.
///
/// Who comes while another caller makes the value waits for that: a coroutine is parked, and its worker goes on with
/// others. What makes it may itself park. Once the value is there, to get it is one load.
///
/// If what makes it panics, is cancelled, or is unwound by a [`timeout`](crate::timeout) around the call, everything is as if it had not been
/// called: nothing is poisoned, and the next caller runs its own. If callers wait already that is the first of them.
///
/// # Differences from std
/// An initialiser that uses its own `OnceLock` panics where it would have to wait for itself; in std it waits for ever. (In
/// another coroutine or thread that it waits for, it does so here, too.)
///
/// # Examples
/// ```
/// use withy_runtime::{sleep, spawn, sync::OnceLock};
///
/// static NAME: OnceLock<String> = OnceLock::new();
///
/// fn name() -> &'static str {
///     NAME.get_or_init(|| {
///         sleep(std::time::Duration::from_millis(1)); // a coroutine: its worker goes on
///         "made once".to_owned()
///     })
/// }
///
/// let other = spawn(name);
/// assert_eq!(name(), "made once");
/// assert_eq!(other.join().unwrap(), "made once");
/// ```
pub struct OnceLock<T> {
    once: RawOnce,
    /// Written in the initialiser's turn; `Some` and unchanged from COMPLETE on. An `Option`, so that it needs no destructor of ours: one
    /// would have to be strict about what `T` borrows, where std's is not.
    value: UnsafeCell<Option<T>>,
}

// SAFETY: one caller writes the value, maybe on another thread than that which drops it: Send. Then everybody gets `&T`: Sync.
unsafe impl<T: Sync + Send> Sync for OnceLock<T> {}
// SAFETY: it goes with its value.
unsafe impl<T: Send> Send for OnceLock<T> {}

impl<T: RefUnwindSafe + UnwindSafe> RefUnwindSafe for OnceLock<T> {}
impl<T: UnwindSafe> UnwindSafe for OnceLock<T> {}

impl<T> OnceLock<T> {
    /// One without a value.
    #[must_use]
    #[inline]
    pub const fn new() -> OnceLock<T> {
        OnceLock {
            once: RawOnce::new(),
            value: UnsafeCell::new(None),
        }
    }

    /// The value, if it is there. It never waits.
    ///
    /// # Examples
    /// ```
    /// let cell = withy_runtime::sync::OnceLock::new();
    /// assert_eq!(cell.get(), None);
    /// cell.set(1).unwrap();
    /// assert_eq!(cell.get(), Some(&1));
    /// ```
    #[inline]
    pub fn get(&self) -> Option<&T> {
        if self.once.is_complete() {
            // SAFETY: complete.
            Some(unsafe { self.value() })
        } else {
            None
        }
    }

    /// The value, if it is there, which nobody shares while it is borrowed.
    ///
    /// # Examples
    /// ```
    /// let mut cell = withy_runtime::sync::OnceLock::from(1);
    /// *cell.get_mut().unwrap() = 2;
    /// assert_eq!(cell.get(), Some(&2));
    /// ```
    #[inline]
    pub fn get_mut(&mut self) -> Option<&mut T> {
        self.value.get_mut().as_mut()
    }

    /// Waits until there is a value.
    ///
    /// # Cancellation
    /// A blocking call: it unwinds if the coroutine is cancelled, or a [`timeout`](crate::timeout) around it elapses.
    ///
    /// # Panics
    /// Inside its own initialiser, and inside [`no_park`](crate::no_park), if it would have to wait.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::{spawn, sync::OnceLock};
    ///
    /// static ANSWER: OnceLock<u32> = OnceLock::new();
    /// let asker = spawn(|| *ANSWER.wait());
    /// ANSWER.set(42).unwrap();
    /// assert_eq!(asker.join().unwrap(), 42);
    /// ```
    #[inline]
    pub fn wait(&self) -> &T {
        if !self.once.is_complete() {
            // It is never poisoned.
            let _ = self.once.wait(true);
        }
        // SAFETY: complete.
        unsafe { self.value() }
    }

    /// Sets the value, if there is none. While another caller makes one it waits for that.
    ///
    /// # Cancellation
    /// A blocking call: it unwinds if the coroutine is cancelled, or a [`timeout`](crate::timeout) around it elapses, while
    /// another caller makes a value. `value` is dropped then.
    ///
    /// # Errors
    /// `value`, if there is one already.
    ///
    /// # Panics
    /// Inside its own initialiser, and inside [`no_park`](crate::no_park), if it would have to wait.
    ///
    /// # Examples
    /// ```
    /// let cell = withy_runtime::sync::OnceLock::new();
    /// assert_eq!(cell.set(1), Ok(()));
    /// assert_eq!(cell.set(2), Err(2));
    /// assert_eq!(cell.get(), Some(&1));
    /// ```
    #[inline]
    #[track_caller]
    pub fn set(&self, value: T) -> Result<(), T> {
        let mut value = Some(value);
        if !self.once.is_complete() {
            self.initialise(&mut || value.take().expect("it is called once"));
        }
        value.map_or(Ok(()), Err)
    }

    /// The value; if there is none, that of `f`. While another caller makes one it waits for that.
    ///
    /// # Cancellation
    /// A blocking call: it unwinds if the coroutine is cancelled, or a [`timeout`](crate::timeout) around it elapses, while it waits for
    /// another caller's `f`. If that happens inside `f`, the next caller runs its own.
    ///
    /// # Panics
    /// If `f` does; nothing is poisoned by that. If `f` uses this `OnceLock` in a way that waits. Inside [`no_park`](crate::no_park), if it would have to wait.
    ///
    /// # Examples
    /// ```
    /// let cell = withy_runtime::sync::OnceLock::new();
    /// assert_eq!(cell.get_or_init(|| 1), &1);
    /// assert_eq!(cell.get_or_init(|| unreachable!()), &1);
    /// ```
    #[inline]
    #[track_caller]
    pub fn get_or_init<F>(&self, f: F) -> &T
    where
        F: FnOnce() -> T,
    {
        if !self.once.is_complete() {
            let mut f = Some(f);
            self.initialise(&mut || f.take().expect("it is called once")());
        }
        // SAFETY: complete: `initialise` returns no earlier.
        unsafe { self.value() }
    }

    /// The value, if there is one.
    ///
    /// # Examples
    /// ```
    /// let cell = withy_runtime::sync::OnceLock::from("value");
    /// assert_eq!(cell.into_inner(), Some("value"));
    /// ```
    #[inline]
    pub fn into_inner(self) -> Option<T> {
        self.value.into_inner()
    }

    /// The value, if there is one; it can be set anew afterwards.
    ///
    /// # Examples
    /// ```
    /// let mut cell = withy_runtime::sync::OnceLock::from(1);
    /// assert_eq!(cell.take(), Some(1));
    /// assert_eq!(cell.get_or_init(|| 2), &2);
    /// ```
    #[inline]
    pub fn take(&mut self) -> Option<T> {
        let value = self.value.get_mut().take()?;
        self.once = RawOnce::new();
        Some(value)
    }

    /// Returns when it is complete.
    #[cold]
    #[track_caller]
    fn initialise(&self, make: &mut dyn FnMut() -> T) {
        let called = self.once.call(true, Poisoning::Never, &mut |_| {
            let value = make();
            // SAFETY: it is our turn, so nobody else writes; and it is not complete, so nobody reads. What is overwritten is `None`.
            unsafe { *self.value.get() = Some(value) };
        });
        if let Err(Poisoned) = called {
            unreachable!("nothing poisons it");
        }
    }

    /// # Safety
    /// It is complete.
    #[inline]
    unsafe fn value(&self) -> &T {
        // SAFETY: complete: the value is there, and is written no more while it is shared.
        unsafe { (*self.value.get()).as_ref().unwrap_unchecked() }
    }
}

impl<T> Default for OnceLock<T> {
    #[inline]
    fn default() -> OnceLock<T> {
        OnceLock::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for OnceLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_tuple("OnceLock");
        match self.get() {
            Some(value) => debug.field(value),
            None => debug.field(&format_args!("<uninit>")),
        };
        debug.finish()
    }
}

impl<T: Clone> Clone for OnceLock<T> {
    fn clone(&self) -> OnceLock<T> {
        self.get()
            .cloned()
            .map_or_else(OnceLock::new, OnceLock::from)
    }
}

impl<T> From<T> for OnceLock<T> {
    fn from(value: T) -> OnceLock<T> {
        let mut cell = OnceLock::new();
        *cell.value.get_mut() = Some(value);
        cell.once.end_exclusively(true);
        cell
    }
}

impl<T: PartialEq> PartialEq for OnceLock<T> {
    fn eq(&self, other: &OnceLock<T>) -> bool {
        self.get() == other.get()
    }
}

impl<T: Eq> Eq for OnceLock<T> {}
