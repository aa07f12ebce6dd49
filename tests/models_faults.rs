//! What has gone wrong, or may go wrong, in models of the example `models` at a moment that no client can choose: signals that come early or
//! twice, events that come late, workers that are gone, calls that fail. strace makes the calls fail.

mod models;
mod rig;
mod support;

use std::io::Write;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use models::client::{Client, visit};
use models::{Downstream, Row, Server, Service, WORKERS, census, each, rows, soon};
use rig::tools::{need, need_that};
use socket2::SockRef;
use support::within;

const LIMIT: Duration = Duration::from_secs(240);

fn row(name: &str) -> Row {
    let row = rows(1).into_iter().find(|row| row.name == name);
    row.expect("a row with that name")
}

/// The number of the listener's descriptor is free then, and the next socket has it.
#[test]
fn a_second_sigterm_harms_nobody_who_is_being_served() {
    within(LIMIT, "two signals", || {
        each(
            &[Service::Session],
            |row| row.serves(2),
            |server| {
                let mut client = Client::connect(server.addr(), 1);
                let login = client.login();
                client.send(&login[..3]);
                // Whoever comes later is served, so the first is in.
                (2..6).for_each(|number| visit(server, number));
                server.sigterm();
                soon("refused connections", || {
                    TcpStream::connect(server.addr()).is_err().then_some(())
                });
                // Time for those who found the listener shut down to close it.
                thread::sleep(Duration::from_millis(20));
                client.send(&login[3..]);
                let welcome = client.welcome();
                client.expect(&welcome);
                server.sigterm();
                (0..10).for_each(|_| client.exchange(server.service));
                client.finish(server.service);
            },
        );
    });
}

#[test]
fn a_sigterm_before_the_server_listens_is_not_forgotten() {
    if !need("strace") {
        return;
    }
    within(LIMIT, "early signals", || {
        for row in rows(1) {
            let status = end_of(&row, "listen:signal=TERM:when=1");
            // 77: the kernel has no means for it.
            assert!(
                matches!(status.code(), Some(0 | 77)),
                "{} by {}: {status}",
                row.name,
                row.poller
            );
        }
    });
}

/// Three events of one batch: a connection ends, another gets its place, and then word comes that the former's other socket has
/// failed.
#[test]
fn late_word_of_a_connection_that_has_ended_harms_nobody_who_has_its_place() {
    within(LIMIT, "late events", || {
        for row in rows(1).iter().filter(|row| row.serves(WORKERS + 1)) {
            let downstream = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
            let behind = downstream.local_addr().expect("it is bound");
            let Some(server) = Server::start_by(&[], row, Service::Session, behind, 1) else {
                continue;
            };
            println!("{server}");
            for round in 0..5 {
                let mut old = Client::connect(server.addr(), round);
                old.begin(Service::Session);
                let (backend, _) = downstream.accept().expect("somebody has logged in");
                SockRef::from(&backend)
                    .set_linger(Some(Duration::ZERO))
                    .expect("linger can be set");
                let mut new = None;
                server.stand_still(|| {
                    let mut arrive = || {
                        let new = new.insert(Client::connect(server.addr(), 100 + round));
                        let login = new.login();
                        new.send(&login);
                    };
                    // The late word is of the downstream server's socket, or of the client's.
                    if round % 2 == 0 {
                        old.reset();
                        arrive();
                        drop(backend);
                    } else {
                        drop(backend);
                        arrive();
                        old.reset();
                    }
                });
                let mut new = new.expect("it was made");
                let welcome = new.welcome();
                new.expect(&welcome);
                let (_backend, _) = downstream.accept().expect("somebody has logged in");
                new.send(b"quit\n");
                let bye = new.bye();
                new.expect(&bye);
                new.expect_end();
            }
            server.stop();
        }
    });
}

