//! Unix streams: bytes in motion, ends, shutdowns, and what passed descriptors do to reads.

mod support;

use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream as Peer;
use std::thread;

use socket2::SockRef;
use support::sockets::{fill, is_filled, kind};
use support::{Callers, Case, LIMIT, matrix, within};
use withy::net::UnixStream;

fn pair() -> (UnixStream, Peer) {
    let (ours, peer) = Peer::pair().expect("a descriptor is free");
    (ours.into(), peer)
}

fn narrow_pair() -> (UnixStream, Peer) {
    let (ours, peer) = pair();
    for size in [
        SockRef::from(&ours).set_send_buffer_size(4096),
        SockRef::from(&peer).set_send_buffer_size(4096),
    ] {
        size.expect("the size can be set");
    }
    (ours, peer)
}

/// Promise 5.
#[test]
fn a_hundred_megabytes_arrive_intact() {
    const BLOCK: usize = 1 << 20;
    const BLOCKS: usize = 100;
    let mut block = vec![0; BLOCK];
    fill(&mut block, 0);
    for (full_stealing, callers) in [
        (false, Callers::Coroutines),
        (true, Callers::Coroutines),
        (false, Callers::Threads),
    ] {
        within(4 * LIMIT, "100 MB through one connection and back", || {
            let case = Case::new(2, full_stealing, callers);
            let (mut ours, mut peer) = pair();
            let mut clone = ours.try_clone().unwrap();
            let echo = thread::spawn(move || {
                let mut back = peer.try_clone().unwrap();
                // Not `io::copy`, which would splice.
                let mut buf = vec![0; 100_000];
                loop {
                    match peer.read(&mut buf).unwrap() {
                        0 => return,
                        n => back.write_all(&buf[..n]).unwrap(),
                    }
                }
            });
            let sent = block.clone();
            let writer = case.spawn(move || {
                for _ in 0..BLOCKS {
                    ours.write_all(&sent).unwrap();
                }
                ours.shutdown(Shutdown::Write).unwrap();
            });
            let expected = block.clone();
            let reader = case.spawn(move || {
                let mut got = vec![0; BLOCK];
                for index in 0..BLOCKS {
                    clone.read_exact(&mut got).unwrap();
                    assert!(got == expected, "wrong bytes in MiB {index}");
                }
                assert_eq!(clone.read(&mut got).unwrap(), 0);
            });
            writer.join();
            reader.join();
            echo.join().unwrap();
        });
    }
}

/// Promise 5.
#[test]
fn a_blocked_write_goes_on_when_the_peer_drains() {
    const LEN: usize = 1 << 20;
    matrix(LIMIT, "a writer whose peer reads late", |case| {
        let (mut ours, mut peer) = narrow_pair();
        let fd = ours.as_raw_fd();
        let mut bytes = vec![0; LEN];
        fill(&mut bytes, 0);
        let writer = case.spawn(move || ours.write_all(&bytes).unwrap());
        writer.until_waiting(fd);
        let mut got = Vec::new();
        peer.read_to_end(&mut got).unwrap();
        assert!(got.len() == LEN && is_filled(&got, 0));
        writer.join();
    });
}

/// Promise 6. Small buffers make both block in each round.
#[test]
fn a_reader_and_a_writer_of_one_socket_lose_no_wake_up_in_a_thousand_rounds() {
    const ROUNDS: usize = 1000;
    const LEN: usize = 8 << 10;
    matrix(2 * LIMIT, "1,000 rounds of full duplex", |case| {
        let (mut ours, mut peer) = narrow_pair();
        let mut clone = ours.try_clone().unwrap();
        let reader = case.spawn(move || {
            let mut buf = vec![0; LEN];
            for round in 0..ROUNDS {
                clone.read_exact(&mut buf).unwrap();
                assert!(buf.iter().all(|byte| *byte == round as u8));
            }
        });
        let writer = case.spawn(move || {
            for round in 0..ROUNDS {
                ours.write_all(&vec![round as u8; LEN]).unwrap();
            }
        });
        let mut buf = vec![0; LEN];
        for round in 0..ROUNDS {
            peer.read_exact(&mut buf).unwrap();
            assert!(buf.iter().all(|byte| *byte == round as u8));
            peer.write_all(&buf).unwrap();
        }
        writer.join();
        reader.join();
    });
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
            let received = ours.recv_with_fds(&mut buf, 1).unwrap();
            assert_eq!((received.bytes, received.fds.len()), (0, 0));
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
        let (mut ours, peer) = narrow_pair();
        let fd = ours.as_raw_fd();
        let writer = case.spawn(move || ours.write_all(&vec![7; 1 << 20]));
        writer.until_waiting(fd);
        drop(peer);
        assert_eq!(kind(&writer.join()), Some(ErrorKind::BrokenPipe));
    });
}

