//! The server of `examples/rpc`, as a program, with clients that know its frames only by their description: std's sockets and python.

mod rig;
mod rpc;
mod support;

use std::collections::BTreeMap;
use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::thread;

use rig::example::Example;
use rig::process::status_of;
use rig::tools::Python;
use rig::{tools, until};
use rpc::{ACK, ANSWER, BEAT, FAILURE, Frame, HELLO, PAYLOAD_MAX, Peer, REQUEST, head};
use support::{LIMIT, within};

fn server(more: &[&str]) -> Example {
    let mut arguments = vec!["--listen", "127.0.0.1:0"];
    arguments.extend(more);
    Example::start("rpc", &arguments)
}

fn answer(number: u64, payload: &[u8]) -> Frame {
    Frame {
        kind: ANSWER,
        number,
        payload: payload.to_vec(),
    }
}

/// What the server takes of memory, in bytes.
fn memory(server: &Example) -> u64 {
    1024 * status_of(&format!("/proc/{}/status", server.id()), "VmRSS")
}

/// As many as one client may have, and each is answered once, under its own number; those that take no time do not wait for those that do.
#[test]
fn many_calls_in_flight_are_each_answered() {
    const CALLS: u64 = 250;
    within(LIMIT, "many calls on one connection", || {
        let server = server(&[]);
        let mut client = Peer::greeted(server.address);
        client.send(REQUEST, 1000, b"60000 never");
        for number in 1..=CALLS {
            let text = format!("{} call {number}", number % 7);
            client.send(REQUEST, number, text.as_bytes());
        }
        let mut answers = BTreeMap::new();
        for _ in 0..CALLS {
            let frame = client.next();
            client.send(ACK, frame.number, b"");
            assert_eq!(frame.kind, ANSWER);
            assert_eq!(answers.insert(frame.number, frame.payload), None);
        }
        for (number, text) in answers {
            let expected = format!("{} CALL {number}", number % 7);
            assert_eq!(text, expected.as_bytes());
        }
        assert_eq!(client.call(1001, b"goes on").payload, b"GOES ON");
    });
}

/// Twenty clients at once, in a language that shares nothing with this one.
#[test]
fn python_calls_and_is_answered() {
    const SCRIPT: &str = r#"
import os, socket, struct, sys, threading
def client(results):
    s = socket.create_connection((sys.argv[1], int(sys.argv[2])))
    f = s.makefile("rb")
    def send(kind, number, payload=b""):
        s.sendall(struct.pack(">IBQ", len(payload), kind, number) + payload)
    send(1, int.from_bytes(os.urandom(8), "big"), struct.pack(">Q", 1))
    for n in range(1, 101):
        send(2, n, b"%d from python \xc3\xa4" % (n % 5))
    seen = {}
    while len(seen) < 100:
        length, kind, number = struct.unpack(">IBQ", f.read(13))
        payload = f.read(length)
        if kind == 6: continue
        assert kind == 3 and number not in seen, (kind, number)
        assert payload.decode() == "%d FROM PYTHON \u00c4" % (number % 5), payload
        seen[number] = True
        send(5, number)
    results.append(len(seen))
results = []
threads = [threading.Thread(target=client, args=(results,)) for _ in range(20)]
[t.start() for t in threads]; [t.join() for t in threads]
assert results == [100] * 20, results
"#;
    if !tools::need("python3") {
        return;
    }
    within(LIMIT, "python's calls", || {
        let server = server(&[]);
        Python::start(SCRIPT, server.address).end_well();
        let said = server.end_well();
        assert!(
            said.contains("20 connections in all, 0 were cut off"),
            "{said}"
        );
    });
}

/// An answer is kept until the client has acknowledged it, whichever connection it uses. A hello that was overtaken is not listened to.
#[test]
fn a_session_outlives_its_connections() {
    within(LIMIT, "a session of several connections", || {
        let server = server(&[]);
        let mut first = Peer::connect(server.address);
        first.hello(77, 1, &[]);
        first.send(REQUEST, 1, b"100 slow");
        first.send(REQUEST, 2, b"unwanted");
        drop(first);

        let mut second = Peer::connect(server.address);
        second.hello(77, 2, &[1]);
        assert_eq!(second.call(1, b"100 slow"), answer(1, b"100 SLOW"));
        // Asked again without an acknowledgement: from what is kept, not from this.
        assert_eq!(second.call(1, b"another"), answer(1, b"100 SLOW"));

        let mut third = Peer::connect(server.address);
        third.hello(77, 3, &[1]);
        second.ends();
        assert_eq!(third.call(1, b"another"), answer(1, b"100 SLOW"));
        third.send(ACK, 1, b"");
        assert_eq!(third.call(1, b"another"), answer(1, b"ANOTHER"));

        let mut late = Peer::connect(server.address);
        late.hello(77, 2, &[]);
        late.ends();
        assert_eq!(third.call(3, b"still here"), answer(3, b"STILL HERE"));
    });
}

