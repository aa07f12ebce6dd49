//! A reactor and a thread pool.
//!
//! **Flow of control**: the reactor does all reading and sending; whole requests go to a pool of threads, where whichever is free
//! does one, may block, and gives back the answer.
//! **Good at**: many connections, work that blocks or computes, a fixed number of threads. **Bad at**: two threads touch each request; when all of
//! the pool waits for something slow, the rest waits, too, so its size is a guess.
//! **In the wild**: Node.js's libuv for files and names, Java's servlet containers, Twisted's `deferToThread`.

use std::io;

use crate::catalog::{AtOnce, Model, Shape, Style, count};
use crate::parts::dispatch::{Dispatcher, Job};
use crate::parts::pool::{WAITING_THREADS, with_pool};
use crate::server::Server;

pub(crate) const MODEL: Model = Model {
    name: "reactor-and-pool",
    run,
    at_once: AtOnce::Any,
    shape: Shape {
        processes: count(1, 0, 0),
        threads: count(1, WAITING_THREADS, 0),
        epolls: count(1, 0, 0),
    },
    style: Style::Requests,
    pollers: &[],
};

fn run(server: &Server) -> io::Result<()> {
    let listener = server.listener()?;
    server.ready(listener.local_addr()?);
    with_pool(server.workers * WAITING_THREADS, Job::run, |pool| {
        Dispatcher::new(server.service, pool)?.run(listener)
    })
}
