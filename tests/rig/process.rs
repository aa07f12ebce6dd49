//! What the system says of this process, and limits of it.

use std::fs;

/// The threads of this process whose name begins with `prefix`. The kernel keeps 15 bytes of a name.
pub(crate) fn threads_named(prefix: &str) -> Vec<libc::pid_t> {
    tasks()
        .into_iter()
        .filter(|task| {
            fs::read_to_string(format!("/proc/self/task/{task}/comm"))
                .is_ok_and(|name| name.starts_with(prefix))
        })
        .collect()
}

/// The same, once there are `number` of them: a thread gives itself its name some time after it was started.
pub(crate) fn threads_once_named(prefix: &str, number: usize) -> Vec<libc::pid_t> {
    loop {
        let threads = threads_named(prefix);
        if threads.len() == number {
            return threads;
        }
        std::thread::sleep(std::time::Duration::from_micros(100));
    }
}

/// All threads of this process.
pub(crate) fn tasks() -> Vec<libc::pid_t> {
    names_in("/proc/self/task")
}

/// The open descriptors of this process; among them the one that lists them.
pub(crate) fn descriptors() -> usize {
    names_in("/proc/self/fd").len()
}

fn names_in(folder: &str) -> Vec<i32> {
    fs::read_dir(folder)
        .expect("/proc is mounted")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect()
}

/// The mappings of this process.
pub(crate) fn mappings() -> usize {
    fs::read_to_string("/proc/self/maps")
        .expect("/proc is mounted")
        .lines()
        .count()
}

/// A number of /proc/self/status, such as `VmRSS` (in KiB).
pub(crate) fn status(field: &str) -> u64 {
    status_of("/proc/self/status", field)
}

/// How often a thread of this process was switched away, of itself or not.
pub(crate) fn switches(task: libc::pid_t) -> u64 {
    let path = format!("/proc/self/task/{task}/status");
    status_of(&path, "voluntary_ctxt_switches") + status_of(&path, "nonvoluntary_ctxt_switches")
}

/// A number of such a file.
pub(crate) fn status_of(path: &str, field: &str) -> u64 {
    fs::read_to_string(path)
        .expect("/proc is mounted")
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
        .and_then(|rest| rest.split_ascii_whitespace().next()?.parse().ok())
        .unwrap_or_else(|| panic!("{path} has a number called {field}"))
}

/// The epoll instances of this process, each as the descriptors that it watches.
pub(crate) fn epoll_instances() -> Vec<Vec<i32>> {
    names_in("/proc/self/fdinfo")
        .into_iter()
        .filter(|fd| {
            fs::read_link(format!("/proc/self/fd/{fd}"))
                .is_ok_and(|target| target.as_os_str() == "anon_inode:[eventpoll]")
        })
        .filter_map(|fd| fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok())
        .map(|info| {
            info.lines()
                .filter_map(|line| line.strip_prefix("tfd:"))
                .filter_map(|rest| rest.split_ascii_whitespace().next()?.parse().ok())
                .collect()
        })
        .collect()
}

/// Sets the soft limit of `resource`, and gives what it was.
pub(crate) fn set_limit(resource: libc::__rlimit_resource_t, soft: u64) -> u64 {
    // SAFETY: both calls are given one valid rlimit.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        assert_eq!(libc::getrlimit(resource, &raw mut limit), 0);
        let before = limit.rlim_cur;
        limit.rlim_cur = soft.min(limit.rlim_max);
        assert_eq!(libc::setrlimit(resource, &raw const limit), 0);
        before
    }
}

/// What the stack of a thread takes where [`threads_may_start`] is used: set `RUST_MIN_STACK` to it. Far more than allocators
/// map and give back meanwhile: they claim 128 MiB for the first allocation of each thread, and keep half of it.
pub(crate) const THREAD_STACK: u64 = 4 << 30;

/// Makes room for further threads, or takes it.
pub(crate) fn threads_may_start(may: bool) {
    let room = if may {
        libc::RLIM_INFINITY
    } else {
        status("VmSize") * 1024 + THREAD_STACK / 2
    };
    set_limit(libc::RLIMIT_AS, room);
}

/// Leaves this process so many descriptors, and gives what the soft limit was. The limit is one of numbers, and what was
/// inherited may have a high one: so it is set where just as many below it are free.
pub(crate) fn leave_descriptors(room: usize) -> u64 {
    // SAFETY: it looks at a number; what is no descriptor is an error.
    let is_free = |fd: &libc::c_int| unsafe { libc::fcntl(*fd, libc::F_GETFD) } == -1;
    let first_refused = (0..).filter(is_free).nth(room);
    let limit = first_refused.expect("there are more numbers than descriptors");
    set_limit(libc::RLIMIT_NOFILE, limit as u64)
}

/// The calling thread, as the kernel numbers it.
pub(crate) fn thread_id() -> libc::pid_t {
    // SAFETY: gettid has no arguments and cannot fail.
    unsafe { libc::gettid() }
}
