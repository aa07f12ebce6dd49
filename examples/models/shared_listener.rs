//! A reactor in each of several processes, all with the same listening socket.
//!
//! **Flow of control**: in each process the single reactor; the listening socket is watched by all of them. Who is woken
//! accepts until there is nobody left. Without more ado a new connection wakes all processes, one of which gets it, and the others have been
//! woken in vain: the *thundering herd*. With EPOLLEXCLUSIVE the kernel wakes one. Both count how often a process was woken and `accept` found
//! nothing. That is not all: who is woken late finds out inside `epoll_wait`, which looks again before it returns, and goes back to sleep;
//! those show as context switches only.
//! **Good at**: many connections on all cores; whoever is free takes the next. **Bad at**: as above; and the load is uneven: epoll
//! asks the same process first again and again, where `accept` would wake the one that waits longest.
//! **In the wild**: nginx (EPOLLEXCLUSIVE since 1.11.3; a lock around accepting before), lighttpd and Node.js's cluster, uWSGI.

use std::io::{self, Read, Write};
use std::os::fd::RawFd;

use crate::catalog::{AtOnce, Model, Shape, Style, count};
use crate::parts::event_loop::{Poller, READS, Reactor};
use crate::parts::pollers::Epoll;
use crate::parts::processes::Workers;
use crate::server::Server;

pub(crate) const MODEL: Model = Model {
    name: "shared-listener",
    run: |server| run(server, |epoll, fd, token| epoll.add(fd, token, READS)),
    at_once: AtOnce::Any,
    shape: SHAPE,
    style: Style::Callbacks,
    pollers: &[],
};

pub(crate) const EXCLUSIVE: Model = Model {
    name: "shared-listener-exclusive",
    run: |server| run(server, |epoll, fd, token| epoll.add_exclusive(fd, token)),
    at_once: AtOnce::Any,
    shape: SHAPE,
    style: Style::Callbacks,
    pollers: &[],
};

const SHAPE: Shape = Shape {
    processes: count(1, 1, 0),
    threads: count(1, 1, 0),
    epolls: count(0, 1, 0),
};

fn run(server: &Server, watch: fn(&mut Epoll, RawFd, usize) -> io::Result<()>) -> io::Result<()> {
    let listener = server.listener()?;
    // 8 bytes from each worker at its end: the pipe holds those of thousands.
    let (mut counts, tell) = io::pipe()?;
    let workers = Workers::start(server.workers, |_| {
        let mut reactor = Reactor::new(Epoll::new()?, server.service);
        reactor.listen_by(listener.try_clone()?, watch)?;
        reactor.run()?;
        (&tell).write_all(&reactor.wasted().to_ne_bytes())
    })?;
    server.ready(listener.local_addr()?);
    workers.wait()?;
    drop(tell);
    let mut bytes = Vec::new();
    counts.read_to_end(&mut bytes)?;
    let (counts, _) = bytes.as_chunks();
    let wasted: u64 = counts.iter().copied().map(u64::from_ne_bytes).sum();
    println!("wasted {wasted}");
    Ok(())
}
