//! Signals: every thread of the process is interrupted all the time, and no caller notices.

mod rig;
mod support;

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::Duration;

use rig::storm::{Storm, interruptions};
use support::sockets::{fill, is_filled, narrow_pair};
use support::{Case, matrix};
use withy::net::{TcpListener, TcpStream};

fn transfer(case: &Case) {
    const LEN: usize = 1 << 20;
    let (mut ours, mut peer) = narrow_pair();
    let _storm = Storm::begin();
    let mut clone = ours.try_clone().unwrap();
    let echo = thread::spawn(move || {
        let mut back = peer.try_clone().unwrap();
        std::io::copy(&mut peer, &mut back).unwrap();
    });
    let fd = ours.as_raw_fd();
    // read and write, not read_exact and write_all: those would hide `Interrupted`.
    let reader = case.spawn(move || {
        let mut buf = vec![0; 5000];
        let mut seen = 0;
        while seen < LEN {
            let n = clone.read(&mut buf).unwrap();
            assert!(n > 0 && is_filled(&buf[..n], seen as u64));
            seen += n;
        }
    });
    reader.until_waiting(fd);
    let writer = case.spawn(move || {
        let mut bytes = vec![0; LEN];
        fill(&mut bytes, 0);
        let mut sent = 0;
        while sent < LEN {
            sent += ours.write(&bytes[sent..]).unwrap();
        }
        ours.shutdown(std::net::Shutdown::Write).unwrap();
    });
    writer.join();
    reader.join();
    echo.join().unwrap();
}

fn connections(case: &Case) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let _storm = Storm::begin();
    let acceptor = case.spawn(move || {
        for _ in 0..100 {
            listener.accept().unwrap();
        }
    });
    let client = case.spawn(move || {
        for _ in 0..100 {
            TcpStream::connect(addr).unwrap();
        }
    });
    client.join();
    acceptor.join();
}

/// Promise 14. Reads, writes, accepts, connects and the netpoller's own waits.
#[test]
fn no_blocking_call_is_interrupted_by_signals() {
    matrix(
        Duration::from_secs(120),
        "a transfer and 100 connections in a storm of signals",
        |case| {
            // However fast it is, and however slow whoever sends the signals.
            let before = interruptions();
            while interruptions() <= before + 100 {
                transfer(case);
                connections(case);
            }
        },
    );
}
