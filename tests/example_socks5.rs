//! The SOCKS5 proxy of the examples, as a program, with curl as the client and std's sockets where curl is too polite.

mod rig;
mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output};
use std::thread;

use rig::example::Example;
use rig::tools;
use support::sockets::fill;
use support::{LIMIT, within};

const BODY: usize = 2_000_000;

fn proxy(more: &[&str]) -> Example {
    let mut arguments = vec!["--listen", "127.0.0.1:0"];
    arguments.extend(more);
    Example::start("socks5", &arguments)
}

/// An HTTP server that answers every request with the same bytes, at 127.0.0.1 and, where there is one, at ::1.
fn serve(address: &str) -> Option<(SocketAddr, Vec<u8>)> {
    let listener = TcpListener::bind(address).ok()?;
    let address = listener.local_addr().unwrap();
    let mut body = vec![0; BODY];
    fill(&mut body, 0);
    let answered = body.clone();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = Vec::new();
            let mut buf = [0; 1000];
            while !request.ends_with(b"\r\n\r\n") {
                match stream.read(&mut buf) {
                    Ok(n @ 1..) => request.extend_from_slice(&buf[..n]),
                    _ => break,
                }
            }
            let head = format!("HTTP/1.0 200 OK\r\nContent-Length: {BODY}\r\n\r\n");
            let _ = stream
                .write_all(head.as_bytes())
                .and_then(|()| stream.write_all(&answered));
        }
    });
    Some((address, body))
}

fn curl(arguments: &[&str], url: &str) -> Output {
    Command::new("curl")
        .args(["--silent", "--show-error", "--fail", "--noproxy", ""])
        .args(["--max-time", "50"])
        .args(arguments)
        .arg(url)
        .output()
        .unwrap()
}

/// By name (which the proxy looks up), by IPv4 and by IPv6 address; without and with a password.
#[test]
fn curl_gets_what_it_wants_through_the_proxy() {
    if !tools::need("curl") {
        return;
    }
    within(LIMIT, "curl through socks5", || {
        let (address, body) = serve("127.0.0.1:0").unwrap();
        let open = proxy(&[]);
        let guarded = proxy(&["--user", "me:secret", "--user", "you:other"]);
        let (open_at, guarded_at) = (open.address.to_string(), guarded.address.to_string());
        let by_name = format!("http://localhost:{}/", address.port());
        let by_address = format!("http://{address}/");
        for (arguments, url) in [
            (&["--socks5-hostname", &open_at][..], &by_name),
            (&["--socks5-hostname", &open_at], &by_address),
            (&["--socks5", &open_at], &by_address),
            (
                &[
                    "--socks5-hostname",
                    &guarded_at,
                    "--proxy-user",
                    "me:secret",
                ],
                &by_name,
            ),
            (
                &[
                    "--socks5-hostname",
                    &guarded_at,
                    "--proxy-user",
                    "you:other",
                ],
                &by_address,
            ),
        ] {
            let got = curl(arguments, url);
            assert!(got.status.success(), "{arguments:?} {url}: {got:?}");
            assert!(got.stdout == body, "{} bytes", got.stdout.len());
        }
        if let Some((address, body)) = serve("[::1]:0") {
            let got = curl(
                &["--socks5-hostname", &open_at],
                &format!("http://{address}/"),
            );
            assert!(got.status.success(), "{got:?}");
            assert!(got.stdout == body, "{} bytes", got.stdout.len());
        }
    });
}

/// A wrong password, none at all, a target that refuses, a name that does not exist: curl is told which.
#[test]
fn curl_is_told_why_not() {
    // CURLE_PROXY, and since which version curl has it is known: 7.73.
    const PROXY: Option<i32> = Some(97);
    if !tools::need("curl") {
        return;
    }
    within(LIMIT, "refusals of socks5", || {
        let (address, _) = serve("127.0.0.1:0").unwrap();
        let open = proxy(&[]);
        let guarded = proxy(&["--user", "me:secret"]);
        let (open_at, guarded_at) = (open.address.to_string(), guarded.address.to_string());
        let url = format!("http://{address}/");
        let refuses = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let refuses = format!("http://{refuses}/");
        for (arguments, url) in [
            (
                &[
                    "--socks5-hostname",
                    &guarded_at,
                    "--proxy-user",
                    "me:sesame",
                ][..],
                &url,
            ),
            (
                &["--socks5-hostname", &guarded_at, "--proxy-user", "m:secret"],
                &url,
            ),
            (&["--socks5-hostname", &guarded_at], &url),
            (&["--socks5-hostname", &open_at], &refuses),
            (
                &["--socks5-hostname", &open_at],
                &"http://no-such-name.invalid/".to_owned(),
            ),
        ] {
            let got = curl(arguments, url);
            assert_eq!(got.status.code(), PROXY, "{arguments:?} {url}: {got:?}");
            assert!(got.stdout.is_empty());
        }
        let got = curl(&["--socks5-hostname", &open_at], &refuses);
        // "connection refused" of RFC 1928.
        assert!(
            String::from_utf8_lossy(&got.stderr).contains("(5)"),
            "{got:?}"
        );
    });
}

