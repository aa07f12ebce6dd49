//! `Mutex`, as std has it.

use core::cell::UnsafeCell;
use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};

use crate::sync::poison::{Flag, LockResult, TryLockError, TryLockResult, Watch};
use crate::sync::raw_mutex::RawMutex;
use crate::sync::tally::Tally;

/// A mutual exclusion lock; [`std::sync::Mutex`] for coroutines and plain threads alike.
///
/// A coroutine that waits for it is parked, and its worker goes on with others. The guard may be held over calls that park: the lock
/// belongs to its guard, not to a thread. It is poisoned when a holder panics, and not when a holder is
/// cancelled or a timeout around it elapses.
///
/// # Fairness
/// Whoever comes when it is free takes it, also past those who wait. A waiter that was woken and finds it taken again is handed it
/// by the holder's unlock once that has gone on for half a millisecond, or after 16 times.
///
/// # Examples
/// ```
/// use withy_runtime::{spawn, sync::Mutex};
/// use std::sync::Arc;
///
/// let sum = Arc::new(Mutex::new(0));
/// let adders: Vec<_> = (1..=10)
///     .map(|n| {
///         let sum = sum.clone();
///         spawn(move || *sum.lock().unwrap() += n)
///     })
///     .collect();
/// adders.into_iter().for_each(|adder| adder.join().unwrap());
/// assert_eq!(*sum.lock().unwrap(), 55);
/// ```
pub struct Mutex<T: ?Sized> {
    raw: RawMutex,
    poison: Flag,
    tally: Tally,
    value: UnsafeCell<T>,
}

// SAFETY: the lock lets one holder at a time reach the value, on whatever thread: that is sending it.
unsafe impl<T: ?Sized + Send> Send for Mutex<T> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Send> Sync for Mutex<T> {}

/// A [`Mutex`], locked; dropping it unlocks. It stays on its thread, as std's does.
///
/// ```compile_fail,E0277
/// use withy_runtime::sync::Mutex;
/// static MUTEX: Mutex<u8> = Mutex::new(0);
/// let guard = MUTEX.lock().unwrap();
/// std::thread::spawn(move || drop(guard));
/// ```
#[must_use = "if unused the Mutex will immediately unlock"]
pub struct MutexGuard<'a, T: ?Sized + 'a> {
    mutex: &'a Mutex<T>,
    watch: Watch,
    not_send: PhantomData<*mut ()>,
}

// SAFETY: a shared guard gives out `&T` only.
unsafe impl<T: ?Sized + Sync> Sync for MutexGuard<'_, T> {}

impl<T> Mutex<T> {
    /// A mutex of `value`, unlocked.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::sync::Mutex;
    ///
    /// static NAMES: Mutex<Vec<&str>> = Mutex::new(Vec::new());
    /// NAMES.lock().unwrap().push("one");
    /// ```
    #[must_use]
    #[inline]
    pub const fn new(value: T) -> Mutex<T> {
        Mutex {
            raw: RawMutex::new(),
            poison: Flag::new(),
            tally: Tally::new(),
            value: UnsafeCell::new(value),
        }
    }

    /// The value, which nobody shares any more.
    ///
    /// # Errors
    /// The value all the same, if the mutex is poisoned.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::sync::Mutex;
    ///
    /// let mutex = Mutex::new(1);
    /// *mutex.lock().unwrap() += 1;
    /// assert_eq!(mutex.into_inner().unwrap(), 2);
    /// ```
    pub fn into_inner(self) -> LockResult<T> {
        let Mutex { poison, value, .. } = self;
        poison.guarded(value.into_inner())
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Waits until nobody else holds the lock, and takes it.
    ///
    /// # Cancellation
    /// A blocking call: it unwinds if the coroutine is cancelled, or a [`timeout`](crate::timeout) around it elapses. The lock is not held
    /// then.
    ///
    /// # Errors
    /// The guard all the same, if a holder has panicked.
    ///
    /// # Panics
    /// Inside [`no_park`](crate::no_park), if it would have to wait. A holder that locks it again waits for itself for ever.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::{sleep, spawn, sync::Mutex};
    /// use std::{sync::Arc, time::Duration};
    ///
    /// let log = Arc::new(Mutex::new(Vec::new()));
    /// let other = spawn({
    ///     let log = log.clone();
    ///     move || {
    ///         let mut log = log.lock().unwrap();
    ///         sleep(Duration::from_millis(1)); // the lock is kept
    ///         log.push("other");
    ///     }
    /// });
    /// other.join().unwrap();
    /// assert_eq!(*log.lock().unwrap(), ["other"]);
    /// ```
    #[inline]
    pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        self.tally.count();
        self.raw.lock();
        // SAFETY: locked just now.
        unsafe { self.guard() }
    }

