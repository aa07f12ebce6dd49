//! What signal-hook leaves out of a handler's disposition.

use std::io;
use std::mem::MaybeUninit;
use std::ptr;

/// Makes `signal`'s handler, whoever's it is, run on the alternate stack of a thread that has one: every worker. On a
/// coroutine's stack there may be no room for what the kernel stores there.
pub(crate) fn handle_on_alternate_stack(signal: libc::c_int) -> io::Result<()> {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: nothing is changed; the present disposition is written to `action`.
    if unsafe { libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has succeeded, so it has been written.
    let mut action = unsafe { action.assume_init() };
    if action.sa_flags & libc::SA_ONSTACK != 0 {
        return Ok(());
    }
    action.sa_flags |= libc::SA_ONSTACK;
    // SAFETY: the handler that is installed already; where it runs is nothing that it can rely on.
    match unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether a write to a closed connection is sure to raise nothing: what splice(2) and sendfile(2), which cannot be
/// told `MSG_NOSIGNAL`, depend on. Rust's `main` ignores the signal; a C program that links withy may not.
pub(crate) fn sigpipe_is_ignored() -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: nothing is changed; the present disposition is written to `action`.
    if unsafe { libc::sigaction(libc::SIGPIPE, ptr::null(), action.as_mut_ptr()) } != 0 {
        return false;
    }
    // SAFETY: the call has succeeded, so it has been written.
    unsafe { action.assume_init() }.sa_sigaction == libc::SIG_IGN
}
