//! epoll's wait in nanoseconds: `epoll_pwait2`, or what an older kernel has.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use crate::atomic::{AtomicBool, Ordering};

/// Whether this kernel (Linux < 5.11), or a filter of system calls, refuses `epoll_pwait2`.
static NO_PWAIT2: AtomicBool = AtomicBool::new(false);

/// What the kernel fills in one wait; a fuller ready list is fetched by the next.
pub(super) struct Batch {
    events: Box<[MaybeUninit<libc::epoll_event>]>,
    len: usize,
}

impl Batch {
    pub(super) fn with_capacity(capacity: usize) -> Batch {
        Batch {
            events: Box::new_uninit_slice(capacity),
            len: 0,
        }
    }

    /// Waits on `epoll` until there is an event or `timeout` has passed; a signal ends it early, without events.
    ///
    /// # Errors
    /// Those of epoll_wait(2) but EINTR: none that can happen with a live epoll instance.
    pub(super) fn fetch(
        &mut self,
        epoll: BorrowedFd<'_>,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        self.len = 0;
        let fetched = match timeout {
            Some(Duration::ZERO) => self.wait_ms(epoll, 0),
            _ if NO_PWAIT2.load(Ordering::Relaxed) => self.wait_ms(epoll, round_up_ms(timeout)),
            _ => self.wait_ns(epoll, timeout),
        };
        match fetched {
            Ok(len) => self.len = len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Token and readiness bits of each event.
    #[inline]
    pub(super) fn events(&self) -> impl Iterator<Item = (u64, u32)> {
        self.events[..self.len].iter().map(|event| {
            // SAFETY: the kernel has written the first `len` elements (`fetch`).
            let event = unsafe { event.assume_init() };
            (event.u64, event.events)
        })
    }

    fn wait_ns(&mut self, epoll: BorrowedFd<'_>, timeout: Option<Duration>) -> io::Result<usize> {
        let timeout = timeout.map(timespec);
        let timeout = timeout
            .as_ref()
            .map_or(core::ptr::null(), core::ptr::from_ref);
        // SAFETY: the buffer is writable for its length, the timeout null or a valid timespec, and no signal mask is
        // given.
        let len = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                epoll.as_raw_fd(),
                self.events.as_mut_ptr(),
                self.events.len() as libc::c_int,
                timeout,
                core::ptr::null::<libc::sigset_t>(),
                0_usize,
            )
        };
        if len >= 0 {
            return Ok(len as usize);
        }
        let error = io::Error::last_os_error();
        if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) {
            NO_PWAIT2.store(true, Ordering::Relaxed);
            // The caller comes again if nothing has happened: an early end is allowed.
            return Ok(0);
        }
        Err(error)
    }

    fn wait_ms(&mut self, epoll: BorrowedFd<'_>, timeout_ms: libc::c_int) -> io::Result<usize> {
        // SAFETY: the buffer is writable for its length.
        let len = unsafe {
            libc::epoll_wait(
                epoll.as_raw_fd(),
                self.events.as_mut_ptr().cast(),
                self.events.len() as libc::c_int,
                timeout_ms,
            )
        };
        if len >= 0 {
            Ok(len as usize)
        } else {
            Err(io::Error::last_os_error())
        }
    }
}

/// A timeout beyond the kernel's range (some 292 years) ends there: an early end is allowed.
fn timespec(timeout: Duration) -> libc::timespec {
    const SECONDS_MAX: u64 = 1 << 33;
    libc::timespec {
        tv_sec: timeout.as_secs().min(SECONDS_MAX) as libc::time_t,
        tv_nsec: timeout.subsec_nanos() as _,
    }
}

/// Never early, where milliseconds are all there is.
fn round_up_ms(timeout: Option<Duration>) -> libc::c_int {
    let Some(timeout) = timeout else { return -1 };
    let ms = timeout.as_nanos().div_ceil(1_000_000);
    libc::c_int::try_from(ms).unwrap_or(libc::c_int::MAX)
}
