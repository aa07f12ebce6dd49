//! The models, by name.

use std::io;

use crate::server::Server;

/// One way to serve many connections.
#[derive(Debug)]
pub(crate) struct Model {
    /// In kebab-case, as on the command line and in the report.
    pub(crate) name: &'static str,
    /// Serves until it is told to stop, and has closed what it had.
    pub(crate) run: fn(&Server) -> io::Result<()>,
    /// How many connections it serves at once.
    pub(crate) at_once: AtOnce,
    pub(crate) shape: Shape,
    /// By what it can wait, if there is a choice; names of `--poller`.
    pub(crate) pollers: &'static [&'static str],
}

/// How many connections a model serves at once. More of them wait in the kernel's queue of the listener.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AtOnce {
    One,
    /// One for each of its workers.
    Workers,
    /// One for each process or thread that it may have.
    Bounded(usize),
    Any,
}

impl AtOnce {
    pub(crate) fn of(self, workers: usize) -> usize {
        match self {
            AtOnce::One => 1,
            AtOnce::Workers => workers,
            AtOnce::Bounded(max) => max,
            AtOnce::Any => usize::MAX,
        }
    }
}

/// What a model is made of while it serves `connections`, which it can.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Shape {
    pub(crate) processes: Count,
    /// Of all its processes together.
    pub(crate) threads: Count,
    pub(crate) epolls: Count,
}

/// `fixed` + `per_worker` × workers + `per_connection` × connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Count {
    pub(crate) fixed: usize,
    pub(crate) per_worker: usize,
    pub(crate) per_connection: usize,
}

pub(crate) const fn count(fixed: usize, per_worker: usize, per_connection: usize) -> Count {
    Count {
        fixed,
        per_worker,
        per_connection,
    }
}

impl Count {
    pub(crate) fn of(self, workers: usize, connections: usize) -> usize {
        self.fixed + self.per_worker * workers + self.per_connection * connections
    }
}

/// In the order of docs/models.md.
pub(crate) const MODELS: &[Model] = &[
    crate::iterative::MODEL,
    crate::fork::MODEL,
    crate::thread_per_connection::MODEL,
    crate::reactor::MODEL,
    crate::coroutines::FRESH,
    crate::coroutines::FULL,
];

pub(crate) fn find(name: &str) -> Option<&'static Model> {
    MODELS.iter().find(|model| model.name == name)
}
