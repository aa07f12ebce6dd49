//! `timeout` and `deadline`: which frame ends, and what passes through.

use std::io::{self, ErrorKind, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use withy::net::TcpListener;
use withy::{Elapsed, deadline, timeout};

use crate::rig::endings::OnDrop;
use crate::rig::{Drops, text_of, until};
use crate::support::sockets::{narrow_pair, pair};
use crate::support::{self, LIMIT, matrix};

pub(super) const MS: Duration = Duration::from_millis(1);
pub(super) const HOUR: Duration = Duration::from_secs(3600);

/// Promise 22. Elapsed no earlier than asked for, whatever is waited for.
#[test]
fn a_timeout_is_never_early() {
    matrix(LIMIT, "timeouts of many lengths", |case| {
        let callers: Vec<_> = (0..4)
            .map(|seed| {
                case.spawn(move || {
                    let mut random = fastrand::Rng::with_seed(seed);
                    for _ in 0..20 {
                        let limit = Duration::from_nanos(1 << random.u32(0..23));
                        let start = Instant::now();
                        let ended = match random.u8(0..3) {
                            0 => timeout(limit, withy::park),
                            1 => timeout(limit, || withy::sleep(HOUR)),
                            _ => deadline(start + limit, || {
                                loop {
                                    withy::park_timeout(Duration::from_micros(20));
                                }
                            }),
                        };
                        assert!(ended.is_err());
                        assert!(start.elapsed() >= limit);
                    }
                })
            })
            .collect();
        callers.into_iter().for_each(support::Caller::join);
    });
}

/// Promise 27. Of nested frames the outermost that is due ends: the inner one never hides the outer one.
#[test]
fn the_outermost_frame_that_is_due_ends() {
    matrix(LIMIT, "nested timeouts", |case| {
        case.run(|| {
            // The inner one first: the outer one goes on.
            let mut went_on = false;
            let ended = timeout(HOUR, || {
                assert!(timeout(MS, withy::park).is_err());
                withy::sleep(MS / 10);
                went_on = true;
            });
            assert!(ended.is_ok() && went_on);
            // The outer one first.
            let ended = timeout(MS, || {
                let _ = timeout(HOUR, withy::park);
                unreachable!("the outer one is due");
            });
            assert!(ended.is_err());
            // At the same instant, and both long past.
            let at = withy::now() + MS;
            for at in [at, at - 10 * MS] {
                let ended = deadline(at, || {
                    let _ = deadline(at, || {
                        let _ = timeout(HOUR, withy::park);
                        unreachable!("the outermost one is due");
                    });
                    unreachable!("the outermost one is due");
                });
                assert!(ended.is_err());
            }
            // Three deep: the one in the middle.
            let ended = timeout(HOUR, || {
                let middle: Result<(), Elapsed> = timeout(MS, || {
                    let _ = timeout(HOUR, withy::park);
                    unreachable!("the one in the middle is due");
                });
                assert!(middle.is_err());
                5
            });
            assert_eq!(ended, Ok(5));
        });
    });
}

/// Promise 25. What has come counts: a value that is there after the time is returned, and so is one whose last wait ends
/// by what it waited for.
#[test]
fn a_value_that_is_there_counts() {
    matrix(LIMIT, "values at the last moment", |case| {
        case.run(|| {
            // No wait at all.
            assert_eq!(timeout(Duration::ZERO, || 7), Ok(7));
            let busy = || {
                let start = Instant::now();
                while start.elapsed() < MS {
                    std::hint::spin_loop();
                }
                8
            };
            assert_eq!(timeout(MS / 10, busy), Ok(8));
            // A call that need not wait.
            let (mut ours, mut peer) = pair();
            peer.write_all(b"data").unwrap();
            let mut buf = [0; 4];
            let read = timeout(Duration::ZERO, || ours.read_exact(&mut buf));
            assert!(read.unwrap().is_ok());
            assert_eq!(&buf, b"data");
            let finished = withy::spawn(|| 9);
            until(|| finished.is_finished());
            assert_eq!(timeout(Duration::ZERO, || finished.join().unwrap()), Ok(9));
            withy::current().unpark();
            assert!(timeout(Duration::ZERO, withy::park).is_ok());
            assert!(timeout(Duration::ZERO, || withy::sleep_until(Instant::now() - MS)).is_ok());
        });
    });
}

/// Promise 25. Data that races a deadline is returned, or is there for the next read.
#[test]
fn stress_data_that_races_a_timeout_is_not_lost() {
    matrix(LIMIT, "data against timeouts", |case| {
        const BYTES: usize = 300;
        let (mut ours, mut peer) = pair();
        let writer = std::thread::spawn(move || {
            for n in 0..BYTES {
                peer.write_all(&[n as u8]).unwrap();
                std::thread::sleep(Duration::from_micros(n as u64 % 70));
            }
        });
        let all = case.run(move || {
            let mut all = Vec::new();
            let mut elapsed = 0_u64;
            loop {
                let mut buf = [0; 16];
                match timeout(Duration::from_micros(elapsed % 60), || ours.read(&mut buf)) {
                    Ok(read) => match read.unwrap() {
                        0 => break all,
                        read => all.extend_from_slice(&buf[..read]),
                    },
                    Err(_) => elapsed += 1,
                }
            }
        });
        writer.join().unwrap();
        assert_eq!(all, (0..BYTES).map(|n| n as u8).collect::<Vec<_>>());
    });
}

/// Promise 27. A panic passes through, due or not; and so does the value of a closure that panicked and recovered.
#[test]
fn a_panic_passes_through() {
    matrix(LIMIT, "panics in timeouts", |case| {
        case.run(|| {
            for limit in [Duration::ZERO, HOUR] {
                let panicked = catch_unwind(AssertUnwindSafe(|| {
                    let _ = timeout(limit, || timeout(limit, || panic!("whole")));
                }));
                assert_eq!(text_of(&*panicked.unwrap_err()), "whole");
            }
            // No frame is left behind.
            withy::sleep(MS / 10);
            assert!(timeout(MS, withy::park).is_err());
            assert!(!std::thread::panicking());
        });
    });
}

/// Promise 53. A timeout that elapses while destructors run starts no second unwinding; what it bounds is met afterwards.
#[test]
fn a_timeout_that_elapses_in_a_destructor_waits() {
    matrix(LIMIT, "timeouts against destructors", |case| {
        case.run(|| {
            let dropped = AtomicUsize::new(0);
            let panicked = catch_unwind(AssertUnwindSafe(|| {
                let ended = timeout(MS, || {
                    let _waits = OnDrop(|| {
                        withy::sleep(3 * MS);
                        withy::yield_now();
                        dropped.fetch_add(1, Ordering::SeqCst);
                    });
                    panic!("the first");
                });
                let _ = ended;
            }));
            assert_eq!(text_of(&*panicked.unwrap_err()), "the first");
            assert_eq!(dropped.load(Ordering::SeqCst), 1);
            // Inside the unwinding of another timeout.
            let ended = timeout(MS, || {
                let _waits = OnDrop(|| {
                    withy::sleep(MS);
                    assert_eq!(withy::spawn(|| 5).join().unwrap(), 5);
                    dropped.fetch_add(1, Ordering::SeqCst);
                });
                withy::park();
            });
            assert!(ended.is_err());
            assert_eq!(dropped.load(Ordering::SeqCst), 2);
        });
    });
}

/// Promise 53. I/O in a destructor that would wait fails while the frame unwinds, and waits again once it has ended.
#[test]
fn io_in_a_destructor_of_a_timeout_gives_up() {
    matrix(LIMIT, "I/O in destructors of a timeout", |case| {
        case.run(|| {
            let (mut silent, mut peer) = pair();
            let mut outcome = None;
            let ended = timeout(MS, || {
                let _reads = OnDrop(|| outcome = Some(silent.read(&mut [0; 1])));
                withy::park();
            });
            assert!(ended.is_err());
            let error = outcome.expect("the destructor ran").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            let writer = std::thread::spawn(move || {
                std::thread::sleep(MS);
                peer.write_all(b"x").unwrap();
                peer
            });
            silent.read_exact(&mut [0; 1]).unwrap();
            drop(writer.join());
        });
    });
}

/// Item 3. `Elapsed` becomes the error that I/O would give.
#[test]
fn elapsed_becomes_an_io_error() {
    fn bounded() -> io::Result<()> {
        timeout(Duration::ZERO, withy::park)?;
        Ok(())
    }
    let error = bounded().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(error.get_ref().is_some_and(|inner| inner.is::<Elapsed>()));
    assert!(error.to_string().contains("elapsed"), "{error}");
}

/// Bad input: zero, past and overflowing limits.
#[test]
fn limits_of_every_size_work() {
    matrix(LIMIT, "limits out of the ordinary", |case| {
        case.run(|| {
            let now = Instant::now();
            assert!(timeout(Duration::ZERO, withy::park).is_err());
            assert!(deadline(now, withy::park).is_err());
            let boot = now.checked_sub(Duration::from_secs(1)).unwrap_or(now);
            assert!(deadline(boot, withy::park).is_err());
            let far = now + Duration::from_secs(200 * 365 * 86_400);
            assert_eq!(deadline(far, || withy::sleep(MS)), Ok(()));
            for limit in [Duration::MAX, Duration::from_secs(u64::MAX / 2_000_000_000)] {
                assert_eq!(timeout(limit, || withy::sleep(MS)), Ok(()));
                // It bounds nothing, and hides nothing.
                let ended = timeout(MS, || timeout(limit, withy::park));
                assert!(ended.is_err());
            }
        });
    });
}

/// Item 4. A timeout inside a shield works; one around it waits for the shield's end.
#[test]
fn timeouts_and_shields_nest() {
    matrix(LIMIT, "timeouts and shields", |case| {
        case.run(|| {
            let mut cleaned = false;
            let ended = timeout(MS, || {
                withy::shield(|| {
                    withy::sleep(2 * MS);
                    assert!(timeout(MS, withy::park).is_err());
                    withy::shield(|| withy::sleep(MS));
                    assert!(timeout(MS, || withy::shield(|| 3)).is_ok());
                    cleaned = true;
                });
                withy::park();
            });
            assert!(ended.is_err() && cleaned);
            // A shield that panics is gone.
            let panicked = catch_unwind(|| withy::shield(|| panic!("out of the shield")));
            assert!(panicked.is_err());
            assert!(timeout(MS, withy::park).is_err());
        });
    });
}

/// Promises 27 and 29. Whatever was cut short works afterwards, in the same caller: nothing waits for the one that left.
#[test]
fn what_was_cut_short_can_be_done_again() {
    matrix(LIMIT, "calls that come again", |case| {
        case.run(|| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let addr = listener.local_addr().unwrap();
            let (mut ours, mut peer) = narrow_pair();
            for _ in 0..20 {
                assert!(timeout(MS / 10, || listener.accept()).is_err());
                assert!(timeout(MS / 10, || ours.read(&mut [0; 8])).is_err());
                let client = std::net::TcpStream::connect(addr).unwrap();
                let (accepted, _) = timeout(HOUR, || listener.accept()).unwrap().unwrap();
                assert_eq!(accepted.peer_addr().unwrap(), client.local_addr().unwrap());
                peer.write_all(b"12345678").unwrap();
                let read = timeout(HOUR, || ours.read_exact(&mut [0; 8]));
                assert!(read.unwrap().is_ok());
            }
            let written = AtomicUsize::new(0);
            let ended: Result<(), Elapsed> = timeout(MS, || {
                loop {
                    let moved = ours.write(&[1; 4096]).unwrap();
                    written.fetch_add(moved, Ordering::SeqCst);
                }
            });
            assert!(ended.is_err());
            drop(ours);
            let mut all = Vec::new();
            peer.read_to_end(&mut all).unwrap();
            assert_eq!(all.len(), written.load(Ordering::SeqCst));
        });
    });
}

