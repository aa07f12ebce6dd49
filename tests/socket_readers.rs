//! Readers of sockets of each kind: who gets what, what wakes them, and what must not be lost.

mod endpoints;
mod support;

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use endpoints::{Endpoint, each};
use support::sockets::kind;
use support::{Callers, Case, LIMIT, matrix, pollers_of, within};
use withy::Cancelled;

/// Takes the messages of one byte that are there; how many.
fn drain<E: Endpoint>(ours: &E) -> usize {
    ours.set_nonblocking(true);
    let mut count = 0;
    while ours.read(&mut [0]).is_ok() {
        count += 1;
    }
    ours.set_nonblocking(false);
    count
}

each! {
    /// Promise 9. An unpark is no data, and the permit is kept for the caller's next park.
    fn a_blocked_read_ignores_unparks<E: Endpoint>() for [TcpStream, UdpSocket, UnixDatagram, UnixStream] {
        matrix(LIMIT, "a read that is unparked", |case| {
            let (ours, peer) = E::pair();
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
            E::peer_write(&peer, b"data");
            assert_eq!(reader.join(), b"data");
        });
    }

    /// Promise 8. The buffer is never filled: of TCP streams each read clears readiness by its shortness alone, of the
    /// others none does.
    fn data_after_a_short_read_is_not_stranded<E: Endpoint>() for [TcpStream, UdpSocket, UnixDatagram, UnixStream] {
        const ROUNDS: usize = 2000;
        matrix(LIMIT, "ping-pong of short reads", |case| {
            let (ours, peer) = E::pair();
            let echo = case.spawn(move || {
                let mut buf = [0; 4096];
                for _ in 0..ROUNDS {
                    let n = ours.read(&mut buf).unwrap();
                    assert_eq!(ours.write(&buf[..n]).unwrap(), n);
                }
            });
            let mut got = [0; 4096];
            for round in 0..ROUNDS {
                let sent = vec![round as u8; 1 + round % 100];
                E::peer_write(&peer, &sent);
                let n = E::peer_read(&peer, &mut got);
                assert_eq!(&got[..n], sent);
            }
            echo.join();
        });
    }

    /// Promise 8. Several messages come with one event, each read shorter than its buffer.
    fn messages_behind_a_short_one_are_not_stranded<E: Endpoint>() for [UdpSocket, UnixDatagram, UnixStream] {
        matrix(LIMIT, "reads of what one event brought", |case| {
            let (ours, peer) = E::pair();
            let fd = ours.as_raw_fd();
            let reader = case.spawn(move || {
                let mut all = Vec::new();
                let mut buf = [0; 100];
                while all.len() < 9 {
                    let n = ours.read(&mut buf).unwrap();
                    all.extend_from_slice(&buf[..n]);
                }
                all
            });
            reader.until_waiting(fd);
            for piece in [b"abc", b"def", b"ghi"] {
                E::peer_write(&peer, piece);
            }
            assert_eq!(reader.join(), b"abcdefghi");
        });
    }

    /// Promise 8. A peek takes nothing, however short it was.
    fn data_after_a_peek_is_not_stranded<E: Endpoint>() for [TcpStream, UdpSocket, UnixDatagram, UnixStream] {
        matrix(LIMIT, "a read after short peeks", |case| {
            let (ours, peer) = E::pair();
            let fd = ours.as_raw_fd();
            let reader = case.spawn(move || {
                let mut buf = [0; 100];
                assert_eq!(ours.peek(&mut buf).unwrap(), 3);
                assert_eq!(ours.peek(&mut buf[..2]).unwrap(), 2);
                assert_eq!(ours.read(&mut buf).unwrap(), 3);
                assert_eq!(&buf[..3], b"abc");
            });
            reader.until_waiting(fd);
            E::peer_write(&peer, b"abc");
            reader.join();
        });
    }

    /// Promise 18. Nothing was waited for, so nothing was registered either.
    fn a_first_read_that_finds_data_needs_no_event<E: Endpoint>() for [UdpSocket, UnixDatagram, UnixStream] {
        matrix(LIMIT, "a first read", |case| {
            let (ours, peer) = E::pair();
            E::peer_write(&peer, b"early");
            case.run(move || {
                assert_eq!(ours.read(&mut [0; 16]).unwrap(), 5);
                assert_eq!(ours.write(b"answer").unwrap(), 6);
                assert_eq!(pollers_of(ours.as_raw_fd()), 0);
            });
            assert_eq!(E::peer_read(&peer, &mut [0; 16]), 6);
        });
    }

    /// Promise 7. Each message is sent only when the one before was claimed, so most of the time all readers wait.
    fn several_readers_get_each_message_once_and_all_make_progress<E: Endpoint>() for [TcpStream, UdpSocket, UnixDatagram, UnixStream] {
        const READERS: usize = 4;
        const MESSAGES: usize = 800;
        const LEAVE: u8 = 255;
        matrix(LIMIT, "four readers of one socket", |case| {
            let (ours, peer) = E::pair();
            let (claim, claimed) = mpsc::channel();
            let readers: Vec<_> = (0..READERS)
                .map(|reader| {
                    let (clone, claim) = (E::clone(&ours), claim.clone());
                    case.spawn(move || {
                        let mut byte = [0];
                        while byte[0] != LEAVE {
                            assert_eq!(clone.read(&mut byte).unwrap(), 1);
                            claim.send((reader, byte[0])).unwrap();
                        }
                    })
                })
                .collect();
            drop(claim);
            for reader in &readers {
                reader.until_waiting(ours.as_raw_fd());
            }
            let mut counts = [0; READERS];
            let mut send = |message: u8| {
                E::peer_write(&peer, &[message]);
                let (reader, byte) = claimed.recv().unwrap();
                assert_eq!(byte, message);
                counts[reader] += 1;
                counts
            };
            let mut rounds = (0..LEAVE).cycle();
            (0..MESSAGES).for_each(|_| _ = send(rounds.next().unwrap()));
            // Plain threads all wait in poll(2), and the kernel keeps no order among them. A worker that is kept from its core for long
            // makes it take longer; a reader that starves makes it endless, which the watchdog tells.
            if case.callers == Callers::Coroutines {
                while send(rounds.next().unwrap()).contains(&0) {}
            }
            (0..READERS).for_each(|_| _ = send(LEAVE));
            for reader in readers {
                reader.join();
            }
            assert!(claimed.recv().is_err(), "a message was delivered twice");
        });
    }

    /// Promise 7. All is there with one event: each reader that leaves must call the next.
    fn several_readers_share_what_one_event_brought<E: Endpoint>() for [TcpStream, UdpSocket, UnixDatagram, UnixStream] {
        matrix(LIMIT, "eight readers of eight messages", |case| {
            let (ours, peer) = E::pair();
            let readers: Vec<_> = (0..8)
                .map(|_| {
                    let clone = E::clone(&ours);
                    case.spawn(move || {
                        let mut byte = [0];
                        assert_eq!(clone.read(&mut byte).unwrap(), 1);
                        byte[0]
                    })
                })
                .collect();
            for reader in &readers {
                reader.until_waiting(ours.as_raw_fd());
            }
            let bytes = [0, 1, 2, 3, 4, 5, 6, 7];
            for message in bytes.chunks(if E::MESSAGES { 1 } else { 8 }) {
                E::peer_write(&peer, message);
            }
            let mut got: Vec<_> = readers.into_iter().map(support::Caller::join).collect();
            got.sort_unstable();
            assert_eq!(got, bytes);
        });
    }

    /// Promises 7 and 29. The first reader, the one in the word, is cancelled; the message reaches the one behind it.
    fn a_reader_that_is_cancelled_drops_nobody_behind_it<E: Endpoint>() for [TcpStream, UdpSocket, UnixDatagram, UnixStream] {
        for callers in [Callers::Coroutines, Callers::Threads] {
            within(LIMIT, "a reader behind one that is cancelled", || {
                let (ours, peer) = E::pair();
                let case = Case::new(2, false, callers);
                let (first, second) = (E::clone(&ours), E::clone(&ours));
                let cancelled = case.runtime.spawn(move || first.read(&mut [0]).map(drop));
                while pollers_of(ours.as_raw_fd()) == 0 {
                    thread::sleep(Duration::from_micros(50));
                }
                let reader = case.spawn(move || {
                    let mut byte = [0];
                    second.read(&mut byte).map(|n| (n, byte[0]))
                });
                reader.until_waiting(ours.as_raw_fd());
                cancelled.cancel();
                assert!(cancelled.join().unwrap_err().is::<Cancelled>());
                E::peer_write(&peer, b"x");
                assert_eq!(reader.join().unwrap(), (1, b'x'));
            });
        }
    }

    /// Promise 7. A read that times out leaves the direction to the next.
    fn a_reader_that_times_out_drops_nobody_behind_it<E: Endpoint>() for [TcpStream, UdpSocket, UnixDatagram, UnixStream] {
        matrix(LIMIT, "readers behind one that times out", |case| {
            let (ours, peer) = E::pair();
            ours.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
            let readers: Vec<_> = (0..3)
                .map(|_| {
                    let clone = E::clone(&ours);
                    case.spawn(move || {
                        let mut byte = [0];
                        loop {
                            match clone.read(&mut byte) {
                                Ok(n) => return (n, byte[0]),
                                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
                            }
                        }
                    })
                })
                .collect();
            for reader in &readers {
                reader.until_waiting(ours.as_raw_fd());
            }
            for message in b"abc".chunks(if E::MESSAGES { 1 } else { 3 }) {
                E::peer_write(&peer, message);
            }
            let mut got: Vec<_> = readers.into_iter().map(support::Caller::join).collect();
            got.sort_unstable();
            assert_eq!(got, [(1, b'a'), (1, b'b'), (1, b'c')]);
        });
    }

    /// Promise 29. Readers are cancelled all the time while messages come: each message is got by one of those who
    /// returned, or is still there.
    fn cancelled_readers_lose_no_message<E: Endpoint>() for [TcpStream, UdpSocket, UnixDatagram, UnixStream] {
        const MESSAGES: usize = 300;
        for workers in [1, 2, 8] {
            for full_stealing in [false, true] {
                within(LIMIT, "readers that are cancelled while messages come", || {
                    let runtime = support::runtime(workers, full_stealing);
                    let (ours, peer) = E::pair();
                    let (got, mut left) = (Arc::new(AtomicUsize::new(0)), 0);
                    for round in 0..MESSAGES {
                        let (clone, counts) = (E::clone(&ours), got.clone());
                        let reader = runtime.spawn(move || {
                            assert_eq!(clone.read(&mut [0]).unwrap(), 1);
                            // Nothing that could unwind stands between the read and its count.
                            counts.fetch_add(1, Ordering::SeqCst);
                        });
                        if round % 3 == 0 {
                            thread::yield_now();
                        }
                        E::peer_write(&peer, &[round as u8]);
                        reader.cancel();
                        if let Err(payload) = reader.join() {
                            assert!(payload.is::<Cancelled>());
                        }
                        // Readers that are cancelled before they read leave all of them: more than the kernel holds.
                        if round % 8 == 7 || round + 1 == MESSAGES {
                            left += drain(&ours);
                        }
                    }
                    assert_eq!(got.load(Ordering::SeqCst) + left, MESSAGES);
                });
            }
        }
    }

    /// Promise 15. An empty read waits until there is something not to take, and takes it from datagrams; short buffers
    /// cut datagrams off and leave a stream's rest.
    fn zero_length_calls_and_short_buffers_do_as_stds_do<E: Endpoint>() for [UdpSocket, UnixDatagram, UnixStream] {
        matrix(LIMIT, "zero-length reads and writes", |case| {
            let (ours, peer) = E::pair();
            let fd = ours.as_raw_fd();
            let reader = case.spawn(move || {
                let mut buf = [0; 4];
                assert_eq!(ours.read(&mut []).unwrap(), 0);
                assert_eq!(ours.read(&mut buf[..2]).unwrap(), 2);
                if !E::MESSAGES {
                    // The empty read took nothing.
                    assert_eq!(&buf[..2], b"ab");
                    assert_eq!(ours.read(&mut buf).unwrap(), 4);
                    assert_eq!(ours.read(&mut buf).unwrap(), 2);
                    assert_eq!(&buf[..2], b"gh");
                    assert_eq!(ours.write(&[]).unwrap(), 0);
                    return;
                }
                assert_eq!(&buf[..2], b"de");
                assert_eq!(ours.read(&mut buf).unwrap(), 2);
                assert_eq!(&buf[..2], b"gh");
                // An empty datagram is none but the next one.
                assert_eq!(ours.peek(&mut buf).unwrap(), 0);
                assert_eq!(ours.read(&mut buf).unwrap(), 0);
                assert_eq!(ours.write(&[]).unwrap(), 0);
                assert_eq!(ours.read(&mut buf).unwrap(), 1);
            });
            reader.until_waiting(fd);
            if !E::MESSAGES {
                E::peer_write(&peer, b"abcdefgh");
            } else {
                for piece in [b"abc", b"def", &b"gh"[..]] {
                    E::peer_write(&peer, piece);
                }
                E::peer_write(&peer, b"");
                let mut buf = [0; 4];
                assert_eq!(E::peer_read(&peer, &mut buf), 0);
                E::peer_write(&peer, b"x");
            }
            reader.join();
        });
    }

    /// Promise 10. Each round leaves an event behind for a number that the next round uses again: of a stream, its end. A
    /// reader that got it would return 0, or too early, instead of its own byte.
    fn a_reused_descriptor_number_never_gets_its_predecessors_event<E: Endpoint>() for [TcpStream, UdpSocket, UnixDatagram, UnixStream] {
        matrix(LIMIT, "300 sockets on the same numbers", |case| {
            let mut reused = 0;
            let mut last = -1;
            for round in 0..300 {
                let (ours, peer) = E::pair();
                let fd = ours.as_raw_fd();
                reused += usize::from(fd == last);
                last = fd;
                let reader = case.spawn(move || {
                    let mut byte = [0];
                    let n = ours.read(&mut byte).unwrap();
                    // Dropped here, right before the peer's end can arrive.
                    (n, byte[0])
                });
                if round % 3 == 0 {
                    reader.until_waiting(fd);
                }
                E::peer_write(&peer, &[round as u8]);
                drop(peer);
                assert_eq!(reader.join(), (1, round as u8));
            }
            // Other tests of this process open descriptors too, so not every number comes again.
            assert!(reused > 0, "no descriptor number was ever reused: this tested nothing");
        });
    }

    /// Promise 10. A socket that has waited works after a trip through a raw descriptor, and through std's type.
    fn conversions_work_after_a_wait<E: Endpoint>() for [TcpStream, UdpSocket, UnixDatagram, UnixStream] {
        matrix(LIMIT, "sockets that are converted", |case| {
            let (ours, peer) = E::pair();
            let fd = ours.as_raw_fd();
            let first = case.spawn(move || {
                assert_eq!(ours.read(&mut [0]).unwrap(), 1);
                ours.into_raw_fd()
            });
            first.until_waiting(fd);
            E::peer_write(&peer, b"1");
            let raw = first.join();
            assert_eq!(raw, fd, "a sole owner gives the descriptor itself");
            assert_eq!(pollers_of(raw), 0, "what is given away is deregistered");
            // SAFETY: `into_raw_fd` has just given it to us.
            let again = unsafe { E::from_raw_fd(raw) }.through_std();
            let second = case.spawn(move || {
                let mut byte = [0];
                again.read(&mut byte).unwrap();
                byte[0]
            });
            second.until_waiting(fd);
            E::peer_write(&peer, b"2");
            assert_eq!(second.join(), b'2');
        });
    }

    /// Promise 10. Modes and timeouts are the descriptor's in std, so they travel with it.
    fn modes_and_timeouts_survive_conversions<E: Endpoint>() for [UdpSocket, UnixDatagram, UnixStream] {
        within(LIMIT, "conversions with timeouts", || {
            let (ours, _peer) = E::pair();
            ours.set_read_timeout(Some(Duration::from_secs(3000))).unwrap();
            ours.set_write_timeout(Some(Duration::from_secs(4))).unwrap();
            ours.set_nonblocking(true);
            let ours = ours.through_std();
            assert_eq!(ours.read_timeout(), Some(Duration::from_secs(3000)));
            assert_eq!(ours.write_timeout(), Some(Duration::from_secs(4)));
            // At once: the watchdog ends a read that waits for its timeout.
            assert_eq!(kind(&ours.read(&mut [0])), Some(ErrorKind::WouldBlock));
            assert_eq!(pollers_of(ours.as_raw_fd()), 0);
        });
    }
}
