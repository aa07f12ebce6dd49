//! Many short lives of connections: in the end everything is where it was.

mod rig;
mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream as StdStream};
use std::os::linux::net::SocketAddrExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rig::child::alone;
use rig::process::{descriptors, epoll_instances, mappings, status};
use rig::serving::{Serving, ask, echo};
use rig::until;
use support::sockets::reset;
use support::{Callers, Case, within};
use withy::net::unix::SocketAddr as UnixAddr;
use withy::net::{Counters, Server, TcpStream, UnixListener, UnixStream};

const LIMIT: Duration = Duration::from_secs(240);
const CYCLES: u64 = 10_000;
const WARM_UP: u64 = 1_000;
/// Clients at a time.
const THREADS: u64 = 4;

/// What a leak would raise.
#[derive(Debug)]
struct Usage {
    descriptors: usize,
    /// In all netpollers together.
    watched: usize,
    mappings: usize,
    memory_kib: u64,
}

impl Usage {
    fn now() -> Usage {
        Usage {
            descriptors: descriptors(),
            watched: epoll_instances().iter().map(Vec::len).sum(),
            mappings: mappings(),
            memory_kib: status("VmRSS"),
        }
    }
}

/// What there is once no more descriptors are open than before. The last connection may have been counted, and be watched no more, a
/// moment before it is closed; one that stays open fails by the time limit.
fn once_closed(before: &Usage) -> Usage {
    until(|| descriptors() <= before.descriptors);
    Usage::now()
}

/// A connection, and its end by a reset at one of five stages. How many answers it has got.
fn abuse(address: SocketAddr, cycle: u64) {
    let mut client = StdStream::connect(address).expect("the server listens");
    match cycle % 5 {
        0 => {}
        1 => client.write_all(b"never read").expect("there is room"),
        2 => {
            client.write_all(&[7; 100]).expect("there is room");
            client.read_exact(&mut [0; 50]).expect("the server answers");
        }
        3 => {
            client.set_nonblocking(true).expect("it is open");
            // Until both sides are full, or nearly.
            for _ in 0..8 {
                let _ = client.write(&[7; 65536]);
            }
        }
        _ => {
            ask(&client);
            return drop(client);
        }
    }
    reset(client);
}

/// So many cycles by several clients at a time.
fn abuse_in_threads(address: SocketAddr, cycles: u64) {
    let abusers: Vec<_> = (0..THREADS)
        .map(|thread| {
            let mut cycles = (thread..cycles).step_by(THREADS as usize);
            std::thread::spawn(move || cycles.by_ref().for_each(|cycle| abuse(address, cycle)))
        })
        .collect();
    abusers
        .into_iter()
        .for_each(|abuser| abuser.join().unwrap());
}

/// Promise 49. 10,000 connections that are reset: descriptors, registrations, mappings, memory and coroutines are back
/// where they were, and each connection was counted once.
#[test]
fn ten_thousand_connections_and_resets_leave_nothing_behind() {
    const TEST: &str = "ten_thousand_connections_and_resets_leave_nothing_behind";
    if !alone(TEST, &[]) {
        return;
    }
    for full_stealing in [false, true] {
        within(LIMIT, "10,000 connections and resets", || {
            let case = Case::new(2, full_stealing, Callers::Coroutines);
            let (entered, left) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
            let (enters, leaves) = (entered.clone(), left.clone());
            let serving = Serving::start(
                &case,
                |server| server.connections_max(100),
                move |stream: TcpStream, _| {
                    enters.fetch_add(1, Ordering::SeqCst);
                    // Its stack has gone when it counts.
                    let _lives = rig::Drops(&leaves);
                    echo(stream)
                },
            );
            let at_rest = || {
                serving.until(|now| now.active == 0);
                until(|| epoll_instances().iter().map(Vec::len).sum::<usize>() <= 3);
                Usage::now()
            };
            // In as many threads, for the C library keeps their stacks and arenas.
            abuse_in_threads(serving.address, WARM_UP);
            let before = at_rest();
            abuse_in_threads(serving.address, CYCLES);
            // What the kernel has queued is taken, too: the last one in comes out last.
            ask(&serving.connect());
            at_rest();
            let after = once_closed(&before);
            assert_eq!(after.watched, before.watched, "{before:?}, {after:?}");
            assert!(
                after.mappings <= before.mappings + 16,
                "{before:?}, {after:?}"
            );
            assert!(
                after.memory_kib <= before.memory_kib + 8_192,
                "{before:?}, {after:?}"
            );
            let summary = serving.close();
            assert_eq!(summary.accepted, WARM_UP + CYCLES + 1, "{summary:?}");
            assert_eq!(
                (
                    summary.cut,
                    summary.shed,
                    summary.panicked,
                    summary.accept_errors
                ),
                (0, 0, 0, 0),
                "{summary:?}"
            );
            assert_eq!(entered.load(Ordering::SeqCst) as u64, summary.accepted);
            assert_eq!(left.load(Ordering::SeqCst) as u64, summary.accepted);
        });
    }
}

