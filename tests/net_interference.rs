//! Whatever users do with a descriptor beside the calls that wait for it: no worker blocks, and nobody waits for what has come.

mod support;

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use support::sockets::pair;
use support::{LIMIT, matrix, runtime, within};
use withy::net::{Pollable, Shutdown, TcpStream, UnixStream};
use withy_runtime::poll::{AsRegistration, Direction};

/// `net/src/io/lane.rs`, L6. The mode of a socket is its user's to change at any time, also while a copy that needs `O_NONBLOCK` waits.
#[test]
fn a_copy_does_not_block_its_worker_when_the_socket_is_set_blocking() {
    for both in [false, true] {
        within(LIMIT / 4, "a neighbour of a copy", || {
            let runtime = runtime(1, false);
            let ((source, mut sink), (near, mut far)) = (pair(), pair());
            let source = Arc::new(source);
            let shared = Arc::clone(&source);
            let copy = runtime.spawn(move || {
                if both {
                    let copied = withy::io::copy_bidirectional(&*shared, &near)?;
                    return Ok(copied.a_to_b);
                }
                let copied = withy::io::copy(&mut &*shared, &mut &near)?;
                near.shutdown(Shutdown::Write)?;
                io::Result::Ok(copied)
            });
            let mut byte = [0];
            sink.write_all(b"1").unwrap();
            far.read_exact(&mut byte).unwrap();
            source.set_nonblocking(true).unwrap();
            source.set_nonblocking(false).unwrap();
            sink.write_all(b"2").unwrap();
            far.read_exact(&mut byte).unwrap();
            // The copy takes its turn before this, and finds that it has to wait.
            runtime.spawn(withy::yield_now).join().unwrap();
            drop(sink);
            assert_eq!(far.read(&mut byte).unwrap(), 0);
            drop(far);
            assert_eq!(copy.join().unwrap().unwrap(), 2);
        });
    }
}

/// Says once that it would block, though there are bytes: a library with a step of its own in between.
struct Hesitant {
    pipe: std::io::PipeReader,
    hesitates: bool,
}

impl AsFd for Hesitant {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

/// [`Pollable::wait_readable`] tells of what came before, whatever a call of the thing has said meanwhile.
#[test]
fn a_wait_for_a_descriptor_tells_of_what_is_there_already() {
    matrix(LIMIT / 4, "waits for bytes that are there", |case| {
        let (pipe, mut writer) = io::pipe().unwrap();
        let mut hesitant = Pollable::new(Hesitant {
            pipe,
            hesitates: true,
        })
        .unwrap();
        hesitant
            .set_read_timeout(Some(Duration::from_millis(5)))
            .unwrap();
        writer.write_all(b"x").unwrap();
        let byte = case.run(move || {
            let mut byte = [0];
            // Registers it.
            let result = hesitant.read_with_mut(|hesitant| match hesitant.hesitates {
                true => Err(io::Error::from(ErrorKind::WouldBlock)),
                false => hesitant.pipe.read(&mut byte),
            });
            assert_eq!(result.unwrap_err().kind(), ErrorKind::WouldBlock);
            hesitant.set_read_timeout(None).unwrap();
            hesitant.wait_readable().unwrap();
            hesitant.get_mut().pipe.read_exact(&mut byte).unwrap();
            byte
        });
        assert_eq!(&byte, b"x");
    });
}

/// std takes any descriptor for a `TcpStream`. Descriptors beside the bytes split the reads of one that is a Unix socket.
#[test]
fn a_stream_of_another_family_is_read_to_its_end() {
    matrix(LIMIT / 4, "a Unix socket as a TCP stream", |case| {
        let (ours, peer) = std::os::unix::net::UnixStream::pair().unwrap();
        let peer = UnixStream::from(peer);
        let mut ours = TcpStream::from(OwnedFd::from(ours));
        let fd = ours.as_raw_fd();
        let reader = case.spawn(move || {
            let mut got = 0;
            while got < 30 {
                got += ours.read(&mut [0; 16]).unwrap();
            }
        });
        reader.until_waiting(fd);
        for _ in 0..15 {
            peer.send_with_fds(b"a", &[peer.as_fd()]).unwrap();
            (&peer).write_all(b"b").unwrap();
        }
        reader.join();
        drop(peer);
    });
}

/// What has no event of the kernel's is told by [`Registration::wake`](withy_runtime::poll::Registration::wake): also to a caller that has just found that it would
/// have to wait, and has not announced itself yet; whether or not its descriptor is registered.
#[test]
fn a_wake_up_in_front_of_a_wait_is_not_lost() {
    matrix(LIMIT / 4, "a shutdown in front of a wait", |case| {
        for registered in [false, true] {
            let (ours, _peer) = UnixStream::pair().unwrap();
            ours.set_nonblocking(true).unwrap();
            while (&ours).write(&[0; 65_536]).is_ok() {}
            ours.set_nonblocking(false).unwrap();
            let error = case.run(move || {
                if registered {
                    let timeout = Some(Duration::from_millis(1));
                    ours.set_write_timeout(timeout).unwrap();
                    let error = (&ours).write(&[0]).unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    ours.set_write_timeout(None).unwrap();
                }
                let mut first = true;
                let registration = ours.registration().unwrap();
                if registered {
                    // Worth an attempt.
                    registration.wake(Direction::Write);
                }
                // What a write does, and another's shutdown in between.
                let write = |fd: BorrowedFd<'_>| {
                    if std::mem::take(&mut first) {
                        ours.shutdown(Shutdown::Write).unwrap();
                        return Err(ErrorKind::WouldBlock.into());
                    }
                    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
                    socket2::SockRef::from(&fd).send_with_flags(&[0], flags)
                };
                registration.io(Direction::Write, write, |_| false)
            });
            assert_eq!(error.unwrap_err().kind(), ErrorKind::BrokenPipe);
        }
    });
}

