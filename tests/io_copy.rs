//! `io::copy` and what is around it: one direction.

mod endpoints;
mod rig;
mod support;

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use endpoints::Endpoint;
use rig::child::alone;
use rig::places::Client;
use rig::process::descriptors;
use rig::until;
use socket2::SockRef;
use support::sockets::{fill, is_filled, kind, narrow_pair, pair, reset};
use support::{LIMIT, matrix, within};
use withy::net::{Shutdown, TcpStream, UnixStream, duplex};

/// Bytes of a stream with a seed: their number and the sizes of the pieces are the seed's, too.
fn send_pieces(stream: &mut impl Write, seed: u64, len: usize) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut sent = 0;
    let mut piece = vec![0; 200_000];
    while sent < len {
        let size = random.usize(1..=piece.len().min(len - sent));
        fill(&mut piece[..size], sent as u64);
        stream.write_all(&piece[..size]).unwrap();
        sent += size;
    }
}

fn check_pieces(stream: &mut impl Read, seed: u64, len: usize) {
    let mut random = fastrand::Rng::with_seed(!seed);
    let mut seen = 0;
    let mut buf = vec![0; 300_000];
    loop {
        let room = random.usize(1..=buf.len());
        let n = stream.read(&mut buf[..room]).unwrap();
        assert!(
            is_filled(&buf[..n], seen as u64),
            "wrong bytes in {seen}..{}",
            seen + n
        );
        seen += n;
        if n == 0 {
            break;
        }
    }
    assert_eq!(seen, len);
}

/// Promise 5. Bytes of random numbers in pieces of random sizes arrive as they were sent, and are counted.
#[test]
fn bytes_arrive_exactly_whatever_their_pieces() {
    matrix(2 * LIMIT, "copies of random sizes", |case| {
        for seed in 0..6 {
            let len = fastrand::Rng::with_seed(seed).usize(0..3_000_000);
            let ((mut source, mut sink), (mut near, mut far)) = (pair(), pair());
            let copy = case.spawn(move || {
                let copied = withy::io::copy(&mut source, &mut near).unwrap();
                near.shutdown(Shutdown::Write).unwrap();
                copied
            });
            let sender = thread::spawn(move || send_pieces(&mut sink, seed, len));
            check_pieces(&mut far, seed, len);
            assert_eq!(copy.join(), len as u64);
            sender.join().unwrap();
        }
    });
}

/// Promises 5 and 8. Buffers as small as the kernel allows: each end is the one that has to be waited for, in turn.
#[test]
fn narrow_connections_lose_no_byte_and_no_wake_up() {
    const LEN: usize = 1 << 20;
    matrix(2 * LIMIT, "a copy between narrow connections", |case| {
        let ((mut source, mut sink), (mut near, mut far)) = (narrow_pair(), narrow_pair());
        let copy = case.spawn(move || withy::io::copy(&mut source, &mut near).unwrap());
        let sender = thread::spawn(move || send_pieces(&mut sink, 7, LEN));
        check_pieces(&mut far, 7, LEN);
        assert_eq!(copy.join(), LEN as u64);
        sender.join().unwrap();
    });
}

/// Readers and writers of every sort: what is no stream of withy goes through a buffer.
#[test]
fn anything_that_reads_and_writes_can_be_copied() {
    matrix(LIMIT, "copies of other types", |case| {
        let (mut source, mut sink) = pair();
        let copy = case.spawn(move || {
            let mut bytes = Vec::new();
            withy::io::copy(&mut source, &mut bytes).unwrap();
            bytes
        });
        sink.write_all(b"to memory").unwrap();
        drop(sink);
        assert_eq!(copy.join(), b"to memory");

        let (mut one, mut other) = duplex(7);
        let (mut near, mut far) = pair();
        let copy = case.spawn(move || withy::io::copy(&mut other, &mut near).unwrap());
        one.write_all(b"from a stream in memory").unwrap();
        drop(one);
        let mut text = String::new();
        far.read_to_string(&mut text).unwrap();
        assert_eq!(text, "from a stream in memory");
        assert_eq!(copy.join(), 23);

        let (near, mut far) = pair();
        let text: &mut dyn Read = &mut "by reference".as_bytes();
        withy::io::copy(text, &mut &near).unwrap();
        drop(near);
        let mut got = String::new();
        far.read_to_string(&mut got).unwrap();
        assert_eq!(got, "by reference");
    });
}

