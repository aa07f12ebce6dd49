//! `net::Server` while it serves: each connection by itself, none beyond the limit, everything counted.

mod rig;
mod support;

use std::error::Error;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rig::places::{Client, each_place};
use rig::serving::{Serving, ask, assert_is_whole, echo, read_to_end};
use rig::{text_of, until};
use socket2::SockRef;
use support::addresses::kept_listener;
use support::sockets::reset;
use support::{Callers, Case, LIMIT, matrix, within};
use withy::CancelToken;
use withy::net::{Server, TcpListener, TcpStream};

each_place! {
    /// Promise 21. All at the same time, and each hears its own bytes.
    #[test]
    fn each_connection_is_served_by_itself<P>(_test) {
        const CLIENTS: usize = 30;
        matrix(LIMIT, "thirty connections", |case| {
            let serving = Serving::<P>::start_at(case, |server| server, |stream, _| echo(stream));
            let clients: Vec<_> = (0..CLIENTS).map(|_| serving.connect()).collect();
            for (number, client) in clients.iter().enumerate() {
                let message = vec![number as u8; 1 + number];
                client.io().write_all(&message).unwrap();
            }
            serving.until(|now| now.active == CLIENTS as u64);
            for (number, client) in clients.iter().enumerate() {
                SockRef::from(client).shutdown(Shutdown::Write).unwrap();
                assert_eq!(read_to_end(client), vec![number as u8; 1 + number]);
            }
            let summary = serving.close();
            assert_eq!(summary.finished, CLIENTS as u64, "{summary:?}");
            assert_eq!(summary.accepted, CLIENTS as u64, "{summary:?}");
        });
    }

    /// Promise 45. At the limit it does not accept; with each that leaves, one comes in.
    #[test]
    fn there_are_never_more_handlers_than_the_limit<P>(_test) {
        const LIMIT_OF_CONNECTIONS: u64 = 3;
        const CLIENTS: u64 = 12;
        matrix(LIMIT, "a limit of connections", |case| {
            let (inside, most) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
            let seen = most.clone();
            let serving = Serving::<P>::start_at(
                case,
                |server| server.connections_max(LIMIT_OF_CONNECTIONS as usize),
                move |stream, _| {
                    seen.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    let ended = echo(stream);
                    inside.fetch_sub(1, Ordering::SeqCst);
                    ended
                },
            );
            // The kernel completes all handshakes: those beyond the limit wait in its backlog.
            let mut clients: Vec<_> = (0..CLIENTS).map(|_| serving.connect()).collect();
            for served in LIMIT_OF_CONNECTIONS..=CLIENTS {
                serving.until(|now| now.accepted == served && now.active == LIMIT_OF_CONNECTIONS);
                // They come in order, so the first ones are served; many turns of the server, none of which lets anybody in.
                for client in &clients[..LIMIT_OF_CONNECTIONS as usize] {
                    (0..5).for_each(|_| ask(client));
                }
                let now = serving.counters.read();
                assert_eq!((now.accepted, now.active), (served, LIMIT_OF_CONNECTIONS));
                drop(clients.remove(0));
            }
            drop(clients);
            let summary = serving.close();
            assert_eq!(summary.finished, CLIENTS, "{summary:?}");
            assert_eq!(most.load(Ordering::SeqCst) as u64, LIMIT_OF_CONNECTIONS);
        });
    }
}

/// A payload whose destructor panics as well.
struct Vicious;

impl Drop for Vicious {
    fn drop(&mut self) {
        panic!("in the destructor of a panic's payload");
    }
}

