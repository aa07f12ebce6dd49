//! A worker's own queue: a ring of started, pinned coroutines and the LIFO slot in front of it. With one worker, from which
//! nobody steals, also the ring of fresh (or movable) ones, which otherwise lie in the deque: a plain ring has no locked
//! instructions.

use std::collections::VecDeque;

use crate::task::header::TaskRef;

/// A coroutine that keeps waking its neighbour must not keep the others waiting: after so many runs out of the LIFO
/// slot in a row, the slot's coroutine goes to the end of the ring.
const LIFO_STREAK_MAX: u8 = 3;

/// Only its worker touches it.
pub(crate) struct LocalQueue {
    /// Bounded by the worker's live coroutines: each is in it once (law 8).
    ring: VecDeque<TaskRef>,
    /// Bounded like the ring, and by reservations.
    unshared: VecDeque<TaskRef>,
    /// What the running coroutine woke last: its data is warm.
    lifo: Option<TaskRef>,
    lifo_streak: u8,
}

impl LocalQueue {
    pub(crate) fn new() -> LocalQueue {
        LocalQueue {
            ring: VecDeque::with_capacity(256),
            unshared: VecDeque::new(),
            lifo: None,
            lifo_streak: 0,
        }
    }

    #[inline]
    pub(crate) fn push(&mut self, task: TaskRef) {
        self.ring.push_back(task);
    }

    /// Queues what the running coroutine woke, ahead of the ring.
    #[inline]
    pub(crate) fn push_lifo(&mut self, task: TaskRef) {
        if let Some(earlier) = self.lifo.replace(task) {
            self.ring.push_back(earlier);
        }
    }

    #[inline]
    pub(crate) fn pop_lifo(&mut self) -> Option<TaskRef> {
        let task = self.lifo.take()?;
        if self.lifo_streak == LIFO_STREAK_MAX {
            self.lifo_streak = 0;
            self.ring.push_back(task);
            return None;
        }
        self.lifo_streak += 1;
        Some(task)
    }

    #[inline]
    pub(crate) fn pop(&mut self) -> Option<TaskRef> {
        self.lifo_streak = 0;
        self.ring.pop_front()
    }

    /// Queues what would lie in the deque if there were anyone to steal it.
    #[inline]
    pub(crate) fn push_unshared(&mut self, task: TaskRef) {
        self.unshared.push_back(task);
    }

    #[inline]
    pub(crate) fn pop_unshared(&mut self) -> Option<TaskRef> {
        self.lifo_streak = 0;
        self.unshared.pop_front()
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.ring.is_empty() && self.unshared.is_empty() && self.lifo.is_none()
    }
}
