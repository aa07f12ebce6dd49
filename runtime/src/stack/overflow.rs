//! What happens when a coroutine runs into its guard: a report that names it, then abort.
//!
//! The handler runs inside a SIGSEGV (or SIGBUS), anywhere in any code, so it allocates nothing,
//! takes no lock, and calls only what is safe in a signal handler. It runs on the alternate stack
//! of the worker (`AltStack`), as there is none left of the coroutine's.
//!
//! ```text
//! fault ─▶ a real one (not sent by kill)? ─yes─▶ lookup(address) ─ a coroutine's guard ─▶ report, abort
//!                      │ no                           │ none
//!                      └──────────────────────────────┴─▶ the handler that was there before, or the default action
//! ```

use core::fmt::{self, Write};
use core::panic::Location;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::io;
use std::sync::OnceLock;

use super::layout::guard_size;

const SIGNALS: [libc::c_int; 2] = [libc::SIGSEGV, libc::SIGBUS];

/// What a report says of the coroutine that overflowed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Overflow {
    /// Its name. The lifetime is a pretence by the caller: it must last until the process aborts,
    /// which the name of the coroutine that is running on the faulting thread does.
    pub(crate) name: Option<&'static str>,
    pub(crate) id: u64,
    pub(crate) spawned_at: &'static Location<'static>,
    /// In bytes, guard included.
    pub(crate) stack_size: usize,
}

/// The `lookup` that was installed, as an address; 0 before.
static LOOKUP: AtomicUsize = AtomicUsize::new(0);

/// What was there before our handler, for each of `SIGNALS`. Set before the handler is installed,
/// and never freed.
static PREVIOUS: [AtomicPtr<libc::sigaction>; 2] = [const { AtomicPtr::new(ptr::null_mut()) }; 2];

/// Installs the handlers, once for the process; later calls change nothing and return what the
/// first did.
///
/// `lookup` tells whether an address is in the guard of the coroutine that runs on the calling
/// thread. It is called in a signal handler: it must not allocate, lock, panic or use a
/// thread-local that is not initialised yet or has a destructor.
///
/// # Errors
///
/// Whatever `sigaction` reports.
pub(crate) fn install(lookup: fn(fault: usize) -> Option<Overflow>) -> io::Result<()> {
    static OUTCOME: OnceLock<Result<(), i32>> = OnceLock::new();
    OUTCOME
        .get_or_init(|| {
            LOOKUP.store(lookup as usize, Ordering::Release);
            // Computed and kept now: not a job for the handler.
            guard_size();
            SIGNALS
                .iter()
                .zip(&PREVIOUS)
                .try_for_each(|(signal, previous)| {
                    install_for(*signal, previous)
                        .map_err(|error| error.raw_os_error().unwrap_or(libc::EINVAL))
                })
        })
        .map_err(io::Error::from_raw_os_error)
}

fn install_for(signal: libc::c_int, previous: &AtomicPtr<libc::sigaction>) -> io::Result<()> {
    // SAFETY: sigaction is a plain C structure for which zeroes are valid (the default action, no
    // flags).
    let mut old: libc::sigaction = unsafe { core::mem::zeroed() };
    // SAFETY: only writes to `old`.
    if unsafe { libc::sigaction(signal, ptr::null(), &mut old) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // Kept before the handler that reads it can run.
    previous.store(Box::into_raw(Box::new(old)), Ordering::Release);
    // SAFETY: as above.
    let mut new: libc::sigaction = unsafe { core::mem::zeroed() };
    new.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    new.sa_sigaction = handle as *const () as usize;
    // SAFETY: `handle` has the signature that SA_SIGINFO asks for, and is async-signal-safe.
    match unsafe { libc::sigaction(signal, &new, ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

extern "C" fn handle(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid siginfo, whose address field is there for a fault.
    let (code, fault) = unsafe { ((*info).si_code, (*info).si_addr() as usize) };
    let is_fault = code > 0 && code != libc::SI_KERNEL;
    if is_fault {
        let lookup = LOOKUP.load(Ordering::Acquire);
        // SAFETY: LOOKUP was set from a function of this type before this handler was installed.
        let lookup: fn(usize) -> Option<Overflow> = unsafe { core::mem::transmute(lookup) };
        if let Some(overflow) = lookup(fault) {
            report(&overflow);
            // SAFETY: abort is async-signal-safe.
            unsafe { libc::abort() };
        }
    }
    // SAFETY: these are the arguments that the kernel passed.
    unsafe { chain(signal, info, context, code > 0) };
}

/// Does what would have been done without our handler.
///
/// # Safety
///
/// Called in a signal handler with its arguments.
unsafe fn chain(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
    from_kernel: bool,
) {
    let index = usize::from(signal != SIGNALS[0]);
    // SAFETY: set before this handler was installed, and never freed or changed.
    let previous = unsafe { &*PREVIOUS[index].load(Ordering::Acquire) };
    match previous.sa_sigaction {
        // The kernel does not let a thread ignore its own fault either.
        libc::SIG_IGN if !from_kernel => {}
        libc::SIG_DFL | libc::SIG_IGN => {
            // SAFETY: zeroes are the default action; sigaction and raise are async-signal-safe.
            unsafe {
                let default: libc::sigaction = core::mem::zeroed();
                libc::sigaction(signal, &default, ptr::null_mut());
                // A fault comes again when the instruction is tried again. What was sent has to be
                // sent again, and waits until we return.
                if !from_kernel {
                    libc::raise(signal);
                }
            }
        }
        handler if previous.sa_flags & libc::SA_SIGINFO != 0 => {
            // SAFETY: whoever installed it with SA_SIGINFO says that it has this signature.
            let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
                unsafe { core::mem::transmute(handler) };
            handler(signal, info, context);
        }
        handler => {
            // SAFETY: whoever installed it without SA_SIGINFO says that it has this signature.
            let handler: extern "C" fn(libc::c_int) = unsafe { core::mem::transmute(handler) };
            handler(signal);
        }
    }
}

fn report(overflow: &Overflow) {
    let mut text = Text {
        bytes: [0; 1024],
        len: 0,
    };
    // Text never fails.
    let _ = write!(text, "{overflow}");
    text.flush();
}

impl fmt::Display for Overflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\ncoroutine ")?;
        match self.name {
            Some(name) => write!(f, "'{name}'")?,
            None => f.write_str("<unnamed>")?,
        }
        write!(
            f,
            " (id {}, spawned at {}) has overflowed its stack\n\
             its stack size is {} bytes, {} of them usable: raise it with `Builder::stack_size` for this coroutine, \
             or with the environment variable WITHY_STACK_SIZE for all\n",
            self.id,
            self.spawned_at,
            self.stack_size,
            self.stack_size.saturating_sub(guard_size())
        )
    }
}

/// A buffer that writes itself to standard error when it is full, so that a report of usual length
/// is one write.
struct Text {
    bytes: [u8; 1024],
    len: usize,
}

impl Text {
    fn flush(&mut self) {
        let mut rest = &self.bytes[..self.len];
        while !rest.is_empty() {
            // SAFETY: reads `rest` only; write is async-signal-safe.
            let written = unsafe { libc::write(2, rest.as_ptr().cast(), rest.len()) };
            match usize::try_from(written) {
                Ok(written) => rest = &rest[written..],
                Err(_) if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
                // Nobody listens: the abort still tells.
                Err(_) => break,
            }
        }
        self.len = 0;
    }
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if self.len == self.bytes.len() {
                self.flush();
            }
            self.bytes[self.len] = byte;
            self.len += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
