//! Peers that fail a server: killed connections, a network that is gone, readers that do not read.

mod rig;
mod support;

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream as StdStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rig::child::alone;
use rig::network::{in_own_network, set_loopback};
use rig::places::{Client, Place, each_place};
use rig::process::{epoll_instances, status};
use rig::serving::{Serving, ask, echo};
use rig::{tools, until};
use socket2::{SockRef, TcpKeepalive};
use support::sockets::{fill, is_filled, reset};
use support::{Callers, Case, LIMIT, matrix, within};
use withy::net::TcpStream;

/// Promise 2. Peers that reset in the middle of a request, of an answer, and while both sides wait: each ends its own
/// connection, as an error, and the others hear nothing of it.
#[test]
fn a_reset_ends_its_connection_only() {
    matrix(LIMIT, "resets among connections", |case| {
        let serving = Serving::start(
            case,
            |server| server,
            |mut stream: TcpStream, _| {
                let mut order = [0; 1];
                stream.read_exact(&mut order)?;
                match order[0] {
                    // Blocked in a write.
                    b'w' => stream.write_all(&vec![7; 16 << 20]),
                    _ => echo(stream),
                }
            },
        );
        let others: Vec<_> = (0..5).map(|_| serving.connect()).collect();
        for mut other in &others {
            other.write_all(b"e").unwrap();
            ask(other);
        }
        let orders: [&[u8]; 3] = [b"w", b"e", b""];
        for (before, order) in orders.into_iter().enumerate() {
            let mut client = serving.connect();
            client.write_all(order).unwrap();
            if order == b"w" {
                client.read_exact(&mut [0; 64]).unwrap();
            } else if order == b"e" {
                ask(&client);
            }
            reset(client);
            serving.until(|now| now.failed == before as u64 + 1);
            others.iter().for_each(ask);
        }
        drop(others);
        let summary = serving.close();
        assert_eq!((summary.failed, summary.finished), (3, 5), "{summary:?}");
    });
}

/// Kills the server's end of the client's connection, as an operator does; how many the kernel has killed.
fn kill_from_outside(server: SocketAddr, client: &StdStream) -> usize {
    let client = client.local_addr().expect("it is connected");
    let filter = format!("sport = :{} and dport = :{}", server.port(), client.port());
    let killed = Command::new("ss")
        .args(["-K", "-H", "-t", "-n", "state", "established", &filter])
        .output()
        .expect("ss can be started");
    assert!(killed.status.success(), "{killed:?}");
    String::from_utf8_lossy(&killed.stdout).lines().count()
}

/// Promises 2 and 9. A connection that is killed from outside wakes whoever waits on it, in a read and in a write,
/// with its error, and nobody else.
#[test]
fn connections_that_ss_kills_wake_their_handlers() {
    const TEST: &str = "connections_that_ss_kills_wake_their_handlers";
    if !tools::need("ss") || !in_own_network(TEST) {
        return;
    }
    matrix(LIMIT, "killed connections", |case| {
        let errors = Arc::new(std::sync::Mutex::new(Vec::new()));
        let seen = errors.clone();
        let serving = Serving::start(
            case,
            |server| server,
            move |mut stream: TcpStream, _| {
                let mut order = [0; 1];
                stream.read_exact(&mut order)?;
                let ended = match order[0] {
                    b'w' => stream.write_all(&vec![7; 64 << 20]),
                    _ => echo(stream),
                };
                let kind = ended.as_ref().err().map(io::Error::kind);
                seen.lock().unwrap().push(kind);
                ended
            },
        );
        let connect = |order: &[u8]| {
            let mut client = serving.connect();
            client.write_all(order).unwrap();
            client
        };
        let (reader, mut writer, other) = (connect(b"e"), connect(b"w"), connect(b"e"));
        ask(&reader);
        ask(&other);
        writer.read_exact(&mut [0; 64]).unwrap();
        for (number, victim) in [&reader, &writer].into_iter().enumerate() {
            let killed = kill_from_outside(serving.address, victim);
            assert_eq!(
                killed, 1,
                "the kernel kills no sockets: CONFIG_INET_DIAG_DESTROY"
            );
            serving.until(|now| now.failed == number as u64 + 1);
        }
        assert_eq!(
            *errors.lock().unwrap(),
            [Some(ErrorKind::ConnectionAborted); 2]
        );
        // Its peer was told by a reset.
        let mut reader = reader;
        assert_eq!(
            reader.read(&mut [0]).unwrap_err().kind(),
            ErrorKind::ConnectionReset
        );
        ask(&other);
        drop(other);
        assert_eq!(serving.close().finished, 1);
    });
}

/// Half-open peers: the network is gone, and no FIN and no reset will ever come. Keepalive ends those that wait for
/// bytes, the user timeout those whose bytes are not acknowledged.
#[test]
fn half_open_peers_are_found_out() {
    const TEST: &str = "half_open_peers_are_found_out";
    if !in_own_network(TEST) {
        return;
    }
    for full_stealing in [false, true] {
        within(LIMIT, "half-open peers", || {
            set_loopback("up");
            let case = Case::new(2, full_stealing, Callers::Coroutines);
            let serving = Serving::start(
                &case,
                |server| server,
                |mut stream: TcpStream, _| {
                    let mut order = [0; 1];
                    stream.read_exact(&mut order)?;
                    let options = SockRef::from(&stream);
                    if order[0] == b'u' {
                        options.set_tcp_user_timeout(Some(Duration::from_millis(500)))?;
                        stream.write_all(b"told")?;
                        // To have bytes on the way when the network goes.
                        loop {
                            stream.write_all(&[7; 1024])?;
                            withy::sleep(Duration::from_millis(5));
                        }
                    }
                    let keepalive = TcpKeepalive::new()
                        .with_time(Duration::from_secs(1))
                        .with_interval(Duration::from_secs(1))
                        .with_retries(1);
                    options.set_tcp_keepalive(&keepalive)?;
                    stream.write_all(b"told")?;
                    stream.read(&mut [0]).map(drop)
                },
            );
            let clients: Vec<_> = [b"k", b"u", b"k"]
                .into_iter()
                .map(|order| {
                    let mut client = serving.connect();
                    client.write_all(order).unwrap();
                    client.read_exact(&mut [0; 4]).unwrap();
                    client
                })
                .collect();
            assert_eq!(serving.counters.read().active, 3);
            set_loopback("down");
            // As a timeout, or as the last that the kernel has heard: the network is unreachable.
            serving.until(|now| now.timed_out + now.failed == 3 && now.active == 0);
            drop(clients);
            serving.close();
            set_loopback("up");
        });
    }
}

