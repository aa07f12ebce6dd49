//! `io::CopyCounters`: what a copy in both directions has moved, told while it goes on, and where it can return nothing.

mod rig;
mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rig::until;
use support::sockets::{narrow_pair, pair, reset};
use support::{LIMIT, matrix};
use withy::io::{BidirectionalCopy, CopyCounters};

fn counters() -> [Arc<CopyCounters>; 2] {
    let counters = Arc::new(CopyCounters::new());
    [Arc::clone(&counters), counters]
}

/// Each way by itself, before anything has ended. Two copies that count into one have their sum there.
#[test]
fn bytes_are_counted_while_the_copy_goes_on() {
    matrix(LIMIT, "counters of a copy that goes on", |case| {
        let [theirs, counters] = counters();
        let copies = [(0, 0), (4, 5)].map(|before| {
            let ((inner, mut client), (outer, mut server)) = (pair(), pair());
            let theirs = theirs.clone();
            let copy =
                case.spawn(move || BidirectionalCopy::new().run_counting(&inner, &outer, &theirs));
            let counted = || (counters.read().a_to_b, counters.read().b_to_a);
            client.write_all(b"ping").unwrap();
            server.read_exact(&mut [0; 4]).unwrap();
            until(|| counted() == (before.0 + 4, before.1));
            server.write_all(b"pong!").unwrap();
            client.read_exact(&mut [0; 5]).unwrap();
            until(|| counted() == (before.0 + 4, before.1 + 5));
            (client, server, copy)
        });
        for (client, server, copy) in copies {
            client.shutdown(Shutdown::Write).unwrap();
            server.shutdown(Shutdown::Write).unwrap();
            let copied = copy.join().unwrap();
            assert_eq!((copied.a_to_b, copied.b_to_a), (4, 5));
        }
        assert_eq!((counters.read().a_to_b, counters.read().b_to_a), (8, 10));
    });
}

/// The bytes that moved in the same step as the error, too.
#[test]
fn bytes_before_an_error_are_counted() {
    matrix(LIMIT, "counters of a copy that fails", |case| {
        let ((inner, mut client), (outer, mut server)) = (pair(), pair());
        let [theirs, counters] = counters();
        client.write_all(&[7; 1000]).unwrap();
        reset(client);
        // The reset comes behind the bytes, which are still there.
        until(|| inner.peek(&mut [0]).is_ok_and(|n| n == 1));
        let copy =
            case.spawn(move || BidirectionalCopy::new().run_counting(&inner, &outer, &theirs));
        let error = copy.join().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert_eq!(counters.read(), error.copied());
        let mut seen = 0;
        while let Ok(n @ 1..) = server.read(&mut [0; 100]) {
            seen += n as u64;
        }
        assert!(
            seen <= counters.read().a_to_b && counters.read().a_to_b == 1000,
            "{seen} seen, {counters:?}"
        );
    });
}

/// Promise 25. A copy that is unwound returns nothing; its counters have exactly what the other side gets.
#[test]
fn bytes_of_a_copy_that_is_cut_short_are_counted() {
    matrix(LIMIT, "counters of a copy that is cut short", |case| {
        for limit_ms in [1, 5, 20] {
            let ((inner, client), (outer, mut server)) = (narrow_pair(), narrow_pair());
            let [theirs, counters] = counters();
            let copy = case.spawn(move || {
                let limit = Duration::from_millis(limit_ms);
                let run = || BidirectionalCopy::new().run_counting(&inner, &outer, &theirs);
                withy::timeout(limit, run).unwrap_err();
                // The kernel passes on what it has taken, and then this.
                outer.shutdown(Shutdown::Write).unwrap();
                (inner, outer)
            });
            // Until the copy is cut short and its ends are closed: it does not end by itself.
            let sender = thread::spawn(move || while (&client).write(&[7; 10_000]).is_ok() {});
            let (mut seen, mut buf) = (0, [0; 5_000]);
            while let n @ 1.. = server.read(&mut buf).unwrap() {
                seen += n as u64;
            }
            drop(copy.join());
            sender.join().unwrap();
            assert_eq!((counters.read().a_to_b, counters.read().b_to_a), (seen, 0));
        }
    });
}
