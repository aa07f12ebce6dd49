//! The proxy of the examples, as a program, with real traffic: curl, python's server, std's sockets.

mod rig;
mod support;

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rig::child::{alone, role, start};
use rig::example::Example;
use rig::process::set_limit;
use rig::{tools, until};
use support::sockets::fill;
use support::{LIMIT, within};

const LOOPBACK: &str = "127.0.0.1:0";

/// An upstream that says its name, and then gives back what it gets.
struct Upstream {
    address: SocketAddr,
    closing: Arc<AtomicBool>,
    accepts: Option<thread::JoinHandle<()>>,
}

impl Upstream {
    fn start(name: u8) -> Upstream {
        let listener = TcpListener::bind(LOOPBACK).unwrap();
        let address = listener.local_addr().unwrap();
        let closing = Arc::new(AtomicBool::new(false));
        let accepts = thread::spawn({
            let closing = closing.clone();
            move || {
                for stream in listener.incoming() {
                    let mut stream = stream.unwrap();
                    if closing.load(Ordering::SeqCst) {
                        return;
                    }
                    thread::spawn(move || {
                        // Looks at its health end here.
                        if stream.write_all(&[name]).is_ok() {
                            let mut reader = stream.try_clone().unwrap();
                            let _ = std::io::copy(&mut reader, &mut stream);
                            let _ = stream.shutdown(Shutdown::Write);
                        }
                    });
                }
            }
        });
        Upstream {
            address,
            closing,
            accepts: Some(accepts),
        }
    }

    /// It takes no more connections; those that it has go on.
    fn stop(&mut self) {
        self.closing.store(true, Ordering::SeqCst);
        if let Some(accepts) = self.accepts.take() {
            let _ = TcpStream::connect(self.address);
            accepts.join().unwrap();
        }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stop();
    }
}

fn proxy(to: &[SocketAddr], more: &[&str]) -> Example {
    let to: Vec<_> = to.iter().map(SocketAddr::to_string).collect();
    let mut arguments = vec!["--listen", LOOPBACK];
    for address in &to {
        arguments.extend(["--to", address]);
    }
    arguments.extend(more);
    Example::start("proxy", &arguments)
}

/// A connection through the proxy, and the name of the upstream at its other end.
fn connect(proxy: &Example) -> (TcpStream, u8) {
    let mut stream = TcpStream::connect(proxy.address).unwrap();
    let mut name = [0];
    stream.read_exact(&mut name).unwrap();
    (stream, name[0])
}

