//! After `fork` (promise 54): the child has a copy of the runtime's memory, but of its threads only the one that
//! forked. A wait on the others would never end, and the parent's coroutines must not run twice. So the child may call
//! `exec` or `_exit`, as after the fork of any process with threads, and whatever needs a runtime ends it, loudly.
//!
//! `std::process::Command` is not concerned: what it starts runs nothing of ours before its `exec`.

use std::sync::OnceLock;

use crate::atomic::{AtomicBool, Ordering};

/// This process was forked from one in which a runtime had started.
static CHILD: AtomicBool = AtomicBool::new(false);

/// From now on a forked child knows that it is one. Called before the first runtime starts, so that a process that forks
/// before may start runtimes in its children.
pub(crate) fn watch() {
    static WATCHING: OnceLock<()> = OnceLock::new();
    // It fails only for want of memory; then a child is not told, no more.
    // SAFETY: the handler stores to an atomic, which is safe in any child, and lives as long as the process.
    WATCHING.get_or_init(|| _ = unsafe { libc::pthread_atfork(None, None, Some(note_child)) });
}

extern "C" fn note_child() {
    CHILD.store(true, Ordering::Relaxed);
}

/// Aborts in a forked child. To be called before anything that may lock, wait or switch.
#[inline]
pub(crate) fn refuse_child() {
    if CHILD.load(Ordering::Relaxed) {
        refuse();
    }
}

#[cold]
#[inline(never)]
fn refuse() -> ! {
    const TEXT: &[u8] = b"withy: this process was forked from one that runs withy, whose worker threads do not exist \
        here: exec or _exit in the child. Aborting\n";
    // Not `eprintln!`: a thread that does not exist here may hold the lock of stderr.
    // SAFETY: readable bytes.
    unsafe { libc::write(libc::STDERR_FILENO, TEXT.as_ptr().cast(), TEXT.len()) };
    // Not a panic: unwinding would run the destructors of the parent's data.
    std::process::abort()
}
