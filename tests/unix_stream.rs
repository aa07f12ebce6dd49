//! Unix streams: what passed descriptors do to reads, peers that close early, out-of-band data. What holds for all streams
//! is in `stream_transfer.rs` and `stream_end.rs`.

mod support;

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream as Peer;

use socket2::SockRef;
use support::sockets::kind;
use support::{LIMIT, matrix};
use withy::net::UnixStream;

fn pair() -> (UnixStream, Peer) {
    let (ours, peer) = Peer::pair().expect("a descriptor is free");
    (ours.into(), peer)
}

/// Promise 8. A message with descriptors ends a read although more bytes stand behind it: such a short read says
/// nothing, and what comes with the same event is found.
#[test]
fn bytes_behind_passed_descriptors_are_not_stranded() {
    matrix(LIMIT, "reads at the boundaries of messages", |case| {
        let (ours, peer) = pair();
        let peer = UnixStream::from(peer);
        let fd = ours.as_raw_fd();
        let reader = case.spawn(move || {
            let mut buf = [0; 100];
            let mut lengths = Vec::new();
            let mut all = Vec::new();
            // As the bytes come one by one at first, the boundaries are seen in the end only.
            while all.len() < 13 {
                let n = Read::read(&mut &ours, &mut buf).unwrap();
                lengths.push(n);
                all.extend_from_slice(&buf[..n]);
            }
            (all, lengths)
        });
        reader.until_waiting(fd);
        peer.send_with_fds(b"first", &[peer.as_fd()]).unwrap();
        peer.send_with_fds(b"then", &[peer.as_fd()]).unwrap();
        Write::write_all(&mut &peer, b"rest").unwrap();
        let (all, lengths) = reader.join();
        assert_eq!(all, b"firstthenrest");
        assert!(lengths.len() >= 2, "the kernel glued messages: {lengths:?}");
    });
}

/// Promise 8. All stands there before the registered reader goes on, so that no event is to come; the peer stays open, so
/// that no end of stream helps.
#[test]
fn a_short_read_at_a_boundary_keeps_a_registered_socket_ready() {
    matrix(LIMIT, "a registered reader and three messages", |case| {
        let (ours, peer) = pair();
        let peer = UnixStream::from(peer);
        let fd = ours.as_raw_fd();
        let (all_sent, sent) = withy::sync::mpsc::channel();
        let reader = case.spawn(move || {
            let mut buf = [0; 100];
            // Registers it.
            assert_eq!(Read::read(&mut &ours, &mut buf[..1]).unwrap(), 1);
            sent.recv().unwrap();
            let mut all = Vec::new();
            while all.len() < 9 {
                let n = Read::read(&mut &ours, &mut buf).unwrap();
                all.extend_from_slice(&buf[..n]);
            }
            all
        });
        reader.until_waiting(fd);
        Write::write_all(&mut &peer, b"0").unwrap();
        for piece in [b"abc", b"def", b"ghi"] {
            peer.send_with_fds(piece, &[peer.as_fd()]).unwrap();
        }
        all_sent.send(()).unwrap();
        assert_eq!(reader.join(), b"abcdefghi");
    });
}

/// Promise 1.
#[test]
fn after_the_peers_end_no_descriptors_come() {
    matrix(LIMIT, "reads after the end of the stream", |case| {
        let (ours, peer) = pair();
        let fd = ours.as_raw_fd();
        let reader = case.spawn(move || {
            for _ in 0..3 {
                let received = ours.recv_with_fds(&mut [0; 16], 1).unwrap();
                assert_eq!((received.bytes, received.fds.len()), (0, 0));
            }
        });
        reader.until_waiting(fd);
        drop(peer);
        reader.join();
    });
}

/// Promise 2. A peer that closes with bytes unread resets; a write to it is a broken pipe and no signal.
#[test]
fn a_peer_that_closes_early_resets_and_breaks_the_pipe() {
    matrix(LIMIT, "a peer that closes with bytes unread", |case| {
        let (mut ours, peer) = pair();
        ours.write_all(b"unread").unwrap();
        let fd = ours.as_raw_fd();
        let reader = case.spawn(move || {
            assert_eq!(
                kind(&ours.read(&mut [0; 16])),
                Some(ErrorKind::ConnectionReset)
            );
            assert_eq!(ours.read(&mut [0; 16]).unwrap(), 0);
            assert_eq!(kind(&ours.write(b"x")), Some(ErrorKind::BrokenPipe));
            assert_eq!(
                kind(&ours.send_with_fds(b"x", &[ours.as_fd()])),
                Some(ErrorKind::BrokenPipe)
            );
        });
        reader.until_waiting(fd);
        drop(peer);
        reader.join();
    });
}

/// Promise 2.
#[test]
fn a_peer_that_closes_ends_a_blocked_writer() {
    matrix(LIMIT, "a writer whose peer closes", |case| {
        let (mut ours, peer) = pair();
        let fd = ours.as_raw_fd();
        let writer = case.spawn(move || ours.write_all(&vec![7; 1 << 20]));
        writer.until_waiting(fd);
        drop(peer);
        assert_eq!(kind(&writer.join()), Some(ErrorKind::BrokenPipe));
    });
}

/// Promise 16. Out-of-band data (Linux 5.15 has it on Unix streams) neither spins nor hangs a reader.
#[test]
fn out_of_band_data_neither_spins_nor_hangs() {
    matrix(LIMIT, "a reader of urgent data", |case| {
        let (mut ours, mut peer) = pair();
        let fd = ours.as_raw_fd();
        let reader = case.spawn(move || {
            let mut all = Vec::new();
            ours.read_to_end(&mut all).unwrap();
            all
        });
        reader.until_waiting(fd);
        peer.write_all(b"before").unwrap();
        // A kernel built without it refuses.
        let _ = SockRef::from(&peer).send_out_of_band(b"!");
        peer.write_all(b"behind").unwrap();
        drop(peer);
        let all = reader.join();
        let text: Vec<_> = all.into_iter().filter(|byte| *byte != b'!').collect();
        assert_eq!(text, b"beforebehind");
    });
}
