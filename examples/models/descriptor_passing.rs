//! A master accepts, and passes each connection to a worker process.
//!
//! **Flow of control**: the master waits in `accept`, and sends the descriptor to the next worker over a Unix socket (SCM_RIGHTS). Each worker is
//! a reactor, for which that socket is one more that may be ready.
//! **Good at**: the master decides who gets what, which no other model with processes can; workers may have fewer rights than who may
//! bind the port, and be other programs. **Bad at**: two more system calls and a context switch for each connection.
//! **In the wild**: Node.js's cluster (round robin is its default), sshd's privilege separation, s6's and systemd's ways to hand sockets over, HAProxy's reload.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::thread;

use rustix::cmsg_space;
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use crate::catalog::{AtOnce, Model, Shape, Style, count};
use crate::parts::event_loop::{Poller, READS, RESERVED, Reactor};
use crate::parts::pollers::Epoll;
use crate::parts::processes::{REPLACE_PAUSE, fork, wait};
use crate::protocol::Service;
use crate::server::{ACCEPT_PAUSE, Server, accept_nonblocking};

pub(crate) const MODEL: Model = Model {
    name: "descriptor-passing",
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

/// One, seen from the master.
struct Worker {
    id: libc::pid_t,
    channel: UnixStream,
}

fn run(server: &Server) -> io::Result<()> {
    let listener = server.listener()?;
    let workers = (0..server.workers).map(|_| start(server.service, None));
    let mut workers = workers.collect::<io::Result<Vec<_>>>()?;
    server.ready(listener.local_addr()?);
    let mut turn = 0;
    while let Some(client) = accept_nonblocking(&listener)? {
        give(client, &mut workers[turn], server.service)?;
        turn = (turn + 1) % server.workers;
    }
    // The end of its channel is for a worker the time to stop. Shut down, not closed: others have copies of it by fork.
    for worker in &workers {
        worker.channel.shutdown(Shutdown::Both)?;
    }
    for worker in workers {
        wait(worker.id, 0);
    }
    Ok(())
}

/// Begins with `first`, which it inherits.
fn start(service: Service, first: Option<TcpStream>) -> io::Result<Worker> {
    let (ours, theirs) = UnixStream::pair()?;
    // SAFETY: this model starts no threads.
    let id = unsafe { fork(|| work(theirs, service, first)) }?;
    Ok(Worker { id, channel: ours })
}

/// Gives it to a worker, or to one that takes its place. A channel that is full makes the master wait: then
/// connections wait in the listener's queue.
fn give(client: TcpStream, worker: &mut Worker, service: Service) -> io::Result<()> {
    loop {
        match send(&worker.channel, &client) {
            Ok(()) => return Ok(()),
            // Too many are under way, or there is no memory, until workers have taken some.
            Err(Errno::TOOMANYREFS | Errno::NOBUFS | Errno::NOMEM) => thread::sleep(ACCEPT_PAUSE),
            Err(Errno::PIPE | Errno::CONNRESET) => break,
            Err(error) => return Err(error.into()),
        }
    }
    log::warn!("a worker has failed, another takes its place");
    wait(worker.id, 0);
    thread::sleep(REPLACE_PAUSE);
    match start(service, Some(client)) {
        Ok(successor) => *worker = successor,
        // The next connection tries again.
        Err(error) => log::warn!("no process for a worker: {error}"),
    }
    Ok(())
}

fn send(channel: &UnixStream, client: &TcpStream) -> rustix::io::Result<()> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let mut rights = SendAncillaryBuffer::new(&mut space);
    let client = [client.as_fd()];
    rights.push(SendAncillaryMessage::ScmRights(&client));
    // Rights travel with a byte at least.
    let byte = [IoSlice::new(&[0])];
    rustix::io::retry_on_intr(|| sendmsg(channel, &byte, &mut rights, SendFlags::NOSIGNAL))
        .map(drop)
}

/// Serves what the channel brings, until it ends and the last connection has ended.
fn work(channel: UnixStream, service: Service, first: Option<TcpStream>) -> io::Result<()> {
    channel.set_nonblocking(true)?;
    let mut poller = Epoll::new()?;
    poller.add(channel.as_raw_fd(), RESERVED, READS)?;
    let mut reactor = Reactor::new(poller, service);
    if let Some(client) = first {
        reactor.adopt(client);
    }
    let mut is_open = true;
    while is_open || !reactor.is_idle() {
        let mut has_mail = false;
        reactor.turn(|_| has_mail = true)?;
        while has_mail {
            match receive(&channel) {
                Ok(Some(client)) => reactor.adopt(client),
                Ok(None) => {
                    is_open = false;
                    has_mail = false;
                }
                Err(Errno::AGAIN) => has_mail = false,
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

/// The next connection; `None` at the end of the channel.
fn receive(channel: &UnixStream) -> rustix::io::Result<Option<TcpStream>> {
    loop {
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
        let mut rights = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        let received = rustix::io::retry_on_intr(|| {
            let mut byte = [IoSliceMut::new(&mut byte)];
            recvmsg(channel, &mut byte, &mut rights, RecvFlags::CMSG_CLOEXEC)
        })?;
        if received.bytes == 0 {
            return Ok(None);
        }
        let clients = rights.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(clients) => Some(clients),
            _ => None,
        });
        // Without one the limit of descriptors is reached, and the kernel has closed it.
        if let Some(client) = clients.flatten().next() {
            return Ok(Some(client.into()));
        }
    }
}
