//! By what means copies move their bytes: splice, and pipes that are few; a buffer where there are none.

mod rig;
mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread;

use rig::child::{alone, role};
use rig::process::{descriptors, set_limit};
use rig::trace::bytes_moved;
use rig::{tools, until};
use support::sockets::{fill, is_filled, narrow_pair, pair};
use support::{Callers, Case, LIMIT, within};

/// What the traced proxy is to connect to.
const ADDRESSES: &str = "WITHY_TEST_ADDRESSES";

const LEN: usize = 8 << 20;

const TRACED: &str = "a_proxy_moves_its_bytes_by_splice";

/// A proxy's bytes go by splice, not through the program: strace of a process in which nothing but a proxy runs says so.
#[test]
fn a_proxy_moves_its_bytes_by_splice() {
    if role(TRACED).is_some() {
        return be_proxy();
    }
    if !tools::need("strace") {
        return;
    }
    let moves = "trace=/^(splice|p?readv?2?|p?writev?2?|recv.*|send.*)$";
    let trace = traced_proxy(&["-e", moves]);
    let spliced = bytes_moved(&trace, |call| call == "splice");
    let copied = bytes_moved(&trace, |call| call != "splice");
    // In and out, both ways.
    assert_eq!(spliced, 4 * LEN as u64);
    // The test program reads itself and its libraries, and says that it passed.
    assert!(copied < 100_000, "{copied} bytes went through the program");
}

/// Promises 14 and 45. A kernel or a sandbox that refuses to splice, at once or when bytes are in the pipe already; no descriptor for a pipe, at any
/// time; a call that is interrupted: every byte arrives.
#[test]
fn a_proxy_without_splice_or_pipes_moves_its_bytes_all_the_same() {
    if !tools::need("strace") {
        return;
    }
    for fault in [
        "splice:error=EINVAL",
        "splice:error=EPERM",
        "splice:error=ENOSYS",
        "splice:error=EINVAL:when=2",
        "splice:error=EINVAL:when=8",
        "splice:error=EINTR:when=2+3",
        "splice:error=EAGAIN:when=1+7",
        "pipe2:error=EMFILE",
        "pipe2:error=ENFILE:when=1",
        "recvfrom:error=EINTR:when=1+2",
    ] {
        let trace = traced_proxy(&[
            "-e",
            "trace=splice,pipe2,recvfrom",
            "-e",
            &format!("inject={fault}"),
        ]);
        assert!(
            trace.contains("INJECTED"),
            "{fault} did not happen:\n{trace}"
        );
    }
}

/// Runs a proxy under strace, sends bytes through it both ways, checks them, and gives what strace has written.
fn traced_proxy(options: &[&str]) -> String {
    within(2 * LIMIT, "a traced proxy", || {
        let listeners = [0; 2].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
        let addresses = listeners
            .each_ref()
            .map(|listener| listener.local_addr().unwrap().to_string());
        let path = std::env::temp_dir().join(format!(
            "withy-io-splice-{}-{:?}",
            std::process::id(),
            thread::current().id()
        ));
        let mut tracer = Command::new("strace")
            .args(["-f", "-qq"])
            .args(options)
            .arg("-o")
            .arg(&path)
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", TRACED, "--nocapture", "--test-threads=1"])
            .env("WITHY_TEST_ROLE", format!("{TRACED}=proxy"))
            .env(ADDRESSES, addresses.join(" "))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let streams = listeners.map(|listener| listener.accept().unwrap().0);
        thread::scope(|s| {
            for stream in &streams {
                s.spawn(move || send_all(stream, LEN));
            }
            s.spawn(|| check_all(&streams[0], LEN));
            check_all(&streams[1], LEN);
        });
        assert!(tracer.wait().unwrap().success());
        let trace = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        trace
    })
}

fn be_proxy() {
    let addresses = std::env::var(ADDRESSES).unwrap();
    let streams: Vec<_> = addresses
        .split(' ')
        .map(|address| withy::net::TcpStream::connect(address).unwrap())
        .collect();
    let copied =
        withy::run(move || withy::io::copy_bidirectional(&streams[0], &streams[1])).unwrap();
    assert_eq!((copied.a_to_b, copied.b_to_a), (LEN as u64, LEN as u64));
}

#[test]
fn traces_are_read_with_their_interrupted_calls() {
    let trace = "7  splice(1, NULL) = 10\n8  recvfrom(4,  <unfinished ...>\n7  splice(1) = -1 EAGAIN (Resource)\n\
                 8  <... recvfrom resumed>\"= 9\", 3) = 5\n8  <... splice resumed>) = 3\n8  +++ exited with 0 +++\n";
    assert_eq!(bytes_moved(trace, |call| call == "splice"), 13);
    assert_eq!(bytes_moved(trace, |call| call != "splice"), 5);
}

fn send_all(mut stream: &TcpStream, len: usize) {
    let mut bytes = vec![0; len];
    fill(&mut bytes, 0);
    stream.write_all(&bytes).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
}

fn check_all(mut stream: &TcpStream, len: usize) {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.len(), len);
    assert!(is_filled(&bytes, 0));
}

/// The descriptors of this process that are ends of pipes.
fn pipe_ends() -> usize {
    let folder = std::fs::read_dir("/proc/self/fd").unwrap();
    folder
        .flatten()
        .filter_map(|entry| std::fs::read_link(entry.path()).ok())
        .filter(|target| target.to_string_lossy().starts_with("pipe:"))
        .count()
}

