//! `TcpSocket`: how it is bound, listens and connects, and what it is made of.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use withy::net::{Keepalive, TcpListener, TcpSocket, TcpStream};

use super::options::{KEEPALIVE, SEC, loopback, ss_row};
use crate::rig::tools;
use crate::support::addresses::{FullBacklog, assert_handshakes, closed_port};
use crate::support::sockets::kind;
use crate::support::{LIMIT, matrix};

/// Promise 20. A backlog is what was asked for, and at most the kernel's; `bind` asks for the most.
#[test]
fn the_backlog_is_what_was_asked_for() {
    if !tools::need("ss") {
        return;
    }
    let most = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
    for (asked, expected) in [(7, "7"), (u32::MAX, most.trim()), (0, "0")] {
        let socket = TcpSocket::v4().unwrap();
        socket.bind(loopback()).unwrap();
        let listener = socket.listen(asked).unwrap();
        // Of a listener, Send-Q is the backlog.
        assert_eq!(ss_row("-tln", listener.local_addr().unwrap())[2], expected);
    }
    let listener = TcpListener::bind(loopback()).unwrap();
    assert_eq!(
        ss_row("-tln", listener.local_addr().unwrap())[2],
        most.trim()
    );
}

/// Promise 12. A socket of one's own connects as a stream does: from the address that it was bound to, in blocking mode.
#[test]
fn a_socket_connects_from_where_it_was_bound() {
    matrix(LIMIT, "bound clients", |case| {
        let listener = TcpListener::bind(loopback()).unwrap();
        let addr = listener.local_addr().unwrap();
        case.run(move || {
            let socket = TcpSocket::v4().unwrap();
            socket.bind(SocketAddr::from(([127, 0, 0, 9], 0))).unwrap();
            let local = socket.local_addr().unwrap();
            let stream = socket.connect(addr).unwrap();
            assert_eq!(stream.local_addr().unwrap(), local);
            assert!(!socket2::SockRef::from(&stream).nonblocking().unwrap());
            let (server, peer) = listener.accept().unwrap();
            assert_eq!((peer, server.peer_addr().unwrap()), (local, local));
            let socket = TcpSocket::v4().unwrap();
            let timed = socket.connect_timeout(addr, Duration::MAX).unwrap();
            assert_eq!(timed.write_timeout().unwrap(), None);
        });
    });
}

/// A descriptor that was connected elsewhere, or listens, is not taken for a connection to this address.
#[test]
fn a_socket_that_is_in_use_does_not_connect() {
    matrix(LIMIT, "a socket that is in use", |case| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = other.local_addr().unwrap();
        let connected = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        for fd in [OwnedFd::from(connected), OwnedFd::from(listener)] {
            let outcome = case.run(move || TcpSocket::from(fd).connect(addr));
            assert_eq!(outcome.unwrap_err().raw_os_error(), Some(libc::EISCONN));
        }
    });
}

/// Promises 12, 24, 27 and 49. What does not connect says why, at once or in time, and closes the socket.
#[test]
fn a_socket_that_cannot_connect_says_why() {
    let (_owner, refuses) = closed_port();
    matrix(LIMIT, "sockets that do not connect", move |case| {
        let nobody = FullBacklog::new();
        let hole = nobody.addr;
        let before = nobody.handshakes();
        case.run(move || {
            let socket = || TcpSocket::v4().unwrap();
            let refused = socket().connect(refuses);
            assert_eq!(kind(&refused), Some(ErrorKind::ConnectionRefused));
            let zero = socket().connect_timeout(hole, Duration::ZERO);
            assert_eq!(kind(&zero), Some(ErrorKind::InvalidInput));
            let late = socket().connect_timeout(hole, Duration::from_millis(10));
            assert_eq!(kind(&late), Some(ErrorKind::TimedOut));
            let limit = Duration::from_millis(10);
            assert!(withy::timeout(limit, || socket().connect(hole).map(drop)).is_err());
            let past = withy::now();
            assert!(withy::deadline(past, || socket().connect(hole).map(drop)).is_err());
            assert_handshakes(hole, before);
            let six: SocketAddr = "[::1]:1".parse().unwrap();
            assert!(socket().connect(six).is_err(), "another family");
        });
    });
}

/// Sockets may be sent, shared, and kept over a panic, as std's.
#[test]
fn sockets_and_settings_go_anywhere() {
    use std::panic::{RefUnwindSafe, UnwindSafe};
    fn goes_anywhere<T: Send + Sync + Unpin + UnwindSafe + RefUnwindSafe + 'static>() {}
    goes_anywhere::<TcpSocket>();
    goes_anywhere::<Keepalive>();
}

