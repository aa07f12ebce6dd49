//! UDP: whole datagrams, refusals, groups, names, two directions at a time.

mod support;

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket as Peer};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use support::sockets::{fill, is_filled, kind};
use support::{LIMIT, matrix, within};
use withy::net::UdpSocket;

fn peer() -> (Peer, SocketAddr) {
    let peer = Peer::bind("127.0.0.1:0").expect("a port is free");
    peer.set_read_timeout(Some(LIMIT)).expect("it is open");
    let addr = peer.local_addr().expect("it is bound");
    (peer, addr)
}

/// Promise 15. Datagrams of all lengths, whole in one call and from whom they are, the empty and the longest included.
#[test]
fn datagrams_come_whole() {
    const LENGTHS: [usize; 8] = [0, 1, 100, 1472, 1473, 9000, 65_506, 65_507];
    matrix(LIMIT, "datagrams of all lengths", |case| {
        let (peer, from) = peer();
        let ours = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = ours.local_addr().unwrap();
        let fd = ours.as_raw_fd();
        let echo = case.spawn(move || {
            let mut buf = vec![0; 65_536];
            for length in LENGTHS {
                let (len, sender) = ours.peek_from(&mut buf[..1]).unwrap();
                assert_eq!((len, sender), (length.min(1), from));
                let (len, sender) = ours.recv_from(&mut buf).unwrap();
                assert_eq!((len, sender), (length, from));
                assert!(is_filled(&buf[..len], length as u64));
                assert_eq!(ours.send_to(&buf[..len], sender).unwrap(), length);
            }
            let too_long = ours.send_to(&buf, from).unwrap_err();
            assert_eq!(too_long.raw_os_error(), Some(libc::EMSGSIZE));
        });
        echo.until_waiting(fd);
        let mut back = vec![0; 65_536];
        for length in LENGTHS {
            let mut bytes = vec![0; length];
            fill(&mut bytes, length as u64);
            peer.send_to(&bytes, to).unwrap();
            assert_eq!(peer.recv_from(&mut back).unwrap(), (length, to));
            assert_eq!(&back[..length], bytes);
        }
        echo.join();
    });
}

/// Promise 6. A reader and a writer of one socket, with a window of datagrams that no buffer drops.
#[test]
fn a_reader_and_a_writer_of_one_socket_lose_no_wake_up_in_a_thousand_rounds() {
    const ROUNDS: usize = 1000;
    const WINDOW: usize = 8;
    matrix(LIMIT, "1,000 rounds of both directions", |case| {
        let (peer, addr) = peer();
        let ours = UdpSocket::bind("127.0.0.1:0").unwrap();
        ours.connect(addr).unwrap();
        peer.connect(ours.local_addr().unwrap()).unwrap();
        let clone = ours.try_clone().unwrap();
        let received = Arc::new(AtomicUsize::new(0));
        let count = received.clone();
        let reader = case.spawn(move || {
            let mut buf = [0; 16];
            for round in 0..ROUNDS {
                assert_eq!(clone.recv(&mut buf).unwrap(), 8);
                assert_eq!(buf[..8], round.to_ne_bytes());
                count.store(round + 1, Ordering::SeqCst);
            }
        });
        let writer = case.spawn(move || {
            for round in 0..ROUNDS {
                while round >= received.load(Ordering::SeqCst) + WINDOW {
                    withy::yield_now();
                }
                assert_eq!(ours.send(&round.to_ne_bytes()).unwrap(), 8);
            }
        });
        let mut buf = [0; 16];
        for round in 0..ROUNDS {
            assert_eq!(peer.recv(&mut buf).unwrap(), 8);
            assert_eq!(buf[..8], round.to_ne_bytes());
            peer.send(&buf[..8]).unwrap();
        }
        writer.join();
        reader.join();
    });
}

/// Promise 12. Nobody is there: a receiver that is blocked is told, once, and the socket goes on.
#[test]
fn a_refusal_reaches_a_blocked_receiver_once() {
    matrix(LIMIT, "a receiver whose peer has gone", |case| {
        let (gone, addr) = peer();
        let ours = UdpSocket::bind("127.0.0.1:0").unwrap();
        ours.connect(addr).unwrap();
        let clone = ours.try_clone().unwrap();
        let receiver = case.spawn(move || {
            let mut buf = [0; 8];
            assert_eq!(
                kind(&clone.recv(&mut buf)),
                Some(ErrorKind::ConnectionRefused)
            );
            clone
                .set_read_timeout(Some(Duration::from_millis(5)))
                .unwrap();
            assert_eq!(kind(&clone.recv(&mut buf)), Some(ErrorKind::WouldBlock));
            clone.set_read_timeout(None).unwrap();
        });
        receiver.until_waiting(ours.as_raw_fd());
        drop(gone);
        ours.send(b"anybody?").unwrap();
        receiver.join();
        // Someone else takes the port.
        let peer = Peer::bind(addr).unwrap();
        peer.connect(ours.local_addr().unwrap()).unwrap();
        let fd = ours.as_raw_fd();
        let receiver = case.spawn(move || ours.recv(&mut [0; 8]).unwrap());
        receiver.until_waiting(fd);
        peer.send(b"me").unwrap();
        assert_eq!(receiver.join(), 2);
    });
}

