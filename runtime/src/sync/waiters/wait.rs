//! Waiting: a node is linked, its waiter parks, and does not leave before the node is out of the queue.

use super::access::Access;
use super::guarded::{Guarded, Held};
use super::node::Node;
use super::queue::Place;
use crate::task::park;
use crate::time::Moment;

/// What a caller of [`Guarded::wait`] finds.
pub(crate) enum Enter<R, P> {
    /// It need not wait.
    Done(R),
    /// It queues up, with this payload.
    Wait {
        queue: usize,
        place: Place,
        payload: P,
    },
}

/// How a wait has ended.
pub(crate) enum Waited<R, P> {
    /// It was none.
    Done(R),
    /// Somebody has taken it out of its queue, and changed its payload.
    Woken(P),
    /// Its deadline has passed. The payload is as it was.
    TimedOut(P),
}

/// How a waiter leaves that has not seen a wake-up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Left {
    /// It was still in the queue, and is not any more.
    Queue,
    /// It was woken, and unwinds all the same: what it was given has to be passed on.
    Woken,
}

impl<S, P, const N: usize> Guarded<S, P, N> {
    /// Waits in a queue, if `enter`, which is run under the lock, says so.
    ///
    /// A wait that ends in another way than by a wake-up is told to `leave`, under the lock, too: past the `deadline`, and
    /// when it unwinds (law 6). What is left of the payload is dropped after the lock is free.
    #[inline]
    pub(crate) fn wait<R>(
        &self,
        deadline: Moment,
        enter: impl FnOnce(&mut Access<'_, S, P, N>) -> Enter<R, P>,
        leave: impl FnOnce(&mut Access<'_, S, P, N>, &mut P, Left),
    ) -> Waited<R, P> {
        self.hold().wait(deadline, enter, leave)
    }

    /// The same. `queued` is run when it is in a queue, after the lock is free and before it is parked: somebody may wake it already.
    #[inline]
    pub(crate) fn wait_and<R>(
        &self,
        deadline: Moment,
        enter: impl FnOnce(&mut Access<'_, S, P, N>) -> Enter<R, P>,
        queued: impl FnOnce(),
        leave: impl FnOnce(&mut Access<'_, S, P, N>, &mut P, Left),
    ) -> Waited<R, P> {
        self.hold().wait_and(deadline, enter, queued, leave)
    }
}

impl<S, P, const N: usize> Held<'_, S, P, N> {
    /// [`Guarded::wait`], by whom has the lock already.
    #[inline]
    pub(crate) fn wait<R>(
        self,
        deadline: Moment,
        enter: impl FnOnce(&mut Access<'_, S, P, N>) -> Enter<R, P>,
        leave: impl FnOnce(&mut Access<'_, S, P, N>, &mut P, Left),
    ) -> Waited<R, P> {
        self.wait_and(deadline, enter, || {}, leave)
    }

    #[inline]
    fn wait_and<R>(
        mut self,
        deadline: Moment,
        enter: impl FnOnce(&mut Access<'_, S, P, N>) -> Enter<R, P>,
        queued: impl FnOnce(),
        leave: impl FnOnce(&mut Access<'_, S, P, N>, &mut P, Left),
    ) -> Waited<R, P> {
        match enter(&mut self.access()) {
            Enter::Done(value) => Waited::Done(value),
            Enter::Wait {
                queue,
                place,
                payload,
            } => {
                let node = Node::new(payload);
                self.wait_queued((queue, place), node, deadline, queued, leave)
            }
        }
    }

    #[inline(never)]
    fn wait_queued<R>(
        mut self,
        (queue, place): (usize, Place),
        node: Node<P>,
        deadline: Moment,
        queued: impl FnOnce(),
        leave: impl FnOnce(&mut Access<'_, S, P, N>, &mut P, Left),
    ) -> Waited<R, P> {
        let mut seat = Seat {
            guarded: self.guarded,
            node: &node,
            leave: Some(leave),
        };
        // SAFETY: the seat keeps the node here until it is out of the queue, also when this unwinds.
        unsafe { self.access().link(seat.node, queue, place) };
        drop(self);
        queued();
        let timed_out = loop {
            let passed = park::park(deadline);
            if seat.node.is_woken() {
                break false;
            }
            if passed {
                break seat.give_up();
            }
        };
        seat.leave = None;
        drop(seat);
        let payload = node.into_payload();
        if timed_out {
            Waited::TimedOut(payload)
        } else {
            Waited::Woken(payload)
        }
    }
}

/// Keeps a node in its frame until it is out of its queue.
struct Seat<'a, S, P, const N: usize, F>
where
    F: FnOnce(&mut Access<'_, S, P, N>, &mut P, Left),
{
    guarded: &'a Guarded<S, P, N>,
    node: &'a Node<P>,
    /// Taken when the wait has ended.
    leave: Option<F>,
}

impl<S, P, const N: usize, F> Seat<'_, S, P, N, F>
where
    F: FnOnce(&mut Access<'_, S, P, N>, &mut P, Left),
{
    /// Past the deadline. True: it has left; false: it was woken before it could.
    #[cold]
    fn give_up(&mut self) -> bool {
        let mut held = Held::new(self.guarded);
        let mut access = held.access();
        // SAFETY: the node was linked here, by `wait_queued`.
        if unsafe { access.unlink_queued(self.node) } {
            // SAFETY: unlinked by us, so the payload is the caller's.
            let payload = unsafe { &mut *self.node.payload.get() };
            if let Some(leave) = self.leave.take() {
                leave(&mut access, payload, Left::Queue);
            }
            return true;
        }
        false
    }
}

impl<S, P, const N: usize, F> Drop for Seat<'_, S, P, N, F>
where
    F: FnOnce(&mut Access<'_, S, P, N>, &mut P, Left),
{
    fn drop(&mut self) {
        let Some(leave) = self.leave.take() else {
            return;
        };
        // It unwinds.
        let mut held = Held::new(self.guarded);
        let mut access = held.access();
        // SAFETY: the node was linked here, by `wait_queued`.
        let left = match unsafe { access.unlink_queued(self.node) } {
            true => Left::Queue,
            false => Left::Woken,
        };
        // SAFETY: unlinked by us, or WOKEN, since the lock is ours: the payload is the waiter's.
        leave(&mut access, unsafe { &mut *self.node.payload.get() }, left);
    }
}
