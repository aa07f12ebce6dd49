//! Options of TCP sockets: what is set is what the kernel has, what is accepted inherits it, and what is out of range is refused.

mod rig;
mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::Command;
use std::time::Duration;

use rig::{tools, until};
use support::addresses::{FullBacklog, assert_handshakes, closed_port, mute};
use support::sockets::{kind, narrow_pair, pair};
use support::{Callers, Case, LIMIT, matrix, within};
use withy::net::{Keepalive, TcpListener, TcpSocket, TcpStream};

const SEC: Duration = Duration::from_secs(1);

const KEEPALIVE: Keepalive = Keepalive {
    idle: Duration::from_secs(40),
    interval: Duration::from_secs(11),
    count: 5,
};

/// What the kernel says, asked without withy and socket2.
fn kernels(socket: &impl AsFd, level: i32, name: i32) -> i32 {
    let mut value: libc::c_int = 0;
    let mut size = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: there is room for the int that is asked for, and the size says so.
    let status = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            name,
            (&raw mut value).cast(),
            &raw mut size,
        )
    };
    assert_eq!(status, 0, "{}", std::io::Error::last_os_error());
    value
}

fn tcp(socket: &impl AsFd, name: i32) -> i32 {
    kernels(socket, libc::IPPROTO_TCP, name)
}

fn general(socket: &impl AsFd, name: i32) -> i32 {
    kernels(socket, libc::SOL_SOCKET, name)
}

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// The row of ss(8) for a connection or listener, by its local address.
fn ss_row(options: &str, local: SocketAddr) -> Vec<String> {
    let output = Command::new("ss").arg(options).output().expect("ss runs");
    let text = String::from_utf8(output.stdout).expect("ss prints text");
    let local = local.to_string();
    let lines: Vec<&str> = text.lines().collect();
    let at = lines
        .iter()
        .position(|line| line.split_ascii_whitespace().nth(3) == Some(local.as_str()))
        .unwrap_or_else(|| panic!("ss {options} has no row for {local}:\n{text}"));
    // With -i there is a second line for each.
    let more = lines.get(at + 1).filter(|line| line.starts_with('\t'));
    let words = [Some(&lines[at]), more].into_iter().flatten();
    words
        .flat_map(|line| line.split_ascii_whitespace())
        .map(str::to_owned)
        .collect()
}

/// Promise 19. Each option of a new socket, set and read back, by the kernel's own word.
#[test]
fn what_is_set_is_what_the_kernel_has() {
    let socket = TcpSocket::v4().unwrap();
    for on in [true, false] {
        let expected = i32::from(on);
        socket.set_reuse_addr(on).unwrap();
        assert_eq!(general(&socket, libc::SO_REUSEADDR), expected);
        assert_eq!(socket.reuse_addr().unwrap(), on);
        socket.set_reuse_port(on).unwrap();
        assert_eq!(general(&socket, libc::SO_REUSEPORT), expected);
        assert_eq!(socket.reuse_port().unwrap(), on);
        socket.set_nodelay(on).unwrap();
        assert_eq!(tcp(&socket, libc::TCP_NODELAY), expected);
        assert_eq!(socket.nodelay().unwrap(), on);
        socket.set_quickack(on).unwrap();
        assert_eq!(tcp(&socket, libc::TCP_QUICKACK), expected);
        assert_eq!(socket.quickack().unwrap(), on);
    }
    socket.set_keepalive(Some(KEEPALIVE)).unwrap();
    assert_eq!(general(&socket, libc::SO_KEEPALIVE), 1);
    assert_eq!(tcp(&socket, libc::TCP_KEEPIDLE), 40);
    assert_eq!(tcp(&socket, libc::TCP_KEEPINTVL), 11);
    assert_eq!(tcp(&socket, libc::TCP_KEEPCNT), 5);
    assert_eq!(socket.keepalive().unwrap(), Some(KEEPALIVE));
    socket.set_keepalive(None).unwrap();
    assert_eq!(general(&socket, libc::SO_KEEPALIVE), 0);
    assert_eq!(socket.keepalive().unwrap(), None);

    socket.set_user_timeout(Some(20 * SEC)).unwrap();
    assert_eq!(tcp(&socket, libc::TCP_USER_TIMEOUT), 20_000);
    socket.set_user_timeout(None).unwrap();
    assert_eq!(tcp(&socket, libc::TCP_USER_TIMEOUT), 0);
    socket.set_defer_accept(Some(3 * SEC)).unwrap();
    assert_eq!(tcp(&socket, libc::TCP_DEFER_ACCEPT), 3);
    assert_eq!(socket.defer_accept().unwrap(), Some(3 * SEC));
    socket.set_defer_accept(None).unwrap();
    assert_eq!(tcp(&socket, libc::TCP_DEFER_ACCEPT), 0);

    socket.set_recv_buffer_size(20_000).unwrap();
    assert_eq!(general(&socket, libc::SO_RCVBUF), 40_000);
    assert_eq!(socket.recv_buffer_size().unwrap(), 40_000);
    socket.set_send_buffer_size(30_000).unwrap();
    assert_eq!(general(&socket, libc::SO_SNDBUF), 60_000);
    assert_eq!(socket.send_buffer_size().unwrap(), 60_000);
    socket.set_ttl(33).unwrap();
    assert_eq!(kernels(&socket, libc::IPPROTO_IP, libc::IP_TTL), 33);
    assert_eq!(socket.ttl().unwrap(), 33);
    socket.set_linger(Some(7 * SEC)).unwrap();
    let linger = socket2::SockRef::from(&socket).linger().unwrap();
    assert_eq!((linger, socket.linger().unwrap()), (Some(7 * SEC), linger));
    socket.set_linger(None).unwrap();

    if let Ok(six) = TcpSocket::v6() {
        for on in [true, false] {
            six.set_only_v6(on).unwrap();
            assert_eq!(
                kernels(&six, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY),
                i32::from(on)
            );
            assert_eq!(six.only_v6().unwrap(), on);
        }
    }
}

