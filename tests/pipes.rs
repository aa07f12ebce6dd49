//! Pipes, and the standard streams of child processes: std's or a program's at the other end.

mod rig;
mod support;

use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rig::{each_runtime, until};
use rustix::fs::{OFlags, fcntl_getfl};
use support::sockets::{fill, is_filled, kind};
use support::{LIMIT, matrix, pollers_of, within};
use withy::io::{PipeReader, PipeWriter, pipe};

const SHORT: Duration = Duration::from_millis(15);
const BIG: usize = 10 << 20;

fn ours_reads() -> (PipeReader, io::PipeWriter) {
    let (reader, writer) = io::pipe().expect("descriptors are free");
    (reader.into(), writer)
}

fn ours_writes() -> (io::PipeReader, PipeWriter) {
    let (reader, writer) = io::pipe().expect("descriptors are free");
    (reader, writer.into())
}

fn is_nonblocking(fd: impl AsFd) -> bool {
    fcntl_getfl(fd)
        .expect("it is open")
        .contains(OFlags::NONBLOCK)
}

/// Promises 1 and 11. Unread bytes come before the end, and the end comes every time.
#[test]
fn after_the_last_writer_reads_give_what_is_left_and_then_zero() {
    matrix(LIMIT, "the end of a pipe", |case| {
        for waits in [false, true] {
            let (mut ours, mut writer) = ours_reads();
            let fd = ours.as_raw_fd();
            let reader = case.spawn(move || {
                let mut all = Vec::new();
                ours.read_to_end(&mut all).unwrap();
                for _ in 0..3 {
                    assert_eq!(ours.read(&mut [0; 8]).unwrap(), 0);
                }
                all
            });
            if waits {
                reader.until_waiting(fd);
            }
            writer.write_all(b"left over").unwrap();
            drop(writer);
            assert_eq!(reader.join(), b"left over");
        }
    });
}

/// Promise 2. Without a reader a write fails with `BrokenPipe`, every time, one that waits for room too; and nobody is
/// killed.
#[test]
fn without_a_reader_writes_fail_with_broken_pipe() {
    matrix(LIMIT, "a pipe without a reader", |case| {
        let (reader, mut ours) = ours_writes();
        let fd = ours.as_raw_fd();
        let writer = case.spawn(move || {
            let error = ours.write_all(&[0; 1 << 20]).unwrap_err();
            (error.kind(), ours)
        });
        writer.until_waiting(fd);
        drop(reader);
        let (error, mut ours) = writer.join();
        assert_eq!(error, ErrorKind::BrokenPipe);
        case.run(move || {
            for _ in 0..3 {
                assert_eq!(kind(&ours.write(b"x")), Some(ErrorKind::BrokenPipe));
            }
        });
    });
}

/// Promises 5 and 8. Ten megabytes through a program and back, in pieces of all sizes, arrive as they were sent.
#[test]
fn ten_megabytes_pass_through_a_child_and_back() {
    matrix(LIMIT, "10 MB through cat", |case| {
        let mut child = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = PipeWriter::from(child.stdin.take().unwrap());
        let mut output = PipeReader::from(child.stdout.take().unwrap());
        let writer = case.spawn(move || {
            let mut sent = 0;
            let mut buf = vec![0; 100_000];
            while sent < BIG {
                let piece = (1 + sent * 7919 % buf.len()).min(BIG - sent);
                fill(&mut buf[..piece], sent as u64);
                input.write_all(&buf[..piece]).unwrap();
                sent += piece;
            }
        });
        let reader = case.spawn(move || {
            let mut received = 0;
            let mut buf = vec![0; 150_000];
            loop {
                let room = 1 + received * 104_729 % buf.len();
                let n = output.read(&mut buf[..room]).unwrap();
                if n == 0 {
                    return received;
                }
                assert!(is_filled(&buf[..n], received as u64), "at {received}");
                received += n;
            }
        });
        writer.join();
        assert_eq!(reader.join(), BIG);
        let status = case.run(move || withy::process::wait(&mut child).unwrap());
        assert!(status.success());
    });
}

