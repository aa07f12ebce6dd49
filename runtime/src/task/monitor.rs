//! A value under a lock, and those who wait until it is as they want it: what rarely contended waits are built from.
//!
//! Waiters are coroutines and plain threads alike, and all of them are woken by each [`update`](Monitor::update): each
//! looks again, and those who have nothing to do yet wait on. So this is for few waiters.
//!
//! # No wake-up is lost
//! A waiter enters its `Unparker` in the list under the lock under which its check has failed. An update has
//! changed the value either before, then the check has seen it, or it takes the lock later, and finds the waiter in
//! the list. It takes the list out, and unparks after the lock was released: an unpark that comes before the waiter
//! has parked is kept (law 2), and one that comes when it has left is spurious to whatever it does next, as wake-ups
//! may be.
//!
//! A waiter that leaves, unwinding or not, takes itself out of the list (`Seat`), so that a list holds no more than
//! there are waiters.
//!
//! # What runs under the lock
//! The closures. They are the runtime's and net's own, never a user's; they do not park, and a value that a user gave
//! us they hand out as their result rather than drop it, for results are dropped, and waiters woken, outside.

use core::mem;
use std::time::Instant;

use parking_lot::Mutex;

use crate::context;
use crate::task::park::{self, Unparker};
use crate::time;

#[cfg(test)]
mod tests;

/// A value and its waiters.
#[derive(Default)]
pub struct Monitor<T> {
    guarded: Mutex<Guarded<T>>,
}

#[derive(Default)]
struct Guarded<T> {
    value: T,
    waiters: Vec<Waiter>,
    /// The last ticket that was given out.
    tickets: u64,
}

/// Somebody whose check has failed.
struct Waiter {
    ticket: u64,
    unparker: Unparker,
}

impl<T> Monitor<T> {
    /// A monitor of `value`.
    #[must_use]
    pub const fn new(value: T) -> Monitor<T> {
        Monitor {
            guarded: Mutex::new(Guarded {
                value,
                waiters: Vec::new(),
                tickets: 0,
            }),
        }
    }

    /// Looks at the value, or changes it in a way that nobody waits for.
    pub fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        f(&mut self.guarded.lock().value)
    }

    /// Changes the value, and wakes all who wait.
    pub fn update<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        let mut guarded = self.guarded.lock();
        let result = f(&mut guarded.value);
        let waiters = mem::take(&mut guarded.waiters);
        drop(guarded);
        for waiter in waiters {
            waiter.unparker.unpark();
        }
        result
    }

    /// [`wait_until`](Monitor::wait_until) without the wait.
    pub fn attempt<R>(&self, check: impl FnOnce(&mut T) -> Option<R>) -> Option<R> {
        context::consume_budget();
        self.with(check)
    }

    /// Waits until `check` gives something; `None` if `deadline` has passed, and the value is not as wanted then.
    /// Who changes the value in `check` so that others wait for it, calls [`update`](Monitor::update) afterwards.
    ///
    /// From a coroutine it may unwind, before `check` has given anything and never after it.
    pub fn wait_until<R>(
        &self,
        deadline: Option<Instant>,
        mut check: impl FnMut(&mut T) -> Option<R>,
    ) -> Option<R> {
        // First, for it may unwind.
        context::consume_budget();
        let mut seat = Seat {
            monitor: self,
            ticket: None,
        };
        loop {
            let mut guarded = self.guarded.lock();
            if let Some(result) = check(&mut guarded.value) {
                return Some(result);
            }
            if deadline.is_some_and(|at| time::now() >= at) {
                return None;
            }
            guarded.enter(&mut seat.ticket);
            drop(guarded);
            park::park_until(deadline);
        }
    }
}

impl<T> Guarded<T> {
    /// Puts the caller on the list, unless it is there still.
    fn enter(&mut self, ticket: &mut Option<u64>) {
        let ticket = *ticket.get_or_insert_with(|| {
            self.tickets += 1;
            self.tickets
        });
        if self.place(ticket).is_none() {
            let unparker = Unparker::current();
            self.waiters.push(Waiter { ticket, unparker });
        }
    }

    fn place(&self, ticket: u64) -> Option<usize> {
        self.waiters
            .iter()
            .position(|waiter| waiter.ticket == ticket)
    }
}

/// A waiter that may be on the list, and must not any more when its call ends.
struct Seat<'a, T> {
    monitor: &'a Monitor<T>,
    ticket: Option<u64>,
}

impl<T> Drop for Seat<'_, T> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            // What comes out is dropped after the lock is released: the last reference frees a record.
            let _left = {
                let mut guarded = self.monitor.guarded.lock();
                let place = guarded.place(ticket);
                place.map(|place| guarded.waiters.swap_remove(place))
            };
        }
    }
}
