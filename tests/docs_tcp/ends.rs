//! How connections end, and what is left of them: TIME_WAIT, RST, half-close.

use std::cell::Cell;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::AsRawFd;
use std::time::Duration;

use withy::net::{TcpListener, TcpSocket, TcpStream};

use crate::rig::network::{in_own_network, row, set_sysctl, time_waits};
use crate::rig::process::descriptors;
use crate::rig::until;
use crate::support::addresses::closed_port;
use crate::support::sockets::{kind, narrow_pair, pair};
use crate::support::{LIMIT, within};
use crate::{ANSWER, CLOSE_WAIT, TIME_WAIT, ends_of, listening, state, write_what_fits};

/// What is left of the time that this host's end stays in its state.
fn time_left(local: SocketAddr, peer: SocketAddr) -> Option<Duration> {
    // `timer:when`, of which the latter is in hundredths of a second.
    let row = row(local, peer)?;
    let when = row[5].split_once(':')?.1;
    let hundredths = u64::from_str_radix(when, 16).ok()?;
    Some(Duration::from_millis(10 * hundredths))
}

fn has_hung_up(stream: &TcpStream) -> bool {
    let mut poll = libc::pollfd {
        fd: stream.as_raw_fd(),
        events: 0,
        revents: 0,
    };
    // SAFETY: one writable pollfd.
    unsafe { libc::poll(&raw mut poll, 1, 0) == 1 && poll.revents & libc::POLLHUP != 0 }
}

/// TIME_WAIT.
#[test]
fn whoever_closes_first_keeps_time_wait() {
    within(LIMIT, "the end of a connection", || {
        for server_first in [true, false] {
            let (server, mut client) = pair();
            let (at_server, at_client) = ends_of(&server);
            if server_first {
                drop(server);
                assert_eq!(client.read(&mut [0]).unwrap(), 0);
                drop(client);
            } else {
                drop(client);
                assert_eq!((&server).read(&mut [0]).unwrap(), 0);
                drop(server);
            }
            let (first, other) = match server_first {
                true => (at_server, at_client),
                false => (at_client, at_server),
            };
            until(|| state(first, other).as_deref() == Some(TIME_WAIT));
            until(|| state(other, first).is_none());
            // The kernel's table is read in pieces, so that a row may be missing once while others change it.
            let left = Cell::new(None);
            until(|| {
                left.set(time_left(first, other));
                left.get().is_some()
            });
            let left = left.get().expect("it lasts longer than the test");
            assert!(left <= Duration::from_secs(60), "{left:?}");
            assert!(left > Duration::from_secs(60) - LIMIT / 2, "{left:?}");
        }
    });
}

/// TIME_WAIT. Promise 17.
#[test]
fn a_port_with_old_connections_needs_reuse_addr() {
    within(LIMIT, "a server that starts again", || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let mut client = std::net::TcpStream::connect(addr).unwrap();
        let (server, peer) = listener.accept().unwrap();
        drop((server, listener));
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        drop(client);
        until(|| state(addr, peer).as_deref() == Some(TIME_WAIT));
        let plain = TcpSocket::v4().unwrap();
        assert_eq!(kind(&plain.bind(addr)), Some(ErrorKind::AddrInUse));
        let _listener = TcpListener::bind(addr).unwrap();
        // A port at which somebody listens is taken all the same.
        let second = TcpListener::bind(addr);
        assert_eq!(kind(&second), Some(ErrorKind::AddrInUse));
    });
}

/// TIME_WAIT. The kernel counts it, and this process has nothing of it.
#[test]
fn time_wait_costs_no_descriptor() {
    if !in_own_network("ends::time_wait_costs_no_descriptor") {
        return;
    }
    within(LIMIT, "the end of a connection", || {
        let before = descriptors();
        let (server, mut client) = pair();
        assert_eq!((time_waits(), descriptors()), (0, before + 2));
        drop(server);
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        drop(client);
        until(|| time_waits() == 1);
        assert_eq!(descriptors(), before);
    });
}

/// TIME_WAIT. Of a network with four ports.
#[test]
fn a_client_that_closes_first_uses_up_its_ports() {
    if !in_own_network("ends::a_client_that_closes_first_uses_up_its_ports") {
        return;
    }
    within(LIMIT, "a client without a port", || {
        let (listener, addr) = listening(16);
        set_sysctl("net.ipv4.ip_local_port_range", "50000 50003");
        // Over loopback alone, the kernel gives a port again that has been in TIME_WAIT for a second.
        set_sysctl("net.ipv4.tcp_tw_reuse", 0);
        let connected = || {
            let client = TcpStream::connect(addr)?;
            listener.accept().map(|(server, _)| (server, client))
        };
        // If the server closes first, TIME_WAIT is at its end, and the client's port is free again.
        for _ in 0..12 {
            let (server, mut client) = connected().unwrap();
            drop(server);
            assert_eq!(client.read(&mut [0]).unwrap(), 0);
        }
        for _ in 0..4 {
            let (mut server, client) = connected().unwrap();
            drop(client);
            assert_eq!(server.read(&mut [0]).unwrap(), 0);
        }
        assert_eq!(kind(&connected()), Some(ErrorKind::AddrNotAvailable));
    });
}

