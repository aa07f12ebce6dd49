//! A value that changes, and those who want to know when: a channel that keeps the last message only.
//!
//! The value lies under a [`RwLock`], its version under the lock of the wait queue. The version changes while the value is locked
//! to write. So whoever reads both while it is locked to read has a version that belongs to the value.

mod receiver;

use core::fmt;
use core::ops::Deref;
use std::sync::Arc;
use std::sync::PoisonError;

use crate::sync::channel::SendError;
use crate::sync::rwlock::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use crate::sync::tally::Tally;
use crate::sync::waiters::{Enter, Guarded, Place};
use crate::time::Moment;

pub use receiver::Receiver;

/// The half that changes the value. Clones change the same.
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
}

/// The value, borrowed. It is locked to read meanwhile: nobody changes it, and whoever wants to waits. It stays on its thread.
#[must_use = "if unused the value is unlocked at once"]
pub struct Ref<'a, T> {
    value: RwLockReadGuard<'a, T>,
}

struct Shared<T> {
    value: RwLock<T>,
    guarded: Guarded<State, (), QUEUES>,
    tally: Tally,
}

struct State {
    /// How often the value was changed.
    version: u64,
    senders: usize,
    receivers: usize,
}

/// Receivers that wait for a change.
const CHANGED: usize = 0;
/// Senders that wait until no receiver is left.
const CLOSED: usize = 1;
const QUEUES: usize = 2;

/// A channel that keeps the last value only. Its receiver, and those that [`Sender::subscribe`] gives, see it at any time, and can
/// wait until it changes. Values between that nobody looked at in time are not seen.
///
/// # Examples
/// ```
/// use withy_runtime::{spawn, sync::channel::watch};
///
/// let (sender, mut receiver) = watch("starting");
/// spawn(move || {
///     sender.send("running").unwrap();
///     sender.send("stopped").unwrap();
/// });
/// let last = receiver.wait_for(|state| *state == "stopped").unwrap();
/// assert_eq!(*last, "stopped");
/// ```
#[must_use]
pub fn watch<T>(initial: T) -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared {
        value: RwLock::new(initial),
        guarded: Guarded::new(State {
            version: 0,
            senders: 1,
            receivers: 1,
        }),
        tally: Tally::new(),
    });
    let receiver = Receiver::new(shared.clone(), 0);
    (Sender { shared }, receiver)
}

