//! What the holder of the lock can do: look at the queues, wake those who wait, enter and leave.

use core::ptr::NonNull;

use super::choice::Arm;
use super::node::{Node, PASSED_OVER, QUEUED, TAKEN, WOKEN};
use super::queue::{Place, Queue};
use super::wakes::Wakes;
use crate::atomic::Ordering;

/// State and queues, for the holder of the lock.
pub(crate) struct Access<'a, S, P, const N: usize = 1> {
    pub(crate) state: &'a mut S,
    pub(super) queues: &'a mut [Queue<P>; N],
    pub(super) wakes: &'a mut Wakes,
}

impl<S, P, const N: usize> Access<'_, S, P, N> {
    /// Whether nobody waits in a queue. A select that has been claimed elsewhere counts until it has left.
    #[inline]
    pub(crate) fn is_empty(&self, queue: usize) -> bool {
        self.queues[queue].head.is_none()
    }

    /// Whether there is one in a queue, and no more.
    #[inline]
    pub(crate) fn is_last(&self, queue: usize) -> bool {
        let Queue { head, tail } = self.queues[queue];
        head.is_some() && head == tail
    }

    /// The payload of the first in a queue of which no select is part.
    #[inline]
    pub(crate) fn first(&mut self, queue: usize) -> Option<&mut P> {
        let node = self.queues[queue].head?;
        // SAFETY: it is QUEUED, so its frame stands, and the payload belongs to the lock's holder.
        unsafe { Some(&mut *node.as_ref().payload.get()) }
    }

    /// Wakes the first in a queue, after `give` has changed its payload. `give` must not panic.
    #[inline]
    pub(crate) fn wake_next<R>(
        &mut self,
        queue: usize,
        give: impl FnOnce(&mut P) -> R,
    ) -> Option<R> {
        self.wake_next_with(queue, |_, payload| give(payload))
    }

    /// [`wake_next`](Access::wake_next), with the state at hand.
    #[inline]
    pub(crate) fn wake_next_with<R>(
        &mut self,
        queue: usize,
        give: impl FnOnce(&mut S, &mut P) -> R,
    ) -> Option<R> {
        let node = self.take_next(queue)?;
        // SAFETY: TAKEN, by us: the payload is ours, and the frame stands until WOKEN.
        let payload = unsafe { &mut *node.as_ref().payload.get() };
        let given = give(self.state, payload);
        // SAFETY: TAKEN, by us, and not touched again.
        unsafe { self.finish(node) };
        Some(given)
    }

    /// Wakes all in a queue; says how many.
    pub(crate) fn wake_all(&mut self, queue: usize, mut give: impl FnMut(&mut P)) -> usize {
        let mut count = 0;
        while self.wake_next(queue, &mut give).is_some() {
            count += 1;
        }
        count
    }

    /// Takes the first out of a queue that can be claimed. It is TAKEN then.
    #[inline]
    pub(super) fn take_next(&mut self, queue: usize) -> Option<NonNull<Node<P>>> {
        loop {
            let first = self.queues[queue].head?;
            // SAFETY: it is QUEUED, so its frame stands.
            let node = unsafe { first.as_ref() };
            self.queues[queue].unlink(node);
            if node.choice.get().is_none_or(Arm::claim) {
                // Relaxed: the notification releases it.
                node.stage.store(TAKEN, Ordering::Relaxed);
                return Some(first);
            }
            // Release: nothing here is used any more. The select may look without the lock.
            node.stage.store(PASSED_OVER, Ordering::Release);
        }
    }

    /// Notifies whoever waits, a plain thread when the lock is free, and lets go of the node.
    ///
    /// # Safety
    /// The node is TAKEN, by the caller, who does not touch it again.
    #[inline]
    pub(super) unsafe fn finish(&mut self, node: NonNull<Node<P>>) {
        // SAFETY: its frame stands until WOKEN.
        let node = unsafe { node.as_ref() };
        // SAFETY: `who` belongs to the waker now, and the waiter's record lives until it has seen WOKEN, below.
        let wake = node.who.take().and_then(|who| unsafe { who.notify() });
        // Release: the payload, and that nothing here is used any more.
        node.stage.store(WOKEN, Ordering::Release);
        if let Some(wake) = wake {
            self.wakes.push(wake);
        }
    }

    /// # Safety
    /// * The node is in no queue, and stays where it is until `unlink_queued` says that it is out of this one.
    /// * If it is TAKEN meanwhile, also until it is WOKEN; so does its waiter's record.
    pub(crate) unsafe fn link(&mut self, node: &Node<P>, queue: usize, place: Place) {
        node.queue.set(queue);
        // Relaxed: the lock hands it on.
        node.stage.store(QUEUED, Ordering::Relaxed);
        self.queues[queue].link(node, place);
    }

    /// Takes a node out of its queue. False: it is not in it any more.
    ///
    /// # Safety
    /// It was linked in these queues.
    pub(crate) unsafe fn unlink_queued(&mut self, node: &Node<P>) -> bool {
        // Relaxed: stages change under the lock.
        let queued = node.stage.load(Ordering::Relaxed) == QUEUED;
        if queued {
            self.queues[node.queue.get()].unlink(node);
        }
        queued
    }
}
