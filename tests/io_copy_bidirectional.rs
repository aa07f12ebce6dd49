//! `io::copy_bidirectional`: what a proxy does with two connections, and how it ends.

mod endpoints;
mod rig;
mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::thread;
use std::time::Duration;

use endpoints::Endpoint;
use rig::child::alone;
use rig::places::Client;
use rig::process::descriptors;
use rig::{stress_rounds, until};
use socket2::SockRef;
use support::sockets::{fill, is_filled, narrow_pair, pair, reset};
use support::{Caller, Case, LIMIT, matrix};
use withy::io::{BidirectionalCopy, Copied, CopyError};
use withy::net::UnixStream;
use withy_runtime::poll::AsRegistration;

type Outcome = Result<Copied, CopyError>;

/// A proxy between two std sockets.
struct Proxied<C = std::net::TcpStream> {
    client: C,
    server: C,
    proxy: Caller<Outcome>,
}

impl Proxied {
    /// The side that acts first, the other one, and the proxy between them.
    fn seen_from(
        self,
        client_first: bool,
    ) -> (std::net::TcpStream, std::net::TcpStream, Caller<Outcome>) {
        match client_first {
            true => (self.client, self.server, self.proxy),
            false => (self.server, self.client, self.proxy),
        }
    }
}

/// Both connections are dropped when the copy has ended.
fn proxied(case: &Case, copy: BidirectionalCopy) -> Proxied {
    between(case, copy, pair)
}

fn between<S: AsRegistration + Send + 'static, C>(
    case: &Case,
    copy: BidirectionalCopy,
    connect: fn() -> (S, C),
) -> Proxied<C> {
    let ((inner, client), (outer, server)) = (connect(), connect());
    Proxied {
        client,
        server,
        proxy: case.spawn(move || copy.run(&inner, &outer)),
    }
}

fn unlimited() -> BidirectionalCopy {
    BidirectionalCopy::new()
}

/// Bytes of a seed's number, in pieces of its sizes; then the end of the stream.
fn send(mut stream: &std::net::TcpStream, seed: u64, len: usize) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut piece = vec![0; 100_000];
    let mut sent = 0;
    while sent < len {
        let size = random.usize(1..=piece.len().min(len - sent));
        fill(&mut piece[..size], seed + sent as u64);
        stream.write_all(&piece[..size]).unwrap();
        sent += size;
    }
    stream.shutdown(Shutdown::Write).unwrap();
}

fn check(mut stream: &std::net::TcpStream, seed: u64, len: usize) {
    let mut random = fastrand::Rng::with_seed(!seed);
    let mut buf = vec![0; 150_000];
    let mut seen = 0;
    loop {
        let room = random.usize(1..=buf.len());
        let n = stream.read(&mut buf[..room]).unwrap();
        assert!(
            is_filled(&buf[..n], seed + seen as u64),
            "wrong bytes after {seen}"
        );
        seen += n;
        if n == 0 {
            break;
        }
    }
    assert_eq!(seen, len);
}

fn both_ways(proxied: Proxied, seed: u64, there: usize, back: usize) {
    let Proxied {
        client,
        server,
        proxy,
    } = proxied;
    thread::scope(|s| {
        s.spawn(|| send(&client, seed, there));
        s.spawn(|| send(&server, seed + 77, back));
        s.spawn(|| check(&server, seed, there));
        check(&client, seed + 77, back);
    });
    let copied = proxy.join().unwrap();
    assert_eq!((copied.a_to_b, copied.b_to_a), (there as u64, back as u64));
}

/// Promises 3 to 5 and 8. Random numbers of bytes both ways at once, exactly, and each end of a stream.
#[test]
fn bytes_arrive_exactly_both_ways() {
    matrix(2 * LIMIT, "random sizes both ways", |case| {
        for seed in 0..4 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (there, back) = (random.usize(0..2_000_000), random.usize(0..2_000_000));
            both_ways(proxied(case, unlimited()), seed, there, back);
        }
    });
}

/// Promises 5 and 8. Each end has to be waited for, in either direction.
#[test]
fn bytes_arrive_exactly_through_narrow_connections() {
    matrix(2 * LIMIT, "narrow connections both ways", |case| {
        for seed in 0..2 * stress_rounds() as u64 {
            both_ways(
                between(case, unlimited(), narrow_pair),
                seed,
                300_000,
                500_000,
            );
        }
    });
}

