//! What the models of the scheduler put in the place of core's atomics and of its lock.

use loom::sync::atomic::Ordering;

/// loom's, with a plain store made an exchange: loom leaves a relaxed store and another thread's exchange unordered,
/// where C++ has one order of modifications, and would let a third thread read them backwards.
pub(crate) struct AtomicBool(loom::sync::atomic::AtomicBool);

impl AtomicBool {
    pub(crate) fn new(value: bool) -> AtomicBool {
        AtomicBool(loom::sync::atomic::AtomicBool::new(value))
    }
    pub(crate) fn load(&self, order: Ordering) -> bool {
        self.0.load(order)
    }
    pub(crate) fn store(&self, value: bool, order: Ordering) {
        self.0.swap(value, order);
    }
    pub(crate) fn swap(&self, value: bool, order: Ordering) -> bool {
        self.0.swap(value, order)
    }
}

pub(crate) struct Lock<T>(loom::sync::Mutex<T>);

impl<T> Lock<T> {
    pub(crate) fn new(value: T) -> Lock<T> {
        Lock(loom::sync::Mutex::new(value))
    }
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        f(&mut self.0.lock().unwrap())
    }
}
