//! The stack on which a thread's signal handlers run when its own has overflowed.

use core::marker::PhantomData;
use core::ptr;
use std::io;

use super::layout::page_size;
use super::pages;

/// What a handler gets at least, beside what the kernel stores there. std's own 8 KiB leave little
/// to a handler that ours may have to call.
const HANDLER_BYTES: usize = 32 << 10;

/// What is mapped where that is missing: beside the guard.
const MAPPED_BYTES: usize = 64 << 10;

/// An alternate signal stack of the calling thread. Dropping it, on the same thread, restores what
/// was there.
#[derive(Debug)]
pub(crate) struct AltStack {
    /// None if the thread had one that is large enough.
    installed: Option<Installed>,
    thread_bound: PhantomData<*mut ()>,
}

#[derive(Debug)]
struct Installed {
    /// The mapping: a guard page, then the stack.
    low: usize,
    len: usize,
    previous: libc::stack_t,
}

impl Installed {
    fn stack_low(&self) -> usize {
        self.low + page_size()
    }
}

impl AltStack {
    /// Gives the calling thread an alternate signal stack, unless it has one of 32 KiB or more.
    ///
    /// # Errors
    ///
    /// `OutOfMemory` if it cannot be mapped.
    pub(crate) fn new() -> io::Result<AltStack> {
        // SAFETY: reads a constant that the kernel passed to the process.
        let kernel_bytes = unsafe { libc::getauxval(libc::AT_MINSIGSTKSZ) } as usize;
        let previous = current()?;
        if previous.ss_flags & libc::SS_DISABLE == 0
            && previous.ss_size >= HANDLER_BYTES + kernel_bytes
        {
            return Ok(AltStack {
                installed: None,
                thread_bound: PhantomData,
            });
        }
        let page = page_size();
        let len = page + (MAPPED_BYTES + kernel_bytes).next_multiple_of(page);
        let low = pages::map_aligned(len, page)?;
        let installed = Installed { low, len, previous };
        let stack = libc::stack_t {
            ss_sp: installed.stack_low() as *mut _,
            ss_flags: 0,
            ss_size: len - page,
        };
        // SAFETY: the lowest page of a mapping that nobody else knows.
        let outcome = unsafe { pages::protect_guard(low..low + page) }.and_then(|()| set(&stack));
        // SAFETY: it was not installed: nobody uses the mapping.
        outcome.inspect_err(|_| drop(unsafe { pages::unmap(low..low + len) }))?;
        Ok(AltStack {
            installed: Some(installed),
            thread_bound: PhantomData,
        })
    }
}

impl Drop for AltStack {
    fn drop(&mut self) {
        let Some(installed) = &self.installed else {
            return;
        };
        // Someone may have put another in its place since, and mean to restore ours: then it stays
        // mapped.
        let ours = |stack: &libc::stack_t| stack.ss_sp as usize == installed.stack_low();
        if current().is_ok_and(|stack| ours(&stack)) && set(&installed.previous).is_ok() {
            // SAFETY: it is no longer installed, and no handler runs on it, since this code does
            // not.
            let _ = unsafe { pages::unmap(installed.low..installed.low + installed.len) };
        }
    }
}

/// The calling thread's alternate stack.
fn current() -> io::Result<libc::stack_t> {
    let mut stack = libc::stack_t {
        ss_sp: ptr::null_mut(),
        ss_flags: 0,
        ss_size: 0,
    };
    // SAFETY: only writes to `stack`.
    match unsafe { libc::sigaltstack(ptr::null(), &mut stack) } {
        0 => Ok(stack),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Installs `stack`, which stays mapped until another is.
fn set(stack: &libc::stack_t) -> io::Result<()> {
    // SAFETY: only reads `stack`. The callers see to the mapping.
    match unsafe { libc::sigaltstack(stack, ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_gets_a_large_signal_stack_once_and_its_old_one_back() {
        // std gives its threads a small one.
        let before = current().unwrap();
        let first = AltStack::new().unwrap();
        let during = current().unwrap();
        assert!(during.ss_size >= HANDLER_BYTES, "{}", during.ss_size);
        assert_ne!(during.ss_sp, before.ss_sp);

        let second = AltStack::new().unwrap();
        assert_eq!(
            current().unwrap().ss_sp,
            during.ss_sp,
            "the first is large enough"
        );
        drop(second);
        assert_eq!(current().unwrap().ss_sp, during.ss_sp);

        drop(first);
        assert_eq!(current().unwrap().ss_sp, before.ss_sp);
    }
}
