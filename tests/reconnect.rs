//! `Backoff` and `reconnect`: bounds of chance by property, attempts by count, delays in virtual time.

mod rig;
mod support;

use std::cell::Cell;
use std::io::{self, ErrorKind, Read, Write};
use std::time::Duration;

use rig::each_runtime;
use rig::parties::in_virtual_time;
use withy::net::{Backoff, Jitter, TcpListener, TcpStream, reconnect};
use withy::{now, sleep, timeout};

const BASE: Duration = Duration::from_millis(100);
const CAP: Duration = Duration::from_secs(10);

fn refused<T>() -> io::Result<T> {
    Err(ErrorKind::ConnectionRefused.into())
}

/// Item 7. Without chance, delays double up to the cap and stay there, for ever.
#[test]
fn delays_double_up_to_the_cap() {
    let backoff = Backoff::new(BASE, CAP).jitter(Jitter::None);
    let delays: Vec<_> = backoff
        .clone()
        .take(10)
        .map(|delay| delay.as_millis())
        .collect();
    assert_eq!(
        delays,
        [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000, 10_000]
    );
    assert_eq!(backoff.clone().nth(100_000), Some(CAP));

    // Odd bounds: a base above the cap, of nothing, and a cap that is never reached, nor overflowed.
    assert!(
        Backoff::new(CAP, BASE)
            .jitter(Jitter::None)
            .take(9)
            .all(|delay| delay == BASE)
    );
    let from_nothing = Backoff::new(Duration::ZERO, CAP).jitter(Jitter::None);
    assert_eq!(from_nothing.clone().nth(3), Some(Duration::from_nanos(8)));
    assert_eq!(from_nothing.clone().nth(60), Some(CAP));
    for jitter in [
        Jitter::None,
        Jitter::Full,
        Jitter::Equal,
        Jitter::Decorrelated,
    ] {
        for bounds in [
            (Duration::MAX, Duration::MAX),
            (BASE, Duration::MAX),
            (CAP, Duration::ZERO),
        ] {
            let mut backoff = Backoff::new(bounds.0, bounds.1).jitter(jitter);
            assert!(backoff.by_ref().take(200).all(|delay| delay <= bounds.1));
        }
    }
}

/// Item 7. Whatever the seed, each delay lies within its jitter's bounds, and chance uses all of them.
#[test]
fn chance_keeps_to_its_bounds_and_uses_them() {
    for jitter in [Jitter::Full, Jitter::Equal, Jitter::Decorrelated] {
        let (mut low, mut high) = (0, 0);
        for seed in 0..500 {
            let random = Backoff::new(BASE, CAP).jitter(jitter).seed(seed);
            let plain = Backoff::new(BASE, CAP).jitter(Jitter::None);
            let mut last = BASE;
            for (index, (delay, exponential)) in random.zip(plain).take(20).enumerate() {
                let (from, to) = match jitter {
                    Jitter::Full => (Duration::ZERO, exponential),
                    Jitter::Equal => (exponential / 2, exponential),
                    _ => (BASE, (last * 3).min(CAP)),
                };
                assert!(
                    (from..=to).contains(&delay),
                    "seed {seed}, {jitter:?}, delay {index}: {delay:?}, expected {from:?} to {to:?}"
                );
                let tenth = (to - from) / 10;
                low += usize::from(delay <= from + tenth);
                high += usize::from(delay >= to - tenth);
                last = delay;
            }
        }
        // A tenth of 10,000 each, if all are alike likely; those at the cap are more.
        assert!(
            low > 700 && high > 700,
            "{jitter:?}: {low} low, {high} high"
        );
    }
}

/// Item 7. One seed, one sequence; without one, clients differ.
#[test]
fn a_seed_makes_chance_repeatable() {
    let of = |seed| {
        Backoff::new(BASE, CAP)
            .seed(seed)
            .take(50)
            .collect::<Vec<_>>()
    };
    assert_eq!(of(1), of(1));
    assert_ne!(of(1), of(2));
    let unseeded = || Backoff::new(BASE, CAP).take(50).collect::<Vec<_>>();
    assert_ne!(unseeded(), unseeded());
}

