//! Cancellation by hand: `shield`, and tokens.
//!
//! A token is a flag with those who listen to it: waiters, and regions of code (frames) that it interrupts. Both stand in
//! one list under the token's lock. `cancel` sets the flag and takes the list in one step under the lock; whoever
//! enters looks at the flag under the same lock. So each listener is either told or finds the flag set, once. They are
//! told after the lock is free, for telling may wake a worker.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::atomic::{AtomicBool, Ordering};
#[cfg(panic = "unwind")]
use crate::coroutine::unwind::Cancelled;
#[cfg(panic = "unwind")]
use crate::task::interrupt;
use crate::task::interrupt::Mask;
use crate::task::park::{self, Unparker};
use crate::time::Moment;

/// Runs `f` and withholds interruption from it: neither a cancellation nor a [`timeout`](crate::timeout) around the
/// shield unwinds a call inside. They come at the first blocking call after it.
///
/// For clean-up and for code that must finish; for unsafe code that waits to keep borrows alive; and for callbacks of C
/// libraries, since unwinding out of an `extern "C"` function aborts the process. Timeouts *inside* the shield work, so clean-up
/// can have a bound of its own.
///
/// # Panics
/// If `f` does.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use withy_runtime::{shield, sleep, timeout};
///
/// let mut saved = false;
/// let result = timeout(Duration::from_millis(1), || {
///     shield(|| {
///         sleep(Duration::from_millis(5)); // longer than the timeout, and not cut short
///         saved = true;
///     });
///     sleep(Duration::from_secs(60)); // here it elapses
/// });
/// assert!(result.is_err() && saved);
/// ```
pub fn shield<T>(f: impl FnOnce() -> T) -> T {
    let _mask = Mask::new();
    f()
}

/// Tells any number of coroutines and threads to stop what they do. Clones are the same token.
///
/// A token does nothing by itself: code looks at it ([`is_cancelled`](CancelToken::is_cancelled)), waits for it
/// ([`wait`](CancelToken::wait)), or runs a region under it ([`run`](CancelToken::run)), which its cancellation unwinds.
/// Cancelling a token cancels its [children](CancelToken::child), but not its parent. It cannot be taken back.
///
/// # Examples
/// ```
/// use withy_runtime::{CancelToken, Cancelled, park, spawn};
///
/// let token = CancelToken::new();
/// let workers: Vec<_> = (0..3)
///     .map(|_| {
///         let token = token.child();
///         spawn(move || token.run(park))
///     })
///     .collect();
/// token.cancel();
/// for worker in workers {
///     let stopped: Result<(), Cancelled> = worker.join().unwrap();
///     assert!(stopped.is_err());
/// }
/// ```
#[derive(Clone)]
pub struct CancelToken(Arc<Inner>);

struct Inner {
    cancelled: AtomicBool,
    state: Mutex<Listeners>,
    /// A child keeps its parent, so that a token in between may be dropped.
    parent: Option<CancelToken>,
}

#[derive(Default)]
struct Listeners {
    /// By ticket. Bounded by who waits or runs under the token (law 8).
    waiters: BTreeMap<u64, Unparker>,
    /// Swept of those that are gone when it has doubled.
    children: Vec<Weak<Inner>>,
    sweep_at: usize,
    next: u64,
}

impl CancelToken {
    /// A token that nobody has cancelled.
    #[must_use]
    pub fn new() -> CancelToken {
        CancelToken::with_parent(None)
    }

    fn with_parent(parent: Option<CancelToken>) -> CancelToken {
        CancelToken(Arc::new(Inner {
            cancelled: AtomicBool::new(false),
            state: Mutex::default(),
            parent,
        }))
    }

    /// A token that is cancelled when this one is, or by itself. Of a cancelled one it is cancelled already.
    ///
    /// # Examples
    /// ```
    /// let all = withy_runtime::CancelToken::new();
    /// let (one, other) = (all.child(), all.child());
    /// one.cancel();
    /// assert!(one.is_cancelled() && !other.is_cancelled() && !all.is_cancelled());
    /// all.cancel();
    /// assert!(other.is_cancelled() && all.child().is_cancelled());
    /// ```
    #[must_use]
    pub fn child(&self) -> CancelToken {
        let child = CancelToken::with_parent(Some(self.clone()));
        let mut state = self.0.state.lock();
        if self.is_cancelled() {
            child.0.cancelled.store(true, Ordering::Release);
        } else {
            state.adopt(Arc::downgrade(&child.0));
        }
        drop(state);
        child
    }

