//! Making connections: each address of a name, the right error, limits on time.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use withy::net::{TcpListener, TcpStream};

use crate::support::addresses::{FullBacklog, closed_port};
use crate::support::sockets::kind;
use crate::support::{Callers, Case, LIMIT, matrix, within};

/// Promise 12.
#[test]
fn a_connection_carries_bytes_both_ways() {
    matrix(LIMIT, "a connection of our own making", |case| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let client = case.spawn(move || {
            let mut stream = TcpStream::connect(addr).unwrap();
            assert_eq!(stream.peer_addr().unwrap(), addr);
            stream.write_all(b"ping").unwrap();
            let mut buf = [0; 4];
            stream.read_exact(&mut buf).unwrap();
            buf
        });
        let (mut server, _) = listener.accept().unwrap();
        let mut buf = [0; 4];
        server.read_exact(&mut buf).unwrap();
        server.write_all(b"pong").unwrap();
        assert_eq!((&buf, &client.join()), (b"ping", b"pong"));
    });
}

/// Promise 12. The error comes once, from the connect.
#[test]
fn a_refused_connection_says_so() {
    let (_owner, addr) = closed_port();
    matrix(LIMIT, "a refused connection", move |case| {
        case.run(move || {
            assert_eq!(
                kind(&TcpStream::connect(addr)),
                Some(ErrorKind::ConnectionRefused)
            );
            let timed = TcpStream::connect_timeout(&addr, Duration::from_secs(30));
            assert_eq!(kind(&timed), Some(ErrorKind::ConnectionRefused));
        });
    });
}

/// Promise 12.
#[test]
fn each_address_is_tried_in_order() {
    let (_owner, closed) = closed_port();
    matrix(LIMIT, "a connection to the second address", move |case| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let stream = case.run(move || TcpStream::connect(&[closed, addr][..]).unwrap());
        assert_eq!(stream.peer_addr().unwrap(), addr);
    });
}

/// Promise 12.
#[test]
fn the_last_addresss_error_is_reported() {
    let (_owner, closed) = closed_port();
    matrix(LIMIT, "errors of several addresses", move |case| {
        case.run(move || {
            // Port 0 of the broadcast address fails in another way than a closed port does.
            let odd = SocketAddr::from(([255, 255, 255, 255], 1));
            let alone = kind(&TcpStream::connect(odd));
            assert_ne!(alone, Some(ErrorKind::ConnectionRefused));
            assert_eq!(kind(&TcpStream::connect(&[closed, odd][..])), alone);
            let last = TcpStream::connect(&[odd, closed][..]);
            assert_eq!(kind(&last), Some(ErrorKind::ConnectionRefused));
            let none = TcpStream::connect(&[][..]);
            assert_eq!(kind(&none), Some(ErrorKind::InvalidInput));
        });
    });
}

/// Promise 12. Whatever this machine's routes say, we say what std says. No packet leaves the machine.
#[test]
fn unreachable_addresses_fail_as_with_std() {
    let limit = Duration::from_secs(5);
    let addrs = ["255.255.255.255:1", "127.0.0.1:0", "[ff02::1]:1"];
    let expected = addrs.map(|addr| {
        kind(&std::net::TcpStream::connect_timeout(
            &addr.parse().unwrap(),
            limit,
        ))
    });
    matrix(LIMIT, "connections to nowhere", move |case| {
        let got = case.run(move || {
            addrs.map(|addr| kind(&TcpStream::connect_timeout(&addr.parse().unwrap(), limit)))
        });
        assert_eq!(got, expected);
    });
}

/// Promise 12, and 22: not early.
#[test]
fn a_connection_that_nobody_answers_times_out() {
    let nobody = FullBacklog::new();
    let addr = nobody.addr;
    matrix(LIMIT, "a connection with a time limit", move |case| {
        case.run(move || {
            let limit = Duration::from_millis(50);
            let start = Instant::now();
            let result = TcpStream::connect_timeout(&addr, limit);
            assert_eq!(kind(&result), Some(ErrorKind::TimedOut), "{result:?}");
            assert_eq!(result.unwrap_err().to_string(), "connection timed out");
            assert!(start.elapsed() >= limit, "early: {:?}", start.elapsed());
        });
    });
}

