//! At most so many at once, for models that start a thread for each connection or request.

use std::sync::{Condvar, Mutex};

pub(crate) struct Turnstile {
    left: Mutex<usize>,
    freed: Condvar,
}

/// A place, until it is dropped.
pub(crate) struct Ticket<'a>(&'a Turnstile);

impl Turnstile {
    pub(crate) fn new(max: usize) -> Turnstile {
        Turnstile {
            left: Mutex::new(max),
            freed: Condvar::new(),
        }
    }

    /// Waits for a place.
    pub(crate) fn enter(&self) -> Ticket<'_> {
        let left = self.left.lock().expect("nobody panics with it");
        let mut left = self
            .freed
            .wait_while(left, |left| *left == 0)
            .expect("nobody panics with it");
        *left -= 1;
        Ticket(self)
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        *self.0.left.lock().expect("nobody panics with it") += 1;
        self.0.freed.notify_one();
    }
}
