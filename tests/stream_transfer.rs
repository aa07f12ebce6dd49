//! Bytes in motion through streams of each kind: blocked writers, full duplex, boundaries of buffers.

mod endpoints;
mod support;

use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::thread;

use endpoints::{Stream, each};
use support::sockets::{check_stream, fill, kind};
use support::{Callers, Case, LIMIT, matrix, within};

each! {
    /// Promise 5.
    fn a_hundred_megabytes_arrive_intact<E: Stream>() for [TcpStream, UnixStream] {
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
                let (mut ours, mut peer) = E::pair();
                let mut clone = E::clone(&ours);
                let echo = thread::spawn(move || {
                    // Not `io::copy`, which would splice.
                    let mut buf = vec![0; 100_000];
                    loop {
                        match peer.read(&mut buf).unwrap() {
                            0 => return,
                            n => peer.write_all(&buf[..n]).unwrap(),
                        }
                    }
                });
                let sent = block.clone();
                let writer = case.spawn(move || {
                    for _ in 0..BLOCKS {
                        ours.write_all(&sent).unwrap();
                    }
                    ours.shutdown(Shutdown::Write);
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
    fn a_blocked_write_goes_on_when_the_peer_drains<E: Stream>() for [TcpStream, UnixStream] {
        const LEN: usize = 2 << 20;
        matrix(LIMIT, "a writer whose peer reads late", |case| {
            let (mut ours, mut peer) = E::narrow_pair();
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
    fn a_reader_and_a_writer_of_one_socket_lose_no_wake_up_in_a_thousand_rounds<E: Stream>() for [TcpStream, UnixStream] {
        const ROUNDS: usize = 1000;
        const LEN: usize = 16 << 10;
        matrix(2 * LIMIT, "1,000 rounds of full duplex", |case| {
            let (mut ours, mut peer) = E::narrow_pair();
            let mut clone = E::clone(&ours);
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

    /// Promise 5. Both ends are ours, on one worker: neither may hold it while it waits for the other.
    fn two_coroutines_of_one_worker_stream_to_each_other<E: Stream>() for [TcpStream, UnixStream] {
        const LEN: usize = 4 << 20;
        within(LIMIT, "a stream between coroutines of one worker", || {
            let case = Case::new(1, false, Callers::Coroutines);
            let (mut one, other) = E::pair();
            let mut other = E::from(other.into());
            let writer = case.spawn(move || {
                let mut bytes = vec![0; LEN];
                fill(&mut bytes, 0);
                one.write_all(&bytes).unwrap();
            });
            let reader = case.spawn(move || {
                check_stream(&mut other, LEN, 50_000);
                assert_eq!(other.read(&mut [0]).unwrap(), 0);
            });
            writer.join();
            reader.join();
        });
    }

    /// Promise 8. A full buffer says nothing about what is left.
    fn data_beyond_a_full_buffer_is_not_stranded<E: Stream>() for [TcpStream, UnixStream] {
        const LEN: usize = 10_000;
        matrix(LIMIT, "reads with a buffer smaller than the data", |case| {
            let (mut ours, mut peer) = E::pair();
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

    /// Promise 15. As std's: without a byte to move, writes and vectored calls have nothing to wait for, and a plain read
    /// waits until there is something not to take.
    fn zero_length_calls_do_as_stds_do<E: Stream>() for [TcpStream, UnixStream] {
        matrix(LIMIT, "zero-length reads and writes", |case| {
            let (mut ours, mut peer) = E::pair();
            let ours = case.run(move || {
                assert_eq!(ours.read_vectored(&mut []).unwrap(), 0);
                let mut empty = [IoSliceMut::new(&mut []), IoSliceMut::new(&mut [])];
                assert_eq!(ours.read_vectored(&mut empty).unwrap(), 0);
                assert_eq!(ours.write(&[]).unwrap(), 0);
                assert_eq!(ours.write_vectored(&[]).unwrap(), 0);
                assert_eq!(ours.write_vectored(&[IoSlice::new(&[])]).unwrap(), 0);
                ours.shutdown(Shutdown::Write);
                assert_eq!(kind(&ours.write(&[])), Some(ErrorKind::BrokenPipe));
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
    fn vectored_reads_fill_their_buffers_in_order<E: Stream>() for [TcpStream, UnixStream] {
        matrix(LIMIT, "a vectored read", |case| {
            let (mut ours, mut peer) = E::pair();
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
    fn more_slices_than_a_system_call_takes_are_cut_off<E: Stream>() for [TcpStream, UnixStream] {
        matrix(LIMIT, "vectored calls with 3,000 slices", |case| {
            let (mut ours, mut peer) = E::pair();
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
            assert!(got.iter().enumerate().all(|(index, byte)| *byte == index as u8));
            peer.write_all(&[9; 2000]).unwrap();
            caller.join();
        });
    }
}