impl<T> Sender<T> {
    /// Puts a value into the place of the last, and wakes those who wait for a change.
    ///
    /// # Cancellation
    /// A blocking call: it waits while the value is borrowed, and unwinds if the coroutine is cancelled, or a [`timeout`](crate::timeout) around
    /// it elapses. Nothing is changed then.
    ///
    /// # Errors
    /// With the value, if there is no receiver; the last one stays. There may be a receiver again later.
    ///
    /// # Panics
    /// Inside [`no_park`](crate::no_park), if it would have to wait.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::sync::channel::{SendError, watch};
    ///
    /// let (sender, receiver) = watch(1);
    /// sender.send(2).unwrap();
    /// assert_eq!(*receiver.borrow(), 2);
    /// drop(receiver);
    /// assert_eq!(sender.send(3), Err(SendError(3)));
    /// ```
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        if self.receiver_count() == 0 {
            return Err(SendError(value));
        }
        self.send_replace(value);
        Ok(())
    }

    /// [`send`](Sender::send) that gives the last value, and does so without a receiver, too.
    ///
    /// # Cancellation
    /// As [`send`](Sender::send).
    ///
    /// # Panics
    /// As [`send`](Sender::send).
    ///
    /// # Examples
    /// ```
    /// let (sender, receiver) = withy_runtime::sync::channel::watch(1);
    /// assert_eq!(sender.send_replace(2), 1);
    /// assert_eq!(*receiver.borrow(), 2);
    /// ```
    pub fn send_replace(&self, value: T) -> T {
        let mut locked = self.shared.write();
        let last = core::mem::replace(&mut *locked, value);
        self.shared.change();
        last
    }

    /// Changes the value by `change`, and wakes those who wait for that; without a receiver, too. If `change` panics they are not woken,
    /// and the value stays as it left it.
    ///
    /// # Cancellation
    /// As [`send`](Sender::send).
    ///
    /// # Panics
    /// If `change` does, and as [`send`](Sender::send). If `change` uses the channel it waits for itself for ever.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::sync::channel::watch;
    ///
    /// let (sender, receiver) = watch(vec![1]);
    /// sender.send_modify(|list| list.push(2));
    /// assert_eq!(*receiver.borrow(), [1, 2]);
    /// ```
    pub fn send_modify(&self, change: impl FnOnce(&mut T)) {
        self.send_if_modified(|value| {
            change(value);
            true
        });
    }

    /// [`send_modify`](Sender::send_modify) of which `change` says whether it has changed anything. Gives what that says.
    ///
    /// # Cancellation
    /// As [`send`](Sender::send).
    ///
    /// # Panics
    /// As [`send_modify`](Sender::send_modify).
    ///
    /// # Examples
    /// ```
    /// let (sender, receiver) = withy_runtime::sync::channel::watch(1);
    /// let raise_to = |least: u32| sender.send_if_modified(|n| std::mem::replace(n, least.max(*n)) < least);
    /// assert!(!raise_to(1));
    /// assert_eq!(receiver.has_changed(), Ok(false));
    /// assert!(raise_to(2));
    /// assert_eq!(receiver.has_changed(), Ok(true));
    /// ```
    pub fn send_if_modified(&self, change: impl FnOnce(&mut T) -> bool) -> bool {
        let mut value = self.shared.write();
        let changed = change(&mut value);
        if changed {
            self.shared.change();
        }
        changed
    }

    /// The value, borrowed: locked to read. Who holds it and changes the value waits for itself for ever; so may who borrows it twice.
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
    /// let (sender, _receiver) = withy_runtime::sync::channel::watch(1);
    /// assert_eq!(*sender.borrow(), 1);
    /// ```
    pub fn borrow(&self) -> Ref<'_, T> {
        self.shared.read()
    }

    /// A receiver that has seen the value that there is now.
    ///
    /// # Examples
    /// ```
    /// let (sender, receiver) = withy_runtime::sync::channel::watch(1);
    /// drop(receiver);
    /// let mut receiver = sender.subscribe();
    /// sender.send(2).unwrap();
    /// assert_eq!(*receiver.borrow_and_update(), 2);
    /// ```
    #[must_use]
    pub fn subscribe(&self) -> Receiver<T> {
        let seen = self.shared.guarded.with(|access| {
            access.state.receivers += 1;
            access.state.version
        });
        Receiver::new(self.shared.clone(), seen)
    }

    /// How many receivers there are.
    #[must_use]
    pub fn receiver_count(&self) -> usize {
        self.shared.guarded.with(|access| access.state.receivers)
    }

    /// Whether no receiver is left.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.receiver_count() == 0
    }

    /// Waits until no receiver is left.
    ///
    /// # Cancellation
    /// A blocking call: it unwinds if the coroutine is cancelled, or a [`timeout`](crate::timeout) around it elapses.
    ///
    /// # Panics
    /// Inside [`no_park`](crate::no_park), if it would have to wait.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::{spawn, sync::channel::watch};
    ///
    /// let (sender, receiver) = watch(1);
    /// spawn(move || drop(receiver));
    /// sender.closed();
    /// assert!(sender.is_closed());
    /// ```
    pub fn closed(&self) {
        self.shared.tally.count();
        self.shared.guarded.wait(
            Moment::NEVER,
            |access| match access.state.receivers {
                0 => Enter::Done(()),
                _ => wait_in(CLOSED),
            },
            |_, (), _| {},
        );
    }

    /// Whether both change the same value.
    #[must_use]
    pub fn same_channel(&self, other: &Sender<T>) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

impl<T> Shared<T> {
    /// A panic of a user's closure under the lock is the user's matter, as it is with a `RefCell`: no poison.
    fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.value.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> Ref<'_, T> {
        let value = self.value.read().unwrap_or_else(PoisonError::into_inner);
        Ref { value }
    }

    /// For who has it locked to write.
    fn change(&self) {
        self.guarded.with(|access| {
            access.state.version += 1;
            access.wake_all(CHANGED, |()| {});
        });
    }

    fn version(&self) -> u64 {
        self.guarded.with(|access| access.state.version)
    }
}

fn wait_in<R>(queue: usize) -> Enter<R, ()> {
    Enter::Wait {
        queue,
        place: Place::Back,
        payload: (),
    }
}

impl<T> Deref for Ref<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        self.shared.guarded.with(|access| access.state.senders += 1);
        Sender {
            shared: self.shared.clone(),
        }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.shared.guarded.with(|access| {
            access.state.senders -= 1;
            if access.state.senders == 0 {
                access.wake_all(CHANGED, |()| {});
            }
        });
    }
}

impl<T: fmt::Debug> fmt::Debug for Ref<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: fmt::Display> fmt::Display for Ref<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Sender { .. }")
    }
}
