//! A waiter's place in a queue, and the stages that it goes through.

use core::cell::UnsafeCell;
use core::ptr::NonNull;
use std::time::Duration;

use super::choice::{Arm, Choice};
use crate::atomic::{AtomicU32, Cell, Ordering, spin_loop};
use crate::task::park::Waiting;

pub(super) const QUEUED: u32 = 0;
pub(super) const TAKEN: u32 = 1;
pub(super) const WOKEN: u32 = 2;
/// Of a select that was claimed elsewhere; the select takes no notice.
pub(super) const PASSED_OVER: u32 = 3;

/// A waiter's place. Touched by whom the table in the module names.
pub(crate) struct Node<P> {
    pub(super) prev: Cell<Option<NonNull<Node<P>>>>,
    pub(super) next: Cell<Option<NonNull<Node<P>>>>,
    /// The queue that it is in, while it is QUEUED.
    pub(super) queue: Cell<usize>,
    pub(super) stage: AtomicU32,
    pub(super) who: Cell<Option<Waiting>>,
    /// The lock's holder's, while it is QUEUED. None once it has been claimed by way of this node.
    pub(super) choice: Cell<Option<Arm>>,
    pub(super) payload: UnsafeCell<P>,
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

    /// The waiter of a select: whether it has been taken out because its choice was claimed elsewhere. It will not be touched again.
    pub(crate) fn is_passed_over(&self) -> bool {
        // Acquire: the last use of it by the one who did so.
        self.stage.load(Ordering::Acquire) == PASSED_OVER
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