/// What fails, fails alone: no text, an answer that is too long for a frame.
#[test]
fn a_call_that_fails_fails_alone() {
    within(LIMIT, "calls that fail", || {
        let server = server(&[]);
        let mut client = Peer::greeted(server.address);
        assert_eq!(client.call(1, b"\xff\xfe").kind, FAILURE);
        // In capitals it is three times as long.
        let long = "\u{390}".repeat(PAYLOAD_MAX / 4);
        assert_eq!(client.call(2, long.as_bytes()).kind, FAILURE);
        assert_eq!(client.call(3, b""), answer(3, b""));
        assert_eq!(client.call(4, b"x"), answer(4, b"X"));
    });
}

/// Frames without measure, of no kind and out of turn, and what is no protocol at all, end their own connection, and no other.
#[test]
fn clients_without_manners_are_shown_out() {
    within(LIMIT, "bad frames", || {
        let server = server(&[]);
        let mut other = Peer::greeted(server.address);
        let greeting = [head(8, HELLO, 5), 1_u64.to_be_bytes().to_vec()].concat();
        let after_hello = |bad: Vec<u8>| [greeting.clone(), bad].concat();
        for bad in [
            b"GET / HTTP/1.0\r\n\r\n".to_vec(),
            vec![0xff; 10_000],
            head(u32::MAX, REQUEST, 1),
            head(PAYLOAD_MAX as u32 + 1, HELLO, 1),
            head(0, 0, 1),
            head(0, 99, 1),
            // Before a hello.
            head(0, REQUEST, 1),
            head(0, BEAT, 1),
            // A hello of no connection, and of a part of one.
            head(0, HELLO, 1),
            [head(9, HELLO, 1), vec![0; 9]].concat(),
            after_hello(greeting.clone()),
            after_hello(head(0, ANSWER, 1)),
            after_hello(head(0, FAILURE, 1)),
            after_hello(head(u32::MAX, ACK, 1)),
        ] {
            let mut client = Peer::connect(server.address);
            // It may be shown out before all is said.
            let _ = client.0.write_all(&bad);
            client.ends();
        }
        let mut greedy = Peer::greeted(server.address);
        for number in 0..300 {
            let _ = greedy.try_send(REQUEST, number, b"60000 too many");
        }
        greedy.ends();
        assert_eq!(other.call(1, b"unharmed").payload, b"UNHARMED");
    });
}

/// Nothing, half a head, half a payload, and then silence: without a beat they end. Who beats stays.
#[test]
fn who_is_silent_is_gone_and_who_beats_stays() {
    within(LIMIT, "heartbeats", || {
        let server = server(&["--beat", "0.05", "--silence", "1"]);
        let mut beating = Peer::greeted(server.address);
        let silent = [vec![], vec![0; 6], head(0, HELLO, 1), {
            let mut half = head(1000, HELLO, 1);
            half.extend([0; 500]);
            half
        }];
        let silent = silent.map(|bytes| {
            let mut client = Peer::connect(server.address);
            client.0.write_all(&bytes).unwrap();
            client
        });
        let mut greeted = Peer::greeted(server.address);
        greeted.0.write_all(&head(5, REQUEST, 1)).unwrap();
        let ends = thread::spawn(move || {
            silent.into_iter().for_each(Peer::ends);
            greeted.ends();
        });
        let mut beats = 0;
        while !ends.is_finished() {
            beating.send(BEAT, 0, b"");
            assert_eq!(beating.frame().unwrap().kind, BEAT);
            beats += 1;
        }
        ends.join().unwrap();
        // The server's, each of which was waited for.
        assert!(beats > 3, "{beats} beats");
        assert_eq!(beating.call(1, b"alive").payload, b"ALIVE");
    });
}

/// Law 8. A payload that is only announced takes no memory.
#[test]
fn what_is_only_announced_costs_nothing() {
    within(LIMIT, "announcements", || {
        let server = server(&[]);
        let mut greeted = Peer::greeted(server.address);
        greeted.call(1, b"warm");
        let before = memory(&server);
        let clients: Vec<_> = (0..300)
            .map(|_| {
                let mut client = Peer::connect(server.address);
                let head = head(PAYLOAD_MAX as u32, HELLO, 1);
                client.0.write_all(&[head, vec![0; 10]].concat()).unwrap();
                client
            })
            .collect();
        // Each of them is served by now, or this one would not be.
        let mut last = Peer::greeted(server.address);
        last.call(1, b"last");
        let grown = memory(&server).saturating_sub(before);
        assert!(grown < 64 << 20, "{grown} bytes");
        drop(clients);
    });
}