/// Promise 52. Its connection is closed, it is counted and told, and everybody else goes on, also if the payload bites.
#[test]
fn a_panic_ends_its_connection_only() {
    matrix(LIMIT, "panics in handlers", |case| {
        let told = Arc::new(Mutex::new(Vec::new()));
        let telling = told.clone();
        let serving = Serving::start(
            case,
            |server| {
                server.on_panic(move |peer, payload| {
                    let text = text_of(payload).to_owned();
                    telling.lock().unwrap().push((format!("{peer:?}"), text));
                })
            },
            |mut stream: TcpStream, _| {
                let mut order = [0; 1];
                stream.read_exact(&mut order)?;
                match order[0] {
                    b'p' => panic!("as ordered"),
                    b'v' => std::panic::panic_any(Vicious),
                    _ => echo(stream),
                }
            },
        );
        let mut healthy = serving.connect();
        healthy.write_all(b"e").unwrap();
        ask(&healthy);
        let mut panicking = serving.connect();
        let name = format!("{:?}", panicking.local_addr().unwrap());
        panicking.write_all(b"p").unwrap();
        assert_eq!(read_to_end(&panicking), b"");
        serving.until(|now| now.panicked == 1);
        let mut vicious = serving.connect();
        vicious.write_all(b"v").unwrap();
        assert_eq!(read_to_end(&vicious), b"");
        serving.until(|now| now.panicked == 2);
        ask(&healthy);
        healthy.shutdown(Shutdown::Write).unwrap();
        let summary = serving.close();
        assert_eq!((summary.panicked, summary.finished), (2, 1), "{summary:?}");
        let told = told.lock().unwrap();
        assert_eq!(told[0], (name, "as ordered".to_owned()));
        assert_eq!(told.len(), 2);
    });
}

/// The hook is the user's, too.
#[test]
fn a_panic_in_the_hook_for_panics_does_no_harm() {
    within(LIMIT, "a hook that panics", || {
        let case = Case::new(2, false, Callers::Coroutines);
        let serving = Serving::start(
            &case,
            |server| server.on_panic(|_, _| panic!("in the hook")),
            |_, _| -> io::Result<()> { panic!("in the handler") },
        );
        for panicked in 1..=3 {
            assert_eq!(read_to_end(&serving.connect()), b"");
            serving.until(|now| now.panicked == panicked);
        }
        assert_eq!(serving.close().panicked, 3);
    });
}

/// What a handler returns is counted by its kind, also in a box.
#[test]
fn errors_and_timeouts_are_counted_apart() {
    fn handle(mut stream: TcpStream) -> Result<u32, Box<dyn Error>> {
        let mut order = [0; 1];
        stream.read_exact(&mut order)?;
        match order[0] {
            b'o' => Ok(7),
            b't' => Err(io::Error::from(ErrorKind::TimedOut).into()),
            b'w' => Err(io::Error::from(ErrorKind::WouldBlock).into()),
            b'e' => Err(io::Error::other("of another kind").into()),
            _ => Err("no io error at all".into()),
        }
    }
    matrix(LIMIT, "handlers that fail", |case| {
        let serving = Serving::start(case, |server| server, |stream, _| handle(stream));
        for order in b"otweoxeowt" {
            let mut client = serving.connect();
            client.write_all(&[*order]).unwrap();
            assert_eq!(read_to_end(&client), b"");
        }
        serving.until(|now| now.accepted == 10 && now.active == 0);
        let summary = serving.close();
        assert_eq!(summary.finished, 3, "{summary:?}");
        assert_eq!(summary.timed_out, 4, "{summary:?}");
        assert_eq!(summary.failed, 3, "{summary:?}");
    });
}

