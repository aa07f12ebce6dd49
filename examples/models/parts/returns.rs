//! What other threads give back to the thread of a reactor.

use std::io;
use std::mem;
use std::sync::{Arc, Mutex};

use mio::{Token, Waker};

use crate::parts::event_loop::RESERVED;
use crate::parts::pollers::Epoll;

/// Of the waker in a reactor.
const RETURNS: usize = RESERVED;

/// Bounded by whoever fills it: in every model there are as many as there are connections, or a small multiple of that.
pub(crate) struct Returns<T> {
    items: Mutex<Vec<T>>,
    waker: Arc<Waker>,
}

impl<T> Returns<T> {
    /// Wakes whoever waits by that poller.
    pub(crate) fn new(epoll: &Epoll) -> io::Result<Arc<Returns<T>>> {
        Ok(Arc::new(Returns {
            items: Mutex::default(),
            waker: Waker::new(epoll.poll.registry(), Token(RETURNS))?.into(),
        }))
    }

    pub(crate) fn push(&self, item: T) {
        let mut items = self.items.lock().expect("nobody panics with it");
        items.push(item);
        let is_first = items.len() == 1;
        drop(items);
        // The others come along: all are taken at once.
        if is_first {
            self.waker.wake().expect("an eventfd can be written");
        }
    }

    /// For others who have something for that thread.
    pub(crate) fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    pub(crate) fn take(&self) -> Vec<T> {
        mem::take(&mut self.items.lock().expect("nobody panics with it"))
    }
}
