//! The wait queue: the one that everything in `sync` waits in.
//!
//! A [`Guarded`] is a state with queues of waiters under a [`SpinLock`]. A waiter's *node* lies on its own stack, in the
//! frame of [`Guarded::wait`], with a *payload*: what it wants, and then what it was given (permits, a message, a lock).
//!
//! # Stages of a node
//! ```text
//!                    take_next               notify             finish
//!   (its frame) ─▶ QUEUED ─────▶ unlinked, TAKEN ─────▶ (notified) ─────▶ WOKEN
//!                    │ leave                            all under the lock
//!                    ├────────▶ (its frame)
//!                    │ take_next, claimed elsewhere
//!                    └────────▶ unlinked, PASSED_OVER
//! ```
//!
//! | stage | links | payload | who waits |
//! | --- | --- | --- | --- |
//! | QUEUED | the lock's holder | the lock's holder | the lock's holder |
//! | TAKEN | nobody | the waker, which holds the lock | the waker |
//! | WOKEN, PASSED_OVER | nobody | the waiter | the waiter |
//!
//! # No wake-up is lost
//! A waiter enters under the lock under which it found that it has to wait. So whoever changes the state later finds
//! it. A waker sets TAKEN, notifies, and sets WOKEN, in this order. A waiter that comes back from `park` looks: WOKEN, it
//! is done; TAKEN, it spins for WOKEN, which is a few instructions away; QUEUED, the wake-up was somebody else's, and it parks again. The
//! notification is a read-modify-write of its state word (`task/README.md`): either it comes before that park, which then returns and
//! has acquired TAKEN; or it finds PARKED, and makes the waiter run.
//!
//! # Nothing is used after its end
//! *The node*: a waker does not touch it after the store of WOKEN; a waiter's frame does not end before it has seen WOKEN
//! or has unlinked the node, under the lock. *The waiter's record* is borrowed, not counted (two locked instructions less a
//! wait): the notification comes before WOKEN, and the waiter cannot end before it has seen that. What a coroutine that was PARKED
//! leaves to the waker is its queue link, which is a reference of its own; it is queued after the lock is free. A plain thread's
//! reference is counted, and taken out of the node before WOKEN.
//!
//! # One outcome
//! A waiter that is woken, interrupted and past its deadline at once has one outcome, decided under the lock: if it
//! was taken out of the queue before it could leave, it was woken. If it unwinds all the same, `leave` passes on what it was given.
//!
//! # Several queues at once
//! A waiter of a `select` has a node in each of several queues, and one [`Choice`] for them all. Whoever takes such a
//! node out has to claim the choice, by one exchange; if another was first the node is passed over, as if it were not there. The protocol
//! is in `select/README.md`, what it needs beside this in `waiters/several.rs`.

use core::cell::UnsafeCell;
use core::panic::{RefUnwindSafe, UnwindSafe};
use core::ptr::NonNull;
use std::time::Duration;

use crate::atomic::{AtomicU32, AtomicUsize, Cell, Ordering, spin_loop};
use crate::sync::lock::SpinLock;
use crate::task::park::{self, Waiting, Wake};
use crate::time::Moment;

// With its path, for models that include this file by path.
#[path = "waiters/several.rs"]
mod several;

const QUEUED: u32 = 0;
const TAKEN: u32 = 1;
const WOKEN: u32 = 2;
/// Of a select that was claimed elsewhere; the select takes no notice.
const PASSED_OVER: u32 = 3;

/// A state, and `N` queues of those who wait for it to change, under one lock.
pub(crate) struct Guarded<S, P, const N: usize = 1> {
    lock: SpinLock,
    inner: UnsafeCell<Inner<S, P, N>>,
}

struct Inner<S, P, const N: usize> {
    state: S,
    queues: [Queue<P>; N],
}

// SAFETY: the state and the queues are reached under the lock only, from one thread at a time. A payload is moved from the
// waiter's thread to the waker's and back, so it must be Send, as the state.
unsafe impl<S: Send, P: Send, const N: usize> Send for Guarded<S, P, N> {}
// SAFETY: as above; nothing hands out a `&S` or `&P` to two threads.
unsafe impl<S: Send, P: Send, const N: usize> Sync for Guarded<S, P, N> {}

