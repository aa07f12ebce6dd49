//! Connecting to several addresses: who is tried when, who wins, and that nothing is left of the others.

mod rig;
mod support;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rig::process::{descriptors, set_limit};
use rig::{child, stress_rounds, tools, until};
use support::addresses::{FullBacklog, assert_handshakes, closed_port};
use support::sockets::kind;
use support::{Callers, Case, LIMIT, matrix, within};
use withy::net::TcpStream;

/// RFC 8305's recommendation.
const DELAY: Duration = Duration::from_millis(250);

/// Attempts under way at a time, as the docs of `connect` say.
const IN_FLIGHT_MAX: usize = 8;

fn listening() -> (std::net::TcpListener, SocketAddr) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let addr = listener.local_addr().expect("it is bound");
    (listener, addr)
}

fn connect(addrs: &[SocketAddr]) -> io::Result<TcpStream> {
    TcpStream::connect(addrs)
}

/// Promises 12 and 49. The second address is tried although the first has not failed, and wins; the loser is closed.
#[test]
fn an_address_that_does_not_answer_is_passed_over() {
    matrix(LIMIT, "a connection past a black hole", |case| {
        let nobody = FullBacklog::new();
        let (_listener, good) = listening();
        let hole = nobody.addr;
        let before = nobody.handshakes();
        let stream = case.run(move || connect(&[hole, good]).unwrap());
        assert_eq!(stream.peer_addr().unwrap(), good);
        // The loser is closed.
        assert_handshakes(hole, before);
        let winner = socket2::SockRef::from(&stream);
        assert!(!winner.nonblocking().unwrap(), "its mode is std's");
        assert_eq!(stream.write_timeout().unwrap(), None);
    });
}

/// Promise 12. What is refused costs no delay: dozens of refusals, more than fit into one group, take no time of a clock
/// that stands still unless somebody waits for a quarter of a second.
#[test]
fn a_refusal_is_followed_by_the_next_address_at_once() {
    within(LIMIT, "many refusals", || {
        let (_owner, refuses) = closed_port();
        let (_listener, good) = listening();
        let runtime = withy::Runtime::builder().virtual_time().build().unwrap();
        // Of these the system says at once that they cannot be reached.
        let odd = SocketAddr::from(([255, 255, 255, 255], 1));
        let mut addrs = [[refuses, odd]; 50].concat();
        addrs.push(good);
        runtime.run(|| {
            let start = withy::now();
            let stream = connect(&addrs).unwrap();
            assert_eq!(stream.peer_addr().unwrap(), good);
            assert!(withy::now() - start < DELAY);
        });
    });
}

/// Promises 12 and 22. The second attempt begins no earlier than a quarter of a second after the first, if that has not failed.
#[test]
fn an_address_has_its_time_before_the_next_is_tried() {
    within(LIMIT, "a second attempt", || {
        let nobody = FullBacklog::new();
        let (_listener, good) = listening();
        let runtime = withy::Runtime::builder().virtual_time().build().unwrap();
        runtime.run(|| {
            let start = withy::now();
            assert_eq!(
                connect(&[nobody.addr, good]).unwrap().peer_addr().unwrap(),
                good
            );
            assert!(withy::now() - start >= DELAY);
        });
    });
}

/// Promise 12. If all fail the error is of the last one's kind, and tells of each.
#[test]
fn the_error_tells_of_every_address() {
    let (_one, first) = closed_port();
    let (_other, second) = closed_port();
    matrix(LIMIT, "addresses that all fail", move |case| {
        case.run(move || {
            let odd = SocketAddr::from(([255, 255, 255, 255], 1));
            let error = connect(&[odd, first, second]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
            let text = error.to_string();
            assert!(text.starts_with("could not connect to any of 3 addresses: "));
            for addr in [odd, first, second] {
                assert!(text.contains(&addr.to_string()), "{text}");
            }
            let error = connect(&[first, second, odd]).unwrap_err();
            assert_eq!(Some(error.kind()), kind(&connect(&[odd])));
            // One address: the system's error itself.
            let error = connect(&[first]).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::ECONNREFUSED));
        });
    });
}

