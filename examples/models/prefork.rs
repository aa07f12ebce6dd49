//! Processes started beforehand, which all accept on one socket.
//!
//! **Flow of control**: the iterative server, several times: each process waits in `accept`, and serves who comes to the end. The kernel
//! wakes one of those that wait, the one that waits longest. The parent only replaces workers that die.
//! **Good at**: isolation without a fork for each connection; plain code, libraries that know no threads. **Bad at**: more connections than
//! processes; sharing anything; a slow client holds a process.
//! **In the wild**: Apache's prefork MPM, PHP-FPM, Gunicorn's and unicorn's synchronous workers, Postfix.

use std::io;

use crate::catalog::{AtOnce, Model, Shape, Style, count};
use crate::iterative;
use crate::parts::processes::Workers;
use crate::server::Server;

pub(crate) const MODEL: Model = Model {
    name: "prefork",
    run,
    at_once: AtOnce::Workers,
    shape: Shape {
        processes: count(1, 1, 0),
        threads: count(1, 1, 0),
        epolls: count(0, 0, 0),
    },
    style: Style::Sequential,
    pollers: &[],
};

fn run(server: &Server) -> io::Result<()> {
    let listener = server.listener()?;
    let serve = |_| iterative::serve(&listener, server.service);
    let workers = Workers::start(server.workers, serve)?;
    server.ready(listener.local_addr()?);
    workers.wait()
}