/// Promise 6. A ping-pong over two pipes loses no wake-up in 1,000 rounds.
#[test]
fn a_ping_pong_over_pipes_loses_no_wake_up() {
    matrix(LIMIT, "1,000 rounds over two pipes", |case| {
        let (mut theirs, mut ping) = pipe().unwrap();
        let (mut pong, mut back) = pipe().unwrap();
        let echo = case.spawn(move || {
            let mut buf = [0; 4];
            while theirs.read_exact(&mut buf).is_ok() {
                back.write_all(&buf).unwrap();
            }
        });
        let caller = case.spawn(move || {
            let mut buf = [0; 4];
            for round in 0..1000_u32 {
                ping.write_all(&round.to_be_bytes()).unwrap();
                pong.read_exact(&mut buf).unwrap();
                assert_eq!(u32::from_be_bytes(buf), round);
            }
        });
        caller.join();
        echo.join();
    });
}

/// Promises 7 and 29. Several readers of one pipe, of which some are interrupted over and over: each byte goes to
/// exactly one of them.
#[test]
fn each_byte_goes_to_one_of_several_readers() {
    const BYTES: usize = 20_000;
    each_runtime("readers that are interrupted", |runtime, _| {
        let (ours, mut writer) = ours_reads();
        let counts: Arc<[AtomicUsize; 256]> = Arc::new([const { AtomicUsize::new(0) }; 256]);
        let readers: Vec<_> = (0..6)
            .map(|index| {
                let (ours, counts) = (ours.try_clone().unwrap(), Arc::clone(&counts));
                runtime.spawn(move || {
                    let mut byte = [0; 3];
                    loop {
                        let read = match index % 2 {
                            0 => Ok((&ours).read(&mut byte)),
                            _ => withy::timeout(Duration::from_micros(50), || {
                                (&ours).read(&mut byte)
                            }),
                        };
                        match read {
                            Ok(Ok(0)) => return,
                            Ok(read) => {
                                for byte in &byte[..read.unwrap()] {
                                    counts[usize::from(*byte)].fetch_add(1, Ordering::Relaxed);
                                }
                            }
                            Err(_elapsed) => {}
                        }
                    }
                })
            })
            .collect();
        let mut expected = [0; 256];
        for index in 0..BYTES {
            let byte = (index % 251) as u8;
            writer.write_all(&[byte]).unwrap();
            expected[usize::from(byte)] += 1;
        }
        drop(writer);
        for reader in readers {
            reader.join().unwrap();
        }
        let counts: Vec<_> = counts
            .iter()
            .map(|count| count.load(Ordering::Relaxed))
            .collect();
        assert_eq!(counts, expected);
    });
}

/// Promise 10. To std and back, through descriptors, and with numbers that are used again.
#[test]
fn ends_work_after_trips_through_descriptors_and_std() {
    matrix(LIMIT, "conversions of a pipe", |case| {
        for _ in 0..30 {
            let (mut ours, mut writer) = ours_reads();
            let fd = ours.as_raw_fd();
            let first = case.spawn(move || {
                ours.read_exact(&mut [0]).unwrap();
                ours.into_raw_fd()
            });
            first.until_waiting(fd);
            writer.write_all(b"1").unwrap();
            let raw = first.join();
            assert_eq!((raw, pollers_of(raw)), (fd, 0));
            // SAFETY: `into_raw_fd` has just given it to us.
            let again = unsafe { PipeReader::from_raw_fd(raw) };
            let again = io::PipeReader::from(again);
            let mut again = PipeReader::from(OwnedFd::from(again));
            let second = case.spawn(move || {
                let mut byte = [0];
                again.read_exact(&mut byte).unwrap();
                byte[0]
            });
            second.until_waiting(fd);
            writer.write_all(b"2").unwrap();
            assert_eq!(second.join(), b'2');
        }
    });
}

