//! One connection after the other.
//!
//! **Flow of control**: the whole program is one loop: accept, serve to the end, close. Whoever comes meanwhile waits in the kernel's queue.
//! **Good at**: being understood; services that answer at once and close. **Bad at**: everything else: one slow client stops all.
//! **In the wild**: `inetd`'s wait services, daytime servers, many an embedded device's web page.

use std::io;
use std::net::TcpListener;

use crate::catalog::{AtOnce, Model, Shape, Style, count};
use crate::protocol::{Service, sequential};
use crate::server::{Server, accept};

pub(crate) const MODEL: Model = Model {
    name: "iterative",
    run,
    at_once: AtOnce::One,
    shape: Shape {
        processes: count(1, 0, 0),
        threads: count(1, 0, 0),
        epolls: count(0, 0, 0),
    },
    style: Style::Sequential,
    pollers: &[],
};

fn run(server: &Server) -> io::Result<()> {
    let listener = server.listener()?;
    server.ready(listener.local_addr()?);
    serve(&listener, server.service)
}

/// One after the other, until the server is to stop.
pub(crate) fn serve(listener: &TcpListener, service: Service) -> io::Result<()> {
    while let Some(stream) = accept(listener)? {
        // A client that goes away in the middle concerns nobody else.
        let _ = sequential::serve(stream, service);
    }
    Ok(())
}
