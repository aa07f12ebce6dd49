//! The proxy of the examples, as a program: what it tells at its end of each connection, and the limits of that.

mod rig;
mod support;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use rig::example::{Example, program};
use rig::until;
use support::sockets::reset;
use support::{LIMIT, within};

/// A proxy in front of one upstream, which the test plays.
struct Proxied {
    proxy: Example,
    upstream: TcpListener,
    log: PathBuf,
}

impl Proxied {
    fn start(name: &str, more: &[&str]) -> Proxied {
        let file = format!("withy-proxy-counts-{name}-{}", std::process::id());
        let log = std::env::temp_dir().join(file);
        let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = upstream.local_addr().unwrap().to_string();
        let mut command = Command::new(program("proxy"));
        command
            .env("RUST_LOG", "info")
            .stderr(File::create(&log).unwrap());
        // Nobody looks at the upstream's health: each connection is a client's.
        let arguments = ["--to", &to, "--health-interval", "86400"];
        let arguments = [&["--listen", "127.0.0.1:0"], &arguments[..], more].concat();
        Proxied {
            proxy: Example::start_by(command, "proxy", &arguments),
            upstream,
            log,
        }
    }

    /// A client, and the upstream's end of its connection; so many bytes have gone each way.
    fn exchange(&self, there: usize, back: usize) -> (TcpStream, TcpStream) {
        let mut client = TcpStream::connect(self.proxy.address).unwrap();
        let (mut server, _) = self.upstream.accept().unwrap();
        client.write_all(&vec![1; there]).unwrap();
        server.read_exact(&mut vec![0; there]).unwrap();
        server.write_all(&vec![2; back]).unwrap();
        client.read_exact(&mut vec![0; back]).unwrap();
        (client, server)
    }

    /// What it tells of a client that has ended so.
    fn entry(&self, client: SocketAddr, end: &str, there: usize, back: usize) -> String {
        let to = self.upstream.local_addr().unwrap();
        format!("{client} with {to}: {end}; {there} bytes there, {back} back")
    }

    /// Waits until the log has told so.
    fn until_told(&self, entry: &str) {
        until(|| fs::read_to_string(&self.log).unwrap().contains(entry));
    }
}

impl Drop for Proxied {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.log);
    }
}

fn ended(streams: (TcpStream, TcpStream)) -> SocketAddr {
    let name = streams.0.local_addr().unwrap();
    for stream in [&streams.0, &streams.1] {
        stream.shutdown(Shutdown::Write).unwrap();
    }
    assert_eq!((&streams.0).read(&mut [0]).unwrap(), 0);
    name
}

/// Issue 5. Those that ended, were reset and were cut off: each with the bytes that it has passed both ways, and in the sum of its upstream.
#[test]
fn each_connection_is_told_with_its_bytes_however_it_ended() {
    within(LIMIT, "a report", || {
        for second_signal in [false, true] {
            let grace = ["--grace", if second_signal { "600" } else { "0.05" }];
            let name = format!("each{second_signal}");
            let mut proxied = Proxied::start(&name, &grace);
            let orderly = ended(proxied.exchange(10, 20));
            let (client, _server) = proxied.exchange(30, 40);
            let broken = client.local_addr().unwrap();
            reset(client);
            let (_client, server) = proxied.exchange(50, 60);
            let by_server = _client.local_addr().unwrap();
            reset(server);
            let (open, _open) = proxied.exchange(70, 80);
            let open = (open.local_addr().unwrap(), open);
            let entries = [
                proxied.entry(orderly, "ended", 10, 20),
                proxied.entry(broken, "connection reset", 30, 40),
                proxied.entry(by_server, "connection reset", 50, 60),
            ];
            entries.iter().for_each(|entry| proxied.until_told(entry));
            proxied.proxy.send(libc::SIGTERM);
            assert!(proxied.proxy.line().starts_with("SIGTERM"));
            if second_signal {
                proxied.proxy.send(libc::SIGTERM);
            }
            let cut = proxied.entry(open.0, "was cut off", 70, 80);
            proxied.until_told(&cut);
            let sum = format!(
                "{}: 4 connections, 160 bytes there, 200 back",
                proxied.upstream.local_addr().unwrap()
            );
            let said = said(proxied);
            for line in entries.iter().chain([&cut, &sum]) {
                assert!(said.lines().any(|said| said == line), "{line}\n{said}");
            }
            let all =
                "3 connections finished, 1 were cut off, 0 found no upstream, 0 were not served";
            assert!(said.ends_with(&format!("{all}\n")), "{said}");
        }
    });
}

/// Waits for the end of a proxy that was told to, and gives what it has said.
fn said(mut proxied: Proxied) -> String {
    let (mut rest, mut line) = (String::new(), proxied.proxy.line());
    while !line.is_empty() {
        rest += &line;
        line = proxied.proxy.line();
    }
    rest
}

/// Many that are cut off at the same time, each with its own count.
#[test]
fn all_that_are_cut_off_together_are_told() {
    within(LIMIT, "many that are cut off", || {
        let proxied = Proxied::start("together", &["--grace", "0.05"]);
        let open: Vec<_> = (0..100).map(|n| proxied.exchange(n, 2 * n)).collect();
        let entries: Vec<_> = open
            .iter()
            .enumerate()
            .map(|(n, (client, _))| {
                proxied.entry(client.local_addr().unwrap(), "was cut off", n, 2 * n)
            })
            .collect();
        proxied.proxy.send(libc::SIGTERM);
        let said = said(proxied);
        for entry in entries {
            assert!(said.contains(&entry), "{entry}\n{said}");
        }
        assert!(
            said.contains("0 connections finished, 100 were cut off"),
            "{said}"
        );
    });
}

/// Law 8. Of the last ones a line each, as many as were asked for; of the others their number.
#[test]
fn the_list_of_connections_has_a_limit() {
    within(LIMIT, "a bounded report", || {
        for listed in [3, 0] {
            let limit = ["--list", &listed.to_string()];
            let proxied = Proxied::start(&format!("limit{listed}"), &limit);
            let entries: Vec<_> = (1..=10)
                .map(|n| {
                    let client = ended(proxied.exchange(n, n));
                    let entry = proxied.entry(client, "ended", n, n);
                    // One after another.
                    proxied.until_told(&entry);
                    entry
                })
                .collect();
            proxied.proxy.send(libc::SIGTERM);
            let said = said(proxied);
            let told: Vec<_> = said
                .lines()
                .filter(|line| line.contains(" with "))
                .collect();
            assert_eq!(told, entries[10 - listed..]);
            let others = format!("and {} connections that ended before these\n", 10 - listed);
            assert!(said.contains(&others), "{said}");
            assert!(
                said.contains(": 10 connections, 55 bytes there, 55 back"),
                "{said}"
            );
        }
    });
}

/// Promise 48. No more connections at once than were asked for: the next one waits until one has ended.
#[test]
fn connections_beyond_the_limit_wait() {
    within(LIMIT, "a full proxy", || {
        let proxied = Proxied::start("full", &["--connections", "1"]);
        let first = proxied.exchange(1, 1);
        let mut second = TcpStream::connect(proxied.proxy.address).unwrap();
        second.write_all(b"x").unwrap();
        proxied.upstream.set_nonblocking(true).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        assert!(proxied.upstream.accept().is_err());
        proxied.upstream.set_nonblocking(false).unwrap();
        ended(first);
        let (mut server, _) = proxied.upstream.accept().unwrap();
        server.read_exact(&mut [0]).unwrap();
    });
}
