//! A channel for one message: an answer, or the end of something.
//!
//! One allocation, for both halves. The message lies in the channel until somebody takes it, so whoever is woken looks again, and
//! one that unwinds instead leaves it to the others.

use core::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::context;
use crate::sync::channel::{RecvError, RecvTimeoutError, TryRecvError};
use crate::sync::tally::Tally;
use crate::sync::waiters::{Access, Enter, Guarded, Place, Waited};
use crate::time::{self, Moment};

const RECEIVERS: usize = 0;
/// Senders that wait until the receiver is gone.
const CLOSED: usize = 1;
const QUEUES: usize = 2;

/// The half that sends.
pub struct Sender<T> {
    /// `None`: it has sent.
    shared: Option<Arc<Shared<T>>>,
}

/// The half that receives.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    guarded: Guarded<State<T>, (), QUEUES>,
    tally: Tally,
}

struct State<T> {
    message: Option<T>,
    sender_gone: bool,
    receiver_gone: bool,
}

/// Why nothing was received.
enum Unreceived {
    Empty,
    Disconnected,
}

/// A channel for one message.
///
/// # Examples
/// ```
/// use withy_runtime::{spawn, sync::channel::oneshot};
///
/// let (answer, question) = oneshot();
/// spawn(move || answer.send(6 * 7));
/// assert_eq!(question.recv(), Ok(42));
/// ```
#[must_use]
pub fn oneshot<T>() -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared {
        guarded: Guarded::new(State {
            message: None,
            sender_gone: false,
            receiver_gone: false,
        }),
        tally: Tally::new(),
    });
    let sender = Sender {
        shared: Some(shared.clone()),
    };
    (sender, Receiver { shared })
}

impl<T> Sender<T> {
    /// Sends the message. It does not wait, and does not unwind. That it gives `Ok` does not mean that the message will be received.
    ///
    /// # Errors
    /// With the message, if the receiver is gone.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::sync::channel::oneshot;
    ///
    /// let (sender, receiver) = oneshot();
    /// drop(receiver);
    /// assert_eq!(sender.send("hello"), Err("hello"));
    /// ```
    pub fn send(mut self, message: T) -> Result<(), T> {
        let Some(shared) = self.shared.take() else {
            return Err(message);
        };
        shared.guarded.with(|access| {
            access.state.sender_gone = true;
            if access.state.receiver_gone {
                return Err(message);
            }
            access.state.message = Some(message);
            access.wake_all(RECEIVERS, |()| {});
            Ok(())
        })
    }

    /// Whether the receiver is gone, so that sending is in vain.
    ///
    /// # Examples
    /// ```
    /// let (sender, receiver) = withy_runtime::sync::channel::oneshot::<u32>();
    /// assert!(!sender.is_closed());
    /// drop(receiver);
    /// assert!(sender.is_closed());
    /// ```
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared
            .as_ref()
            .is_none_or(|shared| shared.guarded.with(|access| access.state.receiver_gone))
    }

    /// Waits until the receiver is gone: for who makes an answer that nobody may want any more.
    ///
    /// # Cancellation
    /// A blocking call: it unwinds if the coroutine is cancelled, or a [`timeout`](crate::timeout) around it elapses.
    ///
    /// # Panics
    /// Inside [`no_park`](crate::no_park), if it would have to wait.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::{spawn, sync::channel::oneshot};
    ///
    /// let (sender, receiver) = oneshot::<u32>();
    /// spawn(move || drop(receiver));
    /// sender.closed();
    /// assert!(sender.is_closed());
    /// ```
    pub fn closed(&self) {
        let Some(shared) = &self.shared else {
            return;
        };
        context::consume_budget();
        let closed = |access: &mut Access<'_, State<T>, (), QUEUES>| {
            if access.state.receiver_gone {
                Enter::Done(())
            } else {
                wait_in(CLOSED)
            }
        };
        // Nobody wakes them but the receiver that goes.
        shared.guarded.wait(Moment::NEVER, closed, |_, _, _| {});
    }
}

