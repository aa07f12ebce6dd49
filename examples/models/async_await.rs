//! A future for each connection: async/await with tokio.
//!
//! **Flow of control**: reads like a thread for each connection; the compiler turns each function that waits into a state machine, and the
//! executor's threads run whichever can go on. One epoll instance for all of them.
//! **Good at**: sequential code at hundreds of thousands of connections; a connection costs what it remembers, to the byte.
//! **Bad at**: two colours of functions, which divide libraries, too; what waits must be async all the way up; stack traces; a call that
//! blocks holds up all that share its thread.
//! **In the wild**: Rust's web (hyper, axum), C#, Python's asyncio, JavaScript.

use std::io;

use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::catalog::{AtOnce, Model, Shape, Style, count};
use crate::protocol::{Service, asynchronous};
use crate::server::{ACCEPT_PAUSE, Server, Verdict, verdict};

/// The main thread waits.
pub(crate) const MODEL: Model = Model {
    name: "async-await",
    run,
    at_once: AtOnce::Any,
    shape: Shape {
        processes: count(1, 0, 0),
        threads: count(1, 1, 0),
        epolls: count(1, 0, 0),
    },
    style: Style::Async,
    pollers: &[],
};

fn run(server: &Server) -> io::Result<()> {
    let listener = server.listener()?;
    listener.set_nonblocking(true)?;
    let service = server.service;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(server.workers)
        .enable_all()
        .build()?;
    server.ready(listener.local_addr()?);
    runtime.block_on(async {
        let listener = TcpListener::from_std(listener)?;
        // Spawned: what block_on is given runs on the main thread, and each connection would have to change threads.
        tokio::spawn(serve(listener, service)).await?
    })
}

/// A task for each connection, until the server is to stop and the last of them has ended.
async fn serve(listener: TcpListener, service: Service) -> io::Result<()> {
    let mut connections = JoinSet::new();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => match verdict(&error) {
                Verdict::Stop => break,
                Verdict::Again => continue,
                Verdict::Later => {
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
                Verdict::Fail => return Err(error),
            },
        };
        stream.set_nodelay(true)?;
        connections.spawn(asynchronous::serve(stream, service));
        // The set remembers those that have ended until somebody asks.
        while connections.try_join_next().is_some() {}
    }
    while connections.join_next().await.is_some() {}
    Ok(())
}
