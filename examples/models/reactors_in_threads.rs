//! A reactor in each of several threads; another thread accepts, and deals connections out.
//!
//! **Flow of control**: the main thread waits in `accept`, puts each connection into the mailbox of the next reactor and wakes it. From then on the
//! connection is that reactor's alone: within one it is the single reactor, without locks.
//! **Good at**: many connections on all cores; accepting and serving do not wait for each other. **Bad at**: what the single reactor is bad at;
//! a connection cannot move, so one reactor may be busy while others idle.
//! **In the wild**: muduo, Netty, memcached, brpc's and Trantor's event dispatchers, Asio with an `io_context` for each thread.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread;

use mio::{Token, Waker};

use crate::catalog::{AtOnce, Model, Shape, Style, count};
use crate::parts::event_loop::{RESERVED, Reactor};
use crate::parts::pollers::Epoll;
use crate::parts::threads::start;
use crate::server::{Server, accept_nonblocking};

pub(crate) const MODEL: Model = Model {
    name: "reactors-in-threads",
    run,
    at_once: AtOnce::Any,
    shape: Shape {
        processes: count(1, 0, 0),
        threads: count(1, 1, 0),
        epolls: count(0, 1, 0),
    },
    style: Style::Callbacks,
    pollers: &[],
};

/// Connections that a reactor has not taken over yet. At the limit the acceptor waits for it (law 8).
const MAILBOX_MAX: usize = 1024;

fn run(server: &Server) -> io::Result<()> {
    serve(server, || Ok(Reactor::new(Epoll::new()?, server.service)))
}

/// A reactor that is given its connections.
pub(crate) trait Adopts: Send {
    /// What ends its wait. A poller can have one only.
    fn waker(&self) -> io::Result<Arc<Waker>>;

    /// Waits once, and serves what is ready. Whether it was woken.
    fn turn(&mut self) -> io::Result<bool>;

    fn adopt(&mut self, client: TcpStream);

    fn is_idle(&self) -> bool;
}

/// Accepts, for as many reactors as there are workers.
pub(crate) fn serve<R: Adopts>(
    server: &Server,
    reactor: impl Fn() -> io::Result<R>,
) -> io::Result<()> {
    let listener = server.listener()?;
    let mut mailboxes = Vec::new();
    let mut reactors = Vec::new();
    for _ in 0..server.workers {
        let reactor = reactor()?;
        let waker = reactor.waker()?;
        let (sender, receiver) = sync_channel(MAILBOX_MAX);
        mailboxes.push(Mailbox { sender, waker });
        reactors.push((reactor, receiver));
    }
    thread::scope(|threads| {
        let react = |(reactor, receiver)| start(threads, || react(reactor, receiver));
        let reactors: Vec<_> = reactors.into_iter().map(react).collect();
        server.ready(listener.local_addr()?);
        let end = deal(&mailboxes, || accept_nonblocking(&listener));
        // Wakers are kept: a closed one tells nobody anything any more.
        let _wakers: Vec<_> = mailboxes.into_iter().map(Mailbox::close).collect();
        let ends = reactors.into_iter().map(|reactor| reactor.join());
        let mut ends = ends.map(|end| end.expect("a reactor does not panic"));
        end.and(ends.try_for_each(|end| end))
    })
}

/// Where a reactor gets its connections.
struct Mailbox {
    sender: SyncSender<TcpStream>,
    waker: Arc<Waker>,
}

impl Mailbox {
    /// False: its reactor has failed.
    fn put(&self, client: TcpStream) -> bool {
        self.sender.send(client).is_ok() && self.waker.wake().is_ok()
    }

    fn close(self) -> Arc<Waker> {
        drop(self.sender);
        // It is gone, or it comes.
        let _ = self.waker.wake();
        self.waker
    }
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
        if !mailbox.put(client) {
            break;
        }
    }
    Ok(())
}

/// Serves what the mailbox brings, until nobody can put anything into it and the last connection has ended.
fn react(mut reactor: impl Adopts, mailbox: Receiver<TcpStream>) -> io::Result<()> {
    let mut is_open = true;
    while is_open || !reactor.is_idle() {
        let mut has_mail = reactor.turn()?;
        while has_mail {
            match mailbox.try_recv() {
                Ok(client) => reactor.adopt(client),
                Err(end) => {
                    is_open &= end == TryRecvError::Empty;
                    has_mail = false;
                }
            }
        }
    }
    Ok(())
}

impl Adopts for Reactor<Epoll> {
    fn waker(&self) -> io::Result<Arc<Waker>> {
        Waker::new(self.poller.poll.registry(), Token(RESERVED)).map(Arc::new)
    }

    fn turn(&mut self) -> io::Result<bool> {
        let mut was_woken = false;
        Reactor::turn(self, |_| was_woken = true)?;
        Ok(was_woken)
    }

    fn adopt(&mut self, client: TcpStream) {
        Reactor::adopt(self, client);
    }

    fn is_idle(&self) -> bool {
        Reactor::is_idle(self)
    }
}