/// Law 7. The descriptor is non-blocking in withy's hands, and as its user left it in others'.
#[test]
fn the_mode_is_put_back_when_an_end_is_given_away() {
    let (reader, writer) = pipe().unwrap();
    assert!(is_nonblocking(&reader) && is_nonblocking(&writer));
    // With a clone alive it is needed; without, it is put back.
    let clone = reader.try_clone().unwrap();
    let duplicate = OwnedFd::from(clone);
    assert!(is_nonblocking(&duplicate));
    let reader = io::PipeReader::from(reader);
    assert!(!is_nonblocking(&duplicate) && !is_nonblocking(&reader));
    assert!(!is_nonblocking(io::PipeWriter::from(writer)));

    // Who had it non-blocking has calls that do not wait.
    rustix::fs::fcntl_setfl(&reader, OFlags::NONBLOCK).unwrap();
    let (_keep, writer) = (duplicate, io::pipe().unwrap().1);
    drop(writer);
    let ours = PipeReader::from(reader);
    let (_reader, _writer) = pipe().unwrap();
    assert_eq!((&ours).read(&mut [0]).unwrap(), 0);
    assert!(is_nonblocking(OwnedFd::from(ours)));
}

/// A pipe in its user's non-blocking mode gives `WouldBlock`, as std's does.
#[test]
fn a_nonblocking_end_stays_so() {
    let (reader, _writer) = io::pipe().unwrap();
    rustix::fs::fcntl_setfl(&reader, OFlags::NONBLOCK).unwrap();
    let mut ours = PipeReader::from(reader);
    assert_eq!(kind(&ours.read(&mut [0])), Some(ErrorKind::WouldBlock));
    withy::run(move || {
        assert_eq!(kind(&ours.read(&mut [0])), Some(ErrorKind::WouldBlock));
    });
}

/// A child that inherits an end has it in blocking mode: `dd` fails at once where it would block otherwise.
#[test]
fn a_child_inherits_blocking_ends() {
    within(LIMIT, "a child on our pipes", || {
        let (theirs, mut ours) = pipe().unwrap();
        let (mut back, output) = pipe().unwrap();
        let mut child = Command::new("dd")
            .args(["bs=16", "count=1", "status=none"])
            .stdin(theirs)
            .stdout(output)
            .spawn()
            .unwrap();
        // Time for it to fail.
        assert!(withy::timeout(SHORT, || withy::process::wait(&mut child)).is_err());
        ours.write_all(b"0123456789abcdef").unwrap();
        let mut all = String::new();
        back.read_to_string(&mut all).unwrap();
        assert_eq!(all, "0123456789abcdef");
        assert!(withy::process::wait(&mut child).unwrap().success());
    });
}

/// Promise 15. Empty buffers and several buffers behave as std's.
#[test]
fn empty_and_several_buffers_behave_as_stds() {
    matrix(LIMIT, "odd buffers", |case| {
        case.run(|| {
            let (mut reader, mut writer) = pipe().unwrap();
            let (mut std_reader, mut std_writer) = io::pipe().unwrap();
            // Neither waits for anything.
            assert_eq!(
                reader.read(&mut []).unwrap(),
                std_reader.read(&mut []).unwrap()
            );
            assert_eq!(writer.write(&[]).unwrap(), std_writer.write(&[]).unwrap());
            assert_eq!(reader.read_vectored(&mut []).unwrap(), 0);
            assert_eq!(writer.write_vectored(&[]).unwrap(), 0);

            let pieces = [b"ab".as_slice(), b"", b"cde"].map(IoSlice::new);
            assert_eq!(writer.write_vectored(&pieces).unwrap(), 5);
            assert_eq!(std_writer.write_vectored(&pieces).unwrap(), 5);
            for reader in [&mut reader as &mut dyn Read, &mut std_reader] {
                let (mut first, mut second) = ([0; 1], [0; 3]);
                let mut bufs = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
                assert_eq!(reader.read_vectored(&mut bufs).unwrap(), 4);
                assert_eq!((&first, &second), (b"a", b"bcd"));
                assert_eq!(reader.read(&mut [0; 8]).unwrap(), 1);
            }
            // More pieces than the kernel takes at a time.
            let byte = [7];
            let many = vec![IoSlice::new(&byte); 3000];
            assert_eq!(
                writer.write_vectored(&many).unwrap(),
                std_writer.write_vectored(&many).unwrap()
            );
        });
    });
}

