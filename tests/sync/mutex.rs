//! `sync::Mutex`: what std's, parking_lot's and may's own suites check of locking, for coroutines, threads and both.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use withy::sync::{Mutex, TryLockError};
use withy::{Cancelled, Steal};

use crate::rig::{self, each_runtime, text_of};
use crate::support::sockets::pair;
use crate::support::{self, LIMIT, matrix, rest, within};

pub(super) const MS: Duration = Duration::from_millis(1);

#[test]
fn it_locks_twice_in_turn() {
    matrix(LIMIT, "a mutex locked twice", |case| {
        case.run(|| {
            let mutex = Mutex::new(());
            drop(mutex.lock().unwrap());
            drop(mutex.lock().unwrap());
        });
    });
}

/// Promise 41. Coroutines, plain threads and both count with one mutex, and no section meets another.
#[test]
fn callers_of_every_sort_count_together() {
    const CALLERS: usize = 6;
    const SECTIONS: usize = 2_000;
    matrix(LIMIT, "counting under one mutex", |case| {
        let mutex = Arc::new(Mutex::new(0));
        let inside = Arc::new(AtomicUsize::new(0));
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                let (mutex, inside) = (mutex.clone(), inside.clone());
                case.spawn(move || {
                    for section in 0..SECTIONS {
                        let mut count = mutex.lock().unwrap();
                        assert_eq!(inside.fetch_add(1, Ordering::Relaxed), 0);
                        // In every tenth the guard is held while others run.
                        if (caller + section).is_multiple_of(10) {
                            withy::yield_now();
                        }
                        *count += 1;
                        assert_eq!(inside.fetch_sub(1, Ordering::Relaxed), 1);
                    }
                })
            })
            .collect();
        callers.into_iter().for_each(support::Caller::join);
        assert_eq!(*mutex.lock().unwrap(), CALLERS * SECTIONS);
    });
}

/// Promise 41. Coroutines of two runtimes and a plain thread hand a counter round.
#[test]
fn coroutines_of_two_runtimes_and_threads_take_turns() {
    const ROUNDS: usize = 300;
    within(LIMIT, "three sorts of callers in turn", || {
        let runtimes = [support::runtime(1, false), support::runtime(2, true)];
        let mutex = Arc::new(Mutex::new(0));
        let turn = |own: usize| {
            let mutex = mutex.clone();
            move || {
                for _ in 0..ROUNDS {
                    loop {
                        let mut count = mutex.lock().unwrap();
                        if *count % 3 == own {
                            *count += 1;
                            break;
                        }
                        drop(count);
                        withy::yield_now();
                    }
                }
            }
        };
        let coroutines = [runtimes[0].spawn(turn(0)), runtimes[1].spawn(turn(1))];
        turn(2)();
        for coroutine in coroutines {
            coroutine.join().unwrap();
        }
        assert_eq!(*mutex.lock().unwrap(), 3 * ROUNDS);
    });
}

#[test]
fn a_try_takes_what_is_free_and_nothing_else() {
    matrix(LIMIT, "tries", |case| {
        case.run(|| {
            let mutex = Mutex::new(1);
            *mutex.try_lock().unwrap() = 2;
            let guard = mutex.lock().unwrap();
            assert!(matches!(mutex.try_lock(), Err(TryLockError::WouldBlock)));
            drop(guard);
            assert_eq!(*mutex.try_lock().unwrap(), 2);
        });
    });
}

/// Whoever tries again and again lets the holder run, also where there is one worker for both.
#[test]
fn a_spin_on_tries_lets_others_run() {
    each_runtime("a spin on try_lock", |runtime, _| {
        runtime.run(|| {
            let mutex = Arc::new(Mutex::new(0));
            let mut held = mutex.lock().unwrap();
            let spinner = withy::spawn({
                let mutex = mutex.clone();
                move || {
                    loop {
                        if let Ok(value) = mutex.try_lock() {
                            break *value;
                        }
                    }
                }
            });
            // The spinner runs, and does not keep us from running.
            for _ in 0..10 {
                withy::yield_now();
            }
            *held = 5;
            drop(held);
            assert_eq!(spinner.join().unwrap(), 5);
        });
    });
}

