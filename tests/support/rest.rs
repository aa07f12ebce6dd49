//! Who sleeps: how a test knows, without a guess at times, that all whom it has started have come as far as they can.

use std::thread;
use std::time::Duration;

use withy::Runtime;

/// The threads of a runtime's workers, none of which may be held.
pub(crate) fn workers_of(runtime: &Runtime) -> Vec<libc::pid_t> {
    let workers = runtime.workers();
    runtime.run(move || {
        let ids = (0..workers).map(|worker| withy::spawn_on(worker, current_thread_id));
        let ids: Vec<_> = ids.collect();
        ids.into_iter()
            .map(|id| id.join().expect("it asks for a number"))
            .collect()
    })
}

/// Returns once all these threads of this process slept at one moment: whatever runs on them waits then for somebody
/// else, or for a time.
pub(crate) fn until_all_sleep(threads: &[libc::pid_t]) {
    let look = || {
        let switches = threads.iter().map(|&thread| asleep(thread));
        switches.sum::<Option<u64>>()
    };
    // Two looks at each, between which nobody has run: after the last of the first, and before the first of the second,
    // all slept.
    while look().is_none_or(|before| look() != Some(before)) {
        thread::sleep(Duration::from_micros(50));
    }
}

pub(crate) fn current_thread_id() -> libc::pid_t {
    // SAFETY: gettid has no arguments and cannot fail.
    unsafe { libc::gettid() }
}

/// How often that thread of this process was switched away, if the kernel has put it to sleep.
pub(crate) fn asleep(thread: libc::pid_t) -> Option<u64> {
    let Ok(status) = std::fs::read_to_string(format!("/proc/self/task/{thread}/status")) else {
        // An ended thread waits for nothing; whoever asks goes on to join it.
        return Some(0);
    };
    let value = |field: &str| {
        let mut lines = status.lines();
        lines.find_map(|line| Some(line.strip_prefix(field)?.strip_prefix(':')?.trim()))
    };
    let count = |field| value(field)?.parse::<u64>().ok();
    if !value("State")?.starts_with('S') {
        return None;
    }
    Some(count("voluntary_ctxt_switches")? + count("nonvoluntary_ctxt_switches")?)
}
