//! What each model is given: the service, sockets to listen on, and how it is stopped.
//!
//! A server process prints `ready ADDRESS` when it listens, and stops at SIGTERM: the handler shuts down the listening sockets,
//! in the process that was signalled. That wakes whoever waits for a connection, in every process that shares them, and
//! whatever way it waits: `accept` fails with `EINVAL` from then on, and pollers find the socket ready. Connections that are
//! open are served to their end. So no model needs a way of its own to be told.

use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rustix::net::{SocketFlags, accept_with};
use socket2::{Domain, Protocol, Socket, Type};

use crate::protocol::Service;

pub(crate) struct Server {
    pub(crate) service: Service,
    /// How many threads or processes do the work, where a model has a number of them.
    pub(crate) workers: usize,
    pub(crate) poller: Poller,
}

/// By what the single reactor waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Poller {
    Select,
    Poll,
    Epoll,
}

/// Connections that a kernel may hold for us; it takes its own maximum (net.core.somaxconn) if that is less.
const BACKLOG: i32 = 4096;

/// Those of a SIGTERM's handler: descriptors, and how many there are.
static LISTENERS: [AtomicI32; 64] = [const { AtomicI32::new(-1) }; 64];
static LISTENERS_LEN: AtomicUsize = AtomicUsize::new(0);
static IS_STOPPING: AtomicBool = AtomicBool::new(false);

impl Server {
    /// One socket that listens on a port that the kernel picks.
    pub(crate) fn listener(&self) -> io::Result<TcpListener> {
        let listener = listen((Ipv4Addr::LOCALHOST, 0).into(), false)?;
        Ok(listener)
    }

    /// Several that listen on one port (SO_REUSEPORT): the kernel deals connections out by a hash of their addresses.
    pub(crate) fn listeners(&self, count: usize) -> io::Result<Vec<TcpListener>> {
        let first = listen((Ipv4Addr::LOCALHOST, 0).into(), true)?;
        let addr = first.local_addr()?;
        let mut listeners = vec![first];
        for _ in 1..count {
            listeners.push(listen(addr, true)?);
        }
        Ok(listeners)
    }

    /// Everything is in place: clients may come.
    pub(crate) fn ready(&self, addr: SocketAddr) {
        println!("ready {addr}");
    }
}

fn listen(addr: SocketAddr, shares_port: bool) -> io::Result<TcpListener> {
    let place = LISTENERS_LEN.load(Ordering::Relaxed);
    let Some(fd) = LISTENERS.get(place) else {
        let text = format!(
            "got more than {} listeners, expected fewer workers",
            LISTENERS.len()
        );
        return Err(io::Error::other(text));
    };
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shares_port)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    fd.store(socket.as_raw_fd(), Ordering::Relaxed);
    // Release: the handler finds what it counts.
    LISTENERS_LEN.store(place + 1, Ordering::Release);
    if is_stopping() {
        // The signal was faster, and has not found this one.
        socket.shutdown(Shutdown::Both)?;
    }
    Ok(socket.into())
}

/// From now on SIGTERM stops the server.
pub(crate) fn stop_at_sigterm() -> io::Result<()> {
    let stop = || {
        // Once: what a model has closed by the second time may be the number of another's socket.
        if IS_STOPPING.swap(true, Ordering::Relaxed) {
            return;
        }
        for listener in &LISTENERS[..LISTENERS_LEN.load(Ordering::Acquire)] {
            // SAFETY: a system call on a number; models keep their listeners open until this has shut them down.
            unsafe { libc::shutdown(listener.load(Ordering::Relaxed), libc::SHUT_RDWR) };
        }
    };
    // SAFETY: what it does is async-signal-safe: loads, and shutdown(2).
    unsafe { signal_hook::low_level::register(libc::SIGTERM, stop) }.map(drop)
}

/// Whether this process was told to.
pub(crate) fn is_stopping() -> bool {
    IS_STOPPING.load(Ordering::Relaxed)
}

/// The next connection, as [`take`] gives it; `None` when the server is to stop. For models that block in `accept`.
pub(crate) fn accept(listener: &TcpListener) -> io::Result<Option<TcpStream>> {
    accept_by(listener, SocketFlags::empty())
}

/// The same for a connection that nobody will wait for by reading.
pub(crate) fn accept_nonblocking(listener: &TcpListener) -> io::Result<Option<TcpStream>> {
    accept_by(listener, SocketFlags::NONBLOCK)
}

fn accept_by(listener: &TcpListener, flags: SocketFlags) -> io::Result<Option<TcpStream>> {
    loop {
        match take(listener, flags) {
            Ok(stream) => return Ok(Some(stream)),
            Err(error) => match verdict(&error) {
                Verdict::Stop => return Ok(None),
                Verdict::Again => {}
                Verdict::Later => thread::sleep(ACCEPT_PAUSE),
                Verdict::Fail => return Err(error),
            },
        }
    }
}

/// A connection from the listener's queue, with TCP_NODELAY: accept4, which sets the flags as well.
pub(crate) fn take(listener: &TcpListener, flags: SocketFlags) -> io::Result<TcpStream> {
    let stream = TcpStream::from(accept_with(listener, SocketFlags::CLOEXEC | flags)?);
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// How long nobody is accepted when the system has no descriptor or memory for more.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// What an error of `accept` means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    Stop,
    /// It was this connection's.
    Again,
    /// There is no descriptor or no memory for it.
    Later,
    Fail,
}

pub(crate) fn verdict(error: &io::Error) -> Verdict {
    match error.raw_os_error() {
        Some(libc::EINVAL) => Verdict::Stop,
        Some(libc::ECONNABORTED | libc::EINTR | libc::EPERM) => Verdict::Again,
        // Linux passes on what has happened to the new socket (accept(2), "Error handling").
        Some(
            libc::ENETDOWN
            | libc::EPROTO
            | libc::ENOPROTOOPT
            | libc::EHOSTDOWN
            | libc::ENONET
            | libc::EHOSTUNREACH
            | libc::ENETUNREACH,
        ) => Verdict::Again,
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => Verdict::Later,
        _ => Verdict::Fail,
    }
}