/// Promise 12. An attempt that has been joined by another is not given up: it wins if it is answered after all.
#[test]
fn an_attempt_that_was_overtaken_may_still_win() {
    for callers in [Callers::Coroutines, Callers::Threads] {
        within(LIMIT, "a connection that is answered late", || {
            let case = Case::new(1, false, callers);
            let (late, nobody) = (FullBacklog::new(), FullBacklog::new());
            let (first, second) = (late.addr, nobody.addr);
            let before = nobody.handshakes();
            let connected = Arc::new(AtomicBool::new(false));
            let told = connected.clone();
            let client = case.spawn(move || {
                let stream = connect(&[first, second]).unwrap();
                told.store(true, Ordering::SeqCst);
                stream
            });
            assert_handshakes(second, before + 1);
            // Room for the first: its SYN is sent again a second after it was dropped.
            late.listener.set_nonblocking(true).unwrap();
            let accepted = RefCell::new(Vec::new());
            until(|| {
                accepted.borrow_mut().extend(late.listener.accept());
                connected.load(Ordering::SeqCst)
            });
            assert_eq!(client.join().peer_addr().unwrap(), first);
            assert_handshakes(second, before);
        });
    }
}

/// Law 8. Of twenty addresses that do not answer eight are tried at a time. Promises 28 and 49: a cancellation closes them all.
#[test]
fn a_bounded_number_of_attempts_is_under_way_and_a_cancellation_closes_them() {
    within(LIMIT, "twenty black holes", || {
        let runtime = withy::Runtime::builder().workers(1).build().unwrap();
        let nobody = FullBacklog::new();
        let hole = nobody.addr;
        let before = nobody.handshakes();
        let client = runtime.spawn(move || connect(&[hole; 20]));
        withy::sleep(DELAY * u32::try_from(IN_FLIGHT_MAX - 1).unwrap());
        assert_handshakes(hole, before + IN_FLIGHT_MAX);
        // Long enough for more, if they came.
        withy::sleep(3 * DELAY);
        assert_handshakes(hole, before + IN_FLIGHT_MAX);
        client.cancel();
        assert!(client.join().is_err());
        assert_handshakes(hole, before);
    });
}

/// Promises 12, 27 and 49. A timeout is the limit for all addresses together, of a coroutine and of a plain thread, and closes what was under way.
#[test]
fn a_timeout_bounds_all_addresses_together() {
    matrix(LIMIT, "addresses that do not answer", |case| {
        let nobody = FullBacklog::new();
        let hole = nobody.addr;
        let before = nobody.handshakes();
        case.run(move || {
            let limit = DELAY + DELAY / 2;
            let ended = withy::timeout(limit, || connect(&[hole, hole, hole]).map(drop));
            assert!(ended.is_err());
            assert_handshakes(hole, before);
            // A name with one address alike.
            let name = format!("127.0.0.1:{}", hole.port());
            let ended = withy::timeout(DELAY / 50, || TcpStream::connect(name).map(drop));
            assert!(ended.is_err());
            assert_handshakes(hole, before);
        });
    });
}

/// Promise 12. The families take turns: an IPv6 address comes before the second IPv4 address, wherever it stands.
#[test]
fn the_families_take_turns() {
    matrix(LIMIT, "addresses of both families", |case| {
        let Ok(six) = std::net::TcpListener::bind("[::1]:0") else {
            eprintln!("this machine has no IPv6: nothing tested");
            return;
        };
        let (_listener, four) = listening();
        let (_owner, refuses) = closed_port();
        let addrs = [refuses, four, six.local_addr().unwrap()];
        let stream = case.run(move || connect(&addrs).unwrap());
        assert_eq!(stream.peer_addr().unwrap(), six.local_addr().unwrap());
        // The first family is that of the first address.
        let addrs = [addrs[2], addrs[0], addrs[1]];
        let stream = case.run(move || connect(&addrs).unwrap());
        assert_eq!(stream.peer_addr().unwrap(), six.local_addr().unwrap());
    });
}

