//! A reactor, and a thread for each request.
//!
//! **Flow of control**: the reactor reads until a request is whole, and starts a thread that does it; the thread may block. The
//! answer goes back to the reactor, which sends it.
//! **Good at**: idle connections cost no thread, and a request may block. **Bad at**: a thread is born and dies for each request; order within a connection must be
//! seen to, here by having one request of it done at a time; what is remembered from one to the next is handed along.
//! **In the wild**: rare on purpose; the first version of many a server that had to call something slow out of its event loop.

use std::io;
use std::thread::{self, Scope};

use crate::catalog::{AtOnce, Model, Shape, Style, count};
use crate::parts::dispatch::{Dispatch, Dispatcher, Job};
use crate::parts::turnstile::Turnstile;
use crate::server::Server;

/// Threads at once: at the limit the reactor waits until one has ended.
const THREADS_MAX: usize = 1024;

pub(crate) const MODEL: Model = Model {
    name: "reactor-thread-per-request",
    run,
    at_once: AtOnce::Any,
    // While nobody asks for anything.
    shape: Shape {
        processes: count(1, 0, 0),
        threads: count(1, 0, 0),
        epolls: count(1, 0, 0),
    },
    style: Style::Requests,
    pollers: &[],
};

fn run(server: &Server) -> io::Result<()> {
    let listener = server.listener()?;
    server.ready(listener.local_addr()?);
    let turnstile = Turnstile::new(THREADS_MAX);
    thread::scope(|threads| {
        let spawner = Spawner {
            threads,
            turnstile: &turnstile,
        };
        Dispatcher::new(server.service, spawner)?.run(listener)
    })
}

struct Spawner<'scope, 'env> {
    threads: &'scope Scope<'scope, 'env>,
    turnstile: &'env Turnstile,
}

impl Dispatch for Spawner<'_, '_> {
    type Lane = ();

    fn lane(&mut self) {}

    fn dispatch(&mut self, (): &(), job: Job) {
        let ticket = self.turnstile.enter();
        let run = move || {
            job.run();
            drop(ticket);
        };
        if let Err(error) = thread::Builder::new().spawn_scoped(self.threads, run) {
            log::warn!("no thread for a request: {error}");
        }
    }
}
