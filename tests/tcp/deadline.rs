//! Deadlines of sockets: points in time that end every wait of a direction, for all who share the socket.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use withy::net::{TcpListener, TcpStream};

use crate::support::sockets::{kind, narrow_pair, pair};
use crate::support::{self, Callers, Case, LIMIT, matrix, within};

const SHORT: Duration = Duration::from_millis(15);
/// No test waits for this one to come.
const FAR: Duration = Duration::from_secs(3600);

/// Promise 22. A deadline ends a read, a peek and a write, never early, with an error of its own.
#[test]
fn a_deadline_ends_reads_peeks_and_writes() {
    matrix(LIMIT, "a deadline to come", |case| {
        case.run(|| {
            let (mut ours, _peer) = narrow_pair();
            let end = Instant::now() + SHORT;
            ours.set_deadline(Some(end)).unwrap();
            assert_eq!(kind(&ours.read(&mut [0; 4])), Some(ErrorKind::TimedOut));
            assert!(Instant::now() >= end, "the read ended early");

            let end = Instant::now() + SHORT;
            ours.set_read_deadline(Some(end)).unwrap();
            assert_eq!(kind(&ours.peek(&mut [0; 4])), Some(ErrorKind::TimedOut));
            assert!(Instant::now() >= end, "the peek ended early");

            let end = Instant::now() + SHORT;
            ours.set_write_deadline(Some(end)).unwrap();
            let error = ours.write_all(&[0; 1 << 20]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            assert!(Instant::now() >= end, "the write ended early");
        });
    });
}

/// Promise 22. An accept ends at its timeout as a read does, and at its deadline, and goes on without either.
#[test]
fn accepts_end_at_their_limits() {
    matrix(LIMIT, "an accept with limits", |case| {
        case.run(|| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let zero = listener.set_accept_timeout(Some(Duration::ZERO));
            assert_eq!(kind(&zero), Some(ErrorKind::InvalidInput));

            listener.set_accept_timeout(Some(SHORT)).unwrap();
            assert_eq!(listener.accept_timeout().unwrap(), Some(SHORT));
            let start = Instant::now();
            assert_eq!(kind(&listener.accept()), Some(ErrorKind::WouldBlock));
            assert!(start.elapsed() >= SHORT, "the accept ended early");

            listener.set_accept_timeout(None).unwrap();
            let end = Instant::now() + SHORT;
            listener.set_accept_deadline(Some(end)).unwrap();
            assert_eq!(listener.accept_deadline().unwrap(), Some(end));
            assert_eq!(kind(&listener.accept()), Some(ErrorKind::TimedOut));
            assert!(Instant::now() >= end, "the accept ended early");

            // Promise 25: a connection in the backlog is accepted past the deadline.
            let addr = listener.local_addr().unwrap();
            let _client = std::net::TcpStream::connect(addr).unwrap();
            listener.accept().unwrap();
            assert_eq!(kind(&listener.accept()), Some(ErrorKind::TimedOut));

            listener.set_accept_deadline(None).unwrap();
            let _client = std::net::TcpStream::connect(addr).unwrap();
            listener.accept().unwrap();
        });
    });
}

