//! How streams of each kind end: the peer's end, shutdowns through any clone, what is left unread.

mod endpoints;
mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;

use endpoints::{Stream, each};
use support::sockets::{fill, is_filled, kind};
use support::{Caller, Case, LIMIT, matrix};

each! {
    /// Promise 1. The second and later reads ask the kernel again, whatever the first one did to readiness.
    fn after_the_peers_end_every_read_gives_zero<E: Stream>() for [TcpStream, UnixStream] {
        matrix(LIMIT, "reads after the end of the stream", |case| {
            let (mut ours, peer) = E::pair();
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

    /// Promise 3.
    fn a_shutdown_through_one_clone_wakes_a_reader_of_another<E: Stream>() for [TcpStream, UnixStream] {
        matrix(LIMIT, "a reader on a clone", |case| {
            let (ours, _peer) = E::pair();
            let reader = reader_of_a_clone(case, &ours);
            reader.until_waiting(ours.as_raw_fd());
            ours.shutdown(Shutdown::Read);
            assert_eq!(reader.join(), 0);
        });
    }

    /// Promise 3. Of the end for writing of a Unix stream the kernel tells poll(2) and epoll(7) nothing.
    fn a_shutdown_through_one_clone_wakes_all_writers_of_others<E: Stream>() for [TcpStream, UnixStream] {
        matrix(LIMIT, "writers on clones", |case| {
            let (ours, _peer) = E::narrow_pair();
            let writers: Vec<_> = (0..3).map(|_| writer_of_a_clone(case, &ours)).collect();
            for writer in &writers {
                writer.until_waiting(ours.as_raw_fd());
            }
            ours.shutdown(Shutdown::Write);
            for writer in writers {
                assert_eq!(writer.join(), Some(ErrorKind::BrokenPipe));
            }
        });
    }

    /// Promise 3. Everyone who waits returns, the one that is registered and those behind it.
    fn a_shutdown_wakes_all_readers_and_writers<E: Stream>() for [TcpStream, UnixStream] {
        matrix(LIMIT, "four readers and four writers", |case| {
            let (ours, _peer) = E::narrow_pair();
            let readers: Vec<_> = (0..4).map(|_| reader_of_a_clone(case, &ours)).collect();
            let writers: Vec<_> = (0..4).map(|_| writer_of_a_clone(case, &ours)).collect();
            for writer in &writers {
                writer.until_waiting(ours.as_raw_fd());
            }
            ours.shutdown(Shutdown::Both);
            for reader in readers {
                assert_eq!(reader.join(), 0);
            }
            for writer in writers {
                assert_eq!(writer.join(), Some(ErrorKind::BrokenPipe));
            }
        });
    }

    /// Promise 4.
    fn a_write_closed_socket_still_reads<E: Stream>() for [TcpStream, UnixStream] {
        matrix(LIMIT, "a read after shutdown(Write)", |case| {
            let (mut ours, mut peer) = E::pair();
            let reader = case.spawn(move || {
                ours.shutdown(Shutdown::Write);
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
    fn bytes_before_the_end_come_first<E: Stream>() for [TcpStream, UnixStream] {
        const LEN: usize = 200_000;
        matrix(LIMIT, "bytes before a hang-up", |case| {
            let (mut ours, mut peer) = E::pair();
            let fd = ours.as_raw_fd();
            let reader = case.spawn(move || {
                // Registered first, so that the hang-up comes as an event with bytes behind it.
                let mut first = [0; 1];
                ours.read_exact(&mut first).unwrap();
                ours.shutdown(Shutdown::Write);
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
}

/// Gives what one read gives.
fn reader_of_a_clone<E: Stream>(case: &Case, stream: &E) -> Caller<usize> {
    let clone = E::clone(stream);
    case.spawn(move || clone.read(&mut [0; 16]).unwrap())
}

/// Writes more than fits, and gives the error that ends it.
fn writer_of_a_clone<E: Stream>(case: &Case, stream: &E) -> Caller<Option<ErrorKind>> {
    let mut clone = E::clone(stream);
    case.spawn(move || kind(&clone.write_all(&vec![7; 8 << 20])))
}