/// What a client of ours does before it leaves: at one of five stages, once in the middle of a read.
fn visit(mut stream: impl Read + Write, cycle: u64) {
    match cycle % 5 {
        0 => {}
        1 => stream.write_all(b"never read").expect("there is room"),
        2 => {
            stream.write_all(&[7; 100]).expect("there is room");
            stream.read_exact(&mut [0; 50]).expect("the server answers");
        }
        3 => {
            stream.write_all(b"there?").expect("there is room");
            stream.read_exact(&mut [0; 6]).expect("the server answers");
        }
        _ => {
            let read = withy::timeout(Duration::from_micros(10), || stream.read(&mut [0]));
            assert!(read.is_err(), "nothing was asked");
        }
    }
}

/// The same in so many coroutines: cycles in turn over TCP, with a reset at the end, and over a Unix socket.
fn visit_in_coroutines(case: &Case, tcp: SocketAddr, unix: &UnixAddr, cycles: u64) {
    let visitors: Vec<_> = (0..THREADS)
        .map(|first| {
            let unix = unix.clone();
            case.spawn(move || {
                for cycle in (first..cycles).step_by(THREADS as usize) {
                    let stream = TcpStream::connect(tcp).expect("the server listens");
                    stream
                        .set_linger(Some(Duration::ZERO))
                        .expect("it is a socket");
                    visit(&stream, cycle);
                    visit(UnixStream::connect_addr(&unix).expect("it listens"), cycle);
                }
            })
        })
        .collect();
    visitors.into_iter().for_each(|visitor| visitor.join());
}

/// Promise 49. The same where the clients are ours, too, and for Unix sockets.
#[test]
fn ten_thousand_cycles_of_our_own_clients_leave_nothing_behind() {
    const TEST: &str = "ten_thousand_cycles_of_our_own_clients_leave_nothing_behind";
    if !alone(TEST, &[]) {
        return;
    }
    for full_stealing in [false, true] {
        within(LIMIT, "10,000 cycles of clients of ours", || {
            let case = Case::new(2, full_stealing, Callers::Coroutines);
            let limit = |server: Server| server.connections_max(100);
            let serving = Serving::start(&case, limit, |stream: TcpStream, _| echo(stream));
            let name = format!("withy-cycles-{}-{full_stealing}", std::process::id());
            let unix = UnixAddr::from_abstract_name(name).unwrap();
            let listener = UnixListener::bind_addr(&unix).unwrap();
            let server = limit(Server::new().until(&serving.close));
            let counters = server.counters();
            let unix_server = case.spawn(move || server.serve(listener, |stream, _| echo(stream)));
            let at_rest = |accepted: u64| {
                let all_left = |counters: &Counters| {
                    let now = counters.read();
                    (now.accepted, now.active) == (accepted, 0)
                };
                until(|| all_left(&serving.counters) && all_left(&counters));
                // The wakers of two workers, and two listeners.
                until(|| epoll_instances().iter().map(Vec::len).sum::<usize>() <= 4);
                Usage::now()
            };
            visit_in_coroutines(&case, serving.address, &unix, WARM_UP);
            let before = at_rest(WARM_UP);
            visit_in_coroutines(&case, serving.address, &unix, CYCLES);
            at_rest(WARM_UP + CYCLES);
            let after = once_closed(&before);
            assert_eq!(after.watched, before.watched, "{before:?}, {after:?}");
            assert!(
                after.mappings <= before.mappings + 16
                    && after.memory_kib <= before.memory_kib + 8_192,
                "{before:?}, {after:?}"
            );
            serving.close();
            let summary = unix_server.join().unwrap();
            assert_eq!(summary.accepted, WARM_UP + CYCLES, "{summary:?}");
            assert_eq!((summary.cut, summary.shed), (0, 0), "{summary:?}");
        });
    }
}
