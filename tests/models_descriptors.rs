//! What every model of the example `models` does when descriptors run out: it waits or refuses, it neither spins nor ends, and goes on
//! when there are descriptors again.

mod models;
mod rig;
mod support;

use std::io::Write;
use std::thread;
use std::time::Duration;

use models::client::{Client, visit};
use models::{Downstream, Row, Server, Service, WORKERS, census, rows, soon};
use support::within;

const LIMIT: Duration = Duration::from_secs(240);

/// More than any process of a server may take in.
const CLIENTS: usize = 40;

/// Descriptors that each process may have beyond those that it has.
const SPARE: usize = 9;

/// Some get one for a client and then none for the downstream server.
#[test]
fn a_login_without_a_descriptor_ends_no_server() {
    within(LIMIT, "servers without descriptors", || {
        let downstream = Downstream::start();
        for row in rows(1) {
            run_out(&row, Service::Session, WORKERS, &downstream);
        }
    });
}

/// Whoever waits for a descriptor must not be who would free one.
#[test]
fn a_single_worker_without_descriptors_goes_on_serving_and_does_not_spin() {
    within(LIMIT, "servers of one worker", || {
        let downstream = Downstream::start();
        // Where a worker has one connection there is nothing to be seen.
        let rows = rows(1).into_iter().filter(|row| row.serves(WORKERS + 1));
        for row in rows {
            run_out(&row, Service::Echo, 1, &downstream);
        }
    });
}

fn run_out(row: &Row, service: Service, workers: usize, downstream: &Downstream) {
    let started = Server::start_by(&[], row, service, downstream.addr(), workers);
    let Some(server) = started else {
        return;
    };
    println!("{server}");
    let mut first = Client::connect(server.addr(), 0);
    first.begin(service);
    first.exchange(service);
    census::members(server.id()).into_iter().for_each(leave_few);
    let clients: Vec<_> = (1..CLIENTS)
        .map(|number| {
            let mut client = Client::connect(server.addr(), number);
            // It may have been refused.
            let login = client.login();
            let _ = client.stream.write_all(&login);
            client
        })
        .collect();
    // Those that it can take in are in.
    first.exchange(service);
    thread::sleep(Duration::from_millis(100));
    let before = census::cpu_ticks(server.id());
    thread::sleep(Duration::from_millis(400));
    let spent = census::cpu_ticks(server.id()) - before;
    assert!(spent < 5, "{server} spends {spent} ticks of 40 on nothing");
    first.exchange(service);
    drop(clients);
    soon("descriptors", || {
        // Where one is served at a time, it is the first.
        (!row.serves(2) || is_served(&server)).then_some(())
    });
    first.exchange(service);
    first.finish(service);
    visit(&server, 99);
    server.stop();
}

/// Whether somebody who comes now gets an answer, and no end.
fn is_served(server: &Server) -> bool {
    let mut client = Client::connect(server.addr(), 98);
    let (said, expected) = match server.service {
        Service::Echo => (b"x\n".to_vec(), b"x\n".to_vec()),
        Service::Session => (client.login(), client.welcome()),
    };
    if client.stream.write_all(&said).is_err() {
        return false;
    }
    client.ends();
    client.rest() == expected
}

/// Lowers the limit of a process, so that so many numbers are free.
fn leave_few(id: libc::pid_t) {
    let taken = census::descriptors(id);
    let mut free = (0..).filter(|fd| !taken.contains(fd));
    let first_too_many = free.nth(SPARE).expect("they do not end");
    let limit = libc::rlimit {
        rlim_cur: first_too_many as u64,
        rlim_max: first_too_many as u64,
    };
    // SAFETY: reads a limit of ours.
    let set = unsafe { libc::prlimit(id, libc::RLIMIT_NOFILE, &limit, std::ptr::null_mut()) };
    assert_eq!(set, 0, "its limit can be set");
}

/// select has bits for 1,024 descriptors. Who comes when they are taken is refused, and harms nobody else.
#[test]
fn who_finds_no_bit_for_select_is_refused_and_nobody_else() {
    within(LIMIT, "1,100 clients of select", || {
        let downstream = Downstream::start();
        let row = rows(1).into_iter().find(|row| row.poller == "select");
        let server = Server::start(&row.expect("a row"), Service::Echo, &downstream);
        let server = server.expect("nothing special");
        let mut clients: Vec<_> = (0..1100)
            .map(|number| Client::connect(server.addr(), number))
            .collect();
        let mut last = clients.pop().expect("the last");
        last.expect_end();
        for number in [0, 1, 500, 900] {
            clients[number].exchange(Service::Echo);
        }
        drop(clients);
        soon("bits", || is_served(&server).then_some(()));
        visit(&server, 1);
        server.stop();
    });
}