/// Promise 4. The end of one direction is passed on, and the other goes on: from either side.
#[test]
fn a_half_close_is_passed_on_and_the_other_direction_goes_on() {
    matrix(LIMIT, "half-closes", |case| {
        for client_first in [true, false] {
            let (mut first, mut second, proxy) = proxied(case, unlimited()).seen_from(client_first);
            first.write_all(b"request").unwrap();
            first.shutdown(Shutdown::Write).unwrap();
            let mut request = String::new();
            second.read_to_string(&mut request).unwrap();
            assert_eq!(request, "request");
            for answer in [b"one ", b"two ", b"end."] {
                second.write_all(answer).unwrap();
                let mut got = [0; 4];
                first.read_exact(&mut got).unwrap();
                assert_eq!(&got, answer);
            }
            second.shutdown(Shutdown::Write).unwrap();
            assert_eq!(first.read(&mut [0]).unwrap(), 0);
            let copied = proxy.join().unwrap();
            let (one, other) = if client_first { (7, 12) } else { (12, 7) };
            assert_eq!((copied.a_to_b, copied.b_to_a), (one, other));
        }
    });
}

/// Promise 2. A reset of either side in the middle ends both directions, and the other side is told by a reset: not by an end
/// that it would take for a whole stream.
#[test]
fn a_reset_is_passed_on_as_a_reset() {
    matrix(LIMIT, "resets in the middle", |case| {
        for client_first in [true, false] {
            let (mut first, mut second, proxy) = proxied(case, unlimited()).seen_from(client_first);
            first.write_all(b"half a mess").unwrap();
            second.read_exact(&mut [0; 11]).unwrap();
            reset(first);
            let error = second.read(&mut [0]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            let error = proxy.join().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            let Copied { a_to_b, b_to_a, .. } = error.copied();
            assert_eq!(
                (a_to_b, b_to_a),
                if client_first { (11, 0) } else { (0, 11) }
            );
        }
    });
}

/// Promises 2 and 11. A server that answers without reading everything, and closes: the answer arrives whole, with its end, though the other
/// direction has failed while the client was slow to read.
#[test]
fn an_answer_that_comes_before_the_end_of_the_request_arrives_whole() {
    const LEN: usize = 60_000;
    matrix(LIMIT, "early answers", |case| {
        let ((inner, mut client), (outer, mut server)) = (narrow_pair(), pair());
        let proxy = case.spawn(move || withy::io::copy_bidirectional(&inner, &outer));
        client.write_all(b"a request").unwrap();
        server.peek(&mut [0]).unwrap();
        let mut answer = vec![0; LEN];
        fill(&mut answer, 0);
        server.write_all(&answer).unwrap();
        server.shutdown(Shutdown::Write).unwrap();
        until(|| bytes_not_acknowledged(&server) == 0);
        // With something unread: that is a reset, after the end of its stream.
        drop(server);
        client.write_all(b", which goes on").unwrap();
        // Most of the answer is on its way still when the proxy meets the reset.
        thread::sleep(Duration::from_millis(5));
        let mut got = Vec::new();
        client.read_to_end(&mut got).unwrap();
        assert!(got == answer, "{} bytes of the answer", got.len());
        let error = proxy.join().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        let Copied { a_to_b, b_to_a, .. } = error.copied();
        assert_eq!((a_to_b, b_to_a), (9, LEN as u64));
    });
}

fn bytes_not_acknowledged(stream: &std::net::TcpStream) -> i32 {
    let mut bytes = 0;
    // SAFETY: SIOCOUTQ, which has TIOCOUTQ's number, writes one int.
    let done = unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    assert_eq!(done, 0);
    bytes
}

/// Promise 48. A receiver that reads nothing holds up the sender, in both directions at once.
#[test]
fn slow_readers_hold_up_their_senders() {
    hold_up_both(narrow_pair);
}

/// Promise 48. The same between Unix sockets.
#[test]
fn slow_readers_of_unix_sockets_hold_up_their_senders() {
    hold_up_both(<UnixStream as Endpoint>::narrow_pair);
}

fn hold_up_both<S, C>(narrow_pair: fn() -> (S, C))
where
    S: AsRegistration + Send + 'static,
    C: Client + Sync,
{
    matrix(LIMIT, "two that write and do not read", |case| {
        let Proxied {
            client,
            server,
            proxy,
        } = between(case, unlimited(), narrow_pair);
        for stream in [&client, &server] {
            let sent = stream.send_until_held_up();
            assert!(sent < 4 << 20, "{sent} bytes are on their way");
        }
        let drain = |stream: &C| {
            let socket = SockRef::from(stream);
            socket.set_nonblocking(false).unwrap();
            socket.shutdown(Shutdown::Write).unwrap();
            std::io::copy(&mut stream.io(), &mut std::io::sink()).unwrap()
        };
        let (there, back) = thread::scope(|s| {
            let there = s.spawn(|| drain(&server));
            (drain(&client), there.join().unwrap())
        });
        let copied = proxy.join().unwrap();
        assert_eq!((copied.b_to_a, copied.a_to_b), (there, back));
    });
}

/// Promise 22 and following: of limits. Nothing moves in either direction.
#[test]
fn an_idle_limit_ends_a_copy_that_moves_nothing() {
    matrix(LIMIT, "idle copies", |case| {
        let copy = unlimited().idle_timeout(Duration::from_millis(30));
        let ((inner, mut client), (outer, mut server)) = (pair(), pair());
        // Before the copy begins, or a machine that is slow to write would leave it idle.
        client.write_all(b"x").unwrap();
        let proxy = case.spawn(move || copy.run(&inner, &outer));
        server.read_exact(&mut [0]).unwrap();
        // Nothing was on its way: an end, no reset.
        assert_eq!(server.read(&mut [0]).unwrap(), 0);
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        let error = proxy.join().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert_eq!(error.copied().a_to_b, 1);
        assert!(
            error.to_string().contains("after 1 bytes one way"),
            "{error}"
        );
    });
}

/// A limit for connections that were left half-closed begins with the half-close.
#[test]
fn the_limit_for_half_closed_connections_begins_with_the_first_end() {
    matrix(LIMIT, "half-closed copies", |case| {
        let copy = unlimited().half_closed_timeout(Duration::from_millis(1));
        let Proxied {
            mut client,
            mut server,
            proxy,
        } = proxied(case, copy);
        // Open, and idle for longer than that.
        for _ in 0..2 {
            thread::sleep(Duration::from_millis(5));
            client.write_all(b"x").unwrap();
            server.read_exact(&mut [0]).unwrap();
        }
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(server.read(&mut [0]).unwrap(), 0);
        let error = proxy.join().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
    });
}

/// Bytes that were taken and never given are a hole in the stream: whoever reads it is told, whatever ended the copy.
#[test]
fn a_stream_with_a_hole_ends_by_a_reset() {
    matrix(LIMIT, "copies that end with bytes on their way", |case| {
        for interrupted in [false, true] {
            let mut limits = (0..).map(|doublings| Duration::from_millis(50 << doublings));
            // One that was over before the copy began, on a machine that is slow, shows nothing.
            assert!(limits.any(|limit| leaves_a_hole(case, interrupted, limit)));
        }
    });
}

/// Copies until `limit`, as a timeout around it or one of its own, to somebody who reads too late. True: more was taken than given, and
/// the reader was told.
fn leaves_a_hole(case: &Case, interrupted: bool, limit: Duration) -> bool {
    let ((inner, client), (outer, mut server)) = (pair(), narrow_pair());
    // All of it before the copy begins: it takes at once more than it can give.
    client.send_until_held_up();
    let proxy = case.spawn(move || match interrupted {
        true => {
            let copy = || withy::io::copy_bidirectional(&inner, &outer);
            assert!(withy::timeout(limit, copy).is_err());
        }
        false => {
            let error = unlimited()
                .idle_timeout(limit)
                .run(&inner, &outer)
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
        }
    });
    proxy.join();
    let mut all = Vec::new();
    match server.read_to_end(&mut all) {
        Ok(_) if interrupted && all.is_empty() => false,
        end => {
            assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
            true
        }
    }
}

/// Promises 25, 28, 29 and 49. Cut short at any point, it copies nothing twice, and leaves no descriptor.
#[test]
fn an_interrupted_copy_copies_nothing_twice_and_leaves_no_descriptor() {
    if !alone(
        "an_interrupted_copy_copies_nothing_twice_and_leaves_no_descriptor",
        &[],
    ) {
        return;
    }
    for round in 0..2 {
        let before = descriptors();
        matrix(LIMIT, "copies that are cut short", |case| {
            for seed in 0..8 {
                let ((inner, client), (outer, mut server)) = (narrow_pair(), narrow_pair());
                let proxy = case.spawn(move || {
                    let limit = Duration::from_micros(300 * seed);
                    let copy = || withy::io::copy_bidirectional(&inner, &outer);
                    withy::timeout(limit, copy).unwrap_err();
                });
                // Until the copy is cut short: it does not end by itself.
                let sender = thread::spawn(move || {
                    let (mut sent, mut bytes) = (0, vec![0; 20_000]);
                    loop {
                        fill(&mut bytes, sent);
                        match (&client).write(&bytes) {
                            Ok(n) => sent += n as u64,
                            Err(_) => break,
                        }
                    }
                });
                let (mut seen, mut buf) = (0, vec![0; 5_000]);
                while let Ok(n @ 1..) = server.read(&mut buf) {
                    assert!(is_filled(&buf[..n], seen), "wrong bytes after {seen}");
                    seen += n as u64;
                    thread::yield_now();
                }
                drop(server);
                proxy.join();
                sender.join().unwrap();
            }
        });
        // The pools of pipes belong to threads and go with them; the first round makes what stays.
        until(|| round == 0 || descriptors() <= before);
    }
}

/// Promise 28. Cancelled while nothing moves, and from the outside.
#[test]
fn a_cancelled_copy_closes_its_connections() {
    rig::each_runtime("cancelled copies", |runtime, _| {
        let ((inner, mut client), (outer, mut server)) = (pair(), pair());
        let proxy = runtime.spawn(move || withy::io::copy_bidirectional(&inner, &outer));
        client.write_all(b"x").unwrap();
        server.read_exact(&mut [0]).unwrap();
        proxy.cancel();
        assert!(proxy.join().unwrap_err().is::<withy::Cancelled>());
        assert_eq!(server.read(&mut [0]).unwrap(), 0);
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
    });
}

/// Promise 53. In a destructor of a coroutine that unwinds it fails instead of waiting, or spinning.
#[test]
fn a_copy_in_a_destructor_of_a_cancelled_coroutine_fails_at_once() {
    struct Copies(
        withy::net::TcpStream,
        withy::net::TcpStream,
        std::sync::mpsc::Sender<Outcome>,
    );
    impl Drop for Copies {
        fn drop(&mut self) {
            let _ = self.2.send(withy::io::copy_bidirectional(&self.0, &self.1));
        }
    }
    rig::each_runtime("copies while unwinding", |runtime, _| {
        let ((inner, _client), (outer, _server)) = (pair(), pair());
        let (sender, outcome) = std::sync::mpsc::channel();
        let (started, start) = std::sync::mpsc::channel();
        let waiter = runtime.spawn(move || {
            let _copies = Copies(inner, outer, sender);
            started.send(()).unwrap();
            withy::park();
        });
        start.recv().unwrap();
        waiter.cancel();
        let outcome = outcome.recv().unwrap();
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::TimedOut);
        assert!(waiter.join().is_err());
    });
}