fn say(stream: &mut TcpStream, message: &[u8], answer: &[u8]) {
    stream.write_all(message).unwrap();
    let mut got = vec![0; answer.len()];
    stream.read_exact(&mut got).unwrap();
    assert_eq!(got, answer);
}

/// Closed, by an end or a reset.
fn is_over(stream: &mut TcpStream) {
    assert!(matches!(stream.read(&mut [0]), Ok(0) | Err(_)));
}

/// Bytes that come in the same segment as the request are the target's.
#[test]
fn bytes_behind_the_request_reach_the_target() {
    within(LIMIT, "early bytes", || {
        let target = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = target.local_addr().unwrap().port().to_be_bytes();
        let proxy = proxy(&[]);
        let mut client = TcpStream::connect(proxy.address).unwrap();
        let all = [&[5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1], &port[..], b"early"].concat();
        client.write_all(&all).unwrap();
        let (mut server, _) = target.accept().unwrap();
        let mut early = [0; 5];
        server.read_exact(&mut early).unwrap();
        assert_eq!(&early, b"early");
        client.write_all(b"later").unwrap();
        server.read_exact(&mut early).unwrap();
        assert_eq!(&early, b"later");
    });
}

/// What is no SOCKS5, or asks for what there is not, gets the answer of the RFC, or none; a client that says nothing has its time.
#[test]
fn what_is_no_handshake_ends() {
    within(LIMIT, "wrong handshakes", || {
        let patient = proxy(&["--handshake", "50"]);
        let connect = || TcpStream::connect(patient.address).unwrap();
        for nonsense in [&b"GET / HTTP/1.0\r\n\r\n"[..], &[4, 1, 0, 80], &[0]] {
            let mut client = connect();
            client.write_all(nonsense).unwrap();
            is_over(&mut client);
        }
        let mut client = connect();
        say(&mut client, &[5, 1, 1], &[5, 0xff]);
        is_over(&mut client);
        // No methods at all.
        let mut client = connect();
        say(&mut client, &[5, 0], &[5, 0xff]);
        is_over(&mut client);
        for (request, code) in [
            // BIND, UDP ASSOCIATE, and one that there is not.
            (&[5, 2, 0, 1, 127, 0, 0, 1, 0, 80][..], 7),
            (&[5, 3, 0, 1, 127, 0, 0, 1, 0, 80], 7),
            (&[5, 99, 0, 3, 1, b'x', 0, 80], 7),
            (&[5, 1, 0, 2], 8),
            // A name that is no text, and an empty one.
            (&[5, 1, 0, 3, 2, 0xff, 0xfe], 1),
            (&[5, 1, 0, 3, 0, 0, 80], 1),
        ] {
            let mut client = connect();
            say(&mut client, &[5, 1, 0], &[5, 0]);
            say(&mut client, request, &[5, code, 0, 1, 0, 0, 0, 0, 0, 0]);
            is_over(&mut client);
        }
        // Who goes on after a wrong password is not served.
        let guarded = Example::start(
            "socks5",
            &["--listen", "127.0.0.1:0", "--user", "me:secret"],
        );
        let mut client = TcpStream::connect(guarded.address).unwrap();
        say(&mut client, &[5, 1, 2], &[5, 2]);
        say(&mut client, b"\x01\x02me\x06sesame", &[1, 1]);
        let _ = client.write_all(&[5, 1, 0, 1, 127, 0, 0, 1, 0, 80]);
        is_over(&mut client);
        // Silent, or silent in the middle: only the limit ends these.
        let impatient = proxy(&["--handshake", "0.2"]);
        for start in [&[][..], &[5], &[5, 200, 0]] {
            let mut client = TcpStream::connect(impatient.address).unwrap();
            client.write_all(start).unwrap();
            is_over(&mut client);
        }
    });
}

