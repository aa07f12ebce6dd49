//! `RwLock`, as std has it.

use core::cell::UnsafeCell;
use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;

use crate::sync::poison::{Flag, LockResult, PoisonError, TryLockError, TryLockResult, Watch};
use crate::sync::raw_rwlock::RawRwLock;
use crate::sync::tally::Tally;

#[cfg(test)]
mod tests;

/// A lock that many may hold to read, or one to write; [`std::sync::RwLock`] for coroutines and plain threads alike.
///
/// A coroutine that waits for it is parked, and its worker goes on with others. The guards may be held over calls that park: the lock
/// belongs to its guards, not to threads. It is poisoned when a writer panics; not when a reader does, and not when a
/// holder is cancelled or a timeout around it elapses.
///
/// # Fairness
/// Nobody is starved, which [`std::sync::RwLock`] leaves open:
/// * While a writer waits, no new reader is let in. It waits for the readers that hold the lock when it comes.
/// * When a writer unlocks, all readers that wait at that moment are let in, before any other writer. So a reader waits for the
///   readers that hold the lock when it comes, and for one writer.
/// * Among writers, whoever comes when the lock is free takes it, also past those who wait. A writer that was woken and finds it
///   taken again is handed it, once that has gone on for half a millisecond or after 16 times, by the next unlock; the readers
///   that wait then go first.
///
/// So a holder that reads **again** waits for itself for ever if a writer has come in between. std's may do so as well.
///
/// # Examples
/// ```
/// use withy_runtime::{scope, sync::RwLock};
///
/// let prices = RwLock::new(vec![3, 5]);
/// scope(|s| {
///     for _ in 0..4 {
///         s.spawn(|| assert!(prices.read().unwrap().contains(&5)));
///     }
///     s.spawn(|| prices.write().unwrap().push(7));
/// });
/// assert_eq!(prices.into_inner().unwrap(), [3, 5, 7]);
/// ```
pub struct RwLock<T: ?Sized> {
    raw: RawRwLock,
    poison: Flag,
    tally: Tally,
    value: UnsafeCell<T>,
}

// SAFETY: whoever has the lock as a writer may reach the value from any thread: that is sending it.
unsafe impl<T: ?Sized + Send> Send for RwLock<T> {}
// SAFETY: as above; and readers on several threads share the value.
unsafe impl<T: ?Sized + Send + Sync> Sync for RwLock<T> {}

/// An [`RwLock`], locked to read; dropping it unlocks. It stays on its thread, as std's does.
#[must_use = "if unused the RwLock will immediately unlock"]
pub struct RwLockReadGuard<'a, T: ?Sized + 'a> {
    /// A pointer, not a reference: the borrow ends with the unlocking, in the midst of `drop`. It is not Send.
    value: NonNull<T>,
    raw: &'a RawRwLock,
}

// SAFETY: a shared guard gives out `&T` only.
unsafe impl<T: ?Sized + Sync> Sync for RwLockReadGuard<'_, T> {}

/// An [`RwLock`], locked to write; dropping it unlocks. It stays on its thread, as std's does.
#[must_use = "if unused the RwLock will immediately unlock"]
pub struct RwLockWriteGuard<'a, T: ?Sized + 'a> {
    lock: &'a RwLock<T>,
    watch: Watch,
    not_send: PhantomData<*mut ()>,
}

// SAFETY: a shared guard gives out `&T` only.
unsafe impl<T: ?Sized + Sync> Sync for RwLockWriteGuard<'_, T> {}

impl<T> RwLock<T> {
    /// A lock around `value`, held by nobody.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::sync::RwLock;
    ///
    /// static LIMIT: RwLock<u32> = RwLock::new(100);
    /// assert_eq!(*LIMIT.read().unwrap(), 100);
    /// ```
    #[must_use]
    #[inline]
    pub const fn new(value: T) -> RwLock<T> {
        RwLock {
            raw: RawRwLock::new(),
            poison: Flag::new(),
            tally: Tally::new(),
            value: UnsafeCell::new(value),
        }
    }

    /// The value, which nobody shares any more.
    ///
    /// # Errors
    /// The value all the same, if the lock is poisoned.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::sync::RwLock;
    ///
    /// let lock = RwLock::new(String::from("a"));
    /// lock.write().unwrap().push('b');
    /// assert_eq!(lock.into_inner().unwrap(), "ab");
    /// ```
    pub fn into_inner(self) -> LockResult<T> {
        let RwLock { poison, value, .. } = self;
        poison.guarded(value.into_inner())
    }
}

