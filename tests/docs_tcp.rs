//! What docs/tcp.md says of TCP, shown. Each section there names its tests here.

mod rig;
mod support;

use std::cell::Cell;
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};
use std::process::Command;
use std::time::Duration;

use rig::{tools, until};
use support::addresses::{closed_port, mute};
use support::sockets::{kind, narrow_pair, pair};
use support::{LIMIT, within};
use withy::net::{Keepalive, TcpListener, TcpSocket, TcpStream};

const GUIDE: &str = include_str!("../docs/tcp.md");

/// States of connections, as the kernel numbers them in /proc/net/tcp.
const ESTABLISHED: &str = "01";
const TIME_WAIT: &str = "06";

fn listening(backlog: u32) -> (TcpListener, SocketAddr) {
    let socket = TcpSocket::v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let addr = socket.local_addr().unwrap();
    (socket.listen(backlog).unwrap(), addr)
}

/// The state of this host's end of a connection, if it has one.
fn state(local: SocketAddr, peer: SocketAddr) -> Option<String> {
    kernels_row(local, peer).map(|row| row[3].clone())
}

/// What is left of the time that this host's end stays in its state.
fn time_left(local: SocketAddr, peer: SocketAddr) -> Option<Duration> {
    // `timer:when`, of which the latter is in hundredths of a second.
    let row = kernels_row(local, peer)?;
    let when = row[5].split_once(':')?.1;
    let hundredths = u64::from_str_radix(when, 16).ok()?;
    Some(Duration::from_millis(10 * hundredths))
}

/// How often a SYN or a last ACK was dropped since the accept queue was full, in all of this network.
fn accept_queue_overflows() -> u64 {
    let table = std::fs::read_to_string("/proc/net/netstat").unwrap();
    let mut rows = table.lines().filter(|line| line.starts_with("TcpExt:"));
    let mut words = || rows.next().unwrap().split_ascii_whitespace();
    let mut counts = words().zip(words());
    let (_, count) = counts.find(|(name, _)| *name == "ListenOverflows").unwrap();
    count.parse().unwrap()
}

/// The words of a connection's row in /proc/net/tcp.
fn kernels_row(local: SocketAddr, peer: SocketAddr) -> Option<Vec<String>> {
    let hex = |addr: SocketAddr| match addr {
        SocketAddr::V4(addr) => {
            let ip = u32::from_ne_bytes(addr.ip().octets());
            format!("{ip:08X}:{:04X}", addr.port())
        }
        SocketAddr::V6(_) => panic!("got {addr}, expected an IPv4 address"),
    };
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    table.lines().find_map(|line| {
        let words: Vec<_> = line.split_ascii_whitespace().map(str::to_owned).collect();
        (words.len() > 5 && words[1] == hex(local) && words[2] == hex(peer)).then_some(words)
    })
}

