//! Several callers of one direction of one socket: the baton goes round and is never dropped.

mod support;

use std::collections::HashSet;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use support::sockets::pair;
use support::{Callers, Case, LIMIT, matrix, within};
use withy::net::TcpListener;

/// Promise 7. Each byte is sent only when the one before was claimed, so most of the time all readers wait.
#[test]
fn several_readers_get_each_byte_once_and_all_make_progress() {
    const READERS: usize = 4;
    const BYTES: usize = 800;
    matrix(LIMIT, "four readers of one socket", |case| {
        let (ours, mut peer) = pair();
        peer.set_nodelay(true).unwrap();
        let (claim, claimed) = mpsc::channel();
        let readers: Vec<_> = (0..READERS)
            .map(|reader| {
                let mut clone = ours.try_clone().unwrap();
                let claim = claim.clone();
                case.spawn(move || {
                    let mut byte = [0];
                    while clone.read(&mut byte).unwrap() == 1 {
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
        for round in 0..BYTES {
            peer.write_all(&[round as u8]).unwrap();
            let (reader, byte) = claimed.recv().unwrap();
            assert_eq!(byte, round as u8);
            counts[reader] += 1;
        }
        drop(peer);
        for reader in readers {
            reader.join();
        }
        assert!(claimed.recv().is_err(), "a byte was delivered twice");
        // Plain threads all wait in poll(2), and the kernel keeps no order among them.
        if case.callers == Callers::Coroutines {
            assert!(
                counts.iter().all(|count| *count > 0),
                "some readers starved: {counts:?}"
            );
        }
    });
}

/// Promise 7. All data is there with one event: each reader that leaves must call the next.
#[test]
fn several_readers_share_what_one_event_brought() {
    const READERS: usize = 8;
    matrix(LIMIT, "eight readers of eight bytes", |case| {
        let (ours, mut peer) = pair();
        let readers: Vec<_> = (0..READERS)
            .map(|_| {
                let mut clone = ours.try_clone().unwrap();
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
        peer.write_all(&[0, 1, 2, 3, 4, 5, 6, 7]).unwrap();
        let mut got: Vec<_> = readers.into_iter().map(support::Caller::join).collect();
        got.sort_unstable();
        assert_eq!(got, [0, 1, 2, 3, 4, 5, 6, 7]);
    });
}

/// Promise 7.
#[test]
fn several_acceptors_get_each_connection_once() {
    const ACCEPTORS: usize = 4;
    const CONNECTIONS: usize = 200;
    matrix(LIMIT, "four acceptors of one listener", |case| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let left = Arc::new(AtomicUsize::new(CONNECTIONS));
        let acceptors: Vec<_> = (0..ACCEPTORS)
            .map(|_| {
                let listener = listener.try_clone().unwrap();
                let left = left.clone();
                case.spawn(move || {
                    let mut peers = Vec::new();
                    // Each takes a ticket first, so that exactly as many accepts are made as connections come.
                    while left
                        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                            left.checked_sub(1)
                        })
                        .is_ok()
                    {
                        peers.push(listener.accept().unwrap().1);
                    }
                    peers
                })
            })
            .collect();
        let peers: Vec<_> = (0..CONNECTIONS)
            .map(|_| std::net::TcpStream::connect(addr).unwrap())
            .collect();
        let accepted: Vec<_> = acceptors
            .into_iter()
            .flat_map(support::Caller::join)
            .collect();
        let connected: HashSet<_> = peers
            .iter()
            .map(|peer| peer.local_addr().unwrap())
            .collect();
        assert_eq!(accepted.len(), CONNECTIONS);
        assert_eq!(accepted.into_iter().collect::<HashSet<_>>(), connected);
    });
}

/// Promise 7. The first reader, the one that is registered as waiting, is unwound by its runtime's end; the byte must
/// reach the one that queued behind it.
#[test]
fn a_reader_that_is_unwound_drops_nobody_behind_it() {
    for callers in [Callers::Coroutines, Callers::Threads] {
        within(LIMIT, "a reader behind one that is unwound", || {
            let (ours, mut peer) = pair();
            let (mut first, mut second) = (ours.try_clone().unwrap(), ours.try_clone().unwrap());
            let ending = Case::new(1, false, Callers::Coroutines);
            let unwound = ending.spawn(move || first.read(&mut [0]).map(drop));
            unwound.until_waiting(ours.as_raw_fd());
            let staying = Case::new(2, false, callers);
            let reader = staying.spawn(move || {
                let mut byte = [0];
                second.read(&mut byte).map(|n| (n, byte[0]))
            });
            reader.until_waiting(ours.as_raw_fd());
            drop(ending);
            peer.write_all(b"x").unwrap();
            assert_eq!(reader.join().unwrap(), (1, b'x'));
        });
    }
}

/// Promise 7. A read that times out leaves the direction to the next, who has no time limit to help it.
#[test]
fn a_reader_that_times_out_drops_nobody_behind_it() {
    matrix(LIMIT, "readers behind one that times out", |case| {
        let (ours, mut peer) = pair();
        ours.set_read_timeout(Some(std::time::Duration::from_millis(30)))
            .unwrap();
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let mut clone = ours.try_clone().unwrap();
                case.spawn(move || {
                    let mut byte = [0];
                    loop {
                        match clone.read(&mut byte) {
                            Ok(n) => return (n, byte[0]),
                            Err(error) => {
                                assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "{error}");
                            }
                        }
                    }
                })
            })
            .collect();
        for reader in &readers {
            reader.until_waiting(ours.as_raw_fd());
        }
        peer.write_all(b"abc").unwrap();
        let mut got: Vec<_> = readers.into_iter().map(support::Caller::join).collect();
        got.sort_unstable();
        assert_eq!(got, [(1, b'a'), (1, b'b'), (1, b'c')]);
    });
}
