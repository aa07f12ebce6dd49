//! Virtual time: what the clock does, and when it must not.

mod support;

use std::io::{ErrorKind, Read, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use support::sockets::pair;
use support::{LIMIT, within};
use withy::blocking;
use withy::{
    Runtime, Steal, current, now, park, park_timeout, scope, shield, sleep, sleep_until, spawn,
    timeout, yield_now,
};

const HOUR: Duration = Duration::from_secs(3600);
const MS: Duration = Duration::from_millis(1);

fn virtual_runtime() -> Runtime {
    Runtime::builder().virtual_time().build().unwrap()
}

/// Runs `test` in a runtime with virtual time, in either steal mode.
fn in_virtual_time(what: &str, test: impl Fn() + Sync) {
    for full_stealing in [false, true] {
        let steal = if full_stealing {
            // SAFETY: what these tests hold over a blocking call is `Send` and neither thread-local nor locked by thread.
            unsafe { Steal::started() }
        } else {
            Steal::fresh()
        };
        within(
            LIMIT,
            &format!("{what} (full stealing {full_stealing})"),
            || {
                let runtime = Runtime::builder()
                    .virtual_time()
                    .steal(steal)
                    .build()
                    .unwrap();
                runtime.run(&test);
            },
        );
    }
}

/// Years of sleeps take no time, and each ends at its nanosecond.
#[test]
fn sleeps_take_no_time_and_end_exactly() {
    in_virtual_time("ten thousand hours", || {
        for length in [Duration::from_nanos(1), MS, HOUR, 10_000 * HOUR] {
            for _ in 0..100 {
                let start = now();
                sleep(length);
                assert_eq!(now() - start, length);
                sleep_until(start + 2 * length);
                assert_eq!(now() - start, 2 * length);
                park_timeout(length);
                assert_eq!(now() - start, 3 * length);
            }
        }
    });
}

/// Many sleepers wake in the order of their deadlines, each at its own, be they a nanosecond or days apart; also more
/// at a time than one turn fires.
#[test]
fn sleepers_wake_in_order_each_at_its_time() {
    in_virtual_time("3,000 sleepers", || {
        let start = now();
        let woken = Mutex::new(Vec::new());
        scope(|s| {
            for i in 0..3000_u64 {
                let woken = &woken;
                // Scattered over a day, or within 20 ns, so that many share a moment.
                let scattered = i.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                let ns = if i % 2 == 0 {
                    scattered % 86_400_000_000_000
                } else {
                    scattered % 20
                };
                let at = Duration::from_nanos(ns);
                s.spawn(move || {
                    sleep(at);
                    assert_eq!(now() - start, at, "early or late");
                    woken.lock().unwrap().push(at);
                });
            }
        });
        let woken = woken.into_inner().unwrap();
        assert_eq!(woken.len(), 3000);
        assert!(woken.is_sorted());
    });
}

/// What runs takes no time, however long it really takes: the clock moves while all wait.
#[test]
fn what_runs_takes_no_time() {
    in_virtual_time("work", || {
        let start = now();
        let sleeper = spawn(move || {
            sleep(MS);
            now() - start
        });
        let real = Instant::now();
        while real.elapsed() < 5 * MS {
            yield_now();
        }
        assert_eq!(now(), start);
        assert_eq!(sleeper.join().unwrap(), MS);
    });
}

/// Of nested timeouts the one that is over first ends, at its time; the outer one when both are over.
#[test]
fn nested_timeouts_elapse_at_their_times() {
    in_virtual_time("nested timeouts", || {
        let start = now();
        let outer = timeout(10 * HOUR, || {
            let inner = timeout(HOUR, || sleep(20 * HOUR));
            assert_eq!((inner.is_err(), now() - start), (true, HOUR));
            let longer = timeout(20 * HOUR, || sleep(30 * HOUR));
            unreachable!("the outer one has elapsed, not the inner: {longer:?}");
        });
        assert_eq!((outer.is_err(), now() - start), (true, 10 * HOUR));
        let value = timeout(HOUR, || {
            sleep(HOUR - Duration::from_nanos(1));
            7
        });
        assert_eq!(
            (value, now() - start),
            (Ok(7), 11 * HOUR - Duration::from_nanos(1))
        );
    });
}

/// While blocking work is under way no clock jumps: an hour's timeout around ten milliseconds of work does not elapse,
/// nor does a sleeper beside it wake, though its worker has nothing else to do. Then it does, at its time.
#[test]
fn the_clock_does_not_jump_over_blocking_work() {
    in_virtual_time("blocking work", || {
        let start = now();
        let done = AtomicBool::new(false);
        scope(|s| {
            s.spawn(|| {
                sleep(HOUR);
                assert!(done.load(Ordering::Relaxed), "the clock jumped");
                assert_eq!(now() - start, HOUR);
            });
            let worked = timeout(HOUR / 2, || blocking(|| std::thread::sleep(10 * MS)));
            assert_eq!(worked, Ok(()));
            assert!(now() - start < HOUR / 2, "the clock jumped");
            done.store(true, Ordering::Relaxed);
        });
    });
}

/// While a coroutine waits for a socket no clock jumps: an answer that takes ten real milliseconds comes before a
/// timeout of an hour, whichever sort of timeout it is.
#[test]
fn the_clock_does_not_jump_over_a_read() {
    in_virtual_time("a read", || {
        let (mut ours, mut peer) = pair();
        let start = now();
        // The peer is a thread of the real world.
        let answering = std::thread::spawn(move || {
            let mut byte = [0];
            for _ in 0..2 {
                peer.read_exact(&mut byte).unwrap();
                std::thread::sleep(10 * MS);
                peer.write_all(&byte).unwrap();
            }
            peer
        });
        let mut byte = [7];
        ours.write_all(&byte).unwrap();
        assert_eq!(
            timeout(HOUR, || ours.read(&mut byte)).map(Result::unwrap),
            Ok(1)
        );
        ours.set_read_timeout(Some(HOUR)).unwrap();
        ours.write_all(&byte).unwrap();
        assert_eq!(ours.read(&mut byte).unwrap(), 1);
        assert!(now() - start < HOUR, "the clock jumped");
        // It jumps again.
        sleep(HOUR);
        drop(blocking(|| answering.join()));
    });
}

/// Timeouts of reads that get no answer elapse, and not before as much real time has passed; in virtual time exactly
/// at their time. Also with a read that waits in the queue behind another.
#[test]
fn timeouts_of_real_waits_elapse_and_never_early() {
    in_virtual_time("silent peers", || {
        let (ours, _peer) = pair();
        let (start, real) = (now(), Instant::now());
        let second = ours.try_clone().unwrap();
        let third = ours.try_clone().unwrap();
        scope(|s| {
            s.spawn(move || {
                let read = timeout(20 * MS, || (&second).read(&mut [0]).map(drop));
                assert!(read.is_err());
                assert!(real.elapsed() >= 20 * MS);
                assert_eq!(now() - start, 20 * MS);
            });
            s.spawn(move || {
                let read = timeout(30 * MS, || (&third).read(&mut [0]).map(drop));
                assert!(read.is_err());
                assert_eq!(now() - start, 30 * MS);
            });
            ours.set_read_timeout(Some(40 * MS)).unwrap();
            let error = (&ours).read(&mut [0]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            assert!(real.elapsed() >= 40 * MS);
            assert_eq!(now() - start, 40 * MS);
        });
    });
}

/// Without a timer nothing moves the clock: the runtime waits for an unpark from a plain thread as any other does.
#[test]
fn a_runtime_without_timers_waits_for_plain_threads() {
    in_virtual_time("an unpark", || {
        let start = now();
        let me = current();
        let thread = std::thread::spawn(move || {
            std::thread::sleep(5 * MS);
            me.unpark();
        });
        park();
        assert_eq!(now(), start);
        thread.join().unwrap();
    });
}

/// A runtime with a coroutine that sleeps over and over, whose clock therefore races, shuts down as any other.
#[test]
fn a_racing_clock_does_not_hold_up_the_end() {
    within(LIMIT, "a shutdown", || {
        let runtime = virtual_runtime();
        let beats = runtime.spawn(|| {
            loop {
                sleep(MS);
            }
        });
        runtime.run(|| sleep(1000 * MS));
        runtime.shutdown(LIMIT).unwrap();
        assert!(beats.join().is_err());
    });
}

/// A coroutine in virtual time may own another runtime, and wait for its end: that takes real time, and its limit holds
/// in neither clock before it has passed.
#[test]
fn a_real_runtime_ends_inside_virtual_time() {
    in_virtual_time("a runtime inside", || {
        let inner = withy::Runtime::builder().workers(1).build().unwrap();
        let start = Instant::now();
        let stubborn = inner.spawn(|| shield(|| sleep(30 * MS)));
        assert!(inner.run(now) >= start);
        let begun = now();
        inner.shutdown(HOUR).unwrap();
        assert!(now() - begun < HOUR, "the clock jumped");
        drop(stubborn);
    });
}

/// A coroutine in virtual time runs work in another runtime: that takes real time, so a timeout around it does not elapse
/// at once.
#[test]
fn the_clock_does_not_jump_over_a_run_in_another_runtime() {
    in_virtual_time("a run in another runtime", || {
        let other = withy::Runtime::builder().workers(1).build().unwrap();
        let ran = timeout(HOUR, || {
            other.run(|| {
                sleep(20 * MS);
                7
            })
        });
        assert_eq!(ran, Ok(7), "the clock jumped");
    });
}

/// Plain threads have the real clock.
#[test]
fn plain_threads_and_blocking_work_have_the_real_clock() {
    in_virtual_time("a look at the clock", || {
        sleep(1000 * HOUR);
        let real = blocking(now);
        assert!(real <= Instant::now());
        assert!(now() - real > 999 * HOUR);
    });
}

/// More than one worker has more than one order; the error says what to do.
#[test]
fn virtual_time_and_seeds_have_one_worker() {
    for builder in [
        Runtime::builder().virtual_time(),
        Runtime::builder().seed(1),
    ] {
        assert_eq!(builder.build().unwrap().workers(), 1);
    }
    for builder in [
        Runtime::builder().virtual_time(),
        Runtime::builder().seed(1),
    ] {
        let error = builder.workers(2).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("one worker, got 2"), "{error}");
    }
}
