//! What callers of a registration see.

use std::io::{self, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::Instant;

use super::{SHORT, TOO_LONG, connection, join, read, recv, runtime, until, until_waiting};
use crate::poll::{Direction, Driver, Registration};
use crate::{context, spawn_on, yield_now};

/// Whether the netpoller of the calling coroutine has `socket`.
fn is_polled_here(socket: &Registration) -> bool {
    context::with_driver(|driver| polls(driver.expect("a worker"), socket.fd().as_raw_fd()))
}

fn polls(driver: &Driver, fd: i32) -> bool {
    let path = format!("/proc/self/fdinfo/{}", driver.as_fd().as_raw_fd());
    let info = std::fs::read_to_string(path).expect("an open epoll instance");
    info.lines().any(|line| {
        line.strip_prefix("tfd:")
            .and_then(|rest| rest.split_whitespace().next())
            .is_some_and(|tfd| tfd == fd.to_string())
    })
}

/// Law 7: a request that was read short costs no second system call.
#[test]
fn a_short_read_saves_the_call_that_would_find_nothing() {
    let runtime = runtime(1);
    let (socket, mut peer) = connection();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let reader = runtime.spawn(move || {
        for _ in 0..100 {
            let op = |fd: std::os::fd::BorrowedFd<'_>| {
                counted.fetch_add(1, Ordering::Relaxed);
                recv(fd, &mut [0; 64])
            };
            assert_eq!(
                socket
                    .io(Direction::Read, op, |&len| len < 64)
                    .expect("a byte"),
                1
            );
            counted.fetch_add(1000, Ordering::Relaxed);
        }
    });
    for i in 0..100 {
        until("the last byte was read", || {
            calls.load(Ordering::Relaxed) / 1000 == i
        });
        peer.write_all(&[0]).expect("a reader");
    }
    join("100 bytes were read", reader);
    let calls = calls.load(Ordering::Relaxed) % 1000;
    // One more for the first, which found nothing and registered.
    assert!(calls <= 102, "{calls} system calls for 100 bytes");
}

/// What `socket` gives after the peer did `act`, which gives it back unless it hangs up, to the end or `bytes_max` bytes.
/// All of it reaches the netpoller as one event, for the worker is held meanwhile.
fn read_after(bytes_max: usize, act: impl FnOnce(TcpStream) -> Option<TcpStream>) -> Vec<u8> {
    let runtime = runtime(1);
    let (socket, mut peer) = connection();
    let (begin, begun) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let theirs = (Arc::clone(&begin), Arc::clone(&begun));
    let ours = Arc::clone(&socket);
    let reader = runtime.spawn(move || {
        let (mut all, mut buf) = (Vec::new(), [0; 64]);
        assert_eq!(read(&socket, &mut buf).expect("the first byte"), 1);
        theirs.0.wait();
        theirs.1.wait();
        while all.len() < bytes_max {
            match read(&socket, &mut buf).expect("no error") {
                0 => break,
                len => all.extend_from_slice(&buf[..len]),
            }
        }
        for _ in 0..10 {
            // Promise 1: the end, every time.
            assert!(all.len() == bytes_max || read(&socket, &mut buf).expect("the end") == 0);
        }
        all
    });
    until_waiting(&ours, 1);
    peer.write_all(b"1").expect("a reader");
    begin.wait();
    match act(peer) {
        Some(peer) => until("all has arrived", || unacknowledged(&peer) == 0),
        None => until("the end has arrived", || has_hung_up(&ours)),
    }
    begun.wait();
    join("all was read", reader)
}

/// How many bytes have not reached the other end.
fn unacknowledged(stream: &TcpStream) -> libc::c_int {
    let mut bytes = 0;
    // SAFETY: there is room for the int that is asked for.
    let status = unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    assert_eq!(status, 0, "{}", io::Error::last_os_error());
    bytes
}

/// Whether the peer's end, and so all that it has sent, is here.
fn has_hung_up(socket: &Registration) -> bool {
    let mut poll = libc::pollfd {
        fd: socket.fd().as_raw_fd(),
        events: libc::POLLRDHUP,
        revents: 0,
    };
    // SAFETY: one valid pollfd, and no time.
    unsafe { libc::poll(&raw mut poll, 1, 0) == 1 }
}

/// Promises 11 and 1: the bytes before a hang-up come first, then the end, every time.
#[test]
fn bytes_before_a_hang_up_are_read() {
    let read = read_after(usize::MAX, |mut peer| {
        peer.write_all(b"last words").expect("a reader");
        None
    });
    assert_eq!(read, b"last words");
}

