//! Several callers of one direction of one socket: the baton goes round and is never dropped. More of readers is in
//! `socket_readers.rs`.

mod support;

use std::collections::HashSet;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use support::sockets::pair;
use support::{Callers, Case, LIMIT, matrix, within};
use withy::net::TcpListener;

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