/// Law 8. Answers that are not acknowledged are kept, up to so many bytes; beyond them calls fail, until there is room again.
#[test]
fn a_session_keeps_a_bounded_number_of_bytes() {
    const SESSION_MAX: usize = 16 << 20;
    within(LIMIT, "answers that are not acknowledged", || {
        let server = server(&[]);
        let mut client = Peer::greeted(server.address);
        let request = vec![b'x'; PAYLOAD_MAX];
        let capitals = vec![b'X'; PAYLOAD_MAX];
        let (mut kept, mut failed) = (Vec::new(), Vec::new());
        for number in 1..=60 {
            let frame = client.call(number, &request);
            match frame.kind {
                ANSWER => {
                    assert!(frame.payload == capitals);
                    kept.push(number);
                }
                kind => {
                    assert_eq!(kind, FAILURE, "{frame:?}");
                    failed.push(number);
                }
            }
        }
        let bytes = kept.len() * PAYLOAD_MAX;
        assert!(bytes <= SESSION_MAX && bytes > SESSION_MAX / 2, "{bytes}");
        assert!(memory(&server) < 80 << 20, "{} bytes", memory(&server));
        // Those that were kept are still there.
        for &number in &kept {
            assert!(client.call(number, b"again").payload == capitals);
        }
        for number in kept.into_iter().chain(failed) {
            client.send(ACK, number, b"");
        }
        for number in 100..200 {
            assert!(client.call(number, &request).payload == capitals);
            client.send(ACK, number, b"");
        }
    });
}

/// Law 8. Whoever asks for the same answer again and again, and reads none, is given up, and takes no memory.
#[test]
fn answers_that_are_asked_for_again_are_not_piled_up() {
    within(LIMIT, "the same answer many times", || {
        let server = server(&["--silence", "600"]);
        let mut client = Peer::greeted(server.address);
        client.call(1, &vec![b'x'; PAYLOAD_MAX]);
        let before = memory(&server);
        while client.try_send(REQUEST, 1, b"").is_ok() {}
        let grown = memory(&server).saturating_sub(before);
        assert!(grown < 32 << 20, "{grown} bytes");
        let mut other = Peer::greeted(server.address);
        assert_eq!(other.call(1, b"unharmed").payload, b"UNHARMED");
    });
}

/// Promise 55. When it is told to end, calls in flight are answered, and connections end with the last acknowledgement; idle ones at once.
#[test]
fn the_server_answers_what_is_in_flight_and_ends() {
    within(LIMIT, "a graceful end", || {
        let mut server = server(&["--grace", "600"]);
        let mut idle = Peer::greeted(server.address);
        idle.call(1, b"x");
        idle.send(ACK, 1, b"");
        let mut busy = Peer::greeted(server.address);
        busy.send(REQUEST, 1, b"300 in flight");
        // It has come: this one behind it is answered.
        busy.send(REQUEST, 2, b"behind it");
        assert_eq!(busy.next(), answer(2, b"BEHIND IT"));
        server.send(libc::SIGTERM);
        assert!(server.line().starts_with("SIGTERM: no new connections"));
        idle.ends();
        until(|| match TcpStream::connect(server.address) {
            Ok(_) => false,
            Err(error) => error.kind() == ErrorKind::ConnectionRefused,
        });
        assert_eq!(busy.next(), answer(1, b"300 IN FLIGHT"));
        busy.send(ACK, 1, b"");
        busy.send(ACK, 2, b"");
        busy.ends();
        let (status, said) = server.end();
        assert!(
            status.success() && said.contains(" 0 were cut off"),
            "{said}"
        );
    });
}

/// Promise 55. Who does not acknowledge, and who is in the middle of a frame, is cut off by the grace period or a second signal.
#[test]
fn the_server_cuts_off_who_does_not_end() {
    within(LIMIT, "an end that is not graceful", || {
        for (grace, second_signal) in [("0.05", false), ("600", true)] {
            let mut server = server(&["--grace", grace]);
            let mut owing = Peer::greeted(server.address);
            owing.call(1, b"x");
            let mut half = Peer::greeted(server.address);
            half.call(1, b"x");
            half.0.write_all(&head(100, REQUEST, 2)).unwrap();
            server.send(libc::SIGTERM);
            assert!(server.line().starts_with("SIGTERM"));
            if second_signal {
                server.send(libc::SIGTERM);
            }
            owing.ends();
            half.ends();
            let (status, said) = server.end();
            assert!(status.success(), "{status}");
            assert!(
                said.contains("2 connections in all, 2 were cut off"),
                "{said}"
            );
        }
    });
}

/// Promise 49. Clients that come, ask and go without a word leave nothing behind.
#[test]
fn clients_that_vanish_leave_no_descriptors() {
    within(LIMIT, "clients that vanish", || {
        let server = server(&[]);
        let descriptors = || {
            let folder = format!("/proc/{}/fd", server.id());
            std::fs::read_dir(folder).unwrap().count()
        };
        Peer::greeted(server.address).call(1, b"warm");
        let before = descriptors();
        for round in 0..300 {
            let mut client = Peer::connect(server.address);
            client.hello(round % 10, 1 + round, &[]);
            client.send(REQUEST, round, b"5 gone");
            if round % 2 == 0 {
                support::sockets::reset(client.0);
            }
        }
        until(|| descriptors() <= before);
    });
}
