//! Threads started beforehand, which all accept on one socket.
//!
//! **Flow of control**: the iterative server, several times: each thread waits in `accept`, and serves who comes to the end. The kernel
//! wakes one of those that wait.
//! **Good at**: plain sequential code with no cost to start or end a thread; no queue of our own, since the listener is one. **Bad at**: more
//! connections than threads; a slow client holds a thread.
//! **In the wild**: Apache's worker MPM and its kin, Puma, thread pools of application servers, CherryPy.

use std::io;
use std::thread;

use crate::catalog::{AtOnce, Model, Shape, Style, count};
use crate::iterative;
use crate::parts::threads::start;
use crate::server::Server;

/// The main thread only waits.
pub(crate) const MODEL: Model = Model {
    name: "prethreaded",
    run,
    at_once: AtOnce::Workers,
    shape: Shape {
        processes: count(1, 0, 0),
        threads: count(1, 1, 0),
        epolls: count(0, 0, 0),
    },
    style: Style::Sequential,
    pollers: &[],
};

fn run(server: &Server) -> io::Result<()> {
    let listener = server.listener()?;
    thread::scope(|threads| {
        let serve = || iterative::serve(&listener, server.service);
        let workers: Vec<_> = (0..server.workers).map(|_| start(threads, serve)).collect();
        server.ready(listener.local_addr()?);
        let mut ends = workers.into_iter().map(|worker| worker.join());
        ends.try_for_each(|end| end.expect("a worker does not panic"))
    })
}