/// So does whoever locks what nobody else wants, and it can be cancelled there: it does not hold the lock then.
#[test]
fn a_loop_of_locks_lets_others_run() {
    each_runtime("a loop of locks", |runtime, label| {
        let mutex = Arc::new(Mutex::new(0));
        let looping = runtime.spawn({
            let mutex = mutex.clone();
            move || {
                loop {
                    *mutex.lock().unwrap() += 1;
                }
            }
        });
        rig::until(|| *mutex.lock().unwrap() > 0);
        // One on each worker, the loop's among them.
        for _ in 0..runtime.workers() {
            runtime.run(withy::yield_now);
        }
        looping.cancel();
        assert!(looping.join().unwrap_err().is::<Cancelled>(), "{label}");
        assert!(!mutex.is_poisoned());
        assert!(mutex.try_lock().is_ok(), "{label}");
    });
}

/// A spin on tries is cancelled at a call that waits, not in a try: that does not unwind.
#[test]
fn a_try_does_not_unwind() {
    const TRIES: usize = 2_000;
    each_runtime("tries of a cancelled coroutine", |runtime, label| {
        let mutex = Arc::new(Mutex::new(()));
        let _held = mutex.lock().unwrap();
        let (begun, cancelled) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicBool::new(false)),
        );
        let tries = Arc::new(AtomicUsize::new(0));
        let spinner = runtime.spawn({
            let (mutex, tries) = (mutex.clone(), tries.clone());
            let (begun, cancelled) = (begun.clone(), cancelled.clone());
            move || {
                begun.store(true, Ordering::SeqCst);
                while !cancelled.load(Ordering::SeqCst) {
                    std::hint::spin_loop();
                }
                for _ in 0..TRIES {
                    assert!(mutex.try_lock().is_err());
                    tries.fetch_add(1, Ordering::Relaxed);
                }
                let _ = mutex.lock();
            }
        });
        rig::until(|| begun.load(Ordering::SeqCst));
        spinner.cancel();
        cancelled.store(true, Ordering::SeqCst);
        assert!(spinner.join().unwrap_err().is::<Cancelled>());
        assert_eq!(tries.load(Ordering::Relaxed), TRIES, "{label}");
    });
}

#[test]
fn it_may_be_locked_inside_another_one() {
    matrix(LIMIT, "a mutex in a mutex", |case| {
        let inner = Arc::new(Mutex::new(1));
        let outer = Arc::new(Mutex::new(inner));
        let caller = case.spawn(move || {
            let lock = outer.lock().unwrap();
            *lock.lock().unwrap()
        });
        assert_eq!(caller.join(), 1);
    });
}

/// The lock belongs to its guard, whatever its holder waits for meanwhile.
#[test]
fn a_guard_is_held_over_every_wait() {
    each_runtime("guards over waits", |runtime, _| {
        let mutex = Arc::new(Mutex::new(0));
        let (mut ours, mut peer) = pair();
        let holder = runtime.spawn({
            let mutex = mutex.clone();
            move || {
                let mut guard = mutex.lock().unwrap();
                withy::sleep(MS);
                withy::yield_now();
                ours.write_all(b"locked").unwrap();
                let mut reply = [0];
                ours.read_exact(&mut reply).unwrap();
                withy::blocking(|| ());
                *guard += usize::from(reply[0]);
                ours.write_all(b"unlocked").unwrap();
                drop(guard);
                withy::park();
            }
        });
        let mut news = [0; 6];
        peer.read_exact(&mut news).unwrap();
        assert!(mutex.try_lock().is_err());
        let waiter = runtime.spawn({
            let mutex = mutex.clone();
            move || *mutex.lock().unwrap()
        });
        peer.write_all(&[9]).unwrap();
        assert_eq!(waiter.join().unwrap(), 9);
        let mut news = [0; 8];
        peer.read_exact(&mut news).unwrap();
        assert_eq!(*mutex.lock().unwrap(), 9);
        holder.thread().unpark();
        holder.join().unwrap();
    });
}

