//! Servers in want of descriptors and memory: they neither end nor spin, and take everybody in again afterwards.

mod rig;
mod support;

use std::io::{ErrorKind, Read, Write};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rig::child::{self, alone};
use rig::places::{Client, Place, each_place};
use rig::process::{THREAD_STACK, leave_descriptors, set_limit, threads_may_start};
use rig::serving::{Serving, ask, echo, read_to_end};
use rig::{tools, until};
use support::{Callers, Case, LIMIT, fault, matrix, within};
use withy::net::Server;

/// Clients whose sockets exist before descriptors run out.
fn clients<P: Place>(number: usize) -> Vec<socket2::Socket> {
    (0..number).map(|_| P::client()).collect()
}

fn connect<P: Place>(clients: Vec<socket2::Socket>, serving: &Serving<P>) -> Vec<P::Client> {
    let connect = |client| P::connect(client, &serving.address);
    clients.into_iter().map(connect).collect()
}

/// It is turned away, and told so.
fn be_refused<P: Place>(client: &P::Client) {
    let told = client.io().read(&mut [0]).map_err(|error| error.kind());
    assert_eq!(told, P::REFUSAL);
}

/// Asks as [`ask`] does: false if it is turned away.
fn is_answered(client: &impl Client) -> bool {
    let mut answer = [0; 6];
    let asked = client.io().write_all(b"there?");
    match asked.and_then(|()| client.io().read_exact(&mut answer)) {
        Ok(()) => true,
        Err(error) => {
            let kinds = [
                ErrorKind::ConnectionReset,
                ErrorKind::BrokenPipe,
                ErrorKind::UnexpectedEof,
            ];
            assert!(kinds.contains(&error.kind()), "{error}");
            false
        }
    }
}

/// A server that is accepting: what it opens itself is open, its reserve as well.
fn settled<P: Place>(case: &Case, configure: impl FnOnce(Server) -> Server) -> Serving<P> {
    let serving = Serving::start_at(case, configure, |stream, _| echo(stream));
    drop(serving.connect_and_ask());
    serving.until(|now| now.finished == 1 && now.active == 0);
    serving
}

/// The least time in which a server that pauses as documented can fail so many times.
fn pauses_before(failures: u64) -> Duration {
    (1..failures)
        .map(|nth| Duration::from_millis((5 << (nth - 1).min(8)).min(1000)))
        .sum()
}

