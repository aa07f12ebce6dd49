//! Connections over which nothing goes for a long time, and peers that are gone.

use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use withy::net::{Keepalive, TcpListener, TcpStream};

use crate::rig::network::{count, in_own_network, retransmissions, set_loopback, set_sysctl};
use crate::rig::until;
use crate::support::addresses::mute;
use crate::support::sockets::{kind, pair};
use crate::support::{LIMIT, within};
use crate::{ESTABLISHED, KEEPALIVE, NO_TIMER, RETRANSMISSION, ends_of, state, timer};

/// So many probes, the first after a second.
fn probe_every_second(stream: &TcpStream, count: u32) {
    let sec = Duration::from_secs(1);
    let probes = Keepalive {
        idle: sec,
        interval: sec,
        count,
    };
    stream.set_keepalive(Some(probes)).unwrap();
}

/// Long-lived connections.
#[test]
fn an_idle_connection_survives_the_loss_of_its_network() {
    if !in_own_network("idle::an_idle_connection_survives_the_loss_of_its_network") {
        return;
    }
    within(LIMIT, "a byte over a network that is back", || {
        let (mut ours, mut peer) = pair();
        set_loopback("down");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let client = TcpStream::connect_timeout(&addr, Duration::from_millis(100));
        client.expect_err("there is no network");
        set_loopback("up");
        ours.write_all(b"x").unwrap();
        peer.read_exact(&mut [0]).unwrap();
    });
}

/// Long-lived connections. However one waits: only a limit of one's own ends it, and a user timeout is none while nothing is sent.
#[test]
fn a_peer_that_is_gone_is_not_noticed_by_waiting() {
    within(LIMIT, "a read from nobody", || {
        let short = Duration::from_millis(100);
        let (mut ours, peer) = pair();
        ours.set_user_timeout(Some(short / 10)).unwrap();
        mute(&peer);
        ours.set_read_timeout(Some(short)).unwrap();
        assert_eq!(kind(&ours.read(&mut [0])), Some(ErrorKind::WouldBlock));
        ours.set_read_timeout(None).unwrap();
        ours.set_read_deadline(Some(withy::now() + short)).unwrap();
        assert_eq!(kind(&ours.read(&mut [0])), Some(ErrorKind::TimedOut));
        ours.set_read_deadline(None).unwrap();
        let waited = withy::timeout(short, || ours.read(&mut [0]));
        waited.unwrap_err();
        // To the kernel the connection is as good as ever.
        let (here, there) = ends_of(&ours);
        until(|| state(here, there).as_deref() == Some(ESTABLISHED));
    });
}

/// Long-lived connections. No timer of the kernel runs for an idle one; with keepalive packets go though nobody writes.
#[test]
fn only_keepalive_sends_packets_over_an_idle_connection() {
    if !in_own_network("idle::only_keepalive_sends_packets_over_an_idle_connection") {
        return;
    }
    within(LIMIT, "keepalive probes", || {
        let (ours, _peer) = pair();
        let (here, there) = ends_of(&ours);
        for (here, there) in [(here, there), (there, here)] {
            until(|| timer(here, there).as_deref() == Some(NO_TIMER));
        }
        let sent = count("OutSegs");
        probe_every_second(&ours, 3);
        assert_eq!(timer(here, there).as_deref(), Some(KEEPALIVE));
        // Two probes, and what the peer's kernel answers.
        until(|| count("OutSegs") >= sent + 4);
        assert_eq!(count("TCPKeepAlive"), 2);
        assert_eq!(ours.recv_queue().unwrap() + ours.send_queue().unwrap(), 0);
    });
}

