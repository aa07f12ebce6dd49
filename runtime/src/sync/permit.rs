//! What a semaphore gives out: permits, or the reason why there is none.

use core::fmt;
use std::error::Error;
use std::sync::Arc;

use crate::sync::raw_semaphore::Refusal;
use crate::sync::semaphore::Semaphore;

/// Permits of a [`Semaphore`], given back when this is dropped. It is bound to no thread.
#[must_use = "if unused the permits are given back at once"]
pub struct Permit<'a> {
    semaphore: &'a Semaphore,
    count: usize,
}

/// A [`Permit`] that keeps its semaphore alive.
#[must_use = "if unused the permits are given back at once"]
pub struct OwnedPermit {
    semaphore: Arc<Semaphore>,
    count: usize,
}

/// The semaphore was closed: nobody gets a permit any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Closed;

/// Why there was no permit at once, or in the time given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TryAcquireError {
    /// There are fewer than are wanted, or others wait for them.
    NoPermits,
    /// The semaphore was closed.
    Closed,
}

impl<'a> Permit<'a> {
    /// Whose permits they are.
    #[must_use]
    pub fn semaphore(&self) -> &'a Semaphore {
        self.semaphore
    }
}

impl OwnedPermit {
    /// Whose permits they are.
    #[must_use]
    pub fn semaphore(&self) -> &Arc<Semaphore> {
        &self.semaphore
    }
}

/// What they have in common.
macro_rules! permit {
    ($permit:ident [$($life:lifetime)?], $semaphore:ty, $same:expr) => {
        impl<$($life)?> $permit<$($life)?> {
            /// `count` permits were taken.
            #[inline]
            pub(super) fn new(semaphore: $semaphore, count: usize) -> Self {
                $permit { semaphore, count }
            }

            /// How many permits it holds.
            #[must_use]
            pub fn num_permits(&self) -> usize {
                self.count
            }

            /// Does not give them back: the semaphore has so many fewer from now on.
            ///
            /// # Examples
            /// ```
            /// use std::sync::Arc;
            /// use withy_runtime::sync::Semaphore;
            ///
            /// let places = Arc::new(Semaphore::new(3));
            /// places.acquire_owned().unwrap().forget();
            /// assert_eq!(places.available_permits(), 2);
            /// ```
            pub fn forget(mut self) {
                let _ = core::mem::take(&mut self.count);
            }

            /// Takes the permits of another guard into this one.
            ///
            /// # Panics
            /// If they are another semaphore's, or more than `usize::MAX` together; what the other guard holds is given back
            /// then.
            ///
            /// # Examples
            /// ```
            /// use std::sync::Arc;
            /// use withy_runtime::sync::Semaphore;
            ///
            /// let places = Arc::new(Semaphore::new(3));
            /// let mut permit = places.acquire().unwrap();
            /// permit.merge(places.acquire_many(2).unwrap());
            /// assert_eq!(permit.num_permits(), 3);
            /// ```
            #[track_caller]
            pub fn merge(&mut self, other: Self) {
                assert!(
                    $same(&self.semaphore, &other.semaphore),
                    "cannot merge permits of two semaphores"
                );
                let Some(sum) = self.count.checked_add(other.count) else {
                    panic!("cannot merge {} permits with {}", self.count, other.count);
                };
                self.count = sum;
                other.forget();
            }

            /// Takes `n` permits out of this guard into one of their own; `None` if it holds fewer.
            ///
            /// # Examples
            /// ```
            /// use std::sync::Arc;
            /// use withy_runtime::sync::Semaphore;
            ///
            /// let places = Arc::new(Semaphore::new(3));
            /// let mut all = places.acquire_many(3).unwrap();
            /// drop(all.split(2));
            /// assert_eq!((all.num_permits(), places.available_permits()), (1, 2));
            /// assert!(all.split(2).is_none());
            /// ```
            pub fn split(&mut self, n: usize) -> Option<Self> {
                self.count = self.count.checked_sub(n)?;
                Some($permit {
                    #[allow(clippy::clone_on_copy, reason = "it is an Arc in the other guard")]
                    semaphore: self.semaphore.clone(),
                    count: n,
                })
            }
        }

        impl<$($life)?> Drop for $permit<$($life)?> {
            #[inline]
            fn drop(&mut self) {
                if self.count != 0 {
                    self.semaphore.release(self.count);
                }
            }
        }

        impl<$($life)?> fmt::Debug for $permit<$($life)?> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($permit))
                    .field("num_permits", &self.count)
                    .finish_non_exhaustive()
            }
        }
    };
}

permit!(Permit ['a], &'a Semaphore, |a: &&Semaphore, b: &&Semaphore| {
    core::ptr::eq(*a, *b)
});
permit!(OwnedPermit [], Arc<Semaphore>, Arc::ptr_eq);

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the semaphore is closed")
    }
}

impl Error for Closed {}

impl fmt::Display for TryAcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TryAcquireError::NoPermits => f.write_str("the semaphore has too few permits"),
            TryAcquireError::Closed => Closed.fmt(f),
        }
    }
}

impl Error for TryAcquireError {}

impl From<Closed> for TryAcquireError {
    fn from(Closed: Closed) -> TryAcquireError {
        TryAcquireError::Closed
    }
}

impl From<Refusal> for TryAcquireError {
    #[inline]
    fn from(refusal: Refusal) -> TryAcquireError {
        match refusal {
            Refusal::NoPermits => TryAcquireError::NoPermits,
            Refusal::Closed => TryAcquireError::Closed,
        }
    }
}