each_place! {
    /// Promise 45. The backlog waits while descriptors are out, the server makes few attempts, and lets somebody in as soon
    /// as somebody leaves.
    #[test]
    fn a_storm_of_connections_without_descriptors_waits_its_turn<P>(test) {
        const ROOM: usize = 4;
        const CLIENTS: usize = 12;
        if !alone(test, &[]) {
            return;
        }
        for (workers, full_stealing) in [(1, false), (2, false), (8, false), (2, true)] {
            within(LIMIT, "a server out of descriptors", || {
                let case = Case::new(workers, full_stealing, Callers::Coroutines);
                let serving = settled::<P>(&case, |server| server.patience(Duration::MAX));
                let clients = clients::<P>(CLIENTS);
                let before = leave_descriptors(ROOM);
                let began = Instant::now();
                let mut clients = connect(clients, &serving);
                clients[..ROOM].iter().for_each(ask);
                serving.until(|now| now.accept_errors >= 5);
                assert_eq!(serving.counters.read().accepted as usize, 1 + ROOM);
                let failures = serving.counters.read().accept_errors;
                assert!(
                    began.elapsed() >= pauses_before(failures),
                    "{failures} attempts in {:?}",
                    began.elapsed()
                );
                // They come in order. The one that leaves frees two descriptors, so one of the two is taken away.
                for served in ROOM..CLIENTS {
                    let leaving = clients.remove(0);
                    leaving.leave();
                    ask(&clients[ROOM - 1]);
                    std::mem::forget(leaving);
                    assert_eq!(serving.counters.read().accepted as usize, 1 + served + 1);
                }
                set_limit(libc::RLIMIT_NOFILE, before);
                let now = serving.counters.read();
                assert_eq!((now.accepted as usize, now.shed), (1 + CLIENTS, 0));
                drop(clients);
                serving.close();
            });
        }
    }

    /// Promise 45. Past the server's patience, who waits is turned away at once, again and again, and nobody hangs.
    #[test]
    fn an_impatient_server_turns_the_backlog_away<P>(test) {
        const ROOM: usize = 3;
        const CLIENTS: usize = 10;
        if !alone(test, &[]) {
            return;
        }
        for (workers, full_stealing) in [(1, false), (2, false), (8, false), (2, true)] {
            within(LIMIT, "a server that sheds", || {
                let case = Case::new(workers, full_stealing, Callers::Coroutines);
                let serving = settled::<P>(&case, |server| server.patience(Duration::ZERO));
                let (late, clients) = (clients::<P>(2), clients::<P>(CLIENTS));
                let before = leave_descriptors(ROOM);
                let clients = connect(clients, &serving);
                clients[..ROOM].iter().for_each(ask);
                clients[ROOM..].iter().for_each(be_refused::<P>);
                serving.until(|now| now.shed as usize == CLIENTS - ROOM);
                // It has taken its reserve back.
                connect(late, &serving).iter().for_each(be_refused::<P>);
                clients[..ROOM].iter().for_each(ask);
                set_limit(libc::RLIMIT_NOFILE, before);
                // By itself, after its pause; until then it may be turning away still.
                let mut turned_away = 0;
                while !is_answered(&serving.connect()) {
                    turned_away += 1;
                }
                drop(clients);
                let summary = serving.close();
                let shed = CLIENTS - ROOM + 2 + turned_away;
                assert_eq!(summary.shed as usize, shed, "{summary:?}");
                assert_eq!(summary.finished as usize, 1 + ROOM + 1, "{summary:?}");
            });
        }
    }

    /// Promises 13 and 45. Whatever accept4 says a few times, the connection is served in the end, and there was one call for each
    /// answer. In a process of its own, in which the kernel's answers are made up.
    #[test]
    fn every_passing_error_of_accept_is_got_over<P>(test) {
        const TIMES: usize = 4;
        if !alone(test, &[]) {
            return;
        }
        fault::trap_accept();
        let errors = [
            (libc::EMFILE, TIMES),
            (libc::ENFILE, TIMES),
            (libc::ENOMEM, TIMES),
            (libc::ENOBUFS, TIMES),
            (libc::EPROTO, TIMES),
            (libc::EPERM, TIMES),
            (libc::ENETDOWN, TIMES),
            (libc::EIO, TIMES),
            // Passed over by the listener itself.
            (libc::ECONNABORTED, 0),
        ];
        matrix(LIMIT, "errors of accept", |case| {
            for (error, counted) in errors {
                let serving = Serving::<P>::start_at(
                    case,
                    |server| server.patience(Duration::MAX),
                    |stream, _| echo(stream),
                );
                let before = fault::accept_calls();
                fault::fail_accept(error, TIMES);
                let client = serving.connect();
                ask(&client);
                drop(client);
                serving.until(|now| now.finished == 1);
                // One for each error, the one that succeeds, and those that find nothing, before and after.
                let calls = fault::accept_calls() - before;
                assert!(calls <= TIMES + 4, "error {error}: {calls} calls");
                let summary = serving.close();
                assert_eq!(summary.accept_errors, counted as u64, "error {error}");
            }
        });
    }
}