/// Promise 16: an urgent byte splits a read in two; what stands behind it is not stranded by the short one.
#[test]
fn urgent_data_strands_nothing() {
    let read = read_after(6, |mut peer| {
        peer.write_all(b"abc").expect("a reader");
        // SAFETY: one readable byte.
        unsafe { libc::send(peer.as_raw_fd(), b"!".as_ptr().cast(), 1, libc::MSG_OOB) };
        peer.write_all(b"def").expect("a reader");
        Some(peer)
    });
    assert_eq!(read, b"abcdef");
}

/// Promise 7: readers on several workers and plain threads share a socket; each byte goes to one of them, and all
/// readers get to the end.
#[test]
fn many_readers_share_every_byte() {
    let runtime = runtime(3);
    let (socket, mut peer) = connection();
    let got = Arc::new(AtomicUsize::new(0));
    let reader = || {
        let (socket, got) = (Arc::clone(&socket), Arc::clone(&got));
        move || {
            loop {
                match read(&socket, &mut [0; 4]).expect("data") {
                    0 => return,
                    len => got.fetch_add(len, Ordering::Relaxed),
                };
            }
        }
    };
    let coroutines: Vec<_> = (0..8).map(|_| runtime.spawn(reader())).collect();
    let threads: Vec<_> = (0..2).map(|_| thread::spawn(reader())).collect();
    for i in 1..=3_000 {
        peer.write_all(&[0]).expect("readers");
        if i % 3 == 0 {
            until("each byte was read once", || {
                got.load(Ordering::Relaxed) == i
            });
        }
    }
    drop(peer);
    for coroutine in coroutines {
        join("every coroutine saw the end", coroutine);
    }
    threads
        .into_iter()
        .for_each(|thread| thread.join().expect("a thread saw the end"));
}

/// Promise 7, the baton: one event for all, and each reader takes one byte; so each must call the next.
#[test]
fn one_event_serves_all_readers() {
    let runtime = runtime(2);
    let (socket, mut peer) = connection();
    let readers: Vec<_> = (0..20)
        .map(|_| {
            let socket = Arc::clone(&socket);
            runtime.spawn(move || read(&socket, &mut [0; 1]).expect("a byte"))
        })
        .collect();
    until_waiting(&socket, 20);
    peer.write_all(&[0; 20]).expect("readers");
    for reader in readers {
        assert_eq!(join("a reader was called", reader), 1);
    }
}

/// Architecture, law 7: a socket that keeps waking another worker than its poller's moves there, and guests come
/// along.
#[test]
fn a_socket_follows_its_reader() {
    let runtime = runtime(2);
    let (socket, mut peer) = connection();
    let got = Arc::new(AtomicUsize::new(0));
    let reader = runtime.run({
        let got = Arc::clone(&got);
        move || {
            let theirs = Arc::clone(&socket);
            let first = spawn_on(0, move || {
                let deadline = Some(Instant::now() + SHORT);
                assert!(socket.wait(Direction::Read, deadline).is_err());
                assert!(is_polled_here(&socket));
            });
            first.join().expect("no panic");
            spawn_on(1, move || {
                assert!(!is_polled_here(&theirs));
                while !is_polled_here(&theirs) {
                    assert_eq!(read(&theirs, &mut [0; 9]).expect("a byte"), 1);
                    got.fetch_add(1, Ordering::Relaxed);
                }
                theirs
            })
        }
    });
    // Some more than the 8 waits that it takes: a reader that was kept from its core finds its byte there, and does not wait.
    for i in 0..1_000 {
        until("the last byte was read", || {
            reader.is_finished() || got.load(Ordering::Relaxed) == i
        });
        if reader.is_finished() {
            break;
        }
        peer.write_all(&[0]).expect("a reader");
    }
    join("the socket has moved", reader);
}

/// A guest whose deadline comes first leaves the lobby by itself, behind a reader that has none; and when such guests
/// of another worker make the socket move there, the reader that waits comes along.
#[test]
fn a_move_takes_the_waiting_reader_along() {
    let runtime = runtime(2);
    let (socket, mut peer) = connection();
    let reader = runtime.run({
        let theirs = Arc::clone(&socket);
        move || spawn_on(0, move || read(&theirs, &mut [0; 9]).expect("a byte"))
    });
    until_waiting(&socket, 1);
    let moved = runtime.run(move || {
        let guest = move || {
            // More than the 8 waits that it takes: one whose deadline has passed already is none.
            (0..1_000).any(|_| {
                let deadline = Some(Instant::now() + SHORT / 10);
                let error = socket
                    .wait(Direction::Read, deadline)
                    .expect_err("nothing to read");
                assert_eq!(error.kind(), io::ErrorKind::TimedOut);
                is_polled_here(&socket)
            })
        };
        spawn_on(1, guest).join().expect("no panic")
    });
    assert!(moved, "the socket stayed where it was");
    assert!(!reader.is_finished());
    peer.write_all(&[0]).expect("a reader");
    assert_eq!(join("the reader that came along was woken", reader), 1);
}