impl<T> Receiver<T> {
    /// Waits for the message.
    ///
    /// # Cancellation
    /// A blocking call: it unwinds if the coroutine is cancelled, or a [`timeout`](crate::timeout) around it elapses. The receiver
    /// is gone then, and a message that comes at that very moment with it; [`recv_timeout`](Receiver::recv_timeout) keeps both.
    ///
    /// # Errors
    /// If the sender is gone without having sent, or the message was taken before.
    ///
    /// # Panics
    /// Inside [`no_park`](crate::no_park), if it would have to wait.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::sync::channel::{RecvError, oneshot};
    ///
    /// let (sender, receiver) = oneshot::<u32>();
    /// drop(sender);
    /// assert_eq!(receiver.recv(), Err(RecvError));
    /// ```
    pub fn recv(self) -> Result<T, RecvError> {
        self.recv_until(Moment::NEVER).map_err(|_| RecvError)
    }

    /// Takes the message if it is there. It does not unwind.
    ///
    /// # Errors
    /// If it is not; the error tells whether it may still come.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::sync::channel::{TryRecvError, oneshot};
    ///
    /// let (sender, receiver) = oneshot();
    /// assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    /// sender.send(1).unwrap();
    /// assert_eq!(receiver.try_recv(), Ok(1));
    /// assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
    /// ```
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        let taken = self
            .shared
            .guarded
            .with(|access| match take(access.state)? {
                Some(message) => Ok(message),
                None => Err(Unreceived::Empty),
            });
        taken.map_err(|unreceived| match unreceived {
            Unreceived::Empty => {
                self.shared.tally.count_failure();
                TryRecvError::Empty
            }
            Unreceived::Disconnected => TryRecvError::Disconnected,
        })
    }

    /// Waits for the message, for `timeout` at most. One that comes later can still be received.
    ///
    /// # Cancellation
    /// A blocking call: it unwinds if the coroutine is cancelled, or a [`timeout`](crate::timeout) around it elapses. A message that comes
    /// at that very moment stays in the channel.
    ///
    /// # Errors
    /// If it did not come in time, the sender is gone without having sent, or it was taken before.
    ///
    /// # Panics
    /// Inside [`no_park`](crate::no_park), if it would have to wait.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use withy_runtime::sync::channel::{RecvTimeoutError, oneshot};
    ///
    /// let (sender, receiver) = oneshot();
    /// let in_time = Duration::from_millis(2);
    /// assert_eq!(receiver.recv_timeout(in_time), Err(RecvTimeoutError::Timeout));
    /// sender.send(1).unwrap();
    /// assert_eq!(receiver.recv_timeout(in_time), Ok(1));
    /// ```
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        let deadline = time::moment().after(timeout);
        self.recv_until(deadline)
            .map_err(|unreceived| match unreceived {
                Unreceived::Empty => RecvTimeoutError::Timeout,
                Unreceived::Disconnected => RecvTimeoutError::Disconnected,
            })
    }

    fn recv_until(&self, deadline: Moment) -> Result<T, Unreceived> {
        // Not by a tally: each channel is used once.
        context::consume_budget();
        loop {
            let waited = self.shared.guarded.wait(
                deadline,
                |access| match take(access.state) {
                    Ok(Some(message)) => Enter::Done(Ok(message)),
                    Ok(None) => wait_in(RECEIVERS),
                    Err(gone) => Enter::Done(Err(gone)),
                },
                |_, _, _| {},
            );
            match waited {
                Waited::Done(done) => return done,
                Waited::Woken(()) => {}
                Waited::TimedOut(()) => return Err(Unreceived::Empty),
            }
        }
    }
}

/// The message, if it is there.
fn take<T>(state: &mut State<T>) -> Result<Option<T>, Unreceived> {
    match state.message.take() {
        None if state.sender_gone => Err(Unreceived::Disconnected),
        message => Ok(message),
    }
}

fn wait_in<R>(queue: usize) -> Enter<R, ()> {
    Enter::Wait {
        queue,
        place: Place::Back,
        payload: (),
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            shared.guarded.with(|access| {
                access.state.sender_gone = true;
                access.wake_all(RECEIVERS, |()| {});
            });
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let unread = self.shared.guarded.with(|access| {
            access.state.receiver_gone = true;
            access.wake_all(CLOSED, |()| {});
            access.state.message.take()
        });
        // Outside the lock: it is a user's.
        drop(unread);
    }
}

impl<T> core::panic::UnwindSafe for Sender<T> {}
impl<T> core::panic::RefUnwindSafe for Sender<T> {}
impl<T> core::panic::UnwindSafe for Receiver<T> {}
impl<T> core::panic::RefUnwindSafe for Receiver<T> {}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Sender { .. }")
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Receiver { .. }")
    }
}
