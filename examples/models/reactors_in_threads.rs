//! A reactor in each of several threads; another thread accepts, and deals connections out.
//!
//! **Flow of control**: the main thread waits in `accept`, puts each connection into the mailbox of the next reactor and wakes it. From then on the
//! connection is that reactor's alone: within one it is the single reactor, without locks.
//! **Good at**: many connections on all cores; accepting and serving do not wait for each other. **Bad at**: what the single reactor is bad at;
//! a connection cannot move, so one reactor may be busy while others idle.
//! **In the wild**: muduo, Netty, memcached, brpc's and Trantor's event dispatchers, Asio with an `io_context` for each thread.

use std::io;
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread;

use mio::{Token, Waker};

use crate::catalog::{AtOnce, Model, Shape, count};
use crate::event_loop::{RESERVED, Reactor};
use crate::pollers::Epoll;
use crate::protocol::Service;
use crate::server::{Server, accept};

pub(crate) const MODEL: Model = Model {
    name: "reactors-in-threads",
    run,
    at_once: AtOnce::Any,
    shape: Shape {
        processes: count(1, 0, 0),
        threads: count(1, 1, 0),
        epolls: count(0, 1, 0),
    },
};

/// Connections that a reactor has not taken over yet. At the limit the acceptor waits for it (law 8).
const MAILBOX_MAX: usize = 1024;

/// Where a reactor gets its connections.
struct Mailbox {
    sender: SyncSender<TcpStream>,
    waker: Waker,
}

fn run(server: &Server) -> io::Result<()> {
    let listener = server.listener()?;
    thread::scope(|threads| {
        let mut mailboxes = Vec::new();
        let mut reactors = Vec::new();
        for _ in 0..server.workers {
            let poller = Epoll::new()?;
            let waker = Waker::new(poller.poll.registry(), Token(RESERVED))?;
            let (sender, receiver) = sync_channel(MAILBOX_MAX);
            mailboxes.push(Mailbox { sender, waker });
            reactors.push(threads.spawn(|| react(poller, server.service, receiver)));
        }
        server.ready(listener.local_addr()?);
        let end = deal(&mailboxes, || accept(&listener));
        // Wakers are kept: a closed one tells nobody anything any more.
        let mut wakers = Vec::new();
        for Mailbox { sender, waker } in mailboxes {
            drop(sender);
            waker.wake()?;
            wakers.push(waker);
        }
        let ends = reactors.into_iter().map(|reactor| reactor.join());
        let mut ends = ends.map(|end| end.expect("a reactor does not panic"));
        end.and(ends.try_for_each(|end| end))
    })
}

/// Each connection to the next mailbox, until there are no more, or a reactor has failed.
fn deal(
    mailboxes: &[Mailbox],
    mut next: impl FnMut() -> io::Result<Option<TcpStream>>,
) -> io::Result<()> {
    for mailbox in mailboxes.iter().cycle() {
        let Some(client) = next()? else {
            break;
        };
        if mailbox.sender.send(client).is_err() {
            break;
        }
        mailbox.waker.wake()?;
    }
    Ok(())
}

/// Serves what the mailbox brings, until nobody can put anything into it and the last connection has ended.
fn react(poller: Epoll, service: Service, mailbox: Receiver<TcpStream>) -> io::Result<()> {
    let mut reactor = Reactor::new(poller, service);
    let mut is_open = true;
    while is_open || !reactor.is_idle() {
        let mut has_mail = false;
        reactor.turn(|_| has_mail = true)?;
        while has_mail {
            match mailbox.try_recv() {
                Ok(client) => reactor.adopt(client)?,
                Err(end) => {
                    is_open &= end == TryRecvError::Empty;
                    has_mail = false;
                }
            }
        }
    }
    Ok(())
}