/// Promise 12. A list without an end is tried in order, in bounded memory, until one of its addresses connects.
#[test]
fn an_endless_list_of_addresses_is_tried() {
    struct Endless(SocketAddr, SocketAddr);
    impl std::net::ToSocketAddrs for Endless {
        type Iter = std::iter::Chain<std::iter::RepeatN<SocketAddr>, std::iter::Repeat<SocketAddr>>;
        fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
            let refusing = std::iter::repeat_n(self.0, 1000);
            Ok(refusing.chain(std::iter::repeat(self.1)))
        }
    }
    matrix(LIMIT, "an endless list", |case| {
        let (_owner, refuses) = closed_port();
        let (_listener, good) = listening();
        let stream = case.run(move || TcpStream::connect(Endless(refuses, good)).unwrap());
        assert_eq!(stream.peer_addr().unwrap(), good);
    });
}

/// Law 5. A destructor that connects while its coroutine unwinds from a cancellation gets an error instead of a wait.
#[test]
fn nobody_waits_for_addresses_while_a_cancellation_unwinds() {
    struct ConnectsInDrop(
        SocketAddr,
        Arc<std::sync::Mutex<Option<io::Result<TcpStream>>>>,
    );
    impl Drop for ConnectsInDrop {
        fn drop(&mut self) {
            *self.1.lock().unwrap() = Some(connect(&[self.0, self.0]));
        }
    }
    within(LIMIT, "a connection in a destructor", || {
        let runtime = withy::Runtime::builder().workers(1).build().unwrap();
        let nobody = FullBacklog::new();
        let outcome = Arc::new(std::sync::Mutex::new(None));
        let guard = ConnectsInDrop(nobody.addr, outcome.clone());
        let sleeper = runtime.spawn(move || {
            let _guard = guard;
            withy::park();
        });
        runtime.run(withy::yield_now);
        sleeper.cancel();
        assert!(sleeper.join().is_err());
        let outcome = outcome.lock().unwrap().take().expect("it was dropped");
        assert_eq!(kind(&outcome), Some(ErrorKind::TimedOut));
    });
}

/// One address costs what it costs to connect to it with a time limit, which knows of no others: the same system calls, however
/// the address is given.
#[test]
fn one_address_costs_no_more_system_calls_than_before() {
    const NAME: &str = "one_address_costs_no_more_system_calls_than_before";
    if let Some(role) = child::role(NAME) {
        let (_listener, addr) = listening();
        for _ in 0..5 {
            match &*role {
                "limit" => TcpStream::connect_timeout(&addr, Duration::MAX),
                "address" => TcpStream::connect(addr),
                "list" => TcpStream::connect(&[addr][..]),
                _ => TcpStream::connect(addr.to_string()),
            }
            .unwrap();
        }
        return;
    }
    if !tools::need("strace") {
        return;
    }
    let expected = calls_of(NAME, "limit");
    assert_eq!(expected.get("socket"), Some(&6), "{expected:?}");
    for role in ["address", "list", "text"] {
        assert_eq!(calls_of(NAME, role), expected, "{role}");
    }
}

/// An attempt for which the netpoller has no room fails with the system's error, and the next begins: nobody spins for what
/// cannot be waited for. One that needs no wait is not concerned.
#[test]
fn an_attempt_that_cannot_be_waited_for_fails() {
    const NAME: &str = "an_attempt_that_cannot_be_waited_for_fails";
    if child::role(NAME).is_some() {
        return within(LIMIT, "attempts that cannot be registered", || {
            let runtime = withy::Runtime::builder().workers(1).build().unwrap();
            let nobody = FullBacklog::new();
            let (_listener, good) = listening();
            let hole = nobody.addr;
            runtime.run(|| {
                // A thread's first call is let through.
                let waited = TcpStream::connect_timeout(&hole, Duration::from_millis(1));
                assert_eq!(kind(&waited), Some(ErrorKind::TimedOut));
                let error = connect(&[hole, hole]).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
                let stream = connect(&[hole, good]).unwrap();
                assert_eq!(stream.peer_addr().unwrap(), good);
            });
        });
    }
    if !tools::need("strace") {
        return;
    }
    // strace counts the calls of each thread; the first of the main thread is for the worker's waker.
    let output = Command::new("strace")
        .args(["-f", "-e", "trace=epoll_ctl", "-e", "signal=none"])
        .args(["-e", "inject=epoll_ctl:error=ENOSPC:when=2+"])
        .arg(std::env::current_exe().expect("a test knows its program"))
        .args(["--exact", NAME, "--nocapture", "--test-threads=1"])
        .env("WITHY_TEST_ROLE", format!("{NAME}=unregistered"))
        .output()
        .expect("strace runs");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
    assert!(text.contains("(INJECTED)"), "{text}");
}