/// Promise 12. The kernel sends the SYN again after a second; then there is room.
#[test]
fn a_connection_waits_for_its_answer() {
    within(LIMIT, "a connection that is answered late", || {
        let case = Case::new(1, false, Callers::Coroutines);
        let late = FullBacklog::new();
        let addr = late.addr;
        let client = case.spawn(move || {
            let mut stream = TcpStream::connect(addr).unwrap();
            // A kernel that has answered by a SYN cookie, and dropped the ACK since there was no room, knows nothing of the
            // connection until it gets data.
            stream.write_all(b"x").unwrap();
            stream
        });
        // The worker is free meanwhile.
        assert_eq!(case.run(|| 42), 42);
        let mut accepted = Vec::new();
        let local = loop {
            let (stream, peer) = late.listener.accept().unwrap();
            accepted.push(stream);
            let peer = peer.as_socket().unwrap();
            let fillers: Vec<_> = late
                .fillers
                .iter()
                .map(|filler| filler.local_addr().unwrap().as_socket().unwrap())
                .collect();
            if !fillers.contains(&peer) {
                break peer;
            }
        };
        assert_eq!(client.join().local_addr().unwrap(), local);
    });
}

/// Promise 19.
#[test]
fn a_limit_of_zero_is_invalid_and_a_huge_one_is_none() {
    matrix(LIMIT, "odd time limits", |case| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        case.run(move || {
            let zero = TcpStream::connect_timeout(&addr, Duration::ZERO);
            assert_eq!(kind(&zero), Some(ErrorKind::InvalidInput));
            TcpStream::connect_timeout(&addr, Duration::MAX).unwrap();
            // The limit was the connect's, and is not the stream's.
            let timed = TcpStream::connect_timeout(&addr, Duration::from_secs(30)).unwrap();
            assert_eq!(timed.write_timeout().unwrap(), None);
        });
    });
}

/// Promise 12. All the shapes in which a name comes are looked up, and meanwhile a single worker stays free.
#[test]
#[allow(
    clippy::needless_borrows_for_generic_args,
    reason = "each form that std takes is tried"
)]
fn names_are_looked_up() {
    matrix(LIMIT, "names of this host", |case| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        case.run(move || {
            let joined = format!("localhost:{port}");
            let pair = (String::from("localhost"), port);
            TcpStream::connect(&*joined).unwrap();
            TcpStream::connect(&joined).unwrap();
            TcpStream::connect(("localhost", port)).unwrap();
            TcpStream::connect(&("localhost", port)).unwrap();
            TcpStream::connect(pair.clone()).unwrap();
            TcpStream::connect(&pair).unwrap();
            TcpStream::connect(joined).unwrap();
            TcpListener::bind("localhost:0").unwrap();
        });
    });
}

/// Promise 12. As std's: what cannot be parsed or resolved.
#[test]
fn bad_names_fail_as_with_std() {
    matrix(LIMIT, "bad names", |case| {
        case.run(|| {
            for text in ["no port", "localhost:notaport", "localhost:99999", ":", ""] {
                let (ours, stds) = (TcpStream::connect(text), std::net::TcpStream::connect(text));
                assert_eq!(kind(&ours), kind(&stds), "{text}");
                assert_eq!(ours.unwrap_err().to_string(), stds.unwrap_err().to_string());
            }
        });
    });
}

/// Promise 12. Code that is generic over std's trait, and a type of one's own, connect as they do with std.
#[test]
fn types_that_implement_stds_trait_are_accepted() {
    struct Service(Vec<SocketAddr>);
    impl ToSocketAddrs for Service {
        type Iter = std::vec::IntoIter<SocketAddr>;
        fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
            Ok(self.0.clone().into_iter())
        }
    }
    fn generic(addr: impl ToSocketAddrs) -> io::Result<TcpStream> {
        TcpStream::connect(addr)
    }
    matrix(LIMIT, "generic connects", |case| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        case.run(move || {
            generic(addr).unwrap();
            generic(addr.to_string()).unwrap();
            generic(Service(vec![addr])).unwrap();
        });
    });
}

/// Promise 12.
#[test]
fn ipv6_connects_and_listens() {
    matrix(LIMIT, "a connection over IPv6", |case| {
        let Ok(listener) = TcpListener::bind("[::1]:0") else {
            eprintln!("this machine has no IPv6: nothing tested");
            return;
        };
        let addr = listener.local_addr().unwrap();
        let fd = listener.as_raw_fd();
        let acceptor = case.spawn(move || listener.accept().unwrap().1);
        acceptor.until_waiting(fd);
        let stream = case.run(move || TcpStream::connect(addr).unwrap());
        assert_eq!(acceptor.join(), stream.local_addr().unwrap());
        assert!(stream.local_addr().unwrap().is_ipv6());
    });
}
