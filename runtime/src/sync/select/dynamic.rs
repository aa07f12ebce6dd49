//! `Select`: a select whose arms are known when the program runs.

use core::fmt;
use std::time::{Duration, Instant};

use super::arm::{Arm, Operation};
use super::choose;
use super::entry::Entry;
use super::error::{ReadyTimeoutError, SelectTimeoutError, TryReadyError, TrySelectError};
use super::join_arm::Joinable;
use super::order::Order;
use super::selected::SelectedOperation;
use crate::poll::{AsRegistration, Direction};
use crate::sync::channel::{Receiver, Sender};
use crate::task::CancelToken;
use crate::time::{self, Moment};

/// Waits until one of several operations can be done, and does that one: [`select!`](crate::select) for a number of operations that is known
/// only when the program runs. crossbeam-channel's `Select`, with more to wait for.
///
/// An operation is added by [`recv`](Select::recv), [`send`](Select::send) and the others, which give its index. [`select`](Select::select) and its
/// variants choose one, at random among those that can be done, and give a [`SelectedOperation`], by which it is completed.
/// [`ready`](Select::ready) and its variants only say which one can be done. Both may be called again and again.
///
/// # Differences from crossbeam-channel
/// * A [`SelectedOperation`] that is dropped gives back what it has taken, where crossbeam's panics.
/// * Messages have to be `Send`.
/// * A select with a [`join`](Select::join) cannot be cloned.
///
/// # Examples
/// ```
/// use withy_runtime::sync::channel::{Receiver, Select, unbounded};
///
/// fn recv_from_any<T: Send>(receivers: &[Receiver<T>]) -> Option<T> {
///     let mut select = Select::new();
///     for receiver in receivers {
///         select.recv(receiver);
///     }
///     let operation = select.select();
///     let index = operation.index();
///     operation.recv(&receivers[index]).ok()
/// }
///
/// let (senders, receivers): (Vec<_>, Vec<_>) = (0..10).map(|_| unbounded()).unzip();
/// senders[7].send("seven").unwrap();
/// assert_eq!(recv_from_any(&receivers), Some("seven"));
/// ```
pub struct Select<'a> {
    entries: Vec<(usize, Entry<'a>)>,
    next_index: usize,
    order: Order,
}

/// How long it may take.
#[derive(Clone, Copy)]
enum Limit {
    Now,
    Until(Moment),
}

impl Limit {
    fn after(timeout: Duration) -> Limit {
        Limit::Until(time::moment().after(timeout))
    }
}

