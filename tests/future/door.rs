//! Futures that the tests here wait for.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::rig::until;

/// A future that is ready once its door was opened, and what the one who opens it sees of it.
#[derive(Clone, Default)]
pub(crate) struct Door(Arc<Shared>);

#[derive(Default)]
struct Shared {
    open: AtomicBool,
    polls: AtomicUsize,
    waker: Mutex<Option<Waker>>,
}

impl Door {
    pub(crate) fn new() -> Door {
        Door::default()
    }

    /// Wakes, without opening.
    pub(crate) fn knock(&self) {
        let waker = self.0.waker.lock().unwrap().clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(crate) fn open(&self) {
        self.0.open.store(true, Ordering::SeqCst);
        self.knock();
    }

    pub(crate) fn polls(&self) -> usize {
        self.0.polls.load(Ordering::SeqCst)
    }

    pub(crate) fn until_polled(&self) {
        until(|| self.0.waker.lock().unwrap().is_some());
    }

    pub(crate) fn waker(&self) -> Waker {
        self.until_polled();
        self.0.waker.lock().unwrap().clone().expect("it was polled")
    }
}

impl Future for Door {
    type Output = usize;

    /// Gives the number of polls.
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<usize> {
        let polls = self.0.polls.fetch_add(1, Ordering::SeqCst) + 1;
        *self.0.waker.lock().unwrap() = Some(context.waker().clone());
        if self.0.open.load(Ordering::SeqCst) {
            Poll::Ready(polls)
        } else {
            Poll::Pending
        }
    }
}

/// Is ready at the poll after the first; the first one calls `then`.
pub(crate) fn second_poll(then: impl FnOnce(&Waker)) -> impl Future<Output = ()> {
    let mut then = Some(then);
    poll_fn(move |context| match then.take() {
        Some(then) => {
            then(context.waker());
            Poll::Pending
        }
        None => Poll::Ready(()),
    })
}

/// Waits until somebody waits for `door`, and for a moment more, so that it probably sleeps.
pub(crate) fn until_asleep(door: &Door) {
    door.until_polled();
    withy::sleep(Duration::from_micros(200));
}