/// Long-lived connections. After `idle` the first probe goes, the others `interval` after each other, and an `interval`
/// after the last it is over.
#[test]
fn keepalive_notices_a_peer_that_is_gone() {
    if !in_own_network("idle::keepalive_notices_a_peer_that_is_gone") {
        return;
    }
    within(LIMIT, "keepalive", || {
        let (mut ours, peer) = pair();
        let began = std::time::Instant::now();
        probe_every_second(&ours, 2);
        mute(&peer);
        assert_eq!(kind(&ours.read(&mut [0])), Some(ErrorKind::TimedOut));
        assert_eq!(count("TCPKeepAlive"), 2);
        // The kernel's clock is a coarse one.
        assert!(began.elapsed() >= Duration::from_millis(2900));
    });
}

/// Long-lived connections. More probes are answered than may fail, though the peer's program does nothing at all.
#[test]
fn keepalive_asks_the_peers_kernel_alone() {
    if !in_own_network("idle::keepalive_asks_the_peers_kernel_alone") {
        return;
    }
    within(LIMIT, "keepalive probes", || {
        let (mut ours, _peer) = pair();
        probe_every_second(&ours, 1);
        until(|| count("TCPKeepAlive") == 3);
        ours.set_read_timeout(Some(Duration::from_millis(10)))
            .unwrap();
        assert_eq!(kind(&ours.read(&mut [0])), Some(ErrorKind::WouldBlock));
    });
}

/// Long-lived connections. What keepalive does not cover: bytes are sent again for longer than all probes take.
#[test]
fn keepalive_is_silent_while_bytes_are_not_acknowledged() {
    if !in_own_network("idle::keepalive_is_silent_while_bytes_are_not_acknowledged") {
        return;
    }
    within(LIMIT, "bytes that are sent again", || {
        let (mut ours, peer) = pair();
        probe_every_second(&ours, 1);
        mute(&peer);
        ours.write_all(b"lost").unwrap();
        let (here, there) = ends_of(&ours);
        assert_eq!(timer(here, there).as_deref(), Some(RETRANSMISSION));
        // After 0.2 s, 0.6 s, 1.4 s and 3 s.
        until(|| retransmissions(here, there).unwrap().0 == 4);
        assert_eq!(count("TCPKeepAlive"), 0);
        assert_eq!(state(here, there).as_deref(), Some(ESTABLISHED));
    });
}

/// Long-lived connections.
#[test]
fn a_user_timeout_notices_bytes_that_nobody_acknowledges() {
    within(LIMIT, "a user timeout", || {
        let (mut ours, peer) = pair();
        let limit = Duration::from_millis(300);
        ours.set_user_timeout(Some(limit)).unwrap();
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
        probe_every_second(&ours, 100);
        ours.set_user_timeout(Some(Duration::from_secs(1))).unwrap();
        mute(&peer);
        assert_eq!(kind(&ours.read(&mut [0])), Some(ErrorKind::TimedOut));
    });
}

/// Long-lived connections. How long bytes are sent again that nobody acknowledges, without a user timeout; each time
/// after twice the time.
#[test]
fn without_a_user_timeout_tcp_retries2_decides() {
    if !in_own_network("idle::without_a_user_timeout_tcp_retries2_decides") {
        return;
    }
    within(LIMIT, "bytes that nobody acknowledges", || {
        let lost = || {
            let (mut ours, peer) = pair();
            mute(&peer);
            ours.write_all(b"lost").unwrap();
            (ours, peer)
        };
        let (patient, _peer) = lost();
        let (here, there) = ends_of(&patient);
        for (times, hundredths) in [20, 40, 80, 160].into_iter().enumerate() {
            let (least, most) = (hundredths, hundredths + hundredths / 8);
            until(|| {
                let now = retransmissions(here, there);
                let (seen, wait) = now.expect("it goes on");
                assert!(seen <= times as u64);
                seen == times as u64 && (least..=most).contains(&wait)
            });
        }
        set_sysctl("net.ipv4.tcp_retries2", 1);
        let (mut ours, _peer) = lost();
        assert_eq!(kind(&ours.read(&mut [0])), Some(ErrorKind::TimedOut));
    });
}
