//! The load of the example `models`, and how it looks at a server. Nothing is left out: neither requests that a server that stands
//! still kept from being sent ("coordinated omission"), nor connections that fail.
#![allow(dead_code, reason = "the example uses the rest")]

#[path = "../examples/models/load/mod.rs"]
mod load;
mod support;
#[path = "../examples/models/compare/tree.rs"]
mod tree;

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use load::{Asks, Moment, Outcome, Pace, Plan};
use support::within;
use tree::Tree;

const LIMIT: Duration = Duration::from_secs(60);

const CONNECTIONS: usize = 4;

/// One request in 2 ms.
const RATE: f64 = 500.0;

/// Of all connections, when it happens: under the open load 400 ms after its begin.
const FATEFUL: usize = 200;

/// What an echo server does when so many requests have come.
#[derive(Clone, Copy)]
enum Fate {
    /// Nobody is answered for a while.
    Pause(Duration),
    /// All connections end.
    Close,
}

/// An echo server, a thread for each connection. It lasts as long as the test.
struct Faulty {
    fate: Fate,
    fateful: usize,
    requests: AtomicUsize,
    open: AtomicUsize,
    gate: Mutex<()>,
}

impl Faulty {
    fn start(fate: Fate, fateful: usize) -> (SocketAddr, Arc<Faulty>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let addr = listener.local_addr().expect("it is bound");
        let faulty = Arc::new(Faulty {
            fate,
            fateful,
            requests: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            gate: Mutex::new(()),
        });
        let server = Arc::clone(&faulty);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, server) = (stream.expect("a connection"), Arc::clone(&server));
                thread::spawn(move || {
                    server.open.fetch_add(1, Ordering::SeqCst);
                    let _ = server.serve(stream);
                    server.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        (addr, faulty)
    }

    fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut request = [0; 64];
        loop {
            stream.read_exact(&mut request)?;
            let gate = self.gate.lock().expect("nobody panics");
            let number = self.requests.fetch_add(1, Ordering::SeqCst);
            match self.fate {
                Fate::Pause(pause) if number == self.fateful => thread::sleep(pause),
                Fate::Close if number >= self.fateful => return Ok(()),
                _ => {}
            }
            drop(gate);
            stream.write_all(&request)?;
        }
    }
}

fn plan(addr: SocketAddr) -> Plan {
    Plan {
        addr,
        asks: Asks::Echo,
        connections: CONNECTIONS,
        reconnects: false,
        pace: Pace::Open(RATE),
        warm_up: Duration::from_millis(100),
        duration: Duration::from_secs(1),
    }
}

fn run(plan: &Plan) -> Outcome {
    withy::run(|| load::run(plan, |_| ())).expect("there is memory for a histogram")
}

/// How many have waited at least so long.
fn waited(outcome: &Outcome, at_least: Duration) -> u64 {
    let latencies = outcome.latencies.iter_recorded();
    let such =
        latencies.filter(|value| u128::from(value.value_iterated_to()) >= at_least.as_nanos());
    such.map(|value| value.count_at_value()).sum()
}

/// As many as were due, to one for each connection: those that are due at the very end.
fn assert_all_are_counted(outcome: &Outcome, plan: &Plan) {
    let due = RATE * plan.duration.as_secs_f64();
    let counted = outcome.latencies.len() as f64;
    assert!(
        (counted - due).abs() <= CONNECTIONS as f64,
        "{counted} latencies, expected {due}"
    );
}

#[test]
fn a_server_that_pauses_is_charged_for_all_who_had_to_wait() {
    within(LIMIT, "a server that pauses", || {
        let pause = Duration::from_millis(400);
        let (addr, _) = Faulty::start(Fate::Pause(pause), FATEFUL);
        let plan = plan(addr);
        let outcome = run(&plan);
        assert_all_are_counted(&outcome, &plan);
        // 200 were due meanwhile, half of them in the first half; by one for each connection there would be 4.
        let late = waited(&outcome, pause / 2);
        assert!(late >= 90, "{late} have waited for half the pause");
        assert_eq!(outcome.errors, 0);
    });
}

