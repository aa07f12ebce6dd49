//! The queue itself: a doubly linked list of nodes that lie on their waiters' stacks.

use core::ptr::NonNull;

use super::node::Node;

/// First come, first out. Bounded by those who wait (law 8).
pub(super) struct Queue<P> {
    pub(super) head: Option<NonNull<Node<P>>>,
    pub(super) tail: Option<NonNull<Node<P>>>,
}

/// Where a waiter queues up.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Back,
    Front,
}

impl<P> Queue<P> {
    pub(super) const fn new() -> Queue<P> {
        Queue {
            head: None,
            tail: None,
        }
    }

    #[inline]
    pub(super) fn link(&mut self, node: &Node<P>, place: Place) {
        let this = Some(NonNull::from(node));
        let (prev, next) = match place {
            Place::Back => (self.tail, None),
            Place::Front => (None, self.head),
        };
        node.prev.set(prev);
        node.next.set(next);
        self.set_next(prev, this);
        self.set_prev(next, this);
    }

    #[inline]
    pub(super) fn unlink(&mut self, node: &Node<P>) {
        let (prev, next) = (node.prev.get(), node.next.get());
        self.set_next(prev, next);
        self.set_prev(next, prev);
    }

    #[inline]
    fn set_next(&mut self, node: Option<NonNull<Node<P>>>, next: Option<NonNull<Node<P>>>) {
        match node {
            // SAFETY: a neighbour is QUEUED, so its frame stands, and its links belong to the lock's holder.
            Some(node) => unsafe { node.as_ref() }.next.set(next),
            None => self.head = next,
        }
    }

    #[inline]
    fn set_prev(&mut self, node: Option<NonNull<Node<P>>>, prev: Option<NonNull<Node<P>>>) {
        match node {
            // SAFETY: as in `set_next`.
            Some(node) => unsafe { node.as_ref() }.prev.set(prev),
            None => self.tail = prev,
        }
    }
}