    /// Cancels it and its children, and theirs. Nothing happens if it was before.
    pub fn cancel(&self) {
        // A list instead of recursion: the tree may be deep.
        let mut tokens = vec![self.0.clone()];
        while let Some(token) = tokens.pop() {
            let mut state = token.state.lock();
            if token.cancelled.swap(true, Ordering::AcqRel) {
                continue;
            }
            let waiters = core::mem::take(&mut state.waiters);
            let children = core::mem::take(&mut state.children);
            drop(state);
            waiters.values().for_each(Unparker::raise);
            tokens.extend(children.iter().filter_map(Weak::upgrade));
        }
    }

    /// Whether it has been cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::Acquire)
    }

    /// Waits until it is cancelled.
    ///
    /// # Cancellation
    /// A blocking call: it unwinds if the coroutine is cancelled, or a [`timeout`](crate::timeout) around it elapses.
    ///
    /// # Panics
    /// Inside [`no_park`](crate::no_park), unless it has been cancelled already.
    ///
    /// # Examples
    /// ```
    /// let token = withy_runtime::CancelToken::new();
    /// let child = token.child();
    /// let told = withy_runtime::spawn(move || child.wait());
    /// token.cancel();
    /// told.join().unwrap();
    /// ```
    pub fn wait(&self) {
        let Some(_listening) = self.listen() else {
            return;
        };
        while !self.is_cancelled() {
            park::park(Moment::NEVER);
        }
    }

    /// Runs `f`, and unwinds out of it, at its current or next blocking call, when the token is cancelled.
    ///
    /// Only the region is unwound, as by a [`timeout`](crate::timeout), and with the same properties: it nests, a
    /// value that `f` returns counts, and [`shield`] withholds it.
    ///
    /// A method of programs that unwind: with `panic = "abort"` it does not exist.
    ///
    /// # Errors
    /// [`Cancelled`] if `f` was unwound, or the token had been cancelled before and `f` was not run at all.
    ///
    /// # Panics
    /// If `f` does.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::{CancelToken, Cancelled, park};
    /// let token = CancelToken::new();
    /// assert_eq!(token.run(|| 6 * 7).ok(), Some(42));
    /// let ended = token.run(|| {
    ///     token.cancel();
    ///     park(); // unwinds
    /// });
    /// assert!(matches!(ended, Err(Cancelled { .. })));
    /// ```
    #[cfg(panic = "unwind")]
    pub fn run<T>(&self, f: impl FnOnce() -> T) -> Result<T, Cancelled> {
        let Some(_listening) = self.listen() else {
            return Err(Cancelled);
        };
        interrupt::within(Moment::NEVER, Some(&self.0.cancelled), f)
            .map_err(|interrupt::Due| Cancelled)
    }

    /// Enters the caller in the list, unless the token has been cancelled.
    pub(crate) fn listen(&self) -> Option<Listening<'_>> {
        let unparker = Unparker::current();
        let mut state = self.0.state.lock();
        if self.is_cancelled() {
            return None;
        }
        state.next += 1;
        let ticket = state.next;
        state.waiters.insert(ticket, unparker);
        drop(state);
        Some(Listening {
            token: self,
            ticket,
        })
    }
}

impl Listeners {
    fn adopt(&mut self, child: Weak<Inner>) {
        if self.children.len() >= self.sweep_at {
            self.children.retain(|child| child.strong_count() > 0);
            self.sweep_at = 2 * self.children.len() + 8;
        }
        self.children.push(child);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // One by one: a long line of parents, each dropped by its child, would overflow the stack.
        let mut parent = self.parent.take();
        while let Some(token) = parent {
            parent = Arc::into_inner(token.0).and_then(|mut inner| inner.parent.take());
        }
    }
}

/// A place in a token's list, given up when the call that took it ends or unwinds.
pub(crate) struct Listening<'a> {
    token: &'a CancelToken,
    ticket: u64,
}

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        let mut state = self.token.0.state.lock();
        let gone = state.waiters.remove(&self.ticket);
        drop(state);
        // Outside the lock: the last reference frees a record.
        drop(gone);
    }
}

impl Default for CancelToken {
    fn default() -> CancelToken {
        CancelToken::new()
    }
}

impl core::fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("CancelToken")
            .field("cancelled", &self.is_cancelled())
            .finish_non_exhaustive()
    }
}
