//! The stream pair in memory behaves as a TCP connection does, but where it says that it differs.

mod support;

use std::fmt::Write as _;
use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use support::sockets::{fill, is_filled, kind};
use support::{Callers, Case, LIMIT, matrix, rest, runtime, within};
use withy::net::{Duplex, Shutdown, TcpListener, TcpStream, duplex};

const SHORT: Duration = Duration::from_millis(15);
const FAR: Duration = Duration::from_secs(3600);

/// A walk over what `TcpStream` and `Duplex` have in common; what it sees goes to a text.
macro_rules! walk {
    ($pair:expr) => {{
        let (mut client, mut server) = $pair;
        let mut seen = String::new();
        let mut note = |what: &str, value: &dyn std::fmt::Debug| {
            writeln!(seen, "{what}: {value:?}").unwrap();
        };
        let kinds = |error: std::io::Error| error.kind();
        for zero in [
            client.set_read_timeout(Some(Duration::ZERO)),
            client.set_write_timeout(Some(Duration::ZERO)),
        ] {
            note("zero timeout", &zero.map_err(kinds));
        }
        client.set_read_timeout(Some(FAR)).unwrap();
        client.set_write_timeout(Some(FAR)).unwrap();
        note(
            "timeouts",
            &(
                client.read_timeout().unwrap(),
                client.write_timeout().unwrap(),
            ),
        );
        client.set_read_timeout(Some(Duration::MAX)).unwrap();
        note("the longest", &client.read_timeout().unwrap());
        client.set_read_timeout(None).unwrap();
        client.set_write_timeout(None).unwrap();

        server.set_nonblocking(true).unwrap();
        note("read", &server.read(&mut [0; 4]).map_err(kinds));
        note("peek", &server.peek(&mut [0; 4]).map_err(kinds));
        note("empty read", &server.read(&mut []).map_err(kinds));
        note("empty write", &server.write(&[]).map_err(kinds));
        let empty = &mut [IoSliceMut::new(&mut [])];
        note("empty slices", &server.read_vectored(empty).map_err(kinds));
        server.set_nonblocking(false).unwrap();
        server.set_read_timeout(Some(SHORT)).unwrap();
        note("timed read", &server.read(&mut [0; 4]).map_err(kinds));
        note("timed peek", &server.peek(&mut [0; 4]).map_err(kinds));
        server.set_read_deadline(Some(Instant::now())).unwrap();
        note("late read", &server.read(&mut [0; 4]).map_err(kinds));
        server.set_read_deadline(None).unwrap();
        server.set_read_timeout(None).unwrap();

        note("flush", &client.flush());
        let slices = [
            IoSlice::new(b"01234"),
            IoSlice::new(b""),
            IoSlice::new(b"56789"),
        ];
        note("vectored", &client.write_vectored(&slices).unwrap());
        let (mut first, mut second) = ([0; 3], [0; 2]);
        note("peek", &(server.peek(&mut first).unwrap(), first));
        note("empty read", &server.read(&mut []).unwrap());
        let slices = &mut [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
        note("vectored", &server.read_vectored(slices).unwrap());
        note("bytes", &(first, second));
        let clone = client.try_clone().unwrap();
        clone.shutdown(Shutdown::Write).unwrap();
        note("again", &clone.shutdown(Shutdown::Write));
        note("write", &client.write(b"x").map_err(kinds));
        note("empty write", &client.write(&[]).map_err(kinds));
        let mut rest = Vec::new();
        server.read_to_end(&mut rest).unwrap();
        note("to the end", &rest);
        note("at the end", &server.read(&mut [0; 4]).unwrap());
        note("peek at the end", &server.peek(&mut [0; 4]).unwrap());
        server.write_all(b"still open").unwrap();
        drop(server);
        rest.clear();
        client.read_to_end(&mut rest).unwrap();
        note("the other way", &rest);
        drop((client, clone));
        seen
    }};
}

fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

/// Promises 1, 15 and 19. One text for both types sees the same.
#[test]
fn what_it_shares_with_tcp_is_the_same() {
    matrix(LIMIT, "the common surface", |case| {
        let tcp = case.run(|| walk!(tcp_pair()));
        let ours = case.run(|| walk!(duplex(64)));
        assert_eq!(tcp, ours);
    });
}

/// As `TcpStream`, it can be sent, shared, and caught unwinding.
#[test]
fn it_is_as_free_as_a_socket() {
    fn free<T: Send + Sync + Unpin + UnwindSafe + RefUnwindSafe + 'static>() {}
    free::<Duplex>();
    assert_eq!(format!("{:?}", duplex(1).0), "Duplex { .. }");
}

/// Promises 5 and 6. A megabyte each way through narrow pipes, all four directions at once, arrives whole.
#[test]
fn a_megabyte_each_way_arrives_whole() {
    const BYTES: u64 = 1 << 20;
    for capacity in [1000, 65_536] {
        matrix(LIMIT, "a megabyte each way", |case| {
            let (one, other) = duplex(capacity);
            let mut callers = Vec::new();
            for end in [one, other] {
                let writer = end.try_clone().unwrap();
                callers.push(case.spawn(move || {
                    let (mut at, mut buf) = (0, [0; 1777]);
                    while at < BYTES {
                        let len = (BYTES - at).min(buf.len() as u64) as usize;
                        fill(&mut buf[..len], at);
                        (&writer).write_all(&buf[..len]).unwrap();
                        at += len as u64;
                    }
                    writer.shutdown(Shutdown::Write).unwrap();
                }));
                callers.push(case.spawn(move || {
                    let (mut at, mut buf) = (0, [0; 1311]);
                    loop {
                        match (&end).read(&mut buf).unwrap() {
                            0 => break,
                            len => {
                                assert!(is_filled(&buf[..len], at));
                                at += len as u64;
                            }
                        }
                    }
                    assert_eq!(at, BYTES);
                }));
            }
            callers.into_iter().for_each(support::Caller::join);
        });
    }
}

/// Promises 6 and 7. Pipes of one byte, several readers and writers: every byte to exactly one, no wake-up lost.
#[test]
fn each_byte_goes_to_one_of_many_readers() {
    const EACH: usize = 200;
    matrix(
        LIMIT,
        "three writers and three readers of one byte",
        |case| {
            let (sink, source) = duplex(1);
            let got = Arc::new(AtomicUsize::new(0));
            let writers: Vec<_> = (0..3)
                .map(|_| {
                    let mut sink = sink.try_clone().unwrap();
                    case.spawn(move || {
                        for _ in 0..EACH {
                            sink.write_all(&[1]).unwrap();
                        }
                    })
                })
                .collect();
            drop(sink);
            let readers: Vec<_> = (0..3)
                .map(|_| {
                    let (mut source, got) = (source.try_clone().unwrap(), Arc::clone(&got));
                    case.spawn(move || {
                        while source.read(&mut [0; 4]).unwrap() == 1 {
                            got.fetch_add(1, Ordering::Relaxed);
                        }
                    })
                })
                .collect();
            writers.into_iter().for_each(support::Caller::join);
            readers.into_iter().for_each(support::Caller::join);
            assert_eq!(got.load(Ordering::Relaxed), 3 * EACH);
        },
    );
}

/// Starts `body`, and returns when it is blocked.
fn blocked<T: Send + 'static>(
    case: &Case,
    body: impl FnOnce() -> T + Send + 'static,
) -> support::Caller<T> {
    let caller = case.spawn(body);
    case.until_at_rest();
    caller
}

