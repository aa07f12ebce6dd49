//! Those who wait for a `sync::Mutex`: none is forgotten, none starves, and one that is interrupted loses nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use withy::sync::{Mutex, MutexGuard};
use withy::{CancelToken, Cancelled, JoinHandle, Runtime};

use crate::rig::{each_runtime, steal, until};
use crate::support::{self, LIMIT, matrix, within};

const MS: Duration = Duration::from_millis(1);

/// After so many acquisitions of others, from the one that it has met, a waiter on the same worker is given the lock.
const OTHERS_MAX: usize = 17;

/// Runs `test` on a runtime of one worker, where coroutines take turns in order, in either steal mode and with either clock;
/// it is told whether the clock is virtual.
fn on_one_worker(what: &str, test: impl Fn(bool) + Sync) {
    for full_stealing in [false, true] {
        for is_virtual in [true, false] {
            let label = format!("{what} (full stealing {full_stealing}, virtual {is_virtual})");
            within(LIMIT, &label, || {
                let builder = Runtime::builder().workers(1).steal(steal(full_stealing));
                let builder = match is_virtual {
                    true => builder.virtual_time(),
                    false => builder,
                };
                builder.build().unwrap().run(|| test(is_virtual));
            });
        }
    }
}

/// A mutex, and who has got it, in order.
type Log = Arc<Mutex<Vec<usize>>>;

/// A coroutine that locks it once, and leaves its number there. If it is held it waits when this returns.
fn waiter(log: &Log, number: usize) -> JoinHandle<()> {
    let log = log.clone();
    let waiter = withy::spawn(move || log.lock().unwrap().push(number));
    let_others_run();
    waiter
}

fn waiters<const N: usize>(log: &Log) -> [JoinHandle<()>; N] {
    std::array::from_fn(|number| waiter(log, number))
}

fn join_all(waiters: impl IntoIterator<Item = JoinHandle<()>>) {
    waiters
        .into_iter()
        .for_each(|waiter| waiter.join().unwrap());
}

fn assert_cancelled(waiter: JoinHandle<()>) {
    assert!(waiter.join().unwrap_err().is::<Cancelled>());
}

/// The lock is free, and the first waiter was woken: locks it before that one, again and again, until it is next for sure. It
/// gets the lock when the guard that is returned is dropped.
fn until_one_starves(log: &Log, is_virtual: bool) -> MutexGuard<'_, Vec<usize>> {
    // The clock stands still, and it has to lose often; or more time passes than it has patience for.
    let losses = if is_virtual { OTHERS_MAX - 1 } else { 2 };
    for _ in 1..losses {
        let _guard = log.lock().unwrap();
        let_others_run();
        if !is_virtual {
            std::thread::sleep(MS);
        }
    }
    let guard = log.lock().unwrap();
    let_others_run();
    guard
}

/// Each that can, also where the scheduler runs one that yields a few times in a row (`QUEUE_RUNS`).
fn let_others_run() {
    for _ in 0..32 {
        withy::yield_now();
    }
}

/// Promise 42. One that locks in a loop, and lets others run only while it holds the lock, gets it 17 times at most before a
/// waiter does; on a clock that stands still exactly so often.
#[test]
fn a_waiter_gets_the_lock_after_seventeen_sections_of_another() {
    on_one_worker("a lock that is taken in a loop", |is_virtual| {
        let log = Log::default();
        let mut first = None;
        let mut sections = 0;
        loop {
            let guard = log.lock().unwrap();
            if !guard.is_empty() {
                break;
            }
            sections += 1;
            assert!(sections <= OTHERS_MAX, "it starves");
            first.get_or_insert_with(|| waiter(&log, 1));
            let_others_run();
            drop(guard);
            if is_virtual && sections == OTHERS_MAX {
                assert!(log.try_lock().is_err(), "the lock is the waiter's");
            }
        }
        if is_virtual {
            assert_eq!(sections, OTHERS_MAX);
        }
        join_all(first);
    });
}

/// Promise 42. Of several waiters each is given the lock in its turn, also past one that tries, and never waits.
#[test]
fn each_of_several_waiters_gets_the_lock_in_its_turn() {
    on_one_worker("several waiters", |_| {
        let log = Log::default();
        let guard = log.lock().unwrap();
        let all: [_; 5] = waiters(&log);
        drop(guard);
        let mut served = 0;
        let mut sections = 1;
        while served < all.len() {
            let Ok(guard) = log.try_lock() else {
                withy::yield_now();
                continue;
            };
            if guard.len() > served {
                served = guard.len();
                sections = 0;
            }
            sections += 1;
            assert!(sections <= OTHERS_MAX, "number {served} starves");
            let_others_run();
        }
        assert_eq!(*log.lock().unwrap(), [0, 1, 2, 3, 4]);
        join_all(all);
    });
}

