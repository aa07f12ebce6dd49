//! A process for each connection.
//!
//! **Flow of control**: the parent accepts and forks; the child serves its connection to the end, and exits.
//! **Good at**: isolation: a child may crash, change its user, or leak. **Bad at**: a fork for each connection (page tables are copied), memory, sharing anything.
//! **In the wild**: OpenSSH, PostgreSQL, the classic `inetd`, CGI.

use std::{io, iter};

use crate::catalog::{AtOnce, Model, Shape, Style, count};
use crate::parts::processes;
use crate::protocol::sequential;
use crate::server::{Server, accept};

/// Children at once (law 8). One that comes to its end makes room for the next.
const CHILDREN_MAX: usize = 1024;

pub(crate) const MODEL: Model = Model {
    name: "fork",
    run,
    at_once: AtOnce::Bounded(CHILDREN_MAX),
    shape: Shape {
        processes: count(1, 0, 1),
        threads: count(1, 0, 1),
        epolls: count(0, 0, 0),
    },
    style: Style::Sequential,
    pollers: &[],
};

fn run(server: &Server) -> io::Result<()> {
    let listener = server.listener()?;
    server.ready(listener.local_addr()?);
    let mut children = 0;
    while let Some(stream) = accept(&listener)? {
        // SAFETY: this process has one thread.
        match unsafe { processes::fork(|| sequential::serve(stream, server.service)) } {
            Ok(_) => children += 1,
            Err(error) => log::warn!("no process for a connection: {error}"),
        }
        // Those that have ended; at the limit one that ends.
        children -= reap(children == CHILDREN_MAX);
    }
    while reap(true) > 0 {}
    Ok(())
}

/// Forgets children that have ended; how many. `waits`: for one at least.
fn reap(waits: bool) -> usize {
    let first = waits.then(|| processes::wait(-1, 0)).flatten();
    let others = iter::from_fn(|| processes::wait(-1, libc::WNOHANG));
    first.into_iter().chain(others).count()
}