/// Law 8. An answer that every call gets, and that takes nothing from the backlog, does not make it spin, either.
#[test]
fn an_error_that_never_passes_does_not_spin() {
    if !alone("an_error_that_never_passes_does_not_spin", &[]) {
        return;
    }
    fault::trap_accept();
    within(LIMIT, "an error for ever", || {
        for error in [libc::EPERM, libc::EMFILE, libc::ENOMEM] {
            let case = Case::new(2, false, Callers::Coroutines);
            let serving = Serving::start(
                &case,
                |server| server.patience(Duration::MAX),
                |stream, _| echo(stream),
            );
            fault::fail_accept(error, usize::MAX);
            let began = Instant::now();
            let client = serving.connect();
            serving.until(|now| now.accept_errors >= 5);
            serving.until(|_| began.elapsed() > Duration::from_millis(300));
            let failures = serving.counters.read().accept_errors;
            // 64 at once, if they may be about single connections.
            let paused = failures.saturating_sub(64).max(1);
            assert!(
                began.elapsed() >= pauses_before(paused),
                "{failures} attempts"
            );
            assert!(failures < 80, "{failures} attempts");
            fault::fail_accept(0, 0);
            ask(&client);
            drop(client);
            serving.until(|now| now.finished == 1);
            // And the end reaches it in the middle of a pause.
            fault::fail_accept(error, usize::MAX);
            let waiting = serving.connect();
            serving.until(|now| now.accept_errors > failures);
            let summary = serving.close();
            assert_eq!(summary.finished + summary.shed, summary.accepted);
            assert_eq!(read_to_end(&waiting), b"");
            fault::fail_accept(0, 0);
        }
    });
}

/// Promise 45. One line in the log for one episode, however many attempts it has.
#[test]
fn an_episode_is_logged_once() {
    static WARNINGS: AtomicUsize = AtomicUsize::new(0);
    struct Counter;
    impl log::Log for Counter {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            true
        }
        fn log(&self, record: &log::Record<'_>) {
            if record.target() == "withy::net" && record.level() == log::Level::Warn {
                WARNINGS.fetch_add(1, Ordering::SeqCst);
            }
        }
        fn flush(&self) {}
    }
    if !alone("an_episode_is_logged_once", &[]) {
        return;
    }
    fault::trap_accept();
    log::set_logger(&Counter).unwrap();
    log::set_max_level(log::LevelFilter::Warn);
    within(LIMIT, "five errors, a success, and five more", || {
        let case = Case::new(2, false, Callers::Coroutines);
        let serving = Serving::start(&case, |server| server, |stream, _| echo(stream));
        for _ in 0..2 {
            fault::fail_accept(libc::EMFILE, 5);
            drop(serving.connect_and_ask());
        }
        assert_eq!(serving.counters.read().accept_errors, 10);
        assert_eq!(WARNINGS.load(Ordering::SeqCst), 1);
        serving.close();
    });
}

/// The errors that strace injects, and how many of them the server counts.
const INJECTED: [(&str, u64); 6] = [
    ("EMFILE", 6),
    ("ENFILE", 6),
    ("ENOMEM", 6),
    ("ENOBUFS", 6),
    ("EPROTO", 6),
    ("ECONNABORTED", 0),
];

/// Promises 13 and 45. The same by strace, which sees every call of the process and makes six fail.
#[test]
fn errors_that_strace_injects_are_got_over() {
    const TEST: &str = "errors_that_strace_injects_are_got_over";
    if let Some(counted) = child::role(TEST) {
        return be_injected(counted.parse().expect("a number"));
    }
    let trial = ["-qq", "-e", "trace=none", "true"];
    if !tools::need("strace")
        || !tools::need_that(
            "the right to trace a child",
            Command::new("strace").args(trial),
        )
    {
        return;
    }
    for (error, counted) in INJECTED {
        let log = std::env::temp_dir().join(format!("withy-strace-{}-{error}", std::process::id()));
        let inject = format!("inject=accept4:error={error}:when=1..6");
        let child = Command::new("strace")
            .args(["-f", "-qq", "-e", "trace=accept4", "-e", &inject, "-o"])
            .arg(&log)
            .arg(std::env::current_exe().expect("a test knows its program"))
            .args(["--exact", TEST, "--nocapture", "--test-threads=1"])
            .env(child::ROLE, format!("{TEST}={counted}"))
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .expect("strace can be started");
        let (output, text) = child::output_of(child);
        assert!(
            output.status.success() && text.contains("1 passed"),
            "{error}: {text}"
        );
        let calls = std::fs::read_to_string(&log).expect("strace has written its log");
        std::fs::remove_file(&log).expect("it is ours");
        assert_eq!(calls.matches("(INJECTED)").count(), 6, "{error}: {calls}");
        // A call that waits in the log in two halves counts once.
        let made = calls
            .lines()
            .filter(|line| line.contains("accept4("))
            .count();
        assert!(made <= 6 + 4, "{error}: {made} calls: {calls}");
    }
}

