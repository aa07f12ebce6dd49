//! Unix datagrams: both directions at a time, ends, senders' names.

mod support;

use std::io::ErrorKind;
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::net as std_unix;

use support::sockets::{fill, is_filled, kind};
use support::{LIMIT, matrix};
use withy::net::UnixDatagram;
use withy::net::unix::SocketAddrExt;

fn pair() -> (UnixDatagram, std_unix::UnixDatagram) {
    let (ours, peer) = std_unix::UnixDatagram::pair().expect("a descriptor is free");
    (ours.into(), peer)
}

/// Promise 6. The receiver holds few datagrams, so that both sides block in each round.
#[test]
fn a_reader_and_a_writer_of_one_socket_lose_no_wake_up_in_a_thousand_rounds() {
    const ROUNDS: usize = 1000;
    const LEN: usize = 4 << 10;
    matrix(2 * LIMIT, "1,000 rounds of both directions", |case| {
        let (ours, peer) = pair();
        socket2::SockRef::from(&ours)
            .set_send_buffer_size(2 * LEN)
            .unwrap();
        let clone = ours.try_clone().unwrap();
        let reader = case.spawn(move || {
            let mut buf = vec![0; 2 * LEN];
            for round in 0..ROUNDS {
                assert_eq!(clone.recv(&mut buf).unwrap(), LEN);
                assert!(is_filled(&buf[..LEN], round as u64));
            }
        });
        let writer = case.spawn(move || {
            let mut bytes = vec![0; LEN];
            for round in 0..ROUNDS {
                fill(&mut bytes, round as u64);
                assert_eq!(ours.send(&bytes).unwrap(), LEN);
            }
        });
        let mut buf = vec![0; 2 * LEN];
        for round in 0..ROUNDS {
            assert_eq!(peer.recv(&mut buf).unwrap(), LEN);
            assert!(is_filled(&buf[..LEN], round as u64));
            peer.send(&buf[..LEN]).unwrap();
        }
        writer.join();
        reader.join();
    });
}

/// Promise 3. Everyone who waits returns, through any clone: receivers with nothing, senders with a broken pipe.
#[test]
fn a_shutdown_wakes_all_receivers_and_senders() {
    matrix(LIMIT, "receivers and senders that are shut down", |case| {
        shut_down(case, &[Shutdown::Both]);
        shut_down(case, &[Shutdown::Write, Shutdown::Read]);
    });
}

fn shut_down(case: &support::Case, hows: &[Shutdown]) {
    let (ours, _peer) = pair();
    let receivers: Vec<_> = (0..3)
        .map(|_| {
            let clone = ours.try_clone().unwrap();
            case.spawn(move || clone.recv(&mut [0; 16]).unwrap())
        })
        .collect();
    let senders: Vec<_> = (0..3)
        .map(|_| {
            let clone = ours.try_clone().unwrap();
            case.spawn(move || {
                loop {
                    if let Err(error) = clone.send(&[7; 4096]) {
                        return error.kind();
                    }
                }
            })
        })
        .collect();
    for sender in &senders {
        sender.until_waiting(ours.as_raw_fd());
    }
    for how in hows {
        ours.shutdown(*how).unwrap();
    }
    for receiver in receivers {
        assert_eq!(receiver.join(), 0);
    }
    for sender in senders {
        assert_eq!(sender.join(), ErrorKind::BrokenPipe);
    }
    // And again, by every call.
    let ended = ours.try_clone().unwrap();
    case.run(move || {
        let mut buf = [0; 4];
        assert_eq!(ended.peek(&mut buf).unwrap(), 0);
        let (len, sender) = ended.recv_from(&mut buf).unwrap();
        assert!(len == 0 && sender.is_unnamed());
        let received = ended.recv_with_fds(&mut buf, 1).unwrap();
        assert_eq!((received.bytes, received.fds.len()), (0, 0));
        ended.set_nonblocking(true).unwrap();
        // As std's.
        assert_eq!(kind(&ended.recv(&mut buf)), Some(ErrorKind::WouldBlock));
    });
}

/// Promise 11. What came before the end comes first.
#[test]
fn datagrams_before_the_end_come_first() {
    matrix(LIMIT, "datagrams before a shutdown", |case| {
        let (ours, peer) = pair();
        peer.send(b"1").unwrap();
        peer.send(b"22").unwrap();
        case.run(move || {
            ours.shutdown(Shutdown::Read).unwrap();
            let lengths: Vec<_> = (0..4).map(|_| ours.recv(&mut [0; 4]).unwrap()).collect();
            assert_eq!(lengths, [1, 2, 0, 0]);
        });
    });
}

/// Promise 12. A peer that closes is a refusal to a sender, and nothing to a receiver, who can have a limit.
#[test]
fn a_peer_that_closes_refuses() {
    matrix(LIMIT, "a sender whose peer closes", |case| {
        let (ours, peer) = pair();
        let fd = ours.as_raw_fd();
        let sender = case.spawn(move || {
            loop {
                if let Err(error) = ours.send(&[7; 4096]) {
                    return error.kind();
                }
            }
        });
        sender.until_waiting(fd);
        drop(peer);
        let refused = sender.join();
        assert!(
            matches!(
                refused,
                ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset
            ),
            "{refused:?}"
        );
    });
}

/// Promise 15. Each datagram says from whom it is: a path, an abstract name, or nobody.
#[test]
fn a_datagram_says_from_whom_it_is() {
    matrix(LIMIT, "senders with and without a name", |case| {
        let ours = UnixDatagram::bind("").unwrap();
        let addr = ours.local_addr().unwrap();
        let fd = ours.as_raw_fd();
        let receiver = case.spawn(move || {
            let mut buf = [0; 8];
            (0..2)
                .map(|_| {
                    let peeked = ours.peek_from(&mut buf).unwrap();
                    let (len, sender) = ours.recv_from(&mut buf).unwrap();
                    assert_eq!(format!("{peeked:?}"), format!("{:?}", (len, &sender)));
                    (len, sender)
                })
                .collect::<Vec<_>>()
        });
        receiver.until_waiting(fd);
        let nobody = std_unix::UnixDatagram::unbound().unwrap();
        nobody.send_to_addr(b"1", &addr).unwrap();
        let named = std_unix::UnixDatagram::bind("").unwrap();
        named.send_to_addr(b"22", &addr).unwrap();
        let received = receiver.join();
        assert!(received[0].0 == 1 && received[0].1.is_unnamed());
        assert_eq!(received[1].0, 2);
        let name = named.local_addr().unwrap();
        assert_eq!(received[1].1.as_abstract_name(), name.as_abstract_name());
        assert!(name.as_abstract_name().is_some());
    });
}

/// Promise 19. A datagram that no buffer could hold is an error at once, as std's.
#[test]
fn a_datagram_that_is_too_long_is_refused() {
    let (ours, peer) = pair();
    let long = vec![0; 64 << 20];
    let expected = peer.send(&long).unwrap_err().raw_os_error();
    assert_eq!(ours.send(&long).unwrap_err().raw_os_error(), expected);
    let bound = UnixDatagram::bind("").unwrap();
    let sent = UnixDatagram::unbound()
        .unwrap()
        .send_to_addr(&long, &bound.local_addr().unwrap());
    assert_eq!(sent.unwrap_err().raw_os_error(), expected);
    assert_eq!(kind(&ours.send(b"short")), None);
}
