//! Threads that a server has from its beginning to its end.

use std::process;
use std::thread::{Builder, Scope, ScopedJoinHandle};

/// Starts one. A server that cannot have all of them ends: those that it has would wait, and be waited for, for ever.
pub(crate) fn start<'scope, T: Send + 'scope>(
    threads: &'scope Scope<'scope, '_>,
    body: impl FnOnce() -> T + Send + 'scope,
) -> ScopedJoinHandle<'scope, T> {
    let started = Builder::new().spawn_scoped(threads, body);
    started.unwrap_or_else(|error| {
        eprintln!("models: a thread cannot be started: {error}");
        process::exit(1)
    })
}
