//! A reactor, and a worker thread for each connection.
//!
//! **Flow of control**: the reactor does all reading and sending; a connection has a thread of its own, which gets one whole
//! request after the other, does it, may block, and gives back the answer.
//! **Good at**: requests of a connection are in order by themselves, and a slow client holds no thread in a system call. **Bad at**: it pays for a thread for each connection *and* for
//! an event loop, and each message crosses from one to the other and back.
//! **In the wild**: servers whose per-client library is blocking and bound to a thread (database drivers, interpreters) behind a
//! non-blocking front.

use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, Scope};

use crate::catalog::{AtOnce, Model, Shape, Style, count};
use crate::parts::dispatch::{Dispatch, Dispatcher, Job};
use crate::server::Server;

/// Threads at once, which is connections at once: more of them wait in the kernel's queue.
const THREADS_MAX: usize = 1024;

pub(crate) const MODEL: Model = Model {
    name: "reactor-thread-per-connection",
    run,
    at_once: AtOnce::Bounded(THREADS_MAX),
    shape: Shape {
        processes: count(1, 0, 0),
        threads: count(1, 0, 1),
        epolls: count(1, 0, 0),
    },
    style: Style::Requests,
    pollers: &[],
};

fn run(server: &Server) -> io::Result<()> {
    let listener = server.listener()?;
    server.ready(listener.local_addr()?);
    thread::scope(|threads| {
        let mut dispatcher = Dispatcher::new(server.service, Workers { threads })?;
        dispatcher.reactor_mut().limit(THREADS_MAX);
        dispatcher.run(listener)
    })
}

struct Workers<'scope, 'env> {
    threads: &'scope Scope<'scope, 'env>,
}

impl Dispatch for Workers<'_, '_> {
    /// To the connection's thread, which ends when this is dropped.
    type Lane = SyncSender<Job>;

    fn lane(&mut self) -> SyncSender<Job> {
        // There is one at a time, so that nobody waits for room.
        let (sender, jobs) = sync_channel::<Job>(1);
        let run = || jobs.into_iter().for_each(Job::run);
        if let Err(error) = thread::Builder::new().spawn_scoped(self.threads, run) {
            log::warn!("no thread for a connection: {error}");
        }
        sender
    }

    fn dispatch(&mut self, worker: &SyncSender<Job>, job: Job) {
        // It lives as long as its sender, or was never started: then the job comes back as one that has failed.
        let _ = worker.send(job);
    }
}
