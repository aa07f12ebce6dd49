//! Registrations and netpollers, with coroutines of small runtimes and plain threads.

mod limits;
mod registration;
mod words;

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Direction, Registration};
use crate::{JoinHandle, Runtime};

const SHORT: Duration = Duration::from_millis(20);

/// Guards against hanging, and nothing else.
const TOO_LONG: Duration = Duration::from_secs(20);

fn runtime(workers: usize) -> Runtime {
    Runtime::builder()
        .workers(workers)
        .build()
        .expect("a runtime")
}

/// Both ends of a TCP connection over loopback: the registered one, and one of std's to play the peer.
fn connection() -> (Arc<Registration>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let peer = TcpStream::connect(listener.local_addr().expect("an address")).expect("a listener");
    peer.set_nodelay(true).expect("a connection");
    let (accepted, _) = listener.accept().expect("a connection");
    (Arc::new(Registration::new(OwnedFd::from(accepted))), peer)
}

fn recv(fd: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the buffer is writable for its length.
    let len = unsafe {
        libc::recv(
            fd.as_raw_fd(),
            buf.as_mut_ptr().cast(),
            buf.len(),
            libc::MSG_DONTWAIT,
        )
    };
    usize::try_from(len).map_err(|_| io::Error::last_os_error())
}

/// Reads as net does it.
fn read(socket: &Registration, buf: &mut [u8]) -> io::Result<usize> {
    let asked = buf.len();
    socket.io(
        Direction::Read,
        |fd| recv(fd, buf),
        |&len| 0 < len && len < asked,
    )
}

/// Waits until `done`, and fails with what it waited for.
fn until(what: &str, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < TOO_LONG, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Until `number` callers wait to read.
fn until_waiting(socket: &Registration, number: usize) {
    until("readers wait", || socket.waiting(Direction::Read) == number);
}

/// As `join`, with a limit of time.
fn join<T>(what: &str, handle: JoinHandle<T>) -> T {
    until(what, || handle.is_finished());
    handle
        .join()
        .unwrap_or_else(|payload| std::panic::resume_unwind(payload))
}