/// RST. Whatever the peer does next.
#[test]
fn a_close_with_bytes_unread_is_a_reset() {
    within(LIMIT, "a reset", || {
        for writes in [false, true] {
            let (server, mut client) = pair();
            let (there, here) = ends_of(&server);
            client.write_all(b"unread").unwrap();
            until(|| server.recv_queue().unwrap() == 6);
            drop(server);
            until(|| state(here, there).is_none());
            let next = match writes {
                true => client.write(b"x"),
                false => client.read(&mut [0]),
            };
            assert_eq!(kind(&next), Some(ErrorKind::ConnectionReset));
            // It is told once. Then the stream has ended, for its reader and for its writer.
            assert_eq!(client.read(&mut [0]).unwrap(), 0);
            assert_eq!(kind(&client.write(b"x")), Some(ErrorKind::BrokenPipe));
        }
    });
}

/// RST. Promise 12.
#[test]
fn a_closed_port_refuses() {
    let (_owner, addr) = closed_port();
    let refused = TcpStream::connect(addr);
    assert_eq!(kind(&refused), Some(ErrorKind::ConnectionRefused));
}

/// TIME_WAIT; RST. Promise 2. Nothing is unread here; nothing is kept, and what is not received yet is lost.
#[test]
fn a_linger_of_zero_makes_any_close_a_reset() {
    within(LIMIT, "a reset", || {
        let (server, mut client) = narrow_pair();
        let (here, there) = ends_of(&server);
        let written = write_what_fits(&server);
        server.set_linger(Some(Duration::ZERO)).unwrap();
        drop(server);
        assert_eq!(state(here, there), None);
        let mut received = Vec::new();
        let end = client.read_to_end(&mut received);
        assert_eq!(kind(&end), Some(ErrorKind::ConnectionReset));
        assert!(received.len() < written, "{} of {written}", received.len());
    });
}

/// RST.
#[test]
fn a_reset_throws_away_what_was_not_sent() {
    within(LIMIT, "an answer that is cut short", || {
        let (server, mut client) = narrow_pair();
        client.write_all(b"more than the server reads").unwrap();
        until(|| server.recv_queue().unwrap() > 0);
        let written = write_what_fits(&server);
        drop(server);
        let mut received = Vec::new();
        let end = client.read_to_end(&mut received);
        assert_eq!(kind(&end), Some(ErrorKind::ConnectionReset));
        assert!(received.len() < written, "{} of {written}", received.len());
    });
}

/// RST. The same with an orderly end.
#[test]
fn an_orderly_end_delivers_everything() {
    within(LIMIT, "an answer that is not cut short", || {
        let (mut server, mut client) = narrow_pair();
        client.write_all(b"more than the server reads").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        until(|| server.recv_queue().unwrap() > 0);
        let serving = withy::spawn(move || {
            server.write_all(&[7; ANSWER]).unwrap();
            server.shutdown(Shutdown::Write).unwrap();
            std::io::copy(&mut server, &mut std::io::sink()).unwrap();
        });
        let mut received = Vec::new();
        client.read_to_end(&mut received).unwrap();
        assert_eq!(received.len(), ANSWER);
        serving.join().unwrap();
    });
}

/// RST. Promise 2.
#[test]
fn the_first_write_after_the_peer_has_closed_succeeds() {
    within(LIMIT, "writes to nobody", || {
        let (mut server, client) = pair();
        drop(client);
        assert_eq!(server.read(&mut [0]).unwrap(), 0);
        server.write_all(b"handed to the kernel").unwrap();
        // The reset has come: to poll(2) it is over in both directions.
        until(|| has_hung_up(&server));
        let next = kind(&server.write(b"x"));
        assert!(
            [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset]
                .map(Some)
                .contains(&next),
            "{next:?}"
        );
    });
}

/// Half-close. Promise 4. As much as it likes: more than any buffer holds.
#[test]
fn a_half_closed_stream_still_reads() {
    within(LIMIT, "a request that ends", || {
        let (mut server, mut client) = narrow_pair();
        client.write_all(b"request").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let serving = withy::spawn(move || {
            let mut request = String::new();
            server.read_to_string(&mut request).unwrap();
            assert_eq!(server.read(&mut [0]).unwrap(), 0);
            server.write_all(&[7; ANSWER]).unwrap();
            request
        });
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).unwrap();
        assert_eq!(answer.len(), ANSWER);
        assert_eq!(serving.join().unwrap(), "request");
    });
}

/// Half-close. To the one that reads its end, both look the same, until it writes.
#[test]
fn a_close_looks_like_a_half_close() {
    within(LIMIT, "two sorts of ends", || {
        for closes in [false, true] {
            let (mut server, client) = pair();
            let (here, there) = ends_of(&server);
            client.shutdown(Shutdown::Write).unwrap();
            let client = (!closes).then_some(client);
            assert_eq!(server.read(&mut [0]).unwrap(), 0);
            until(|| state(here, there).as_deref() == Some(CLOSE_WAIT));
            server.write_all(b"x").unwrap();
            match client {
                Some(mut client) => client.read_exact(&mut [0]).unwrap(),
                None => until(|| state(here, there).is_none()),
            }
        }
    });
}

/// Half-close.
#[test]
fn a_proxy_that_passes_each_end_on_cuts_no_answer_off() {
    within(LIMIT, "a request that ends, and its answer", || {
        let ((near, mut client), (far, mut server)) = (pair(), pair());
        let proxy = withy::spawn(move || withy::io::copy_bidirectional(&near, &far).map(drop));
        client.write_all(b"request").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut request = String::new();
        server.read_to_string(&mut request).unwrap();
        server.write_all(b"answer").unwrap();
        drop(server);
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!((&*request, &*answer), ("request", "answer"));
        proxy.join().unwrap().unwrap();
    });
}