/// A worker is forked while the master holds a client's socket: no copy of it may stay in the worker.
#[test]
fn who_comes_when_a_worker_has_gone_sees_the_end() {
    within(LIMIT, "killed workers", || {
        let is_one = |row: &Row| row.processes > 1 && row.name != "fork";
        each(&[Service::Echo, Service::Session], is_one, |server| {
            visit(server, 0);
            for id in census::members(server.id()) {
                if id != server.id() {
                    // SAFETY: takes numbers; its parent waits for it, so that another could have its number only now.
                    unsafe { libc::kill(id, libc::SIGKILL) };
                }
            }
            soon("the ends of the workers", || {
                (census::living(server.id()) == [server.id()]).then_some(())
            });
            (0..8).for_each(|number| visit(server, number));
        });
    });
}

/// Starts it under strace, which meddles with its calls.
fn injected(row: &Row, service: Service, calls: &str, inject: &str) -> Server {
    let downstream = Downstream::start();
    let (trace, inject) = (format!("trace={calls}"), format!("inject={inject}"));
    let wrapper = [
        "strace",
        "-DD",
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        &trace,
        "-e",
        &inject,
    ];
    assert_eq!(service, Service::Echo, "its downstream server ends here");
    Server::start_by(&wrapper, row, service, downstream.addr(), WORKERS).expect("nothing special")
}

#[test]
fn a_master_that_may_not_pass_a_descriptor_yet_passes_it_later() {
    if !need("strace") {
        return;
    }
    within(LIMIT, "a descriptor that is passed", || {
        for error in ["ETOOMANYREFS", "ENOBUFS"] {
            let inject = format!("sendmsg:error={error}:when=2..4");
            let server = injected(
                &row("descriptor-passing"),
                Service::Echo,
                "sendmsg",
                &inject,
            );
            (0..8).for_each(|number| visit(&server, number));
            server.stop();
        }
    });
}

/// A ring full of ends, none of which is answered, and somebody for whom there is no room: when there is, he must be told, also if
/// all were read before the I/O thread has gone to sleep. They have one processor, and the business thread goes first.
#[test]
fn who_finds_the_ring_full_is_served_when_there_is_room() {
    if !need_that(
        "real-time scheduling",
        Command::new("chrt").args(["-f", "1", "true"]),
    ) {
        return;
    }
    within(LIMIT, "a full ring", || {
        let downstream = Downstream::start();
        let server = Server::start(&row("ring-buffer"), Service::Echo, &downstream);
        let server = server.expect("nothing special");
        let threads = soon("both threads", || {
            Some(census::threads(server.id())).filter(|threads| threads.len() == 2)
        });
        server.share_one_core();
        let business = threads.iter().find(|&&thread| thread != server.id());
        go_first(*business.expect("a second thread"));
        let mut clients: Vec<_> = (0..400)
            .map(|number| Client::connect(server.addr(), number))
            .collect();
        let mut last = clients.pop().expect("the last");
        last.exchange(Service::Echo);
        // Both sleep.
        thread::sleep(Duration::from_millis(50));
        server.stand_still(|| {
            clients.into_iter().for_each(Client::reset);
            last.send(b"x");
        });
        last.expect(b"x");
        last.finish(Service::Echo);
        server.stop();
    });
}

/// It takes the processor from others as soon as it is woken.
fn go_first(thread: libc::pid_t) {
    let priority = libc::sched_param { sched_priority: 1 };
    // SAFETY: reads a parameter of ours.
    let set = unsafe { libc::sched_setscheduler(thread, libc::SCHED_FIFO, &raw const priority) };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
}

#[test]
fn a_thread_that_cannot_be_started_costs_its_connection_only() {
    if !need("strace") {
        return;
    }
    within(LIMIT, "threads that cannot be started", || {
        for name in [
            "thread-per-connection",
            "reactor-thread-per-request",
            "reactor-thread-per-connection",
        ] {
            let inject = "clone3:error=EAGAIN:when=1";
            let server = injected(&row(name), Service::Echo, "clone3", inject);
            let mut refused = Client::connect(server.addr(), 1);
            let _ = refused.stream.write_all(b"a");
            let _ = refused.rest();
            (2..6).for_each(|number| visit(&server, number));
            server.stop();
        }
    });
}

