//! The client of `examples/rpc`, as a program: with its server, which is killed meanwhile, and with servers that the test plays.

mod rig;
mod rpc;
mod support;

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

use rig::child::output_of;
use rig::example::{Example, program};
use rig::until;
use rpc::{ACK, ANSWER, BEAT, FAILURE, Frame, HELLO, Peer, REQUEST, head};
use support::{LIMIT, within};

/// A client that calls with these texts, all at once.
fn client(server: SocketAddr, more: &[&str], texts: &[&str]) -> Child {
    client_with_deadline("50", server, more, texts)
}

fn client_with_deadline(
    deadline: &str,
    server: SocketAddr,
    more: &[&str],
    texts: &[&str],
) -> Child {
    Command::new(program("rpc"))
        .args(["--to", &server.to_string(), "--deadline", deadline])
        .args(more)
        .args(texts)
        .env_remove("WITHY_WORKERS")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What it has printed, if all went well.
fn answers(client: Child) -> Vec<String> {
    let (output, text) = output_of(client);
    assert!(output.status.success(), "{text}");
    let said = String::from_utf8(output.stdout).unwrap();
    said.lines().map(str::to_owned).collect()
}

/// The next connection of the client, which has said hello: its number, and the calls whose answers it wants.
fn accept(listener: &TcpListener) -> (Peer, Vec<u64>) {
    let mut peer = Peer(listener.accept().unwrap().0);
    let hello = peer.next();
    assert_eq!(hello.kind, HELLO);
    let (numbers, []) = hello.payload.as_chunks::<8>() else {
        panic!("a hello of {} bytes", hello.payload.len());
    };
    let numbers = numbers.iter().map(|number| u64::from_be_bytes(*number));
    (peer, numbers.collect())
}

fn request(number: u64, text: &[u8]) -> Frame {
    Frame {
        kind: REQUEST,
        number,
        payload: text.to_vec(),
    }
}

/// More than are in flight at once, on one connection.
#[test]
fn many_calls_are_answered_in_their_order() {
    within(LIMIT, "many calls", || {
        let server = Example::start("rpc", &["--listen", "127.0.0.1:0"]);
        let texts: Vec<_> = (0..500).map(|n| format!("{} call {n}", n % 9)).collect();
        let texts: Vec<_> = texts.iter().map(String::as_str).collect();
        let capitals: Vec<_> = texts.iter().map(|text| text.to_uppercase()).collect();
        assert_eq!(answers(client(server.address, &[], &texts)), capitals);
        let said = server.end_well();
        assert!(said.contains("1 connections in all"), "{said}");
    });
}

/// Promise 23. The deadline of the call, whatever the server does.
#[test]
fn a_call_ends_at_its_deadline() {
    within(LIMIT, "a deadline", || {
        let server = Example::start("rpc", &["--listen", "127.0.0.1:0"]);
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
        for to in [server.address, nobody.unwrap()] {
            let late = client_with_deadline("0.2", to, &[], &["60000 too late"]);
            let (output, text) = output_of(late);
            assert_eq!(output.status.code(), Some(1), "{text}");
            assert!(text.contains("the call has taken too long"), "{text}");
        }
    });
}

/// The server is killed with calls in flight, and started again at its address: the client connects again, asks again, and has its answers.
#[test]
fn calls_survive_a_server_that_is_killed_and_started_again() {
    within(LIMIT, "a server that is killed", || {
        let texts: Vec<_> = (0..100).map(|n| format!("{n} survives")).collect();
        let texts: Vec<_> = texts.iter().map(String::as_str).collect();
        let capitals: Vec<_> = texts.iter().map(|text| text.to_uppercase()).collect();
        let server = Example::start("rpc", &["--listen", "127.0.0.1:0"]);
        let address = server.address;
        // It reads nothing of what the kernel takes for it.
        server.stop();
        let client = client(address, &[], &texts);
        until(|| has_unread_bytes(address));
        server.send(libc::SIGKILL);
        server.end();
        let again = Example::start("rpc", &["--listen", &address.to_string()]);
        assert_eq!(answers(client), capitals);
        let said = again.end_well();
        assert!(said.contains("1 connections in all"), "{said}");
    });
}

/// Whether a connection of whoever listens there has bytes that were not read.
fn has_unread_bytes(address: SocketAddr) -> bool {
    const ESTABLISHED: &str = "01";
    let port = format!(":{:04X}", address.port());
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    table.lines().any(|line| {
        let fields: Vec<_> = line.split_ascii_whitespace().collect();
        let unread = fields[4].split(':').nth(1);
        fields[1].ends_with(&port)
            && fields[3] == ESTABLISHED
            && unread.is_some_and(|bytes| bytes.contains(|digit| digit != '0'))
    })
}

/// A server that is there and says nothing is found out by its missing beats; on the next connection the client asks again for what it wants.
#[test]
fn a_server_without_beats_is_given_up() {
    within(LIMIT, "a silent server", || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let pulse = ["--beat", "0.05", "--silence", "0.5"];
        let client = client(listener.local_addr().unwrap(), &pulse, &["one", "two"]);
        let (mut silent, numbers) = accept(&listener);
        assert_eq!(numbers[0], 1);
        // The client beats meanwhile, and then it is gone.
        let mut beats = 0;
        while let Some(frame) = silent.frame() {
            beats += usize::from(frame.kind == BEAT);
        }
        assert!(beats > 0);

        let (mut second, numbers) = accept(&listener);
        assert_eq!(numbers, [2, 1, 2]);
        let mut asked = [second.next(), second.next()];
        asked.sort_by_key(|frame| frame.number);
        let texts = asked.each_ref().map(|frame| frame.payload.as_slice());
        assert!(
            texts == [b"one", b"two"] || texts == [b"two", b"one"],
            "{asked:?}"
        );
        // Beats keep the connection for longer than the silence that is allowed.
        for _ in 0..20 {
            second.send(BEAT, 0, b"");
            assert_eq!(second.frame().unwrap().kind, BEAT);
        }
        for Frame {
            number, payload, ..
        } in asked
        {
            second.send(ANSWER, number, &payload.to_ascii_uppercase());
        }
        assert_eq!(answers(client), ["ONE", "TWO"]);
    });
}

