//! What the loom models share.
#![allow(dead_code, unreachable_pub)]

use loom::sync::atomic::{AtomicUsize, Ordering};

/// All executions with up to `most` preemptions: for three threads and more, where all would be millions.
pub fn with_preemptions(most: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(most);
    builder.check(model);
}

/// Passed before each step of a protocol. It orders nothing (relaxed), but it makes loom try both orders of any two steps.
///
/// loom looks for another order only between an access and the latest one of another thread to the same
/// atomic. An operation that loads before it exchanges hides the other thread's access behind its own load, and so
/// whole executions are left out: without the gate a coroutine never found its permit at the first look.
pub struct Gate(AtomicUsize);

impl Gate {
    pub fn new() -> Gate {
        Gate(AtomicUsize::new(0))
    }

    pub fn pass(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
