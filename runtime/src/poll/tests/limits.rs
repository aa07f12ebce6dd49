//! How long callers of a registration wait.

use std::io::{self, Write};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::{SHORT, connection, join, read, runtime, until, until_waiting};
use crate::poll::{Direction, Registration};
use crate::{JoinHandle, Runtime};

/// Promise 22: a timeout is never early, for the reader in the word, guests of the lobby, and plain threads; and the
/// error is std's.
#[test]
fn every_reader_times_out() {
    let runtime = runtime(2);
    let (socket, _peer) = connection();
    socket.set_timeout(Direction::Read, Some(SHORT));
    let reader = || {
        let socket = Arc::clone(&socket);
        move || {
            let start = Instant::now();
            let error = read(&socket, &mut [0; 4]).expect_err("nothing to read");
            (error.kind(), start.elapsed())
        }
    };
    let coroutines: Vec<_> = (0..4).map(|_| runtime.spawn(reader())).collect();
    let plain = reader()();
    let all = coroutines
        .into_iter()
        .map(|coroutine| join("a reader timed out", coroutine));
    for (kind, after) in all.chain([plain]) {
        assert_eq!(kind, io::ErrorKind::WouldBlock);
        assert!(after >= SHORT, "timed out after {after:?}");
    }
}

/// Readers of one byte each: three coroutines, and a plain thread.
struct Readers {
    coroutines: Vec<JoinHandle<Result<usize, io::ErrorKind>>>,
    thread: thread::JoinHandle<Result<usize, io::ErrorKind>>,
}

impl Readers {
    fn start(runtime: &Runtime, socket: &Arc<Registration>) -> Readers {
        let reader = || {
            let socket = Arc::clone(socket);
            move || read(&socket, &mut [0; 1]).map_err(|error| error.kind())
        };
        Readers {
            coroutines: (0..3).map(|_| runtime.spawn(reader())).collect(),
            thread: thread::spawn(reader()),
        }
    }

    fn have_ended(&self) -> usize {
        let coroutines = self.coroutines.iter().filter(|reader| reader.is_finished());
        coroutines.count() + usize::from(self.thread.is_finished())
    }

    fn all_get(self, expected: Result<usize, io::ErrorKind>) {
        until("all readers have ended", || self.have_ended() == 4);
        for coroutine in self.coroutines {
            assert_eq!(coroutine.join().expect("no panic"), expected);
        }
        assert_eq!(self.thread.join().expect("no panic"), expected);
    }
}

/// Promise 26: a timeout that is set meanwhile ends a blocked call, wherever it waits.
#[test]
fn a_changed_timeout_reaches_blocked_readers() {
    let runtime = runtime(2);
    let (socket, _peer) = connection();
    let readers = Readers::start(&runtime, &socket);
    until_waiting(&socket, 4);
    socket.set_timeout(Direction::Read, Some(SHORT));
    readers.all_get(Err(io::ErrorKind::WouldBlock));
}

/// Promises 24 and 26: a timeout that is cleared in time ends no call that was blocked under it.
#[test]
fn a_cleared_timeout_ends_nobody() {
    let runtime = runtime(2);
    let mut limit = SHORT * 5;
    loop {
        let (socket, mut peer) = connection();
        socket.set_timeout(Direction::Read, Some(limit));
        let start = Instant::now();
        let readers = Readers::start(&runtime, &socket);
        until("readers wait, or it is too late", || {
            socket.waiting(Direction::Read) == 4 || start.elapsed() >= limit
        });
        socket.set_timeout(Direction::Read, None);
        if start.elapsed() >= limit {
            // Some have timed out, as they should. Once more, with more time.
            limit *= 2;
            drop(peer);
            continue;
        }
        // That they do not end shows when their time is over.
        thread::sleep(limit + SHORT);
        assert_eq!(readers.have_ended(), 0);
        peer.write_all(&[0; 4]).expect("readers");
        return readers.all_get(Ok(1));
    }
}

/// Promise 19: timeouts beyond what the clock can say are no limit, and do not overflow.
#[test]
fn the_longest_timeouts_are_none() {
    let runtime = runtime(1);
    for timeout in [Duration::MAX, Duration::from_nanos(u64::MAX)] {
        let (socket, mut peer) = connection();
        socket.set_timeout(Direction::Read, Some(timeout));
        let theirs = Arc::clone(&socket);
        let reader = runtime.spawn(move || read(&theirs, &mut [0; 1]).expect("a byte"));
        until_waiting(&socket, 1);
        peer.write_all(&[0; 2]).expect("readers");
        assert_eq!(join("a byte was read", reader), 1);
        assert_eq!(read(&socket, &mut [0; 1]).expect("a byte"), 1);
    }
}

/// Promise 24: a deadline in the past fails at once, unless what is waited for is there.
#[test]
fn a_deadline_in_the_past_is_over() {
    let runtime = runtime(1);
    let (socket, _peer) = connection();
    let wait = move || {
        let past = Instant::now().checked_sub(Duration::from_secs(1));
        let error = socket
            .wait(Direction::Read, past)
            .expect_err("nothing to read");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        socket.wait(Direction::Write, past).expect("room to write");
    };
    wait.clone()();
    runtime.run(wait);
}