/// A socket that was made elsewhere, with an option that withy does not know, is taken over; and given away.
#[test]
fn a_descriptor_becomes_a_socket_and_back() {
    let made = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    made.set_priority(3).unwrap();
    let number = made.as_raw_fd();
    let socket = TcpSocket::from(OwnedFd::from(made));
    assert_eq!(socket.as_raw_fd(), number);
    assert_eq!(
        format!("{socket:?}"),
        format!("TcpSocket {{ addr: 0.0.0.0:0, fd: {number} }}")
    );
    let back = socket2::Socket::from(OwnedFd::from(socket));
    assert_eq!((back.as_raw_fd(), back.priority().unwrap()), (number, 3));
    // What is no socket is no undefined behaviour, but an error.
    let (reader, _writer) = std::io::pipe().unwrap();
    let pipe = TcpSocket::from(OwnedFd::from(reader));
    assert!(pipe.set_keepalive(Some(KEEPALIVE)).is_err());
    assert!(pipe.defer_accept().is_err());
    assert!(pipe.listen(1).is_err());
}

/// Promise 17. Sockets that allow it share a port, and each gets some of the connections; one that does not is refused.
#[test]
fn listeners_share_a_port_if_all_say_so() {
    matrix(LIMIT, "a shared port", |case| {
        let listen = |port: u16, shares: bool| {
            let socket = TcpSocket::v4().unwrap();
            socket.set_reuse_port(shares).unwrap();
            socket.bind(SocketAddr::from(([127, 0, 0, 1], port)))?;
            socket.listen(128)
        };
        let one = listen(0, true).unwrap();
        let addr = one.local_addr().unwrap();
        assert_eq!(
            kind(&listen(addr.port(), false)),
            Some(ErrorKind::AddrInUse)
        );
        let other = listen(addr.port(), true).unwrap();
        let clients: Vec<_> = (0..64)
            .map(|_| std::net::TcpStream::connect(addr).unwrap())
            .collect();
        let accepted = case.run(move || {
            [one, other].map(|listener| {
                listener.set_nonblocking(true).unwrap();
                std::iter::from_fn(|| listener.accept().ok()).count()
            })
        });
        assert_eq!(accepted.iter().sum::<usize>(), clients.len());
        assert!(accepted.iter().all(|&count| count > 0), "{accepted:?}");
    });
}

/// Promise 17. An IPv6 socket that is only that leaves the port to an IPv4 one.
#[test]
fn a_port_can_have_a_listener_of_each_family() {
    if TcpSocket::v6().is_err() {
        eprintln!("this machine has no IPv6: nothing tested");
        return;
    }
    let listeners = || {
        let six = TcpSocket::v6()?;
        six.set_only_v6(true)?;
        six.bind("[::]:0".parse().unwrap())?;
        let six = six.listen(1)?;
        let port = six.local_addr()?.port();
        let four = TcpSocket::v4()?;
        four.bind(SocketAddr::from(([0, 0, 0, 0], port)))?;
        std::io::Result::Ok((six, four.listen(1)?, port))
    };
    // Another test may have the port, which the system chose for IPv6 only.
    let (_six, four, port) = std::iter::repeat_with(listeners)
        .take(100)
        .find_map(Result::ok)
        .expect("one of a hundred ports is free for both");
    let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    assert_eq!(four.accept().unwrap().1, client.local_addr().unwrap());
}

/// A connection that says nothing stays in the kernel; with its first byte it is accepted.
#[test]
fn a_silent_connection_is_not_accepted() {
    matrix(LIMIT, "deferred connections", |case| {
        let socket = TcpSocket::v4().unwrap();
        socket.set_defer_accept(Some(30 * SEC)).unwrap();
        socket.bind(loopback()).unwrap();
        let listener = socket.listen(16).unwrap();
        let addr = listener.local_addr().unwrap();
        let _silent = std::net::TcpStream::connect(addr).unwrap();
        let mut talks = std::net::TcpStream::connect(addr).unwrap();
        listener.set_nonblocking(true).unwrap();
        assert_eq!(kind(&listener.accept()), Some(ErrorKind::WouldBlock));
        listener.set_nonblocking(false).unwrap();
        talks.write_all(b"x").unwrap();
        let local = talks.local_addr().unwrap();
        case.run(move || {
            let (mut stream, peer) = listener.accept().unwrap();
            assert_eq!(peer, local);
            stream.read_exact(&mut [0]).unwrap();
        });
    });
}
