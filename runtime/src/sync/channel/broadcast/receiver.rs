//! The receiving half.

use core::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::error::{RecvError, RecvTimeoutError, TryRecvError};
use super::{Access, RECEIVERS, Shared};
use crate::sync::waiters::{Enter, Place, Waited};
use crate::time::{self, Moment};

/// Messages that a receiver which is dropped lets go of at a time, under the lock.
const BATCH: usize = 32;

/// The receiving half: it gets each message that was sent since it subscribed.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    /// The number of the message that it gets next.
    next: u64,
}

/// Why nothing was received.
pub(super) enum Unreceived {
    Empty,
    Disconnected,
    Lagged(u64),
}

impl<T> Receiver<T> {
    /// One that has been counted.
    pub(super) fn new(shared: Arc<Shared<T>>, next: u64) -> Receiver<T> {
        Receiver { shared, next }
    }

    pub(super) fn subscribed(shared: &Arc<Shared<T>>) -> Receiver<T> {
        let next = shared.guarded.with(|access| {
            access.state.receivers += 1;
            access.state.next()
        });
        Receiver::new(shared.clone(), next)
    }

    /// Another receiver of the channel: of the messages that are sent from now on, not of those that this one has not received yet.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::sync::channel::broadcast;
    ///
    /// let (sender, first) = broadcast(16);
    /// sender.send(1).unwrap();
    /// let second = first.resubscribe();
    /// assert_eq!((first.len(), second.len()), (1, 0));
    /// ```
    #[must_use]
    pub fn resubscribe(&self) -> Receiver<T> {
        Receiver::subscribed(&self.shared)
    }

    /// The messages that it has not received yet, and can.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.guarded.with(|access| {
            let first = self.next.max(access.state.first);
            // It fits: they lie in the ring.
            (access.state.next() - first) as usize
        })
    }

    /// Whether it has received all that it can.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether both receive from the same channel.
    #[must_use]
    pub fn same_channel(&self, other: &Receiver<T>) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

impl<T: Clone> Receiver<T> {
    /// Waits for a message.
    ///
    /// # Cancellation
    /// A blocking call: it unwinds if the coroutine is cancelled, or a [`timeout`](crate::timeout) around it elapses. It has received nothing
    /// then.
    ///
    /// # Errors
    /// If messages were lost to it, since it was too slow, once, and how many; if it has received all, and no sender is left.
    ///
    /// # Panics
    /// Inside [`no_park`](crate::no_park), if it would have to wait; if cloning does, then it has received the message.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::sync::channel::broadcast::{RecvError, broadcast};
    ///
    /// let (sender, mut receiver) = broadcast(2);
    /// (0..5).for_each(|n| drop(sender.send(n)));
    /// drop(sender);
    /// assert_eq!(receiver.recv(), Err(RecvError::Lagged(3)));
    /// assert_eq!(receiver.recv(), Ok(3));
    /// assert_eq!(receiver.recv(), Ok(4));
    /// assert_eq!(receiver.recv(), Err(RecvError::Disconnected));
    /// ```
    pub fn recv(&mut self) -> Result<T, RecvError> {
        self.recv_until(Moment::NEVER)
            .map_err(|unreceived| match unreceived {
                Unreceived::Lagged(lost) => RecvError::Lagged(lost),
                Unreceived::Disconnected | Unreceived::Empty => RecvError::Disconnected,
            })
    }