/// Whoever gives the last handle away puts the mode back, also if two do so at once.
#[test]
fn ends_that_are_given_away_at_once_are_left_in_their_mode() {
    within(LIMIT, "clones that are given away at once", || {
        for _ in 0..2_000 {
            let (_reader, writer) = withy::io::pipe().unwrap();
            let clone = writer.try_clone().unwrap();
            let both = std::sync::Barrier::new(2);
            let (one, other) = thread::scope(|s| {
                let other = s.spawn(|| {
                    both.wait();
                    OwnedFd::from(clone)
                });
                both.wait();
                (OwnedFd::from(writer), other.join().unwrap())
            });
            for fd in [one, other] {
                assert!(!socket2::SockRef::from(&fd).nonblocking().unwrap());
            }
        }
    });
}

/// The same by the race itself: writers of a full socket, and one who shuts it down.
#[test]
fn a_shutdown_ends_every_write_whenever_it_comes() {
    matrix(LIMIT, "writes that race a shutdown", |case| {
        for turn in 0..200_u64 {
            let (ours, _peer) = UnixStream::pair().unwrap();
            ours.set_nonblocking(true).unwrap();
            while (&ours).write(&[0; 65_536]).is_ok() {}
            ours.set_nonblocking(false).unwrap();
            let writers: Vec<_> = (0..3)
                .map(|_| {
                    let mut ours = ours.try_clone().unwrap();
                    case.spawn(move || ours.write(&[0]).unwrap_err().kind())
                })
                .collect();
            for _ in 0..turn * 20 {
                std::hint::spin_loop();
            }
            ours.shutdown(Shutdown::Write).unwrap();
            for writer in writers {
                assert_eq!(writer.join(), ErrorKind::BrokenPipe);
            }
        }
    });
}