#[test]
fn requests_that_were_never_sent_have_waited_until_it_was_over() {
    within(LIMIT, "a server that pauses until after the end", || {
        let pause = Duration::from_secs(2);
        let (addr, _) = Faulty::start(Fate::Pause(pause), FATEFUL);
        let plan = plan(addr);
        let outcome = run(&plan);
        assert_all_are_counted(&outcome, &plan);
        // It pauses 400 ms after the first request and at least, so that the last of them waits for 1.3 s.
        let (due, late) = (outcome.latencies.len(), waited(&outcome, pause * 6 / 10));
        assert!(
            late * 2 > due,
            "{late} of {due} have waited until there was an answer"
        );
        assert!(outcome.requests_in_all < due / 2 + 100, "{outcome:?}");
        assert_eq!(outcome.errors, 0);
    });
}

#[test]
fn a_connection_that_fails_is_an_error_and_its_requests_have_waited_until_the_end() {
    within(LIMIT, "a server that closes", || {
        let (addr, _) = Faulty::start(Fate::Close, FATEFUL);
        let plan = plan(addr);
        let outcome = run(&plan);
        assert_all_are_counted(&outcome, &plan);
        assert_eq!(outcome.errors, CONNECTIONS as u64);
        assert!(waited(&outcome, plan.duration / 4) >= 90, "{outcome:?}");
    });
}

#[test]
fn who_is_refused_is_an_error_and_has_no_latency() {
    within(LIMIT, "a server that is not there", || {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let addr = listener.local_addr().expect("it is bound");
        drop(listener);
        for reconnects in [false, true] {
            let outcome = run(&Plan {
                pace: Pace::Closed,
                reconnects,
                ..plan(addr)
            });
            assert!(outcome.errors >= CONNECTIONS as u64, "{outcome:?}");
            // Who connects for each request tries again.
            assert_eq!(outcome.errors > CONNECTIONS as u64, reconnects);
            assert_eq!((outcome.requests_in_all, outcome.latencies.len()), (0, 0));
            assert_eq!(outcome.requests_per_s, 0.0);
        }
    });
}

#[test]
fn the_rate_is_of_the_answers_that_come_in_the_time() {
    within(LIMIT, "a server that pauses until after the end", || {
        let (addr, _) = Faulty::start(Fate::Pause(Duration::from_secs(3)), 10);
        let outcome = run(&Plan {
            pace: Pace::Closed,
            connections: 1,
            warm_up: Duration::ZERO,
            duration: Duration::from_secs(2),
            ..plan(addr)
        });
        let in_time = (outcome.requests_per_s * 2.0).round() as u64;
        // The one that is answered too late is an answer all the same.
        assert_eq!((in_time, outcome.requests_in_all), (9, 10), "{outcome:?}");
        // What a closed load does not see: one request has waited, whatever would have come meanwhile.
        assert_eq!(waited(&outcome, Duration::from_secs(1)), 1);
    });
}

#[test]
fn a_request_that_began_in_the_warm_up_counts_when_it_is_answered() {
    within(LIMIT, "a warm-up that ends in a request", || {
        let (addr, _) = Faulty::start(Fate::Pause(Duration::from_secs(2)), 10);
        // The request that is stopped begins in the warm-up, and ends in the time that counts, long before its end.
        let outcome = run(&Plan {
            connections: 1,
            pace: Pace::Closed,
            warm_up: Duration::from_secs(1),
            duration: Duration::from_secs(2),
            ..plan(addr)
        });
        assert_eq!(
            waited(&outcome, Duration::from_millis(1500)),
            1,
            "{outcome:?}"
        );
        let in_time = (outcome.requests_per_s * 2.0).round() as u64;
        assert!((outcome.latencies.len() - in_time) <= 1, "{outcome:?}");
    });
}

#[test]
fn the_server_is_looked_at_with_everybody_connected_before_the_first_request_and_after_the_last() {
    within(LIMIT, "looks at a server", || {
        let (addr, server) = Faulty::start(Fate::Pause(Duration::ZERO), FATEFUL);
        let mut seen = Vec::new();
        let look = |moment| {
            let requests = server.requests.load(Ordering::SeqCst);
            seen.push((moment, server.open.load(Ordering::SeqCst), requests));
        };
        let plan = plan(addr);
        let outcome = withy::run(|| load::run(&plan, look)).expect("there is memory");
        // One by each, to be accepted.
        let all = usize::try_from(outcome.requests_in_all).expect("few") + CONNECTIONS;
        let expected = [
            (Moment::Connected, CONNECTIONS, CONNECTIONS),
            (Moment::Answered, CONNECTIONS, all),
        ];
        assert_eq!(seen, expected);
    });
}