/// Promises 2, 3 and 4. Readers and writers that are blocked learn of a shutdown at either end, and of a drop.
#[test]
fn a_close_reaches_blocked_callers() {
    type Close = fn(&Duplex, &mut Option<Duplex>);
    let closes: [Close; 3] = [
        |_, theirs| *theirs = None,
        |_, theirs| theirs.as_ref().unwrap().shutdown(Shutdown::Both).unwrap(),
        |ours, _| ours.shutdown(Shutdown::Both).unwrap(),
    ];
    matrix(LIMIT, "a close under blocked callers", |case| {
        for close in closes {
            let (ours, theirs) = duplex(4);
            (&ours).write_all(b"full").unwrap();
            let (reading, writing) = (ours.try_clone().unwrap(), ours.try_clone().unwrap());
            let reader = blocked(case, move || (&reading).read(&mut [0; 4]).unwrap());
            let writer = blocked(case, move || kind(&(&writing).write(b"more")));
            let mut theirs = Some(theirs);
            close(&ours, &mut theirs);
            assert_eq!(reader.join(), 0);
            assert_eq!(writer.join(), Some(ErrorKind::BrokenPipe));
            assert_eq!(kind(&(&ours).write(b"x")), Some(ErrorKind::BrokenPipe));
            if let Some(mut theirs) = theirs {
                // Promise 11: what was written before comes first.
                let mut rest = Vec::new();
                theirs.read_to_end(&mut rest).unwrap();
                assert_eq!(rest, b"full");
            }
        }
    });
}