/// Those who wait are served in the order in which they came, whoever leaves meanwhile.
#[test]
fn waiters_are_served_in_order() {
    on_one_worker("waiters in order", |_| {
        let log = Log::default();
        let guard = log.lock().unwrap();
        let mut all: Vec<_> = waiters::<8>(&log).into_iter().collect();
        for gone in [7, 3, 0] {
            let gone = all.remove(gone);
            gone.cancel();
            assert_cancelled(gone);
        }
        drop(guard);
        join_all(all);
        assert_eq!(*log.lock().unwrap(), [1, 2, 4, 5, 6]);
    });
}

/// Promise 42. On several workers, and for plain threads, a waiter gets the lock past those that take it in loops.
#[test]
fn nobody_starves_on_several_workers() {
    each_runtime("a lock that is taken in loops", |runtime, _| {
        let (mutex, stop) = (Arc::new(Mutex::new(0)), Arc::new(AtomicBool::new(false)));
        let loops: Vec<_> = (0..2)
            .map(|_| {
                let (mutex, stop) = (mutex.clone(), stop.clone());
                runtime.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        let _guard = mutex.lock().unwrap();
                        withy::yield_now();
                    }
                })
            })
            .collect();
        let locks = || {
            let mutex = mutex.clone();
            move || (0..20).for_each(|_| *mutex.lock().unwrap() += 1)
        };
        let waiters = [runtime.spawn(locks()), runtime.spawn(locks())];
        let thread = std::thread::spawn(locks());
        join_all(waiters);
        thread.join().unwrap();
        stop.store(true, Ordering::Relaxed);
        join_all(loops);
        assert_eq!(*mutex.lock().unwrap(), 60);
    });
}

/// Promise 29. A waiter is cancelled before it calls, in the queue, woken to compete, and with the lock in its hands: the next one
/// gets the lock.
#[test]
fn a_cancelled_waiter_loses_no_lock() {
    on_one_worker("cancelled waiters", |is_virtual| {
        let log = Log::default();
        // Before.
        let guard = log.lock().unwrap();
        let gone = withy::spawn({
            let log = log.clone();
            move || {
                withy::shield(withy::yield_now);
                log.lock().unwrap().push(usize::MAX);
            }
        });
        withy::yield_now();
        gone.cancel();
        assert_cancelled(gone);
        // In the queue.
        let [gone, next] = waiters(&log);
        gone.cancel();
        assert_cancelled(gone);
        drop(guard);
        join_all([next]);
        // Woken to compete: the lock is free, and nobody else will come to unlock it.
        let guard = log.lock().unwrap();
        let [gone, next] = waiters(&log);
        drop(guard);
        gone.cancel();
        assert_cancelled(gone);
        join_all([next]);
        // Woken to compete, and the lock is taken: its holder wakes the next.
        let guard = log.lock().unwrap();
        let [gone, next] = waiters(&log);
        drop(guard);
        let guard = log.try_lock().unwrap();
        gone.cancel();
        assert_cancelled(gone);
        assert!(!next.is_finished());
        drop(guard);
        join_all([next]);
        // Handed over.
        let guard = log.lock().unwrap();
        let [gone, next] = waiters(&log);
        drop(guard);
        drop(until_one_starves(&log, is_virtual));
        assert!(log.try_lock().is_err(), "it is the waiter's");
        gone.cancel();
        assert_cancelled(gone);
        join_all([next]);
        assert_eq!(*log.try_lock().unwrap(), [1, 1, 1, 1]);
    });
}

/// The last one of them leaves the mutex as it was.
#[test]
fn a_cancelled_waiter_that_was_alone_leaves_the_lock_free() {
    on_one_worker("lonely waiters", |is_virtual| {
        for handed_over in [false, true] {
            let log = Log::default();
            let guard = log.lock().unwrap();
            let [gone] = waiters(&log);
            drop(guard);
            if handed_over {
                drop(until_one_starves(&log, is_virtual));
            }
            gone.cancel();
            assert_cancelled(gone);
            assert!(log.try_lock().unwrap().is_empty());
            // And the next waiter is not forgotten.
            let guard = log.lock().unwrap();
            let [next] = waiters(&log);
            drop(guard);
            join_all([next]);
        }
    });
}

/// Promises 23 and 29. The same for timeouts around the call: before it, and in the queue.
#[test]
fn a_waiter_whose_timeout_elapses_leaves_the_queue() {
    on_one_worker("timeouts of waiters", |_| {
        for limit in [Duration::ZERO, MS] {
            let log = Log::default();
            let guard = log.lock().unwrap();
            let late = log.clone();
            let late = withy::spawn(move || {
                assert!(withy::timeout(limit, || drop(late.lock())).is_err());
                // Nothing is left of it.
                withy::sleep(MS);
                late.lock().unwrap().push(0);
            });
            let_others_run();
            let next = waiter(&log, 1);
            withy::sleep(2 * MS);
            drop(guard);
            join_all([next, late]);
            let mut got = std::mem::take(&mut *log.try_lock().unwrap());
            got.sort_unstable();
            assert_eq!(got, [0, 1]);
        }
    });
}

