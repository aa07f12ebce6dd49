//! A reactor in each of several processes, each with a listening socket of its own on the same port.
//!
//! **Flow of control**: in each process the single reactor. The kernel deals new connections out by a hash of their addresses
//! (SO_REUSEPORT). The parent only replaces workers that die.
//! **Good at**: many connections on all cores with nothing shared, not even the queue of new connections; no wake-up is in vain.
//! **Bad at**: an even load when there are few connections, since a hash does not know who is busy; connections in the queue of a worker that hangs
//! wait for it, while others idle.
//! **In the wild**: nginx with `listen … reuseport`, HAProxy when it had processes, Envoy's workers, DNS servers (Knot, NSD, by UDP).

use std::io;

use crate::catalog::{AtOnce, Model, Shape, Style, count};
use crate::parts::event_loop::Reactor;
use crate::parts::pollers::Epoll;
use crate::parts::processes::Workers;
use crate::server::Server;

pub(crate) const MODEL: Model = Model {
    name: "reactors-in-processes",
    run,
    at_once: AtOnce::Any,
    shape: Shape {
        processes: count(1, 1, 0),
        threads: count(1, 1, 0),
        epolls: count(0, 1, 0),
    },
    style: Style::Callbacks,
    pollers: &[],
};

fn run(server: &Server) -> io::Result<()> {
    // They stay open in the parent, too: a worker that takes another's place finds its queue as it was.
    let listeners = server.listeners(server.workers)?;
    let addr = listeners[0].local_addr()?;
    let workers = Workers::start(listeners.len(), |index| {
        let mut reactor = Reactor::new(Epoll::new()?, server.service);
        reactor.listen(listeners[index].try_clone()?)?;
        reactor.run()
    })?;
    server.ready(addr);
    workers.wait()
}
