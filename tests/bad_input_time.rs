//! Bad input to what waits, ends and nests: zero, past and overflowing durations, settings that make no sense, and calls
//! from where they are not at home. Each has the outcome that its documentation states.

mod rig;
mod support;

use std::io::{ErrorKind, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rig::each_runtime;
use support::sockets::pair;
use support::{LIMIT, matrix, within};
use withy::{CancelToken, Cancelled, Runtime, RuntimeBuilder, deadline, timeout};

const MS: Duration = Duration::from_millis(1);

/// Beyond what the runtime's clock can tell; the last of them beyond what `Instant` can, too.
const ENDLESS: [Duration; 3] = [
    Duration::from_nanos(u64::MAX),
    Duration::from_secs(1 << 40),
    Duration::MAX,
];

/// Before now, or now where the machine has not run for that long.
fn past() -> Instant {
    let now = Instant::now();
    now.checked_sub(Duration::from_secs(10)).unwrap_or(now)
}

/// Zero and the past: waits return, bounds end at the first wait. A value that needs no wait counts.
#[test]
fn what_is_over_ends_at_the_first_wait() {
    matrix(LIMIT, "what is over", |case| {
        case.run(|| {
            withy::sleep(Duration::ZERO);
            withy::sleep_until(past());
            withy::park_timeout(Duration::ZERO);
            assert_eq!(timeout(Duration::ZERO, || 1), Ok(1));
            assert_eq!(deadline(past(), || 2), Ok(2));
            assert!(timeout(Duration::ZERO, withy::park).is_err());
            assert!(deadline(past(), withy::park).is_err());
            // A permit or a result that is there needs no wait either.
            withy::current().unpark();
            assert_eq!(deadline(past(), withy::park), Ok(()));
            // What has elapsed inside has not outside.
            assert_eq!(
                timeout(LIMIT, || timeout(Duration::ZERO, withy::park).is_err()),
                Ok(true)
            );
        });
    });
}

/// Beyond any clock: a wait has no end of its own, a bound bounds nothing and hides no other.
#[test]
fn what_overflows_is_no_limit() {
    matrix(LIMIT, "durations that overflow", |case| {
        case.run(|| {
            for endless in ENDLESS {
                assert_eq!(timeout(endless, || withy::sleep(MS)), Ok(()));
                assert!(timeout(MS, || withy::sleep(endless)).is_err());
                assert!(timeout(MS, || withy::park_timeout(endless)).is_err());
                assert!(timeout(MS, || timeout(endless, withy::park)).is_err());
                if let Some(far) = Instant::now().checked_add(endless) {
                    assert_eq!(deadline(far, || withy::sleep(MS)), Ok(()));
                    assert!(timeout(MS, || withy::sleep_until(far)).is_err());
                }
            }
        });
    });
}

/// Sockets: a zero timeout is refused as std refuses it, a deadline in the past fails at once, one beyond the clock is
/// none.
#[test]
fn limits_of_sockets_out_of_range() {
    matrix(LIMIT, "limits of sockets", |case| {
        case.run(|| {
            let (mut stream, _peer) = pair();
            let refused = stream.set_read_timeout(Some(Duration::ZERO)).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::InvalidInput);
            let refused = stream.set_write_timeout(Some(Duration::ZERO)).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::InvalidInput);

            stream.set_read_deadline(Some(past())).unwrap();
            let error = stream.read(&mut [0]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);

            let far = Instant::now().checked_add(Duration::from_nanos(u64::MAX));
            stream.set_read_deadline(far).unwrap();
            stream.set_read_timeout(Some(Duration::MAX)).unwrap();
            assert!(timeout(MS, || stream.read(&mut [0])).is_err());
            assert_eq!(stream.read_deadline().unwrap(), None);
        });
    });
}

/// A cancellation of what has ended does nothing: the value is there, and a second cancellation changes nothing either. A
/// token that is cancelled already runs nothing.
#[test]
fn a_cancellation_that_comes_too_late_does_nothing() {
    each_runtime("late cancellations", |runtime, label| {
        let done = runtime.spawn(|| 7);
        rig::until(|| done.is_finished());
        done.cancel();
        done.cancel();
        assert_eq!(done.join().unwrap(), 7, "{label}");

        let twice = runtime.spawn(withy::park);
        twice.cancel();
        twice.cancel();
        assert!(twice.join().unwrap_err().is::<Cancelled>(), "{label}");

        let token = CancelToken::new();
        token.cancel();
        token.cancel();
        runtime.run(|| {
            token.wait();
            assert!(token.run(|| unreachable!("it is cancelled")).is_err());
            assert!(token.child().is_cancelled());
        });
    });
}

/// A scope in a plain thread has coroutines of the default runtime as children, and is bounded as any.
#[test]
fn a_scope_in_a_plain_thread_is_a_scope() {
    within(LIMIT, "a scope in a plain thread", || {
        let words = ["plain", "thread"];
        let lengths = withy::scope(|s| {
            let children: Vec<_> = words.iter().map(|word| s.spawn(|| word.len())).collect();
            children
                .into_iter()
                .map(|child| child.join().unwrap())
                .sum::<usize>()
        });
        assert_eq!(lengths, 11);
        assert!(timeout(MS, || withy::scope(|s| drop(s.spawn(withy::park)))).is_err());
    });
}

