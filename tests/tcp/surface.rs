//! The types behave as std's do: one text, compiled against std and against withy, must print the same.

use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::Duration;

use crate::support::sockets::{kind, pair};
use crate::support::{LIMIT, matrix, within};

/// A walk over the stable surface of `$net`'s TCP types; what it sees goes to a text without ports and descriptors.
macro_rules! walk {
    ($net:path) => {{
        use $net as net;
        let mut seen = String::new();
        let mut note = |what: &str, value: &dyn std::fmt::Debug| {
            writeln!(seen, "{what}: {value:?}").unwrap();
        };
        let listener = net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        let mut client = net::TcpStream::connect(addr).unwrap();
        let (mut server, peer) = listener.accept().unwrap();

        note(
            "peer is the client",
            &(peer == client.local_addr().unwrap()),
        );
        note(
            "client's peer is the listener",
            &(client.peer_addr().unwrap() == addr),
        );
        for (name, stream) in [("client", &client), ("server", &server)] {
            note(name, &without_numbers(&format!("{stream:?}")));
            note(name, &without_numbers(&format!("{stream:#?}")));
            note("nodelay", &stream.nodelay());
            stream.set_nodelay(true).unwrap();
            note("nodelay", &stream.nodelay().unwrap());
            note("ttl", &stream.ttl().unwrap());
            stream.set_ttl(77).unwrap();
            note("ttl", &stream.ttl().unwrap());
            note("ttl 0", &stream.set_ttl(0).map_err(|error| error.kind()));
            note(
                "ttl 256",
                &stream.set_ttl(256).map_err(|error| error.kind()),
            );
            note("error", &stream.take_error().unwrap().is_none());
            note(
                "timeouts",
                &(
                    stream.read_timeout().unwrap(),
                    stream.write_timeout().unwrap(),
                ),
            );
            for zero in [
                stream.set_read_timeout(Some(Duration::ZERO)),
                stream.set_write_timeout(Some(Duration::ZERO)),
            ] {
                note("zero timeout", &zero.map_err(|error| error.kind()));
            }
            let second = Some(Duration::from_secs(1));
            stream.set_read_timeout(second).unwrap();
            stream.set_write_timeout(second).unwrap();
            note(
                "timeouts",
                &(
                    stream.read_timeout().unwrap(),
                    stream.write_timeout().unwrap(),
                ),
            );
            stream.set_read_timeout(None).unwrap();
            stream.set_write_timeout(None).unwrap();
        }
        note("listener", &without_numbers(&format!("{listener:?}")));
        note(
            "incoming",
            &without_numbers(&format!("{:?}", listener.incoming())),
        );
        note("listener error", &listener.take_error().unwrap().is_none());
        listener.set_ttl(55).unwrap();
        note("listener ttl", &listener.ttl().unwrap());
        listener.set_nonblocking(true).unwrap();
        note(
            "accept",
            &listener.accept().map(drop).map_err(|error| error.kind()),
        );
        let next = listener.incoming().next();
        note(
            "incoming",
            &next.map(|next| next.map(drop).map_err(|error| error.kind())),
        );

        server.set_nonblocking(true).unwrap();
        note(
            "read",
            &server.read(&mut [0; 4]).map_err(|error| error.kind()),
        );
        note(
            "peek",
            &server.peek(&mut [0; 4]).map_err(|error| error.kind()),
        );
        note(
            "empty read",
            &server.read(&mut []).map_err(|error| error.kind()),
        );
        server.set_nonblocking(false).unwrap();
        server
            .set_read_timeout(Some(Duration::from_millis(10)))
            .unwrap();
        note(
            "timed read",
            &server.read(&mut [0; 4]).map_err(|error| error.kind()),
        );
        note(
            "timed peek",
            &server.peek(&mut [0; 4]).map_err(|error| error.kind()),
        );

        note("flush", &client.flush());
        client.write_all(b"0123456789").unwrap();
        let mut buf = [0; 4];
        server.set_read_timeout(None).unwrap();
        note("peek", &(server.peek(&mut buf).unwrap(), buf));
        note("short buffer", &(server.read(&mut buf).unwrap(), buf));
        server.read_exact(&mut buf).unwrap();
        note("rest", &buf);
        let clone = client.try_clone().unwrap();
        clone.shutdown(net::Shutdown::Write).unwrap();
        note("again", &clone.shutdown(net::Shutdown::Write));
        note("write", &client.write(b"x").map_err(|error| error.kind()));
        let mut rest = Vec::new();
        server.read_to_end(&mut rest).unwrap();
        note("to the end", &rest);
        drop((client, clone, server));
        seen
    }};
}

