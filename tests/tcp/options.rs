//! Options of TCP sockets: what is set is what the kernel has, what is accepted inherits it, and what is out of range is refused.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::process::Command;
use std::time::Duration;

use withy::net::{Keepalive, TcpSocket, TcpStream};

use crate::rig::{tools, until};
use crate::support::addresses::mute;
use crate::support::sockets::{kind, narrow_pair, pair};
use crate::support::{Callers, Case, LIMIT, matrix, within};

pub(super) const SEC: Duration = Duration::from_secs(1);

pub(super) const KEEPALIVE: Keepalive = Keepalive {
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

pub(super) fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// The row of ss(8) for a connection or listener, by its local address.
pub(super) fn ss_row(options: &str, local: SocketAddr) -> Vec<String> {
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