impl<T: ?Sized> RwLock<T> {
    /// Waits until no writer holds the lock, and none waits for it that came before, and locks it to read.
    ///
    /// # Cancellation
    /// A blocking call: it unwinds if the coroutine is cancelled, or a [`timeout`](crate::timeout) around it elapses. The lock is not held
    /// then.
    ///
    /// # Errors
    /// The guard all the same, if a writer has panicked.
    ///
    /// # Panics
    /// Inside [`no_park`](crate::no_park), if it would have to wait. A writer that reads waits for itself for ever; so does a
    /// reader that reads again, if a writer waits.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::sync::RwLock;
    ///
    /// let lock = RwLock::new(1);
    /// let first = lock.read().unwrap();
    /// let second = lock.read().unwrap(); // no writer waits
    /// assert_eq!(*first + *second, 2);
    /// ```
    #[inline]
    pub fn read(&self) -> LockResult<RwLockReadGuard<'_, T>> {
        self.tally.count();
        self.raw.read();
        // SAFETY: locked just now.
        unsafe { self.read_guard() }
    }

    /// Locks it to read, if that needs no waiting: no writer holds it or waits for it. It does not wait and does not unwind; in a
    /// coroutine that tries again and again in vain, it lets others run now and then.
    ///
    /// # Errors
    /// `WouldBlock` if it would have to wait; `Poisoned`, with the guard, if a writer has panicked.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::sync::RwLock;
    ///
    /// let lock = RwLock::new(1);
    /// let writer = lock.write().unwrap();
    /// assert!(lock.try_read().is_err());
    /// drop(writer);
    /// assert_eq!(*lock.try_read().unwrap(), 1);
    /// ```
    #[inline]
    pub fn try_read(&self) -> TryLockResult<RwLockReadGuard<'_, T>> {
        let locked = self.try_read_uncounted();
        if matches!(locked, Err(TryLockError::WouldBlock)) {
            self.tally.count_failure();
        }
        locked
    }

    #[inline]
    fn try_read_uncounted(&self) -> TryLockResult<RwLockReadGuard<'_, T>> {
        if self.raw.try_read() {
            // SAFETY: locked just now.
            Ok(unsafe { self.read_guard() }?)
        } else {
            Err(TryLockError::WouldBlock)
        }
    }

    /// Waits until nobody holds the lock, and locks it to write.
    ///
    /// # Cancellation
    /// A blocking call: it unwinds if the coroutine is cancelled, or a [`timeout`](crate::timeout) around it elapses. The lock is not held
    /// then, and readers that waited because of it are let in.
    ///
    /// # Errors
    /// The guard all the same, if a writer has panicked.
    ///
    /// # Panics
    /// Inside [`no_park`](crate::no_park), if it would have to wait. A holder that writes waits for itself for ever.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::sync::RwLock;
    ///
    /// let lock = RwLock::new(1);
    /// *lock.write().unwrap() += 1;
    /// assert_eq!(*lock.read().unwrap(), 2);
    /// ```
    #[inline]
    pub fn write(&self) -> LockResult<RwLockWriteGuard<'_, T>> {
        self.tally.count();
        self.raw.write();
        // SAFETY: locked just now.
        unsafe { self.write_guard() }
    }

    /// Locks it to write, if nobody holds it. It does not wait and does not unwind; in a coroutine that tries again and again
    /// in vain, it lets others run now and then.
    ///
    /// # Errors
    /// `WouldBlock` if it would have to wait; `Poisoned`, with the guard, if a writer has panicked.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::sync::RwLock;
    ///
    /// let lock = RwLock::new(1);
    /// let reader = lock.read().unwrap();
    /// assert!(lock.try_write().is_err());
    /// drop(reader);
    /// *lock.try_write().unwrap() += 1;
    /// ```
    #[inline]
    pub fn try_write(&self) -> TryLockResult<RwLockWriteGuard<'_, T>> {
        if self.raw.try_write() {
            // SAFETY: locked just now.
            return Ok(unsafe { self.write_guard() }?);
        }
        self.tally.count_failure();
        Err(TryLockError::WouldBlock)
    }

    /// Whether a writer has panicked.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::{spawn, sync::RwLock};
    ///
    /// static LOCK: RwLock<u32> = RwLock::new(1);
    /// let writer = spawn(|| {
    ///     let _guard = LOCK.write().unwrap();
    ///     panic!("with the lock held");
    /// });
    /// assert!(writer.join().is_err());
    /// assert!(LOCK.is_poisoned());
    /// ```
    #[must_use]
    #[inline]
    pub fn is_poisoned(&self) -> bool {
        self.poison.is_set()
    }

    /// Makes it as if no writer had panicked: for who has put the value in order.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::{spawn, sync::RwLock};
    ///
    /// static LOCK: RwLock<u32> = RwLock::new(1);
    /// let writer = spawn(|| {
    ///     let _guard = LOCK.write().unwrap();
    ///     panic!("with the lock held");
    /// });
    /// assert!(writer.join().is_err());
    /// let mut value = LOCK.write().unwrap_or_else(|poisoned| {
    ///     LOCK.clear_poison();
    ///     poisoned.into_inner()
    /// });
    /// *value = 2;
    /// drop(value);
    /// assert_eq!(*LOCK.read().unwrap(), 2);
    /// ```
    #[inline]
    pub fn clear_poison(&self) {
        self.poison.clear();
    }

    /// The value, which nobody shares while it is borrowed: nothing is locked.
    ///
    /// # Errors
    /// The value all the same, if the lock is poisoned.
    ///
    /// # Examples
    /// ```
    /// let mut lock = withy_runtime::sync::RwLock::new(1);
    /// *lock.get_mut().unwrap() = 2;
    /// assert_eq!(*lock.read().unwrap(), 2);
    /// ```
    pub fn get_mut(&mut self) -> LockResult<&mut T> {
        self.poison.guarded(self.value.get_mut())
    }

    /// # Safety
    /// It is locked to read, and no guard has been made for that yet.
    #[inline]
    unsafe fn read_guard(&self) -> LockResult<RwLockReadGuard<'_, T>> {
        self.poison.guarded(RwLockReadGuard {
            // SAFETY: a cell's address is not null.
            value: unsafe { NonNull::new_unchecked(self.value.get()) },
            raw: &self.raw,
        })
    }

    /// # Safety
    /// It is locked to write, and no guard has been made for that yet.
    #[inline]
    unsafe fn write_guard(&self) -> LockResult<RwLockWriteGuard<'_, T>> {
        self.poison.guarded(RwLockWriteGuard {
            lock: self,
            watch: self.poison.watch(),
            not_send: PhantomData,
        })
    }
}

