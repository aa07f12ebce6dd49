//! Descriptors: conversions to and from std, clones, close-on-exec.

mod support;

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::time::Duration;

use socket2::SockRef;
use support::sockets::pair;
use support::{Callers, Case, LIMIT, matrix, within};
use withy::net::{TcpListener, TcpStream};

fn is_open(fd: RawFd) -> bool {
    // SAFETY: F_GETFD reads a flag, of any number at all.
    unsafe { libc::fcntl(fd, libc::F_GETFD) != -1 }
}

fn is_close_on_exec(fd: impl AsFd) -> bool {
    // SAFETY: F_GETFD reads a flag of an open descriptor.
    unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), libc::F_GETFD) & libc::FD_CLOEXEC != 0 }
}

/// Promise 10.
#[test]
fn a_stream_from_std_and_back_works_in_between() {
    matrix(LIMIT, "a stream from std and back", |case| {
        let (ours, mut peer) = pair();
        let std_stream = std::net::TcpStream::from(ours);
        let mut ours = TcpStream::from(std_stream);
        let fd = ours.as_raw_fd();
        let echo = case.spawn(move || {
            let mut buf = [0; 4];
            ours.read_exact(&mut buf).unwrap();
            ours.write_all(&buf).unwrap();
            std::net::TcpStream::from(ours)
        });
        echo.until_waiting(fd);
        peer.write_all(b"ping").unwrap();
        let mut back = echo.join();
        let mut buf = [0; 4];
        peer.read_exact(&mut buf).unwrap();
        assert_eq!(&buf, b"ping");
        // In blocking mode again: this read has to wait for what is sent after it began, on a thread of its own.
        assert!(!SockRef::from(&back).nonblocking().unwrap());
        peer.write_all(b"pong").unwrap();
        back.read_exact(&mut buf).unwrap();
        assert_eq!(&buf, b"pong");
    });
}

/// Promise 10.
#[test]
fn a_listener_from_std_and_back_is_in_blocking_mode() {
    matrix(LIMIT, "a listener from std and back", |case| {
        let std_listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = std_listener.local_addr().unwrap();
        let listener = TcpListener::from(std_listener);
        let fd = listener.as_raw_fd();
        let acceptor = case.spawn(move || {
            let accepted = listener.accept().unwrap().1;
            (std::net::TcpListener::from(listener), accepted)
        });
        acceptor.until_waiting(fd);
        let peer = std::net::TcpStream::connect(addr).unwrap();
        let (back, accepted) = acceptor.join();
        assert_eq!(accepted, peer.local_addr().unwrap());
        assert!(!SockRef::from(&back).nonblocking().unwrap());
    });
}

/// Promise 10. The user's own non-blocking mode survives both ways.
#[test]
fn the_users_mode_survives_conversions() {
    within(LIMIT, "conversions in non-blocking mode", || {
        let std_listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        std_listener.set_nonblocking(true).unwrap();
        let listener = TcpListener::from(std_listener);
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
        let std_listener = std::net::TcpListener::from(listener);
        assert!(SockRef::from(&std_listener).nonblocking().unwrap());

        let (ours, _peer) = pair();
        ours.set_nonblocking(true).unwrap();
        let std_stream = std::net::TcpStream::from(ours);
        assert!(SockRef::from(&std_stream).nonblocking().unwrap());
        let mut ours = TcpStream::from(std_stream);
        assert_eq!(
            ours.read(&mut [0]).unwrap_err().kind(),
            ErrorKind::WouldBlock
        );
    });
}

/// Promise 10. Timeouts are the descriptor's in std, so they travel with it.
#[test]
fn timeouts_survive_conversions() {
    within(LIMIT, "conversions with timeouts", || {
        let (ours, _peer) = pair();
        ours.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
        ours.set_write_timeout(Some(Duration::from_nanos(1)))
            .unwrap();
        let std_stream = std::net::TcpStream::from(ours);
        assert_eq!(
            std_stream.read_timeout().unwrap(),
            Some(Duration::from_secs(3))
        );
        assert!(
            std_stream.write_timeout().unwrap().is_some(),
            "rounded up, not to none"
        );
        std_stream.set_write_timeout(None).unwrap();
        let ours = TcpStream::from(std_stream);
        assert_eq!(ours.read_timeout().unwrap(), Some(Duration::from_secs(3)));
        assert_eq!(ours.write_timeout().unwrap(), None);
    });
}

