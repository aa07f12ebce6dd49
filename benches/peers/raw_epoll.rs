//! The floor: an edge-triggered epoll loop by hand, with nothing in it but the echo.
//!
//! With `spin` it looks for events with a zero timeout for that long before it sleeps: the naive
//! policy that withy's adaptive one is compared with.

use std::io;
use std::net::TcpListener;
use std::os::fd::{IntoRawFd, RawFd};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::sys::{self, Epoll, Events, NO_EVENTS};

/// Starts `workers` loops and hands them the connections in turn.
pub(crate) fn start(
    listener: TcpListener,
    workers: usize,
    spin: Option<Duration>,
) -> io::Result<()> {
    let mut epolls = Vec::new();
    for _ in 0..workers {
        let epoll = Arc::new(Epoll::new()?);
        epolls.push(Arc::clone(&epoll));
        thread::spawn(move || run(&epoll, spin).expect("the loop goes on until the process ends"));
    }
    thread::spawn(move || {
        for (stream, epoll) in listener.incoming().zip(epolls.iter().cycle()) {
            let stream = stream.expect("a bench does not run out of descriptors");
            stream.set_nodelay(true).expect("the connection is open");
            let fd = stream.into_raw_fd();
            epoll
                .add(fd, fd as u64)
                .expect("a fresh descriptor can be added");
        }
    });
    Ok(())
}

fn run(epoll: &Epoll, spin: Option<Duration>) -> io::Result<()> {
    let mut events = NO_EVENTS;
    let mut buf = [0; 4096];
    loop {
        let n = wait(epoll, &mut events, spin)?;
        for event in &events[..n] {
            let closing = event.events & libc::EPOLLRDHUP as u32 != 0;
            echo(event.u64 as RawFd, &mut buf, closing);
        }
    }
}

/// Looks for events for as long as `spin` says, then sleeps until there is one.
pub(crate) fn wait(
    epoll: &Epoll,
    events: &mut Events,
    spin: Option<Duration>,
) -> io::Result<usize> {
    if let Some(limit) = spin {
        let start = Instant::now();
        loop {
            let n = epoll.wait(events, 0)?;
            if n > 0 {
                return Ok(n);
            }
            if start.elapsed() >= limit {
                break;
            }
        }
    }
    epoll.wait(events, -1)
}

/// Echoes what has arrived. A read that does not fill the buffer has emptied the socket, unless
/// the peer has closed: then only a read of nothing, or an error, is the end.
fn echo(fd: RawFd, buf: &mut [u8], closing: bool) {
    loop {
        match sys::recv(fd, buf) {
            Ok(n) if n > 0 => {
                // The client has one short request under way, so a full buffer cannot happen.
                assert_eq!(
                    sys::send(fd, &buf[..n]).ok(),
                    Some(n),
                    "the client reads its echoes"
                );
                if n < buf.len() && !closing {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Ok(_) | Err(_) => {
                // SAFETY: `into_raw_fd` gave the descriptor to this loop alone. Closing it ends
                // its registration, and this loop has one event of it at most, this one.
                return unsafe { sys::close(fd) };
            }
        }
    }
}