/// Without descriptors every attempt fails; the system's error is the source of what is told.
#[test]
fn attempts_without_descriptors_fail() {
    if !child::alone("attempts_without_descriptors_fail", &[]) {
        return;
    }
    let (_listener, good) = listening();
    set_limit(libc::RLIMIT_NOFILE, 3);
    let error = connect(&[good, good]).unwrap_err();
    let single = connect(&[good]).unwrap_err();
    set_limit(libc::RLIMIT_NOFILE, 1000);
    assert_eq!(single.raw_os_error(), Some(libc::EMFILE));
    let source = error.get_ref().and_then(|error| error.source());
    let source = source.and_then(|error| error.downcast_ref::<io::Error>());
    assert_eq!(source.and_then(io::Error::raw_os_error), Some(libc::EMFILE));
    connect(&[good, good]).unwrap();
}

/// How often test `name` makes each system call that has to do with sockets, as `role`.
fn calls_of(name: &str, role: &str) -> BTreeMap<String, usize> {
    let program = std::env::current_exe().expect("a test knows its program");
    let log = std::env::temp_dir().join(format!("withy-{name}-{role}-{}", std::process::id()));
    let status = Command::new("strace")
        .args([
            "-f",
            "-e",
            "trace=%network,poll,ppoll,epoll_ctl,fcntl,ioctl",
        ])
        .args(["-e", "signal=none", "-o"])
        .arg(&log)
        .arg(program)
        .args(["--exact", name, "--test-threads=1"])
        .env("WITHY_TEST_ROLE", format!("{name}={role}"))
        .stdout(Stdio::null())
        .status()
        .expect("strace runs");
    let text = std::fs::read_to_string(&log).expect("strace has written it");
    let _ = std::fs::remove_file(&log);
    assert!(status.success(), "{text}");
    let mut counts = BTreeMap::new();
    // `pid name(arguments) = result`; what is resumed after a switch was counted at its beginning.
    for line in text.lines().filter(|line| !line.contains("resumed>")) {
        let call = line.split_ascii_whitespace().nth(1).unwrap_or_default();
        if let Some((call, _)) = call.split_once('(') {
            *counts.entry(call.to_owned()).or_default() += 1;
        }
    }
    counts
}

/// Promise 49. Races that are won, lost, bounded and cancelled leave no descriptor behind.
#[test]
fn races_leave_no_descriptor_behind() {
    if !child::alone("races_leave_no_descriptor_behind", &[]) {
        return;
    }
    within(10 * LIMIT, "hundreds of races", || {
        let runtime = withy::Runtime::builder().workers(2).build().unwrap();
        let nobody = FullBacklog::new();
        let (_owner, refuses) = closed_port();
        let (listener, good) = listening();
        std::thread::spawn(move || listener.incoming().flatten().for_each(drop));
        let hole = nobody.addr;
        let race = move |n: u64| {
            let limit = Duration::from_micros(n * 997 % 400_000);
            let addrs = [hole, refuses, refuses, hole, good];
            drop(withy::timeout(limit, || connect(&addrs)));
        };
        let round = |base: u64| {
            let racers: Vec<_> = (base..base + 100)
                .map(|n| runtime.spawn(move || race(n)))
                .collect();
            for (n, racer) in racers.into_iter().enumerate() {
                if n % 7 == 0 {
                    racer.cancel();
                }
                let _ = racer.join();
            }
        };
        round(0);
        let before = descriptors();
        for n in 1..=3 * stress_rounds() as u64 {
            round(100 * n);
        }
        // The peer closes accepted connections in its own time.
        until(|| descriptors() <= before);
    });
}