/// curl gets from a server of python's, through the proxy, what is there.
#[test]
fn curl_gets_files_of_a_real_server_through_the_proxy() {
    if !tools::need("curl") || !tools::need("python3") {
        return;
    }
    within(LIMIT, "curl through the proxy", || {
        let folder = std::env::temp_dir().join(format!("withy-proxy-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut bytes = vec![0; 5_000_000];
        fill(&mut bytes, 0);
        std::fs::write(folder.join("file"), &bytes).unwrap();
        let mut server = Command::new("python3")
            .args([
                "-u",
                "-m",
                "http.server",
                "0",
                "--bind",
                "127.0.0.1",
                "--directory",
            ])
            .arg(&folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(server.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        // Serving HTTP on 127.0.0.1 port 8000 …
        let port: u16 = line.split(' ').nth(5).unwrap().parse().unwrap();
        let proxy = proxy(&[SocketAddr::from(([127, 0, 0, 1], port))], &[]);
        for _ in 0..3 {
            let got = Command::new("curl")
                .args(["--silent", "--show-error", "--fail", "--noproxy", "*"])
                .arg(format!("http://{}/file", proxy.address))
                .output()
                .unwrap();
            assert!(
                got.status.success(),
                "{}",
                String::from_utf8_lossy(&got.stderr)
            );
            assert!(got.stdout == bytes, "{} bytes", got.stdout.len());
        }
        let said = proxy.end_well();
        server.kill().unwrap();
        server.wait().unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(
            said.contains("3 connections finished, 0 were cut off, 0 found no upstream"),
            "{said}"
        );
    });
}

/// Each connection goes to the upstream with the fewest; when one is gone, to the others; when it is back, to it again.
#[test]
fn connections_go_to_the_upstream_with_the_fewest_that_is_there() {
    within(LIMIT, "balanced connections", || {
        let mut upstreams = [Upstream::start(0), Upstream::start(1), Upstream::start(2)];
        let addresses = upstreams.each_ref().map(|upstream| upstream.address);
        let proxy = proxy(&addresses, &["--health-interval", "0.05"]);
        let mut counts = [0; 3];
        let open: Vec<_> = (0..30)
            .map(|_| {
                let (stream, name) = connect(&proxy);
                counts[usize::from(name)] += 1;
                stream
            })
            .collect();
        assert_eq!(counts, [10, 10, 10]);

        upstreams[1].stop();
        let more: Vec<_> = (0..10)
            .map(|_| {
                let (stream, name) = connect(&proxy);
                counts[usize::from(name)] += 1;
                stream
            })
            .collect();
        assert_eq!(counts, [15, 10, 15]);
        // Those that the one has still are served.
        for stream in open.iter().chain(&more) {
            let mut stream = stream;
            stream.write_all(b"still?").unwrap();
            let mut back = [0; 6];
            stream.read_exact(&mut back).unwrap();
            assert_eq!(&back, b"still?");
        }

        // At the same address again, with another name.
        let again = TcpListener::bind(addresses[1]);
        if let Ok(listener) = again {
            let named = thread::spawn(move || {
                for stream in listener.incoming() {
                    let mut stream = stream.unwrap();
                    if stream.write_all(&[9]).is_ok() && stream.read(&mut [0]).is_ok_and(|n| n == 1)
                    {
                        return;
                    }
                }
            });
            until(|| {
                let (mut stream, name) = connect(&proxy);
                name == 9 && stream.write_all(b"x").is_ok()
            });
            named.join().unwrap();
        }
        drop((open, more));
        let said = proxy.end_well();
        assert!(
            said.contains(" 0 were cut off, 0 found no upstream"),
            "{said}"
        );
    });
}

/// Promise 12. With no upstream a client is not left waiting.
#[test]
fn a_client_is_turned_away_when_there_is_no_upstream() {
    within(LIMIT, "a proxy without upstreams", || {
        let mut gone = Upstream::start(0);
        gone.stop();
        let proxy = proxy(&[gone.address], &[]);
        let mut client = TcpStream::connect(proxy.address).unwrap();
        assert!(matches!(client.read(&mut [0]), Ok(0) | Err(_)));
        let said = proxy.end_well();
        assert!(
            said.contains("0 connections finished, 0 were cut off, 1 found no upstream"),
            "{said}"
        );
    });
}

/// Promise 55. When it is told to end it takes no more connections, serves those that it has, and counts their bytes.
#[test]
fn the_proxy_lets_connections_finish_when_it_is_told_to_end() {
    within(LIMIT, "a graceful end", || {
        let upstream = Upstream::start(7);
        let mut proxy = proxy(&[upstream.address], &["--grace", "50"]);
        let (mut client, name) = connect(&proxy);
        assert_eq!(name, 7);
        proxy.send(libc::SIGTERM);
        assert!(proxy.line().starts_with("SIGTERM: no new connections"));
        until(|| match TcpStream::connect(proxy.address) {
            Ok(_) => false,
            Err(error) => error.kind() == ErrorKind::ConnectionRefused,
        });
        let mut bytes = vec![0; 1_000_000];
        fill(&mut bytes, 0);
        let mut writer = client.try_clone().unwrap();
        let sent = bytes.clone();
        let sender = thread::spawn(move || {
            writer.write_all(&sent).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        let mut back = Vec::new();
        client.read_to_end(&mut back).unwrap();
        sender.join().unwrap();
        assert!(back == bytes);
        let (status, said) = proxy.end();
        assert!(status.success());
        // Those of this test's attempts that came before the port was closed sent nothing.
        assert!(said.contains(" 1000000 bytes there, 10000"), "{said}");
        assert!(said.contains(" 0 were cut off"), "{said}");
    });
}

/// Promise 55. A connection that does not end is cut off when the grace period is over, and by a second signal.
#[test]
fn the_proxy_cuts_connections_off_that_do_not_end() {
    within(LIMIT, "an end that is not graceful", || {
        for (grace, second_signal) in [("0.05", false), ("600", true)] {
            let upstream = Upstream::start(7);
            let mut proxy = proxy(&[upstream.address], &["--grace", grace]);
            let (mut client, _) = connect(&proxy);
            proxy.send(libc::SIGTERM);
            assert!(proxy.line().starts_with("SIGTERM"));
            if second_signal {
                proxy.send(libc::SIGTERM);
            }
            assert!(matches!(client.read(&mut [0]), Ok(0) | Err(_)));
            let (status, said) = proxy.end();
            assert!(status.success());
            assert!(
                said.contains("0 connections finished, 1 were cut off"),
                "{said}"
            );
        }
    });
}

/// Promises 21 and 49. Five thousand connections at once, each with bytes of its own: clients, proxy and upstream are processes of their
/// own. What the proxy needed for them is given back.
#[test]
fn five_thousand_connections_at_once_go_through_the_proxy() {
    const NAME: &str = "five_thousand_connections_at_once_go_through_the_proxy";
    const NUMBER: usize = 5_000;
    const WAVE: usize = 1_000;
    const LEN: usize = 1_000;
    match role(NAME).as_deref() {
        Some("upstream") => return be_upstream(),
        _ if !alone(NAME, &[]) => return,
        _ => {}
    }
    set_limit(libc::RLIMIT_NOFILE, 20_000);
    let mut upstream = start(NAME, "upstream", &[]);
    let mut lines = BufReader::new(upstream.stdout.take().unwrap()).lines();
    let address = lines.find_map(|line| line.unwrap().strip_prefix("at ")?.parse().ok());
    let proxy = proxy(&[address.unwrap()], &["--grace", "60"]);
    let idle = descriptors_of(proxy.id());
    within(LIMIT * 2, "5,000 connections", || {
        let through = proxy.address;
        let connect = move |number| {
            let mut stream = withy::net::TcpStream::connect(through).unwrap();
            // It has come through: nobody leaves before.
            stream.write_all(b"x").unwrap();
            stream.read_exact(&mut [0]).unwrap();
            (number, stream)
        };
        let mut connected = Vec::new();
        // In waves that fit the backlog: what overflows it is tried again by the kernel, after seconds.
        for wave in 0..NUMBER / WAVE {
            let wave = wave * WAVE..(wave + 1) * WAVE;
            let wave: Vec<_> = wave
                .map(|number| withy::spawn(move || connect(number)))
                .collect();
            connected.extend(wave.into_iter().map(|one| one.join().unwrap()));
        }
        let open = descriptors_of(proxy.id());
        assert!(open >= idle + 2 * NUMBER, "{open} descriptors");
        // Idle ones have no pipes: what workers keep, 32 descriptors each, and netpollers are what is left.
        assert!(open < idle + 2 * NUMBER + 300, "{open} descriptors");
        let clients: Vec<_> = connected
            .into_iter()
            .map(|(number, mut stream)| {
                withy::spawn(move || {
                    let mut bytes = vec![0; LEN];
                    fill(&mut bytes, (number * LEN) as u64);
                    stream.write_all(&bytes).unwrap();
                    stream.shutdown(withy::net::Shutdown::Write).unwrap();
                    let mut back = Vec::new();
                    stream.read_to_end(&mut back).unwrap();
                    assert!(back == bytes, "connection {number} got other bytes");
                })
            })
            .collect();
        clients
            .into_iter()
            .for_each(|client| client.join().unwrap());
        until(|| descriptors_of(proxy.id()) < idle + 300);
        let said = proxy.end_well();
        let bytes = NUMBER * (LEN + 1);
        assert!(
            said.contains(&format!("{bytes} bytes there, {bytes} back")),
            "{said}"
        );
        assert!(
            said.contains(&format!("{NUMBER} connections finished, 0 were cut off")),
            "{said}"
        );
    });
    upstream.kill().unwrap();
    upstream.wait().unwrap();
}

/// An echo server in a process of its own.
fn be_upstream() {
    set_limit(libc::RLIMIT_NOFILE, 20_000);
    withy::run(|| {
        let listener = withy::net::TcpListener::bind(LOOPBACK).unwrap();
        println!("\nat {}", listener.local_addr().unwrap());
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            withy::spawn(move || {
                let _ = withy::io::copy(&mut &stream, &mut &stream);
            });
        }
    });
}

fn descriptors_of(process: u32) -> usize {
    std::fs::read_dir(format!("/proc/{process}/fd"))
        .unwrap()
        .count()
}

/// A connection that nobody uses ends by its limit.
#[test]
fn idle_connections_end_by_their_limit() {
    within(LIMIT, "an idle connection", || {
        let upstream = Upstream::start(7);
        let proxy = proxy(&[upstream.address], &["--idle", "0.05"]);
        let (mut client, _) = connect(&proxy);
        client
            .set_read_timeout(Some(Duration::from_secs(50)))
            .unwrap();
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        let said = proxy.end_well();
        assert!(said.contains("1 connections finished"), "{said}");
    });
}