/// Promises 24 and 25. Past the deadline calls fail at once, every time, but for what can be done without waiting;
/// cleared, they block again.
#[test]
fn a_deadline_in_the_past_fails_at_once_and_cleared_blocks_again() {
    matrix(LIMIT, "a deadline in the past", |case| {
        let (ours, mut peer) = narrow_pair();
        let ours = Arc::new(ours);
        let reader = Arc::clone(&ours);
        case.run(move || {
            let past = Instant::now()
                .checked_sub(FAR)
                .expect("the clock began long ago");
            for past in [past, Instant::now()] {
                reader.set_deadline(Some(past)).unwrap();
                assert_eq!(reader.read_deadline().unwrap(), Some(past));
                for _ in 0..3 {
                    assert_eq!(
                        kind(&(&*reader).read(&mut [0; 4])),
                        Some(ErrorKind::TimedOut)
                    );
                    assert_eq!(kind(&reader.peek(&mut [0; 4])), Some(ErrorKind::TimedOut));
                }
                // There is room for these.
                assert_eq!((&*reader).write(b"ab").unwrap(), 2);
            }
            let error = (&*reader).write_all(&[0; 1 << 20]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
        });

        peer.write_all(b"there").unwrap();
        let reader = Arc::clone(&ours);
        case.run(move || {
            // What has been sent over loopback is there.
            assert_eq!((&*reader).read(&mut [0; 5]).unwrap(), 5);
            assert_eq!(
                kind(&(&*reader).read(&mut [0; 5])),
                Some(ErrorKind::TimedOut)
            );
        });

        ours.set_deadline(None).unwrap();
        assert_eq!(ours.read_deadline().unwrap(), None);
        let reader = Arc::clone(&ours);
        let reader = case.spawn(move || (&*reader).read(&mut [0; 4]).unwrap());
        reader.until_waiting(ours.as_raw_fd());
        peer.write_all(b"late").unwrap();
        assert_eq!(reader.join(), 4);
    });
}

/// Promise 26. A deadline that is set meanwhile ends all who are blocked, in the word, in the lobby and in poll(2);
/// in the past too; and one that is moved away lets them wait on.
#[test]
fn a_changed_deadline_reaches_blocked_callers() {
    matrix(LIMIT, "a deadline that is changed meanwhile", |case| {
        for past in [false, true] {
            let (ours, mut peer) = pair();
            let ours = Arc::new(ours);
            ours.set_read_deadline(Some(Instant::now() + FAR)).unwrap();
            let readers = readers(case, &ours);
            // Further away: nobody ends.
            ours.set_read_deadline(Some(Instant::now() + FAR * 2))
                .unwrap();
            peer.write_all(&[1]).unwrap();
            let end = Instant::now() + if past { Duration::ZERO } else { SHORT };
            ours.set_read_deadline(Some(end)).unwrap();
            let outcomes: Vec<_> = readers.into_iter().map(support::Caller::join).collect();
            let got = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
            assert_eq!(got, 1, "the byte was read once: {outcomes:?}");
            for (kind, at) in outcomes.into_iter().filter_map(Result::err) {
                assert_eq!(kind, ErrorKind::TimedOut);
                assert!(at >= end, "a reader ended early");
            }
        }
    });
}

/// Promises 24 and 26. A deadline that is removed before it comes does not end those who were blocked under it.
#[test]
fn a_removed_deadline_ends_nobody() {
    matrix(LIMIT, "a deadline that is removed meanwhile", |case| {
        let (ours, mut peer) = pair();
        let ours = Arc::new(ours);
        let end = Instant::now() + SHORT * 10;
        ours.set_read_deadline(Some(end)).unwrap();
        let readers = readers(case, &ours);
        ours.set_read_deadline(None).unwrap();
        let in_time = Instant::now() < end;
        std::thread::sleep(SHORT + end.saturating_duration_since(Instant::now()));
        peer.write_all(&[0; 3]).unwrap();
        for reader in readers {
            // On a machine so slow that the deadline came first there is nothing to see.
            assert!(!in_time || reader.join().is_ok());
        }
    });
}

type Outcome = Result<usize, (ErrorKind, Instant)>;

/// Three readers of one byte each, one of whom at least waits.
fn readers(case: &Case, stream: &Arc<TcpStream>) -> Vec<support::Caller<Outcome>> {
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let stream = Arc::clone(stream);
            case.spawn(move || {
                let read = (&*stream).read(&mut [0]);
                read.map_err(|error| (error.kind(), Instant::now()))
            })
        })
        .collect();
    for reader in &readers {
        reader.until_waiting(stream.as_raw_fd());
    }
    readers
}

/// Promise 22. Of timeout and deadline the earlier one decides, and says which it was; each comes back as it was set.
#[test]
fn the_earlier_limit_decides() {
    matrix(LIMIT, "a timeout and a deadline", |case| {
        case.run(|| {
            let (mut ours, _peer) = pair();
            let far = Instant::now() + FAR;
            ours.set_read_timeout(Some(SHORT)).unwrap();
            ours.set_read_deadline(Some(far)).unwrap();
            assert_eq!(kind(&ours.read(&mut [0; 4])), Some(ErrorKind::WouldBlock));
            assert_eq!(ours.read_timeout().unwrap(), Some(SHORT));
            assert_eq!(ours.read_deadline().unwrap(), Some(far));
            assert_eq!(ours.write_deadline().unwrap(), None);

            ours.set_read_timeout(Some(FAR)).unwrap();
            ours.set_read_deadline(Some(Instant::now() + SHORT))
                .unwrap();
            assert_eq!(kind(&ours.read(&mut [0; 4])), Some(ErrorKind::TimedOut));

            // One limit removed leaves the other.
            ours.set_read_timeout(Some(SHORT)).unwrap();
            ours.set_read_deadline(None).unwrap();
            assert_eq!(kind(&ours.read(&mut [0; 4])), Some(ErrorKind::WouldBlock));
            ours.set_read_timeout(None).unwrap();
            ours.set_read_deadline(Some(Instant::now() + SHORT))
                .unwrap();
            assert_eq!(kind(&ours.read(&mut [0; 4])), Some(ErrorKind::TimedOut));
        });
    });
}

/// Promise 24. A deadline that moves on with each message, as servers use them, bounds each.
#[test]
fn a_deadline_that_moves_on_lets_a_conversation_go_on() {
    matrix(LIMIT, "a deadline moved for each message", |case| {
        let (ours, peer) = pair();
        let echo = case.spawn(move || {
            let mut ours = ours;
            let mut byte = [0];
            for _ in 0..200 {
                ours.set_deadline(Some(Instant::now() + FAR)).unwrap();
                ours.read_exact(&mut byte).unwrap();
                ours.write_all(&byte).unwrap();
            }
            ours.set_deadline(Some(Instant::now() + SHORT)).unwrap();
            kind(&ours.read(&mut byte))
        });
        let mut peer = peer;
        for round in 0..200 {
            peer.write_all(&[round as u8]).unwrap();
            let mut byte = [0];
            peer.read_exact(&mut byte).unwrap();
            assert_eq!(byte[0], round as u8);
        }
        assert_eq!(echo.join(), Some(ErrorKind::TimedOut));
    });
}