/// Each answer is acknowledged, also one that nobody waits for, and that a server says twice.
#[test]
fn answers_are_acknowledged() {
    within(LIMIT, "acknowledgements", || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = client(listener.local_addr().unwrap(), &[], &["only", "other"]);
        let (mut server, numbers) = accept(&listener);
        // The hello names what there is to ask for, or that came behind it.
        assert_eq!(numbers[0], 1);
        let (first, second) = (server.next(), server.next());
        assert_eq!((first.number, second.number), (1, 2));
        for _ in 0..2 {
            server.send(ANSWER, 1, b"once");
        }
        server.send(ANSWER, 999, b"not asked for");
        for number in [1, 1, 999] {
            let ack = server.next();
            assert_eq!((ack.kind, ack.number, ack.payload.len()), (ACK, number, 0));
        }
        server.send(ANSWER, 2, b"last");
        let mut said = answers(client);
        said.sort();
        assert_eq!(said, ["last", "once"]);
    });
}

/// A server that breaks the rules, or ends or falls silent in the middle of a frame, loses the connection, not the call.
#[test]
fn a_server_without_manners_loses_the_connection_and_not_the_call() {
    within(LIMIT, "bad frames of a server", || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let quick = ["--silence", "0.5", "--beat", "0.1"];
        let client = client(listener.local_addr().unwrap(), &quick, &["at last"]);
        let half = [head(100, ANSWER, 1), vec![b'x'; 50]].concat();
        let bad = [
            (b"HTTP/1.0 400 Bad Request\r\n\r\n".to_vec(), false),
            (head(u32::MAX, ANSWER, 1), false),
            (head(0, 77, 1), false),
            (head(0, REQUEST, 1), false),
            (head(0, HELLO, 1), false),
            // And silence.
            (half.clone(), false),
            // And the end.
            (half, true),
        ];
        for (number, (bytes, ends)) in bad.into_iter().enumerate() {
            let (mut server, numbers) = accept(&listener);
            // The first may be there before the call.
            let wanted = [1 + number as u64, 1];
            assert!(numbers == wanted || number == 0 && numbers == [1]);
            assert_eq!(server.next(), request(1, b"at last"));
            server.0.write_all(&bytes).unwrap();
            if !ends {
                server.ends();
            }
        }
        let (mut server, _) = accept(&listener);
        assert_eq!(server.next(), request(1, b"at last"));
        server.send(ANSWER, 1, b"AT LAST");
        assert_eq!(answers(client), ["AT LAST"]);
    });
}

/// What the service says is told, and the exit code says so.
#[test]
fn a_failure_is_told() {
    within(LIMIT, "a failure", || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = client(listener.local_addr().unwrap(), &[], &["text"]);
        let (mut server, _) = accept(&listener);
        assert_eq!(server.next(), request(1, b"text"));
        server.send(FAILURE, 1, b"out of order");
        let (output, text) = output_of(client);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains("the call has failed: out of order"), "{text}");
    });
}
