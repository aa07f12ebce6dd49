//! What /proc says of a server: its processes, their threads, epoll instances and memory.

use std::fs;
use std::path::Path;

/// The processes of a group; zombies, which nobody has waited for yet, included.
pub(crate) fn members(group: libc::pid_t) -> Vec<libc::pid_t> {
    with_state(group).map(|(id, _)| id).collect()
}

/// Those that have not ended.
pub(crate) fn living(group: libc::pid_t) -> Vec<libc::pid_t> {
    let living = with_state(group).filter(|(_, state)| !"ZX".contains(state.as_str()));
    living.map(|(id, _)| id).collect()
}

fn with_state(group: libc::pid_t) -> impl Iterator<Item = (libc::pid_t, String)> {
    numbers_in("/proc").into_iter().filter_map(move |id| {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // The name, in parentheses, may hold anything; then state, parent, group.
        let mut rest = stat.rsplit_once(") ")?.1.split(' ');
        let state = rest.next()?.to_owned();
        (rest.nth(1)?.parse() == Ok(group)).then_some((id, state))
    })
}

/// Those of all processes of a group.
pub(crate) fn threads(group: libc::pid_t) -> Vec<libc::pid_t> {
    let members = members(group).into_iter();
    members
        .flat_map(|id| numbers_in(format!("/proc/{id}/task")))
        .collect()
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Census {
    pub(crate) processes: usize,
    pub(crate) threads: usize,
    pub(crate) epolls: usize,
}

pub(crate) fn take(group: libc::pid_t) -> Census {
    let members = members(group);
    Census {
        processes: members.len(),
        threads: threads(group).len(),
        epolls: members.iter().map(|&id| epolls(id)).sum(),
    }
}

/// Bytes of memory that are the processes' own: neither files nor the kernel's buffers of sockets.
pub(crate) fn memory_bytes(group: libc::pid_t) -> u64 {
    let of = |id: &libc::pid_t| -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("RssAnon:"))?;
        line.trim().strip_suffix(" kB")?.parse().ok()
    };
    members(group).iter().filter_map(of).sum::<u64>() * 1024
}

/// Time on processors that the processes of a group have taken so far, in clock ticks (100 a second).
pub(crate) fn cpu_ticks(group: libc::pid_t) -> u64 {
    let of = |id: &libc::pid_t| -> Option<u64> {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // After the name come state (field 3) and others; user and system time are fields 14 and 15.
        let mut rest = stat.rsplit_once(") ")?.1.split(' ').skip(11);
        let user: u64 = rest.next()?.parse().ok()?;
        let system: u64 = rest.next()?.parse().ok()?;
        Some(user + system)
    };
    members(group).iter().filter_map(of).sum()
}

/// The numbers of a process's open descriptors.
pub(crate) fn descriptors(id: libc::pid_t) -> Vec<i32> {
    numbers_in(format!("/proc/{id}/fd"))
}

/// What each socket is watched for that an epoll instance of the process watches.
pub(crate) fn epoll_masks(id: libc::pid_t) -> Vec<u32> {
    let infos = numbers_in(format!("/proc/{id}/fd")).into_iter();
    let infos = infos.filter_map(|fd| fs::read_to_string(format!("/proc/{id}/fdinfo/{fd}")).ok());
    let masks = |info: String| -> Vec<u32> {
        let lines = info.lines().filter_map(|line| line.strip_prefix("tfd:"));
        let words =
            lines.filter_map(|line| line.split_once("events:")?.1.split_whitespace().next());
        words
            .filter_map(|mask| u32::from_str_radix(mask, 16).ok())
            .collect()
    };
    infos.flat_map(masks).collect()
}

/// Epoll instances of a process. Several descriptors may be the same one: tokio keeps two.
fn epolls(id: libc::pid_t) -> usize {
    let mut found: Vec<i32> = Vec::new();
    for fd in numbers_in(format!("/proc/{id}/fd")) {
        let target = fs::read_link(format!("/proc/{id}/fd/{fd}"));
        let is_epoll = target.is_ok_and(|target| target == Path::new("anon_inode:[eventpoll]"));
        if is_epoll && !found.iter().any(|&other| are_one(id, fd, other)) {
            found.push(fd);
        }
    }
    found.len()
}

fn are_one(id: libc::pid_t, fd: i32, other: i32) -> bool {
    const KCMP_FILE: libc::c_long = 0;
    // SAFETY: takes numbers only.
    let order = unsafe { libc::syscall(libc::SYS_kcmp, id, id, KCMP_FILE, fd, other) };
    order == 0
}

/// Entries of a folder that are numbers. None, if it is gone.
fn numbers_in(folder: impl AsRef<Path>) -> Vec<i32> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}
