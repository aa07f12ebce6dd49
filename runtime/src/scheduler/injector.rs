//! The global queue: coroutines from threads that are no workers of the runtime. It can be closed, so that a spawn
//! that races with the end of a runtime is told so instead of being forgotten.

use std::collections::VecDeque;

use parking_lot::Mutex;

use crate::atomic::{AtomicUsize, Ordering};
use crate::task::header::TaskRef;

pub(crate) struct Injector {
    queue: Mutex<Queue>,
    /// Its length, so that workers pass by without the lock.
    len: AtomicUsize,
}

struct Queue {
    /// Bounded by what spawns: each is a reserved coroutine (law 8).
    tasks: VecDeque<TaskRef>,
    closed: bool,
}

impl Injector {
    pub(crate) fn new() -> Injector {
        Injector {
            queue: Mutex::new(Queue {
                tasks: VecDeque::new(),
                closed: false,
            }),
            len: AtomicUsize::new(0),
        }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        // Acquire: whoever finds it empty finds what was moved from here in the mover's deque.
        self.len.load(Ordering::Acquire) == 0
    }

    /// Queues a coroutine; gives it back when the runtime has ended.
    pub(crate) fn push(&self, task: TaskRef) -> Result<(), TaskRef> {
        let mut queue = self.queue.lock();
        if queue.closed {
            return Err(task);
        }
        queue.tasks.push_back(task);
        self.len.store(queue.tasks.len(), Ordering::Relaxed);
        Ok(())
    }

    /// Runs `f` unless the runtime has ended, and holds off its end meanwhile.
    pub(crate) fn while_open<R>(&self, f: impl FnOnce() -> R) -> Option<R> {
        let queue = self.queue.lock();
        if queue.closed { None } else { Some(f()) }
    }

    /// Takes up to `most`, oldest first.
    pub(crate) fn pop_batch(&self, most: usize, mut take: impl FnMut(TaskRef)) {
        if self.is_empty() {
            return;
        }
        let mut queue = self.queue.lock();
        for _ in 0..most {
            match queue.tasks.pop_front() {
                Some(task) => take(task),
                None => break,
            }
        }
        // Release: a worker about to sleep looks here first and at the deques second; it must not find both empty
        // while `take` moves work from one to the other.
        self.len.store(queue.tasks.len(), Ordering::Release);
    }

    /// For the end of the runtime: closes it if it is empty and `also` agrees.
    pub(crate) fn close_if(&self, also: impl FnOnce() -> bool) -> bool {
        let mut queue = self.queue.lock();
        queue.closed |= queue.tasks.is_empty() && also();
        queue.closed
    }
}
