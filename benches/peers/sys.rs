//! The system calls of the raw peers, each wrapped once, so that all `unsafe` of them is here.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// Binds the process to `cores`: call it before the first thread starts, since threads inherit it.
pub(crate) fn bind_to_cores(cores: &[usize]) -> io::Result<()> {
    // SAFETY: a `cpu_set_t` is plain integers, for which zero is a value: the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for &core in cores {
        assert!(
            core < libc::CPU_SETSIZE as usize,
            "core {core} is not below CPU_SETSIZE"
        );
        // SAFETY: the index lies within the set, as the line above checks.
        unsafe { libc::CPU_SET(core, &mut set) };
    }
    // SAFETY: the pointer is to a live set of the size given; the call only reads it.
    check(unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) }).map(drop)
}

/// User and system CPU time of this process so far. The sum is exact to the microsecond; how it is
/// divided comes from the kernel's ticks.
pub(crate) fn cpu_time() -> io::Result<(Duration, Duration)> {
    // SAFETY: a `rusage` is plain integers, for which zero is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a live `rusage`, which the call fills in.
    check(unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) })?;
    let duration = |time: libc::timeval| {
        Duration::from_secs(time.tv_sec as u64) + Duration::from_micros(time.tv_usec as u64)
    };
    Ok((duration(usage.ru_utime), duration(usage.ru_stime)))
}

/// An epoll instance.
pub(crate) struct Epoll(OwnedFd);

/// What [`Epoll::wait`] fills in.
pub(crate) type Events = [libc::epoll_event; 1024];

pub(crate) const NO_EVENTS: Events = [libc::epoll_event { events: 0, u64: 0 }; 1024];

impl Epoll {
    pub(crate) fn new() -> io::Result<Epoll> {
        // SAFETY: no memory is passed.
        let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: the call has just made this descriptor, so nobody else owns it.
        Ok(Epoll(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Asks for edge-triggered events of `fd` when it can be read or its peer has closed.
    pub(crate) fn add(&self, fd: RawFd, token: u64) -> io::Result<()> {
        let interest = libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLET;
        let mut event = libc::epoll_event {
            events: interest as u32,
            u64: token,
        };
        // SAFETY: the pointer is to a live event, which the call only reads.
        let result =
            unsafe { libc::epoll_ctl(self.0.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &raw mut event) };
        check(result).map(drop)
    }

    /// Waits for events: 0 ms looks only, -1 has no limit. A signal counts as no event.
    pub(crate) fn wait(&self, events: &mut Events, timeout_ms: i32) -> io::Result<usize> {
        let len = events.len() as i32;
        // SAFETY: the pointer and the length describe the caller's buffer, borrowed exclusively.
        let result =
            unsafe { libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), len, timeout_ms) };
        match check(result) {
            Ok(n) => Ok(n as usize),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
            Err(error) => Err(error),
        }
    }
}

/// `recv(2)` that never waits.
pub(crate) fn recv(fd: RawFd, buf: &mut [u8]) -> io::Result<usize> {
    let (start, len) = (buf.as_mut_ptr().cast(), buf.len());
    // SAFETY: pointer and length describe `buf`, borrowed exclusively.
    check_len(unsafe { libc::recv(fd, start, len, libc::MSG_DONTWAIT) })
}

/// `send(2)` that never waits and raises no SIGPIPE.
pub(crate) fn send(fd: RawFd, buf: &[u8]) -> io::Result<usize> {
    let (start, len) = (buf.as_ptr().cast(), buf.len());
    // SAFETY: pointer and length describe `buf`, which the call only reads.
    check_len(unsafe { libc::send(fd, start, len, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) })
}

/// Closes a connection that was given to a loop as a bare number (`into_raw_fd`).
///
/// # Safety
/// `fd` is open, and the caller owns it and does not use it again.
pub(crate) unsafe fn close(fd: RawFd) {
    // SAFETY: handed on to the caller.
    drop(unsafe { OwnedFd::from_raw_fd(fd) });
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

fn check_len(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}
