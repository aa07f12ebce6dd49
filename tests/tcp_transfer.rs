//! Bytes in motion through TCP: short reads and writes under edge triggering, and what is no data. What holds for all
//! streams is in `stream_transfer.rs`, what for the readers of all sockets in `socket_readers.rs`.

mod support;

use std::io::{IoSlice, Read, Write};
use std::os::fd::AsRawFd;

use support::sockets::{check_stream, fill, narrow_pair, pair};
use support::{Callers, Case, LIMIT, matrix, pollers_of, within};
use withy::net::TcpListener;

/// Promise 8. The peer writes while the reader is between its short read and its wait.
#[test]
fn data_that_races_a_short_read_is_not_stranded() {
    const PIECES: usize = 20_000;
    matrix(LIMIT, "a stream of small pieces", |case| {
        let (mut ours, mut peer) = pair();
        peer.set_nodelay(true).unwrap();
        let reader = case.spawn(move || check_stream(&mut ours, PIECES * 37, 4096));
        let mut piece = [0; 37];
        for index in 0..PIECES {
            fill(&mut piece, index as u64 * 37);
            peer.write_all(&piece).unwrap();
        }
        reader.join();
    });
}

/// Promise 8. Each write is shorter than asked, which clears readiness; the peer drains in small steps.
#[test]
fn a_writer_of_large_slices_is_not_stranded_by_short_writes() {
    const LEN: usize = 1 << 20;
    matrix(
        LIMIT,
        "vectored writes larger than the send buffer",
        |case| {
            let (mut ours, mut peer) = narrow_pair();
            let writer = case.spawn(move || {
                let mut bytes = vec![0; LEN];
                fill(&mut bytes, 0);
                let mut sent = 0;
                while sent < LEN {
                    let (head, tail) = bytes[sent..].split_at((LEN - sent) / 2);
                    sent += ours
                        .write_vectored(&[IoSlice::new(head), IoSlice::new(tail)])
                        .unwrap();
                }
            });
            check_stream(&mut peer, LEN, 999);
            writer.join();
        },
    );
}

/// Promise 9. Events of the other direction, and of options, are no data.
#[test]
fn a_blocked_read_ignores_events_that_bring_no_data() {
    matrix(LIMIT, "a read while the other direction is busy", |case| {
        let (mut ours, mut peer) = narrow_pair();
        let mut clone = ours.try_clone().unwrap();
        let fd = ours.as_raw_fd();
        let reader = case.spawn(move || {
            let mut buf = [0; 16];
            let n = clone.read(&mut buf).unwrap();
            buf[..n].to_vec()
        });
        reader.until_waiting(fd);
        let writer = case.spawn(move || ours.write_all(&vec![7; 1 << 20]).unwrap());
        let mut drained = vec![0; 1 << 20];
        peer.read_exact(&mut drained).unwrap();
        writer.join();
        peer.write_all(b"data").unwrap();
        assert_eq!(reader.join(), b"data");
    });
}

/// Promise 18. Nothing was waited for, so nothing was registered either.
#[test]
fn the_first_read_of_an_accepted_socket_that_has_data_needs_no_event() {
    matrix(LIMIT, "a first read", |case| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        peer.write_all(b"early").unwrap();
        case.run(move || {
            let (mut ours, _) = listener.accept().unwrap();
            let mut buf = [0; 16];
            assert_eq!(ours.read(&mut buf).unwrap(), 5);
            assert_eq!(ours.write(b"answer").unwrap(), 6);
            assert_eq!(pollers_of(ours.as_raw_fd()), 0);
            assert_eq!(pollers_of(listener.as_raw_fd()), 0);
        });
        let mut answer = [0; 6];
        peer.read_exact(&mut answer).unwrap();
    });
}

/// Promise 5. A thread and a coroutine use one connection through `&TcpStream`.
#[test]
fn a_shared_reference_reads_and_writes() {
    within(LIMIT, "an echo through references", || {
        let (ours, mut peer) = pair();
        let ours = std::sync::Arc::new(ours);
        let case = Case::new(2, false, Callers::Mixed);
        let (reader, writer) = (ours.clone(), ours);
        let reader = case.spawn(move || {
            let mut buf = [0; 5];
            Read::read_exact(&mut &*reader, &mut buf).unwrap();
            buf
        });
        let writer = case.spawn(move || Write::write_all(&mut &*writer, b"there").unwrap());
        let mut got = [0; 5];
        peer.read_exact(&mut got).unwrap();
        peer.write_all(b"again").unwrap();
        writer.join();
        assert_eq!((&got, &reader.join()), (b"there", b"again"));
    });
}
