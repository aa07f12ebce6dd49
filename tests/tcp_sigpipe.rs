//! Writes to closed connections, TCP's and Unix ones, in a process that SIGPIPE would kill.

mod support;

use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;

use support::sockets::{kind, pair};
use support::{LIMIT, matrix};

fn let_sigpipe_kill() {
    // SAFETY: back to the system's default for this process; no handler is involved.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}

/// Promise 2.
#[test]
fn a_write_to_a_connection_that_the_peer_closed_gives_broken_pipe() {
    let_sigpipe_kill();
    matrix(LIMIT, "writes to a closed peer", |case| {
        let (mut ours, peer) = pair();
        drop(peer);
        case.run(move || {
            assert_eq!(ours.read(&mut [0; 1]).unwrap(), 0);
            // The first write makes the peer's kernel answer with a reset; one of the next ones meets it.
            let result = loop {
                let result = ours.write(b"x");
                if result.is_err() {
                    break result;
                }
            };
            assert_eq!(kind(&result), Some(ErrorKind::BrokenPipe));
        });
    });
}

/// Promise 2.
#[test]
fn a_write_after_our_own_shutdown_gives_broken_pipe() {
    let_sigpipe_kill();
    matrix(LIMIT, "writes after shutdown(Write)", |case| {
        let (mut ours, _peer) = pair();
        case.run(move || {
            ours.shutdown(Shutdown::Write).unwrap();
            assert_eq!(kind(&ours.write(b"x")), Some(ErrorKind::BrokenPipe));
            let slices = [IoSlice::new(b"x"), IoSlice::new(b"y")];
            assert_eq!(
                kind(&ours.write_vectored(&slices)),
                Some(ErrorKind::BrokenPipe)
            );
        });
    });
}

/// Promise 2. Unix sockets, bytes and descriptors.
#[test]
fn a_write_to_a_unix_socket_that_the_peer_closed_gives_broken_pipe() {
    let_sigpipe_kill();
    matrix(LIMIT, "writes to a closed Unix peer", |case| {
        case.run(move || {
            let (mut ours, peer) = withy::net::UnixStream::pair().unwrap();
            drop(peer);
            assert_eq!(kind(&ours.write(b"x")), Some(ErrorKind::BrokenPipe));
            assert_eq!(
                kind(&ours.write_vectored(&[IoSlice::new(b"x")])),
                Some(ErrorKind::BrokenPipe)
            );
            let (datagrams, _peer) = withy::net::UnixDatagram::pair().unwrap();
            let passed = [std::os::fd::AsFd::as_fd(&datagrams)];
            assert_eq!(
                kind(&ours.send_with_fds(b"x", &passed)),
                Some(ErrorKind::BrokenPipe)
            );
            datagrams.shutdown(Shutdown::Write).unwrap();
            assert_eq!(kind(&datagrams.send(b"x")), Some(ErrorKind::BrokenPipe));
            assert_eq!(
                kind(&datagrams.send_with_fds(b"x", &passed)),
                Some(ErrorKind::BrokenPipe)
            );
        });
    });
}
