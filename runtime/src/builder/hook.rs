//! What runs around each switch.

use std::sync::Arc;

/// Runs around each suspension of a coroutine; see [`RuntimeBuilder::on_switch`](super::RuntimeBuilder::on_switch).
pub(crate) trait SwitchHook: Send + Sync {
    fn around(&self, suspend: &mut dyn FnMut());
}

/// A runtime's hook. It is dropped with the runtime's last reference, wherever that is: a panic of its destructor stays
/// there.
pub(crate) struct Hook(pub(super) Option<Arc<dyn SwitchHook>>);

impl Hook {
    #[inline]
    pub(crate) fn get(&self) -> Option<&dyn SwitchHook> {
        self.0.as_deref()
    }
}

impl Drop for Hook {
    fn drop(&mut self) {
        crate::task::header::discard(self.0.take());
    }
}

pub(super) struct SaveRestore<A, B> {
    pub(super) save: A,
    pub(super) restore: B,
}

impl<S, A, B> SwitchHook for SaveRestore<A, B>
where
    A: Fn() -> S + Send + Sync,
    B: Fn(S) + Send + Sync,
{
    fn around(&self, suspend: &mut dyn FnMut()) {
        let saved = (self.save)();
        suspend();
        (self.restore)(saved);
    }
}