/// Promise 3. Everyone who waits returns, the one that is registered and those behind it.
#[test]
fn a_shutdown_wakes_all_readers_and_writers_of_all_clones() {
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
                case.spawn(move || clone.write_all(&vec![7; 1 << 20]))
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

/// Promise 3. Of this end the kernel tells poll(2) and epoll(7) nothing.
#[test]
fn a_shutdown_for_writing_wakes_all_writers_of_all_clones() {
    matrix(LIMIT, "writers that are shut down", |case| {
        let (ours, _peer) = narrow_pair();
        let writers: Vec<_> = (0..3)
            .map(|_| {
                let mut clone = ours.try_clone().unwrap();
                case.spawn(move || clone.write_all(&vec![7; 1 << 20]))
            })
            .collect();
        for writer in &writers {
            writer.until_waiting(ours.as_raw_fd());
        }
        ours.shutdown(Shutdown::Write).unwrap();
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
        assert_eq!(peer.read(&mut [0; 16]).unwrap(), 0);
        peer.write_all(b"late answer").unwrap();
        drop(peer);
        assert_eq!(reader.join(), b"late answer");
    });
}

/// Promise 11. Both directions are closed (HUP) while bytes are unread.
#[test]
fn bytes_before_the_end_come_first() {
    const LEN: usize = 100_000;
    matrix(LIMIT, "bytes before a hang-up", |case| {
        let (mut ours, mut peer) = pair();
        let fd = ours.as_raw_fd();
        let reader = case.spawn(move || {
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
        assert!(all.len() == LEN && is_filled(&all, 0));
    });
}

/// Promise 15.
#[test]
fn vectored_calls_fill_their_buffers_in_order() {
    matrix(LIMIT, "vectored calls", |case| {
        let (mut ours, mut peer) = pair();
        peer.write_all(b"abcdefg").unwrap();
        case.run(move || {
            assert_eq!(ours.read_vectored(&mut []).unwrap(), 0);
            let (mut first, mut second, mut third) = ([0; 2], [0; 3], [0; 10]);
            let mut bufs = [
                IoSliceMut::new(&mut first),
                IoSliceMut::new(&mut []),
                IoSliceMut::new(&mut second),
                IoSliceMut::new(&mut third),
            ];
            assert_eq!(ours.read_vectored(&mut bufs).unwrap(), 7);
            assert_eq!((&first, &second, &third[..2]), (b"ab", b"cde", &b"fg"[..]));
            let bytes: Vec<[u8; 1]> = (0..3000).map(|index| [index as u8]).collect();
            let slices: Vec<_> = bytes.iter().map(|byte| IoSlice::new(byte)).collect();
            assert_eq!(ours.write_vectored(&slices).unwrap(), 1024);
        });
        let mut got = [0; 1024];
        peer.read_exact(&mut got).unwrap();
        assert!(
            got.iter()
                .enumerate()
                .all(|(index, byte)| *byte == index as u8)
        );
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

/// Promise 5. Both ends are ours, on one worker.
#[test]
fn two_coroutines_of_one_worker_stream_to_each_other() {
    within(LIMIT, "a stream within one worker", || {
        let case = Case::new(1, false, Callers::Coroutines);
        let (mut one, mut other) = UnixStream::pair().unwrap();
        let writer = case.spawn(move || one.write_all(&vec![7; 4 << 20]).unwrap());
        let reader = case.spawn(move || {
            let mut all = Vec::new();
            other.read_to_end(&mut all).unwrap();
            all.len()
        });
        writer.join();
        assert_eq!(reader.join(), 4 << 20);
    });
}
