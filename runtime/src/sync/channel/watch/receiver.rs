//! The half that looks.

use core::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{CHANGED, CLOSED, Ref, Shared, wait_in};
use crate::sync::channel::{RecvError, RecvTimeoutError};
use crate::sync::waiters::{Enter, Waited};
use crate::time::{self, Moment};

/// The half that looks at the value. A clone has seen what this one has, and looks for itself from then on.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    /// The version that it has seen.
    seen: u64,
}

/// Why there was no change.
enum Unchanged {
    TimedOut,
    Disconnected,
}

impl<T> Receiver<T> {
    /// One that has been counted.
    pub(super) fn new(shared: Arc<Shared<T>>, seen: u64) -> Receiver<T> {
        Receiver { shared, seen }
    }

    /// The value, borrowed: locked to read. It does not count as seen.
    ///
    /// Who holds it and changes the value waits for itself for ever; so may who borrows it twice.
    ///
    /// # Cancellation
    /// A blocking call: it waits while the value is changed, and unwinds if the coroutine is cancelled, or a
    /// [`timeout`](crate::timeout) around it elapses.
    ///
    /// # Panics
    /// Inside [`no_park`](crate::no_park), if it would have to wait.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::sync::channel::watch;
    ///
    /// let (sender, receiver) = watch(1);
    /// sender.send(2).unwrap();
    /// assert_eq!(*receiver.borrow(), 2);
    /// assert_eq!(receiver.has_changed(), Ok(true));
    /// ```
    pub fn borrow(&self) -> Ref<'_, T> {
        self.shared.read()
    }

    /// [`borrow`](Receiver::borrow) after which the value counts as seen.
    ///
    /// # Cancellation
    /// As [`borrow`](Receiver::borrow).
    ///
    /// # Panics
    /// As [`borrow`](Receiver::borrow).
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::sync::channel::watch;
    ///
    /// let (sender, mut receiver) = watch(1);
    /// sender.send(2).unwrap();
    /// assert_eq!(*receiver.borrow_and_update(), 2);
    /// assert_eq!(receiver.has_changed(), Ok(false));
    /// ```
    pub fn borrow_and_update(&mut self) -> Ref<'_, T> {
        let value = self.shared.read();
        self.seen = self.shared.version();
        value
    }

    /// Waits until there is a value that it has not seen. It counts as seen then.
    ///
    /// # Cancellation
    /// A blocking call: it unwinds if the coroutine is cancelled, or a [`timeout`](crate::timeout) around it elapses. It has seen nothing new
    /// then.
    ///
    /// # Errors
    /// If it has seen the last, and no sender is left.
    ///
    /// # Panics
    /// Inside [`no_park`](crate::no_park), if it would have to wait.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::{spawn, sync::channel::{RecvError, watch}};
    ///
    /// let (sender, mut receiver) = watch(1);
    /// spawn(move || sender.send(2).unwrap());
    /// assert_eq!(receiver.changed(), Ok(()));
    /// assert_eq!(*receiver.borrow(), 2);
    /// assert_eq!(receiver.changed(), Err(RecvError));
    /// ```
    pub fn changed(&mut self) -> Result<(), RecvError> {
        let Receiver { shared, seen } = self;
        wait_for_change(shared, seen, Moment::NEVER).map_err(|_| RecvError)
    }

    /// [`changed`](Receiver::changed) that waits for `timeout` at most.
    ///
    /// # Cancellation
    /// As [`changed`](Receiver::changed).
    ///
    /// # Errors
    /// If there was no change in time, or it has seen the last value and no sender is left.
    ///
    /// # Panics
    /// As [`changed`](Receiver::changed).
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use withy_runtime::sync::channel::{RecvTimeoutError, watch};
    ///
    /// let (_sender, mut receiver) = watch(1);
    /// let changed = receiver.changed_timeout(Duration::from_millis(2));
    /// assert_eq!(changed, Err(RecvTimeoutError::Timeout));
    /// ```
    pub fn changed_timeout(&mut self, timeout: Duration) -> Result<(), RecvTimeoutError> {
        let Receiver { shared, seen } = self;
        wait_for_change(shared, seen, time::moment().after(timeout)).map_err(|unchanged| {
            match unchanged {
                Unchanged::TimedOut => RecvTimeoutError::Timeout,
                Unchanged::Disconnected => RecvTimeoutError::Disconnected,
            }
        })
    }

    /// Whether there is a value that it has not seen.
    ///
    /// # Errors
    /// If it has seen the last, and no sender is left.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::sync::channel::{RecvError, watch};
    ///
    /// let (sender, mut receiver) = watch(1);
    /// sender.send(2).unwrap();
    /// drop(sender);
    /// assert_eq!(receiver.has_changed(), Ok(true));
    /// receiver.borrow_and_update();
    /// assert_eq!(receiver.has_changed(), Err(RecvError));
    /// ```
    pub fn has_changed(&self) -> Result<bool, RecvError> {
        self.shared.guarded.with(|access| {
            let changed = access.state.version != self.seen;
            match access.state.senders {
                0 if !changed => Err(RecvError),
                _ => Ok(changed),
            }
        })
    }

    /// Waits until there is a value that `wanted` says yes to: the one that is there, or a later one. It counts as seen, as do
    /// those that `wanted` has said no to.
    ///
    /// # Cancellation
    /// As [`changed`](Receiver::changed).
    ///
    /// # Errors
    /// If the last value was none, and no sender is left.
    ///
    /// # Panics
    /// As [`changed`](Receiver::changed), and if `wanted` does. It is called while the value is locked to read.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::{spawn, sync::channel::{RecvError, watch}};
    ///
    /// let (sender, mut receiver) = watch(0);
    /// spawn(move || (1..=9).for_each(|n| sender.send(n).unwrap()));
    /// assert!(*receiver.wait_for(|&n| n > 4).unwrap() > 4);
    /// assert_eq!(*receiver.wait_for(|&n| n == 9).unwrap(), 9);
    /// assert_eq!(receiver.wait_for(|&n| n > 9).err(), Some(RecvError));
    /// ```
    pub fn wait_for(
        &mut self,
        mut wanted: impl FnMut(&T) -> bool,
    ) -> Result<Ref<'_, T>, RecvError> {
        let Receiver { shared, seen } = self;
        loop {
            let value = shared.read();
            *seen = shared.version();
            if wanted(&value) {
                return Ok(value);
            }
            drop(value);
            wait_for_change(shared, seen, Moment::NEVER).map_err(|_| RecvError)?;
        }
    }

    /// Whether both look at the same value.
    #[must_use]
    pub fn same_channel(&self, other: &Receiver<T>) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

fn wait_for_change<T>(
    shared: &Shared<T>,
    seen: &mut u64,
    deadline: Moment,
) -> Result<(), Unchanged> {
    shared.tally.count();
    loop {
        let waited = shared.guarded.wait(
            deadline,
            |access| {
                let state = &*access.state;
                if state.version != *seen {
                    *seen = state.version;
                    Enter::Done(Ok(()))
                } else if state.senders == 0 {
                    Enter::Done(Err(Unchanged::Disconnected))
                } else {
                    wait_in(CHANGED)
                }
            },
            // All are woken, each looks for itself: there is nothing to pass on.
            |_, (), _| {},
        );
        match waited {
            Waited::Done(done) => return done,
            Waited::Woken(()) => {}
            Waited::TimedOut(()) => return Err(Unchanged::TimedOut),
        }
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Receiver<T> {
        self.shared
            .guarded
            .with(|access| access.state.receivers += 1);
        Receiver::new(self.shared.clone(), self.seen)
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.shared.guarded.with(|access| {
            access.state.receivers -= 1;
            if access.state.receivers == 0 {
                access.wake_all(CLOSED, |()| {});
            }
        });
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Receiver { .. }")
    }
}