/// Promise 19. What was set before is there afterwards: on the connection, on the listener, and on what that accepts.
#[test]
fn options_outlive_connect_listen_and_accept() {
    matrix(LIMIT, "sockets with options", |case| {
        case.run(|| {
            let configure = |socket: &TcpSocket| {
                socket.set_keepalive(Some(KEEPALIVE)).unwrap();
                socket.set_user_timeout(Some(9 * SEC)).unwrap();
                socket.set_send_buffer_size(30_000).unwrap();
                socket.set_recv_buffer_size(20_000).unwrap();
                socket.set_nodelay(true).unwrap();
            };
            let check = |stream: &TcpStream| {
                assert_eq!(stream.keepalive().unwrap(), Some(KEEPALIVE));
                assert_eq!(stream.user_timeout().unwrap(), Some(9 * SEC));
                assert_eq!(stream.send_buffer_size().unwrap(), 60_000);
                assert_eq!(stream.recv_buffer_size().unwrap(), 40_000);
                assert!(stream.nodelay().unwrap());
            };
            let server = TcpSocket::v4().unwrap();
            configure(&server);
            server.bind(loopback()).unwrap();
            let addr = server.local_addr().unwrap();
            let listener = server.listen(16).unwrap();
            assert_eq!(listener.keepalive().unwrap(), Some(KEEPALIVE));
            assert_eq!(listener.local_addr().unwrap(), addr);
            let client = TcpSocket::for_addr(addr).unwrap();
            configure(&client);
            let client = client.connect(addr).unwrap();
            check(&client);
            let (accepted, _) = listener.accept().unwrap();
            check(&accepted);
            // A stream's own setters.
            accepted.set_keepalive(None).unwrap();
            accepted.set_user_timeout(None).unwrap();
            assert_eq!(general(&accepted, libc::SO_KEEPALIVE), 0);
            assert_eq!(tcp(&accepted, libc::TCP_USER_TIMEOUT), 0);
        });
    });
}

/// Promise 19. Numbers that the kernel would refuse, or turn into others, are `InvalidInput` and change nothing; times are never shortened.
#[test]
fn odd_values_of_keepalive_are_refused_or_rounded_up() {
    let socket = TcpSocket::v4().unwrap();
    socket.set_keepalive(Some(KEEPALIVE)).unwrap();
    let odd = [
        Keepalive {
            idle: Duration::ZERO,
            ..KEEPALIVE
        },
        Keepalive {
            idle: 32_768 * SEC,
            ..KEEPALIVE
        },
        Keepalive {
            idle: Duration::MAX,
            ..KEEPALIVE
        },
        Keepalive {
            interval: Duration::ZERO,
            ..KEEPALIVE
        },
        Keepalive {
            interval: 32_768 * SEC,
            ..KEEPALIVE
        },
        Keepalive {
            count: 0,
            ..KEEPALIVE
        },
        Keepalive {
            count: 128,
            ..KEEPALIVE
        },
        Keepalive {
            count: u32::MAX,
            ..KEEPALIVE
        },
    ];
    for odd in odd {
        let refused = socket.set_keepalive(Some(odd));
        assert_eq!(kind(&refused), Some(ErrorKind::InvalidInput), "{odd:?}");
        assert_eq!(socket.keepalive().unwrap(), Some(KEEPALIVE));
    }
    let most = Keepalive {
        idle: 32_767 * SEC,
        interval: 32_767 * SEC,
        count: 127,
    };
    socket.set_keepalive(Some(most)).unwrap();
    assert_eq!(socket.keepalive().unwrap(), Some(most));
    let ns = Duration::from_nanos(1);
    let least = Keepalive {
        idle: ns,
        interval: SEC + ns,
        count: 1,
    };
    socket.set_keepalive(Some(least)).unwrap();
    let rounded = Keepalive {
        idle: SEC,
        interval: 2 * SEC,
        count: 1,
    };
    assert_eq!(socket.keepalive().unwrap(), Some(rounded));
}

