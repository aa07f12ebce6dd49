//! With 64 connections open every model of the example `models` is made of the processes, threads and epoll instances that it says.

mod models;
mod rig;
mod support;

use std::time::Duration;

use models::census::{self, Census};
use models::client::Client;
use models::{Downstream, PATIENCE, Server, Service, rows};
use support::within;

const CONNECTIONS: usize = 64;

#[test]
fn every_model_is_what_it_says_it_is() {
    within(Duration::from_secs(240), "a census of each model", || {
        let downstream = Downstream::start();
        for row in rows(CONNECTIONS) {
            for service in [Service::Echo, Service::Session] {
                let Some(server) = Server::start(&row, service, &downstream) else {
                    continue;
                };
                // The rest waits in the kernel's queue.
                let served = row.at_once.map_or(CONNECTIONS, |max| max.min(CONNECTIONS));
                let mut clients: Vec<_> = (0..CONNECTIONS)
                    .map(|number| Client::connect(server.addr(), number))
                    .collect();
                for client in clients.iter_mut().take(served) {
                    client.begin(service);
                    client.exchange(service);
                }
                let expected = Census {
                    processes: row.processes,
                    threads: row.threads,
                    epolls: row.epolls,
                };
                let begin = std::time::Instant::now();
                let mut counted = census::take(server.id());
                // Who has just ended or begun may not have got round to it.
                while counted != expected && begin.elapsed() < PATIENCE {
                    std::thread::sleep(Duration::from_millis(1));
                    counted = census::take(server.id());
                }
                assert_eq!(counted, expected, "{server}");
                drop(clients);
                server.stop();
            }
        }
    });
}
