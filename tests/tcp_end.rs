//! How a connection ends: the peer's end of stream, resets, half-closed sockets, what is left unread.

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsRawFd;

use support::sockets::{fill, is_filled, kind, narrow_pair, pair, reset};
use support::{LIMIT, matrix};

/// Promise 1. The second and later reads ask the kernel again, whatever the first one did to readiness.
#[test]
fn after_the_peers_end_every_read_gives_zero() {
    matrix(LIMIT, "reads after the end of the stream", |case| {
        let (mut ours, peer) = pair();
        let fd = ours.as_raw_fd();
        let reader = case.spawn(move || {
            let mut buf = [0; 16];
            for _ in 0..5 {
                assert_eq!(ours.read(&mut buf).unwrap(), 0);
            }
            assert_eq!(ours.peek(&mut buf).unwrap(), 0);
            assert_eq!(ours.read_to_end(&mut Vec::new()).unwrap(), 0);
        });
        reader.until_waiting(fd);
        drop(peer);
        reader.join();
    });
}

/// Promise 2.
#[test]
fn a_reset_reaches_a_blocked_reader() {
    matrix(LIMIT, "a reader whose peer resets", |case| {
        let (mut ours, peer) = pair();
        let fd = ours.as_raw_fd();
        let reader = case.spawn(move || {
            let result = ours.read(&mut [0; 16]);
            assert_eq!(
                kind(&result),
                Some(ErrorKind::ConnectionReset),
                "{result:?}"
            );
            // Once reported, the error is gone and the stream is at its end, as with std.
            assert_eq!(ours.read(&mut [0; 16]).unwrap(), 0);
        });
        reader.until_waiting(fd);
        reset(peer);
        reader.join();
    });
}

/// Promise 2.
#[test]
fn a_reset_reaches_a_blocked_writer() {
    matrix(LIMIT, "a writer whose peer resets", |case| {
        let (mut ours, peer) = narrow_pair();
        let fd = ours.as_raw_fd();
        let writer = case.spawn(move || ours.write_all(&vec![7; 8 << 20]));
        writer.until_waiting(fd);
        reset(peer);
        let result = writer.join();
        assert_eq!(
            kind(&result),
            Some(ErrorKind::ConnectionReset),
            "{result:?}"
        );
    });
}

/// Promise 3.
#[test]
fn a_shutdown_through_one_clone_wakes_a_reader_of_another() {
    matrix(LIMIT, "a reader on a clone", |case| {
        let (ours, _peer) = pair();
        let mut clone = ours.try_clone().unwrap();
        let reader = case.spawn(move || clone.read(&mut [0; 16]).unwrap());
        reader.until_waiting(ours.as_raw_fd());
        ours.shutdown(Shutdown::Read).unwrap();
        assert_eq!(reader.join(), 0);
    });
}

/// Promise 3.
#[test]
fn a_shutdown_through_one_clone_wakes_a_writer_of_another() {
    matrix(LIMIT, "a writer on a clone", |case| {
        let (ours, _peer) = narrow_pair();
        let mut clone = ours.try_clone().unwrap();
        let writer = case.spawn(move || clone.write_all(&vec![7; 8 << 20]));
        writer.until_waiting(ours.as_raw_fd());
        ours.shutdown(Shutdown::Write).unwrap();
        assert_eq!(kind(&writer.join()), Some(ErrorKind::BrokenPipe));
    });
}

/// Promise 3. Everyone who waits returns, the one that is registered and those behind it.
#[test]
fn a_shutdown_wakes_all_readers_and_writers() {
    matrix(LIMIT, "four readers and four writers", |case| {
        let (ours, _peer) = narrow_pair();
        let readers: Vec<_> = (0..4)
            .map(|_| {
                let mut clone = ours.try_clone().unwrap();
                case.spawn(move || clone.read(&mut [0; 16]).unwrap())
            })
            .collect();
        let writers: Vec<_> = (0..4)
            .map(|_| {
                let mut clone = ours.try_clone().unwrap();
                case.spawn(move || clone.write_all(&vec![7; 8 << 20]))
            })
            .collect();
        for writer in &writers {
            writer.until_waiting(ours.as_raw_fd());
        }
        ours.shutdown(Shutdown::Both).unwrap();
        for reader in readers {
            assert_eq!(reader.join(), 0);
        }
        for writer in writers {
            assert_eq!(kind(&writer.join()), Some(ErrorKind::BrokenPipe));
        }
    });
}

/// Promise 4.
#[test]
fn a_write_closed_socket_still_reads() {
    matrix(LIMIT, "a read after shutdown(Write)", |case| {
        let (mut ours, mut peer) = pair();
        let reader = case.spawn(move || {
            ours.shutdown(Shutdown::Write).unwrap();
            let mut all = Vec::new();
            ours.read_to_end(&mut all).unwrap();
            all
        });
        // The peer answers only once it has seen our end, so the answer comes to a write-closed socket.
        assert_eq!(peer.read(&mut [0; 16]).unwrap(), 0);
        peer.write_all(b"late answer").unwrap();
        drop(peer);
        assert_eq!(reader.join(), b"late answer");
    });
}

/// Promise 11. Both directions are closed (HUP) while bytes are unread.
#[test]
fn bytes_before_the_end_come_first() {
    const LEN: usize = 200_000;
    matrix(LIMIT, "bytes before a hang-up", |case| {
        let (mut ours, mut peer) = pair();
        let fd = ours.as_raw_fd();
        let reader = case.spawn(move || {
            // Registered first, so that the hang-up comes as an event with bytes behind it.
            let mut first = [0; 1];
            ours.read_exact(&mut first).unwrap();
            ours.shutdown(Shutdown::Write).unwrap();
            let mut all = first.to_vec();
            let mut buf = [0; 1000];
            loop {
                match ours.read(&mut buf).unwrap() {
                    0 => return all,
                    n => all.extend_from_slice(&buf[..n]),
                }
            }
        });
        reader.until_waiting(fd);
        let mut bytes = vec![0; LEN];
        fill(&mut bytes, 0);
        peer.write_all(&bytes).unwrap();
        drop(peer);
        let all = reader.join();
        assert_eq!(all.len(), LEN);
        assert!(is_filled(&all, 0));
    });
}
