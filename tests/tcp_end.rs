//! Connections that are reset; `stream_end.rs` has the other ends.

mod support;

use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;

use support::sockets::{kind, narrow_pair, pair, reset};
use support::{LIMIT, matrix};

/// Promise 2.
#[test]
fn a_reset_reaches_a_blocked_reader() {
    matrix(LIMIT, "a reader whose peer resets", |case| {
        let (mut ours, peer) = pair();
        let fd = ours.as_raw_fd();
        let reader = case.spawn(move || {
            let result = ours.read(&mut [0; 16]);
            assert_eq!(
                kind(&result),
                Some(ErrorKind::ConnectionReset),
                "{result:?}"
            );
            // Once reported, the error is gone and the stream is at its end, as with std.
            assert_eq!(ours.read(&mut [0; 16]).unwrap(), 0);
        });
        reader.until_waiting(fd);
        reset(peer);
        reader.join();
    });
}

/// Promise 2.
#[test]
fn a_reset_reaches_a_blocked_writer() {
    matrix(LIMIT, "a writer whose peer resets", |case| {
        let (mut ours, peer) = narrow_pair();
        let fd = ours.as_raw_fd();
        let writer = case.spawn(move || ours.write_all(&vec![7; 8 << 20]));
        writer.until_waiting(fd);
        reset(peer);
        let result = writer.join();
        assert_eq!(
            kind(&result),
            Some(ErrorKind::ConnectionReset),
            "{result:?}"
        );
    });
}