/// Promises 22 and 24. Timeouts and deadlines end reads and writes, never early, with the errors of sockets; cleared,
/// calls block again.
#[test]
fn limits_end_reads_and_writes() {
    matrix(LIMIT, "limits of a pair in memory", |case| {
        case.run(|| {
            let (mut ours, mut theirs) = duplex(4);
            ours.write_all(b"full").unwrap();
            ours.set_read_timeout(Some(SHORT)).unwrap();
            ours.set_write_timeout(Some(SHORT)).unwrap();
            let start = Instant::now();
            assert_eq!(kind(&ours.read(&mut [0; 4])), Some(ErrorKind::WouldBlock));
            assert!(start.elapsed() >= SHORT, "the read ended early");
            let start = Instant::now();
            assert_eq!(kind(&ours.write(b"x")), Some(ErrorKind::WouldBlock));
            assert!(start.elapsed() >= SHORT, "the write ended early");

            ours.set_read_timeout(Some(FAR)).unwrap();
            ours.set_write_timeout(None).unwrap();
            let end = Instant::now() + SHORT;
            ours.set_deadline(Some(end)).unwrap();
            assert_eq!(ours.read_deadline().unwrap(), Some(end));
            assert_eq!(ours.write_deadline().unwrap(), Some(end));
            assert_eq!(kind(&ours.read(&mut [0; 4])), Some(ErrorKind::TimedOut));
            assert!(Instant::now() >= end, "the read ended early");
            assert_eq!(kind(&ours.write(b"x")), Some(ErrorKind::TimedOut));

            // Promise 25: past the deadline, what need not wait is done.
            theirs.write_all(b"ab").unwrap();
            assert_eq!(ours.read(&mut [0; 4]).unwrap(), 2);
            assert_eq!(theirs.read(&mut [0; 2]).unwrap(), 2);
            assert_eq!(ours.write(b"xyz").unwrap(), 2);
            // The peer has limits of its own.
            assert_eq!(theirs.read_deadline().unwrap(), None);
        });
        let (ours, mut theirs) = duplex(4);
        ours.set_read_deadline(Some(Instant::now())).unwrap();
        ours.set_read_deadline(None).unwrap();
        let reader = blocked(case, move || (&ours).read(&mut [0; 4]).unwrap());
        theirs.write_all(b"late").unwrap();
        assert_eq!(reader.join(), 4);
    });
}