/// Killed with all that it is made of, and waited for.
struct Shell(Child);

impl Shell {
    fn start(script: &str) -> Shell {
        let mut command = Command::new("sh");
        let child = command.args(["-c", script]).stdin(Stdio::piped()).spawn();
        Shell(child.expect("there is a shell"))
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // Its children wait for our end of the pipe to be closed.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// Of a process, by what its files in /proc say, read by hand.
fn by_hand(id: &str) -> (u64, u64, Duration) {
    let text = |path: String| fs::read_to_string(path).expect("it lives");
    let sum = |text: &str, key: &str| -> u64 {
        let lines = text.lines().filter_map(|line| line.strip_prefix(key));
        lines
            .map(|line| {
                line.trim()
                    .trim_end_matches(" kB")
                    .parse::<u64>()
                    .expect("a number")
            })
            .sum()
    };
    let pss = sum(&text(format!("/proc/{id}/smaps")), "Pss:") * 1024;
    let status = text(format!("/proc/{id}/status"));
    let switches =
        sum(&status, "voluntary_ctxt_switches:") + sum(&status, "nonvoluntary_ctxt_switches:");
    let stat = text(format!("/proc/{id}/stat"));
    let fields: Vec<_> = stat
        .rsplit_once(") ")
        .expect("a name")
        .1
        .split(' ')
        .collect();
    let ticks: u64 =
        fields[11].parse::<u64>().expect("utime") + fields[12].parse::<u64>().expect("stime");
    (pss, switches, Duration::from_millis(ticks * 10))
}

#[test]
fn a_tree_is_a_process_with_all_that_descend_from_it() {
    within(LIMIT, "a tree of processes", || {
        // Each works for a while, and then waits for the end of our pipe.
        let work =
            "i=0; while [ $i -lt 150000 ]; do i=$((i+1)); done; while read -r x <&3; do :; done";
        let script = format!("exec 3<&0; (({work}) & {work}) & {work}; wait");
        let shell = Shell::start(&script);
        let root = shell.0.id();
        let begin = Instant::now();
        let settled = loop {
            let tree = Tree::of(root);
            thread::sleep(Duration::from_millis(50));
            let next = Tree::of(root);
            // Nothing moves any more.
            if next.processes() == 3
                && (next.cpu, next.context_switches) == (tree.cpu, tree.context_switches)
            {
                break next;
            }
            assert!(
                begin.elapsed() < LIMIT / 2,
                "{next:?} does not come to rest"
            );
        };
        assert_eq!(settled.threads, 3);
        let output = Command::new("sh")
            .args([
                "-c",
                "f() { echo $1; for c in $(cat /proc/$1/task/*/children); do f $c; done; }; f $0",
            ])
            .arg(root.to_string())
            .output()
            .expect("there is a shell");
        let ids = String::from_utf8(output.stdout).expect("numbers");
        let (mut pss, mut switches, mut cpu) = (0, 0, Duration::ZERO);
        for id in ids.lines() {
            let of_one = by_hand(id);
            (pss, switches, cpu) = (pss + of_one.0, switches + of_one.1, cpu + of_one.2);
        }
        assert_eq!(ids.lines().count(), 3, "{ids}");
        assert_eq!(settled.context_switches, switches);
        // Shares of what is shared change while others start and end.
        assert!(
            pss.abs_diff(settled.pss_bytes) < pss / 4,
            "{pss} by hand, {settled:?}"
        );
        // By hand it is in ticks of 10 ms, user and system, of three processes.
        assert!(
            cpu.abs_diff(settled.cpu) <= Duration::from_millis(60),
            "{cpu:?} by hand, {settled:?}"
        );
        assert!(settled.cpu > Duration::from_millis(150));
        assert_eq!(settled.cpu_now(), settled.cpu);
    });
}