/// Promises 27 and 29. A frame that is raised when its waiter was woken to compete, or handed the lock: the waiter goes on
/// after it, without the lock.
#[test]
fn a_frame_that_ends_when_its_waiter_is_woken_loses_no_lock() {
    on_one_worker("frames of woken waiters", |is_virtual| {
        for handed_over in [false, true] {
            let log = Log::default();
            let guard = log.lock().unwrap();
            let token = CancelToken::new();
            let ended = withy::spawn({
                let (log, token) = (log.clone(), token.clone());
                move || {
                    assert!(token.run(|| drop(log.lock())).is_err());
                    log.lock().unwrap().push(0);
                }
            });
            let_others_run();
            let next = waiter(&log, 1);
            drop(guard);
            if handed_over {
                drop(until_one_starves(&log, is_virtual));
                assert!(log.try_lock().is_err(), "it is the waiter's");
            }
            token.cancel();
            join_all([ended, next]);
            let mut got = std::mem::take(&mut *log.try_lock().unwrap());
            got.sort_unstable();
            assert_eq!(got, [0, 1]);
        }
    });
}

/// One that waits for itself can be ended.
#[test]
fn a_timeout_ends_a_deadlock_with_oneself() {
    matrix(LIMIT, "a mutex locked twice at once", |case| {
        case.run(|| {
            let mutex = Mutex::new(());
            let guard = mutex.lock().unwrap();
            assert!(withy::timeout(MS, || drop(mutex.lock())).is_err());
            drop(guard);
            drop(mutex.try_lock().unwrap());
        });
    });
}

/// Promise 29. Waiters of a token that is cancelled while the lock goes round: coroutines and plain threads, on every runtime.
#[test]
fn a_token_ends_waits_and_no_lock_is_lost() {
    const WAITERS: usize = 6;
    matrix(LIMIT, "a token around waiters", |case| {
        for round in 0..20 {
            let mutex = Arc::new(Mutex::new(0));
            let (token, started) = (CancelToken::new(), Arc::new(AtomicUsize::new(0)));
            let guard = mutex.lock().unwrap();
            let waiters: Vec<_> = (0..WAITERS)
                .map(|number| {
                    let (mutex, started) = (mutex.clone(), started.clone());
                    let token = token.clone();
                    case.spawn(move || {
                        started.fetch_add(1, Ordering::SeqCst);
                        let lock = || *mutex.lock().unwrap() += 1;
                        match number % 2 {
                            0 => token.run(lock).is_ok(),
                            _ => {
                                lock();
                                true
                            }
                        }
                    })
                })
                .collect();
            until(|| started.load(Ordering::SeqCst) == WAITERS);
            match round % 2 {
                0 => {
                    drop(guard);
                    token.cancel();
                }
                _ => {
                    token.cancel();
                    drop(guard);
                }
            }
            let got = waiters.into_iter().map(support::Caller::join);
            let got = got.filter(|&got| got).count();
            assert_eq!(*mutex.lock().unwrap(), got);
            assert!(got >= WAITERS / 2);
        }
    });
}

/// A runtime that ends unwinds its waiters; the mutex, which outlives it, is whole.
#[test]
fn a_shutdown_takes_its_waiters_out() {
    within(LIMIT, "waiters of a runtime that ends", || {
        let mutex = Arc::new(Mutex::new(0));
        for full_stealing in [false, true] {
            let runtime = support::runtime(2, full_stealing);
            let guard = mutex.lock().unwrap();
            let started = Arc::new(AtomicUsize::new(0));
            let waiters: Vec<_> = (0..5)
                .map(|_| {
                    let (mutex, started) = (mutex.clone(), started.clone());
                    runtime.spawn(move || {
                        started.fetch_add(1, Ordering::SeqCst);
                        *mutex.lock().unwrap() += 1;
                    })
                })
                .collect();
            until(|| started.load(Ordering::SeqCst) == 5);
            runtime.shutdown(LIMIT).unwrap();
            waiters.into_iter().for_each(assert_cancelled);
            drop(guard);
            assert_eq!(*mutex.try_lock().unwrap(), 0);
        }
        let other = support::runtime(1, false);
        let guard = mutex.lock().unwrap();
        let waiter = other.spawn({
            let mutex = mutex.clone();
            move || *mutex.lock().unwrap() += 1
        });
        drop(guard);
        waiter.join().unwrap();
        assert_eq!(*mutex.lock().unwrap(), 1);
    });
}
