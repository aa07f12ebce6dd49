//! What /proc says of a server with its children.

use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::time::Duration;

use procfs::process::{Process, all_processes};

/// A process and all that descend from it, as they are now.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Tree {
    ids: Vec<libc::pid_t>,
    pub(crate) threads: usize,
    /// Memory that is its own, and its share of what it shares with others.
    pub(crate) pss_bytes: u64,
    /// Of the threads that live.
    pub(crate) context_switches: u64,
    /// What they have used so far.
    pub(crate) cpu: Duration,
}

impl Tree {
    /// What ends while it is looked at does not count.
    pub(crate) fn of(root: u32) -> Tree {
        let mut tree = Tree::default();
        for process in descendants(root) {
            let Ok(stat) = process.stat() else {
                continue;
            };
            // A zombie has no memory, and no threads that do anything.
            let Ok(rollup) = process.smaps_rollup() else {
                continue;
            };
            tree.ids.push(process.pid);
            tree.threads += usize::try_from(stat.num_threads).unwrap_or(0);
            let maps = rollup.memory_map_rollup.iter();
            tree.pss_bytes += maps
                .filter_map(|map| map.extension.map.get("Pss"))
                .sum::<u64>();
            tree.context_switches += context_switches(&process);
        }
        tree.cpu = tree.cpu_now();
        tree
    }

    pub(crate) fn processes(&self) -> usize {
        self.ids.len()
    }

    /// What its processes have used by now; those that have ended since do not count.
    pub(crate) fn cpu_now(&self) -> Duration {
        self.ids.iter().filter_map(|&id| cpu(id)).sum()
    }
}

/// User and system time of all threads that it has or had.
fn cpu(id: libc::pid_t) -> Option<Duration> {
    let mut clock = 0;
    let mut time = MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: both calls write to what is given; a time of zeroes is valid.
    let time = unsafe {
        if libc::clock_getcpuclockid(id, &raw mut clock) != 0
            || libc::clock_gettime(clock, time.as_mut_ptr()) != 0
        {
            return None;
        }
        time.assume_init()
    };
    let seconds = u64::try_from(time.tv_sec).ok()?;
    let nanoseconds = u32::try_from(time.tv_nsec).ok()?;
    Some(Duration::new(seconds, nanoseconds))
}

fn context_switches(process: &Process) -> u64 {
    let threads = process.tasks().into_iter().flatten().flatten();
    let of_each = threads.filter_map(|thread| {
        let status = thread.status().ok()?;
        Some(status.voluntary_ctxt_switches? + status.nonvoluntary_ctxt_switches?)
    });
    of_each.sum()
}

fn descendants(root: u32) -> Vec<Process> {
    let mut children: HashMap<i32, Vec<Process>> = HashMap::new();
    for process in all_processes().into_iter().flatten().flatten() {
        if let Ok(stat) = process.stat() {
            children.entry(stat.ppid).or_default().push(process);
        }
    }
    let root = i32::try_from(root)
        .ok()
        .and_then(|root| Process::new(root).ok());
    let mut found: Vec<_> = root.into_iter().collect();
    let mut looked = 0;
    while looked < found.len() {
        if let Some(more) = children.remove(&found[looked].pid) {
            found.extend(more);
        }
        looked += 1;
    }
    found
}
