//! How `net::Server` ends: in order, within its limit, and without leaving anybody behind.

mod rig;
mod support;

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream as StdStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rig::serving::{Serving, ask, echo, read_to_end};
use rig::{each_runtime, until};
use support::addresses::{is_listened_to, kept_listener};
use support::{Callers, Case, LIMIT, matrix, within};
use withy::net::{Server, TcpStream};
use withy::{CancelToken, Cancelled};

/// Longer than any test.
const AGES: Duration = Duration::from_secs(3600);

/// Echoes lines, to the end of the stream.
fn answer_lines(stream: TcpStream) -> io::Result<()> {
    for line in BufReader::new(&stream).lines() {
        writeln!(&stream, "{}", line?)?;
    }
    Ok(())
}

/// Whether a new connection is refused.
fn is_refused(address: SocketAddr) -> bool {
    let refused = StdStream::connect(address).map_err(|error| error.kind());
    refused.is_err_and(|kind| kind == ErrorKind::ConnectionRefused)
}

/// Requests that are on the way when the end begins are answered; who comes later is refused.
#[test]
fn requests_in_flight_finish_and_new_connections_are_refused() {
    const CLIENTS: usize = 5;
    matrix(LIMIT, "a drain", |case| {
        let serving = Serving::start(
            case,
            |server| server.drain_timeout(AGES),
            |stream, _| answer_lines(stream),
        );
        let mut clients: Vec<_> = (0..CLIENTS).map(|_| serving.connect()).collect();
        for client in &mut clients {
            client.write_all(b"half a ").unwrap();
        }
        serving.until(|now| now.active == CLIENTS as u64);
        serving.close.cancel();
        let address = serving.address;
        until(|| !is_listened_to(address));
        assert!(is_refused(address));
        for client in &mut clients {
            client.write_all(b"request\nand one more\n").unwrap();
            let mut answer = [0; 28];
            client.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"half a request\nand one more\n");
        }
        drop(clients);
        let summary = serving.join();
        assert_eq!(
            (summary.accepted, summary.finished),
            (CLIENTS as u64, CLIENTS as u64),
            "{summary:?}"
        );
    });
}

/// Promise 28. Those who do not end in time are cut off; their destructors run, and their clients see the end.
#[test]
fn the_limit_of_the_drain_cuts_off_who_is_left() {
    const STUBBORN: usize = 4;
    matrix(LIMIT, "a drain that is over", |case| {
        let dropped = Arc::new(AtomicUsize::new(0));
        let seen = dropped.clone();
        let serving = Serving::start(
            case,
            |server| server.drain_timeout(Duration::from_millis(5)),
            move |stream, _| {
                let _owned = rig::Drops(&seen);
                echo(stream)
            },
        );
        let clients: Vec<_> = (0..STUBBORN).map(|_| serving.connect_and_ask()).collect();
        let polite = serving.connect_and_ask();
        drop(polite);
        serving.until(|now| now.finished == 1);
        let summary = serving.close();
        assert_eq!(summary.cut, STUBBORN as u64, "{summary:?}");
        assert_eq!(dropped.load(Ordering::SeqCst), STUBBORN + 1);
        for client in &clients {
            assert_eq!(read_to_end(client), b"");
        }
    });
}

/// A second order cuts the drain short, and one of that sort alone does without a drain.
#[test]
fn an_order_to_cut_ends_the_drain() {
    matrix(LIMIT, "drains cut short", |case| {
        for close_first in [true, false] {
            let serving = Serving::start(
                case,
                |server| server.drain_timeout(Duration::MAX),
                |stream, _| echo(stream),
            );
            let clients = [serving.connect_and_ask(), serving.connect_and_ask()];
            if close_first {
                serving.close.cancel();
                let address = serving.address;
                until(|| !is_listened_to(address));
                clients.iter().for_each(ask);
            }
            serving.cut.cancel();
            for client in &clients {
                assert_eq!(read_to_end(client), b"");
            }
            assert_eq!(serving.join().cut, 2);
        }
    });
}

