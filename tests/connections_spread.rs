//! Where connections and other work end up: on all workers, evenly, each with one netpoller.

mod rig;
mod support;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use counts::Counts;
use rig::child;
use rig::places::{Address, Client, Place, each_place};
use rig::process::{epoll_instances, thread_id};
use rig::until;
use support::{runtime, within};
use withy::Runtime;
use withy::net::TcpListener;

const LIMIT: Duration = Duration::from_secs(240);

/// How often each worker thread was met.
mod counts {
    use std::collections::HashMap;
    use std::sync::Mutex;

    #[derive(Default)]
    pub(crate) struct Counts(Mutex<HashMap<libc::pid_t, usize>>);

    impl Counts {
        pub(crate) fn add(&self, thread: libc::pid_t) {
            let mut counts = self.0.lock().expect("nobody panics with it");
            *counts.entry(thread).or_default() += 1;
        }

        /// How many were met.
        pub(crate) fn threads(&self) -> usize {
            self.0.lock().expect("nobody panics with it").len()
        }

        pub(crate) fn take(&self) -> HashMap<libc::pid_t, usize> {
            std::mem::take(&mut *self.0.lock().expect("nobody panics with it"))
        }
    }
}

/// Promise 38. A thousand coroutines that compute, spawned by one: every worker runs some.
#[test]
fn a_thousand_computations_run_on_every_worker() {
    for workers in [2, 8] {
        for full_stealing in [false, true] {
            within(LIMIT, "1,000 computations", || {
                let runtime = runtime(workers, full_stealing);
                let counts = Arc::new(Counts::default());
                runtime.run(|| {
                    let children: Vec<_> = (0..1_000)
                        .map(|_| {
                            let counts = counts.clone();
                            withy::spawn(move || {
                                counts.add(thread_id());
                                let start = Instant::now();
                                // And as long as the machine has not run them all: one that nobody wakes would make this endless.
                                while start.elapsed() < Duration::from_micros(200)
                                    || counts.threads() < workers
                                {
                                    std::hint::spin_loop();
                                }
                            })
                        })
                        .collect();
                    children.into_iter().for_each(|child| child.join().unwrap());
                });
                let counts = counts.take();
                assert_eq!(
                    counts.len(),
                    workers,
                    "full stealing {full_stealing}: {counts:?}"
                );
                assert_eq!(counts.values().sum::<usize>(), 1_000);
            });
        }
    }
}

/// Connections of a run: the promise's 10,000 in the stress run.
fn connections() -> usize {
    if rig::stress_rounds() > 1 {
        10_000
    } else {
        2_000
    }
}