/// Promise 19. The same of other times.
#[test]
fn odd_values_of_times_are_refused_or_rounded_up() {
    let socket = TcpSocket::v4().unwrap();
    let ns = Duration::from_nanos(1);
    for odd in [Duration::ZERO, 25 * 86_400 * SEC, Duration::MAX] {
        let refused = socket.set_user_timeout(Some(odd));
        assert_eq!(kind(&refused), Some(ErrorKind::InvalidInput), "{odd:?}");
    }
    socket.set_user_timeout(Some(ns)).unwrap();
    assert_eq!(
        socket.user_timeout().unwrap(),
        Some(Duration::from_millis(1))
    );
    let refused = socket.set_defer_accept(Some(Duration::ZERO));
    assert_eq!(kind(&refused), Some(ErrorKind::InvalidInput));
    socket.set_defer_accept(Some(ns)).unwrap();
    assert_eq!(socket.defer_accept().unwrap(), Some(SEC));
    socket.set_defer_accept(Some(Duration::MAX)).unwrap();
    assert!(socket.defer_accept().unwrap() > Some(60 * SEC));
}

/// Promise 19. A size beyond the kernel's limit is that limit.
#[test]
fn odd_values_of_sizes_are_lowered() {
    let socket = TcpSocket::v4().unwrap();
    let sysctl = |name: &str| -> usize {
        let text = std::fs::read_to_string(format!("/proc/sys/net/core/{name}")).unwrap();
        text.trim().parse().unwrap()
    };
    // The second one's lower half is zero, and that is all that an int of the kernel's would keep of it.
    for huge in [usize::MAX, 1 << 32] {
        socket.set_recv_buffer_size(huge).unwrap();
        assert_eq!(socket.recv_buffer_size().unwrap(), 2 * sysctl("rmem_max"));
        socket.set_send_buffer_size(huge).unwrap();
        assert_eq!(socket.send_buffer_size().unwrap(), 2 * sysctl("wmem_max"));
    }
}

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

/// Both queues count what ss(8) counts.
#[test]
fn queues_hold_what_ss_says() {
    let in_ss = tools::need("ss");
    matrix(LIMIT, "queues", |case| {
        let (ours, mut peer) = narrow_pair();
        let local = ours.local_addr().unwrap();
        peer.write_all(&[7; 1000]).unwrap();
        until(|| ours.recv_queue().unwrap() == 1000);
        let (ours, written) = case.run(move || {
            ours.set_nonblocking(true).unwrap();
            let mut written = 0;
            while let Ok(count) = (&ours).write(&[0; 4096]) {
                written += count;
            }
            (ours, written)
        });
        assert!(ours.send_queue().unwrap() > 0);
        if in_ss {
            // An acknowledgement may come between two looks.
            until(|| {
                let queued = ours.send_queue().unwrap().to_string();
                ss_row("-tn", local)[1..3] == ["1000".to_owned(), queued]
            });
        }
        let mut ours = case.run(move || {
            (&ours).read_exact(&mut [0; 400]).unwrap();
            ours
        });
        assert_eq!(ours.recv_queue().unwrap(), 600);
        // The peer drains: nothing is left to be acknowledged.
        std::thread::scope(|s| {
            s.spawn(|| {
                let mut rest = vec![0; written];
                peer.read_exact(&mut rest).unwrap();
                until(|| ours.send_queue().unwrap() == 0);
            });
        });
        // The end of the stream is no byte.
        drop(peer);
        let _ = ours.read(&mut [0; 600]);
        until(|| ours.recv_queue().is_ok_and(|bytes| bytes == 0));
    });
}

/// The kernel's timer for it runs: ss(8) shows it.
#[test]
fn a_keepalive_timer_runs() {
    if !tools::need("ss") {
        return;
    }
    let (ours, _peer) = pair();
    ours.set_keepalive(Some(KEEPALIVE)).unwrap();
    let row = ss_row("-tno", ours.local_addr().unwrap()).join(" ");
    assert!(row.contains("timer:(keepalive,"), "{row}");
}

/// A half-open connection is found by keepalive probes: the read that waits fails with `TimedOut`.
#[test]
fn keepalive_finds_a_peer_that_is_gone() {
    // Two seconds each, so not in the whole matrix.
    for callers in [Callers::Coroutines, Callers::Threads] {
        within(LIMIT, "probes without an answer", || {
            let case = Case::new(1, false, callers);
            let (mut ours, peer) = pair();
            let keepalive = Keepalive {
                idle: SEC,
                interval: SEC,
                count: 1,
            };
            ours.set_keepalive(Some(keepalive)).unwrap();
            mute(&peer);
            let outcome = case.run(move || ours.read(&mut [0]));
            assert_eq!(kind(&outcome), Some(ErrorKind::TimedOut));
        });
    }
}

/// Bytes that nobody acknowledges end the connection when the user timeout is over, for a read that waits as well.
#[test]
fn a_user_timeout_ends_a_connection_that_is_not_acknowledged() {
    matrix(LIMIT, "bytes without an acknowledgement", |case| {
        let (mut ours, peer) = pair();
        ours.set_user_timeout(Some(Duration::from_millis(300)))
            .unwrap();
        mute(&peer);
        let outcome = case.run(move || {
            ours.write_all(b"lost").unwrap();
            ours.read(&mut [0])
        });
        assert_eq!(kind(&outcome), Some(ErrorKind::TimedOut));
    });
}
