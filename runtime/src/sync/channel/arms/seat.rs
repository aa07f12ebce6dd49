//! An arm's place in a queue of its channel.

use core::cell::{Cell, UnsafeCell};

use crate::sync::channel::exchange::{Access, Exchange, Slot};
use crate::sync::waiters::{Choice, Left, Node, Place, Wakes};

/// A channel, and the node by which an arm waits there.
pub(super) struct Seat<'a, T> {
    exchange: &'a Exchange<T>,
    /// Written while it is not linked. Others reach the node, not the cell.
    node: UnsafeCell<Option<Node<Slot<T>>>>,
    linked: Cell<bool>,
}

// SAFETY: a seat is sent while nothing of it is borrowed, and so while it is not linked (contract of `link`): its node is data of no
// meaning then, but for the payload.
unsafe impl<T: Send> Send for Seat<'_, T> {}

impl<'a, T> Seat<'a, T> {
    pub(super) fn new(exchange: &'a Exchange<T>) -> Seat<'a, T> {
        Seat {
            exchange,
            node: UnsafeCell::new(None),
            linked: Cell::new(false),
        }
    }

    pub(super) fn exchange(&self) -> &'a Exchange<T> {
        self.exchange
    }

    /// # Safety
    /// As `Guarded::locked`.
    pub(super) unsafe fn access<'x>(&'x self, wakes: &'x mut Wakes) -> Access<'x, T> {
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

    pub(super) fn is_woken(&self) -> bool {
        self.node().is_some_and(Node::is_woken)
    }

    /// It is not linked when this returns. What it was given is still there.
    pub(super) fn leave(&self) -> Left {
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
    pub(super) fn take(&self) -> Option<Slot<T>> {
        self.linked.set(false);
        // SAFETY: not linked: woken, or out of the queue.
        unsafe { (*self.node.get()).take() }.map(Node::into_payload)
    }
}