/// Ports and descriptors differ from run to run.
fn without_numbers(text: &str) -> String {
    let mut out = String::new();
    for part in text.split_inclusive(|c: char| !c.is_ascii_digit()) {
        let digits = part.trim_end_matches(|c: char| !c.is_ascii_digit());
        // Parts of 127.0.0.1 stay: they are shorter than a port, and a descriptor stands after "fd: ".
        let fd = out.ends_with("fd: ");
        out.push_str(if digits.len() > 3 || (fd && !digits.is_empty()) {
            "N"
        } else {
            digits
        });
        out.push_str(&part[digits.len()..]);
    }
    out
}

/// Promise 19, and 15.
#[test]
fn the_types_print_and_answer_as_stds_do() {
    let expected = walk!(std::net);
    assert!(expected.contains("TcpStream { addr: 127.0.0.1:N, peer: 127.0.0.1:N, fd: N }"));
    matrix(LIMIT, "a walk over the surface", move |case| {
        assert_eq!(case.run(|| walk!(withy::net)), expected);
    });
}

/// Promise 19.
#[test]
fn the_longest_timeout_is_as_good_as_none() {
    matrix(LIMIT, "calls with a timeout of Duration::MAX", |case| {
        let (mut ours, mut peer) = pair();
        ours.set_read_timeout(Some(Duration::MAX)).unwrap();
        ours.set_write_timeout(Some(Duration::MAX)).unwrap();
        let fd = std::os::fd::AsRawFd::as_raw_fd(&ours);
        let reader = case.spawn(move || {
            let mut byte = [0];
            ours.read_exact(&mut byte).unwrap();
            ours.write_all(&byte).unwrap();
        });
        reader.until_waiting(fd);
        peer.write_all(b"x").unwrap();
        peer.read_exact(&mut [0]).unwrap();
        reader.join();
    });
}

/// Promise 19.
#[test]
fn the_shortest_timeout_fires() {
    matrix(LIMIT, "reads with a timeout of 1 ns", |case| {
        let (mut ours, _peer) = pair();
        case.run(move || {
            ours.set_read_timeout(Some(Duration::from_nanos(1)))
                .unwrap();
            assert_eq!(ours.read_timeout().unwrap(), Some(Duration::from_nanos(1)));
            for _ in 0..10 {
                assert_eq!(kind(&ours.read(&mut [0])), Some(ErrorKind::WouldBlock));
            }
        });
    });
}

/// Promise 19. Modes belong to the socket, so all clones see them.
#[test]
fn clones_share_modes_and_timeouts() {
    within(LIMIT, "a mode set through a clone", || {
        let (ours, _peer) = pair();
        let mut clone = ours.try_clone().unwrap();
        ours.set_read_timeout(Some(Duration::from_millis(10)))
            .unwrap();
        assert_eq!(kind(&clone.read(&mut [0])), Some(ErrorKind::WouldBlock));
        ours.set_read_timeout(None).unwrap();
        ours.set_nonblocking(true).unwrap();
        assert_eq!(kind(&clone.read(&mut [0])), Some(ErrorKind::WouldBlock));
    });
}

/// Promise 19. What std's types may be sent to, shared with and caught in.
#[test]
fn the_types_have_the_auto_traits_of_stds() {
    fn has_them<T: Send + Sync + Unpin + UnwindSafe + RefUnwindSafe>() {}
    has_them::<std::net::TcpStream>();
    has_them::<std::net::TcpListener>();
    has_them::<withy::net::TcpStream>();
    has_them::<withy::net::TcpListener>();
    has_them::<withy::net::Incoming<'static>>();
}

/// Promise 19. Deprecated, but there.
#[test]
#[expect(deprecated, reason = "std has them still")]
fn only_v6_answers_as_stds_does() {
    within(LIMIT, "options of listeners", || {
        let ours = withy::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let stds = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(kind(&ours.only_v6()), kind(&stds.only_v6()));
        assert_eq!(kind(&ours.set_only_v6(true)), kind(&stds.set_only_v6(true)));
    });
}
