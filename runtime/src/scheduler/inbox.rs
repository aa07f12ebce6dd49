//! What other threads hand to a worker: a lock-free list with many pushers and one taker. Pure.
//!
//! Pushers prepend by compare-exchange; the taker exchanges the whole list for nothing, so no node is ever popped
//! singly and no ABA can arise. The links belong to the pusher until its compare-exchange (Release) and to the taker
//! after its exchange (Acquire). Model: `runtime/tests/loom_inbox.rs`.

use core::marker::PhantomData;
use core::ptr::{self, NonNull};

use crate::atomic::{AtomicPtr, Ordering};

/// A node's link. Only the inbox uses it, and only while the node is in it.
pub(crate) trait Linked: Sized {
    fn next(&self) -> &AtomicPtr<Self>;
}

pub(crate) struct Inbox<N> {
    newest: AtomicPtr<N>,
}

impl<N: Linked> Inbox<N> {
    pub(crate) fn new() -> Inbox<N> {
        Inbox {
            newest: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Hands over a node.
    ///
    /// # Safety
    /// The node stays valid until it is taken out, and is in no other inbox.
    pub(crate) unsafe fn push(&self, node: NonNull<N>) {
        let mut newest = self.newest.load(Ordering::Relaxed);
        loop {
            // SAFETY: valid by the caller's promise, and its link is ours until it is in the list.
            unsafe { node.as_ref() }
                .next()
                .store(newest, Ordering::Relaxed);
            // Release: the taker sees the link and all that was done before.
            match self.newest.compare_exchange_weak(
                newest,
                node.as_ptr(),
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(now) => newest = now,
            }
        }
    }

    /// Whether nothing is there. A hint, unless a fence orders it (see `scheduler/README.md`).
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.newest.load(Ordering::Relaxed).is_null()
    }

    /// Takes everything, oldest first.
    pub(crate) fn take_all(&self) -> Taken<N> {
        // Acquire: pairs with the pushers' Release; the exchange continues each pusher's release sequence.
        let mut newest = self.newest.swap(ptr::null_mut(), Ordering::Acquire);
        let mut oldest = ptr::null_mut();
        while let Some(node) = NonNull::new(newest) {
            // SAFETY: in the list, so valid by its pusher's promise; since the exchange the links are ours.
            let next = unsafe { node.as_ref() }.next();
            newest = next.load(Ordering::Relaxed);
            next.store(oldest, Ordering::Relaxed);
            oldest = node.as_ptr();
        }
        Taken {
            next: oldest,
            nodes: PhantomData,
        }
    }
}

/// What was in the inbox, oldest first. To be used up: what is left in it at its end is forgotten.
pub(crate) struct Taken<N> {
    next: *mut N,
    nodes: PhantomData<NonNull<N>>,
}

impl<N: Linked> Iterator for Taken<N> {
    type Item = NonNull<N>;

    fn next(&mut self) -> Option<NonNull<N>> {
        let node = NonNull::new(self.next)?;
        // SAFETY: taken out of the list and not yet given to the caller, so valid and its link still ours.
        self.next = unsafe { node.as_ref() }.next().load(Ordering::Relaxed);
        Some(node)
    }
}