impl<'a> Select<'a> {
    /// A select without operations.
    #[must_use]
    pub fn new() -> Select<'a> {
        Select::with_order(Order::Fair)
    }

    /// A select without operations that, of several that can be done, always chooses the one that was added first.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::sync::channel::{Select, unbounded};
    ///
    /// let (urgent, usual) = (unbounded(), unbounded());
    /// usual.0.send("post").unwrap();
    /// urgent.0.send("fire").unwrap();
    /// let mut select = Select::new_biased();
    /// select.recv(&urgent.1);
    /// select.recv(&usual.1);
    /// assert_eq!(select.select().recv(&urgent.1), Ok("fire"));
    /// ```
    #[must_use]
    pub fn new_biased() -> Select<'a> {
        Select::with_order(Order::Biased)
    }

    fn with_order(order: Order) -> Select<'a> {
        Select {
            entries: Vec::new(),
            next_index: 0,
            order,
        }
    }

    fn add(&mut self, entry: Entry<'a>) -> usize {
        let index = self.next_index;
        self.next_index += 1;
        self.entries.push((index, entry));
        index
    }

    /// Adds sending to `sender`; gives the operation's index. The same channel may be added several times.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::sync::channel::{Select, bounded};
    ///
    /// let (sender, receiver) = bounded(1);
    /// let mut select = Select::new();
    /// select.send(&sender);
    /// select.select().send(&sender, "hello").unwrap();
    /// assert_eq!(receiver.recv(), Ok("hello"));
    /// ```
    pub fn send<T: Send>(&mut self, sender: &'a Sender<T>) -> usize {
        self.add(Entry::Channel(sender))
    }

    /// Adds receiving from `receiver`; gives the operation's index.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::sync::channel::{Select, bounded};
    ///
    /// let (sender, receiver) = bounded(1);
    /// sender.send("hello").unwrap();
    /// let mut select = Select::new();
    /// select.recv(&receiver);
    /// assert_eq!(select.select().recv(&receiver), Ok("hello"));
    /// ```
    pub fn recv<T: Send>(&mut self, receiver: &'a Receiver<T>) -> usize {
        self.add(Entry::Channel(receiver))
    }

    /// Adds waiting until a coroutine has ended; gives the operation's index.
    ///
    /// The handle stays the caller's, who calls its `join` when the operation was chosen: it does not wait then. It is borrowed as long as the
    /// select lives, since one alone can wait for a coroutine.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::{spawn, sync::channel::Select};
    ///
    /// let mut handles: Vec<_> = (0..3).map(|n| spawn(move || n)).collect();
    /// let mut sum = 0;
    /// while !handles.is_empty() {
    ///     let mut select = Select::new();
    ///     for handle in &mut handles {
    ///         select.join(handle);
    ///     }
    ///     let index = select.ready();
    ///     sum += handles.swap_remove(index).join().unwrap();
    /// }
    /// assert_eq!(sum, 3);
    /// ```
    pub fn join<J: Joinable>(&mut self, handle: &'a mut J) -> usize {
        self.add(Entry::Join(handle.arm().word()))
    }

    /// Adds waiting until `token` is cancelled; gives the operation's index.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::{CancelToken, sync::channel::Select};
    ///
    /// let token = CancelToken::new();
    /// let mut select = Select::new();
    /// let over = select.cancelled(&token);
    /// token.cancel();
    /// assert_eq!(select.ready(), over);
    /// ```
    pub fn cancelled(&mut self, token: &'a CancelToken) -> usize {
        self.add(Entry::Token(token))
    }

    /// Adds waiting until a read from `socket` would not wait; gives the operation's index.
    pub fn readable<P: AsRegistration + ?Sized>(&mut self, socket: &'a P) -> usize {
        self.add(Entry::Socket(socket.registration(), Direction::Read))
    }

    /// Adds waiting until a write to `socket` would not wait; gives the operation's index.
    pub fn writable<P: AsRegistration + ?Sized>(&mut self, socket: &'a P) -> usize {
        self.add(Entry::Socket(socket.registration(), Direction::Write))
    }

    /// Takes an operation out. The others keep their indices; its own is not given again.
    ///
    /// # Panics
    /// If there is no operation with that index (any more).
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::sync::channel::{Select, never};
    ///
    /// let (first, second) = (never::<u32>(), never::<u32>());
    /// let mut select = Select::new();
    /// let index = select.recv(&first);
    /// let other = select.recv(&second);
    /// select.remove(index);
    /// assert_eq!((index, other), (0, 1));
    /// ```
    pub fn remove(&mut self, index: usize) {
        let place = self.entries.binary_search_by_key(&index, |entry| entry.0);
        let Ok(place) = place else {
            panic!(
                "no operation has the index {index}: expected one that was added and not removed, below {}",
                self.next_index
            )
        };
        self.entries.remove(place);
    }

    /// Chooses an operation that can be done at once. It does not unwind, and waits for nothing but a message that is being made, as
    /// [`try_recv`](Receiver::try_recv) does.
    ///
    /// # Errors
    /// If there is none.
    ///
    /// # Panics
    /// As [`try_recv`](Receiver::try_recv).
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::sync::channel::{Select, unbounded};
    ///
    /// let (sender, receiver) = unbounded();
    /// let mut select = Select::new();
    /// select.recv(&receiver);
    /// assert!(select.try_select().is_err());
    /// sender.send(1).unwrap();
    /// assert_eq!(select.try_select().unwrap().recv(&receiver), Ok(1));
    /// ```
    pub fn try_select(&mut self) -> Result<SelectedOperation<'a>, TrySelectError> {
        self.choose(Limit::Now).ok_or(TrySelectError)
    }

    /// Waits until an operation can be done, and chooses it. Without operations it waits for ever.
    ///
    /// # Cancellation
    /// A blocking call: it unwinds if the coroutine is cancelled, or a [`timeout`](crate::timeout) around it elapses. Nothing was done then:
    /// what an operation was given at that very moment goes back, or to the next who waits for it.
    ///
    /// # Panics
    /// Inside [`no_park`](crate::no_park), if it would have to wait.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::{spawn, sync::channel::{Select, unbounded}};
    ///
    /// let (a, b) = (unbounded::<&str>(), unbounded());
    /// spawn(move || b.0.send("b"));
    /// let mut select = Select::new();
    /// select.recv(&a.1);
    /// let index = select.recv(&b.1);
    /// let operation = select.select();
    /// assert_eq!(operation.index(), index);
    /// assert_eq!(operation.recv(&b.1), Ok("b"));
    /// ```
    pub fn select(&mut self) -> SelectedOperation<'a> {
        let chosen = self.choose(Limit::Until(Moment::NEVER));
        chosen.expect("a select without a deadline ends by an operation")
    }

    /// [`select`](Select::select) that waits for `timeout` at most.
    ///
    /// # Cancellation
    /// As [`select`](Select::select).
    ///
    /// # Errors
    /// If no operation could be done in time.
    ///
    /// # Panics
    /// As [`select`](Select::select).
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use withy_runtime::sync::channel::{Select, unbounded};
    ///
    /// let (_sender, receiver) = unbounded::<u32>();
    /// let mut select = Select::new();
    /// select.recv(&receiver);
    /// assert!(select.select_timeout(Duration::from_millis(2)).is_err());
    /// ```
    pub fn select_timeout(
        &mut self,
        timeout: Duration,
    ) -> Result<SelectedOperation<'a>, SelectTimeoutError> {
        self.choose(Limit::after(timeout)).ok_or(SelectTimeoutError)
    }

    /// [`select`](Select::select) that waits until `deadline` at most.
    ///
    /// # Cancellation
    /// As [`select`](Select::select).
    ///
    /// # Errors
    /// If no operation could be done in time.
    ///
    /// # Panics
    /// As [`select`](Select::select).
    pub fn select_deadline(
        &mut self,
        deadline: Instant,
    ) -> Result<SelectedOperation<'a>, SelectTimeoutError> {
        let limit = Limit::Until(Moment::from(deadline));
        self.choose(limit).ok_or(SelectTimeoutError)
    }

    /// The index of an operation that can be done at once. It does not unwind.
    ///
    /// # Errors
    /// If there is none.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::sync::channel::{Select, bounded};
    ///
    /// let (sender, _receiver) = bounded::<u32>(1);
    /// let mut select = Select::new();
    /// let index = select.send(&sender);
    /// assert_eq!(select.try_ready(), Ok(index));
    /// sender.send(1).unwrap();
    /// assert!(select.try_ready().is_err());
    /// ```
    pub fn try_ready(&mut self) -> Result<usize, TryReadyError> {
        self.watch(Limit::Now).ok_or(TryReadyError)
    }

    /// Waits until an operation can be done, and gives its index. Nothing is done: until the caller does it, for example
    /// by [`try_recv`](Receiver::try_recv), others may be faster. It may say so of one that cannot be done, if that has changed just now.
    ///
    /// # Cancellation
    /// As [`select`](Select::select).
    ///
    /// # Panics
    /// Inside [`no_park`](crate::no_park), if it would have to wait.
    ///
    /// # Examples
    /// ```
    /// use withy_runtime::sync::channel::{Select, unbounded};
    ///
    /// let (sender, receiver) = unbounded();
    /// sender.send(1).unwrap();
    /// let mut select = Select::new();
    /// let index = select.recv(&receiver);
    /// assert_eq!(select.ready(), index);
    /// assert_eq!(receiver.try_recv(), Ok(1));
    /// ```
    pub fn ready(&mut self) -> usize {
        let ready = self.watch(Limit::Until(Moment::NEVER));
        ready.expect("a select without a deadline ends by an operation")
    }

    /// [`ready`](Select::ready) that waits for `timeout` at most.
    ///
    /// # Cancellation
    /// As [`select`](Select::select).
    ///
    /// # Errors
    /// If no operation could be done in time.
    ///
    /// # Panics
    /// As [`ready`](Select::ready).
    pub fn ready_timeout(&mut self, timeout: Duration) -> Result<usize, ReadyTimeoutError> {
        self.watch(Limit::after(timeout)).ok_or(ReadyTimeoutError)
    }

    /// [`ready`](Select::ready) that waits until `deadline` at most.
    ///
    /// # Cancellation
    /// As [`select`](Select::select).
    ///
    /// # Errors
    /// If no operation could be done in time.
    ///
    /// # Panics
    /// As [`ready`](Select::ready).
    pub fn ready_deadline(&mut self, deadline: Instant) -> Result<usize, ReadyTimeoutError> {
        let limit = Limit::Until(Moment::from(deadline));
        self.watch(limit).ok_or(ReadyTimeoutError)
    }

    fn choose(&self, limit: Limit) -> Option<SelectedOperation<'a>> {
        let (place, operation) = self.call(limit, false)?;
        let index = self.entries[place].0;
        Some(SelectedOperation::new(index, operation))
    }

    fn watch(&self, limit: Limit) -> Option<usize> {
        let (place, _operation) = self.call(limit, true)?;
        Some(self.entries[place].0)
    }

    /// The place of the operation that was chosen, and what it was given.
    fn call(&self, limit: Limit, watches: bool) -> Option<(usize, Box<dyn Operation + 'a>)> {
        let operations = self.entries.iter().map(|entry| entry.1.operation(watches));
        let mut operations: Vec<_> = operations.collect();
        let arms = operations.iter_mut().map(|operation| operation.arm());
        let mut arms: Vec<Arm<'_>> = arms.collect();
        let place = match limit {
            Limit::Now => choose::try_choose(&mut arms, self.order),
            Limit::Until(deadline) => choose::choose(&mut arms, self.order, deadline),
        }?;
        drop(arms);
        Some((place, operations.swap_remove(place)))
    }
}

impl Default for Select<'_> {
    fn default() -> Self {
        Select::new()
    }
}

/// The same operations, with the same indices.
impl Clone for Select<'_> {
    /// # Panics
    /// If a [`join`](Select::join) is among them: one alone can wait for a coroutine.
    fn clone(&self) -> Self {
        let joins = self
            .entries
            .iter()
            .any(|entry| matches!(entry.1, Entry::Join(Some(_))));
        assert!(!joins, "a select that joins a coroutine cannot be cloned");
        Select {
            entries: self.entries.clone(),
            ..*self
        }
    }
}

impl fmt::Debug for Select<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Select { .. }")
    }
}
