//! `net::Server` and its listeners: several of them, each with its share; none woken in vain; those that fail.

mod rig;
mod support;

use std::collections::HashSet;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream as StdStream};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rig::child::alone;
use rig::places::each_place;
use rig::serving::{Serving, ask, assert_is_whole, echo, read_to_end};
use rig::{each_runtime, until};
use support::addresses::kept_listener;
use support::{Callers, Case, LIMIT, fault, matrix, within};
use withy::CancelToken;
use withy::net::{Listener, Server, TcpListener, TcpStream};

/// A listener that counts what it accepts.
struct Counted {
    listener: TcpListener,
    count: Arc<AtomicUsize>,
}

impl Listener for Counted {
    type Connection = TcpStream;
    type Peer = SocketAddr;

    fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let accepted = self.listener.accept()?;
        self.count.fetch_add(1, Ordering::SeqCst);
        Ok(accepted)
    }

    fn set_idle_timeout(connection: &TcpStream, limit: Duration) -> io::Result<()> {
        <TcpListener as Listener>::set_idle_timeout(connection, limit)
    }
}

/// Promise 38. One listener for each worker: the kernel gives each a share, and each is accepted from.
#[test]
fn listeners_that_share_a_port_each_get_connections() {
    const CLIENTS: usize = 400;
    each_runtime("a listener for each worker", |runtime, label| {
        let listeners = runtime
            .run(|| TcpListener::bind_per_worker("127.0.0.1:0"))
            .unwrap();
        assert_eq!(listeners.len(), runtime.workers());
        let address = listeners[0].local_addr().unwrap();
        let mut counts = Vec::new();
        let listeners: Vec<_> = listeners
            .into_iter()
            .map(|listener| {
                assert_eq!(listener.local_addr().unwrap(), address);
                let count = Arc::new(AtomicUsize::new(0));
                counts.push(count.clone());
                Counted { listener, count }
            })
            .collect();
        let close = CancelToken::new();
        let server = Server::new().until(&close);
        let counters = server.counters();
        let serving = runtime.spawn(move || server.serve_each(listeners, |stream, _| echo(stream)));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| StdStream::connect(address).unwrap())
            .collect();
        clients.iter().for_each(ask);
        let counts: Vec<_> = counts
            .iter()
            .map(|count| count.load(Ordering::SeqCst))
            .collect();
        assert_eq!(counts.iter().sum::<usize>(), CLIENTS, "{label}: {counts:?}");
        // By a hash: of 8 listeners one gets less than a quarter of its share once in some hundred thousand runs.
        let least = CLIENTS / runtime.workers() / 4;
        assert!(
            counts.iter().all(|&count| count > least),
            "{label}: {counts:?}"
        );
        drop(clients);
        until(|| counters.read().finished == CLIENTS as u64);
        close.cancel();
        assert_is_whole(serving.join().unwrap().unwrap());
    });
}

each_place! {
    /// Promise 45. The limit is one for all listeners, whichever of them the connections come to.
    #[test]
    fn the_limit_holds_for_all_listeners_together<P>(_test) {
        matrix(LIMIT, "a limit over several listeners", |case| {
            let (listeners, addresses): (Vec<_>, Vec<_>) = (0..3)
                .map(|_| P::open())
                .map(|(listener, address, _)| (listener, address))
                .unzip();
            let connect = |nth: usize| P::connect(P::client(), &addresses[nth]);
            let (inside, most) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
            let close = CancelToken::new();
            let server = Server::new().until(&close).connections_max(2);
            let counters = server.counters();
            let seen = most.clone();
            let serving = case.spawn(move || {
                server.serve_each(listeners, |stream, _| {
                    seen.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    let ended = echo(stream);
                    inside.fetch_sub(1, Ordering::SeqCst);
                    ended
                })
            });
            // Both places go to the last listener, though the others were there first.
            let mut clients = Vec::new();
            for _ in 0..2 {
                let client = connect(2);
                ask(&client);
                clients.push(client);
            }
            clients.extend([0, 1, 2, 0].map(connect));
            // Many turns of the server.
            (0..20).for_each(|_| clients[..2].iter().for_each(ask));
            // Two are served, and of the others each listener may hold one.
            assert!(counters.read().accepted <= 2 + 3);
            assert_eq!(counters.read().active, 2);
            // Whoever is let in next, asks and leaves.
            let asking: Vec<_> = clients
                .into_iter()
                .map(|client| std::thread::spawn(move || ask(&client)))
                .collect();
            asking.into_iter().for_each(|asking| asking.join().unwrap());
            until(|| counters.read().finished == 6);
            close.cancel();
            assert_is_whole(serving.join().unwrap());
            assert_eq!(most.load(Ordering::SeqCst), 2);
        });
    }
}