/// The clients, in a process of their own: `burst,N` connects N and then checks an echo on each; `singly,N` checks each
/// before the next. Says "verified" and holds the connections until its input ends.
fn be_clients<P: Place>(role: &str) {
    let (how, number) = role.split_once(',').expect("two parts");
    let number: usize = number.parse().expect("a number");
    let address = std::env::var("WITHY_TEST_ADDRESS").expect("the parent says where");
    let address = P::Address::of_text(&address);
    let check = |n: usize, client: &P::Client| {
        let mut client = client.io();
        // Its own bytes, of its own length.
        let message = vec![n as u8 ^ 0x5a; 1 + n % 50];
        let mut echo = vec![0; message.len()];
        client.write_all(&message).expect("the server reads");
        client.read_exact(&mut echo).expect("the server writes");
        assert_eq!(echo, message, "connection {n} has got another's bytes");
    };
    let mut clients = Vec::with_capacity(number);
    for n in 0..number {
        let client = P::connect(P::client(), &address);
        if how == "singly" {
            check(n, &client);
            if n % 100 == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        clients.push(client);
    }
    for (n, client) in clients.iter().enumerate() {
        check(n, client);
    }
    println!("verified");
    let _ = std::io::stdin().read(&mut [0]);
    // Nobody listens to what the test harness would say.
    std::process::exit(0);
}

/// An echo server on `runtime` whose `N` clients have been verified and are still connected.
struct Served {
    clients: Child,
    living: Arc<AtomicUsize>,
    by_worker: HashMap<libc::pid_t, usize>,
}

impl Served {
    fn start<P: Place>(runtime: &Runtime, test: &str, how: &str, number: usize) -> Served {
        let (listener, address, _keeper) = P::open();
        let living = Arc::new(AtomicUsize::new(0));
        let counts = Arc::new(Counts::default());
        runtime.spawn({
            let (living, counts) = (living.clone(), counts.clone());
            move || {
                for _ in 0..number {
                    let (mut stream, _) = listener.accept().unwrap();
                    let (living, counts) = (living.clone(), counts.clone());
                    living.fetch_add(1, Ordering::SeqCst);
                    withy::spawn(move || {
                        let mut buf = [0; 256];
                        let mut counted = None;
                        loop {
                            let n = stream.read(&mut buf).unwrap();
                            if n == 0 {
                                break;
                            }
                            // Before the answer: when all clients have theirs, all are counted.
                            if counted.replace(thread_id()).is_none() {
                                counts.add(thread_id());
                            }
                            stream.write_all(&buf[..n]).unwrap();
                        }
                        living.fetch_sub(1, Ordering::SeqCst);
                    });
                }
            }
        });
        let role = format!("{how},{number}");
        let mut clients = child::start(test, &role, &[("WITHY_TEST_ADDRESS", &address.text())]);
        let lines = BufReader::new(clients.stdout.take().expect("a pipe")).lines();
        let verified = lines
            .map_while(Result::ok)
            .any(|line| line.contains("verified"));
        assert!(
            verified,
            "the clients failed: {}",
            child::output_of(clients).1
        );
        Served {
            clients,
            living,
            by_worker: counts.take(),
        }
    }

    fn end(mut self) {
        drop(self.clients.stdin.take());
        assert!(self.clients.wait().unwrap().success());
        until(|| self.living.load(Ordering::SeqCst) == 0);
    }

    fn assert_even(&self, workers: usize, number: usize, label: &str) {
        let counts: Vec<usize> = self.by_worker.values().copied().collect();
        assert_eq!(counts.len(), workers, "{label}: {counts:?}");
        assert_eq!(counts.iter().sum::<usize>(), number, "{label}");
        let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        assert!(2 * most <= 3 * least, "{label}: {counts:?}");
    }
}

each_place! {
    /// Promises 21 and 38. Accepted by one coroutine in a burst, they spread within 1.5 × over the workers.
    #[test]
    fn stress_a_burst_of_connections_spreads_evenly<P>(test) {
        spread::<P>(test, "burst");
    }

    /// Promises 21 and 38. One by one, too.
    #[test]
    fn stress_connections_that_come_one_by_one_spread_evenly<P>(test) {
        spread::<P>(test, "singly");
    }
}

fn spread<P: Place>(test: &str, how: &str) {
    match child::role(test).as_deref() {
        Some("alone") => {
            for workers in [2, 8] {
                within(
                    LIMIT,
                    &format!("connections, {how}, {workers} workers"),
                    || {
                        let runtime = runtime(workers, false);
                        let served = Served::start::<P>(&runtime, test, how, connections());
                        served.assert_even(
                            workers,
                            connections(),
                            &format!("{how}, {workers} workers"),
                        );
                        served.end();
                    },
                );
            }
        }
        Some(clients) => be_clients::<P>(clients),
        None => drop(child::alone(test, &[])),
    }
}

/// One epoll instance a worker, and each connection in exactly one of them, whoever accepted it.
#[test]
fn each_worker_has_one_netpoller_and_each_connection_is_in_one() {
    const TEST: &str = "each_worker_has_one_netpoller_and_each_connection_is_in_one";
    const NUMBER: usize = 300;
    match child::role(TEST).as_deref() {
        Some("alone") => {
            for (workers, full_stealing) in [(1, false), (2, false), (8, false), (2, true)] {
                within(LIMIT, "300 connections", || {
                    let runtime = runtime(workers, full_stealing);
                    let served = Served::start::<TcpListener>(&runtime, TEST, "burst", NUMBER);
                    let instances = epoll_instances();
                    assert_eq!(instances.len(), workers);
                    let mut homes = HashMap::<i32, usize>::new();
                    for fd in instances.iter().flatten() {
                        *homes.entry(*fd).or_default() += 1;
                    }
                    assert!(homes.values().all(|&count| count == 1), "{homes:?}");
                    // Each worker's own wake-up descriptor is there, too.
                    assert_eq!(homes.len(), NUMBER + workers);
                    if !full_stealing {
                        assert!(
                            instances
                                .iter()
                                .all(|watched| watched.len() > NUMBER / workers / 2)
                        );
                    }
                    served.end();
                    // The server has ended with its last connection: nothing is watched any more.
                    until(|| epoll_instances().iter().all(|watched| watched.len() == 1));
                });
            }
        }
        Some(clients) => be_clients::<TcpListener>(clients),
        None => drop(child::alone(TEST, &[])),
    }
}