/// Copies in both directions between what comes from `connect`, each with its far ends.
fn proxies(
    case: &Case,
    number: usize,
    connect: fn() -> (withy::net::TcpStream, TcpStream),
) -> (
    Vec<(TcpStream, TcpStream)>,
    Vec<support::Caller<withy::io::Copied>>,
) {
    (0..number)
        .map(|_| {
            let ((inner, client), (outer, server)) = (connect(), connect());
            let copy = case.spawn(move || withy::io::copy_bidirectional(&inner, &outer).unwrap());
            ((client, server), copy)
        })
        .unzip()
}

fn each_case(what: &str, body: impl Fn(&Case, usize)) {
    for (workers, full_stealing, callers) in [
        (1, false, Callers::Coroutines),
        (2, true, Callers::Coroutines),
        (8, false, Callers::Mixed),
    ] {
        within(LIMIT, what, || {
            body(&Case::new(workers, full_stealing, callers), workers)
        });
    }
}

/// Law 8, promise 48. Connections that are idle hold no pipe, however many there are: only what the threads keep is left.
#[test]
fn idle_copies_hold_no_pipes() {
    const NUMBER: usize = 300;
    if !alone("idle_copies_hold_no_pipes", &[]) {
        return;
    }
    set_limit(libc::RLIMIT_NOFILE, 20_000);
    for workers in [1, 2] {
        within(LIMIT, "idle copies", || {
            let before = pipe_ends();
            let case = Case::new(workers, false, Callers::Coroutines);
            let (mut ends, copies) = proxies(&case, NUMBER, pair);
            for (client, server) in &mut ends {
                client.write_all(b"ping").unwrap();
                server.read_exact(&mut [0; 4]).unwrap();
                server.write_all(b"pong").unwrap();
                client.read_exact(&mut [0; 4]).unwrap();
            }
            // 16 for each worker, and two that may be on their way back.
            until(|| pipe_ends() - before <= workers * 2 * 16 + 4);
            drop(ends);
            for copy in copies {
                let copied = copy.join();
                assert_eq!((copied.a_to_b, copied.b_to_a), (4, 4));
            }
        });
    }
}

/// Law 8. Receivers that do not read hold pipes, but no more than a quarter of the descriptors; those beyond that have a buffer, and
/// all bytes arrive.
#[test]
fn pipes_take_no_more_than_a_quarter_of_the_descriptors() {
    const NUMBER: usize = 60;
    const DESCRIPTORS: u64 = 400;
    const PIECE: usize = 60_000;
    if !alone("pipes_take_no_more_than_a_quarter_of_the_descriptors", &[]) {
        return;
    }
    set_limit(libc::RLIMIT_NOFILE, DESCRIPTORS);
    each_case("more slow readers than pipes", |case, workers| {
        let before = pipe_ends();
        let (ends, copies) = proxies(case, NUMBER, narrow_pair);
        thread::scope(|s| {
            let senders: Vec<_> = ends
                .iter()
                .map(|(client, _)| s.spawn(move || send_all(client, PIECE)))
                .collect();
            // All that can be on its way is.
            until(|| pipe_ends() - before >= DESCRIPTORS as usize / 4);
            case.until_at_rest();
            assert_eq!(pipe_ends() - before, DESCRIPTORS as usize / 4);
            for (_, server) in &ends {
                server.shutdown(Shutdown::Write).unwrap();
                s.spawn(move || check_all(server, PIECE));
            }
            drop(senders);
        });
        for copy in copies {
            assert_eq!(copy.join().a_to_b, PIECE as u64);
        }
        // What threads keep, at most; those of plain threads have gone with them.
        until(|| pipe_ends() - before <= workers * 2 * 16);
    });
}

/// Promise 45 for pipes: a process without a descriptor to spare copies as before, through a buffer.
#[test]
fn without_a_descriptor_for_a_pipe_bytes_go_through_a_buffer() {
    const PIECE: usize = 3_000_000;
    if !alone(
        "without_a_descriptor_for_a_pipe_bytes_go_through_a_buffer",
        &[],
    ) {
        return;
    }
    set_limit(libc::RLIMIT_NOFILE, 300);
    each_case("a copy without descriptors", |case, _| {
        // So that the workers have all that they need; but for pipes, of which they keep those that they have.
        let ((inner, client), (outer, server)) = (pair(), pair());
        let before = pipe_ends();
        let mut all = Vec::new();
        while let Ok(file) = std::fs::File::open("/dev/null") {
            all.push(file);
        }
        // One for a netpoller to watch pipes by, none for a pipe.
        let copy = case.spawn(move || withy::io::copy_bidirectional(&inner, &outer).unwrap());
        thread::scope(|s| {
            for stream in [&client, &server] {
                s.spawn(move || send_all(stream, PIECE));
            }
            s.spawn(|| check_all(&server, PIECE));
            check_all(&client, PIECE);
        });
        let copied = copy.join();
        assert_eq!((copied.a_to_b, copied.b_to_a), (PIECE as u64, PIECE as u64));
        drop(all);
        assert_eq!(pipe_ends(), before, "of {} descriptors", descriptors());
    });
}