/// In destructors of thread-locals, of coroutine-locals, and while a coroutine unwinds, as everywhere.
#[test]
fn it_works_in_destructors() {
    struct CountOnDrop(Arc<Mutex<usize>>);
    impl Drop for CountOnDrop {
        fn drop(&mut self) {
            *self.0.lock().unwrap() += 1;
        }
    }
    thread_local! {
        static LAST: RefCell<Option<CountOnDrop>> = const { RefCell::new(None) };
    }
    withy::coroutine_local! {
        static LOCAL: RefCell<Option<CountOnDrop>> = const { RefCell::new(None) };
    }
    each_runtime("destructors that lock", |runtime, _| {
        let mutex = Arc::new(Mutex::new(0));
        let held = mutex.lock().unwrap();
        let (id, thread_id) = std::sync::mpsc::channel();
        let thread = std::thread::spawn({
            let counts = CountOnDrop(mutex.clone());
            move || {
                id.send(rest::current_thread_id()).unwrap();
                LAST.set(Some(counts));
            }
        });
        let local = runtime.spawn({
            let counts = CountOnDrop(mutex.clone());
            move || LOCAL.with(|local| local.replace(Some(counts)).is_none())
        });
        let unwinds = runtime.spawn({
            let counts = CountOnDrop(mutex.clone());
            move || {
                let _counts = counts;
                panic!("on purpose");
            }
        });
        // They wait for it.
        let mut all = rest::workers_of(runtime);
        all.push(thread_id.recv().unwrap());
        rest::until_all_sleep(&all);
        drop(held);
        thread.join().unwrap();
        assert!(local.join().unwrap());
        assert!(unwinds.join().is_err());
        assert_eq!(*mutex.lock().unwrap(), 3);
    });
}

/// In `no_park` a free lock is taken, and one that is held is refused by a panic that leaves the lock and its queue whole.
#[test]
fn a_region_that_must_not_park_does_not_wait() {
    for full_stealing in [false, true] {
        within(LIMIT, "locks in no_park", || {
            support::runtime(1, full_stealing).run(|| {
                let mutex = Arc::new(Mutex::new(0));
                for _ in 0..1_000 {
                    withy::no_park(|| *mutex.lock().unwrap() += 1);
                }
                let held = mutex.lock().unwrap();
                let waiter = withy::spawn({
                    let mutex = mutex.clone();
                    move || *mutex.lock().unwrap() += 1
                });
                withy::yield_now();
                for _ in 0..3 {
                    let refused = catch_unwind(AssertUnwindSafe(|| {
                        withy::no_park(|| drop(mutex.lock()));
                    }));
                    let payload = refused.unwrap_err();
                    assert!(text_of(&*payload).contains("no_park"));
                    assert!(withy::no_park(|| mutex.try_lock().is_err()));
                }
                drop(held);
                waiter.join().unwrap();
                assert_eq!(*mutex.lock().unwrap(), 1_001);
            });
        });
    }
}

/// With a seed every use is charged: it works the same.
#[test]
fn it_works_where_chance_lets_others_run() {
    within(LIMIT, "a seeded runtime", || {
        let runtime = withy::Runtime::builder()
            .workers(1)
            .steal(Steal::fresh())
            .seed(7)
            .build()
            .unwrap();
        let mutex = Arc::new(Mutex::new(0));
        let lockers: Vec<_> = (0..4)
            .map(|_| {
                let mutex = mutex.clone();
                runtime.spawn(move || {
                    for _ in 0..500 {
                        *mutex.lock().unwrap() += 1;
                    }
                })
            })
            .collect();
        lockers
            .into_iter()
            .for_each(|locker| locker.join().unwrap());
        assert_eq!(*mutex.lock().unwrap(), 2_000);
    });
}
