//! The UDP echo server of the examples, as a program, with std's sockets, python and socat.

mod rig;
mod support;

use std::io::Write;
use std::net::{SocketAddr, UdpSocket};
use std::process::{Command, Stdio};
use std::time::Duration;

use rig::example::Example;
use rig::tools::{self, Python};
use support::sockets::fill;
use support::{LIMIT, within};

/// How long an echo is waited for: longer than any takes that is not lost.
const PATIENCE: Duration = Duration::from_secs(5);

fn server(address: &str) -> Example {
    Example::start("udp_echo", &["--listen", address])
}

fn client(server: SocketAddr) -> UdpSocket {
    let here = SocketAddr::new(server.ip(), 0);
    let client = UdpSocket::bind(here).unwrap();
    client.connect(server).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client
}

/// Asks until the echo comes, since packets may be lost; gives how often it took.
fn ask(client: &UdpSocket, packet: &[u8]) -> u64 {
    let mut echo = vec![0; 70_000];
    for attempt in 1.. {
        client.send(packet).unwrap();
        // Others are of earlier attempts.
        while let Ok(n) = client.recv(&mut echo) {
            if &echo[..n] == packet {
                return attempt;
            }
        }
    }
    unreachable!("the watchdog ends it before")
}

/// From the empty one to the longest that UDP knows, each as it was sent and to who sent it; the count at the end has them.
#[test]
fn packets_of_any_length_come_back() {
    within(LIMIT, "echoes", || {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            if UdpSocket::bind(address).is_err() {
                continue;
            }
            let server = server(address);
            let clients = [client(server.address), client(server.address)];
            let mut asked = 0;
            for len in [0, 1, 2, 100, 1472, 1473, 9000, 65_507] {
                for (seed, client) in clients.iter().enumerate() {
                    let mut packet = vec![0; len];
                    fill(&mut packet, (1000 * seed) as u64);
                    asked += ask(client, &packet);
                }
            }
            let said = server.end_well();
            assert!(said.starts_with("SIGTERM"), "{said}");
            assert!(
                said.contains(&format!("{asked} packets sent back")),
                "{asked}, {said}"
            );
        }
    });
}

#[test]
fn python_and_socat_get_their_echoes() {
    const SCRIPT: &str = r#"
import os, socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(0.5)
for n in range(200):
    packet = b"%d:" % n + os.urandom(n * 7)
    while True:
        s.sendto(packet, (sys.argv[1], int(sys.argv[2])))
        try:
            while s.recv(65536) != packet: pass
            break
        except TimeoutError: pass
"#;
    within(LIMIT, "echoes of others", || {
        let server = server("127.0.0.1:0");
        if tools::need("python3") {
            Python::start(SCRIPT, server.address).end_well();
        }
        if tools::need("socat") {
            let mut socat = Command::new("socat")
                // So long it waits for an answer after the end of what it is given.
                .args(["-t", "5", "-", &format!("UDP:{}", server.address)])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut input = socat.stdin.take().unwrap();
            input.write_all(b"by socat").unwrap();
            drop(input);
            assert_eq!(socat.wait_with_output().unwrap().stdout, b"by socat");
        }
    });
}

/// Clients that are gone when their echo comes (the kernel answers by ICMP), and more packets than there is room for: the others are served.
#[test]
fn a_flood_and_clients_that_are_gone_end_nothing() {
    within(LIMIT, "a flood", || {
        let server = server("127.0.0.1:0");
        for round in 0..200 {
            client(server.address).send(&[round]).unwrap();
        }
        let flood = client(server.address);
        // Stopped, so that they pile up.
        server.stop();
        for _ in 0..5_000 {
            flood.send(&[7; 1400]).unwrap();
        }
        server.send(libc::SIGCONT);
        ask(&client(server.address), b"still there?");
        server.end_well();
    });
}

/// In the middle of a flood as well; and an address that is taken is said to be.
#[test]
fn the_server_ends_at_once_when_it_is_told_to() {
    within(LIMIT, "an end in a flood", || {
        let server = server("127.0.0.1:0");
        let taken = Command::new(rig::example::program("udp_echo"))
            .args(["--listen", &server.address.to_string()])
            .output()
            .unwrap();
        assert_eq!(taken.status.code(), Some(1), "{taken:?}");
        let flood = client(server.address);
        let over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|s| {
            s.spawn(|| {
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    // Refused when the server is gone.
                    let _ = flood.send(&[7; 100]);
                }
            });
            ask(&client(server.address), b"there?");
            server.end_well();
            over.store(true, std::sync::atomic::Ordering::Relaxed);
        });
    });
}
