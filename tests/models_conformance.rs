//! Every model of the example `models` does what its protocol says, both services, whoever the clients are. Each server is a
//! process of its own; clients are std's sockets.

mod models;
mod rig;
mod support;

use std::io::{self, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

use models::client::{Client, noise, send_and_collect, shown, visit};
use models::{Row, Server, Service, census, each, soon};
use socket2::SockRef;
use support::within;

const BOTH: &[Service] = &[Service::Echo, Service::Session];

/// Of one test with all models.
const LIMIT: Duration = Duration::from_secs(240);

fn all(_: &Row) -> bool {
    true
}

fn two_at_once(row: &Row) -> bool {
    row.serves(2)
}

fn has_processes(row: &Row) -> bool {
    row.processes > 1
}

#[test]
fn two_hundred_clients_at_once_get_their_own_answers() {
    within(LIMIT, "200 clients of each model", || {
        each(BOTH, all, |server| {
            thread::scope(|clients| {
                for number in 0..200 {
                    clients.spawn(move || visit(server, number));
                }
            });
        });
    });
}

#[test]
fn requests_that_are_sent_at_once_are_answered_in_turn() {
    within(LIMIT, "pipelined requests", || {
        each(&[Service::Session], all, |server| {
            let mut client = Client::connect(server.addr(), 7);
            let (mut requests, mut answers) = (client.login(), client.welcome());
            for _ in 0..50 {
                requests.extend(client.request(server.service));
                answers.extend(client.answer(server.service));
            }
            requests.extend(b"quit\n");
            answers.extend(client.bye());
            let got = send_and_collect(&mut client, &requests, false);
            assert!(got == answers, "got {:?}", shown(&got));
        });
    });
}

#[test]
fn a_client_that_has_shut_down_its_writing_half_gets_everything() {
    within(LIMIT, "half-closed connections", || {
        each(BOTH, all, |server| {
            let mut client = Client::connect(server.addr(), 3);
            let (requests, answers) = match server.service {
                Service::Echo => (noise(3, 1_000_000), noise(3, 1_000_000)),
                Service::Session => {
                    let (mut requests, mut answers) = (client.login(), client.welcome());
                    for _ in 0..5 {
                        requests.extend(client.request(server.service));
                        answers.extend(client.answer(server.service));
                    }
                    (requests, answers)
                }
            };
            let got = send_and_collect(&mut client, &requests, true);
            assert!(
                got == answers,
                "got {} bytes, expected {}: {:?}",
                got.len(),
                answers.len(),
                shown(&got)
            );
            // And one that never said anything.
            let mut silent = Client::connect(server.addr(), 4);
            silent.ends();
            silent.expect_end();
        });
    });
}

#[test]
fn a_reset_in_the_middle_harms_nobody_else() {
    within(LIMIT, "resets", || {
        each(BOTH, all, |server| {
            let mut witness = server.row.serves(2).then(|| {
                let mut witness = Client::connect(server.addr(), 1);
                witness.begin(server.service);
                witness.exchange(server.service);
                witness
            });
            for number in 2..22 {
                let mut client = Client::connect(server.addr(), number);
                match (number % 4, server.service) {
                    (0, _) => {}
                    (1, _) => client.send(b"log"),
                    (2, Service::Echo) => {
                        client.send(b"x");
                        client.expect(b"x");
                        client.send(&noise(1, 100_000));
                    }
                    (2, Service::Session) => {
                        client.begin(server.service);
                        client.send(b"ask you\nask me\nask");
                    }
                    _ => client.send(b"login you\nask one\nask two\nquit\nand more"),
                }
                client.reset();
            }
            if let Some(witness) = &mut witness {
                witness.exchange(server.service);
                witness.finish(server.service);
            }
            visit(server, 99);
        });
    });
}

/// More at a time than any queue within a server holds, on one core: whoever fills a queue does so before it is emptied.
#[test]
fn six_hundred_clients_that_ask_and_leave_at_once_are_all_served() {
    const CLIENTS: usize = 600;
    const REQUESTS: usize = 20;
    within(LIMIT, "600 clients at once", || {
        // Without those that have a thread or a process for each; and `select` has bits for 1,024 descriptors.
        let has_room = |row: &Row| row.at_once.is_none() && row.poller != "select";
        each(&[Service::Session], has_room, |server| {
            let connect = |number| {
                let mut client = Client::connect(server.addr(), number);
                client.begin(server.service);
                client
            };
            let mut clients: Vec<_> = (1..=CLIENTS).map(connect).collect();
            let mut witness = connect(0);
            server.share_one_core();
            let mut answers = vec![Vec::new(); CLIENTS];
            server.stand_still(|| {
                for (client, answers) in clients.iter_mut().zip(&mut answers) {
                    for _ in 0..REQUESTS {
                        let request = client.request(server.service);
                        client.send(&request);
                        answers.extend(client.answer(server.service));
                    }
                }
            });
            for (client, answers) in clients.iter_mut().zip(&answers) {
                client.expect(answers);
            }
            server.stand_still(|| drop(clients));
            witness.exchange(server.service);
            witness.finish(server.service);
        });
    });
}

#[test]
fn a_client_that_sends_byte_by_byte_holds_nobody_up() {
    within(LIMIT, "slow writers", || {
        each(BOTH, two_at_once, |server| {
            let mut slow = Client::connect(server.addr(), 5);
            let (mut requests, mut answers) = (slow.login(), slow.welcome());
            requests.extend(slow.request(Service::Session));
            answers.extend(slow.answer(Service::Session));
            for (index, byte) in requests.iter().enumerate() {
                slow.send(&[*byte]);
                if index % 8 == 0 {
                    visit(server, 100 + index);
                }
            }
            match server.service {
                Service::Echo => slow.expect(&requests),
                Service::Session => slow.expect(&answers),
            }
            slow.finish(server.service);
        });
    });
}

#[test]
fn a_client_that_does_not_read_costs_no_memory_and_loses_nothing() {
    within(LIMIT, "clients that do not read", || {
        let bytes = noise(6, 32 << 20);
        each(&[Service::Echo], all, |server| {
            visit(server, 0);
            let mut client = Client::connect(server.addr(), 6);
            SockRef::from(&client.stream)
                .set_recv_buffer_size(64 << 10)
                .expect("a size that the kernel takes");
            let before = census::memory_bytes(server.id());
            let sent = fill(&client, &bytes);
            if server.row.serves(2) {
                visit(server, 1);
            }
            assert_bounded(server, before);
            let rest = &bytes[sent..bytes.len().min(sent + (1 << 20))];
            let got = send_and_collect(&mut client, rest, true);
            assert!(got == bytes[..sent + rest.len()], "got {} bytes", got.len());
        });
    });
}

#[test]
fn a_client_that_sends_a_flood_of_requests_costs_no_memory() {
    within(LIMIT, "floods of requests", || {
        each(&[Service::Session], all, |server| {
            visit(server, 0);
            let mut client = Client::connect(server.addr(), 6);
            client.begin(server.service);
            let before = census::memory_bytes(server.id());
            let request = client.request(server.service);
            fill(&client, &request.repeat((32 << 20) / request.len()));
            client.expect(&client.answer(server.service));
            if server.row.serves(2) {
                visit(server, 1);
            }
            assert_bounded(server, before);
            client.reset();
        });
    });
}

/// Sends until nothing more is taken; how much was.
fn fill(client: &Client, bytes: &[u8]) -> usize {
    let mut stream = &client.stream;
    let set = |limit| stream.set_write_timeout(Some(limit)).expect("not zero");
    set(Duration::from_millis(50));
    let mut sent = 0;
    while sent < bytes.len() {
        match stream.write(&bytes[sent..]) {
            Ok(length) => sent += length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    set(models::PATIENCE);
    sent
}

/// Room for what an allocator keeps, a process for the visitor, the proactor's ring of buffers (4 MiB); not for what was sent.
fn assert_bounded(server: &Server, before_bytes: u64) {
    let after = census::memory_bytes(server.id());
    let growth = after.saturating_sub(before_bytes);
    assert!(growth < 8 << 20, "{server} has grown by {growth} bytes");
}

#[test]
fn nonsense_is_answered_by_an_error_or_the_end() {
    within(LIMIT, "nonsense", || {
        each(&[Service::Session], all, |server| {
            for (number, (said, welcome)) in [
                ("hello\n", ""),
                ("ask me\n", ""),
                ("quit\n", ""),
                ("login\n", ""),
                ("login \n", ""),
                ("\n", ""),
                ("login one\nlogin two\n", "welcome one\n"),
                ("login one\nwhat\n", "welcome one\n"),
                ("login one\nask\n", "welcome one\n"),
            ]
            .into_iter()
            .enumerate()
            {
                let mut client = Client::connect(server.addr(), number);
                client.send(said.as_bytes());
                let got = client.rest();
                let error = got.strip_prefix(welcome.as_bytes()).unwrap_or(&got);
                assert!(
                    error.starts_with(b"error ") && error.ends_with(b"\n"),
                    "to {said:?} came {:?}",
                    shown(&got)
                );
            }
            for (begin, rest) in [
                (&b""[..], vec![b'x'; 5000]),
                (b"", vec![b'x'; 1_000_000]),
                (b"", b"login \xff\xfe\n".to_vec()),
                (b"login one\n", b"ask \xff\n".to_vec()),
                (
                    b"login one\n",
                    [b"ask ".to_vec(), vec![b'y'; 5000]].concat(),
                ),
                (b"", vec![0; 1024]),
            ] {
                let mut client = Client::connect(server.addr(), 0);
                client.send(begin);
                // It may be refused in the middle.
                let _ = client.stream.write_all(&rest);
                let got = client.rest();
                let got = got.strip_prefix(b"welcome one\n").unwrap_or(&got);
                assert!(
                    got.is_empty() || got.starts_with(b"error "),
                    "to {:?} came {:?}",
                    shown(&rest),
                    shown(got)
                );
            }
            // A line of 1,024 bytes is none too long.
            let mut client = Client::connect(server.addr(), 1);
            client.begin(server.service);
            let text = "z".repeat(1024 - "ask \n".len());
            client.send(format!("ask {text}\n").as_bytes());
            client.expect(format!("answer 1 {text}\n").as_bytes());
            client.ends();
            client.expect_end();
        });
    });
}

#[test]
fn sigterm_refuses_who_comes_and_serves_who_is_there_to_the_end() {
    within(LIMIT, "SIGTERM", || {
        each(BOTH, all, |server| {
            let mut client = Client::connect(server.addr(), 8);
            client.begin(server.service);
            client.exchange(server.service);
            server.sigterm();
            soon("refused connections", || {
                TcpStream::connect(server.addr()).is_err().then_some(())
            });
            (0..2).for_each(|_| client.exchange(server.service));
            client.finish(server.service);
        });
    });
}

#[test]
fn sigterm_ends_who_has_served_nobody() {
    within(LIMIT, "SIGTERM without clients", || each(BOTH, all, |_| {}));
}

/// In models with worker processes another takes the place of one that dies. In the others a client's process is nobody else's.
#[test]
fn a_worker_process_that_is_killed_harms_its_own_connections_only() {
    within(LIMIT, "killed workers", || {
        each(BOTH, has_processes, |server| {
            visit(server, 0);
            let workers = soon("workers", || {
                let mut members = census::members(server.id());
                members.retain(|&id| id != server.id());
                (server.row.name == "fork" || !members.is_empty()).then_some(members)
            });
            for id in &workers {
                // SAFETY: takes numbers; its parent waits for it, so that another could have its number only now.
                unsafe { libc::kill(*id, libc::SIGKILL) };
            }
            let left = || {
                census::members(server.id())
                    .iter()
                    .any(|id| workers.contains(id))
            };
            // Who does not wait for workers finds out when it needs one: knock until all is as before.
            soon("the ends of the killed", || {
                let knock = TcpStream::connect(server.addr()).expect("it listens");
                let _ = knock.shutdown(Shutdown::Write);
                (!left()).then_some(())
            });
            (0..8).for_each(|number| visit(server, number));
        });
    });
}

#[test]
fn processes_die_with_the_one_that_forked_them() {
    within(LIMIT, "orphans", || {
        let downstream = models::Downstream::start();
        for row in models::rows(1).iter().filter(|row| has_processes(row)) {
            let server = Server::start(row, Service::Echo, &downstream).expect("nothing special");
            let client = Client::connect(server.addr(), 0);
            soon("a worker", || {
                (census::members(server.id()).len() > 1).then_some(())
            });
            // SAFETY: takes numbers; the child was not waited for, so the number is its own.
            unsafe { libc::kill(server.id(), libc::SIGKILL) };
            soon("the end of the orphans", || {
                census::living(server.id()).is_empty().then_some(())
            });
            drop(client);
        }
    });
}

/// How many there are is chance: the kernel itself looks again before a wait ends.
#[test]
fn who_shares_a_listener_tells_of_wake_ups_in_vain_at_the_end() {
    within(LIMIT, "wasted wake-ups", || {
        let downstream = models::Downstream::start();
        for row in models::rows(1) {
            let Some(is_exclusive) = is_exclusive(&row) else {
                continue;
            };
            let server = Server::start(&row, Service::Echo, &downstream).expect("nothing special");
            let workers = soon("workers that wait", || {
                let mut workers = census::living(server.id());
                workers.retain(|&id| id != server.id());
                let is_one = |&id: &_| census::epoll_masks(id).len() == 1;
                (workers.len() == models::WORKERS && workers.iter().all(is_one)).then_some(workers)
            });
            for &worker in &workers {
                let has_flag = census::epoll_masks(worker)[0] & libc::EPOLLEXCLUSIVE as u32 != 0;
                assert_eq!(has_flag, is_exclusive, "{server}");
            }
            (0..100).for_each(|number| visit(&server, number));
            let said = server.stop();
            let wasted = said.strip_prefix("wasted ").expect("it tells of them");
            let wasted: u64 = wasted.trim_end().parse().expect("a number");
            println!(
                "{}: {wasted} wake-ups by 100 connections were in vain",
                row.name
            );
        }
    });
}

/// Whether the kernel is to wake one of those who watch the listener. `None`: it is not shared.
fn is_exclusive(row: &Row) -> Option<bool> {
    match row.name.as_str() {
        "shared-listener" => Some(false),
        "shared-listener-exclusive" => Some(true),
        _ => None,
    }
}