/// A connection is one event to one worker: as many calls of accept4 as connections, and one more each that finds
/// nothing. In a process of its own, in which calls are counted.
#[test]
fn no_herd_is_woken_by_a_connection() {
    const CLIENTS: usize = 100;
    if !alone("no_herd_is_woken_by_a_connection", &[]) {
        return;
    }
    fault::trap_accept();
    for full_stealing in [false, true] {
        within(LIMIT, "accept4 calls of 100 connections", || {
            let case = Case::new(8, full_stealing, Callers::Coroutines);
            let before = fault::accept_calls();
            let serving = Serving::start(&case, |server| server, |stream, _| echo(stream));
            for _ in 0..CLIENTS {
                drop(serving.connect_and_ask());
            }
            let calls = fault::accept_calls() - before;
            assert!(
                (CLIENTS..=2 * CLIENTS + 2).contains(&calls),
                "{calls} calls for {CLIENTS} connections"
            );
            assert_eq!(serving.close().accepted, CLIENTS as u64);
        });
    }
}

/// Promise 7. Several loops may accept from clones of one listener: each connection is served, and by one of them.
#[test]
fn loops_that_share_a_listener_get_each_connection_once() {
    const CLIENTS: usize = 60;
    matrix(LIMIT, "clones of a listener", |case| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let listeners: Vec<_> = (0..4).map(|_| listener.try_clone().unwrap()).collect();
        drop(listener);
        let peers = Arc::new(Mutex::new(HashSet::new()));
        let seen = peers.clone();
        let close = CancelToken::new();
        let server = Server::new().until(&close);
        let counters = server.counters();
        let serving = case.spawn(move || {
            server.serve_each(listeners, |stream, peer| {
                assert!(seen.lock().unwrap().insert(peer), "{peer} was served twice");
                echo(stream)
            })
        });
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| StdStream::connect(address).unwrap())
            .collect();
        clients.iter().for_each(ask);
        let connected: HashSet<_> = clients
            .iter()
            .map(|client| client.local_addr().unwrap())
            .collect();
        assert_eq!(*peers.lock().unwrap(), connected);
        drop(clients);
        until(|| counters.read().finished == CLIENTS as u64);
        close.cancel();
        assert_is_whole(serving.join().unwrap());
    });
}

/// A listener that fails for good ends the server, with its error, once the connections have been drained.
#[test]
fn a_listener_that_fails_for_good_ends_the_server() {
    matrix(LIMIT, "a socket that does not listen", |case| {
        let broken = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let broken = TcpListener::from(OwnedFd::from(broken.unwrap()));
        let (_owner, healthy, address) = kept_listener();
        // It lies in the backlog, and may be accepted or not.
        let client = StdStream::connect(address).unwrap();
        let server = Server::new().drain_timeout(Duration::ZERO);
        let counters = server.counters();
        let failed =
            case.run(move || server.serve_each([healthy, broken], |stream, _| echo(stream)));
        assert_eq!(failed.unwrap_err().raw_os_error(), Some(libc::EINVAL));
        assert_is_whole(counters.read());
        assert_eq!(counters.read().accept_errors, 1);
        assert_eq!(read_to_end(&client), b"");
        assert!(StdStream::connect(address).is_err());
    });
}

/// A deadline of the listener is the end, too, and no reason to spin.
#[test]
fn a_listener_past_its_deadline_ends_the_server() {
    matrix(LIMIT, "a listener with a deadline", |case| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let deadline = Instant::now() + Duration::from_millis(5);
        listener.set_accept_deadline(Some(deadline)).unwrap();
        let failed = case.run(move || Server::new().serve(listener, |_, _| ()));
        assert_eq!(failed.unwrap_err().kind(), ErrorKind::TimedOut);
    });
}

/// One with a timeout is asked again.
#[test]
fn a_listener_with_a_timeout_is_asked_again() {
    matrix(LIMIT, "a listener with a timeout", |case| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        listener
            .set_accept_timeout(Some(Duration::from_millis(1)))
            .unwrap();
        let close = CancelToken::new();
        let server = Server::new().until(&close);
        let counters = server.counters();
        let serving = case.spawn(move || server.serve(listener, |stream, _| echo(stream)));
        until(|| counters.read().accept_errors >= 5);
        ask(&StdStream::connect(address).unwrap());
        until(|| counters.read().finished == 1);
        close.cancel();
        assert_is_whole(serving.join().unwrap());
    });
}

/// Stacks of an impossible size are told at the first connection, rather than for ever.
#[test]
fn an_impossible_stack_size_ends_the_server() {
    within(LIMIT, "a stack of a tebibyte", || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let client = StdStream::connect(address).unwrap();
        let server = Server::new().stack_size(1 << 40);
        let failed = server.serve(listener, |stream, _| echo(stream));
        assert_eq!(failed.unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(read_to_end(&client), b"");
    });
}
