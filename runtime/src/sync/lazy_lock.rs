//! `LazyLock`, as std has it.

use core::cell::UnsafeCell;
use core::fmt;
use core::mem;
use core::ops::{Deref, DerefMut};
use core::panic::{RefUnwindSafe, UnwindSafe};

use crate::sync::raw_once::{Poisoned, Poisoning, RawOnce};
use crate::task::interrupt::Mask;

/// A value that is made when it is first used; [`std::sync::LazyLock`] for coroutines and plain threads alike.
///
/// Who comes while it is made waits for that: a coroutine is parked, and its worker goes on with others. The initialiser may itself
/// park. Once the value is there, to reach it is one load.
///
/// # Poisoning
/// If the initialiser unwinds, the `LazyLock` is poisoned for good: every later use panics.
///
/// # Interruption
/// There is one initialiser, and it can run only once: a timeout around whoever happened to come first would take the value away from
/// everybody. So it runs as in a [`shield`](crate::shield): neither a cancellation nor a [`timeout`](crate::timeout) *around* the use
/// interrupts it; they come at the first blocking call afterwards. Timeouts inside it work, and let it have a bound of its own.
///
/// # Differences from std
/// An initialiser that uses its own `LazyLock` panics; in std it waits for ever. (In another coroutine or thread that it waits
/// for, it does so here, too.)
///
/// # Examples
/// ```
/// use withy_runtime::{spawn, sync::LazyLock};
///
/// static WORDS: LazyLock<Vec<&str>> = LazyLock::new(|| "made when first used".split(' ').collect());
///
/// let other = spawn(|| WORDS.len());
/// assert_eq!(WORDS[0], "made");
/// assert_eq!(other.join().unwrap(), 4);
/// ```
pub struct LazyLock<T, F = fn() -> T> {
    once: RawOnce,
    /// Changed in the initialiser's turn; `Made` and unchanged from COMPLETE on.
    stage: UnsafeCell<Stage<T, F>>,
}

enum Stage<T, F> {
    Unmade(F),
    /// It is being made, or that has failed.
    Taken,
    Made(T),
}

// SAFETY: one caller runs `F` and writes the value, on whatever thread: F and T are Send. Then everybody gets `&T`: Sync.
unsafe impl<T: Sync + Send, F: Send> Sync for LazyLock<T, F> {}

impl<T: RefUnwindSafe + UnwindSafe, F: UnwindSafe> RefUnwindSafe for LazyLock<T, F> {}
impl<T: UnwindSafe, F: UnwindSafe> UnwindSafe for LazyLock<T, F> {}

impl<T, F: FnOnce() -> T> LazyLock<T, F> {
    /// A value that `f` will make.
    #[inline]
    pub const fn new(f: F) -> LazyLock<T, F> {
        LazyLock {
            once: RawOnce::new(),
            stage: UnsafeCell::new(Stage::Unmade(f)),
        }
    }

    /// The value, made now if it was not before, which nobody shares while it is borrowed.
    ///
    /// # Panics
    /// If the initialiser does, now or before.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::sync::LazyLock;
    ///
    /// let mut lazy = LazyLock::new(|| 91);
    /// *LazyLock::force_mut(&mut lazy) += 1;
    /// assert_eq!(*lazy, 92);
    /// ```
    #[inline]
    pub fn force_mut(this: &mut LazyLock<T, F>) -> &mut T {
        if !this.once.is_complete() {
            this.make_exclusively();
        }
        LazyLock::get_mut(this).expect("it is made")
    }

    /// The value, made now if it was not before; `&*lazy` is the same.
    ///
    /// # Cancellation
    /// A blocking call: it unwinds if the coroutine is cancelled, or a [`timeout`](crate::timeout) around it elapses, while it waits for
    /// another caller that makes the value. Whoever makes it is not interrupted.
    ///
    /// # Panics
    /// If the initialiser does, now or before; inside the initialiser. Inside [`no_park`](crate::no_park), if it would have to wait.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::sync::LazyLock;
    ///
    /// let lazy = LazyLock::new(|| 92);
    /// assert_eq!(LazyLock::force(&lazy), &92);
    /// assert_eq!(&*lazy, &92);
    /// ```
    #[inline]
    #[track_caller]
    pub fn force(this: &LazyLock<T, F>) -> &T {
        if !this.once.is_complete() {
            this.make();
        }
        // SAFETY: complete: `make` returns no earlier.
        unsafe { this.value() }
    }

