//! One reactor: a thread that waits for all sockets, and calls back.
//!
//! **Flow of control**: the loop calls a connection when one of its sockets may be ready; the connection does what it can, stores where
//! it is, and returns. What is one sentence in the protocol is spread over calls that are minutes apart.
//! **Good at**: many connections in little memory, on one core; no locks. **Bad at**: more than one core; anything that blocks, since it blocks all;
//! logic that spans messages and sockets, which turns into states and fields.
//! **In the wild**: Redis, each of nginx's workers, Node.js, libevent's and Asio's simplest servers.

use std::io;

use crate::catalog::{AtOnce, Model, Shape, Style, count};
use crate::parts::event_loop::{Poller, Reactor};
use crate::parts::pollers::{Epoll, PollSet, SelectSet};
use crate::server::{self, Server};

pub(crate) const MODEL: Model = Model {
    name: "reactor",
    run,
    at_once: AtOnce::Any,
    shape: Shape {
        processes: count(1, 0, 0),
        threads: count(1, 0, 0),
        epolls: count(1, 0, 0),
    },
    style: Style::Callbacks,
    pollers: &["epoll", "poll", "select"],
};

fn run(server: &Server) -> io::Result<()> {
    match server.poller {
        server::Poller::Epoll => serve(server, Epoll::new()?),
        server::Poller::Poll => serve(server, PollSet::default()),
        server::Poller::Select => serve(server, SelectSet::default()),
    }
}

fn serve(server: &Server, poller: impl Poller) -> io::Result<()> {
    let listener = server.listener()?;
    let mut reactor = Reactor::new(poller, server.service);
    server.ready(listener.local_addr()?);
    reactor.listen(listener)?;
    reactor.run()
}