/// Shutdown inside a coroutine of the runtime begins the end, and says no error: the caller's next wait unwinds.
#[test]
fn shutdown_inside_the_runtime_begins_the_end() {
    for workers in [1, 2, 8] {
        within(LIMIT, "a shutdown from inside", || {
            let runtime = Arc::new(support::runtime(workers, false));
            let neighbour = runtime.spawn(withy::park);
            let inside = runtime.spawn({
                let held = runtime.clone();
                move || {
                    rig::until(|| Arc::strong_count(&held) == 1);
                    let own = Arc::into_inner(held).expect("nobody else has it");
                    own.shutdown(LIMIT)
                        .expect("it cannot wait, and says so in the log only");
                    withy::park();
                }
            });
            drop(runtime);
            assert!(inside.join().unwrap_err().is::<Cancelled>());
            assert!(neighbour.join().unwrap_err().is::<Cancelled>());
        });
    }
}

/// A shutdown by someone for whom the runtime itself waits cannot succeed; it ends at its limit, and says so.
#[test]
fn a_shutdown_that_waits_for_itself_ends_at_its_limit() {
    within(LIMIT, "a shutdown in a circle", || {
        let outer = Arc::new(support::runtime(1, false));
        let inner = support::runtime(1, false);
        let caller = outer.spawn({
            let held = outer.clone();
            move || {
                rig::until(|| Arc::strong_count(&held) == 1);
                inner.run(move || {
                    let outer = Arc::into_inner(held).expect("nobody else has it");
                    let error = outer.shutdown(10 * MS).unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::TimedOut);
                });
            }
        });
        drop(outer);
        // It waited to the end for the closure that it lent, has got its value, and waits for nothing any more.
        caller.join().unwrap();
    });
}

/// The limit of a shutdown: zero begins the end and looks once, the longest has no end.
#[test]
fn limits_of_a_shutdown() {
    for workers in [1, 2, 8] {
        within(LIMIT, "shutdowns at once and without a limit", || {
            let runtime = support::runtime(workers, false);
            let parked = runtime.spawn(withy::park);
            match runtime.shutdown(Duration::ZERO) {
                Ok(()) => {}
                Err(error) => assert_eq!(error.kind(), ErrorKind::TimedOut),
            }
            // Either way it has been told.
            assert!(parked.join().unwrap_err().is::<Cancelled>());

            for endless in ENDLESS {
                let runtime = Runtime::builder()
                    .workers(workers)
                    .shutdown_limit(endless)
                    .build()
                    .unwrap();
                let parked = runtime.spawn(withy::park);
                drop(runtime);
                assert!(parked.join().is_err());
                support::runtime(workers, false).shutdown(endless).unwrap();
            }
        });
    }
}

/// `run` in a coroutine of the same runtime runs its closure in place; in one of another it waits there, and back; bounds
/// reach through.
#[test]
fn runtimes_nest() {
    each_runtime("runtimes in each other", |outer, label| {
        let inner = support::runtime(2, false);
        let me = || withy::current().id();
        outer.run(|| {
            let here = me();
            assert_eq!(outer.run(me), here, "{label}");
            assert_eq!(withy::run(me), here, "{label}");
            let text = String::from("lent");
            inner.run(|| {
                let there = me();
                assert_ne!(there, here, "{label}");
                // Back, while the caller waits: a coroutine of its own there, too.
                let back = outer.run(|| {
                    assert_eq!(text, "lent");
                    me()
                });
                assert!(back != here && back != there, "{label}");
                // Children are of the runtime that their parent runs in.
                withy::scope(|s| s.spawn(|| assert_eq!(inner.run(me), me())).join().unwrap());
            });
            assert!(timeout(MS, || inner.run(withy::park)).is_err(), "{label}");
        });
    });
}

/// Settings that make no sense are refused with the setting's name; whatever duration can be granted is.
#[test]
fn settings_of_time_and_threads_out_of_range() {
    type Set = fn(RuntimeBuilder) -> RuntimeBuilder;
    let refused: [(Set, &str); 6] = [
        (|b| b.watchdog(Some(Duration::ZERO)), "watchdog"),
        (|b| b.blocking_threads(0), "blocking_threads"),
        (|b| b.compute_threads(0), "compute_threads"),
        (|b| b.virtual_time().workers(2), "virtual time"),
        (|b| b.seed(1).workers(2), "seed"),
        (|b| b.virtual_time().workers(0), "workers"),
    ];
    for (set, name) in refused {
        let error = set(Runtime::builder()).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(error.to_string().contains(name), "{name}: {error}");
    }
    let granted: [Set; 6] = [
        |b| b.watchdog(Some(Duration::from_nanos(1))),
        |b| b.watchdog(Some(Duration::MAX)),
        |b| b.spin(Duration::ZERO),
        |b| b.spin(Duration::MAX),
        |b| b.blocking_idle(Duration::ZERO),
        |b| b.blocking_idle(Duration::MAX),
    ];
    for set in granted {
        within(LIMIT, "a runtime with unusual settings", || {
            let runtime = set(Runtime::builder()).workers(2).build().unwrap();
            let sum = runtime.run(|| {
                withy::sleep(MS);
                withy::blocking(|| 1) + withy::compute(|| 2)
            });
            assert_eq!(sum, 3);
            runtime.shutdown(LIMIT).unwrap();
        });
    }
}