/// Promise 26. Limits that are changed meanwhile take effect on blocked calls: sooner, and later.
#[test]
fn changed_limits_reach_blocked_callers() {
    matrix(LIMIT, "limits changed meanwhile", |case| {
        for by_deadline in [false, true] {
            let (ours, theirs) = duplex(1);
            (&ours).write_all(b"f").unwrap();
            let ours = Arc::new(ours);
            ours.set_deadline(Some(Instant::now() + FAR)).unwrap();
            let (reading, writing) = (Arc::clone(&ours), Arc::clone(&ours));
            let reader = blocked(case, move || kind(&(&*reading).read(&mut [0; 4])));
            let writer = blocked(case, move || kind(&(&*writing).write(b"x")));
            ours.set_deadline(None).unwrap();
            let expected = if by_deadline {
                ours.set_deadline(Some(Instant::now() + SHORT)).unwrap();
                ErrorKind::TimedOut
            } else {
                ours.set_read_timeout(Some(SHORT)).unwrap();
                ours.set_write_timeout(Some(SHORT)).unwrap();
                ErrorKind::WouldBlock
            };
            assert_eq!(reader.join(), Some(expected));
            assert_eq!(writer.join(), Some(expected));
            drop(theirs);
        }
        let (ours, mut theirs) = duplex(1);
        let ours = Arc::new(ours);
        let end = Instant::now() + SHORT * 4;
        ours.set_read_deadline(Some(end)).unwrap();
        let reading = Arc::clone(&ours);
        let reader = blocked(case, move || (&*reading).read(&mut [0; 4]));
        ours.set_read_deadline(None).unwrap();
        let in_time = Instant::now() < end;
        std::thread::sleep(SHORT + end.saturating_duration_since(Instant::now()));
        theirs.write_all(b"x").unwrap();
        // On a machine so slow that the deadline came first there is nothing to see.
        assert!(!in_time || reader.join().is_ok());
    });
}

/// Promises 53 and 55. Callers that are blocked when their runtime shuts down unwind, and leave the pair usable; what
/// they do in destructors that would have to wait fails, and what need not wait is done.
#[test]
fn a_shutdown_unwinds_blocked_callers() {
    struct Farewell(Arc<Duplex>, Arc<AtomicUsize>);
    impl Drop for Farewell {
        fn drop(&mut self) {
            assert_eq!(
                kind(&(&*self.0).read(&mut [0; 4])),
                Some(ErrorKind::TimedOut)
            );
            assert_eq!((&*self.0).write(b"bye").unwrap(), 3);
            self.1.fetch_add(1, Ordering::SeqCst);
        }
    }
    for (workers, full_stealing) in [(1, false), (2, false), (8, true)] {
        within(LIMIT, "a shutdown under blocked callers", || {
            let runtime = runtime(workers, full_stealing);
            let (ours, mut theirs) = duplex(64);
            let (ours, farewells) = (Arc::new(ours), Arc::new(AtomicUsize::new(0)));
            for _ in 0..3 {
                let farewell = Farewell(Arc::clone(&ours), Arc::clone(&farewells));
                runtime.spawn(move || (&*farewell.0).read(&mut [0; 4]));
            }
            rest::until_all_sleep(&rest::workers_of(&runtime));
            runtime.shutdown(LIMIT).unwrap();
            assert_eq!(farewells.load(Ordering::SeqCst), 3);
            assert_eq!(Arc::strong_count(&ours), 1);
            theirs.write_all(b"on").unwrap();
            assert_eq!((&*ours).read(&mut [0; 4]).unwrap(), 2);
            drop(ours);
            let mut rest = String::new();
            theirs.read_to_string(&mut rest).unwrap();
            assert_eq!(rest, "byebyebye");
        });
    }
}

/// Promise 39. A pair that is always ready starves nobody: its callers yield in time.
#[test]
fn a_busy_pair_starves_nobody() {
    within(LIMIT, "a neighbour of a busy pair", || {
        let case = Case::new(1, false, Callers::Coroutines);
        let done = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&done);
        let busy = case.spawn(move || {
            let (mut ours, mut theirs) = duplex(8);
            while seen.load(Ordering::Relaxed) == 0 {
                ours.write_all(b"x").unwrap();
                theirs.read_exact(&mut [0]).unwrap();
            }
        });
        let neighbour = case.spawn(move || done.fetch_add(1, Ordering::Relaxed));
        neighbour.join();
        busy.join();
    });
}

/// A pair without room is refused.
#[test]
#[should_panic(expected = "got a capacity of zero, expected room for one byte at least")]
fn a_pair_without_room_is_refused() {
    let _ = duplex(0);
}

/// Promise 19. The largest capacity takes no memory before it is used.
#[test]
fn the_largest_pair_costs_nothing_unused() {
    let (mut ours, mut theirs) = duplex(usize::MAX);
    ours.write_all(b"x").unwrap();
    assert_eq!(theirs.read(&mut [0; 4]).unwrap(), 1);
}