impl<'a, T: ?Sized> RwLockWriteGuard<'a, T> {
    /// Goes on as a reader: nobody writes in between, and nothing is waited for. Readers that wait are let in, too, even if a
    /// writer waits.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::sync::{RwLock, RwLockWriteGuard};
    ///
    /// let lock = RwLock::new(1);
    /// let mut writer = lock.write().unwrap();
    /// *writer = 2;
    /// let reader = RwLockWriteGuard::downgrade(writer);
    /// assert_eq!(*reader + *lock.read().unwrap(), 4);
    /// ```
    pub fn downgrade(s: Self) -> RwLockReadGuard<'a, T> {
        let lock = s.lock;
        core::mem::forget(s);
        lock.raw.downgrade();
        // SAFETY: it was locked to write, and is locked to read now. Poison was no matter when it was locked, and is not now.
        unsafe { lock.read_guard() }.unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: ?Sized> Drop for RwLockReadGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.raw.unlock_read();
    }
}

impl<T: ?Sized> Drop for RwLockWriteGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.poison.done(&self.watch);
        self.lock.raw.unlock_write();
    }
}

impl<T: ?Sized> Deref for RwLockReadGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: locked to read, and the lock with its value is borrowed for as long.
        unsafe { self.value.as_ref() }
    }
}

impl<T: ?Sized> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: locked to write.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized> DerefMut for RwLockWriteGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: locked to write, and the guard borrowed mutably.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T: ?Sized> core::panic::UnwindSafe for RwLock<T> {}
impl<T: ?Sized> core::panic::RefUnwindSafe for RwLock<T> {}

impl<T> From<T> for RwLock<T> {
    fn from(value: T) -> RwLock<T> {
        RwLock::new(value)
    }
}

impl<T: Default> Default for RwLock<T> {
    fn default() -> RwLock<T> {
        RwLock::new(T::default())
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.poison.fmt_lock(f, "RwLock", self.try_read_uncounted())
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for RwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for RwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