/// A limit of no connection is wrong usage, rather than a proxy that serves nobody; the greatest one is no limit.
#[test]
fn odd_limits_of_connections_are_refused_or_none() {
    within(LIMIT, "odd limits", || {
        let none = Command::new(rig::example::program("socks5"))
            .args(["--listen", "127.0.0.1:0", "--connections", "0"])
            .output()
            .unwrap();
        assert_eq!(none.status.code(), Some(2), "{none:?}");
        let proxy = proxy(&["--connections", &usize::MAX.to_string()]);
        let mut client = TcpStream::connect(proxy.address).unwrap();
        say(&mut client, &[5, 1, 0], &[5, 0]);
    });
}

/// Promise 48. No more connections at once than were asked for: the next one waits until one has ended.
#[test]
fn connections_beyond_the_limit_wait() {
    within(LIMIT, "a full proxy", || {
        let proxy = proxy(&["--connections", "2", "--handshake", "50"]);
        let mut first = TcpStream::connect(proxy.address).unwrap();
        let mut second = TcpStream::connect(proxy.address).unwrap();
        say(&mut first, &[5, 1, 0], &[5, 0]);
        say(&mut second, &[5, 1, 0], &[5, 0]);
        let mut third = TcpStream::connect(proxy.address).unwrap();
        third.write_all(&[5, 1, 0]).unwrap();
        third.set_nonblocking(true).unwrap();
        thread::sleep(std::time::Duration::from_millis(50));
        assert!(third.read(&mut [0]).is_err());
        third.set_nonblocking(false).unwrap();
        drop(first);
        say(&mut third, &[], &[5, 0]);
    });
}

/// A client that has its connection to a target, and the target's end of it.
fn connected(proxy: &Example) -> (TcpStream, TcpStream) {
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = target.local_addr().unwrap().port().to_be_bytes();
    let mut client = TcpStream::connect(proxy.address).unwrap();
    say(&mut client, &[5, 1, 0], &[5, 0]);
    let request = [&[5, 1, 0, 1, 127, 0, 0, 1], &port[..]].concat();
    say(&mut client, &request, &[5, 0, 0, 1, 127, 0, 0, 1]);
    client.read_exact(&mut [0; 2]).unwrap();
    (client, target.accept().unwrap().0)
}

/// Promise 55. When it is told to end, it takes no more connections and lets those finish that it has.
#[test]
fn connections_may_finish_when_the_proxy_is_told_to_end() {
    within(LIMIT, "a graceful end of socks5", || {
        let mut proxy = proxy(&["--grace", "600"]);
        let (mut client, mut target) = connected(&proxy);
        proxy.send(libc::SIGTERM);
        assert!(proxy.line().starts_with("SIGTERM: no new connections"));
        rig::until(|| TcpStream::connect(proxy.address).is_err());
        client.write_all(b"after it").unwrap();
        target.read_exact(&mut [0; 8]).unwrap();
        drop((client, target));
        let (status, said) = proxy.end();
        assert!(status.success(), "{status}");
        assert!(said.contains("1 connections finished"), "{said}");
        assert!(said.contains(" 0 were cut off"), "{said}");
    });
}

/// Promise 55. Those that do not finish are cut off when the grace period is over, and by a second signal; also in a handshake.
#[test]
fn connections_that_do_not_finish_are_cut_off() {
    within(LIMIT, "an end of socks5 that is not graceful", || {
        for (grace, second_signal) in [("0.05", false), ("600", true)] {
            let mut proxy = proxy(&["--grace", grace, "--handshake", "600"]);
            let (mut client, _target) = connected(&proxy);
            let mut shaking = TcpStream::connect(proxy.address).unwrap();
            say(&mut shaking, &[5, 1, 0], &[5, 0]);
            proxy.send(libc::SIGTERM);
            assert!(proxy.line().starts_with("SIGTERM"));
            if second_signal {
                proxy.send(libc::SIGTERM);
            }
            is_over(&mut client);
            is_over(&mut shaking);
            let (status, said) = proxy.end();
            assert!(status.success(), "{status}");
            assert!(
                said.contains("0 connections finished, 0 failed, 2 were cut off"),
                "{said}"
            );
        }
    });
}