/// Promises 19 and 22. Timeouts and deadlines are those of sockets, and `Debug` is std's.
#[test]
fn limits_and_debug_are_those_of_sockets_and_std() {
    matrix(LIMIT, "limits of pipes", |case| {
        case.run(|| {
            let (mut reader, mut writer) = pipe().unwrap();
            let zero = Some(Duration::ZERO);
            assert_eq!(
                kind(&reader.set_read_timeout(zero)),
                Some(ErrorKind::InvalidInput)
            );
            assert_eq!(
                kind(&writer.set_write_timeout(zero)),
                Some(ErrorKind::InvalidInput)
            );
            assert_eq!(
                format!("{reader:?}"),
                format!("PipeReader({})", reader.as_raw_fd())
            );

            let start = Instant::now();
            reader.set_read_timeout(Some(SHORT)).unwrap();
            assert_eq!(kind(&reader.read(&mut [0])), Some(ErrorKind::WouldBlock));
            assert!(start.elapsed() >= SHORT, "the read ended early");
            let end = Instant::now() + SHORT;
            writer.set_write_deadline(Some(end)).unwrap();
            let error = writer.write_all(&[0; 1 << 20]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            assert!(Instant::now() >= end, "the write ended early");
            // Promise 25: what there is comes past the deadline, too.
            reader.set_read_deadline(Some(end)).unwrap();
            assert!(reader.read(&mut [0; 64]).unwrap() > 0);
        });
    });
}

/// A child that closes its output goes on, and can be waited for.
#[test]
fn a_child_may_close_its_streams_before_it_ends() {
    matrix(LIMIT, "a child that closes its output", |case| {
        case.run(|| {
            let mut child = Command::new("sh")
                .args([
                    "-c",
                    "echo out; exec >&-; echo err >&2; exec 2>&-; read line; exit $line",
                ])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let mut out = String::new();
            let mut output = PipeReader::from(child.stdout.take().unwrap());
            output.read_to_string(&mut out).unwrap();
            let mut err = String::new();
            let mut errors = PipeReader::from(child.stderr.take().unwrap());
            errors.read_to_string(&mut err).unwrap();
            assert_eq!((out.as_str(), err.as_str()), ("out\n", "err\n"));
            let mut input = PipeWriter::from(child.stdin.take().unwrap());
            input.write_all(b"7\n").unwrap();
            for _ in 0..2 {
                assert_eq!(withy::process::wait(&mut child).unwrap().code(), Some(7));
            }
        });
    });
}

/// Whoever waits for a child holds up nobody, even on one worker, is interrupted, and waits again.
#[test]
fn a_wait_for_a_child_parks() {
    each_runtime("a wait for a child", |runtime, _| {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let input = child.stdin.take();
        let waits = Arc::new(AtomicUsize::new(0));
        let waiter = runtime.spawn({
            let waits = Arc::clone(&waits);
            move || {
                let ended = withy::timeout(Duration::from_millis(2), || {
                    withy::process::wait(&mut child)
                });
                assert!(ended.is_err());
                waits.store(1, Ordering::SeqCst);
                withy::process::wait(&mut child).unwrap()
            }
        });
        until(|| waits.load(Ordering::SeqCst) == 1);
        for _ in 0..10 * runtime.workers() {
            runtime.run(|| withy::sleep(Duration::from_micros(100)));
        }
        assert!(!waiter.is_finished());
        drop(input);
        assert!(waiter.join().unwrap().success());
    });
}

/// A child that reads to the end does not wait for us while we wait for it: its input is closed, as std's `wait` does.
#[test]
fn a_wait_for_a_child_closes_its_input() {
    matrix(LIMIT, "a child that reads to the end", |case| {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let status = case.run(move || withy::process::wait(&mut child).unwrap());
        assert!(status.success());
    });
}
