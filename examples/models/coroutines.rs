//! A coroutine for each connection: withy.
//!
//! **Flow of control**: as with a thread for each connection, word for word; but a call that would block parks a coroutine, and its
//! worker thread goes on with another. One epoll instance for each worker says when it can go on.
//! **Good at**: the same sequential code at tens of thousands of connections; waiting costs a few kilobytes, and no thread. **Bad at**:
//! code that blocks a thread behind the runtime's back; a stack for each connection, where a state machine needs a few fields.
//! **In the wild**: Go, Erlang, Java's virtual threads, brpc's bthreads.

use std::io;

use withy::net::TcpListener;
use withy::{Runtime, Steal};

use crate::catalog::{AtOnce, Model, Shape, Style, count};
use crate::protocol::{Service, sequential};
use crate::server::{ACCEPT_PAUSE, Server, Verdict, verdict};

/// What has begun stays on its worker.
pub(crate) const FRESH: Model = Model {
    name: "coroutines",
    run: |server| run(server, Steal::fresh()),
    at_once: AtOnce::Any,
    shape: SHAPE,
    style: Style::Sequential,
    pollers: &[],
};

/// Idle workers take over coroutines in the middle.
pub(crate) const FULL: Model = Model {
    name: "coroutines-full-stealing",
    // SAFETY: what lives on these stacks over a wait is Send and thread-agnostic: buffers, strings, withy's own sockets.
    run: |server| run(server, unsafe { Steal::started() }),
    at_once: AtOnce::Any,
    shape: SHAPE,
    style: Style::Sequential,
    pollers: &[],
};

/// The main thread waits; beside the workers there is the watchdog.
pub(crate) const SHAPE: Shape = Shape {
    processes: count(1, 0, 0),
    threads: count(2, 1, 0),
    epolls: count(0, 1, 0),
};

fn run(server: &Server, steal: Steal) -> io::Result<()> {
    let listener = TcpListener::from(server.listener()?);
    server.ready(listener.local_addr()?);
    let service = server.service;
    let runtime = Runtime::builder()
        .workers(server.workers)
        .steal(steal)
        .build()?;
    runtime.run(|| serve(&listener, service))
}

/// A coroutine for each connection, until the server is to stop and the last of them has ended.
pub(crate) fn serve(listener: &TcpListener, service: Service) -> io::Result<()> {
    withy::scope(|connections| {
        loop {
            let stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) => match verdict(&error) {
                    Verdict::Stop => return Ok(()),
                    Verdict::Again => continue,
                    Verdict::Later => {
                        withy::sleep(ACCEPT_PAUSE);
                        continue;
                    }
                    Verdict::Fail => return Err(error),
                },
            };
            stream.set_nodelay(true)?;
            connections.spawn(move || {
                let _ = sequential::serve(stream, service);
            });
        }
    })
}