/// Promise 27. A timeout around a scope reaches its children: they unwind, too, and are waited for.
#[test]
fn children_of_a_scope_inherit_the_timeouts_around_it() {
    matrix(LIMIT, "timeouts around scopes", |case| {
        case.run(|| {
            let dropped = AtomicUsize::new(0);
            let ended = timeout(MS, || {
                withy::scope(|s| {
                    for _ in 0..5 {
                        s.spawn(|| {
                            let _owned = Drops(&dropped);
                            loop {
                                withy::park();
                            }
                        });
                    }
                    loop {
                        withy::park();
                    }
                });
            });
            assert!(ended.is_err());
            // None that started is left; those that had not started never will.
            let at_the_end = dropped.load(Ordering::SeqCst);
            assert!(at_the_end <= 5);
            // Also while the parent waits under a shield: the child ends by the deadline alone.
            let ended = timeout(MS, || {
                withy::scope(|s| {
                    let child = s.spawn(withy::park);
                    let grandchild = s.spawn(|| {
                        withy::scope(|s| s.spawn(withy::park).join().unwrap_err().is::<Elapsed>())
                    });
                    let payload = withy::shield(|| child.join()).unwrap_err();
                    assert!(payload.is::<Elapsed>());
                    // Its own deadline may come before the grandchild's.
                    match withy::shield(|| grandchild.join()) {
                        Ok(elapsed) => assert!(elapsed),
                        Err(payload) => assert!(payload.is::<Elapsed>()),
                    }
                });
                withy::park();
            });
            assert!(ended.is_err());
        });
    });
}
