//! Whether this process is still the one that it was.

use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

/// How often the process was forked, on the way from the one that asked first to this one.
static FORKS: AtomicU32 = AtomicU32::new(0);

/// A number that is another one in a forked child, from the first call on: what a child has inherited is not its own.
pub(crate) fn forks() -> u32 {
    static WATCHING: Once = Once::new();
    // It fails only for want of memory; then a child is not told, no more.
    // SAFETY: the handler adds to an atomic, which is safe in any child, and lives as long as the process.
    WATCHING.call_once(|| _ = unsafe { libc::pthread_atfork(None, None, Some(count)) });
    // Relaxed: a child has one thread, which has stored it.
    FORKS.load(Ordering::Relaxed)
}

extern "C" fn count() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}