/// Promise 10.
#[test]
fn a_descriptor_given_away_while_clones_live_is_a_duplicate() {
    matrix(LIMIT, "into_raw_fd with a live clone", |case| {
        let (mut ours, mut peer) = pair();
        let clone = ours.try_clone().unwrap();
        assert_eq!(ours.as_raw_fd(), clone.as_raw_fd());
        let fd = ours.as_raw_fd();
        let reader = case.spawn(move || {
            let mut byte = [0];
            ours.read_exact(&mut byte).unwrap();
            byte[0]
        });
        reader.until_waiting(fd);
        let raw = clone.into_raw_fd();
        assert_ne!(raw, fd);
        // SAFETY: `into_raw_fd` has just given it to us.
        let mut duplicate = unsafe { std::net::TcpStream::from_raw_fd(raw) };
        assert!(is_close_on_exec(&duplicate));
        peer.write_all(b"x").unwrap();
        assert_eq!(reader.join(), b'x');
        duplicate.write_all(b"y").unwrap();
        let mut byte = [0];
        peer.read_exact(&mut byte).unwrap();
        assert_eq!(byte, *b"y");
    });
}

/// Promise 10. A clone that is left behind must not block its worker in accept, so the duplicate stays non-blocking.
#[test]
fn a_listener_given_away_while_clones_live_stays_non_blocking() {
    matrix(
        LIMIT,
        "an accept on a clone of a listener given away",
        |case| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let addr = listener.local_addr().unwrap();
            let clone = listener.try_clone().unwrap();
            let duplicate = std::net::TcpListener::from(listener);
            assert!(SockRef::from(&duplicate).nonblocking().unwrap());
            let fd = clone.as_raw_fd();
            let acceptor = case.spawn(move || clone.accept().unwrap().1);
            acceptor.until_waiting(fd);
            let peer = std::net::TcpStream::connect(addr).unwrap();
            assert_eq!(acceptor.join(), peer.local_addr().unwrap());
        },
    );
}

/// Promise 54, of descriptors.
#[test]
fn every_descriptor_is_close_on_exec() {
    within(LIMIT, "descriptors of all makings", || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        assert!(is_close_on_exec(&listener));
        assert!(is_close_on_exec(&client));
        assert!(is_close_on_exec(&server));
        let _clone = server.try_clone().unwrap();
        assert!(is_close_on_exec(OwnedFd::from(server)));
    });
}

/// Promise 10. The kernel sees one close, after the last clone.
#[test]
fn the_last_clone_closes_the_connection() {
    within(LIMIT, "the end of the stream after the last drop", || {
        let case = Case::new(1, false, Callers::Coroutines);
        let (ours, mut peer) = pair();
        let clone = ours.try_clone().unwrap();
        case.run(move || drop(ours));
        assert!(is_open(clone.as_raw_fd()));
        peer.set_nonblocking(true).unwrap();
        assert_eq!(
            peer.read(&mut [0]).unwrap_err().kind(),
            ErrorKind::WouldBlock
        );
        peer.set_nonblocking(false).unwrap();
        case.run(move || drop(clone));
        assert_eq!(peer.read(&mut [0]).unwrap(), 0);
    });
}

/// Promise 10. withy leaves `O_NONBLOCK` of a stream alone, so code that uses the raw descriptor finds it as in std.
#[test]
fn a_streams_descriptor_is_in_blocking_mode() {
    matrix(LIMIT, "streams of all makings", |case| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        case.run(move || {
            let client = TcpStream::connect(addr).unwrap();
            let timed = TcpStream::connect_timeout(&addr, Duration::from_secs(30)).unwrap();
            let (server, _) = listener.accept().unwrap();
            for stream in [&client, &timed, &server] {
                assert!(!SockRef::from(stream).nonblocking().unwrap());
            }
        });
    });
}
