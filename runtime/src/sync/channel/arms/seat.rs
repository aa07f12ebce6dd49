//! An arm's place in a queue of its channel, and what all arms do that wait by one.

use core::cell::{Cell, UnsafeCell};

use crate::sync::channel::exchange::{Access, Exchange, Slot};
use crate::sync::select::{ChannelArm, Look};
use crate::sync::waiters::{Choice, Left, Node, Place, Wakes};

/// A channel, and the node by which an arm waits there.
pub(super) struct Seat<'a, T> {
    exchange: &'a Exchange<T>,
    /// It takes and gives nothing.
    watches: bool,
    /// Written while it is not linked. Others reach the node, not the cell.
    node: UnsafeCell<Option<Node<Slot<T>>>>,
    linked: Cell<bool>,
}

// SAFETY: a seat is sent while nothing of it is borrowed, and so while it is not linked (contract of `link`): its node is data of no
// meaning then, but for the payload.
unsafe impl<T: Send> Send for Seat<'_, T> {}

impl<'a, T> Seat<'a, T> {
    pub(super) fn new(exchange: &'a Exchange<T>, watches: bool) -> Seat<'a, T> {
        Seat {
            exchange,
            watches,
            node: UnsafeCell::new(None),
            linked: Cell::new(false),
        }
    }

    pub(super) fn exchange(&self) -> &'a Exchange<T> {
        self.exchange
    }

    /// # Safety
    /// As `Guarded::locked`.
    unsafe fn access<'x>(&'x self, wakes: &'x mut Wakes) -> Access<'x, T> {
        // SAFETY: the caller's promise.
        unsafe { self.exchange.guarded.locked(wakes) }
    }

    /// Enters a queue of the channel, to which `access` is. Without a choice it waits there alone.
    ///
    /// # Safety
    /// * It is not linked.
    /// * The seat stays where it is until `leave`; and so does the choice.
    pub(super) unsafe fn link(
        &self,
        access: &mut Access<'_, T>,
        queue: usize,
        payload: Slot<T>,
        choice: Option<(&Choice, usize)>,
    ) {
        debug_assert!(!self.linked.get());
        let node = match choice {
            // SAFETY: the caller's promise.
            Some((choice, number)) => unsafe { Node::of_select(payload, choice, number) },
            None => Node::new(payload),
        };
        // SAFETY: not linked, so nobody else knows of the cell's node.
        let node = unsafe { (*self.node.get()).insert(node) };
        self.linked.set(true);
        // SAFETY: the caller's promise: the node is in no queue, and stays until `leave`.
        unsafe { access.link(node, queue, Place::Back) };
    }

    fn node(&self) -> Option<&Node<Slot<T>>> {
        // SAFETY: written while it is not linked only, by those who borrow nothing of it.
        unsafe { (*self.node.get()).as_ref() }.filter(|_| self.linked.get())
    }

    fn is_woken(&self) -> bool {
        self.node().is_some_and(Node::is_woken)
    }

    /// It is not linked when this returns. What it was given is still there.
    fn leave(&self) -> Left {
        let Some(node) = self.node() else {
            return Left::Queue;
        };
        let left = if node.is_passed_over() {
            Left::Queue
        } else {
            self.exchange.guarded.with(|access| {
                // SAFETY: linked there.
                let queued = unsafe { access.unlink_queued(node) };
                // Under the lock it is not TAKEN.
                if queued || !node.is_woken() {
                    Left::Queue
                } else {
                    Left::Woken
                }
            })
        };
        self.linked.set(false);
        left
    }

    /// What it was given, after it was woken. It is not linked any more.
    fn take(&self) -> Option<Slot<T>> {
        self.linked.set(false);
        // SAFETY: not linked: woken, or out of the queue.
        unsafe { (*self.node.get()).take() }.map(Node::into_payload)
    }
}

/// What an arm has of its own; the rest is [`ChannelArm`], below.
pub(super) trait Seated {
    /// What its channel is for.
    type Message;

    /// The queue in which it waits.
    const QUEUE: usize;

    /// What it waits with.
    const PAYLOAD: Slot<Self::Message>;

    fn seat(&self) -> &Seat<'_, Self::Message>;

    /// Whether it could be done: all that one asks which watches.
    fn is_ready(access: &Access<'_, Self::Message>) -> bool;

    /// Does it if it need not wait.
    ///
    /// # Safety
    /// As of [`ChannelArm::look`].
    unsafe fn attempt(&self, access: &mut Access<'_, Self::Message>) -> Look;

    /// Notes what it was given when it was woken. False: nothing, start over.
    fn accept(&self, given: Option<Slot<Self::Message>>) -> bool;

    /// What it was given is not wanted.
    fn decline(&self, given: Slot<Self::Message>);

    /// # Safety
    /// As of [`ChannelArm::look`].
    unsafe fn look_in(&self, access: &mut Access<'_, Self::Message>) -> Look {
        if self.seat().watches {
            Look::if_ready(Self::is_ready(access))
        } else {
            // SAFETY: the caller's promise.
            unsafe { self.attempt(access) }
        }
    }
}

impl<A: Seated> ChannelArm for A {
    fn address(&self) -> usize {
        self.seat().exchange.guarded.address()
    }

    fn lock(&self) {
        self.seat().exchange.guarded.lock();
    }

    unsafe fn unlock(&self) {
        // SAFETY: the caller's promise.
        unsafe { self.seat().exchange.guarded.unlock() };
    }

    unsafe fn look(&self) -> Look {
        let guarded = &self.seat().exchange.guarded;
        // SAFETY: the caller's promise.
        guarded.with(|access| unsafe { self.look_in(access) })
    }

    unsafe fn look_locked(&self, wakes: &mut Wakes) -> Look {
        // SAFETY: the caller's promise.
        unsafe { self.look_in(&mut self.seat().access(wakes)) }
    }

    unsafe fn link(&self, wakes: &mut Wakes, choice: &Choice, number: usize) {
        let seat = self.seat();
        let payload = if seat.watches {
            Slot::Watch
        } else {
            A::PAYLOAD
        };
        // SAFETY: the caller's promise.
        unsafe {
            let mut access = seat.access(wakes);
            seat.link(&mut access, A::QUEUE, payload, Some((choice, number)));
        }
    }

    fn is_woken(&self) -> bool {
        self.seat().is_woken()
    }

    fn leave(&self) -> Left {
        self.seat().leave()
    }

    fn settle(&self) -> bool {
        let given = self.seat().take();
        self.seat().watches || self.accept(given)
    }

    fn refuse(&self) {
        if let Some(given) = self.seat().take() {
            self.decline(given);
        }
    }
}
