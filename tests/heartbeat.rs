//! `Heartbeat`, in virtual time: when beats are sent, and when a peer counts as gone, to the nanosecond.

mod rig;
mod support;

use std::cell::Cell;
use std::io::{self, ErrorKind, Read, Write};
use std::panic::catch_unwind;
use std::time::{Duration, Instant};

use rig::each_runtime;
use rig::parties::in_virtual_time;
use support::sockets::narrow_pair;
use withy::net::{Due, Heartbeat};
use withy::{now, park, scope, sleep, sleep_until, timeout};

const INTERVAL: Duration = Duration::from_secs(10);
const LIMIT: Duration = Duration::from_secs(35);
const NANOSECOND: Duration = Duration::from_nanos(1);

/// Item 7. With nothing else to send, a beat goes out each interval, and none of a busy connection.
#[test]
fn beats_are_sent_when_nothing_else_is() {
    in_virtual_time("beats", || {
        let start = now();
        let heartbeat = Heartbeat::new(INTERVAL, LIMIT);
        let beats = std::sync::Mutex::new(Vec::new());
        scope(|s| {
            let watch = s.spawn(|| {
                heartbeat.watch(|| {
                    // The peer answers each.
                    heartbeat.received();
                    beats.lock().unwrap().push(now() - start);
                    Ok(())
                })
            });
            sleep(INTERVAL * 3 + INTERVAL / 2);
            assert_eq!(
                *beats.lock().unwrap(),
                [INTERVAL, INTERVAL * 2, INTERVAL * 3]
            );
            // An hour of requests.
            for _ in 0..360 {
                heartbeat.sent();
                heartbeat.received();
                sleep(INTERVAL - NANOSECOND);
            }
            assert_eq!(beats.lock().unwrap().len(), 3);
            // Then a pause.
            let last = now() - start;
            sleep(INTERVAL);
            assert_eq!(beats.lock().unwrap()[3..], [last + NANOSECOND]);
            watch.cancel();
        });
    });
}

/// Item 7. A peer counts as gone when nothing was received for the limit, not before, and however much was sent.
#[test]
fn a_silent_peer_is_gone_at_the_limit() {
    in_virtual_time("a silent peer", || {
        let start = now();
        let heartbeat = Heartbeat::new(INTERVAL, LIMIT);
        let mut beats = 0;
        scope(|s| {
            s.spawn(|| {
                sleep(LIMIT - NANOSECOND);
                // Just in time.
                heartbeat.received();
            });
            let gone = heartbeat.watch(|| {
                beats += 1;
                Ok(())
            });
            assert_eq!(gone.kind(), ErrorKind::TimedOut);
            assert!(gone.to_string().contains("35s"), "{gone}");
            assert_eq!(now() - start, LIMIT * 2 - NANOSECOND);
            assert_eq!(heartbeat.due().unwrap_err().kind(), ErrorKind::TimedOut);
        });
        assert_eq!(beats, 6);
    });
}

/// Half-open connections take what is written until they are full: a beat that is stuck does not hide that the peer is
/// gone.
#[test]
fn a_beat_that_is_stuck_ends_at_the_limit() {
    in_virtual_time("a beat without room", || {
        let start = now();
        let heartbeat = Heartbeat::new(INTERVAL, LIMIT);
        let dropped = Cell::new(0);
        struct Counts<'a>(&'a Cell<u32>);
        impl Drop for Counts<'_> {
            fn drop(&mut self) {
                self.0.set(self.0.get() + 1);
            }
        }
        let gone = heartbeat.watch(|| {
            let _beat = Counts(&dropped);
            loop {
                park();
            }
        });
        assert_eq!(gone.kind(), ErrorKind::TimedOut);
        assert_eq!(now() - start, LIMIT);
        assert_eq!(dropped.get(), 1);

        // One that begins just before has an interval at least: the peer may be heard of meanwhile.
        let start = now();
        let heartbeat = Heartbeat::new(INTERVAL, LIMIT);
        sleep(LIMIT - NANOSECOND);
        let beats = Cell::new(0);
        let gone = heartbeat.watch(|| {
            beats.set(beats.get() + 1);
            sleep(INTERVAL - NANOSECOND);
            heartbeat.received();
            match beats.get() {
                1 => Ok(()),
                _ => Err(io::Error::from(ErrorKind::BrokenPipe)),
            }
        });
        // A beat's own error ends it, too.
        assert_eq!((gone.kind(), beats.get()), (ErrorKind::BrokenPipe, 2));
        assert_eq!(now() - start, LIMIT + INTERVAL * 3 - NANOSECOND * 3);
    });
}

