//! Leader/followers: threads that take turns at waiting.
//!
//! **Flow of control**: one thread, the leader, waits for all sockets. When one is ready it makes a follower the new leader, and serves the
//! connection itself, by callbacks; then it queues up behind the others.
//! **Good at**: no queue, and no change of threads between the event and its handling: what the leader has found is still in its caches. **Bad at**: all threads meet at one
//! poller and one lock, once for each event; no affinity: a connection is served by another thread each time.
//! **In the wild**: Schmidt's pattern of that name in ACE and TAO, Asio's `io_context` run by several threads, Grizzly.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use rustix::event::{EventfdFlags, eventfd};
use slab::Slab;

use crate::catalog::{AtOnce, Model, Shape, Style, count};
use crate::parts::callbacks::Connection;
use crate::parts::claim::Claim;
use crate::parts::event_loop::{Poller, READS};
use crate::parts::handle_set::HandleSet;
use crate::protocol::Service;
use crate::server::{ACCEPT_PAUSE, Server, Verdict, verdict};

/// The main thread is one of the workers.
pub(crate) const MODEL: Model = Model {
    name: "leader-followers",
    run,
    at_once: AtOnce::Any,
    shape: Shape {
        processes: count(1, 0, 0),
        threads: count(0, 1, 0),
        epolls: count(1, 0, 0),
    },
    style: Style::Callbacks,
    pollers: &[],
};

const LISTENER: usize = usize::MAX;
const END: usize = usize::MAX - 1;

struct Team {
    handles: HandleSet,
    service: Service,
    listener: TcpListener,
    accepting: Claim,
    /// An eventfd: each write sends one thread home.
    ending: OwnedFd,
    connections: Mutex<Connections>,
}

#[derive(Default)]
struct Connections {
    slab: Slab<Arc<Seat>>,
    is_stopping: bool,
}

/// A connection that any thread may find ready.
struct Seat {
    claim: Claim,
    /// Of whoever has the claim; nobody ever waits for it. None: it has ended.
    connection: Mutex<Option<Connection>>,
}

fn run(server: &Server) -> io::Result<()> {
    let listener = server.listener()?;
    listener.set_nonblocking(true)?;
    let addr = listener.local_addr()?;
    let team = Team {
        handles: HandleSet::new()?,
        service: server.service,
        listener,
        accepting: Claim::default(),
        ending: eventfd(0, EventfdFlags::CLOEXEC)?,
        connections: Mutex::default(),
    };
    (&team.handles).add(team.listener.as_raw_fd(), LISTENER, READS)?;
    (&team.handles).add(team.ending.as_raw_fd(), END, READS)?;
    server.ready(addr);
    thread::scope(|threads| {
        let others: Vec<_> = (1..server.workers)
            .map(|_| threads.spawn(|| team.work()))
            .collect();
        let mine = team.work();
        others
            .into_iter()
            .map(|other| other.join().expect("it does not panic"))
            .fold(mine, Result::and)
    })
}

impl Team {
    fn work(&self) -> io::Result<()> {
        let result = self.take_turns();
        // Whether it has come to its end, or has failed: so have the others, one after the other.
        result.and(self.end())
    }

    fn take_turns(&self) -> io::Result<()> {
        let mut ready = Vec::new();
        loop {
            // In here it is a follower, then the leader. When it returns it is neither, and another leads.
            (&self.handles).wait(&mut ready, None)?;
            for one in ready.drain(..) {
                match one.token {
                    END => return Ok(()),
                    LISTENER => self.accept()?,
                    token => self.serve(token / 2, one.is_broken)?,
                }
            }
        }
    }

    fn accept(&self) -> io::Result<()> {
        if !self.accepting.take() {
            return Ok(());
        }
        loop {
            let error = match self.listener.accept() {
                Ok((client, _)) => {
                    self.adopt(client)?;
                    continue;
                }
                Err(error) => error,
            };
            match verdict(&error) {
                _ if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.accepting.release() {
                        return Ok(());
                    }
                }
                Verdict::Again => {}
                // The others go on meanwhile.
                Verdict::Later => thread::sleep(ACCEPT_PAUSE),
                Verdict::Stop => {
                    let mut connections = self.connections();
                    connections.is_stopping = true;
                    return self.end_if_idle(&connections);
                }
                Verdict::Fail => return Err(error),
            }
        }
    }

    fn adopt(&self, client: TcpStream) -> io::Result<()> {
        client.set_nonblocking(true)?;
        client.set_nodelay(true)?;
        let fd = client.as_raw_fd();
        let seat = Arc::new(Seat {
            claim: Claim::default(),
            connection: Mutex::new(Some(Connection::new(client, self.service))),
        });
        // Whoever is told of it looks for it, and finds it only when this is done.
        let mut connections = self.connections();
        let place = connections.slab.insert(seat);
        (&self.handles).add(fd, place * 2, READS)
    }

    fn serve(&self, place: usize, is_broken: bool) -> io::Result<()> {
        let seat = self.connections().slab.get(place).cloned();
        // It may have ended by its other socket; or another may have its place: that one only looks in vain.
        let Some(seat) = seat.filter(|seat| seat.claim.take()) else {
            return Ok(());
        };
        let mut handles = &self.handles;
        loop {
            let mut guard = seat.connection();
            if let Some(connection) = &mut *guard
                && (is_broken || !connection.go_on(&mut handles, place * 2).unwrap_or(false))
                && let Some(connection) = guard.take()
            {
                connection.leave(&mut handles)?;
                let mut connections = self.connections();
                connections.slab.remove(place);
                self.end_if_idle(&connections)?;
            }
            drop(guard);
            if seat.claim.release() {
                return Ok(());
            }
        }
    }

    fn end_if_idle(&self, connections: &Connections) -> io::Result<()> {
        if connections.is_stopping && connections.slab.is_empty() {
            self.end()?;
        }
        Ok(())
    }

    /// Sends home whoever leads.
    fn end(&self) -> io::Result<()> {
        rustix::io::write(&self.ending, &1_u64.to_ne_bytes())?;
        Ok(())
    }

    fn connections(&self) -> MutexGuard<'_, Connections> {
        self.connections.lock().expect("nobody panics with it")
    }
}

impl Seat {
    fn connection(&self) -> MutexGuard<'_, Option<Connection>> {
        self.connection.lock().expect("nobody panics with it")
    }
}