each_place! {
    /// Promise 48. Readers that do not read hold up their own handlers only, and cost no memory of ours, however much there is to
    /// send; when they read on, every byte comes.
    #[test]
    fn slow_readers_cost_no_memory<P>(test) {
        const READERS: usize = 300;
        /// A stack's touched pages and the coroutine's record, generously: debug builds have large frames.
        const EACH_KIB_MAX: u64 = 64;
        const READ_LATER: u64 = 1 << 20;
        if !alone(test, &[]) {
            return;
        }
        within(LIMIT, "slow readers", || {
            let case = Case::new(2, false, Callers::Coroutines);
            let sent = Arc::new(AtomicU64::new(0));
            let counted = sent.clone();
            let serving = Serving::<P>::start_at(
                &case,
                |server| server.drain_timeout(Duration::ZERO),
                move |mut stream, _| -> io::Result<()> {
                    SockRef::from(&stream).set_send_buffer_size(4096)?;
                    let mut offset = 0;
                    let mut buf = [0; 1024];
                    loop {
                        fill(&mut buf, offset);
                        stream.write_all(&buf)?;
                        offset += buf.len() as u64;
                        counted.fetch_add(buf.len() as u64, Ordering::Relaxed);
                    }
                },
            );
            let before = status("VmRSS");
            let readers: Vec<_> = (0..READERS).map(|_| slow_reader(&serving)).collect();
            serving.until(|now| now.active == READERS as u64);
            // All writers have found that they must wait: they, the listener and the wakers of two workers are watched.
            until(|| epoll_instances().iter().map(Vec::len).sum::<usize>() == READERS + 3);
            until_still(&sent);
            let with_readers = status("VmRSS");
            assert!(
                with_readers <= before + READERS as u64 * EACH_KIB_MAX,
                "{before} KiB, then {with_readers}"
            );
            // A few go on, and a multiple of all buffers goes through them.
            let mut chunk = vec![0; 64 << 10];
            for reader in &readers[..10] {
                let mut offset = 0;
                while offset < READ_LATER {
                    let n = reader.io().read(&mut chunk).unwrap();
                    assert!(n > 0 && is_filled(&chunk[..n], offset), "at {offset}");
                    offset += n as u64;
                }
            }
            until_still(&sent);
            let afterwards = status("VmRSS");
            assert!(
                afterwards <= with_readers + 2048,
                "{with_readers} KiB, then {afterwards}"
            );
            let summary = serving.close();
            assert_eq!(summary.cut, READERS as u64, "{summary:?}");
        });
    }
}

/// A client with the smallest buffer there is, that has asked for nothing.
fn slow_reader<P: Place>(serving: &Serving<P>) -> P::Client {
    let client = P::client();
    let set = client.set_recv_buffer_size(4096);
    set.expect("the size can be set");
    P::connect(client, &serving.address)
}

/// Waits until nothing was sent for a while: all writers are blocked. Nothing is asserted about the time.
fn until_still(sent: &AtomicU64) {
    until(|| {
        let before = sent.load(Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(200));
        sent.load(Ordering::Relaxed) == before
    });
}

each_place! {
    /// Promise 48. After a spike of connections that used their stacks deeply, memory falls to 16 KiB for each stack that is kept,
    /// as `StackCache` says, and some slack for the allocator.
    #[test]
    fn memory_falls_after_a_spike_of_connections<P>(test) {
        const CLIENTS: usize = 1_000;
        const KEPT_KIB: u64 = 16;
        const SLACK_KIB: u64 = 8 << 10;
        if !alone(test, &[]) {
            return;
        }
        for (workers, full_stealing) in [(1, false), (2, true), (8, false)] {
            within(LIMIT, "memory after a spike", || {
                let case = Case::new(workers, full_stealing, Callers::Coroutines);
                let serving = Serving::<P>::start_at(
                    &case,
                    |server| server,
                    |stream, _| {
                        touch_stack();
                        echo(stream)
                    },
                );
                drop(serving.connect_and_ask());
                let before = status("VmRSS");
                let clients: Vec<_> = (0..CLIENTS).map(|_| serving.connect_and_ask()).collect();
                let spike = status("VmRSS");
                // Or there is nothing to fall.
                assert!(
                    spike >= before + 96 * CLIENTS as u64,
                    "{before} KiB, then {spike}"
                );
                drop(clients);
                serving.until(|now| now.active == 0);
                until(|| status("VmRSS") <= before + KEPT_KIB * CLIENTS as u64 + SLACK_KIB);
                serving.close();
            });
        }
    }
}

/// Uses 100 KiB of the stack.
#[inline(never)]
fn touch_stack() {
    let mut deep = [0_u8; 100 << 10];
    for byte in deep.iter_mut().step_by(1024) {
        *byte = 7;
    }
    std::hint::black_box(&mut deep);
}