/// Item 7. The limit of attempts counts from the last reset, and ends with the last error.
#[test]
fn attempts_are_counted_until_a_reset() {
    in_virtual_time("attempts", || {
        for attempts in [0, 1, 2, 7] {
            let mut backoff = Backoff::new(BASE, CAP)
                .jitter(Jitter::None)
                .attempts_max(attempts);
            let calls = Cell::new(0);
            let start = now();
            let connect = || {
                calls.set(calls.get() + 1);
                Err::<(), _>(io::Error::other(calls.get().to_string()))
            };
            let error = reconnect(&mut backoff, connect).unwrap_err();
            assert_eq!(calls.get(), attempts.max(1));
            assert_eq!(error.to_string(), calls.get().to_string());
            let waited: u32 = (0..attempts.saturating_sub(1)).map(|n| 1 << n).sum();
            assert_eq!(now() - start, BASE * waited);
            // None is left.
            let error = reconnect(&mut backoff, connect).unwrap_err();
            assert_eq!(
                (error.kind(), calls.get()),
                (ErrorKind::TimedOut, attempts.max(1))
            );
            backoff.reset();
            assert!(reconnect(&mut backoff, connect).is_err());
            assert_eq!(calls.get(), attempts.max(1) * 2);
        }
    });
}

/// Item 7. The first attempt comes at once; a connection that was made is not one that has proved good, so without a
/// reset the next attempt waits, longer each time.
#[test]
fn a_connection_that_breaks_at_once_is_not_made_in_a_hot_loop() {
    in_virtual_time("connections that break at once", || {
        let mut backoff = Backoff::new(BASE, CAP).jitter(Jitter::None);
        let mut gaps = Vec::new();
        let mut last = now();
        for _ in 0..5 {
            reconnect(&mut backoff, || Ok(())).unwrap();
            gaps.push((now() - last).as_millis());
            last = now();
        }
        assert_eq!(gaps, [0, 100, 200, 400, 800]);
        backoff.reset();
        reconnect(&mut backoff, || Ok(())).unwrap();
        assert_eq!(now(), last);
    });
}

/// Promise 28. What cuts it short ends the attempts, also in the middle of a delay.
#[test]
fn attempts_end_when_they_are_cut_short() {
    in_virtual_time("attempts that are cut short", || {
        let mut backoff = Backoff::new(CAP, CAP).jitter(Jitter::None);
        let mut calls = 0;
        let start = now();
        let cut = timeout(CAP * 5 / 2, || {
            reconnect(&mut backoff, || {
                calls += 1;
                refused::<()>()
            })
        });
        assert!(cut.is_err());
        sleep(CAP * 10);
        assert_eq!((calls, now() - start), (3, CAP * 25 / 2));
    });
}

/// Item 7. A server that is not there yet is found when it is.
#[test]
fn a_server_that_comes_up_is_found() {
    each_runtime("a server that comes up", |runtime, _| {
        runtime.run(|| {
            // A port that refuses, until its owner listens.
            let socket = socket2::Socket::new(
                socket2::Domain::IPV4,
                socket2::Type::STREAM,
                Some(socket2::Protocol::TCP),
            )
            .unwrap();
            let any: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
            socket.bind(&any.into()).unwrap();
            let addr = socket.local_addr().unwrap().as_socket().unwrap();
            let mut attempts = 0;
            let mut backoff = Backoff::new(Duration::from_micros(10), Duration::from_millis(1));
            let mut listener = None;
            let mut connection = reconnect(&mut backoff, || {
                attempts += 1;
                if attempts == 5 {
                    socket.listen(8)?;
                    listener = Some(TcpListener::from(std::net::TcpListener::from(
                        socket.try_clone()?,
                    )));
                }
                let connected = TcpStream::connect(addr);
                assert_eq!(connected.is_ok(), attempts >= 5);
                connected
            })
            .unwrap();
            assert_eq!(attempts, 5);
            let (mut server, _) = listener.unwrap().accept().unwrap();
            server.write_all(b"hello").unwrap();
            let mut greeting = [0; 5];
            connection.read_exact(&mut greeting).unwrap();
            assert_eq!(&greeting, b"hello");
        });
    });
}