/// Promise 2.
#[test]
fn a_reset_of_either_end_is_the_error() {
    matrix(LIMIT, "copies whose ends are reset", |case| {
        let ((mut source, sink), (mut near, _far)) = (pair(), pair());
        reset(sink);
        let result = case.run(move || withy::io::copy(&mut source, &mut near));
        assert_eq!(kind(&result), Some(ErrorKind::ConnectionReset));

        let ((mut source, mut sink), (mut near, far)) = (pair(), pair());
        reset(far);
        let copy = case.spawn(move || withy::io::copy(&mut source, &mut near));
        // It meets the reset when it writes.
        while sink.write_all(&[7; 1000]).is_ok() && !copy_is_over(&sink) {}
        drop(sink);
        let result = copy.join();
        assert!(
            matches!(
                kind(&result),
                Some(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
            ),
            "{result:?}"
        );
    });
}

/// Whether the proxy's end of it was dropped.
fn copy_is_over(stream: &std::net::TcpStream) -> bool {
    stream.take_error().unwrap().is_some()
}

/// Promises 19 and 24. The streams' own limits hold.
#[test]
fn timeouts_deadlines_and_the_mode_of_the_streams_hold() {
    matrix(LIMIT, "copies with limits", |case| {
        let ((source, _sink), (mut near, _far)) = (pair(), pair());
        source
            .set_read_timeout(Some(Duration::from_millis(5)))
            .unwrap();
        let mut reader = source.try_clone().unwrap();
        let (result, mut near) = case.run(move || (withy::io::copy(&mut reader, &mut near), near));
        assert_eq!(kind(&result), Some(ErrorKind::WouldBlock));

        source.set_read_timeout(None).unwrap();
        source.set_read_deadline(Some(Instant::now())).unwrap();
        let mut reader = source.try_clone().unwrap();
        let (result, mut near) = case.run(move || (withy::io::copy(&mut reader, &mut near), near));
        assert_eq!(kind(&result), Some(ErrorKind::TimedOut));

        source.set_read_deadline(None).unwrap();
        source.set_nonblocking(true).unwrap();
        let mut reader = source.try_clone().unwrap();
        let result = case.run(move || withy::io::copy(&mut reader, &mut near));
        assert_eq!(kind(&result), Some(ErrorKind::WouldBlock));
    });
}

/// After a copy a stream is as blocking as before, to withy and to std.
#[test]
fn a_stream_that_was_copied_from_waits_as_before() {
    matrix(LIMIT, "streams after a copy", |case| {
        let ((mut source, mut sink), (mut near, mut far)) = (pair(), pair());
        sink.write_all(b"abc").unwrap();
        sink.shutdown(Shutdown::Write).unwrap();
        let (mut near, source) = case.run(move || {
            withy::io::copy(&mut source, &mut near).unwrap();
            (near, source)
        });
        far.read_exact(&mut [0; 3]).unwrap();
        let reader = case.spawn(move || {
            let mut byte = [0];
            near.read_exact(&mut byte).unwrap();
            (byte, near)
        });
        thread::sleep(Duration::from_millis(2));
        far.write_all(b"x").unwrap();
        let (byte, near) = reader.join();
        assert_eq!(&byte, b"x");
        for stream in [near, source] {
            let stream = std::net::TcpStream::from(stream);
            assert!(!SockRef::from(&stream.as_fd()).nonblocking().unwrap());
        }
    });
}

/// Promise 16. An urgent byte is left out, as by reads, and what stands behind it arrives: splice itself would stop there.
#[test]
fn urgent_data_in_the_stream_neither_spins_nor_hangs() {
    matrix(LIMIT, "a copy around an urgent byte", |case| {
        for end_at_once in [false, true] {
            let ((mut source, mut sink), (mut near, mut far)) = (pair(), pair());
            if end_at_once {
                sink.write_all(b"before").unwrap();
                SockRef::from(&sink).send_out_of_band(b"!").unwrap();
                sink.write_all(b"after").unwrap();
                sink.shutdown(Shutdown::Write).unwrap();
            }
            let copy = case.spawn(move || {
                let copied = withy::io::copy(&mut source, &mut near).unwrap();
                near.shutdown(Shutdown::Write).unwrap();
                copied
            });
            if !end_at_once {
                sink.write_all(b"before").unwrap();
                far.read_exact(&mut [0; 6]).unwrap();
                SockRef::from(&sink).send_out_of_band(b"!").unwrap();
                sink.write_all(b"after").unwrap();
                let mut after = [0; 5];
                far.read_exact(&mut after).unwrap();
                assert_eq!(&after, b"after");
                sink.shutdown(Shutdown::Write).unwrap();
            } else {
                let mut all = String::new();
                far.read_to_string(&mut all).unwrap();
                assert_eq!(all, "beforeafter");
            }
            assert_eq!(copy.join(), 11);
        }
    });
}

/// Promises 25, 28 and 49. A copy that is cut short copies nothing twice, and leaves no descriptor behind: neither a pipe with
/// bytes in it, nor one that is empty.
#[test]
fn an_interrupted_copy_copies_nothing_twice_and_leaves_no_descriptor() {
    if !alone(
        "an_interrupted_copy_copies_nothing_twice_and_leaves_no_descriptor",
        &[],
    ) {
        return;
    }
    // The pools of pipes belong to threads and go with them; the first time makes what stays.
    for round in 0..2 {
        let before = descriptors();
        matrix(LIMIT, "copies that are cut short", |case| {
            for seed in 0..8 {
                let ((mut source, mut sink), (mut near, mut far)) = (narrow_pair(), narrow_pair());
                let going = Arc::new(AtomicBool::new(false));
                let copy = case.spawn({
                    let going = going.clone();
                    move || {
                        going.store(true, Ordering::SeqCst);
                        let limit = Duration::from_micros(200 * seed);
                        let copy = || withy::io::copy(&mut source, &mut near).unwrap();
                        // One that is so slow itself that it never has to wait goes on to its end.
                        if let Ok(copied) = withy::timeout(limit, copy) {
                            assert_eq!(copied, 200_000);
                        }
                        drop((source, near));
                    }
                });
                until(|| going.load(Ordering::SeqCst));
                sink.set_write_timeout(Some(Duration::from_millis(100)))
                    .unwrap();
                let sender = thread::spawn(move || {
                    let mut bytes = vec![0; 200_000];
                    fill(&mut bytes, 0);
                    // Nobody takes all of it.
                    let _ = sink.write_all(&bytes);
                });
                let mut seen = 0;
                let mut buf = vec![0; 5_000];
                while let Ok(n @ 1..) = far.read(&mut buf) {
                    assert!(is_filled(&buf[..n], seen), "wrong bytes after {seen}");
                    seen += n as u64;
                    // Slowly, so that bytes are on their way when the end comes.
                    thread::yield_now();
                }
                copy.join();
                sender.join().unwrap();
            }
        });
        until(|| descriptors() <= before || round == 0);
    }
}

/// Promises 25 and 29. The pipe of a copy that was cut short has bytes in it that nobody wants any more. The next copy of the same
/// worker or thread does not get them.
#[test]
fn bytes_that_were_on_their_way_never_come_out_of_another_copy() {
    matrix(LIMIT, "a copy after one that was cut short", |case| {
        let ((mut source, sink), (mut near, _far)) = (narrow_pair(), narrow_pair());
        let ((mut next_source, mut next_sink), (mut next_near, mut next_far)) = (pair(), pair());
        let token = withy::CancelToken::new();
        let copies = case.spawn({
            let token = token.clone();
            move || {
                token
                    .run(|| withy::io::copy(&mut source, &mut near))
                    .unwrap_err();
                let copied = withy::io::copy(&mut next_source, &mut next_near).unwrap();
                drop(next_near);
                copied
            }
        });
        sink.send_until_held_up();
        token.cancel();
        next_sink.write_all(b"fresh").unwrap();
        drop(next_sink);
        let mut got = Vec::new();
        next_far.read_to_end(&mut got).unwrap();
        assert_eq!(String::from_utf8_lossy(&got), "fresh");
        assert_eq!(copies.join(), 5);
    });
}

/// Promise 48. A receiver that reads nothing holds up the sender; what is on its way does not grow.
#[test]
fn a_slow_reader_holds_up_the_sender() {
    hold_up(narrow_pair);
}

/// Promise 48. The same between Unix sockets.
#[test]
fn a_slow_reader_of_a_unix_socket_holds_up_the_sender() {
    hold_up(<UnixStream as Endpoint>::narrow_pair);
}

fn hold_up<S, C>(narrow_pair: fn() -> (S, C))
where
    S: Read + Write + Send + 'static,
    C: Client,
{
    matrix(LIMIT, "a copy to somebody who does not read", |case| {
        let ((mut source, sink), (mut near, far)) = (narrow_pair(), narrow_pair());
        let copy = case.spawn(move || withy::io::copy(&mut source, &mut near));
        let sent = sink.send_until_held_up();
        // A pipe of 64 slots and some socket buffers.
        assert!(sent < 4 << 20, "{sent} bytes are on their way");
        drop(sink);
        far.io().read_exact(&mut vec![0; sent]).unwrap();
        assert_eq!(copy.join().unwrap(), sent as u64);
    });
}

/// What a buffered reader has taken is handed on before bytes go around it.
#[test]
fn buffered_bytes_come_before_the_others() {
    matrix(LIMIT, "a buffered reader and a copy", |case| {
        let ((source, mut sink), (mut near, mut far)) = (pair(), pair());
        sink.write_all(b"head\nbody ").unwrap();
        let copy = case.spawn(move || {
            let mut reader = BufReader::new(source);
            let mut head = String::new();
            reader.read_line(&mut head).unwrap();
            assert_eq!(head, "head\n");
            withy::io::write_buffered(&mut reader, &mut near).unwrap();
            assert!(reader.buffer().is_empty());
            withy::io::copy(reader.get_mut(), &mut near).unwrap();
        });
        let mut body = [0; 5];
        far.read_exact(&mut body).unwrap();
        sink.write_all(b"and soul").unwrap();
        drop(sink);
        let mut rest = String::new();
        far.read_to_string(&mut rest).unwrap();
        assert_eq!((&body, rest.as_str()), (b"body ", "and soul"));
        copy.join();
    });
}

/// A file's bytes, from anywhere in it, in any number, to a receiver that is slow.
#[test]
fn a_file_is_sent_whole_or_in_part() {
    const LEN: usize = 1_500_000;
    let path = std::env::temp_dir().join(format!("withy-io-copy-{}", std::process::id()));
    let mut bytes = vec![0; LEN];
    fill(&mut bytes, 0);
    std::fs::write(&path, &bytes).unwrap();
    let file = Arc::new(std::fs::File::open(&path).unwrap());
    std::fs::remove_file(&path).unwrap();
    matrix(2 * LIMIT, "files that are sent", |case| {
        for (offset, len, expected) in [
            (0, LEN as u64, LEN),
            (0, u64::MAX, LEN),
            (1000, u64::MAX, LEN - 1000),
            (LEN as u64 - 1, 1, 1),
            (LEN as u64, 1, 0),
            (u64::MAX, 1, 0),
            (5, 0, 0),
            (70_001, 300_000, 300_000),
        ] {
            let (near, mut far) = narrow_pair();
            let sent = case.spawn({
                let file = file.clone();
                move || withy::io::send_file(&*file, offset, len, &near).unwrap()
            });
            let mut got = Vec::new();
            far.read_to_end(&mut got).unwrap();
            assert_eq!(got.len(), expected, "{len} bytes from {offset}");
            assert!(is_filled(&got, offset));
            assert_eq!(sent.join(), expected as u64);
        }
    });
}

/// A socket that has no end to be sent to.
#[test]
fn a_file_is_not_sent_to_nothing() {
    let file = std::fs::File::open("Cargo.toml").unwrap();
    let none: Option<TcpStream> = None;
    let result = withy::io::send_file(&file, 0, 1, &none);
    assert_eq!(kind(&result), Some(ErrorKind::InvalidInput));
}

/// Promises 2 and 14. Where a write to a closed connection would kill the process, nothing is spliced, and nothing dies.
#[test]
fn no_copy_raises_sigpipe() {
    if !alone("no_copy_raises_sigpipe", &[]) {
        return;
    }
    // SAFETY: back to the system's default for this process; no handler is involved.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    let file = Arc::new(std::fs::File::open(std::env::current_exe().unwrap()).unwrap());
    within(LIMIT, "copies to a closed connection", || {
        matrix(LIMIT, "copies to a closed connection", |case| {
            let ((mut source, mut sink), (mut near, far)) = (pair(), pair());
            drop(far);
            let copy = case.spawn(move || withy::io::copy(&mut source, &mut near));
            while !copy_is_over(&sink) && sink.write_all(&[7; 1000]).is_ok() {}
            assert!(copy.join().is_err());

            let (near, far) = pair();
            drop(far);
            let file = file.clone();
            let sent = case.run(move || withy::io::send_file(&*file, 0, u64::MAX, &near));
            assert!(sent.is_err());
        });
    });
}
