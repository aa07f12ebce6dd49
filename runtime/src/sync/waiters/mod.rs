//! The wait queue: the one that everything in `sync` waits in.
//!
//! A [`Guarded`] is a state with queues of waiters under a [`SpinLock`]. A waiter's *node* lies on its own stack, in the
//! frame of [`Guarded::wait`], with a *payload*: what it wants, and then what it was given (permits, a message, a lock).
//!
//! # Stages of a node
//! ```text
//!                   take_next          finish: a coroutine is notified      the lock is free: let_go
//!   (its frame) ─▶ QUEUED ─────▶ TAKEN ───────────────────────────▶ WOKEN ─────────────────────────▶ a coroutine's link is queued,
//!                    │ leave             all under the lock                                           a plain thread is notified
//!                    ├────────▶ (its frame)
//!                    │ take_next, claimed elsewhere
//!                    └────────▶ PASSED_OVER
//! ```
//! In all stages but QUEUED the node is unlinked.
//!
//! | stage | links | payload | who waits |
//! | --- | --- | --- | --- |
//! | QUEUED | the lock's holder | the lock's holder | the lock's holder |
//! | TAKEN | nobody | the waker, which holds the lock | the waker |
//! | WOKEN, PASSED_OVER | nobody | the waiter | the waiter |
//!
//! # No wake-up is lost
//! A waiter enters under the lock under which it found that it has to wait. So whoever changes the state later finds
//! it. A waiter that comes back from `park` looks: WOKEN, it is done; TAKEN, it spins for WOKEN, which is a few instructions away; QUEUED, the
//! wake-up was somebody else's, and it parks again. That leaves a wake-up that comes between the look and the park:
//!
//! *A coroutine's* waker sets TAKEN, notifies, and sets WOKEN, in this order. The notification is a read-modify-write of the coroutine's state word
//! (`task/README.md`): either it comes before that park, which then returns and has acquired TAKEN; or it finds PARKED, and makes the waiter run.
//!
//! *A plain thread's* waker sets WOKEN, and notifies when the lock is free, so that it makes no system call under it. The notification leaves
//! a token: that park takes it and returns, or is woken by it, and has acquired WOKEN. A thread that has seen WOKEN before finds the token at a
//! later wait, as a wake-up that means nothing.
//!
//! # Nothing is used after its end
//! *The node*: a waker does not touch it after the store of WOKEN; a waiter's frame does not end before it has seen WOKEN
//! or has unlinked the node, under the lock. *A coroutine's record* is borrowed, not counted (two locked instructions less a
//! wait): the notification comes before WOKEN, and the waiter cannot end before it has seen that. What a coroutine that was PARKED
//! leaves to the waker is its queue link, which is a reference of its own; it is queued after the lock is free. *A plain thread's record*
//! is counted: the waker takes the reference out of the node before WOKEN, and notifies by it after.
//!
//! # One outcome
//! A waiter that is woken, interrupted and past its deadline at once has one outcome, decided under the lock: if it
//! was taken out of the queue before it could leave, it was woken. If it unwinds all the same, `leave` passes on what it was given.
//!
//! # Several queues at once
//! A waiter of a `select` has a node in each of several queues, and one [`Choice`] for them all. Whoever takes such a
//! node out has to claim the choice, by one exchange; if another was first the node is passed over, as if it were not there. The protocol
//! is in `select/README.md`, what it needs beside this in `several.rs`.

mod access;
mod choice;
mod guarded;
mod node;
mod queue;
mod several;
mod wait;
mod wakes;

pub(crate) use access::Access;
pub(crate) use choice::Choice;
pub(crate) use guarded::{Guarded, Held};
pub(crate) use node::Node;
pub(crate) use queue::Place;
pub(crate) use wait::{Enter, Left, Waited};
pub(crate) use wakes::Wakes;
