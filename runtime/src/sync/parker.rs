//! `Parker`, as crossbeam has it.

use core::cell::Cell;
use core::fmt;
use core::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::sync::notify::Notify;
use crate::time::Moment;

/// Waits for a token that its [`Unparker`]s give; crossbeam's `Parker` for coroutines and plain threads alike.
///
/// It is [`park`](crate::park) with a token of its own: no other code that parks in between takes it away, and whoever gives it
/// need not know who waits. There is one token at most, and it is kept until it is taken.
///
/// One at a time waits for it, so it cannot be shared, but it may be sent elsewhere. Unlike crossbeam's it has no `into_raw` and `from_raw`.
///
/// # Examples
/// ```
/// use withy_runtime::{spawn, sync::Parker};
///
/// let parker = Parker::new();
/// let unparker = parker.unparker().clone();
/// unparker.unpark();
/// parker.park(); // the token is there
///
/// spawn(move || unparker.unpark());
/// parker.park();
/// ```
pub struct Parker {
    unparker: Unparker,
    not_sync: PhantomData<Cell<()>>,
}

/// Gives a [`Parker`] its token.
#[derive(Clone)]
pub struct Unparker {
    token: Arc<Notify>,
}

impl Parker {
    /// A parker without a token.
    #[must_use]
    pub fn new() -> Parker {
        Parker {
            unparker: Unparker {
                token: Arc::new(Notify::new()),
            },
            not_sync: PhantomData,
        }
    }

    /// Waits for the token, and takes it. It does not return without.
    ///
    /// # Cancellation
    /// A blocking call: it unwinds if the coroutine is cancelled, or a [`timeout`](crate::timeout) around it elapses. A token
    /// that comes at that moment is kept for the next `park`.
    ///
    /// # Panics
    /// Inside [`no_park`](crate::no_park), if it would have to wait.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::{spawn, sync::Parker};
    ///
    /// let parker = Parker::new();
    /// let unparker = parker.unparker().clone();
    /// spawn(move || unparker.unpark());
    /// parker.park();
    /// ```
    #[inline]
    pub fn park(&self) {
        self.unparker.token.wait();
    }

    /// [`park`](Parker::park) for `timeout` at most; one that ends more than 500 years from now is none. As crossbeam's it does not say
    /// whether the token came; [`Notify::wait_timeout`] does.
    ///
    /// # Cancellation
    /// As [`park`](Parker::park).
    ///
    /// # Panics
    /// As [`park`](Parker::park).
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use withy_runtime::sync::Parker;
    ///
    /// Parker::new().park_timeout(Duration::from_millis(2));
    /// ```
    #[inline]
    pub fn park_timeout(&self, timeout: Duration) {
        self.unparker.token.wait_timeout(timeout);
    }

    /// [`park`](Parker::park) until `deadline` at most, reckoned from [`now`](crate::now).
    ///
    /// # Cancellation
    /// As [`park`](Parker::park).
    ///
    /// # Panics
    /// As [`park`](Parker::park).
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use withy_runtime::{now, sync::Parker};
    ///
    /// Parker::new().park_deadline(now() + Duration::from_millis(2));
    /// ```
    #[inline]
    pub fn park_deadline(&self, deadline: Instant) {
        let notified = self.unparker.token.notified();
        notified.wait_until(|| Moment::from(deadline));
    }

    /// What gives this one its token. It can be cloned, and sent anywhere.
    #[must_use]
    pub fn unparker(&self) -> &Unparker {
        &self.unparker
    }
}

impl Unparker {
    /// Gives the token, if it is not there already. What the caller did before is seen after the [`park`](Parker::park) that takes it.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::sync::Parker;
    ///
    /// let parker = Parker::new();
    /// parker.unparker().unpark();
    /// parker.unparker().unpark(); // the token is there already
    /// parker.park();
    /// ```
    #[inline]
    pub fn unpark(&self) {
        self.token.notify_one();
    }
}

impl core::panic::RefUnwindSafe for Parker {}

impl Default for Parker {
    fn default() -> Parker {
        Parker::new()
    }
}

impl fmt::Debug for Parker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parker").finish_non_exhaustive()
    }
}

impl fmt::Debug for Unparker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unparker").finish_non_exhaustive()
    }
}
