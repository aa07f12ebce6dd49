//! `Semaphore`: a number of permits.

use core::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::sync::permit::{Closed, OwnedPermit, Permit, TryAcquireError};
use crate::sync::raw_semaphore::{RawSemaphore, Refusal};
use crate::sync::tally::Tally;
use crate::time::{self, Moment};

/// A counting semaphore: a number of permits, taken and given back by coroutines and plain threads; as tokio has it.
///
/// It bounds how many do a thing at once: connections, requests on the way, memory in use. What was taken is held by a guard, which gives it
/// back when it is dropped; a guard is bound to no thread, and may be sent to another coroutine. Whoever waits is parked.
///
/// # Fairness
/// First come, first served: while somebody waits, permits that come back are kept for whoever has waited longest, until there
/// are as many as it wants. So one who wants many is not starved by those who want few and come later, nor by
/// [`try_acquire`](Semaphore::try_acquire), which fails meanwhile. The price: permits that are kept are idle, and
/// a permit that many fight for costs a switch each time.
///
/// # How many
/// At most [`MAX_PERMITS`](Semaphore::MAX_PERMITS) are free at a time. [`add_permits`](Semaphore::add_permits) panics
/// rather than have more; what a guard gives back beyond that (it takes permits that were added meanwhile) is lost.
///
/// # Examples
/// No more than two at a time:
/// ```
/// use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
/// use withy_runtime::{scope, sync::Semaphore, yield_now};
///
/// let places = Semaphore::new(2);
/// let (inside, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
/// scope(|s| {
///     for _ in 0..10 {
///         s.spawn(|| {
///             let _place = places.acquire().unwrap();
///             most.fetch_max(inside.fetch_add(1, SeqCst) + 1, SeqCst);
///             yield_now();
///             inside.fetch_sub(1, SeqCst);
///         });
///     }
/// });
/// assert!(most.into_inner() <= 2);
/// assert_eq!(places.available_permits(), 2);
/// ```
pub struct Semaphore {
    raw: RawSemaphore,
    tally: Tally,
}

impl Semaphore {
    /// The largest number of permits that may be free.
    pub const MAX_PERMITS: usize = RawSemaphore::PERMITS_MAX;

    /// A semaphore with so many permits; with 0, all wait until some are [added](Semaphore::add_permits).
    ///
    /// # Panics
    /// If there are more than [`MAX_PERMITS`](Semaphore::MAX_PERMITS).
    #[must_use]
    #[track_caller]
    pub const fn new(permits: usize) -> Semaphore {
        assert!(
            permits <= Semaphore::MAX_PERMITS,
            "a semaphore has at most Semaphore::MAX_PERMITS permits"
        );
        Semaphore {
            raw: RawSemaphore::new(permits),
            tally: Tally::new(),
        }
    }