/// Handlers that look at the token end by themselves, however long the drain may take.
#[test]
fn handlers_may_end_by_the_token() {
    matrix(LIMIT, "handlers with the token", |case| {
        let close = CancelToken::new();
        let token = close.clone();
        let serving = Serving::start(
            case,
            |server| server.until(&close).drain_timeout(Duration::MAX),
            move |mut stream: TcpStream, _| {
                let mut request = [0; 6];
                while let Ok(read) = token.run(|| stream.read_exact(&mut request)) {
                    read?;
                    stream.write_all(&request)?;
                }
                stream.write_all(b"bye")
            },
        );
        let clients: Vec<_> = (0..8).map(|_| serving.connect_and_ask()).collect();
        close.cancel();
        for client in &clients {
            assert_eq!(read_to_end(client), b"bye");
        }
        assert_eq!(serving.join().finished, 8);
    });
}

/// The end comes wherever the accept loop waits: here for a place, at the limit of connections.
#[test]
fn the_end_reaches_a_server_at_its_limit() {
    matrix(LIMIT, "a close at the limit", |case| {
        let serving = Serving::start(
            case,
            |server| server.connections_max(1).drain_timeout(Duration::MAX),
            |stream, _| echo(stream),
        );
        let inside = serving.connect_and_ask();
        let outside = serving.connect();
        serving.close.cancel();
        // It lay in the backlog.
        assert_eq!(read_to_end(&outside), b"");
        ask(&inside);
        drop(inside);
        let summary = serving.join();
        assert_eq!((summary.accepted, summary.finished), (1, 1));
    });
}

/// A token that was cancelled before lets nobody in.
#[test]
fn a_server_that_is_closed_before_it_begins_returns_at_once() {
    matrix(LIMIT, "a server that never opened", |case| {
        let (_owner, listener, address) = kept_listener();
        let waiting = StdStream::connect(address).unwrap();
        let summary = case.run(move || {
            let close = CancelToken::new();
            close.cancel();
            let server = Server::new().until(&close);
            server.serve(listener, |_, _| -> () { panic!("nobody was let in") })
        });
        assert_eq!(summary.unwrap().accepted, 0);
        assert_eq!(read_to_end(&waiting), b"");
        assert!(is_refused(address));
    });
}

/// Promise 28. The caller of `serve` is cancelled: when it has ended, so have all handlers, and the port is free.
#[test]
fn a_cancelled_caller_leaves_no_handler_behind() {
    const CLIENTS: usize = 5;
    each_runtime("a cancelled server", |runtime, _| {
        let (_owner, listener, address) = kept_listener();
        let dropped = Arc::new(AtomicUsize::new(0));
        let server = Server::new();
        let counters = server.counters();
        let serving = runtime.spawn({
            let dropped = dropped.clone();
            move || {
                server.serve(listener, |stream, _| {
                    let _owned = rig::Drops(&dropped);
                    echo(stream)
                })
            }
        });
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| StdStream::connect(address).unwrap())
            .collect();
        clients.iter().for_each(ask);
        serving.cancel();
        assert!(serving.join().unwrap_err().is::<Cancelled>());
        assert_eq!(dropped.load(Ordering::SeqCst), CLIENTS);
        let summary = counters.read();
        assert_eq!((summary.cut, summary.active), (CLIENTS as u64, 0));
        assert!(is_refused(address));
        for client in &clients {
            assert_eq!(read_to_end(client), b"");
        }
    });
}