/// Promise 25. Bytes that come about when the deadline does are returned, or can still be read: none is lost.
#[test]
fn no_byte_is_lost_to_a_deadline() {
    const BYTES: usize = 300;
    matrix(LIMIT, "bytes that race deadlines", |case| {
        let (ours, mut peer) = pair();
        peer.set_nodelay(true).unwrap();
        let reader = case.spawn(move || {
            let mut ours = ours;
            let (mut next, mut timeouts, mut buf) = (0, 0, [0; 8]);
            while next < BYTES {
                let soon = Instant::now() + Duration::from_micros(30 + (next as u64 * 7) % 100);
                ours.set_read_deadline(Some(soon)).unwrap();
                match ours.read(&mut buf) {
                    Ok(len) => {
                        for byte in &buf[..len] {
                            assert_eq!(*byte, next as u8);
                            next += 1;
                        }
                        assert_ne!(len, 0);
                    }
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::TimedOut);
                        timeouts += 1;
                    }
                }
            }
            timeouts
        });
        for byte in 0..BYTES {
            peer.write_all(&[byte as u8]).unwrap();
            let pause = Instant::now() + Duration::from_micros(80);
            while Instant::now() < pause {
                std::hint::spin_loop();
            }
        }
        reader.join();
    });
}

/// Promise 26. A deadline changed over and over while others read: no wake-up is lost to the changes, and none of
/// them makes a call fail that is not past its deadline.
#[test]
fn changes_under_load_disturb_nobody() {
    matrix(LIMIT, "deadlines changed under load", |case| {
        let (ours, mut peer) = pair();
        peer.set_nodelay(true).unwrap();
        let ours = Arc::new(ours);
        let stop = Arc::new(AtomicBool::new(false));
        let changer = case.spawn({
            let (ours, stop) = (Arc::clone(&ours), Arc::clone(&stop));
            move || {
                while !stop.load(Ordering::Relaxed) {
                    ours.set_read_deadline(Some(Instant::now() + FAR)).unwrap();
                    withy::yield_now();
                    ours.set_read_deadline(None).unwrap();
                    withy::yield_now();
                }
            }
        });
        let echo = case.spawn({
            let ours = Arc::clone(&ours);
            move || {
                let mut byte = [0];
                for _ in 0..300 {
                    (&*ours).read_exact(&mut byte).unwrap();
                    (&*ours).write_all(&byte).unwrap();
                }
            }
        });
        for _ in 0..300 {
            peer.write_all(&[7]).unwrap();
            peer.read_exact(&mut [0]).unwrap();
        }
        echo.join();
        stop.store(true, Ordering::Relaxed);
        changer.join();
    });
}

/// Promise 22. A caller that is woken over and over, as its other limit changes, does not end early.
#[test]
fn changes_of_the_timeout_do_not_end_a_deadline_early() {
    matrix(LIMIT, "a deadline under changes of the timeout", |case| {
        let (ours, _peer) = pair();
        let ours = Arc::new(ours);
        let done = Arc::new(AtomicBool::new(false));
        let reader = case.spawn({
            let (ours, done) = (Arc::clone(&ours), Arc::clone(&done));
            move || {
                let end = Instant::now() + SHORT;
                ours.set_read_deadline(Some(end)).unwrap();
                let read = (&*ours).read(&mut [0]);
                let at = Instant::now();
                // First, for the other side goes on until then.
                done.store(true, Ordering::Relaxed);
                assert_eq!(kind(&read), Some(ErrorKind::TimedOut));
                assert!(at >= end, "the read ended early");
            }
        });
        while !done.load(Ordering::Relaxed) {
            ours.set_read_timeout(Some(FAR)).unwrap();
            ours.set_read_timeout(None).unwrap();
            std::thread::yield_now();
        }
        reader.join();
    });
}

/// Promise 19. Deadlines beyond what can be kept are none, as durations are.
#[test]
fn the_farthest_deadlines_are_none() {
    within(LIMIT, "deadlines far away", || {
        let case = Case::new(1, false, Callers::Coroutines);
        let (ours, mut peer) = pair();
        let centuries = Duration::from_secs(1000 * 365 * 24 * 3600);
        let far = Instant::now()
            .checked_add(centuries)
            .expect("std's clock goes far");
        ours.set_read_deadline(Some(far)).unwrap();
        assert_eq!(ours.read_deadline().unwrap(), None);
        let decades = Instant::now() + centuries / 50;
        ours.set_write_deadline(Some(decades)).unwrap();
        assert_eq!(ours.write_deadline().unwrap(), Some(decades));
        let fd = ours.as_raw_fd();
        let reader = case.spawn(move || (&ours).read(&mut [0; 4]).unwrap());
        reader.until_waiting(fd);
        peer.write_all(b"x").unwrap();
        assert_eq!(reader.join(), 1);
    });
}
