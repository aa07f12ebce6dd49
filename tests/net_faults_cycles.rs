//! Many short lives of connections: in the end everything is where it was.

mod rig;
mod support;

use std::io::{Read, Write};
use std::net::TcpStream as StdStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rig::child::alone;
use rig::process::{descriptors, epoll_instances, mappings, status};
use rig::serving::{Serving, ask, echo};
use rig::until;
use support::sockets::reset;
use support::{Callers, Case, within};
use withy::net::TcpStream;

const LIMIT: Duration = Duration::from_secs(240);
const CYCLES: u64 = 10_000;
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

/// A connection, and its end by a reset at one of five stages. How many answers it has got.
fn abuse(address: std::net::SocketAddr, cycle: u64) {
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
            (0..500).for_each(|cycle| abuse(serving.address, cycle));
            let before = at_rest();
            let address = serving.address;
            let abusers: Vec<_> = (0..THREADS)
                .map(|thread| {
                    let mut cycles = (thread..CYCLES).step_by(THREADS as usize);
                    std::thread::spawn(move || cycles.by_ref().for_each(|n| abuse(address, n)))
                })
                .collect();
            abusers.into_iter().for_each(|one| one.join().unwrap());
            // What the kernel has queued is taken, too: the last one in comes out last.
            ask(&serving.connect());
            let after = at_rest();
            assert_eq!(
                after.descriptors, before.descriptors,
                "{before:?}, {after:?}"
            );
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
            assert_eq!(summary.accepted, 500 + CYCLES + 1, "{summary:?}");
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
