//! No model of the example `models` is crippled: each sets the options of its sockets, and asks the kernel no more than it must. Counted by
//! strace, and looked up in the servers' own sockets.

mod models;
mod rig;
mod support;

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use models::client::Client;
use models::{Downstream, Row, Server, Service, WORKERS, census, rows, soon};
use rig::tools::need;
use rustix::net::sockopt;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use support::within;

const LIMIT: Duration = Duration::from_secs(240);

const REQUESTS: usize = 200;

/// For starts and ends of the server and its connections, whatever the model.
const BESIDES: usize = 40;

/// Calls that move bytes of a request, or say what is waited for. Each request is received and sent once on each of its sockets.
#[test]
fn a_request_costs_no_call_that_could_be_spared() {
    if !need("strace") {
        return;
    }
    within(LIMIT, "counts of calls", || {
        let downstream = Downstream::start();
        for row in rows(1) {
            for (service, sockets) in [(Service::Echo, 1), (Service::Session, 2)] {
                let Some(calls) = count(&row, service, &downstream) else {
                    continue;
                };
                if row.name == "ring-buffer" {
                    // To sleep and to be woken for what has arrived, once on each socket: nobody is woken for what was sent.
                    let made = calls.get("futex").copied().unwrap_or(0);
                    assert!(
                        made <= 2 * sockets * REQUESTS + BESIDES,
                        "{made} calls of futex for {REQUESTS} requests: {calls:?}"
                    );
                }
                for (names, most_per_request) in [
                    (&["recvfrom", "recvmsg"][..], sockets),
                    (&["sendto", "sendmsg"], sockets),
                    (
                        &["epoll_ctl", "ioctl", "fcntl", "setsockopt", "getsockopt"],
                        0,
                    ),
                    (&["accept4"], 0),
                ] {
                    let made: usize = names.iter().filter_map(|&name| calls.get(name)).sum();
                    assert!(
                        made <= most_per_request * REQUESTS + BESIDES,
                        "{} by {} with {service:?} makes {made} calls of {names:?} for {REQUESTS} requests: {calls:?}",
                        row.name,
                        row.poller,
                    );
                }
            }
        }
    });
}

/// How often a server by that model makes each system call for one connection with so many requests.
fn count(row: &Row, service: Service, downstream: &Downstream) -> Option<HashMap<String, usize>> {
    let file = std::env::temp_dir().join(format!("models-calls-{}", std::process::id()));
    let _ = fs::remove_file(&file);
    let path = file.to_str().expect("text");
    let strace = ["strace", "-DD", "-f", "-qq", "-c", "-o", path];
    let server = Server::start_by(&strace, row, service, downstream.addr(), WORKERS)?;
    println!("{server}");
    let mut client = Client::connect(server.addr(), 0);
    client.begin(service);
    for number in 0..REQUESTS {
        let (request, answer) = match service {
            Service::Echo => ("ping\n".to_owned(), "ping\n".to_owned()),
            Service::Session => ("ask x\n".to_owned(), format!("answer {} x\n", number + 1)),
        };
        client.send(request.as_bytes());
        client.expect(answer.as_bytes());
    }
    client.ends();
    client.expect_end();
    server.stop();
    // Written when the last of those that were traced has ended.
    let text = soon("strace's table", || {
        let text = fs::read_to_string(&file).ok()?;
        text.contains("total").then_some(text)
    });
    let _ = fs::remove_file(&file);
    println!("{text}");
    let lines = text.lines().skip(2).filter(|line| !line.starts_with('-'));
    let calls = lines.filter_map(|line| {
        let words: Vec<_> = line.split_ascii_whitespace().collect();
        Some(((*words.last()?).to_owned(), words.get(3)?.parse().ok()?))
    });
    Some(calls.collect())
}

#[test]
fn every_socket_of_every_model_sends_without_delay() {
    within(LIMIT, "options of sockets", || {
        let downstream = Downstream::start();
        for row in rows(1) {
            let Some(server) = Server::start(&row, Service::Session, &downstream) else {
                continue;
            };
            println!("{server}");
            let most = row.at_once.unwrap_or(4).min(4);
            let mut clients: Vec<_> = (0..most)
                .map(|number| Client::connect(server.addr(), number))
                .collect();
            for client in &mut clients {
                client.begin(Service::Session);
                client.exchange(Service::Session);
            }
            let ours = census::members(server.id()).into_iter();
            let found: usize = ours.map(assert_sockets_send_without_delay).sum();
            assert!(found >= 2 * most, "{server} has {found} sockets");
            let found = assert_sockets_send_without_delay(downstream.id());
            assert!(found >= most, "the downstream server has {found} sockets");
            for client in &mut clients {
                client.finish(Service::Session);
            }
            server.stop();
        }
    });
}

/// How many connected ones of TCP that process has.
fn assert_sockets_send_without_delay(id: libc::pid_t) -> usize {
    let pid = Pid::from_raw(id).expect("not zero");
    let process = pidfd_open(pid, PidfdFlags::empty()).expect("it lives");
    let copies = census::descriptors(id)
        .into_iter()
        .filter_map(|fd| pidfd_getfd(&process, fd, PidfdGetfdFlags::empty()).ok());
    let sockets = copies.filter(|fd| {
        sockopt::socket_protocol(fd).is_ok_and(|found| found == Some(rustix::net::ipproto::TCP))
            && sockopt::socket_acceptconn(fd) == Ok(false)
    });
    let delays = sockets.map(|fd| sockopt::tcp_nodelay(&fd).expect("a socket of TCP"));
    let delays: Vec<_> = delays.collect();
    assert!(delays.iter().all(|&is_set| is_set), "{delays:?}");
    delays.len()
}