/// The process that strace watches. One worker, for strace counts by thread.
fn be_injected(counted: u64) {
    within(LIMIT, "a server under strace", || {
        let case = Case::new(1, false, Callers::Coroutines);
        let serving = Serving::start(
            &case,
            |server| server.patience(Duration::MAX),
            |stream, _| echo(stream),
        );
        drop(serving.connect_and_ask());
        serving.until(|now| now.finished == 1);
        assert_eq!(serving.close().accept_errors, counted);
    });
}

each_place! {
    /// Promise 46. Without memory for a stack a connection is closed, the server pauses and goes on. Here a limit of
    /// coroutines stands for the memory.
    #[test]
    fn a_connection_without_a_stack_is_closed_and_the_server_goes_on<P>(_test) {
        within(LIMIT, "a server without stacks", || {
            for full_stealing in [false, true] {
                let runtime = withy::Runtime::builder()
                    .workers(2)
                    .steal(rig::steal(full_stealing))
                    .max_coroutines(6)
                    .build()
                    .unwrap();
                let case = Case::of(runtime, Callers::Coroutines);
                let serving = Serving::<P>::start_at(&case, |server| server, |stream, _| echo(stream));
                let mut served = Vec::new();
                while serving.counters.read().shed == 0 {
                    let client = serving.connect();
                    serving.until(|now| now.active + now.shed > served.len() as u64);
                    served.push(client);
                }
                let turned_away = served.pop().unwrap();
                assert_eq!(read_to_end(&turned_away), b"");
                served.iter().for_each(ask);
                drop(served.pop());
                serving.until(|now| now.active == served.len() as u64);
                // Its coroutine ends a little after it has been counted.
                let is_served = |client: P::Client| {
                    let mut client = client.io();
                    let answer = client.write_all(b"x").map(|()| client.read(&mut [0]));
                    matches!(answer, Ok(Ok(1)))
                };
                until(|| is_served(serving.connect()));
                drop(served);
                serving.until(|now| now.active == 0);
                serving.close();
            }
        });
    }

    /// Promise 47. Where no thread can be started, connections are served all the same: none is needed.
    #[test]
    fn a_server_needs_no_thread_of_its_own<P>(test) {
        const CLIENTS: usize = 50;
        if !alone(test, &[("RUST_MIN_STACK", &THREAD_STACK.to_string())]) {
            return;
        }
        within(LIMIT, "a server without threads", || {
            let case = Case::new(2, false, Callers::Coroutines);
            let serving = settled::<P>(&case, |server| server);
            let all = || (0..CLIENTS).map(|_| serving.connect_and_ask()).collect::<Vec<_>>();
            // Stacks, records and arenas are there from now on.
            drop(all());
            serving.until(|now| now.active == 0);
            threads_may_start(false);
            assert!(std::thread::Builder::new().spawn(|| ()).is_err());
            let clients = all();
            assert_eq!(serving.counters.read().active as usize, CLIENTS);
            clients.iter().for_each(ask);
            drop(clients);
            threads_may_start(true);
            assert_eq!(serving.close().finished as usize, 1 + 2 * CLIENTS);
        });
    }
}