/// Bytes that were written and not even sent (`SIOCOUTQNSD`).
fn unsent(stream: &TcpStream) -> i32 {
    const SIOCOUTQNSD: libc::c_ulong = 0x894B;
    let mut bytes: libc::c_int = 0;
    // SAFETY: the request writes one int, for which there is room.
    let status =
        unsafe { libc::ioctl(stream.as_fd().as_raw_fd(), SIOCOUTQNSD as _, &raw mut bytes) };
    assert_eq!(status, 0);
    bytes
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
            let (at_server, at_client) =
                (server.local_addr().unwrap(), client.local_addr().unwrap());
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

/// TIME_WAIT. What a client gets that finds no free port: here it may use one only.
#[test]
fn four_numbers_that_are_taken_are_not_available() {
    within(LIMIT, "a client without a port", || {
        let (_listener, addr) = listening(16);
        let from = |local: SocketAddr| {
            let socket = TcpSocket::v4().unwrap();
            socket.set_reuse_addr(true).unwrap();
            socket.bind(local).unwrap();
            socket.connect(addr)
        };
        let first = from(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let second = from(first.local_addr().unwrap());
        assert_eq!(kind(&second), Some(ErrorKind::AddrNotAvailable));
    });
}

/// SYN queue and accept queue.
#[test]
fn a_client_is_connected_before_it_is_accepted() {
    within(LIMIT, "a client that is early", || {
        let (listener, addr) = listening(1);
        let mut client = TcpStream::connect(addr).unwrap();
        client.write_all(b"early").unwrap();
        until(|| client.send_queue().unwrap() == 0);
        let (mut server, _) = listener.accept().unwrap();
        server.read_exact(&mut [0; 5]).unwrap();
    });
}

/// SYN queue and accept queue.
#[test]
fn a_full_accept_queue_keeps_clients_waiting() {
    within(LIMIT, "a full accept queue", || {
        let (listener, addr) = listening(2);
        let _queued = [(); 3].map(|()| TcpStream::connect(addr).unwrap());
        if tools::need("ss") {
            let queues = || {
                let output = Command::new("ss").arg("-tln").output().unwrap();
                let text = String::from_utf8(output.stdout).unwrap();
                let mut rows = text.lines().map(|line| line.split_ascii_whitespace());
                let row = rows.find(|row| row.clone().nth(3) == Some(&*addr.to_string()))?;
                Some(row.skip(1).take(2).map(str::to_owned).collect::<Vec<_>>())
            };
            // The last acknowledgement may be on its way still.
            until(|| queues().is_some_and(|queues| queues == ["3", "2"]));
        }
        let limit = Duration::from_millis(100);
        let overflows = accept_queue_overflows();
        let late = TcpStream::connect_timeout(&addr, limit);
        assert_eq!(kind(&late), Some(ErrorKind::TimedOut));
        assert!(accept_queue_overflows() > overflows);
        let late = withy::spawn(move || TcpStream::connect(addr).map(drop));
        // Its SYN is sent again a second later, and finds room then.
        listener.accept().unwrap();
        late.join().unwrap().unwrap();
    });
}

/// RST.
#[test]
fn a_close_with_bytes_unread_is_a_reset() {
    within(LIMIT, "a reset", || {
        let (server, mut client) = pair();
        client.write_all(b"unread").unwrap();
        until(|| server.recv_queue().unwrap() == 6);
        drop(server);
        let read = client.read(&mut [0]);
        assert_eq!(kind(&read), Some(ErrorKind::ConnectionReset));
    });
}

/// RST. Promise 12.
#[test]
fn a_closed_port_refuses() {
    let (_owner, addr) = closed_port();
    let refused = TcpStream::connect(addr);
    assert_eq!(kind(&refused), Some(ErrorKind::ConnectionRefused));
}

/// RST. Promise 2.
#[test]
fn a_linger_of_zero_makes_any_close_a_reset() {
    within(LIMIT, "a reset", || {
        let (server, mut client) = pair();
        server.set_linger(Some(Duration::ZERO)).unwrap();
        drop(server);
        let read = client.read(&mut [0]);
        assert_eq!(kind(&read), Some(ErrorKind::ConnectionReset));
    });
}

/// More than any buffer of a narrow pair.
const ANSWER: usize = 1 << 20;

/// Writes what fits, and gives how much that was.
fn write_what_fits(stream: &TcpStream) -> usize {
    stream.set_nonblocking(true).unwrap();
    let mut written = 0;
    while let Ok(count) = (&*stream).write(&[7; 4096]) {
        written += count;
    }
    stream.set_nonblocking(false).unwrap();
    written
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

/// Half-close. Promise 4.
#[test]
fn a_half_closed_stream_still_reads() {
    within(LIMIT, "a request that ends", || {
        let (mut server, mut client) = pair();
        client.write_all(b"request").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut request = String::new();
        server.read_to_string(&mut request).unwrap();
        server.write_all(b"answer").unwrap();
        drop(server);
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!((&*request, &*answer), ("request", "answer"));
    });
}

/// A TCP ACK is not an application's ACK.
#[test]
fn bytes_are_acknowledged_though_nobody_reads_them() {
    within(LIMIT, "acknowledgements", || {
        let (mut ours, peer) = pair();
        ours.write_all(b"an order").unwrap();
        until(|| ours.send_queue().unwrap() == 0);
        // Acknowledged, all of it. And now the program that should have read it ends.
        drop(peer);
        let read = ours.read(&mut [0]);
        assert_eq!(kind(&read), Some(ErrorKind::ConnectionReset));
    });
}

/// What a growing Recv-Q or Send-Q says.
#[test]
fn queues_grow_on_both_sides_of_a_slow_reader() {
    within(LIMIT, "queues", || {
        let (listener, addr) = listening(1);
        let client = TcpStream::connect(addr).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let written = Cell::new(0);
        // The server does not read: its queue is full, and so is the client's. Nothing is anywhere else.
        until(|| {
            written.set(written.get() + write_what_fits(&client));
            client.send_queue().unwrap() > 0
                && server.recv_queue().unwrap() + client.send_queue().unwrap() == written.get()
        });
        // It reads: both become empty.
        server.read_exact(&mut vec![0; written.get()]).unwrap();
        until(|| client.send_queue().unwrap() == 0);
        assert_eq!(server.recv_queue().unwrap(), 0);
    });
}

/// What a growing Recv-Q or Send-Q says.
#[test]
fn a_send_queue_that_grows_alone_says_that_nothing_arrives() {
    within(LIMIT, "bytes on their way", || {
        let (mut ours, peer) = pair();
        mute(&peer);
        for n in 1..=3 {
            ours.write_all(&[0; 1000]).unwrap();
            assert_eq!(ours.send_queue().unwrap(), n * 1000);
        }
        assert_eq!(TcpStream::from(peer).recv_queue().unwrap(), 0);
    });
}

fn sharing(addr: SocketAddr) -> TcpListener {
    let socket = TcpSocket::for_addr(addr).unwrap();
    socket.set_reuse_port(true).unwrap();
    socket.bind(addr).unwrap();
    socket.listen(128).unwrap()
}

/// How many connections wait to be accepted.
fn waiting(listener: &TcpListener) -> usize {
    listener.set_nonblocking(true).unwrap();
    std::iter::from_fn(|| listener.accept().ok()).count()
}

/// SO_REUSEPORT. Of 64 connections each of two listeners gets some, but for one time in 2⁶³.
#[test]
fn listeners_that_share_a_port_share_its_connections() {
    within(LIMIT, "connections to a shared port", || {
        let one = sharing("127.0.0.1:0".parse().unwrap());
        let addr = one.local_addr().unwrap();
        let other = sharing(addr);
        let clients = [(); 64].map(|()| std::net::TcpStream::connect(addr).unwrap());
        let (at_one, at_other) = (waiting(&one), waiting(&other));
        assert_eq!(at_one + at_other, clients.len());
        assert!(at_one > 0 && at_other > 0, "{at_one}, {at_other}");
    });
}

/// SO_REUSEPORT.
#[test]
fn closing_one_listener_resets_what_waits_in_its_queue() {
    within(LIMIT, "connections that nobody accepts any more", || {
        let migrates = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_migrate_req");
        if migrates.is_ok_and(|text| text.trim() != "0") {
            eprintln!("net.ipv4.tcp_migrate_req is on: nothing tested");
            return;
        }
        let one = sharing("127.0.0.1:0".parse().unwrap());
        let addr = one.local_addr().unwrap();
        let other = sharing(addr);
        let clients = [(); 64].map(|()| std::net::TcpStream::connect(addr).unwrap());
        drop(one);
        let served = waiting(&other);
        let outcomes = clients.map(|mut client| client.read(&mut [0]));
        let reset = outcomes
            .iter()
            .filter(|outcome| kind(outcome) == Some(ErrorKind::ConnectionReset))
            .count();
        assert_eq!((served + reset, reset > 0), (64, true));
    });
}

/// Long-lived connections.
#[test]
fn a_peer_that_is_gone_is_not_noticed_by_waiting() {
    within(LIMIT, "a read from nobody", || {
        let (mut ours, peer) = pair();
        mute(&peer);
        ours.set_read_timeout(Some(Duration::from_millis(100)))
            .unwrap();
        assert_eq!(kind(&ours.read(&mut [0])), Some(ErrorKind::WouldBlock));
        // To the kernel the connection is as good as ever.
        let (here, there) = (ours.local_addr().unwrap(), ours.peer_addr().unwrap());
        until(|| state(here, there).as_deref() == Some(ESTABLISHED));
    });
}

/// Long-lived connections.
#[test]
fn keepalive_notices_a_peer_that_is_gone() {
    within(LIMIT, "keepalive", || {
        let (mut ours, peer) = pair();
        let sec = Duration::from_secs(1);
        ours.set_keepalive(Some(Keepalive {
            idle: sec,
            interval: sec,
            count: 1,
        }))
        .unwrap();
        mute(&peer);
        assert_eq!(kind(&ours.read(&mut [0])), Some(ErrorKind::TimedOut));
    });
}

/// Long-lived connections.
#[test]
fn a_user_timeout_notices_bytes_that_nobody_acknowledges() {
    within(LIMIT, "a user timeout", || {
        let (mut ours, peer) = pair();
        ours.set_user_timeout(Some(Duration::from_millis(300)))
            .unwrap();
        mute(&peer);
        ours.write_all(b"lost").unwrap();
        assert_eq!(kind(&ours.read(&mut [0])), Some(ErrorKind::TimedOut));
    });
}

/// Long-lived connections. By their count, the probes would go on for longer than the test may.
#[test]
fn with_a_user_timeout_fewer_probes_are_enough() {
    within(LIMIT, "keepalive with a user timeout", || {
        let (mut ours, peer) = pair();
        let sec = Duration::from_secs(1);
        ours.set_keepalive(Some(Keepalive {
            idle: sec,
            interval: sec,
            count: 100,
        }))
        .unwrap();
        ours.set_user_timeout(Some(sec)).unwrap();
        mute(&peer);
        assert_eq!(kind(&ours.read(&mut [0])), Some(ErrorKind::TimedOut));
    });
}

/// Nagle. The peer's acknowledgement does not come at all, where otherwise it would be delayed.
#[test]
fn a_small_write_waits_for_the_acknowledgement_of_the_last() {
    within(LIMIT, "two small writes", || {
        let (mut ours, peer) = pair();
        mute(&peer);
        ours.write_all(b"1").unwrap();
        assert_eq!(unsent(&ours), 0, "nothing was under way");
        ours.write_all(b"2").unwrap();
        assert_eq!(unsent(&ours), 1);
        ours.set_nodelay(true).unwrap();
        assert_eq!(unsent(&ours), 0, "it pushes what was kept back");
    });
}

/// Nagle. What comes together was sent together.
#[test]
fn several_buffers_in_one_call_are_one_segment() {
    within(LIMIT, "a message of two buffers", || {
        let (mut ours, peer) = pair();
        let peer = TcpStream::from(peer);
        let message = [IoSlice::new(b"5\n"), IoSlice::new(b"hello")];
        assert_eq!(ours.write_vectored(&message).unwrap(), 7);
        until(|| peer.recv_queue().unwrap() > 0);
        assert_eq!(peer.recv_queue().unwrap(), 7);
    });
}

/// Delayed ACKs. The kernel sees that answers are written, with which ACKs can go.
#[test]
fn quickack_does_not_stay() {
    within(LIMIT, "a change of the kernel's mind", || {
        let (mut ours, mut peer) = pair();
        ours.set_quickack(true).unwrap();
        assert!(ours.quickack().unwrap());
        let mut byte = [0];
        while ours.quickack().unwrap() {
            peer.write_all(b"?").unwrap();
            ours.read_exact(&mut byte).unwrap();
            ours.write_all(b"!").unwrap();
            peer.read_exact(&mut byte).unwrap();
        }
    });
}

/// Nagle.
#[test]
fn with_nodelay_nothing_is_kept_back() {
    within(LIMIT, "small writes without delay", || {
        let (mut ours, peer) = pair();
        ours.set_nodelay(true).unwrap();
        mute(&peer);
        for _ in 0..5 {
            ours.write_all(b"x").unwrap();
            assert_eq!(unsent(&ours), 0);
        }
    });
}

/// The functions of this file, by their names.
fn functions() -> Vec<&'static str> {
    let source = include_str!("docs_tcp.rs");
    let tests = source.split("#[test]\nfn ").skip(1);
    tests.filter_map(|rest| rest.split('(').next()).collect()
}

/// Every section of the guide names tests, all of which exist; and every test of this file is named.
#[test]
fn each_section_of_the_guide_names_its_tests() {
    let own = "each_section_of_the_guide_names_its_tests";
    let functions = functions();
    let mut named = vec![own];
    for section in GUIDE.split("\n## ").skip(1) {
        let title = section.lines().next().unwrap_or_default();
        let shown = section.rsplit_once("\nShown by ");
        let (text, shown) = shown.unwrap_or_else(|| panic!("{title:?} says by what it is shown"));
        let tests: Vec<_> = shown.split('`').skip(1).step_by(2).collect();
        assert!(!tests.is_empty(), "{title:?} names a test");
        assert!(text.contains("\n```rust\n"), "{title:?} has a snippet");
        named.extend(tests);
    }
    let missing: Vec<_> = named
        .iter()
        .filter(|name| !functions.contains(name))
        .collect();
    assert!(
        missing.is_empty(),
        "docs/tcp.md names no test by {missing:?}"
    );
    let unnamed: Vec<_> = functions
        .iter()
        .filter(|name| !named.contains(name))
        .collect();
    assert!(unnamed.is_empty(), "docs/tcp.md does not name {unnamed:?}");
}