/// Promise 16. As `io::copy`: what stands behind an urgent byte arrives, in both directions, and nobody spins.
#[test]
fn urgent_data_neither_spins_nor_hangs() {
    matrix(LIMIT, "urgent bytes", |case| {
        let Proxied {
            mut client,
            mut server,
            proxy,
        } = proxied(case, unlimited());
        for (from, to) in [(0, 1), (1, 0)] {
            let streams = [&mut client, &mut server];
            let mut streams = streams.map(|stream| stream.try_clone().unwrap());
            for word in ["first", "later"] {
                streams[from].write_all(b"x").unwrap();
                SockRef::from(&streams[from])
                    .send_out_of_band(b"!")
                    .unwrap();
                streams[from].write_all(word.as_bytes()).unwrap();
                let mut got = [0; 6];
                streams[to].read_exact(&mut got).unwrap();
                assert_eq!(&got[1..], word.as_bytes());
            }
        }
        drop((client, server));
        let copied = proxy.join().unwrap();
        assert_eq!((copied.a_to_b, copied.b_to_a), (12, 12));
    });
}

/// What is no stream socket is refused at once.
#[test]
fn only_stream_sockets_have_two_directions() {
    let (ours, _peer) = pair();
    let none: Option<withy::net::TcpStream> = None;
    for result in [
        withy::io::copy_bidirectional(&ours, &none),
        withy::io::copy_bidirectional(&none, &ours),
    ] {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}
