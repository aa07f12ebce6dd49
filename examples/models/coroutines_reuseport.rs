//! A coroutine for each connection, and a listening socket for each worker thread: withy.
//!
//! **Flow of control**: on each worker a coroutine accepts from a socket of its own; all listen on one port, and the kernel deals
//! connections out by a hash of their addresses (SO_REUSEPORT). The rest is `coroutines`: an idle worker may still take a connection over
//! before it has begun.
//! **Good at**: many short connections: nobody shares a queue of new ones, and nobody is woken on another core. **Bad at**: nothing more than
//! `coroutines` is, except that workers are to be counted beforehand.
//! **In the wild**: Seastar's and glommio's shards (with futures); Go programs that use several listeners.

use std::io;

use withy::net::TcpListener;
use withy::{Runtime, spawn_on};

use crate::catalog::{AtOnce, Model, Style};
use crate::coroutines;
use crate::server::Server;

pub(crate) const MODEL: Model = Model {
    name: "coroutines-reuseport",
    run,
    at_once: AtOnce::Any,
    shape: coroutines::SHAPE,
    style: Style::Sequential,
    pollers: &[],
};

fn run(server: &Server) -> io::Result<()> {
    let listeners = server.listeners(server.workers)?;
    let addr = listeners[0].local_addr()?;
    let service = server.service;
    let runtime = Runtime::builder().workers(server.workers).build()?;
    server.ready(addr);
    runtime.run(|| {
        let listeners = listeners.into_iter().map(TcpListener::from);
        let acceptors: Vec<_> = listeners
            .enumerate()
            .map(|(worker, listener)| {
                spawn_on(worker, move || coroutines::serve(&listener, service))
            })
            .collect();
        let mut ends = acceptors.into_iter().map(|acceptor| acceptor.join());
        ends.try_for_each(|end| end.expect("an acceptor does not panic"))
    })
}
