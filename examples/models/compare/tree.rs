//! What /proc says of a server with its children.

use std::collections::HashMap;

use procfs::process::{Process, all_processes};

/// A process and all that descend from it, as they are now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Tree {
    pub(crate) processes: usize,
    pub(crate) threads: usize,
    /// Memory that is its own, and its share of what it shares with others.
    pub(crate) pss_bytes: u64,
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
            tree.processes += 1;
            tree.threads += usize::try_from(stat.num_threads).unwrap_or(0);
            let maps = rollup.memory_map_rollup.iter();
            tree.pss_bytes += maps
                .filter_map(|map| map.extension.map.get("Pss"))
                .sum::<u64>();
        }
        tree
    }
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