// Nothing panics under the lock: a panic leaves no state in between behind.
impl<S, P, const N: usize> UnwindSafe for Guarded<S, P, N> {}
impl<S, P, const N: usize> RefUnwindSafe for Guarded<S, P, N> {}

/// First come, first out. Bounded by those who wait (law 8).
struct Queue<P> {
    head: Option<NonNull<Node<P>>>,
    tail: Option<NonNull<Node<P>>>,
}

/// A waiter's place. Touched by whom the table above names.
pub(crate) struct Node<P> {
    prev: Cell<Option<NonNull<Node<P>>>>,
    next: Cell<Option<NonNull<Node<P>>>>,
    /// The queue that it is in, while it is QUEUED.
    queue: Cell<usize>,
    stage: AtomicU32,
    who: Cell<Option<Waiting>>,
    /// The lock's holder's, while it is QUEUED. None once it has been claimed by way of this node.
    choice: Cell<Option<Arm>>,
    payload: UnsafeCell<P>,
}

/// A node's arm of a choice. The choice outlives the node's time in a queue.
#[derive(Clone, Copy)]
struct Arm {
    choice: NonNull<Choice>,
    number: usize,
}

/// Which of several queues has taken a waiter out: the first that claims it.
pub(crate) struct Choice(AtomicUsize);

/// Where a waiter queues up.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Back,
    Front,
}

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

/// State and queues, for the holder of the lock.
pub(crate) struct Access<'a, S, P, const N: usize = 1> {
    pub(crate) state: &'a mut S,
    queues: &'a mut [Queue<P>; N],
    wakes: &'a mut Wakes,
}

impl<S, P, const N: usize> Guarded<S, P, N> {
    pub(crate) const fn new(state: S) -> Guarded<S, P, N> {
        Guarded {
            lock: SpinLock::new(),
            inner: UnsafeCell::new(Inner {
                state,
                queues: [const { Queue::new() }; N],
            }),
        }
    }

    /// Runs `f` under the lock, and then lets go whom it has woken.
    ///
    /// `f` is the runtime's own: it neither parks nor drops a user's values, nor runs a user's code.
    #[inline]
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut Access<'_, S, P, N>) -> R) -> R {
        let mut held = self.hold();
        f(&mut held.access())
    }

    /// Takes the lock, for what looks first and then waits in the same section; see [`Held::wait`]. As for `with`, nothing of a
    /// user's is run or dropped before it is free.
    #[inline]
    pub(crate) fn hold(&self) -> Held<'_, S, P, N> {
        Held::new(self)
    }

    pub(crate) fn get_mut(&mut self) -> &mut S {
        &mut self.inner.get_mut().state
    }

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

/// The lock, held. Whoever is woken meanwhile is let go when it is free.
pub(crate) struct Held<'a, S, P, const N: usize> {
    guarded: &'a Guarded<S, P, N>,
    wakes: Wakes,
}

impl<'a, S, P, const N: usize> Held<'a, S, P, N> {
    #[inline]
    fn new(guarded: &'a Guarded<S, P, N>) -> Held<'a, S, P, N> {
        guarded.lock.lock();
        Held {
            guarded,
            wakes: Wakes::new(),
        }
    }

    #[inline]
    pub(crate) fn access(&mut self) -> Access<'_, S, P, N> {
        // SAFETY: the lock is ours for as long as `self` lives, and `&mut self` makes this the only access.
        let inner = unsafe { &mut *self.guarded.inner.get() };
        Access {
            state: &mut inner.state,
            queues: &mut inner.queues,
            wakes: &mut self.wakes,
        }
    }
}

