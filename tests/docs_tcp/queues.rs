//! Where connections wait, and where bytes do: SYN and accept queue, Recv-Q and Send-Q; and what an acknowledgement says.

use std::cell::Cell;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::process::Command;
use std::time::Duration;

use withy::net::{TcpListener, TcpSocket, TcpStream};

use crate::rig::network::{count, in_own_network, retransmissions, set_sysctl, sysctl};
use crate::rig::{tools, until};
use crate::support::addresses::{FullBacklog, mute};
use crate::support::sockets::{kind, narrow_pair, pair};
use crate::support::{LIMIT, pollers_of, within};
use crate::{ANSWER, WINDOW_PROBE, ends_of, listening, timer, write_what_fits};

/// What ss says of the socket with this local address, if ss is there: `State Recv-Q Send-Q Local Peer …`.
fn ss(options: &str, local: SocketAddr) -> Option<Vec<String>> {
    if !tools::need("ss") {
        return None;
    }
    let output = Command::new("ss").arg(options).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let words = |line: &str| -> Vec<_> { line.split_whitespace().map(str::to_owned).collect() };
    let mut rows = text.lines().map(words);
    let row = rows.find(|row| row.get(3) == Some(&local.to_string()));
    Some(row.expect("ss knows the socket"))
}

/// What ss calls Recv-Q and Send-Q.
fn queues_by_ss(options: &str, local: SocketAddr) -> Option<[usize; 2]> {
    let row = ss(options, local)?;
    Some([&row[1], &row[2]].map(|number| number.parse().unwrap()))
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

/// SYN queue and accept queue; what a growing Recv-Q says. Room for one more than the backlog.
#[test]
fn a_full_accept_queue_keeps_clients_waiting() {
    if !in_own_network("queues::a_full_accept_queue_keeps_clients_waiting") {
        return;
    }
    within(LIMIT, "a full accept queue", || {
        let (listener, addr) = listening(2);
        let _queued = [(); 3].map(|()| TcpStream::connect(addr).unwrap());
        // The last acknowledgement may be on its way still.
        until(|| queues_by_ss("-tln", addr).is_none_or(|queues| queues == [3, 2]));
        let counts = || (count("ListenOverflows"), count("ListenDrops"));
        assert_eq!(counts(), (0, 0));
        let limit = Duration::from_millis(100);
        let late = TcpStream::connect_timeout(&addr, limit);
        assert_eq!(kind(&late), Some(ErrorKind::TimedOut));
        assert_eq!(counts(), (1, 1));
        let late = withy::spawn(move || TcpStream::connect(addr).map(drop));
        until(|| counts().0 > 1);
        // Its SYN is sent again a second later, and finds room then.
        listener.accept().unwrap();
        late.join().unwrap().unwrap();
    });
}

/// SYN queue and accept queue. `TcpListener::bind` asks for as many as there may be.
#[test]
fn a_backlog_is_lowered_to_somaxconn() {
    if !in_own_network("queues::a_backlog_is_lowered_to_somaxconn") {
        return;
    }
    set_sysctl("net.core.somaxconn", 7);
    let (_listener, addr) = listening(1_000_000);
    assert!(queues_by_ss("-tln", addr).is_none_or(|queues| queues == [0, 7]));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    assert!(queues_by_ss("-tln", addr).is_none_or(|queues| queues == [0, 7]));
}

/// SYN queue and accept queue. A SYN is sent again after 1 s, and then after twice the time; with newer kernels that
/// begins a few times later.
#[test]
fn a_syn_that_is_dropped_is_sent_again() {
    const LINEAR: &str = "net.ipv4.tcp_syn_linear_timeouts";
    if !in_own_network("queues::a_syn_that_is_dropped_is_sent_again") {
        return;
    }
    let waits_for = |seconds: &[u64]| {
        let full = FullBacklog::new();
        let drops = count("ListenDrops");
        let late = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let late = late.unwrap();
        late.set_nonblocking(true).unwrap();
        assert!(late.connect(&full.addr.into()).is_err());
        let local = late.local_addr().unwrap().as_socket().unwrap();
        assert!(count("ListenDrops") > drops);
        for (times, seconds) in seconds.iter().enumerate() {
            let expected = Some((times as u64, 100 * seconds));
            until(|| retransmissions(local, full.addr) == expected);
        }
    };
    within(LIMIT, "SYNs that are sent again", || {
        if sysctl(LINEAR).is_some() {
            waits_for(&[1, 1, 1, 1, 1, 2]);
            set_sysctl(LINEAR, 0);
        }
        // After 1 s, 3 s and 7 s.
        waits_for(&[1, 2, 4]);
    });
}

/// A listener to which a connection counts when something was sent over it.
fn deferring(backlog: u32) -> (TcpListener, SocketAddr) {
    let socket = TcpSocket::v4().unwrap();
    let limit = Duration::from_secs(30);
    socket.set_defer_accept(Some(limit)).unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let addr = socket.local_addr().unwrap();
    let listener = socket.listen(backlog).unwrap();
    listener.set_nonblocking(true).unwrap();
    (listener, addr)
}

/// SYN queue and accept queue. Two handshakes are over but for the last ACK when the accept queue has one place left.
#[test]
fn a_full_accept_queue_drops_the_last_ack_too() {
    if !in_own_network("queues::a_full_accept_queue_drops_the_last_ack_too") {
        return;
    }
    const BACKLOG: u32 = 4;
    within(LIMIT, "a last ACK that is dropped", || {
        let (listener, addr) = deferring(BACKLOG);
        // The ACK that this listener waits for brings a byte.
        let speaks = |mut client: &TcpStream| client.write_all(b"x").unwrap();
        let is_taken = |client: &TcpStream| client.send_queue().unwrap() == 0;
        let mut clients = Vec::new();
        for _ in 0..BACKLOG {
            let client = TcpStream::connect(addr).unwrap();
            speaks(&client);
            until(|| is_taken(&client));
            clients.push(client);
        }
        let last_two = [(); 2].map(|()| TcpStream::connect(addr).unwrap());
        speaks(&last_two[0]);
        until(|| is_taken(&last_two[0]));
        assert_eq!(count("ListenOverflows"), 0);
        speaks(&last_two[1]);
        until(|| count("ListenOverflows") > 0);
        assert!(!is_taken(&last_two[1]));
        // It is connected all the same, and sends that again.
        clients.extend(last_two);
        listener.set_nonblocking(false).unwrap();
        for client in &clients {
            let (_server, peer) = listener.accept().unwrap();
            assert_eq!(peer, client.local_addr().unwrap());
        }
    });
}

/// SYN queue and accept queue. Connections that say nothing fill the SYN queue; the next is made without it.
#[test]
fn a_full_syn_queue_is_answered_with_cookies() {
    if !in_own_network("queues::a_full_syn_queue_is_answered_with_cookies") {
        return;
    }
    const BACKLOG: u32 = 4;
    within(LIMIT, "SYN cookies", || {
        let (listener, addr) = deferring(BACKLOG);
        let cookies = || (count("SyncookiesSent"), count("SyncookiesRecv"));
        let mut silent = Vec::new();
        while cookies().0 == 0 {
            assert_eq!(kind(&listener.accept()), Some(ErrorKind::WouldBlock));
            silent.push(TcpStream::connect(addr).unwrap());
            assert!(silent.len() <= BACKLOG as usize + 2);
        }
        let without_state = silent.last().unwrap();
        listener.set_nonblocking(false).unwrap();
        let (_server, peer) = listener.accept().unwrap();
        assert_eq!(peer, without_state.local_addr().unwrap());
        assert_eq!(cookies(), (1, 1));
        // Where they are off, the SYN is dropped.
        set_sysctl("net.ipv4.tcp_syncookies", 0);
        let drops = count("TCPReqQFullDrop");
        let next = TcpStream::connect_timeout(&addr, Duration::from_millis(100));
        assert_eq!(kind(&next), Some(ErrorKind::TimedOut));
        assert!(count("TCPReqQFullDrop") > drops);
        assert_eq!(cookies(), (1, 1));
    });
}

/// SYN queue and accept queue.
#[test]
fn a_deferring_listener_leaves_silent_clients_in_the_kernel() {
    if !in_own_network("queues::a_deferring_listener_leaves_silent_clients_in_the_kernel") {
        return;
    }
    within(LIMIT, "clients that speak, and one that does not", || {
        let (listener, addr) = deferring(16);
        let _silent = TcpStream::connect(addr).unwrap();
        // Its last ACK has come, and the kernel has passed over it.
        until(|| count("TCPDeferAcceptDrop") == 1);
        assert_eq!(kind(&listener.accept()), Some(ErrorKind::WouldBlock));
        let mut speaks = TcpStream::connect(addr).unwrap();
        speaks.write_all(b"x").unwrap();
        listener.set_nonblocking(false).unwrap();
        let (_server, peer) = listener.accept().unwrap();
        assert_eq!(peer, speaks.local_addr().unwrap());
    });
}

/// A TCP ACK is not an application's ACK.
#[test]
fn a_write_returns_before_anything_is_acknowledged() {
    within(LIMIT, "a write to nobody", || {
        let (mut ours, peer) = pair();
        mute(&peer);
        ours.write_all(b"an order").unwrap();
        ours.flush().unwrap();
        assert_eq!(ours.send_queue().unwrap(), 8);
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

/// A TCP ACK is not an application's ACK. A close that lingers waits for the peer's kernel, and no longer.
#[test]
fn a_close_that_lingers_does_not_wait_for_a_program() {
    within(LIMIT, "a close that lingers", || {
        let (mut ours, mut peer) = pair();
        ours.write_all(b"an order").unwrap();
        ours.set_linger(Some(10 * LIMIT)).unwrap();
        assert_eq!(ours.linger().unwrap(), Some(10 * LIMIT));
        drop(ours);
        // Nobody had read it.
        let mut order = String::new();
        peer.read_to_string(&mut order).unwrap();
        assert_eq!(order, "an order");
    });
}

/// What a growing Recv-Q or Send-Q says.
#[test]
fn queues_grow_on_both_sides_of_a_slow_reader() {
    within(LIMIT, "queues", || {
        let (listener, addr) = listening(1);
        let client = TcpStream::connect(addr).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let (here, there) = ends_of(&client);
        let written = Cell::new(0);
        let queues =
            || [&server, &client].map(|end| (end.recv_queue().unwrap(), end.send_queue().unwrap()));
        // The server does not read: its queue is full, and so is the client's. Nothing is anywhere else.
        until(|| {
            written.set(written.get() + write_what_fits(&client));
            let [(received, _), (_, sending)] = queues();
            sending > 0 && received + sending == written.get()
        });
        // Its window is closed, and all that the client still does is to ask whether it is open.
        until(|| timer(here, there).as_deref() == Some(WINDOW_PROBE));
        // An answer may move the window a little.
        until(|| {
            let by_ss = [here, there].map(|end| queues_by_ss("-tn", end));
            let [(received, _), (_, sending)] = queues();
            by_ss.contains(&None) || by_ss.map(Option::unwrap) == [[0, sending], [received, 0]]
        });
        // It reads: both become empty.
        server.read_exact(&mut vec![0; written.get()]).unwrap();
        until(|| client.send_queue().unwrap() == 0);
        assert_eq!(server.recv_queue().unwrap(), 0);
    });
}

/// What a growing Recv-Q or Send-Q says. What is lost is sent again, of which ss tells.
#[test]
fn a_send_queue_that_grows_alone_says_that_nothing_arrives() {
    within(LIMIT, "bytes on their way", || {
        let (mut ours, peer) = pair();
        mute(&peer);
        for n in 1..=3 {
            ours.write_all(&[0; 1000]).unwrap();
            assert_eq!(ours.send_queue().unwrap(), n * 1000);
        }
        let (here, there) = ends_of(&ours);
        until(|| retransmissions(here, there).is_some_and(|(times, _)| times > 0));
        if let Some(row) = ss("-tinO", here) {
            for field in ["retrans:", "rto:", "cwnd:"] {
                let has = row.iter().any(|word| word.starts_with(field));
                assert!(has, "ss tells {field} in {row:?}");
            }
        }
        assert_eq!(TcpStream::from(peer).recv_queue().unwrap(), 0);
    });
}

/// What a growing Recv-Q or Send-Q says: back-pressure.
#[test]
fn a_write_parks_until_there_is_room() {
    within(LIMIT, "a write to a slow reader", || {
        let (mut ours, mut peer) = narrow_pair();
        let fd = ours.as_raw_fd();
        let writer = withy::spawn(move || ours.write_all(&[7; ANSWER]));
        until(|| pollers_of(fd) > 0);
        assert!(!writer.is_finished());
        peer.read_exact(&mut vec![0; ANSWER]).unwrap();
        writer.join().unwrap().unwrap();
    });
}
