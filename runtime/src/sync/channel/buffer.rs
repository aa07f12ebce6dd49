//! The messages that lie in a channel: a queue that never moves more than a chunk of them at once, since it grows under
//! the channel's lock, where others spin.

use core::mem;
use std::collections::VecDeque;

/// Bytes of messages that may have to be moved when a chunk grows.
const CHUNK_BYTES: usize = 32 << 10;
/// Messages of a chunk at least.
const CHUNK_LEAST: usize = 16;

/// First in, first out. Mostly all that there is lies in `front`.
pub(super) struct Buffer<T> {
    front: VecDeque<T>,
    /// Full chunks. Not empty only if `back` is not.
    middle: VecDeque<VecDeque<T>>,
    back: VecDeque<T>,
    len: usize,
}

impl<T> Buffer<T> {
    const CHUNK: usize = {
        let fits = CHUNK_BYTES
            / if size_of::<T>() == 0 {
                1
            } else {
                size_of::<T>()
            };
        if fits < CHUNK_LEAST {
            CHUNK_LEAST
        } else {
            fits
        }
    };

    /// With room for `room` messages, or a chunk of them.
    pub(super) fn with_room(room: usize) -> Buffer<T> {
        Buffer {
            front: VecDeque::with_capacity(room.min(Self::CHUNK)),
            middle: VecDeque::new(),
            back: VecDeque::new(),
            len: 0,
        }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(super) fn push(&mut self, message: T) {
        // What is in `front` is all if and only if the lengths agree.
        if self.front.len() == self.len && self.len < Self::CHUNK {
            self.front.push_back(message);
        } else {
            self.push_behind(message);
        }
        self.len += 1;
    }

    #[cold]
    fn push_behind(&mut self, message: T) {
        if self.back.len() >= Self::CHUNK {
            let full = mem::replace(&mut self.back, VecDeque::with_capacity(Self::CHUNK));
            self.middle.push_back(full);
        }
        self.back.push_back(message);
    }

    /// Puts one back that was taken out.
    pub(super) fn push_front(&mut self, message: T) {
        self.front.push_front(message);
        self.len += 1;
    }

    #[inline]
    pub(super) fn pop(&mut self) -> Option<T> {
        if self.front.is_empty() && self.len > 0 {
            self.refill();
        }
        let message = self.front.pop_front()?;
        self.len -= 1;
        Some(message)
    }

    /// The message before which there are `at`.
    pub(super) fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        if at < self.front.len() {
            return self.front.get_mut(at);
        }
        let at = at - self.front.len();
        let chunks = self.middle.len();
        match self.middle.get_mut(at / Self::CHUNK) {
            Some(chunk) => chunk.get_mut(at % Self::CHUNK),
            None => self.back.get_mut(at - chunks * Self::CHUNK),
        }
    }

    #[cold]
    fn refill(&mut self) {
        match self.middle.pop_front() {
            Some(chunk) => self.front = chunk,
            None => mem::swap(&mut self.front, &mut self.back),
        }
    }
}

// With its path, for models that include this file by path.
#[cfg(test)]
#[path = "buffer/tests.rs"]
mod tests;
