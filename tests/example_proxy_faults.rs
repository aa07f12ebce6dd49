//! The proxy of the examples, as a program, where something is wrong with its upstreams, or strace watches it.

mod rig;
mod support;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::Duration;

use rig::example::{Example, program};
use rig::tools;
use rig::trace::bytes_moved;
use support::addresses::FullBacklog;
use support::sockets::{fill, is_filled};
use support::{LIMIT, within};

const LOOPBACK: &str = "127.0.0.1:0";
const LEN: usize = 8 << 20;

fn send_all(mut stream: &TcpStream) {
    let mut bytes = vec![0; LEN];
    fill(&mut bytes, 0);
    stream.write_all(&bytes).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
}

fn check_all(mut stream: &TcpStream) {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.len(), LEN);
    assert!(is_filled(&bytes, 0));
}

/// Issue 5. The program's bytes go by splice, both ways, and its log says of each connection how many there were.
#[test]
fn the_proxy_splices_and_counts_each_connection() {
    if !tools::need("strace") {
        return;
    }
    within(2 * LIMIT, "a traced proxy", || {
        let file = |what| {
            let name = format!("withy-example-proxy-{}-{what}", std::process::id());
            std::env::temp_dir().join(name)
        };
        let (trace, log) = (file("trace"), file("log"));
        let upstream = TcpListener::bind(LOOPBACK).unwrap();
        let to = upstream.local_addr().unwrap().to_string();
        let mut strace = Command::new("strace");
        strace
            .args(["-f", "-qq", "-e"])
            .arg("trace=/^(splice|p?readv?2?|p?writev?2?|recv.*|send.*)$")
            .arg("-o")
            .arg(&trace)
            .arg(program("proxy"))
            .env("RUST_LOG", "info")
            .stderr(File::create(&log).unwrap());
        let arguments = ["--listen", LOOPBACK, "--to", &to];
        let proxy = Example::start_by(strace, "proxy", &arguments);
        let client = TcpStream::connect(proxy.address).unwrap();
        let name = client.local_addr().unwrap();
        let (server, _) = upstream.accept().unwrap();
        thread::scope(|s| {
            for stream in [&client, &server] {
                s.spawn(move || send_all(stream));
                s.spawn(move || check_all(stream));
            }
        });
        drop((client, server));
        let told = format!("{name} with {to}: ended; {LEN} bytes there, {LEN} back");
        rig::until(|| fs::read_to_string(&log).unwrap().contains(&told));
        terminate_child_of(proxy.id());
        let (status, said) = proxy.end();
        assert!(status.success(), "{status}: {said}");
        let text = fs::read_to_string(&trace).unwrap();
        // In and out, both ways.
        let spliced = bytes_moved(&text, |call| call == "splice");
        let copied = bytes_moved(&text, |call| call != "splice");
        assert_eq!(spliced, 4 * LEN as u64);
        assert!(copied < 100_000, "{copied} bytes went through the program");
        for path in [trace, log] {
            fs::remove_file(path).unwrap();
        }
    });
}

/// Sends SIGTERM to the one process that this one has started.
fn terminate_child_of(process: u32) {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap();
    let child = children.trim().parse().unwrap();
    // SAFETY: kill touches no memory; its parent lives and has not reaped the child, so the id is its own.
    assert_eq!(unsafe { libc::kill(child, libc::SIGTERM) }, 0);
}

/// Promise 12. An upstream that does not answer at all costs a client the connect timeout; then it gets the next one.
#[test]
fn an_upstream_that_does_not_answer_is_passed_over() {
    within(LIMIT, "an upstream without an answer", || {
        let silent = FullBacklog::new();
        let upstream = TcpListener::bind(LOOPBACK).unwrap();
        let to = [silent.addr, upstream.local_addr().unwrap()].map(|addr| addr.to_string());
        // Only a client finds out: nobody looks before.
        let limits = ["--connect-timeout", "0.2", "--health-interval", "86400"];
        let mut arguments = vec!["--listen", LOOPBACK, "--to", &to[0], "--to", &to[1]];
        arguments.extend(limits);
        let proxy = Example::start("proxy", &arguments);
        for _ in 0..2 {
            let mut client = TcpStream::connect(proxy.address).unwrap();
            let (mut server, _) = upstream.accept().unwrap();
            server.write_all(b"here").unwrap();
            client.read_exact(&mut [0; 4]).unwrap();
        }
    });
}

/// Whether an answer comes soon.
fn is_served(mut client: &TcpStream) -> bool {
    let patience = Duration::from_millis(100);
    client.set_read_timeout(Some(patience)).unwrap();
    client.write_all(b"x").is_ok() && client.read(&mut [0]).is_ok_and(|n| n == 1)
}

/// Promise 45. Without descriptors clients wait or are turned away, but no upstream is to blame; when some are free again, clients are served.
#[test]
fn a_proxy_without_descriptors_blames_no_upstream() {
    const CLIENTS: usize = 60;
    if !tools::need("prlimit") {
        return;
    }
    within(LIMIT, "a proxy without descriptors", || {
        let log = std::env::temp_dir().join(format!("withy-proxy-emfile-{}", std::process::id()));
        let upstream = TcpListener::bind(LOOPBACK).unwrap();
        let to = upstream.local_addr().unwrap().to_string();
        thread::spawn(move || {
            for stream in upstream.incoming().flatten() {
                thread::spawn(move || std::io::copy(&mut &stream, &mut &stream));
            }
        });
        let mut limited = Command::new("prlimit");
        limited
            .arg("--nofile=64:64")
            .arg(program("proxy"))
            .stderr(File::create(&log).unwrap());
        // A look at the upstream's health takes a descriptor, too.
        let arguments = [
            "--listen",
            LOOPBACK,
            "--to",
            &to,
            "--health-interval",
            "0.01",
        ];
        let proxy = Example::start_by(limited, "proxy", &arguments);
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| TcpStream::connect(proxy.address).unwrap())
            .collect();
        // As long as it takes; and then whoever holds what there is holds on to it.
        rig::until(|| clients.iter().any(is_served));
        let served = clients.iter().filter(|client| is_served(client)).count();
        assert!(served < CLIENTS, "{served} were served");
        drop(clients);
        rig::until(|| is_served(&TcpStream::connect(proxy.address).unwrap()));
        let told = fs::read_to_string(&log).unwrap();
        assert!(!told.contains("is down"), "{told}");
        fs::remove_file(log).unwrap();
    });
}

/// A client that ends its half, and an upstream that never ends its own, have the time of `--half-closed`.
#[test]
fn half_closed_connections_end_by_their_limit() {
    within(LIMIT, "a half-closed connection", || {
        let upstream = TcpListener::bind(LOOPBACK).unwrap();
        let to = upstream.local_addr().unwrap().to_string();
        let arguments = ["--listen", LOOPBACK, "--to", &to, "--half-closed", "0.1"];
        let proxy = Example::start("proxy", &arguments);
        let mut client = TcpStream::connect(proxy.address).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let (_server, _) = upstream.accept().unwrap();
        assert!(matches!(client.read(&mut [0]), Ok(0) | Err(_)));
    });
}
