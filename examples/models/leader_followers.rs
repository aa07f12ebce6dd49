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
use rustix::net::SocketFlags;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use slab::Slab;

use crate::catalog::{AtOnce, Model, Shape, Style, count};
use crate::parts::callbacks::Connection;
use crate::parts::claim::Claim;
use crate::parts::event_loop::{Poller, READS, Ready};
use crate::parts::handle_set::HandleSet;
use crate::parts::input::Told;
use crate::parts::threads::start;
use crate::protocol::{BUFFER_BYTES, Service};
use crate::server::{ACCEPT_PAUSE, Server, Verdict, take, verdict};

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
const PAUSE: usize = usize::MAX - 2;

struct Team {
    handles: HandleSet,
    service: Service,
    listener: TcpListener,
    accepting: Claim,
    /// A timer, for when the system has nothing for more connections: nobody waits for that, since each may be the only one.
    pause: OwnedFd,
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
    /// Of the client's socket, and of the downstream server's.
    told: [Told; 2],
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
        pause: timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?,
        ending: eventfd(0, EventfdFlags::CLOEXEC)?,
        connections: Mutex::default(),
    };
    (&team.handles).add(team.listener.as_raw_fd(), LISTENER, READS)?;
    (&team.handles).add(team.pause.as_raw_fd(), PAUSE, READS)?;
    (&team.handles).add(team.ending.as_raw_fd(), END, READS)?;
    server.ready(addr);
    thread::scope(|threads| {
        let others: Vec<_> = (1..server.workers)
            .map(|_| start(threads, || team.work()))
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
        let mut buf = vec![0; BUFFER_BYTES];
        loop {
            // In here it is a follower, then the leader. When it returns it is neither, and another leads.
            (&self.handles).wait(&mut ready, None)?;
            for one in ready.drain(..) {
                match one.token {
                    END => return Ok(()),
                    LISTENER | PAUSE => self.accept()?,
                    _ => self.serve(one, &mut buf)?,
                }
            }
        }
    }

    fn accept(&self) -> io::Result<()> {
        if !self.accepting.take() {
            return Ok(());
        }
        loop {
            let error = match take(&self.listener, SocketFlags::NONBLOCK) {
                Ok(client) => {
                    self.adopt(client);
                    continue;
                }
                Err(error) => error,
            };
            match verdict(&error) {
                _ if error.kind() == io::ErrorKind::WouldBlock => {}
                Verdict::Again => continue,
                Verdict::Later => self.accept_later()?,
                Verdict::Stop => {
                    let mut connections = self.connections();
                    connections.is_stopping = true;
                    return self.end_if_idle(&connections);
                }
                Verdict::Fail => return Err(error),
            }
            if self.accepting.release() {
                return Ok(());
            }
        }
    }

    /// Has somebody accept after a while.
    fn accept_later(&self) -> io::Result<()> {
        let once = Itimerspec {
            it_interval: Timespec::default(),
            it_value: Timespec {
                tv_sec: 0,
                tv_nsec: ACCEPT_PAUSE.subsec_nanos().into(),
            },
        };
        timerfd_settime(&self.pause, TimerfdTimerFlags::empty(), &once)?;
        Ok(())
    }

    fn adopt(&self, client: TcpStream) {
        let fd = client.as_raw_fd();
        let seat = Arc::new(Seat {
            claim: Claim::default(),
            told: Default::default(),
            connection: Mutex::new(Some(Connection::new(client, self.service))),
        });
        // Whoever is told of it looks for it, and finds it only when this is done.
        let mut connections = self.connections();
        let place = connections.slab.insert(seat);
        if let Err(error) = (&self.handles).add(fd, place * 2, READS) {
            log::warn!("a connection is refused: {error}");
            connections.slab.remove(place);
        }
    }

    fn serve(&self, told: Ready, buf: &mut [u8]) -> io::Result<()> {
        let place = told.token / 2;
        let seat = self.connections().slab.get(place).cloned();
        // It may have ended by its other socket; or another may have its place: that one only looks in vain.
        let Some(seat) = seat else {
            return Ok(());
        };
        seat.told[told.token % 2].add(told);
        if !seat.claim.take() {
            return Ok(());
        }
        let mut handles = &self.handles;
        loop {
            let mut guard = seat.connection();
            if let Some(connection) = &mut *guard
                && !seat.go_on(connection, &mut handles, place * 2, buf)
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
    /// False: it has come to its end.
    fn go_on(
        &self,
        connection: &mut Connection,
        handles: &mut &HandleSet,
        token: usize,
        buf: &mut [u8],
    ) -> bool {
        let [client, downstream] = &self.told;
        connection.note(client.take(token))
            && connection.note(downstream.take(token + 1))
            && connection.go_on(handles, token, buf).unwrap_or(false)
    }

    fn connection(&self) -> MutexGuard<'_, Option<Connection>> {
        self.connection.lock().expect("nobody panics with it")
    }
}