impl<S, P, const N: usize> Drop for Held<'_, S, P, N> {
    #[inline]
    fn drop(&mut self) {
        self.guarded.lock.unlock();
        // The wakes are dropped, and so let go, after this.
    }
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
    fn take_next(&mut self, queue: usize) -> Option<NonNull<Node<P>>> {
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

    /// Notifies whoever waits, and lets go of the node.
    ///
    /// # Safety
    /// The node is TAKEN, by the caller, who does not touch it again.
    #[inline]
    unsafe fn finish(&mut self, node: NonNull<Node<P>>) {
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

impl<P> Node<P> {
    pub(crate) fn new(payload: P) -> Node<P> {
        Node::with_arm(payload, None)
    }

    /// One of a select's nodes.
    ///
    /// # Safety
    /// The choice outlives the node's time in a queue.
    pub(crate) unsafe fn of_select(payload: P, choice: &Choice, number: usize) -> Node<P> {
        let choice = NonNull::from(choice);
        Node::with_arm(payload, Some(Arm { choice, number }))
    }

    fn with_arm(payload: P, choice: Option<Arm>) -> Node<P> {
        Node {
            prev: Cell::new(None),
            next: Cell::new(None),
            queue: Cell::new(0),
            stage: AtomicU32::new(QUEUED),
            who: Cell::new(Some(Waiting::new())),
            choice: Cell::new(choice),
            payload: UnsafeCell::new(payload),
        }
    }

    /// The payload, when the node is in no queue any more.
    pub(crate) fn into_payload(self) -> P {
        self.payload.into_inner()
    }

    /// The waiter: whether it was woken. The payload is its own again then.
    #[inline]
    pub(crate) fn is_woken(&self) -> bool {
        let mut looks = 0;
        loop {
            // Acquire: the payload, and the waker's last use of the node and of the waiter's record.
            match self.stage.load(Ordering::Acquire) {
                WOKEN => return true,
                TAKEN => wait_for_waker(&mut looks),
                _ => return false,
            }
        }
    }
}

/// The waker is a few instructions away from WOKEN, unless it is off its core; maybe we have put it off, by a higher priority.
#[cold]
fn wait_for_waker(looks: &mut u32) {
    const LOOKS_MAX: u32 = 64;
    const YIELDS_MAX: u32 = 64;
    *looks = looks.saturating_add(1);
    if *looks >= LOOKS_MAX * YIELDS_MAX {
        std::thread::sleep(Duration::from_micros(50));
    } else if looks.is_multiple_of(LOOKS_MAX) {
        std::thread::yield_now();
    } else {
        spin_loop();
    }
}

impl<P> Queue<P> {
    const fn new() -> Queue<P> {
        Queue {
            head: None,
            tail: None,
        }
    }

    #[inline]
    fn link(&mut self, node: &Node<P>, place: Place) {
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
    fn unlink(&mut self, node: &Node<P>) {
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

impl Arm {
    /// Whether nobody else has taken the waiter out elsewhere.
    fn claim(self) -> bool {
        // SAFETY: called for a QUEUED node; a choice outlives its nodes' time in queues.
        unsafe { self.choice.as_ref() }.claim(self.number)
    }
}

impl Choice {
    const OPEN: usize = 0;

    pub(crate) fn new() -> Choice {
        Choice(AtomicUsize::new(Choice::OPEN))
    }

    /// The arm that was decided for.
    pub(crate) fn arm(&self) -> Option<usize> {
        self.0.load(Ordering::Acquire).checked_sub(1)
    }

    /// Decides for an arm, if nobody has decided yet.
    pub(crate) fn claim(&self, arm: usize) -> bool {
        // Acquire, release: the select, which looks at the choice, sees what was done before, and whoever comes second too.
        self.0
            .compare_exchange(Choice::OPEN, arm + 1, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }
}

/// Who is to be let go once the lock is free. Mostly one.
pub(crate) struct Wakes {
    first: Option<Wake>,
    /// Bounded by the waiters of one queue (law 8). Boxed, so that nobody pays for what is rare.
    #[expect(
        clippy::box_collection,
        reason = "one word, which is looked at with each use"
    )]
    more: Option<Box<Vec<Wake>>>,
}

impl Wakes {
    pub(crate) const fn new() -> Wakes {
        Wakes {
            first: None,
            more: None,
        }
    }

    #[inline]
    fn push(&mut self, wake: Wake) {
        if self.first.is_none() {
            self.first = Some(wake);
        } else {
            self.push_behind(wake);
        }
    }

    #[cold]
    fn push_behind(&mut self, wake: Wake) {
        self.more.get_or_insert_default().push(wake);
    }

    #[cold]
    fn let_go(&mut self, first: Wake) {
        first.let_go();
        for wake in self.more.take().into_iter().flat_map(|more| *more) {
            wake.let_go();
        }
    }
}

impl Drop for Wakes {
    #[inline]
    fn drop(&mut self) {
        if let Some(first) = self.first.take() {
            self.let_go(first);
        }
    }
}
