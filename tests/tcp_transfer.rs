//! Bytes in motion: blocked writers, full duplex, short reads and writes under edge triggering.

mod support;

use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::Duration;

use support::sockets::{fill, is_filled, narrow_pair, pair};
use support::{Callers, Case, LIMIT, matrix, pollers_of, within};
use withy::net::{TcpListener, TcpStream};

/// Reads exactly `len` bytes in buffers of `step` and checks each.
fn check_stream(stream: &mut impl Read, len: usize, step: usize) {
    let mut buf = vec![0; step];
    let mut seen = 0;
    while seen < len {
        let n = stream.read(&mut buf).unwrap();
        assert_ne!(n, 0, "the stream ended after {seen} of {len} bytes");
        assert!(
            is_filled(&buf[..n], seen as u64),
            "wrong bytes in {seen}..{}",
            seen + n
        );
        seen += n;
    }
    assert_eq!(seen, len);
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
                std::io::copy(&mut peer, &mut back).unwrap();
            });
            let sent = block.clone();
            let writer = case.spawn(move || {
                for _ in 0..BLOCKS {
                    ours.write_all(&sent).unwrap();
                }
                ours.shutdown(std::net::Shutdown::Write).unwrap();
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
    const LEN: usize = 2 << 20;
    matrix(LIMIT, "a writer whose peer reads late", |case| {
        let (mut ours, mut peer) = narrow_pair();
        let fd = ours.as_raw_fd();
        let mut bytes = vec![0; LEN];
        fill(&mut bytes, 0);
        let writer = case.spawn(move || ours.write_all(&bytes).unwrap());
        writer.until_waiting(fd);
        check_stream(&mut peer, LEN, 10_000);
        writer.join();
    });
}

/// Promise 6. Small buffers make both block in each round: the writer until the peer has read, the reader until the
/// peer has written.
#[test]
fn a_reader_and_a_writer_of_one_socket_lose_no_wake_up_in_a_thousand_rounds() {
    const ROUNDS: usize = 1000;
    const LEN: usize = 16 << 10;
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

/// Promise 8. The buffer is never filled, so each read clears readiness by its shortness alone.
#[test]
fn data_after_a_short_read_is_not_stranded() {
    const ROUNDS: usize = 2000;
    matrix(LIMIT, "ping-pong of short reads", |case| {
        let (mut ours, mut peer) = pair();
        peer.set_nodelay(true).unwrap();
        let echo = case.spawn(move || {
            let mut buf = [0; 4096];
            loop {
                match ours.read(&mut buf).unwrap() {
                    0 => return,
                    n => ours.write_all(&buf[..n]).unwrap(),
                }
            }
        });
        for round in 0..ROUNDS {
            let sent = vec![round as u8; 1 + round % 100];
            let mut got = vec![0; sent.len()];
            peer.write_all(&sent).unwrap();
            peer.read_exact(&mut got).unwrap();
            assert_eq!(got, sent);
        }
        drop(peer);
        echo.join();
    });
}

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

/// Promise 8. A full buffer says nothing about what is left.
#[test]
fn data_beyond_a_full_buffer_is_not_stranded() {
    const LEN: usize = 10_000;
    matrix(LIMIT, "reads with a buffer smaller than the data", |case| {
        let (mut ours, mut peer) = pair();
        let fd = ours.as_raw_fd();
        // All of it comes with one event; the peer stays open, so no end of stream helps.
        let reader = case.spawn(move || check_stream(&mut ours, LEN, 7));
        reader.until_waiting(fd);
        let mut bytes = vec![0; LEN];
        fill(&mut bytes, 0);
        peer.write_all(&bytes).unwrap();
        reader.join();
    });
}

/// Promise 8. A peek leaves everything, however short it was.
#[test]
fn data_after_a_peek_is_not_stranded() {
    matrix(LIMIT, "a read after a short peek", |case| {
        let (mut ours, mut peer) = pair();
        let fd = ours.as_raw_fd();
        let reader = case.spawn(move || {
            let mut buf = [0; 100];
            assert_eq!(ours.peek(&mut buf).unwrap(), 3);
            assert_eq!(ours.peek(&mut buf).unwrap(), 3);
            assert_eq!(ours.read(&mut buf).unwrap(), 3);
            assert_eq!(&buf[..3], b"abc");
        });
        reader.until_waiting(fd);
        peer.write_all(b"abc").unwrap();
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

/// Promise 9. An unpark is no data: the read goes on waiting, and the permit is kept for the caller's next park.
#[test]
fn a_blocked_read_ignores_unparks() {
    matrix(LIMIT, "a read that is unparked", |case| {
        let (mut ours, mut peer) = pair();
        let fd = ours.as_raw_fd();
        let coroutine = case.callers != Callers::Threads;
        let reader = case.spawn(move || {
            let mut buf = [0; 16];
            let n = ours.read(&mut buf).unwrap();
            if coroutine {
                withy::park()
            } else {
                thread::park()
            }
            buf[..n].to_vec()
        });
        reader.until_waiting(fd);
        for _ in 0..100 {
            reader.unpark();
            thread::yield_now();
        }
        peer.write_all(b"data").unwrap();
        assert_eq!(reader.join(), b"data");
    });
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

/// Promise 15. As std's: without a byte to move, writes and vectored calls have nothing to wait for, and a plain read
/// waits until there is something not to take.
#[test]
fn zero_length_calls_do_as_stds_do() {
    matrix(LIMIT, "zero-length reads and writes", |case| {
        let (mut ours, mut peer) = pair();
        let mut ours = case.run(move || {
            assert_eq!(ours.read_vectored(&mut []).unwrap(), 0);
            let mut empty = [IoSliceMut::new(&mut []), IoSliceMut::new(&mut [])];
            assert_eq!(ours.read_vectored(&mut empty).unwrap(), 0);
            assert_eq!(ours.write(&[]).unwrap(), 0);
            assert_eq!(ours.write_vectored(&[]).unwrap(), 0);
            assert_eq!(ours.write_vectored(&[IoSlice::new(&[])]).unwrap(), 0);
            ours.shutdown(std::net::Shutdown::Write).unwrap();
            assert_eq!(
                ours.write(&[]).unwrap_err().kind(),
                std::io::ErrorKind::BrokenPipe
            );
            assert_eq!(ours.write_vectored(&[IoSlice::new(&[])]).unwrap(), 0);
            ours
        });
        let fd = ours.as_raw_fd();
        let reader = case.spawn(move || {
            assert_eq!(ours.read(&mut []).unwrap(), 0);
            assert_eq!(ours.read(&mut []).unwrap(), 0);
            assert_eq!(ours.read(&mut [0; 4]).unwrap(), 1);
        });
        reader.until_waiting(fd);
        peer.write_all(b"x").unwrap();
        reader.join();
    });
}

/// Promise 15.
#[test]
fn vectored_reads_fill_their_buffers_in_order() {
    matrix(LIMIT, "a vectored read", |case| {
        let (mut ours, mut peer) = pair();
        peer.write_all(b"abcdefg").unwrap();
        case.run(move || {
            let (mut first, mut second, mut third) = ([0; 2], [0; 3], [0; 10]);
            let mut bufs = [
                IoSliceMut::new(&mut first),
                IoSliceMut::new(&mut []),
                IoSliceMut::new(&mut second),
                IoSliceMut::new(&mut third),
            ];
            assert_eq!(ours.read_vectored(&mut bufs).unwrap(), 7);
            assert_eq!((&first, &second, &third[..2]), (b"ab", b"cde", &b"fg"[..]));
        });
    });
}

/// Promise 15. More slices than one system call takes (1,024): as with std, the first ones go.
#[test]
fn more_slices_than_a_system_call_takes_are_cut_off() {
    matrix(LIMIT, "vectored calls with 3,000 slices", |case| {
        let (mut ours, mut peer) = pair();
        let caller = case.spawn(move || {
            let bytes: Vec<[u8; 1]> = (0..3000).map(|index| [index as u8]).collect();
            let slices: Vec<_> = bytes.iter().map(|byte| IoSlice::new(byte)).collect();
            assert_eq!(ours.write_vectored(&slices).unwrap(), 1024);
            let mut bytes = vec![[0; 1]; 3000];
            let mut slices: Vec<_> = bytes.iter_mut().map(|byte| IoSliceMut::new(byte)).collect();
            ours.peek(&mut [0]).unwrap();
            assert_eq!(ours.read_vectored(&mut slices).unwrap(), 1024);
            // What was cut off is still there: a full read of 1,024 slices clears no readiness.
            assert_eq!(ours.read(&mut [0; 4096]).unwrap(), 2000 - 1024);
        });
        let mut got = [0; 1024];
        peer.read_exact(&mut got).unwrap();
        assert!(
            got.iter()
                .enumerate()
                .all(|(index, byte)| *byte == index as u8)
        );
        peer.write_all(&[9; 2000]).unwrap();
        caller.join();
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

/// Promise 5. Both ends are ours, on one worker: neither may hold it while it waits for the other.
#[test]
fn two_coroutines_of_one_worker_stream_to_each_other() {
    const LEN: usize = 4 << 20;
    within(LIMIT, "a stream between coroutines of one worker", || {
        let case = Case::new(1, false, Callers::Coroutines);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let server = case.spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            check_stream(&mut stream, LEN, 50_000);
        });
        let client = case.spawn(move || {
            let mut stream = TcpStream::connect(addr).unwrap();
            stream
                .set_write_timeout(Some(Duration::from_secs(50)))
                .unwrap();
            let mut bytes = vec![0; LEN];
            fill(&mut bytes, 0);
            stream.write_all(&bytes).unwrap();
        });
        client.join();
        server.join();
    });
}
