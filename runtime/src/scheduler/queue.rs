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
        let task = self.ring.pop_front()?;
        // With more coroutines than the caches hold each switch would wait for memory. (Measured with 100,000 sleepers:
        // 4 % of the whole on a quiet machine, more beside others that use its caches.)
        if let Some(after_next) = self.ring.get(1) {
            after_next.prefetch_record();
            self.ring[0].prefetch_stack();
        }
        Some(task)
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

    /// How many are queued, the LIFO slot's included.
    pub(crate) fn len(&self) -> usize {
        self.ring.len() + self.unshared.len() + usize::from(self.lifo.is_some())
    }

    /// Puts one, by an index below `len`, into the LIFO slot, to come next.
    #[cold]
    pub(crate) fn prefer(&mut self, index: usize) {
        if let Some(task) = self.lifo.take() {
            self.ring.push_back(task);
        }
        self.lifo_streak = 0;
        self.lifo = match index.checked_sub(self.ring.len()) {
            None => self.ring.swap_remove_back(index),
            Some(index) => self.unshared.swap_remove_back(index),
        };
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.ring.is_empty() && self.unshared.is_empty() && self.lifo.is_none()
    }
}