/// Promise 39. A connection that is always ready, for it reads as fast as its handler can write, starves nobody.
#[test]
fn a_greedy_connection_starves_nobody() {
    matrix(LIMIT, "a greedy neighbour", |case| {
        let serving = Serving::start(
            case,
            |server| server,
            |mut stream: TcpStream, _| {
                let mut order = [0; 1];
                stream.read_exact(&mut order)?;
                if order[0] == b'm' {
                    return echo(stream);
                }
                loop {
                    stream.write_all(&[7; 16 << 10])?;
                }
            },
        );
        let (taken, enough) = (
            Arc::new(AtomicUsize::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let greedy = std::thread::spawn({
            let (mut client, taken, enough) = (serving.connect(), taken.clone(), enough.clone());
            move || {
                client.write_all(b"g").unwrap();
                let mut buf = vec![0; 64 << 10];
                while !enough.load(Ordering::SeqCst) {
                    taken.fetch_add(client.read(&mut buf).unwrap(), Ordering::SeqCst);
                }
                // With an end in order, and its window full, the kernel would let the server wait for a minute.
                reset(client);
            }
        });
        until(|| taken.load(Ordering::SeqCst) > 1 << 20);
        let mut modest = serving.connect();
        modest.write_all(b"m").unwrap();
        for _ in 0..100 {
            ask(&modest);
        }
        let before = taken.load(Ordering::SeqCst);
        until(|| taken.load(Ordering::SeqCst) > before);
        enough.store(true, Ordering::SeqCst);
        greedy.join().unwrap();
        drop(modest);
        let summary = serving.close();
        assert_eq!((summary.finished, summary.failed), (1, 1), "{summary:?}");
    });
}

/// A peer that says nothing, and one that does not listen, are given up; one that goes on is not.
#[test]
fn a_silent_peer_is_timed_out() {
    matrix(LIMIT, "silent peers", |case| {
        let serving = Serving::start(
            case,
            |server| server.idle_timeout(Duration::from_millis(30)),
            |mut stream: TcpStream, _| {
                let mut order = [0; 1];
                stream.read_exact(&mut order)?;
                if order[0] == b'w' {
                    // More than any buffer holds.
                    return stream.write_all(&vec![7; 32 << 20]);
                }
                echo(stream)
            },
        );
        let silent = serving.connect();
        let mut deaf = serving.connect();
        deaf.write_all(b"w").unwrap();
        serving.until(|now| now.timed_out == 2);
        // It was told nothing but the end.
        assert_eq!(read_to_end(&silent), b"");
        let summary = serving.close();
        assert_eq!((summary.accepted, summary.timed_out), (2, 2));
    });
}

/// A handler may set the limits that it wants.
#[test]
fn a_handler_can_lift_the_idle_timeout() {
    within(LIMIT, "a handler without a timeout", || {
        let case = Case::new(2, false, Callers::Coroutines);
        let serving = Serving::start(
            &case,
            |server| server.idle_timeout(Duration::from_millis(1)),
            |stream: TcpStream, _| {
                assert_eq!(stream.read_timeout()?, Some(Duration::from_millis(1)));
                assert_eq!(stream.write_timeout()?, Some(Duration::from_millis(1)));
                stream.set_read_timeout(None)?;
                echo(stream)
            },
        );
        let client = serving.connect();
        std::thread::sleep(Duration::from_millis(20));
        ask(&client);
        drop(client);
        assert_eq!(serving.close().finished, 1);
    });
}

/// Law of scopes: handlers have ended when `serve` returns, so they may borrow what lies around it.
#[test]
fn a_handler_may_borrow() {
    within(LIMIT, "a handler that borrows", || {
        let case = Case::new(2, false, Callers::Coroutines);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let client = std::thread::spawn(move || {
            let client = std::net::TcpStream::connect(address).unwrap();
            ask(&client);
        });
        case.runtime.run(|| {
            let (close, served) = (CancelToken::new(), AtomicUsize::new(0));
            let server = Server::new().until(&close);
            let summary = server.serve(listener, |stream, _| {
                let ended = echo(stream);
                served.fetch_add(1, Ordering::SeqCst);
                close.cancel();
                ended
            });
            assert_is_whole(summary.unwrap());
            assert_eq!(served.into_inner(), 1);
        });
        client.join().unwrap();
    });
}

/// Law 1. From a plain thread it uses the default runtime.
#[test]
fn the_plain_function_serves_until_its_caller_is_cancelled() {
    within(LIMIT, "`serve` alone", || {
        let (_owner, listener, address) = kept_listener();
        let token = CancelToken::new();
        let caller = std::thread::spawn({
            let token = token.clone();
            move || token.run(|| withy::net::serve(listener, |stream, _| echo(stream)))
        });
        let client = std::net::TcpStream::connect(address).unwrap();
        ask(&client);
        token.cancel();
        assert!(caller.join().unwrap().is_err());
        assert_eq!(read_to_end(&client), b"");
        until(|| std::net::TcpStream::connect(address).is_err());
    });
}

/// A limit that lets nobody in, and a timeout that nobody meets, are mistakes.
#[test]
fn settings_without_sense_are_refused() {
    let refused = |make: fn() -> Server| std::panic::catch_unwind(make).is_err();
    assert!(refused(|| Server::new().connections_max(0)));
    assert!(refused(|| Server::new().idle_timeout(Duration::ZERO)));
    let none: [TcpListener; 0] = [];
    let error = Server::new().serve_each(none, |_, _| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}