/// Promise 27. A timeout around `serve`, of a coroutine and of a plain thread, does the same.
#[test]
fn a_timeout_around_a_server_ends_it_whole() {
    matrix(LIMIT, "a timeout around a server", |case| {
        let (_owner, listener, address) = kept_listener();
        let client = StdStream::connect(address).unwrap();
        let dropped = Arc::new(AtomicUsize::new(0));
        let seen = dropped.clone();
        let begun = Arc::new(AtomicBool::new(false));
        let begins = begun.clone();
        let ended = case.run(move || {
            withy::timeout(Duration::from_millis(10), || {
                Server::new().serve(listener, |stream, _| {
                    let _owned = rig::Drops(&seen);
                    begins.store(true, Ordering::SeqCst);
                    echo(stream)
                })
            })
        });
        assert!(ended.is_err());
        assert_eq!(
            dropped.load(Ordering::SeqCst),
            usize::from(begun.load(Ordering::SeqCst))
        );
        assert_eq!(read_to_end(&client), b"");
        assert!(is_refused(address));
    });
}

/// Law 6. A handler that must not be cut off is waited for, past every limit.
#[test]
fn a_shielded_handler_is_waited_for() {
    matrix(LIMIT, "a shielded handler", |case| {
        let serving = Serving::start(
            case,
            |server| server.drain_timeout(Duration::ZERO),
            |stream, _| withy::shield(|| echo(stream)),
        );
        let client = serving.connect_and_ask();
        serving.close.cancel();
        let address = serving.address;
        until(|| !is_listened_to(address));
        // It was told to unwind, and goes on.
        (0..5).for_each(|_| ask(&client));
        drop(client);
        let summary = serving.join();
        // What came of it counts, not what was tried.
        assert_eq!((summary.finished, summary.cut), (1, 0), "{summary:?}");
    });
}

/// Promise 55. The end of its runtime is the end of a server.
#[test]
fn a_shutdown_of_the_runtime_ends_a_server() {
    for full_stealing in [false, true] {
        within(LIMIT, "a server on a runtime that ends", || {
            let case = Case::new(2, full_stealing, Callers::Coroutines);
            let serving = Serving::start(&case, |server| server, |stream, _| echo(stream));
            let clients = [serving.connect_and_ask(), serving.connect_and_ask()];
            let (address, counters) = (serving.address, serving.counters.clone());
            case.runtime.shutdown(AGES).unwrap();
            assert_eq!((counters.read().cut, counters.read().active), (2, 0));
            assert!(is_refused(address));
            for client in &clients {
                assert_eq!(read_to_end(client), b"");
            }
        });
    }
}

/// Promise 49. Clients connect all the time while servers close: each connection is served, refused or reset, nobody
/// hangs, and every one that was accepted is counted.
#[test]
fn stress_connecting_while_the_server_closes_hangs_nobody() {
    for round in 0..10 * rig::stress_rounds() {
        let (workers, full_stealing) = ([1, 2, 8][round % 3], round % 2 == 1);
        within(LIMIT, "clients of a server that closes", || {
            let case = Case::new(workers, full_stealing, Callers::Coroutines);
            let serving = Serving::start(
                &case,
                |server| server.drain_timeout(AGES),
                |stream, _| echo(stream),
            );
            let address = serving.address;
            let clients: Vec<_> = (0..4)
                .map(|_| std::thread::spawn(move || knock_until_refused(address)))
                .collect();
            serving.until(|now| now.finished >= 20);
            serving.close.cancel();
            let answered: u64 = clients
                .into_iter()
                .map(|client| client.join().unwrap())
                .sum();
            let summary = serving.join();
            assert!(summary.accepted >= answered, "{answered}: {summary:?}");
        });
    }
}

/// Asks again and again, each time on a new connection, until one is refused. How many were answered.
fn knock_until_refused(address: SocketAddr) -> u64 {
    let mut answered = 0;
    loop {
        match StdStream::connect(address) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => return answered,
            // The listener was closed between the handshake's two halves.
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}"),
            Ok(mut stream) => {
                let mut answer = [0; 1];
                let asked = stream
                    .write_all(b"?")
                    .and_then(|()| stream.read(&mut answer));
                answered += u64::from(asked.is_ok_and(|n| n == 1));
            }
        }
    }
}