/// How a server ends that nobody stops, and for which strace meddles with a call.
fn end_of(row: &Row, inject: &str) -> ExitStatus {
    let call = inject.split(':').next().expect("the name of a call");
    let mut server = Command::new("strace")
        .args(["-DD", "-f", "-qq", "-o", "/dev/null"])
        .args([
            "-e",
            &format!("trace={call}"),
            "-e",
            &format!("inject={inject}"),
        ])
        .arg(models::program())
        .args(["serve", "--model", &row.name, "--poller", row.poller])
        .args(["--workers", &models::WORKERS.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("strace can be run");
    let begin = Instant::now();
    loop {
        if let Some(status) = server.try_wait().expect("it is our child") {
            return status;
        }
        if begin.elapsed() > models::PATIENCE {
            let _ = server.kill();
            panic!("waited for the end of {} by {}", row.name, row.poller);
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Those that have started would wait for ever.
#[test]
fn threads_that_cannot_be_started_at_the_beginning_end_the_server() {
    if !need("strace") {
        return;
    }
    within(LIMIT, "servers without all of their threads", || {
        for (name, nth) in [
            ("leader-followers", 1),
            ("prethreaded", 2),
            ("reactor-and-pool", 5),
            ("reactors-in-threads", 2),
        ] {
            let inject = format!("clone3:error=EAGAIN:when={nth}");
            let status = end_of(&row(name), &inject);
            assert!(!status.success(), "{name}: {status}");
        }
    });
}

/// As many as the pool has threads send without a pause.
#[test]
fn those_who_send_without_a_pause_hold_nobody_up() {
    within(LIMIT, "floods", || {
        let is_one = |row: &Row| row.style == "requests" && row.serves(100);
        each(&[Service::Session], is_one, |server| {
            let flood = b"ask again\n".repeat(100_000);
            let clients: Vec<_> = (0..32 * WORKERS)
                .map(|number| {
                    let mut client = Client::connect(server.addr(), number);
                    client.begin(server.service);
                    client
                })
                .collect();
            let readers: Vec<_> = clients
                .iter()
                .map(|client| {
                    let mut stream = client.stream.try_clone().expect("a descriptor is free");
                    thread::spawn(move || std::io::copy(&mut stream, &mut std::io::sink()))
                })
                .collect();
            for client in &clients {
                client.stream.set_nonblocking(true).expect("a socket");
                // As much as the kernel takes: thousands of requests.
                let _ = (&client.stream).write(&flood);
                client.stream.set_nonblocking(false).expect("a socket");
            }
            visit(server, 99);
            for client in clients {
                let _ = client.stream.shutdown(Shutdown::Both);
                client.reset();
            }
            for reader in readers {
                let _ = reader.join().expect("it does not panic");
            }
        });
    });
}

/// A read ends at urgent data, and what stands behind it is told of together with what comes before: nobody may take the first for all.
#[test]
fn urgent_data_keeps_nothing_back() {
    within(LIMIT, "urgent data", || {
        // tokio takes a short read for the last, and goes on when more comes: nothing that its user can change.
        let is_ours = |row: &Row| row.style != "async";
        each(&[Service::Echo], is_ours, |server| {
            let mut client = Client::connect(server.addr(), 0);
            client.send(b"in");
            client.expect(b"in");
            server.stand_still(|| {
                client.send(b"before");
                let urgent = SockRef::from(&client.stream).send_out_of_band(b"!");
                assert_eq!(urgent.expect("there is room"), 1);
                client.send(b"after");
            });
            client.expect(b"beforeafter");
            client.finish(server.service);
        });
    });
}
