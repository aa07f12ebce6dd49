//! Timeouts, deadlines, modes, selects and signals of UDP and Unix sockets.

mod endpoints;
mod rig;
mod support;

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use endpoints::{Endpoint, each};
use rig::storm::Storm;
use support::sockets::kind;
use support::{Caller, Callers, Case, LIMIT, matrix, within};

const SHORT: Duration = Duration::from_millis(15);
/// No test waits for this one to come.
const FAR: Duration = Duration::from_secs(3600);

each! {
    /// Promise 22. A timeout ends a read and a peek as std's does, a deadline with an error of its own; neither early.
    fn limits_end_reads_and_peeks<E: Endpoint>() for [UdpSocket, UnixDatagram, UnixStream] {
        matrix(LIMIT, "reads with limits", |case| {
            case.run(|| {
                let (ours, _peer) = E::pair();
                ours.set_read_timeout(Some(SHORT)).unwrap();
                let began = Instant::now();
                assert_eq!(kind(&ours.read(&mut [0; 4])), Some(ErrorKind::WouldBlock));
                assert!(began.elapsed() >= SHORT, "the read ended early");
                assert_eq!(kind(&ours.peek(&mut [0; 4])), Some(ErrorKind::WouldBlock));
                let end = Instant::now() + SHORT;
                ours.set_read_deadline(Some(end));
                ours.set_read_timeout(Some(FAR)).unwrap();
                assert_eq!(ours.read_deadline(), Some(end));
                assert_eq!(kind(&ours.read(&mut [0; 4])), Some(ErrorKind::TimedOut));
                assert!(Instant::now() >= end, "the read ended early");
                assert_eq!(kind(&ours.peek(&mut [0; 4])), Some(ErrorKind::TimedOut));
            });
        });
    }

    /// Promise 5. The same of writers: a blocked one ends by its limits, and goes on when the peer drains.
    fn limits_end_writes<E: Endpoint>() for [UnixDatagram, UnixStream] {
        matrix(LIMIT, "writes with limits", |case| {
            let (ours, peer) = E::narrow_pair();
            let ours = Arc::new(ours);
            let writes = ours.clone();
            case.run(move || {
                let fill = || loop {
                    if let Err(error) = writes.write(&[7; 512]) {
                        return error.kind();
                    }
                };
                writes.set_write_timeout(Some(SHORT)).unwrap();
                let began = Instant::now();
                assert_eq!(fill(), ErrorKind::WouldBlock);
                assert!(began.elapsed() >= SHORT, "the write ended early");
                let end = Instant::now() + SHORT;
                writes.set_write_deadline(Some(end));
                writes.set_write_timeout(None).unwrap();
                assert_eq!(fill(), ErrorKind::TimedOut);
                assert!(Instant::now() >= end, "the write ended early");
                writes.set_write_deadline(None);
                writes.set_nonblocking(true);
                assert_eq!(fill(), ErrorKind::WouldBlock);
                writes.set_nonblocking(false);
            });
            let (fd, writes) = (ours.as_raw_fd(), ours.clone());
            let writer = case.spawn(move || writes.write(&[8; 512]).unwrap());
            writer.until_waiting(fd);
            let mut buf = [0; 512];
            while E::peer_read(&peer, &mut buf) > 0 && buf[0] == 7 {}
            assert_eq!(buf[0], 8);
            assert_eq!(writer.join(), 512);
        });
    }

    /// Promises 24 and 25. Past the deadline calls fail at once, every time, but for what can be done without waiting;
    /// cleared, they block again.
    fn a_deadline_in_the_past_fails_at_once_and_cleared_blocks_again<E: Endpoint>() for [UdpSocket, UnixDatagram, UnixStream] {
        matrix(LIMIT, "a deadline in the past", |case| {
            let (ours, peer) = E::pair();
            let ours = Arc::new(ours);
            ours.set_read_deadline(Some(Instant::now()));
            let reads = ours.clone();
            case.run(move || {
                for _ in 0..3 {
                    assert_eq!(kind(&reads.read(&mut [0; 4])), Some(ErrorKind::TimedOut));
                }
            });
            E::peer_write(&peer, b"there");
            let reads = ours.clone();
            case.run(move || {
                assert_eq!(reads.read(&mut [0; 5]).unwrap(), 5);
                assert_eq!(kind(&reads.read(&mut [0; 5])), Some(ErrorKind::TimedOut));
            });
            ours.set_read_deadline(None);
            let (fd, reads) = (ours.as_raw_fd(), ours.clone());
            let reader = case.spawn(move || reads.read(&mut [0; 4]).unwrap());
            reader.until_waiting(fd);
            E::peer_write(&peer, b"late");
            assert_eq!(reader.join(), 4);
        });
    }

    /// Promise 26. A deadline that is set meanwhile ends all who are blocked; one that is moved away lets them wait on.
    fn a_changed_deadline_reaches_blocked_callers<E: Endpoint>() for [UdpSocket, UnixDatagram, UnixStream] {
        matrix(LIMIT, "a deadline that is changed meanwhile", |case| {
            let (ours, peer) = E::pair();
            ours.set_read_deadline(Some(Instant::now() + FAR));
            let readers: Vec<_> = (0..3)
                .map(|_| {
                    let clone = E::clone(&ours);
                    case.spawn(move || clone.read(&mut [0]).map_err(|error| error.kind()))
                })
                .collect();
            for reader in &readers {
                reader.until_waiting(ours.as_raw_fd());
            }
            ours.set_read_deadline(Some(Instant::now() + FAR * 2));
            E::peer_write(&peer, &[1]);
            ours.set_read_deadline(Some(Instant::now()));
            let outcomes: Vec<_> = readers.into_iter().map(Caller::join).collect();
            let got = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
            assert_eq!(got, 1, "the message was read once: {outcomes:?}");
            for kind in outcomes.into_iter().filter_map(Result::err) {
                assert_eq!(kind, ErrorKind::TimedOut);
            }
        });
    }

    /// Promise 25. Messages that race a deadline over and over are returned or stay readable.
    fn messages_that_race_a_deadline_are_not_lost<E: Endpoint>() for [UdpSocket, UnixDatagram, UnixStream] {
        const MESSAGES: usize = 200;
        matrix(LIMIT, "messages against deadlines", |case| {
            let (ours, peer) = E::pair();
            let received = Arc::new(AtomicUsize::new(0));
            let count = received.clone();
            let reader = case.spawn(move || {
                let mut byte = [0];
                while count.load(Ordering::SeqCst) < MESSAGES {
                    ours.set_read_deadline(Some(Instant::now() + Duration::from_micros(50)));
                    match ours.read(&mut byte) {
                        Ok(n) => {
                            assert_eq!((n, byte[0]), (1, count.load(Ordering::SeqCst) as u8));
                            count.fetch_add(1, Ordering::SeqCst);
                        }
                        Err(error) => assert_eq!(error.kind(), ErrorKind::TimedOut),
                    }
                }
            });
            for message in 0..MESSAGES {
                E::peer_write(&peer, &[message as u8]);
                while received.load(Ordering::SeqCst) <= message {
                    std::thread::yield_now();
                }
            }
            reader.join();
        });
    }

    /// Promises 19 and 23. Zero is refused, the shortest timeout fires, the longest is as good as none.
    fn the_ends_of_the_range_behave_as_stds<E: Endpoint>() for [UdpSocket, UnixDatagram, UnixStream] {
        matrix(LIMIT, "extreme timeouts", |case| {
            let (ours, peer) = E::pair();
            let ours = case.run(move || {
                let zero = ours.set_read_timeout(Some(Duration::ZERO));
                assert_eq!(kind(&zero), Some(ErrorKind::InvalidInput));
                let zero = ours.set_write_timeout(Some(Duration::ZERO));
                assert_eq!(kind(&zero), Some(ErrorKind::InvalidInput));
                let nanosecond = Some(Duration::from_nanos(1));
                ours.set_read_timeout(nanosecond).unwrap();
                assert_eq!(ours.read_timeout(), nanosecond);
                for _ in 0..10 {
                    assert_eq!(kind(&ours.read(&mut [0])), Some(ErrorKind::WouldBlock));
                }
                ours.set_read_timeout(Some(Duration::MAX)).unwrap();
                ours.set_write_timeout(Some(Duration::MAX)).unwrap();
                ours
            });
            let fd = ours.as_raw_fd();
            let reader = case.spawn(move || {
                assert_eq!(ours.read(&mut [0]).unwrap(), 1);
                assert_eq!(ours.write(b"y").unwrap(), 1);
            });
            reader.until_waiting(fd);
            E::peer_write(&peer, b"x");
            assert_eq!(E::peer_read(&peer, &mut [0]), 1);
            reader.join();
        });
    }

    /// Promise 19. Modes belong to the socket: all clones see them, and they stand in the descriptor as with std.
    fn clones_share_modes<E: Endpoint>() for [UdpSocket, UnixDatagram, UnixStream] {
        within(LIMIT, "a mode set through a clone", || {
            let (ours, _peer) = E::pair();
            let clone = E::clone(&ours);
            assert_eq!(ours.as_raw_fd(), clone.as_raw_fd());
            ours.set_nonblocking(true);
            assert_eq!(kind(&clone.read(&mut [0])), Some(ErrorKind::WouldBlock));
            assert!(is_nonblocking(clone.as_raw_fd()));
            clone.set_nonblocking(false);
            assert!(!is_nonblocking(ours.as_raw_fd()));
        });
    }

    /// Promise 43. A select takes a socket that becomes readable, and leaves what is there to the read.
    fn a_select_waits_for_a_readable_socket<E: Endpoint>() for [UdpSocket, UnixDatagram, UnixStream] {
        matrix(LIMIT, "a select of two sockets", |case| {
            let (first, _first_peer) = E::pair();
            let (second, peer) = E::pair();
            let fd = second.as_raw_fd();
            let selects = case.spawn(move || {
                for _ in 0..3 {
                    withy::select! {
                        readable(first) => panic!("nothing was sent"),
                        readable(second) => {}
                    }
                }
                assert_eq!(second.read(&mut [0; 8]).unwrap(), 4);
                withy::select! {
                    writable(second) => {}
                }
                second.write(b"back").unwrap()
            });
            selects.until_waiting(fd);
            E::peer_write(&peer, b"data");
            assert_eq!(E::peer_read(&peer, &mut [0; 8]), 4);
            assert_eq!(selects.join(), 4);
        });
    }

    /// Promise 43. A connected socket whose peer is full is not writable until that drains.
    fn a_select_waits_for_a_writable_socket<E: Endpoint>() for [UnixDatagram, UnixStream] {
        matrix(LIMIT, "a select of a full socket", |case| {
            let (ours, peer) = E::narrow_pair();
            ours.set_nonblocking(true);
            let mut sent = 0;
            while let Ok(n) = ours.write(&[7; 512]) {
                sent += n;
            }
            ours.set_nonblocking(false);
            let fd = ours.as_raw_fd();
            let selects = case.spawn(move || {
                withy::select! {
                    writable(ours) => {}
                }
                ours.set_nonblocking(true);
                ours.write(b"more").unwrap()
            });
            selects.until_waiting(fd);
            let mut buf = [0; 512];
            while sent > 0 {
                sent -= E::peer_read(&peer, &mut buf);
            }
            assert_eq!(selects.join(), 4);
        });
    }

    /// Promise 39. One whose socket is always ready lets its neighbours on the same worker run.
    fn an_always_ready_socket_does_not_starve_its_neighbours<E: Endpoint>() for [UdpSocket, UnixDatagram, UnixStream] {
        within(LIMIT, "a neighbour of an always ready socket", || {
            let case = Case::new(1, false, Callers::Coroutines);
            let (ours, peer) = E::pair();
            E::peer_write(&peer, b"x");
            let over = Arc::new(AtomicBool::new(false));
            let goes_on = over.clone();
            let busy = case.spawn(move || {
                while !goes_on.load(Ordering::SeqCst) {
                    ours.peek(&mut [0]).unwrap();
                }
            });
            let neighbour = case.spawn(move || {
                for _ in 0..10 {
                    withy::yield_now();
                }
                over.store(true, Ordering::SeqCst);
            });
            neighbour.join();
            busy.join();
        });
    }

    /// Promise 14. Reads and writes in a storm of signals.
    fn no_blocking_call_is_interrupted_by_signals<E: Endpoint>() for [UdpSocket, UnixDatagram, UnixStream] {
        matrix(LIMIT, "ping-pong in a storm of signals", |case| {
            let (ours, peer) = E::pair();
            let _storm = Storm::begin();
            let echo = case.spawn(move || {
                let mut buf = [0; 16];
                for _ in 0..100 {
                    let n = ours.read(&mut buf).unwrap();
                    assert_eq!(ours.write(&buf[..n]).unwrap(), n);
                }
            });
            let mut buf = [0; 16];
            for round in 0..100 {
                E::peer_write(&peer, &[round]);
                assert_eq!(E::peer_read(&peer, &mut buf), 1);
                assert_eq!(buf[0], round);
            }
            echo.join();
        });
    }
}

fn is_nonblocking(fd: std::os::fd::RawFd) -> bool {
    // SAFETY: F_GETFL reads flags of an open descriptor.
    unsafe { libc::fcntl(fd, libc::F_GETFL) & libc::O_NONBLOCK != 0 }
}
