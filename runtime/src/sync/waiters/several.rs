//! What a waiter needs that is in several queues at once: `select`. The protocol is in `select/README.md`.

use core::ptr;

use super::access::Access;
use super::choice::Arm;
use super::guarded::Guarded;
use super::node::TAKEN;
use super::queue::Place;
use super::wakes::Wakes;
use crate::atomic::Ordering;

impl<S, P, const N: usize> Guarded<S, P, N> {
    /// By what several locks are ordered.
    #[inline]
    pub(crate) fn address(&self) -> usize {
        ptr::from_ref(&self.lock).addr()
    }

    /// Locks, for one who takes several locks: each once, in the order of their addresses.
    pub(crate) fn lock(&self) {
        self.lock.lock();
    }

    /// # Safety
    /// The caller has locked it, by [`lock`](Guarded::lock), and does not use what is inside any more.
    pub(crate) unsafe fn unlock(&self) {
        self.lock.unlock();
    }

    /// What is inside, for the holder of the lock. Whoever is woken is let go with the `wakes`.
    ///
    /// # Safety
    /// * The caller has locked it, by [`lock`](Guarded::lock), and does not unlock it while the result lives.
    /// * Nor is there another access at the same time.
    pub(crate) unsafe fn locked<'a>(&'a self, wakes: &'a mut Wakes) -> Access<'a, S, P, N> {
        // SAFETY: the lock is the caller's, and this the only access.
        let inner = unsafe { &mut *self.inner.get() };
        Access {
            state: &mut inner.state,
            queues: &mut inner.queues,
            wakes,
        }
    }
}

impl<S, P, const N: usize> Access<'_, S, P, N> {
    /// Whether there is one in a queue that nobody has claimed elsewhere, and whose payload is such.
    pub(crate) fn any(&self, queue: usize, is_such: impl Fn(&P) -> bool) -> bool {
        let mut at = self.queues[queue].head;
        while let Some(node) = at {
            // SAFETY: it is QUEUED, so its frame stands, and its fields belong to the lock's holder.
            let (node, payload) = unsafe { (node.as_ref(), &*node.as_ref().payload.get()) };
            if node.choice.get().is_none_or(Arm::is_open) && is_such(payload) {
                return true;
            }
            at = node.next.get();
        }
        false
    }

    /// Wakes the first in a queue whose payload is such, after `give` has changed it. Only of payloads that no select has.
    pub(crate) fn wake_such<R>(
        &mut self,
        queue: usize,
        is_such: impl Fn(&P) -> bool,
        give: impl FnOnce(&mut P) -> R,
    ) -> Option<R> {
        let mut at = self.queues[queue].head;
        while let Some(first) = at {
            // SAFETY: it is QUEUED, so its frame stands, and its fields belong to the lock's holder.
            let node = unsafe { first.as_ref() };
            at = node.next.get();
            // SAFETY: as above; nothing else refers to the payload.
            let payload = unsafe { &mut *node.payload.get() };
            if node.choice.get().is_none() && is_such(payload) {
                self.queues[queue].unlink(node);
                // Relaxed: as in `take_next`.
                node.stage.store(TAKEN, Ordering::Relaxed);
                let given = give(payload);
                // SAFETY: TAKEN, by us, and not touched again.
                unsafe { self.finish(first) };
                return Some(given);
            }
        }
        None
    }

    /// Moves the first of queue `from` that can be claimed to the end of queue `to`, where it waits on; unless `wakes`
    /// says so of its payload: then that one is woken instead, and the next is looked at. False: there was none.
    pub(crate) fn move_next(&mut self, from: usize, to: usize, wakes: impl Fn(&P) -> bool) -> bool {
        while let Some(node) = self.take_next(from) {
            // SAFETY: TAKEN, by us: the payload is ours, and the frame stands until WOKEN.
            if wakes(unsafe { &*node.as_ref().payload.get() }) {
                // SAFETY: TAKEN, by us, and not touched again.
                unsafe { self.finish(node) };
                continue;
            }
            // SAFETY: its frame stands.
            let node = unsafe { node.as_ref() };
            // Claimed, by way of this node: nobody has to do so again.
            node.choice.set(None);
            // SAFETY: it is in no queue. Its frame stands until it is out of this one, too: the waiter did not see that
            // it was taken, since it looks under the lock, or at WOKEN.
            unsafe { self.link(node, to, Place::Back) };
            return true;
        }
        false
    }
}
