//! What the tests of endings share: what is noticed when something is dropped, unwound or cancelled.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use withy::{Cancelled, JoinHandle};

use super::{Drops, text_of, until};

/// Runs its closure when dropped.
pub(crate) struct OnDrop<F: FnMut()>(pub(crate) F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// A flag to set and to wait for.
#[derive(Clone, Default)]
pub(crate) struct Flag(Arc<AtomicBool>);

impl Flag {
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    pub(crate) fn wait(&self) {
        until(|| self.is_set());
    }
}

/// The coroutine was cancelled, and unwound from nothing else.
pub(crate) fn assert_cancelled<T>(handle: JoinHandle<T>, label: &str) {
    let payload = handle.join().map(drop).unwrap_err();
    assert!(payload.is::<Cancelled>(), "{}: {label}", text_of(&*payload));
}

/// Parks for ever, and counts when it is unwound.
pub(crate) fn wait_for_the_end(begun: &AtomicUsize, ended: &AtomicUsize) {
    let _owned = Drops(ended);
    begun.fetch_add(1, Ordering::SeqCst);
    loop {
        withy::park();
    }
}