    /// Returns when it is complete.
    #[cold]
    #[track_caller]
    fn make(&self) {
        let called = self.once.call(false, Poisoning::ByAnything, &mut |_| {
            let stage = self.stage.get();
            // SAFETY: it is our turn, so nobody else writes; and it is not complete, so nobody reads.
            let f = unsafe { (*stage).take() };
            let value = run(f);
            // SAFETY: as above. `Taken` is overwritten, so nothing is dropped.
            unsafe { *stage = Stage::Made(value) };
        });
        if let Err(Poisoned) = called {
            panic_poisoned();
        }
    }

    #[cold]
    fn make_exclusively(&mut self) {
        /// Poisons, unless it is told otherwise.
        struct End<'a>(&'a mut RawOnce, bool);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                self.0.end_exclusively(self.1);
            }
        }
        let stage = self.stage.get_mut();
        if matches!(stage, Stage::Taken) {
            panic_poisoned();
        }
        let f = stage.take();
        let mut end = End(&mut self.once, false);
        *stage = Stage::Made(run(f));
        end.1 = true;
    }
}

/// Whoever is interrupted here would take the value away from everybody.
fn run<T>(f: impl FnOnce() -> T) -> T {
    let _mask = Mask::new();
    f()
}

impl<T, F> Stage<T, F> {
    /// The initialiser, which is still there.
    fn take(&mut self) -> F {
        match mem::replace(self, Stage::Taken) {
            Stage::Unmade(f) => f,
            Stage::Taken | Stage::Made(_) => unreachable!("it is made once"),
        }
    }
}

impl<T, F> LazyLock<T, F> {
    /// The value, if it is made, which nobody shares while it is borrowed.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::sync::LazyLock;
    ///
    /// let mut lazy = LazyLock::new(|| 1);
    /// assert_eq!(LazyLock::get_mut(&mut lazy), None);
    /// LazyLock::force(&lazy);
    /// *LazyLock::get_mut(&mut lazy).unwrap() = 2;
    /// assert_eq!(*lazy, 2);
    /// ```
    #[inline]
    pub fn get_mut(this: &mut LazyLock<T, F>) -> Option<&mut T> {
        match this.stage.get_mut() {
            Stage::Made(value) => Some(value),
            Stage::Unmade(_) | Stage::Taken => None,
        }
    }

    /// The value, if it is made. It never waits.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::sync::LazyLock;
    ///
    /// let lazy = LazyLock::new(|| 92);
    /// assert_eq!(LazyLock::get(&lazy), None);
    /// let _ = LazyLock::force(&lazy);
    /// assert_eq!(LazyLock::get(&lazy), Some(&92));
    /// ```
    #[inline]
    pub fn get(this: &LazyLock<T, F>) -> Option<&T> {
        if this.once.is_complete() {
            // SAFETY: complete.
            Some(unsafe { this.value() })
        } else {
            None
        }
    }

    /// # Safety
    /// It is complete.
    #[inline]
    unsafe fn value(&self) -> &T {
        // SAFETY: complete: the stage is `Made`, and changes no more while it is shared.
        match unsafe { &*self.stage.get() } {
            Stage::Made(value) => value,
            // SAFETY: as above.
            Stage::Unmade(_) | Stage::Taken => unsafe { core::hint::unreachable_unchecked() },
        }
    }
}

impl<T, F: FnOnce() -> T> Deref for LazyLock<T, F> {
    type Target = T;

    /// As [`force`](LazyLock::force).
    ///
    /// # Cancellation
    /// A blocking call, as [`force`](LazyLock::force).
    ///
    /// # Panics
    /// As [`force`](LazyLock::force).
    #[inline]
    #[track_caller]
    fn deref(&self) -> &T {
        LazyLock::force(self)
    }
}

impl<T, F: FnOnce() -> T> DerefMut for LazyLock<T, F> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        LazyLock::force_mut(self)
    }
}

impl<T: Default> Default for LazyLock<T> {
    fn default() -> LazyLock<T> {
        LazyLock::new(T::default)
    }
}

impl<T: fmt::Debug, F> fmt::Debug for LazyLock<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_tuple("LazyLock");
        match LazyLock::get(self) {
            Some(value) => debug.field(value),
            None => debug.field(&format_args!("<uninit>")),
        };
        debug.finish()
    }
}

#[cold]
#[inline(never)]
#[track_caller]
fn panic_poisoned() -> ! {
    panic!("LazyLock instance has previously been poisoned")
}