    /// Waits for a permit, and takes it.
    ///
    /// # Cancellation
    /// A blocking call: it unwinds if the coroutine is cancelled, or a [`timeout`](crate::timeout) around it elapses. No permit is taken
    /// then, and those behind in the queue move up.
    ///
    /// # Errors
    /// [`Closed`] if the semaphore is closed, also while this waits.
    ///
    /// # Panics
    /// Inside [`no_park`](crate::no_park), if it would have to wait.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::sync::Semaphore;
    ///
    /// let places = Semaphore::new(1);
    /// let place = places.acquire().unwrap();
    /// assert_eq!(places.available_permits(), 0);
    /// drop(place);
    /// assert_eq!(places.available_permits(), 1);
    /// ```
    #[inline]
    pub fn acquire(&self) -> Result<Permit<'_>, Closed> {
        self.acquire_many(1)
    }

    /// Waits for `n` permits, and takes them all at once, as one guard. None, if `n` is 0, can be had at any time.
    ///
    /// # Cancellation
    /// As [`acquire`](Semaphore::acquire): all or nothing.
    ///
    /// # Errors
    /// [`Closed`] if the semaphore is closed, also while this waits.
    ///
    /// # Panics
    /// If `n` is more than [`MAX_PERMITS`](Semaphore::MAX_PERMITS), for which it would wait in vain; and as `acquire`. It waits for as long
    /// as it takes for any other number, also one that is larger than the semaphore was made with: some may be
    /// added.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::sync::Semaphore;
    ///
    /// let kilobytes = Semaphore::new(1000);
    /// let buffer = kilobytes.acquire_many(64).unwrap();
    /// assert_eq!(buffer.num_permits(), 64);
    /// assert_eq!(kilobytes.available_permits(), 936);
    /// ```
    #[inline]
    #[track_caller]
    pub fn acquire_many(&self, n: usize) -> Result<Permit<'_>, Closed> {
        self.take(n)?;
        Ok(Permit::new(self, n))
    }

    /// [`acquire`](Semaphore::acquire) with a limit. A limit of zero takes a permit that is there; one that ends
    /// more than 500 years from now is none.
    ///
    /// # Cancellation
    /// As [`acquire`](Semaphore::acquire).
    ///
    /// # Errors
    /// [`NoPermits`](TryAcquireError::NoPermits) if there was none in that time, [`Closed`](TryAcquireError::Closed) if
    /// the semaphore is closed.
    ///
    /// # Panics
    /// As [`acquire`](Semaphore::acquire).
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use withy_runtime::sync::{Semaphore, TryAcquireError};
    ///
    /// let places = Semaphore::new(1);
    /// let place = places.acquire_timeout(Duration::ZERO).unwrap();
    /// let late = places.acquire_timeout(Duration::from_millis(2));
    /// assert_eq!(late.unwrap_err(), TryAcquireError::NoPermits);
    /// ```
    #[inline]
    pub fn acquire_timeout(&self, limit: Duration) -> Result<Permit<'_>, TryAcquireError> {
        self.acquire_many_timeout(1, limit)
    }

    /// [`acquire_many`](Semaphore::acquire_many) with a limit, as [`acquire_timeout`](Semaphore::acquire_timeout) has it.
    ///
    /// # Cancellation
    /// As [`acquire`](Semaphore::acquire): all or nothing.
    ///
    /// # Errors
    /// As [`acquire_timeout`](Semaphore::acquire_timeout).
    ///
    /// # Panics
    /// As [`acquire_many`](Semaphore::acquire_many).
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use withy_runtime::sync::Semaphore;
    ///
    /// let places = Semaphore::new(1);
    /// assert!(places.acquire_many_timeout(2, Duration::from_millis(2)).is_err());
    /// assert_eq!(places.available_permits(), 1);
    /// ```
    #[inline]
    #[track_caller]
    pub fn acquire_many_timeout(
        &self,
        n: usize,
        limit: Duration,
    ) -> Result<Permit<'_>, TryAcquireError> {
        self.take_until(n, || time::moment().after(limit))?;
        Ok(Permit::new(self, n))
    }

    /// Takes a permit if there is one and nobody waits for it. It does not wait and does not unwind; in a coroutine that tries again and
    /// again in vain, it lets others run now and then.
    ///
    /// # Errors
    /// [`NoPermits`](TryAcquireError::NoPermits) if not, [`Closed`](TryAcquireError::Closed) if the semaphore is closed.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::sync::{Semaphore, TryAcquireError};
    ///
    /// let places = Semaphore::new(1);
    /// let place = places.try_acquire().unwrap();
    /// assert_eq!(places.try_acquire().unwrap_err(), TryAcquireError::NoPermits);
    /// ```
    #[inline]
    pub fn try_acquire(&self) -> Result<Permit<'_>, TryAcquireError> {
        self.try_acquire_many(1)
    }

    /// Takes `n` permits if there are as many and nobody waits, as [`try_acquire`](Semaphore::try_acquire). There never are more than
    /// [`MAX_PERMITS`](Semaphore::MAX_PERMITS).
    ///
    /// # Errors
    /// As [`try_acquire`](Semaphore::try_acquire).
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::sync::Semaphore;
    ///
    /// let places = Semaphore::new(3);
    /// assert!(places.try_acquire_many(4).is_err());
    /// assert!(places.try_acquire_many(3).is_ok());
    /// ```
    #[inline]
    pub fn try_acquire_many(&self, n: usize) -> Result<Permit<'_>, TryAcquireError> {
        self.try_take(n)?;
        Ok(Permit::new(self, n))
    }

    /// [`acquire`](Semaphore::acquire), for a guard that keeps the semaphore alive, and so may go wherever it likes.
    ///
    /// # Cancellation
    /// As [`acquire`](Semaphore::acquire).
    ///
    /// # Errors
    /// [`Closed`] if the semaphore is closed, also while this waits.
    ///
    /// # Panics
    /// As [`acquire`](Semaphore::acquire).
    ///
    /// # Examples
    /// Whoever starts them waits for a place, so that there are never more than ten:
    /// ```
    /// use std::sync::Arc;
    /// use withy_runtime::{spawn, sync::Semaphore};
    ///
    /// let places = Arc::new(Semaphore::new(10));
    /// for _ in 0..100 {
    ///     let place = places.acquire_owned().unwrap();
    ///     spawn(move || {
    ///         let _place = place;
    ///         // …
    ///     });
    /// }
    /// let all = places.acquire_many(10).unwrap(); // they have ended
    /// ```
    #[inline]
    pub fn acquire_owned(self: &Arc<Self>) -> Result<OwnedPermit, Closed> {
        self.acquire_many_owned(1)
    }

    /// [`acquire_many`](Semaphore::acquire_many), for a guard that keeps the semaphore alive.
    ///
    /// # Cancellation
    /// As [`acquire`](Semaphore::acquire): all or nothing.
    ///
    /// # Errors
    /// [`Closed`] if the semaphore is closed, also while this waits.
    ///
    /// # Panics
    /// As [`acquire_many`](Semaphore::acquire_many).
    ///
    /// # Examples
    /// ```
    /// use std::sync::Arc;
    /// use withy_runtime::sync::Semaphore;
    ///
    /// let permits = Arc::new(Semaphore::new(3)).acquire_many_owned(2).unwrap();
    /// assert_eq!(permits.semaphore().available_permits(), 1);
    /// ```
    #[inline]
    #[track_caller]
    pub fn acquire_many_owned(self: &Arc<Self>, n: usize) -> Result<OwnedPermit, Closed> {
        self.take(n)?;
        Ok(OwnedPermit::new(self.clone(), n))
    }

    /// [`try_acquire`](Semaphore::try_acquire), for a guard that keeps the semaphore alive.
    ///
    /// # Errors
    /// As [`try_acquire`](Semaphore::try_acquire).
    ///
    /// # Examples
    /// ```
    /// use std::sync::Arc;
    /// use withy_runtime::sync::Semaphore;
    ///
    /// let places = Arc::new(Semaphore::new(1));
    /// let place = places.try_acquire_owned().unwrap();
    /// assert!(places.try_acquire_owned().is_err());
    /// ```
    #[inline]
    pub fn try_acquire_owned(self: &Arc<Self>) -> Result<OwnedPermit, TryAcquireError> {
        self.try_acquire_many_owned(1)
    }

    /// [`try_acquire_many`](Semaphore::try_acquire_many), for a guard that keeps the semaphore alive.
    ///
    /// # Errors
    /// As [`try_acquire`](Semaphore::try_acquire).
    ///
    /// # Examples
    /// ```
    /// use std::sync::Arc;
    /// use withy_runtime::sync::Semaphore;
    ///
    /// let places = Arc::new(Semaphore::new(3));
    /// let two = places.try_acquire_many_owned(2).unwrap();
    /// assert!(places.try_acquire_many_owned(2).is_err());
    /// ```
    #[inline]
    pub fn try_acquire_many_owned(
        self: &Arc<Self>,
        n: usize,
    ) -> Result<OwnedPermit, TryAcquireError> {
        self.try_take(n)?;
        Ok(OwnedPermit::new(self.clone(), n))
    }

    /// So many permits are free. While somebody waits, these are kept for it.
    #[must_use]
    pub fn available_permits(&self) -> usize {
        self.raw.available()
    }

    /// Adds `n` permits, which go to those who wait first.
    ///
    /// # Panics
    /// If there would be more than [`MAX_PERMITS`](Semaphore::MAX_PERMITS). None is added then.
    ///
    /// # Examples
    /// An event that lets three pass:
    /// ```
    /// use withy_runtime::{scope, sync::Semaphore};
    ///
    /// let event = Semaphore::new(0);
    /// scope(|s| {
    ///     for _ in 0..3 {
    ///         s.spawn(|| event.acquire().unwrap().forget());
    ///     }
    ///     event.add_permits(3);
    /// });
    /// assert_eq!(event.available_permits(), 0);
    /// ```
    #[track_caller]
    pub fn add_permits(&self, n: usize) {
        assert!(
            self.raw.add(n),
            "cannot add {n} permits: a semaphore has at most Semaphore::MAX_PERMITS permits"
        );
    }

    /// Takes `n` of those permits that are free out of the world, or all of them if there are fewer; says how many. Those that are held are
    /// [forgotten](Permit::forget) by who holds them.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::sync::Semaphore;
    ///
    /// let places = Semaphore::new(10);
    /// let place = places.acquire().unwrap();
    /// assert_eq!(places.forget_permits(4), 4);
    /// assert_eq!(places.forget_permits(100), 5);
    /// drop(place);
    /// assert_eq!(places.available_permits(), 1);
    /// ```
    pub fn forget_permits(&self, n: usize) -> usize {
        self.raw.forget(n)
    }

    /// From now on nobody gets a permit, and whoever waits for one is told. Permits that are held are given back as ever. It cannot be
    /// opened again.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::{spawn, sync::{Closed, Semaphore}};
    ///
    /// static WORK: Semaphore = Semaphore::new(0);
    /// let waiter = spawn(|| WORK.acquire().map(drop));
    /// WORK.close();
    /// assert_eq!(waiter.join().unwrap(), Err(Closed));
    /// assert!(WORK.is_closed());
    /// ```
    pub fn close(&self) {
        self.raw.close();
    }

    /// Whether it was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.raw.is_closed()
    }

    /// For guards.
    #[inline]
    pub(super) fn release(&self, n: usize) {
        self.raw.release(n);
    }

    #[inline]
    #[track_caller]
    fn take(&self, n: usize) -> Result<(), Closed> {
        // Without a deadline there is one reason only.
        self.take_until(n, || Moment::NEVER).map_err(|_| Closed)
    }

    #[inline]
    #[track_caller]
    fn take_until(
        &self,
        n: usize,
        deadline: impl FnOnce() -> Moment,
    ) -> Result<(), TryAcquireError> {
        assert!(
            n <= Semaphore::MAX_PERMITS,
            "cannot acquire {n} permits: a semaphore has at most Semaphore::MAX_PERMITS permits"
        );
        self.tally.count();
        match self.raw.try_acquire(n) {
            Err(Refusal::NoPermits) => self.raw.acquire_slowly(n, deadline())?,
            outcome => outcome?,
        }
        Ok(())
    }

    #[inline]
    fn try_take(&self, n: usize) -> Result<(), TryAcquireError> {
        let taken = self.raw.try_acquire(n);
        if taken.is_err() {
            self.tally.count_failure();
        }
        Ok(taken?)
    }
}

impl core::panic::UnwindSafe for Semaphore {}
impl core::panic::RefUnwindSafe for Semaphore {}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore")
            .field("permits", &self.available_permits())
            .field("waiting", &self.raw.is_waited_for())
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}