    /// Takes a message if there is one. It does not unwind.
    ///
    /// # Errors
    /// As [`recv`](Receiver::recv), and if there is none just now.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::sync::channel::broadcast::{TryRecvError, broadcast};
    ///
    /// let (sender, mut receiver) = broadcast(2);
    /// assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    /// sender.send(1).unwrap();
    /// assert_eq!(receiver.try_recv(), Ok(1));
    /// ```
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        let Receiver { shared, next } = self;
        match shared.guarded.with(|access| take(next, access)) {
            Ok(message) => Ok(Arc::unwrap_or_clone(message)),
            Err(Unreceived::Lagged(lost)) => Err(TryRecvError::Lagged(lost)),
            Err(Unreceived::Disconnected) => Err(TryRecvError::Disconnected),
            Err(Unreceived::Empty) => {
                shared.tally.count_failure();
                Err(TryRecvError::Empty)
            }
        }
    }

    /// [`recv`](Receiver::recv) that waits for `timeout` at most.
    ///
    /// # Cancellation
    /// As [`recv`](Receiver::recv).
    ///
    /// # Errors
    /// As [`recv`](Receiver::recv), and if no message came in time.
    ///
    /// # Panics
    /// As [`recv`](Receiver::recv).
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use withy_runtime::sync::channel::broadcast::{RecvTimeoutError, broadcast};
    ///
    /// let (_sender, mut receiver) = broadcast::<u32>(2);
    /// let received = receiver.recv_timeout(Duration::from_millis(2));
    /// assert_eq!(received, Err(RecvTimeoutError::Timeout));
    /// ```
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.recv_until(time::moment().after(timeout))
            .map_err(|unreceived| match unreceived {
                Unreceived::Lagged(lost) => RecvTimeoutError::Lagged(lost),
                Unreceived::Disconnected => RecvTimeoutError::Disconnected,
                Unreceived::Empty => RecvTimeoutError::Timeout,
            })
    }

    fn recv_until(&mut self, deadline: Moment) -> Result<T, Unreceived> {
        let Receiver { shared, next } = self;
        shared.tally.count();
        loop {
            let waited = shared.guarded.wait(
                deadline,
                |access| match take(next, access) {
                    Err(Unreceived::Empty) => Enter::Wait {
                        queue: RECEIVERS,
                        place: Place::Back,
                        payload: (),
                    },
                    done => Enter::Done(done),
                },
                // All are woken, each looks for itself: there is nothing to pass on.
                |_, (), _| {},
            );
            match waited {
                Waited::Done(done) => return done.map(Arc::unwrap_or_clone),
                Waited::Woken(()) => {}
                Waited::TimedOut(()) => return Err(Unreceived::Empty),
            }
        }
    }
}

/// Takes the message of a number, for a receiver of which it is the next.
fn take<T>(next: &mut u64, access: &mut Access<'_, T>) -> Result<Arc<T>, Unreceived> {
    let state = &mut *access.state;
    if *next < state.first {
        let lost = state.first - *next;
        *next = state.first;
        return Err(Unreceived::Lagged(lost));
    }
    // It fits, or there is no such message.
    let at = (*next - state.first) as usize;
    let Some(entry) = state.ring.get_mut(at) else {
        return Err(match state.senders {
            0 => Unreceived::Disconnected,
            _ => Unreceived::Empty,
        });
    };
    *next += 1;
    entry.wanted -= 1;
    if at == 0 && entry.wanted == 0 {
        state.pop().ok_or(Unreceived::Empty)
    } else {
        Ok(entry.message.clone())
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let Receiver { shared, next } = self;
        // Dropped last, and outside the lock: they are a user's.
        let mut unread = Vec::new();
        let mut gone = false;
        while !gone {
            let mut batch = [const { None }; BATCH];
            gone = shared
                .guarded
                .with(|access| leave(next, access, &mut batch));
            unread.extend(batch.into_iter().flatten());
        }
    }
}

/// Takes what it has not received, as much as fits. True: that was all, and it is no receiver any more.
fn leave<T>(
    next: &mut u64,
    access: &mut Access<'_, T>,
    batch: &mut [Option<Arc<T>>; BATCH],
) -> bool {
    for place in batch {
        match take(next, access) {
            Ok(message) => *place = Some(message),
            Err(Unreceived::Lagged(_)) => {}
            Err(Unreceived::Empty | Unreceived::Disconnected) => {
                access.state.receivers -= 1;
                return true;
            }
        }
    }
    false
}

impl<T> core::panic::UnwindSafe for Receiver<T> {}
impl<T> core::panic::RefUnwindSafe for Receiver<T> {}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Receiver { .. }")
    }
}