/// A socket outlives the runtime that polled it, and its next.
#[test]
fn a_socket_outlives_its_runtimes() {
    let (socket, mut peer) = connection();
    for _ in 0..3 {
        let runtime = runtime(1);
        let theirs = Arc::clone(&socket);
        let reader = runtime.spawn(move || read(&theirs, &mut [0; 9]).expect("a byte"));
        until_waiting(&socket, 1);
        peer.write_all(&[0]).expect("a reader");
        assert_eq!(join("a byte was read", reader), 1);
    }
    peer.write_all(&[0]).expect("a reader");
    assert_eq!(read(&socket, &mut [0; 9]).expect("a byte"), 1);
}

/// Promise 55: a reader that waits when its runtime shuts down is unwound, and leaves the socket usable.
#[test]
fn shutdown_leaves_the_socket_usable() {
    let (socket, mut peer) = connection();
    let runtime = runtime(2);
    for _ in 0..5 {
        let theirs = Arc::clone(&socket);
        runtime.spawn(move || read(&theirs, &mut [0; 9]).expect("never"));
    }
    until_waiting(&socket, 5);
    runtime.shutdown(TOO_LONG).expect("all unwound");
    assert_eq!(Arc::strong_count(&socket), 1);
    let again = super::runtime(1);
    let theirs = Arc::clone(&socket);
    let reader = again.spawn(move || read(&theirs, &mut [0; 9]).expect("a byte"));
    until_waiting(&socket, 1);
    peer.write_all(&[0]).expect("a reader");
    assert_eq!(join("a byte was read", reader), 1);
}

/// Promise 10: `into_fd` gives a descriptor that no netpoller has.
#[test]
fn a_descriptor_leaves_deregistered() {
    runtime(1).run(|| {
        let (socket, _peer) = connection();
        assert!(
            socket
                .wait(Direction::Read, Some(Instant::now() + SHORT))
                .is_err()
        );
        assert!(is_polled_here(&socket));
        let fd = Arc::into_inner(socket).expect("the only one").into_fd();
        let number = fd.as_raw_fd();
        context::with_driver(|driver| assert!(!polls(driver.expect("a worker"), number)));
        yield_now();
    });
}

/// In non-blocking mode nobody waits, and data is found without an event.
#[test]
fn a_nonblocking_socket_never_waits() {
    let runtime = runtime(1);
    let (socket, mut peer) = connection();
    socket.set_nonblocking(true);
    let attempt = {
        let socket = Arc::clone(&socket);
        move || read(&socket, &mut [0; 9]).map_err(|error| error.kind())
    };
    assert_eq!(attempt(), Err(io::ErrorKind::WouldBlock));
    assert_eq!(runtime.run(attempt.clone()), Err(io::ErrorKind::WouldBlock));
    peer.write_all(&[0]).expect("a reader");
    until("the byte has arrived", || attempt().is_ok());
}

/// Promise 35. A wake-up that a turn on the owner's behalf has swallowed reaches the owner all the same; and a turn on behalf
/// of an owner that waits itself does nothing.
#[test]
fn a_turn_for_the_owner_leaves_its_wake_up() {
    let driver = Driver::new().expect("a netpoller");
    for _ in 0..100 {
        driver.wake();
        driver.turn_for_owner().expect("a turn");
        let owner = {
            let driver = Arc::clone(&driver);
            thread::spawn(move || driver.turn(None).expect("a turn"))
        };
        until("the owner to be woken", || owner.is_finished());
        assert_eq!(owner.join().expect("no panic"), 0);
    }
    let (ready, started) = mpsc::channel();
    let owner = {
        let driver = Arc::clone(&driver);
        thread::spawn(move || {
            let stat = std::fs::read_link("/proc/thread-self").expect("/proc is mounted");
            ready.send(stat).expect("the test waits");
            driver.turn(None).expect("a turn")
        })
    };
    let stat = std::path::Path::new("/proc")
        .join(started.recv().expect("it is sent"))
        .join("stat");
    until("the owner to wait", || {
        let stat = std::fs::read_to_string(&stat).expect("the owner lives");
        stat.rsplit_once(')')
            .is_some_and(|(_, rest)| rest.starts_with(" S"))
    });
    for _ in 0..100 {
        driver
            .turn_for_owner()
            .expect("it does not wait for the owner");
        thread::yield_now();
    }
    driver.wake();
    until("the owner to be woken", || owner.is_finished());
    owner.join().expect("no panic");
}
