//! What the kernel says of a thread of this process: whether it runs, and in which system call it waits.

use core::fmt;
use std::fs;

/// A thread at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ThreadState {
    /// On a core, or waiting for one.
    Runs,
    /// In a system call, if the kernel tells.
    Sleeps(Option<libc::c_long>),
    /// Held by a debugger or a signal.
    Stopped,
    Unknown,
}

impl ThreadState {
    /// Of the thread with this number.
    pub(super) fn of(thread: u32) -> ThreadState {
        let read = |name| fs::read_to_string(format!("/proc/self/task/{thread}/{name}"));
        let Ok(stat) = read("stat") else {
            return ThreadState::Unknown;
        };
        // A thread's name, in parentheses, may hold anything; the state is the word after it.
        let state = stat
            .rsplit_once(')')
            .and_then(|(_, rest)| rest.trim_start().chars().next());
        match state {
            Some('R') => ThreadState::Runs,
            Some('S' | 'D') => {
                ThreadState::Sleeps(read("syscall").ok().as_deref().and_then(number))
            }
            Some('T' | 't') => ThreadState::Stopped,
            _ => ThreadState::Unknown,
        }
    }

    /// Whether it waits for a lock, a condition variable or the end of a thread.
    pub(super) fn is_in_futex(self) -> bool {
        self == ThreadState::Sleeps(Some(libc::SYS_futex))
    }
}

/// The system call's number, first in /proc/…/syscall; negative outside of one, and a word while the thread runs.
fn number(syscall: &str) -> Option<libc::c_long> {
    let number = syscall.split_ascii_whitespace().next()?.parse().ok()?;
    (number >= 0).then_some(number)
}

impl fmt::Display for ThreadState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            ThreadState::Runs => f.write_str("runs, or waits for a core"),
            ThreadState::Sleeps(None) => f.write_str("sleeps"),
            ThreadState::Sleeps(Some(libc::SYS_futex)) => {
                f.write_str("sleeps in futex (a lock, a condition variable, the end of a thread)")
            }
            ThreadState::Sleeps(Some(call)) => match name(call) {
                Some(name) => write!(f, "sleeps in {name}"),
                None => write!(f, "sleeps in system call {call}"),
            },
            ThreadState::Stopped => f.write_str("is stopped"),
            ThreadState::Unknown => f.write_str("is in an unknown state"),
        }
    }
}

/// The calls in which threads commonly wait.
fn name(call: libc::c_long) -> Option<&'static str> {
    #[cfg(target_arch = "x86_64")]
    match call {
        libc::SYS_open => return Some("open"),
        libc::SYS_poll => return Some("poll"),
        libc::SYS_select => return Some("select"),
        libc::SYS_epoll_wait => return Some("epoll_wait"),
        libc::SYS_accept => return Some("accept"),
        libc::SYS_pause => return Some("pause"),
        _ => {}
    }
    Some(match call {
        libc::SYS_read => "read",
        libc::SYS_readv => "readv",
        libc::SYS_pread64 => "pread64",
        libc::SYS_write => "write",
        libc::SYS_writev => "writev",
        libc::SYS_pwrite64 => "pwrite64",
        libc::SYS_openat => "openat",
        libc::SYS_fsync => "fsync",
        libc::SYS_fdatasync => "fdatasync",
        libc::SYS_flock => "flock",
        libc::SYS_fcntl => "fcntl",
        libc::SYS_ppoll => "ppoll",
        libc::SYS_pselect6 => "pselect6",
        libc::SYS_epoll_pwait => "epoll_pwait",
        libc::SYS_epoll_pwait2 => "epoll_pwait2",
        libc::SYS_connect => "connect",
        libc::SYS_accept4 => "accept4",
        libc::SYS_recvfrom => "recvfrom",
        libc::SYS_recvmsg => "recvmsg",
        libc::SYS_sendto => "sendto",
        libc::SYS_sendmsg => "sendmsg",
        libc::SYS_sendfile => "sendfile",
        libc::SYS_nanosleep => "nanosleep",
        libc::SYS_clock_nanosleep => "clock_nanosleep",
        libc::SYS_rt_sigtimedwait => "rt_sigtimedwait",
        libc::SYS_wait4 => "wait4",
        libc::SYS_waitid => "waitid",
        libc::SYS_io_getevents => "io_getevents",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::{Duration, Instant};

    use super::*;

    fn own_thread() -> u32 {
        let path = fs::read_link("/proc/thread-self").expect("/proc is mounted");
        let number = path
            .file_name()
            .and_then(|name| name.to_str()?.parse().ok());
        number.expect("PID/task/TID")
    }

    /// Promise 37. A thread's state is read whatever its name, and the call in which it sleeps.
    #[test]
    fn a_thread_is_seen_running_and_sleeping() {
        assert_eq!(ThreadState::of(own_thread()), ThreadState::Runs);
        let (ready, id) = mpsc::channel();
        let (end, ended) = mpsc::channel::<()>();
        let sleeper = std::thread::Builder::new().name("a) S (b".into());
        let sleeper = sleeper.spawn(move || {
            ready.send(own_thread()).expect("the test waits");
            let _ = ended.recv();
        });
        let id = id.recv().expect("the thread says so first");
        let start = Instant::now();
        while !ThreadState::of(id).is_in_futex() {
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "{}",
                ThreadState::of(id)
            );
            std::thread::yield_now();
        }
        drop(end);
        sleeper.expect("a thread").join().expect("no panic");
        assert_eq!(ThreadState::of(0), ThreadState::Unknown);
    }

    #[test]
    fn system_calls_have_their_names() {
        assert_eq!(number("202 0x7f 0x80\n"), Some(202));
        assert_eq!(number("-1 0x7f 0x80\n"), None);
        assert_eq!(number("running\n"), None);
        let text = |call| ThreadState::Sleeps(Some(call)).to_string();
        assert_eq!(text(libc::SYS_accept4), "sleeps in accept4");
        assert_eq!(
            text(libc::SYS_getpid),
            format!("sleeps in system call {}", libc::SYS_getpid)
        );
    }
}
