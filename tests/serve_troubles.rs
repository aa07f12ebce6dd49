//! What comes in the way of `net::Server` beside its peers: hooks that wait, listeners that fail in ways of their own,
//! and a runtime that is full.

mod rig;
mod support;

use std::fmt;
use std::io;
use std::net::TcpStream as StdStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rig::serving::{Serving, ask, assert_is_whole, echo, read_to_end};
use rig::until;
use support::addresses::kept_listener;
use support::{LIMIT, matrix, within};
use withy::net::{Listener, Server, TcpListener, TcpStream};
use withy::{CancelToken, Runtime};

/// Longer than any test.
const AGES: Duration = Duration::from_secs(3600);

/// Promise 55. A hook for panics that waits for ever belongs to its connection: the end of the drain reaches it.
#[test]
fn a_hook_that_waits_is_cut_off() {
    matrix(LIMIT, "a hook that never returns", |case| {
        let waiting = Arc::new(AtomicUsize::new(0));
        let seen = waiting.clone();
        let serving = Serving::start(
            case,
            |server| {
                server
                    .drain_timeout(Duration::from_millis(5))
                    .on_panic(move |_, _| {
                        seen.fetch_add(1, Ordering::SeqCst);
                        loop {
                            withy::park();
                        }
                    })
            },
            |_, _| -> io::Result<()> { panic!("in the handler") },
        );
        assert_eq!(read_to_end(&serving.connect()), b"");
        until(|| waiting.load(Ordering::SeqCst) == 1);
        let summary = serving.close();
        assert_eq!(summary.panicked, 1, "{summary:?}");
    });
}

/// Nor is a panic forgotten that comes after the order to cut: its hook runs, to its first wait.
#[test]
fn a_panic_that_comes_late_is_told() {
    matrix(LIMIT, "a panic after the end", |case| {
        let told = Arc::new(AtomicUsize::new(0));
        let seen = told.clone();
        let cut = CancelToken::new();
        let late = cut.clone();
        let serving = Serving::start(
            case,
            |server| {
                server.cut_by(&cut).on_panic(move |_, _| {
                    seen.fetch_add(1, Ordering::SeqCst);
                    loop {
                        withy::park();
                    }
                })
            },
            move |_, _| -> io::Result<()> {
                withy::shield(|| late.wait());
                panic!("in the handler")
            },
        );
        let client = serving.connect();
        serving.until(|now| now.active == 1);
        cut.cancel();
        assert_eq!(read_to_end(&client), b"");
        assert_eq!(serving.join().panicked, 1);
        assert_eq!(told.load(Ordering::SeqCst), 1);
    });
}

/// A listener of the user's own, which may do anything.
struct Odd {
    listener: TcpListener,
    /// In the middle of accepting.
    panics: bool,
}

impl Odd {
    fn new() -> Odd {
        Odd {
            listener: TcpListener::bind("127.0.0.1:0").unwrap(),
            panics: false,
        }
    }
}

/// The name by which a connection's peer goes: to a log that looks, none.
#[derive(Clone)]
struct Somebody;

impl fmt::Debug for Somebody {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("somebody who was asked for a name")
    }
}

/// Writes all that it is told, to nobody.
struct Scribe;

impl log::Log for Scribe {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        drop(record.args().to_string());
    }

    fn flush(&self) {}
}

impl Listener for Odd {
    type Connection = TcpStream;
    type Peer = Somebody;

    fn accept(&self) -> io::Result<(TcpStream, Somebody)> {
        let (stream, _) = self.listener.accept()?;
        assert!(!self.panics, "a listener that was asked to panic");
        Ok((stream, Somebody))
    }

    /// Goes on for ever, as a handshake might that belongs elsewhere.
    fn set_idle_timeout(_: &TcpStream, _: Duration) -> io::Result<()> {
        loop {
            withy::park();
        }
    }
}

/// Promise 52. Who tells of a panic may panic in turn: it is that connection's matter still.
#[test]
fn a_peer_that_cannot_be_told_of_does_no_harm() {
    log::set_logger(&Scribe).expect("the only logger of this program");
    log::set_max_level(log::LevelFilter::Error);
    matrix(LIMIT, "peers whose Debug panics", |case| {
        let listener = Odd::new();
        let address = listener.listener.local_addr().unwrap();
        let close = CancelToken::new();
        let server = Server::new().until(&close);
        let counters = server.counters();
        let serving = case.spawn(move || {
            server.serve(listener, |_, _| -> io::Result<()> {
                panic!("in the handler")
            })
        });
        for panicked in 1..=2 {
            let client = StdStream::connect(address).unwrap();
            assert_eq!(read_to_end(&client), b"");
            until(|| counters.read().panicked == panicked);
        }
        close.cancel();
        assert_eq!(serving.join().unwrap().panicked, 2);
    });
}

/// A listener that panics ends the server, with the panic, rather than leave it with the other listeners.
#[test]
fn a_listener_that_panics_ends_the_server() {
    matrix(LIMIT, "a listener that panics", |case| {
        let panicking = Odd {
            panics: true,
            ..Odd::new()
        };
        let healthy = Odd::new();
        let addresses = [&panicking, &healthy].map(|one| one.listener.local_addr().unwrap());
        let server = Server::new().drain_timeout(AGES);
        let counters = server.counters();
        let serving = case.spawn(move || {
            let handler = |stream, _| echo(stream);
            let served = || server.serve_each([panicking, healthy], handler);
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(served)).is_err()
        });
        let client = StdStream::connect(addresses[1]).unwrap();
        ask(&client);
        let _last = StdStream::connect(addresses[0]).unwrap();
        assert!(serving.join(), "the server went on without its listener");
        // Its connections went with it, and were counted.
        read_to_end(&client);
        assert_is_whole(counters.read());
    });
}

/// Promise 46. With room for one accept loop of two, serving fails; it does not go on with half of its listeners.
#[test]
fn a_server_whose_loops_cannot_all_start_fails() {
    for workers in [1, 2, 8] {
        within(LIMIT, "a full runtime", || {
            // The caller, and one loop.
            let runtime = Runtime::builder()
                .workers(workers)
                .max_coroutines(2)
                .build()
                .unwrap();
            let [(_one, first, address), (_other, second, other)] = [0, 1].map(|_| kept_listener());
            let listeners = [first, second];
            let failed = runtime
                .spawn(move || Server::new().serve_each(listeners, |stream, _| echo(stream)))
                .join();
            assert!(failed.unwrap().is_err());
            for address in [address, other] {
                assert!(StdStream::connect(address).is_err());
            }
        });
    }
}

/// Promise 55. So does one that waits while it sets a connection up.
#[test]
fn a_connection_that_is_never_set_up_is_cut_off() {
    matrix(LIMIT, "a listener that waits", |case| {
        let listener = Odd::new();
        let address = listener.listener.local_addr().unwrap();
        let close = CancelToken::new();
        let server = Server::new()
            .until(&close)
            .idle_timeout(AGES)
            .drain_timeout(Duration::from_millis(5));
        let counters = server.counters();
        let serving = case.spawn(move || server.serve(listener, |stream, _| echo(stream)));
        let client = StdStream::connect(address).unwrap();
        until(|| counters.read().accepted == 1);
        close.cancel();
        assert_is_whole(serving.join().unwrap());
        assert_eq!(read_to_end(&client), b"");
    });
}