/// Promise 9. Datagrams of others are not received by a connected socket, and wake nobody to no end.
#[test]
fn a_connected_socket_hears_its_peer_alone() {
    matrix(LIMIT, "a stranger and a peer", |case| {
        let (peer, addr) = peer();
        let ours = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = ours.local_addr().unwrap();
        ours.connect(addr).unwrap();
        let fd = ours.as_raw_fd();
        let receiver = case.spawn(move || {
            let mut buf = [0; 8];
            let n = ours.recv(&mut buf).unwrap();
            buf[..n].to_vec()
        });
        receiver.until_waiting(fd);
        let stranger = Peer::bind("127.0.0.1:0").unwrap();
        let _ = stranger.send_to(b"stranger", to);
        peer.send_to(b"peer", to).unwrap();
        assert_eq!(receiver.join(), b"peer");
    });
}

/// Promise 8. A damaged or filtered packet is an event without a datagram; a burst is one event with many. All come.
#[test]
fn a_burst_is_received_to_its_end() {
    const DATAGRAMS: usize = 100;
    matrix(LIMIT, "a burst of datagrams", |case| {
        let (peer, _) = peer();
        let ours = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = ours.local_addr().unwrap();
        let fd = ours.as_raw_fd();
        let receiver = case.spawn(move || {
            let mut buf = [0; 100];
            for number in 0..DATAGRAMS {
                assert_eq!(ours.recv(&mut buf).unwrap(), 2);
                assert_eq!(usize::from(buf[0]), number);
            }
        });
        receiver.until_waiting(fd);
        for number in 0..DATAGRAMS {
            peer.send_to(&[number as u8, 0], to).unwrap();
        }
        receiver.join();
    });
}

/// Promise 19. A group's members hear what is sent to it, until they leave.
#[test]
fn a_group_is_heard_by_its_members() {
    let group = Ipv4Addr::new(239, 255, 77, 1);
    within(LIMIT, "multicast over loopback", || {
        let runtime = support::runtime(2, false);
        let member = UdpSocket::bind(("0.0.0.0", 0)).unwrap();
        let port = member.local_addr().unwrap().port();
        member
            .join_multicast_v4(&group, &Ipv4Addr::LOCALHOST)
            .unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        let outgoing = socket2::SockRef::from(&sender).set_multicast_if_v4(&Ipv4Addr::LOCALHOST);
        outgoing.unwrap();
        let from = sender.local_addr().unwrap();
        let (fd, clone) = (member.as_raw_fd(), member.try_clone().unwrap());
        let hears = runtime.spawn(move || clone.recv_from(&mut [0; 16]).unwrap());
        while support::pollers_of(fd) == 0 {
            std::thread::sleep(Duration::from_micros(50));
        }
        sender.send_to(b"hello all", (group, port)).unwrap();
        assert_eq!(hears.join().unwrap(), (9, from));
        member
            .leave_multicast_v4(&group, &Ipv4Addr::LOCALHOST)
            .unwrap();
        sender.send_to(b"anybody?", (group, port)).unwrap();
        // What comes by its own address comes after what has gone nowhere.
        sender.send_to(b"you", ("127.0.0.1", port)).unwrap();
        assert_eq!(member.recv(&mut [0; 16]).unwrap(), 3);
    });
}

/// Promise 12. Names are looked up; a bind or connect takes the first address that can be used, a send the first.
#[test]
fn names_and_lists_of_addresses_do_as_stds_do() {
    matrix(LIMIT, "names and lists", |case| {
        let (peer, addr) = peer();
        let port = addr.port();
        case.run(move || {
            let foreign: SocketAddr = "192.0.2.1:0".parse().unwrap();
            let local: SocketAddr = "127.0.0.1:0".parse().unwrap();
            let ours = UdpSocket::bind(&[foreign, local][..]).unwrap();
            assert_eq!(ours.local_addr().unwrap().ip(), local.ip());
            assert_eq!(
                kind(&UdpSocket::bind(foreign)),
                Some(ErrorKind::AddrNotAvailable)
            );
            let none: &[SocketAddr] = &[];
            assert_eq!(kind(&UdpSocket::bind(none)), Some(ErrorKind::InvalidInput));
            assert_eq!(
                kind(&ours.send_to(b"x", none)),
                Some(ErrorKind::InvalidInput)
            );
            let v6: SocketAddr = "[::1]:9".parse().unwrap();
            // Of the other family: the first address decides a send, but not a connect.
            assert!(ours.send_to(b"x", &[v6, addr][..]).is_err());
            assert_eq!(ours.send_to(b"to a list", &[addr, v6][..]).unwrap(), 9);
            assert_eq!(
                ours.send_to(b"to a text", format!("127.0.0.1:{port}"))
                    .unwrap(),
                9
            );
            ours.connect(&[v6, addr][..]).unwrap();
            assert_eq!(ours.peer_addr().unwrap(), addr);
            let named = UdpSocket::bind("localhost:0").unwrap();
            assert!(named.local_addr().unwrap().ip().is_loopback());
        });
        for _ in 0..2 {
            assert_eq!(peer.recv(&mut [0; 16]).unwrap(), 9);
        }
    });
}

/// Promise 19. A broadcast needs the option, as with std.
#[test]
fn a_broadcast_needs_the_option() {
    let ours = UdpSocket::bind("127.0.0.1:0").unwrap();
    let everyone = (Ipv4Addr::BROADCAST, 9);
    assert_eq!(
        kind(&ours.send_to(b"x", everyone)),
        Some(ErrorKind::PermissionDenied)
    );
    assert!(!ours.broadcast().unwrap());
    ours.set_broadcast(true).unwrap();
    // It may have no way out, but it is allowed.
    assert_ne!(
        kind(&ours.send_to(b"x", everyone)),
        Some(ErrorKind::PermissionDenied)
    );
}
