//! A thread for each connection.
//!
//! **Flow of control**: the main thread accepts and starts a thread, which serves the connection to its end.
//! **Good at**: plain sequential code; what is shared is just shared. **Bad at**: thousands of connections: a stack and a kernel thread each, and
//! a trip through the kernel's scheduler for each message.
//! **In the wild**: MySQL, Tomcat's and Apache's older connectors, most of what was ever written against a blocking socket.

use std::io;
use std::thread;

use crate::catalog::{AtOnce, Model, Shape, Style, count};
use crate::parts::turnstile::Turnstile;
use crate::protocol::sequential;
use crate::server::{Server, accept};

/// Threads at once: whoever comes later waits in the kernel's queue.
const THREADS_MAX: usize = 1024;

pub(crate) const MODEL: Model = Model {
    name: "thread-per-connection",
    run,
    at_once: AtOnce::Bounded(THREADS_MAX),
    shape: Shape {
        processes: count(1, 0, 0),
        threads: count(1, 0, 1),
        epolls: count(0, 0, 0),
    },
    style: Style::Sequential,
    pollers: &[],
};

fn run(server: &Server) -> io::Result<()> {
    let listener = server.listener()?;
    server.ready(listener.local_addr()?);
    let turnstile = Turnstile::new(THREADS_MAX);
    let service = server.service;
    thread::scope(|threads| {
        loop {
            // Before the next is accepted.
            let ticket = turnstile.enter();
            let Some(stream) = accept(&listener)? else {
                return Ok(());
            };
            let serve = move || {
                let _ = sequential::serve(stream, service);
                drop(ticket);
            };
            if let Err(error) = thread::Builder::new().spawn_scoped(threads, serve) {
                log::warn!("no thread for a connection: {error}");
            }
        }
    })
}