    /// Takes the lock if it is free. It does not wait and does not unwind; in a coroutine that tries again and again in vain, it
    /// lets others run now and then.
    ///
    /// # Errors
    /// `WouldBlock` if it is not; `Poisoned`, with the guard, if a holder has panicked.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::sync::Mutex;
    ///
    /// let mutex = Mutex::new(1);
    /// let guard = mutex.lock().unwrap();
    /// assert!(mutex.try_lock().is_err());
    /// drop(guard);
    /// assert_eq!(*mutex.try_lock().unwrap(), 1);
    /// ```
    #[inline]
    pub fn try_lock(&self) -> TryLockResult<MutexGuard<'_, T>> {
        let locked = self.try_lock_uncounted();
        if matches!(locked, Err(TryLockError::WouldBlock)) {
            self.tally.count_failure();
        }
        locked
    }

    #[inline]
    fn try_lock_uncounted(&self) -> TryLockResult<MutexGuard<'_, T>> {
        if self.raw.try_lock() {
            // SAFETY: locked just now.
            Ok(unsafe { self.guard() }?)
        } else {
            Err(TryLockError::WouldBlock)
        }
    }

    /// Whether a holder has panicked.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::{spawn, sync::Mutex};
    ///
    /// static MUTEX: Mutex<u32> = Mutex::new(1);
    /// let holder = spawn(|| {
    ///     let _guard = MUTEX.lock().unwrap();
    ///     panic!("with the lock held");
    /// });
    /// assert!(holder.join().is_err());
    /// assert!(MUTEX.is_poisoned());
    /// ```
    #[must_use]
    #[inline]
    pub fn is_poisoned(&self) -> bool {
        self.poison.is_set()
    }

    /// Makes it as if no holder had panicked: for who has put the value in order.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::{spawn, sync::Mutex};
    ///
    /// static MUTEX: Mutex<u32> = Mutex::new(1);
    /// let holder = spawn(|| {
    ///     let _guard = MUTEX.lock().unwrap();
    ///     panic!("with the lock held");
    /// });
    /// assert!(holder.join().is_err());
    /// let mut value = MUTEX.lock().unwrap_or_else(|poisoned| {
    ///     MUTEX.clear_poison();
    ///     poisoned.into_inner()
    /// });
    /// *value = 2;
    /// drop(value);
    /// assert_eq!(*MUTEX.lock().unwrap(), 2);
    /// ```
    #[inline]
    pub fn clear_poison(&self) {
        self.poison.clear();
    }

    /// The value, which nobody shares while it is borrowed: nothing is locked.
    ///
    /// # Errors
    /// The value all the same, if the mutex is poisoned.
    ///
    /// # Examples
    /// ```
    /// let mut mutex = withy_runtime::sync::Mutex::new(1);
    /// *mutex.get_mut().unwrap() = 2;
    /// assert_eq!(*mutex.lock().unwrap(), 2);
    /// ```
    pub fn get_mut(&mut self) -> LockResult<&mut T> {
        self.poison.guarded(self.value.get_mut())
    }

    /// # Safety
    /// The lock is held, and no guard has been made for that yet.
    #[inline]
    unsafe fn guard(&self) -> LockResult<MutexGuard<'_, T>> {
        self.poison.guarded(MutexGuard {
            mutex: self,
            watch: self.poison.watch(),
            not_send: PhantomData,
        })
    }
}

impl<'a, T: ?Sized> MutexGuard<'a, T> {
    /// What it locks; for condition variables.
    pub(super) fn mutex(guard: &Self) -> &'a Mutex<T> {
        guard.mutex
    }

    /// Since when it is watched; for [`come_back`](MutexGuard::come_back).
    pub(super) fn watch(guard: &Self) -> Watch {
        guard.watch
    }

    /// Unlocks for a wait, which is not the end of the section: so it poisons nothing.
    pub(super) fn leave(guard: Self) {
        let mutex = guard.mutex;
        core::mem::forget(guard);
        mutex.raw.unlock();
    }

    /// A guard that was made after the wait goes on with the section.
    pub(super) fn come_back(mut guard: Self, watch: Watch) -> Self {
        guard.watch = watch;
        guard
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.mutex.poison.done(&self.watch);
        self.mutex.raw.unlock();
    }
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the lock is held.
        unsafe { &*self.mutex.value.get() }
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the lock is held, and the guard borrowed mutably.
        unsafe { &mut *self.mutex.value.get() }
    }
}

impl<T: ?Sized> core::panic::UnwindSafe for Mutex<T> {}
impl<T: ?Sized> core::panic::RefUnwindSafe for Mutex<T> {}

impl<T> From<T> for Mutex<T> {
    fn from(value: T) -> Mutex<T> {
        Mutex::new(value)
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Mutex<T> {
        Mutex::new(T::default())
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.poison.fmt_lock(f, "Mutex", self.try_lock_uncounted())
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