/// A direction of a copy that finds bytes and room at every turn, for its worker has a neighbour that is slow, does not keep the other direction from its
/// own turn. Counted in turns of the neighbour; the netpoller may leave out 61 (`runtime/src/scheduler/turn.rs`) before it finds out how long they are.
#[test]
fn one_direction_of_a_copy_does_not_starve_the_other() {
    const TURNS_MAX: u64 = 150;
    within(LIMIT, "a byte against a stream", || {
        let runtime = runtime(1, false);
        let ((a, mut client), (b, mut server)) = (pair(), pair());
        let copy = runtime.spawn(move || withy::io::copy_bidirectional(&a, &b).is_ok());
        let stop = Arc::new(AtomicBool::new(false));
        let turns = Arc::new(AtomicU64::new(0));
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&turns));
        let neighbour = runtime.spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let begun = Instant::now();
                while begun.elapsed() < Duration::from_millis(20) {
                    std::hint::spin_loop();
                }
                counted.fetch_add(1, Ordering::Relaxed);
                withy::yield_now();
            }
        });
        let (mut source, stopped) = (client.try_clone().unwrap(), Arc::clone(&stop));
        let sender = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                source.write_all(&[0; 1 << 16]).unwrap();
            }
        });
        let mut sink = server.try_clone().unwrap();
        let receiver = thread::spawn(move || io::copy(&mut sink, &mut io::sink()).unwrap());
        for _ in 0..40 {
            let before = turns.load(Ordering::Relaxed);
            server.write_all(b"x").unwrap();
            client.read_exact(&mut [0]).unwrap();
            let waited = turns.load(Ordering::Relaxed) - before;
            assert!(waited < TURNS_MAX, "{waited} turns for a byte");
        }
        stop.store(true, Ordering::Relaxed);
        sender.join().unwrap();
        for stream in [&client, &server] {
            stream.shutdown(Shutdown::Write).unwrap();
        }
        assert!(copy.join().unwrap());
        receiver.join().unwrap();
        neighbour.join().unwrap();
    });
}

/// Two Unix streams, into the first of which nothing more goes.
fn full_pair() -> (UnixStream, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    while (&ours).write(&[0; 65_536]).is_ok() {}
    ours.set_nonblocking(false).unwrap();
    (ours, theirs)
}

/// Promise 3. A Unix stream's `shutdown(Write)` is no event to the kernel, and poll(2) has no bit for it.
#[test]
fn a_shutdown_ends_a_select_that_waits_for_room() {
    matrix(
        LIMIT / 2,
        "a select of a Unix stream that is shut down",
        |case| {
            for round in 0..20 {
                let (ours, _theirs) = full_pair();
                let clone = ours.try_clone().unwrap();
                let waits = case.spawn(move || {
                    withy::select! { writable(clone) => {} }
                    (&clone).write(b"!").unwrap_err().kind()
                });
                if round % 2 == 0 {
                    thread::yield_now();
                }
                ours.shutdown(Shutdown::Write).unwrap();
                assert_eq!(waits.join(), ErrorKind::BrokenPipe);
            }
        },
    );
}

/// The same of a copy, which waits by a select; and a copy that passes an end on tells others who write to that stream.
#[test]
fn a_shutdown_ends_a_copy_that_waits_for_room() {
    matrix(
        LIMIT / 2,
        "a copy to a Unix stream that is shut down",
        |case| {
            for _ in 0..20 {
                let (mut client, inner) = UnixStream::pair().unwrap();
                let (outer, server) = full_pair();
                let clone = outer.try_clone().unwrap();
                let copy = case.spawn(move || withy::io::copy_bidirectional(&inner, &outer));
                client.write_all(b"this has no room").unwrap();
                clone.shutdown(Shutdown::Write).unwrap();
                drop(server);
                drop(client);
                drop(copy.join());

                let (client, inner) = UnixStream::pair().unwrap();
                let (outer, server) = full_pair();
                let writer = outer.try_clone().unwrap();
                let writes = case.spawn(move || (&writer).write(b"!").unwrap_err().kind());
                let copy = case.spawn(move || withy::io::copy_bidirectional(&inner, &outer));
                client.shutdown(Shutdown::Write).unwrap();
                assert_eq!(writes.join(), ErrorKind::BrokenPipe);
                drop((server, client));
                drop(copy.join());
            }
        },
    );
}