/// A beat may have to wait for long while a large message goes out. As long as the peer is heard, it is not gone.
#[test]
fn a_beat_that_is_stuck_ends_no_connection_whose_peer_is_heard() {
    in_virtual_time("a beat that waits for its turn", || {
        let start = now();
        let heartbeat = Heartbeat::new(INTERVAL, LIMIT);
        scope(|s| {
            s.spawn(|| {
                while now() - start < LIMIT * 3 {
                    sleep(INTERVAL);
                    heartbeat.received();
                }
            });
            let mut turns = 0;
            let gone = heartbeat.watch(|| {
                turns += 1;
                match turns {
                    1 => sleep(LIMIT * 3),
                    _ => sleep(Duration::MAX),
                }
                Ok(())
            });
            assert_eq!((gone.kind(), turns), (ErrorKind::TimedOut, 2));
            // It is heard after 110 s for the last time.
            assert_eq!(now() - start, INTERVAL * 11 + LIMIT);
        });
    });
}

/// Item 7. The other way: an arm of a select, and what is due then.
#[test]
fn a_select_waits_for_what_is_due() {
    in_virtual_time("a select with a heartbeat", || {
        let start = now();
        let heartbeat = Heartbeat::new(INTERVAL, LIMIT);
        let (tell, told) = withy::sync::channel::unbounded();
        withy::spawn(move || {
            for n in 0..3 {
                sleep(INTERVAL * 3 / 2);
                tell.send(n).unwrap();
            }
            park();
            drop(tell);
        });
        let mut log = Vec::new();
        let gone = loop {
            withy::select! {
                recv(told) -> n => {
                    heartbeat.received();
                    heartbeat.sent();
                    log.push((n.unwrap(), now() - start));
                }
                deadline(heartbeat.next_due()) => match heartbeat.due() {
                    Ok(Due::Nothing) => unreachable!("nothing was sent or received meanwhile"),
                    Ok(Due::Beat) => {
                        heartbeat.sent();
                        log.push((99, now() - start));
                    }
                    Err(gone) => break gone,
                },
            }
        };
        assert_eq!(gone.kind(), ErrorKind::TimedOut);
        let at = |n, seconds| (n, Duration::from_secs(seconds));
        assert_eq!(
            log,
            [
                at(99, 10),
                at(0, 15),
                at(99, 25),
                at(1, 30),
                at(99, 40),
                at(2, 45),
                at(99, 55),
                at(99, 65),
                at(99, 75),
            ]
        );
        assert_eq!(now() - start, Duration::from_secs(45) + LIMIT);
    });
}

/// Promise 28. A watch is cancelled as any wait is, while it sleeps and while a beat is on its way.
#[test]
fn a_watch_can_be_cut_short() {
    in_virtual_time("a watch that is cut short", || {
        let start = now();
        let heartbeat = Heartbeat::new(INTERVAL, LIMIT);
        assert!(timeout(INTERVAL / 2, || heartbeat.watch(|| Ok(()))).is_err());
        assert_eq!(now() - start, INTERVAL / 2);
        let cut = timeout(INTERVAL, || {
            heartbeat.watch(|| {
                park();
                Ok(())
            })
        });
        assert!(cut.is_err());
        assert_eq!(now() - start, INTERVAL * 3 / 2);
    });
}

/// Bad input: times of zero are refused, and those beyond the clock are never.
#[test]
fn odd_times_are_refused_or_never_come() {
    for (interval, limit) in [(Duration::ZERO, LIMIT), (INTERVAL, Duration::ZERO)] {
        let made = catch_unwind(|| Heartbeat::new(interval, limit));
        let payload = made.unwrap_err();
        assert!(rig::text_of(&*payload).contains("expected both above zero"));
    }
    let heartbeat = Heartbeat::new(Duration::MAX, Duration::MAX);
    heartbeat.sent();
    heartbeat.received();
    assert!(heartbeat.next_due() > Instant::now() + Duration::from_secs(1 << 30));
    assert_eq!(heartbeat.due().unwrap(), Due::Nothing);
    in_virtual_time("an interval without end", || {
        let heartbeat = Heartbeat::new(Duration::MAX, LIMIT);
        let start = now();
        assert_eq!(heartbeat.watch(|| Ok(())).kind(), ErrorKind::TimedOut);
        assert_eq!(now() - start, LIMIT);
        sleep_until(start);
    });
}

/// A real connection whose peer neither reads nor writes, with buffers that are full: reader and writer, both blocked,
/// are told by way of the scope.
#[test]
fn a_scope_ends_with_the_heartbeat_of_a_half_open_connection() {
    each_runtime("a half-open connection", |runtime, _| {
        let (ours, peer) = narrow_pair();
        let ended: io::Result<()> = runtime.run(move || {
            let heartbeat = Heartbeat::new(Duration::from_millis(2), Duration::from_millis(10));
            let result = withy::try_scope(|s| {
                s.spawn(|| Err::<(), _>(heartbeat.watch(|| (&ours).write_all(&[0; 4096]))));
                s.spawn(|| -> io::Result<()> {
                    loop {
                        (&ours).write_all(&[1; 65536])?;
                        heartbeat.sent();
                    }
                });
                loop {
                    (&ours).read_exact(&mut [0; 8])?;
                    heartbeat.received();
                }
            });
            drop(peer);
            result
        });
        assert_eq!(ended.unwrap_err().kind(), ErrorKind::TimedOut);
    });
}
