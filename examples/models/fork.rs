//! A process for each connection.
//!
//! **Flow of control**: the parent accepts and forks; the child serves its connection to the end, and exits.
//! **Good at**: isolation: a child may crash, change its user, or leak. **Bad at**: a fork for each connection (page tables are copied), memory, sharing anything.
//! **In the wild**: OpenSSH, PostgreSQL, the classic `inetd`, CGI.

use std::io;
use std::process;

use crate::catalog::{AtOnce, Model, Shape, count};
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
    pollers: &[],
};

fn run(server: &Server) -> io::Result<()> {
    let listener = server.listener()?;
    server.ready(listener.local_addr()?);
    let mut children = 0;
    while let Some(stream) = accept(&listener)? {
        // SAFETY: this process has one thread.
        match unsafe { libc::fork() } {
            -1 => log::warn!(
                "no process for a connection: {}",
                io::Error::last_os_error()
            ),
            0 => {
                drop(listener);
                process::exit(sequential::serve(stream, server.service).is_err().into());
            }
            _ => children += 1,
        }
        // Those that have ended; at the limit one that ends.
        children -= reap(children == CHILDREN_MAX);
    }
    while children > 0 {
        children -= reap(true);
    }
    Ok(())
}

/// Forgets children that have ended; how many. `waits`: for one at least.
fn reap(mut waits: bool) -> usize {
    let mut ended = 0;
    loop {
        let flags = if waits { 0 } else { libc::WNOHANG };
        // SAFETY: nothing is written but an exit status that nobody asked for.
        let child = unsafe { libc::waitpid(-1, std::ptr::null_mut(), flags) };
        match child {
            -1 if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            0 | -1 => return ended,
            _ => {
                ended += 1;
                waits = false;
            }
        }
    }
}
