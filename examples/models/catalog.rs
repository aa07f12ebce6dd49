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
    /// In which the services are written that it runs.
    pub(crate) style: Style,
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

/// How a service is written; `ergonomics.rs` has what that takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Style {
    /// `protocol/sequential.rs`
    Sequential,
    /// `protocol/asynchronous.rs`
    Async,
    /// `protocol/request.rs`
    Requests,
    /// `protocol/machine.rs`
    Callbacks,
    /// `actors.rs`
    Actors,
}

impl Style {
    /// As in the sources' markers.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Style::Sequential => "sequential",
            Style::Async => "async",
            Style::Requests => "requests",
            Style::Callbacks => "callbacks",
            Style::Actors => "actors",
        }
    }
}

/// What carries control from one message to the next: a colour in the report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// A process or a thread for each connection that is served.
    Blocking,
    /// A reactor that hands requests to threads.
    Requests,
    /// Reactors and proactors that call back.
    Callbacks,
    Actors,
    Async,
    /// withy's.
    Coroutines,
}

impl Kind {
    pub(crate) const ALL: [Kind; 6] = [
        Kind::Blocking,
        Kind::Requests,
        Kind::Callbacks,
        Kind::Actors,
        Kind::Async,
        Kind::Coroutines,
    ];

    /// For people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Blocking => "process or thread each",
            Kind::Requests => "reactor and worker threads",
            Kind::Callbacks => "callbacks",
            Kind::Actors => "actors",
            Kind::Async => "async/await",
            Kind::Coroutines => "coroutines (withy)",
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

impl AtOnce {
    /// `None`: as many as there are.
    pub(crate) fn max(self, workers: usize) -> Option<usize> {
        match self {
            AtOnce::One => Some(1),
            AtOnce::Workers => Some(workers),
            AtOnce::Bounded(max) => Some(max),
            AtOnce::Any => None,
        }
    }
}

impl Model {
    pub(crate) fn kind(&self) -> Kind {
        match self.style {
            Style::Sequential if self.name.starts_with("coroutines") => Kind::Coroutines,
            Style::Sequential => Kind::Blocking,
            Style::Async => Kind::Async,
            Style::Requests => Kind::Requests,
            Style::Callbacks => Kind::Callbacks,
            Style::Actors => Kind::Actors,
        }
    }

    /// A row of `models list`: the name, how many connections it serves at once, its processes, threads and epoll instances while
    /// `connections` are open, and its style.
    pub(crate) fn row(&self, workers: usize, connections: usize) -> String {
        let max = self.at_once.max(workers);
        let served = max.map_or(connections, |max| max.min(connections));
        let max = max.map_or("any".to_owned(), |max| max.to_string());
        let [processes, threads, epolls] =
            [self.shape.processes, self.shape.threads, self.shape.epolls]
                .map(|count| count.of(workers, served));
        let (name, style) = (self.name, self.style.name());
        format!("{name:26} {max:>8} {processes:>10} {threads:>8} {epolls:>7}  {style}")
    }
}

/// What stands above [`Model::row`].
pub(crate) fn head() -> String {
    let names = (
        "model",
        "at-once",
        "processes",
        "threads",
        "epolls",
        "style",
    );
    format!(
        "{:26} {:>8} {:>10} {:>8} {:>7}  {}",
        names.0, names.1, names.2, names.3, names.4, names.5
    )
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
    crate::prefork::MODEL,
    crate::prethreaded::MODEL,
    crate::reactor::MODEL,
    crate::reactor_thread_per_request::MODEL,
    crate::reactor_thread_per_connection::MODEL,
    crate::reactor_and_pool::MODEL,
    crate::reactors_in_threads::MODEL,
    crate::reactors_in_processes::MODEL,
    crate::reactors_and_pool::MODEL,
    crate::half_sync_half_reactor::MODEL,
    crate::half_sync_half_async::MODEL,
    crate::leader_followers::MODEL,
    crate::simulated_proactor::MODEL,
    crate::proactor::MODEL,
    crate::actors::MODEL,
    crate::ring_buffer::MODEL,
    crate::async_await::MODEL,
    crate::coroutines::FRESH,
    crate::coroutines::FULL,
    crate::coroutines_reuseport::MODEL,
    crate::descriptor_passing::MODEL,
    crate::shared_listener::MODEL,
    crate::shared_listener::EXCLUSIVE,
];

pub(crate) fn find(name: &str) -> Option<&'static Model> {
    MODELS.iter().find(|model| model.name == name)
}
