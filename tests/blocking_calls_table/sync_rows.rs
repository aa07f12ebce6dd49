//! The rows of `withy::sync`, but for its channels.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use withy::sync::{Barrier, Condvar, LazyLock, Mutex, MutexGuard, Notify, Once, OnceLock, Parker};
use withy::sync::{RwLock, Semaphore, WaitGroup, mpsc};

use crate::rig::until;
use crate::rows::{AGES, Call, Row, row};

/// One line each.
#[rustfmt::skip]
pub(crate) fn waits() -> Vec<Row> {
    vec![
        row("sync::Condvar::wait", || condvar(|changed, guard| drop(changed.wait(guard)))),
        row("sync::Condvar::wait_timeout", || condvar(|changed, guard| drop(changed.wait_timeout(guard, AGES)))),
        row("sync::Condvar::wait_timeout_ms", || condvar(condvar_wait_timeout_ms)),
        row("sync::Condvar::wait_timeout_while", || condvar(|changed, guard| drop(changed.wait_timeout_while(guard, Duration::MAX, |_| true)))),
        row("sync::Condvar::wait_while", || condvar(|changed, guard| drop(changed.wait_while(guard, |_| true)))),
        row("sync::Mutex::lock", mutex),
        row("sync::RwLock::read", || rwlock(|lock| drop(lock.read()))),
        row("sync::RwLock::write", || rwlock(|lock| drop(lock.write()))),
        row("sync::LazyLock::deref", || lazy_lock(|lazy| assert_eq!(**lazy, 7))),
        row("sync::LazyLock::force", || lazy_lock(|lazy| assert_eq!(*Lazy::force(lazy), 7))),
        row("sync::Once::call_once", || once(|once| once.call_once(|| ()))),
        row("sync::Once::call_once_force", || once(|once| once.call_once_force(|_| ()))),
        row("sync::Once::wait", || once(Once::wait)),
        row("sync::Once::wait_force", || once(Once::wait_force)),
        row("sync::OnceLock::get_or_init", || once_lock(|cell| _ = cell.get_or_init(|| 8))),
        row("sync::OnceLock::set", || once_lock(|cell| _ = cell.set(8))),
        row("sync::OnceLock::wait", || once_lock(|cell| _ = cell.wait())),
        row("sync::Barrier::wait", barrier),
        row("sync::Notified::wait", || notify(|event| event.notified().wait())),
        row("sync::Notified::wait_timeout", || notify(|event| _ = event.notified().wait_timeout(AGES))),
        row("sync::Notify::wait", || notify(|event| event.wait())),
        row("sync::Notify::wait_timeout", || notify(|event| _ = event.wait_timeout(Duration::MAX))),
        row("sync::Parker::park", || parker(|parker| parker.park())),
        row("sync::Parker::park_deadline", || parker(|parker| parker.park_deadline(Instant::now() + AGES))),
        row("sync::Parker::park_timeout", || parker(|parker| parker.park_timeout(AGES))),
        row("sync::Semaphore::acquire", || semaphore(0, |semaphore| drop(semaphore.acquire()))),
        row("sync::Semaphore::acquire_many", || semaphore(2, |semaphore| drop(semaphore.acquire_many(3)))),
        row("sync::Semaphore::acquire_many_owned", || semaphore(2, |semaphore| drop(semaphore.acquire_many_owned(3)))),
        row("sync::Semaphore::acquire_many_timeout", || semaphore(2, |semaphore| drop(semaphore.acquire_many_timeout(3, AGES)))),
        row("sync::Semaphore::acquire_owned", || semaphore(0, |semaphore| drop(semaphore.acquire_owned()))),
        row("sync::Semaphore::acquire_timeout", || semaphore(0, |semaphore| drop(semaphore.acquire_timeout(AGES)))),
        row("sync::WaitGroup::wait", wait_group),
    ]
}

type Part = Box<dyn FnOnce() + Send>;

type Lazy = LazyLock<u8, Box<dyn FnOnce() -> u8 + Send>>;

/// A lock that is free later is taken.
fn mutex() -> Call {
    let mutex = Arc::new(Mutex::new(()));
    // It belongs to nobody who could unlock it.
    std::mem::forget(mutex.lock());
    let waited_for = mutex.clone();
    Call {
        wait: Box::new(move || drop(waited_for.lock())),
        after: Box::new(move || {
            assert!(mutex.try_lock().is_err());
            let mut mutex = Arc::into_inner(mutex).expect("its waiters have left");
            assert!(mutex.get_mut().is_ok());
        }),
    }
}

#[allow(deprecated, reason = "it waits too")]
fn condvar_wait_timeout_ms(changed: &Condvar, guard: MutexGuard<'_, u32>) {
    drop(changed.wait_timeout_ms(guard, u32::MAX));
}

/// The mutex is free, and a signal that comes later is a later waiter's.
fn condvar(wait: fn(&Condvar, MutexGuard<'_, u32>)) -> Call {
    let shared = Arc::new((Mutex::new(0), Condvar::new()));
    Call {
        wait: Box::new({
            let shared = shared.clone();
            move || wait(&shared.1, shared.0.lock().unwrap())
        }),
        after: Box::new(move || {
            let notifier = withy::spawn({
                let shared = shared.clone();
                move || {
                    *shared.0.lock().unwrap() += 1;
                    shared.1.notify_one();
                }
            });
            let count = shared.0.lock().expect("nobody has panicked");
            let count = shared.1.wait_while(count, |count| *count == 0);
            assert_eq!(*count.expect("nobody has panicked"), 1);
            notifier.join().unwrap();
        }),
    }
}

/// Held by a writer all the time.
fn rwlock(wait: fn(&RwLock<u32>)) -> Call {
    let lock = Arc::new(RwLock::new(0));
    let (held, released) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicBool::new(false)),
    );
    let holder = withy::spawn({
        let (lock, held, released) = (lock.clone(), held.clone(), released.clone());
        move || {
            let mut guard = lock.write().unwrap();
            held.store(true, Ordering::SeqCst);
            until(|| released.load(Ordering::SeqCst));
            *guard += 1;
        }
    });
    until(|| held.load(Ordering::SeqCst));
    Call {
        wait: Box::new({
            let lock = lock.clone();
            move || wait(&lock)
        }),
        after: Box::new(move || {
            assert!(lock.try_read().is_err());
            released.store(true, Ordering::SeqCst);
            holder.join().unwrap();
            assert_eq!(*lock.read().expect("nobody has panicked"), 1);
            *lock.write().expect("nobody has panicked") += 1;
        }),
    }
}

/// Whoever has left is not counted: two others wait for each other.
fn barrier() -> Call {
    let barrier = Arc::new(Barrier::new(2));
    Call {
        wait: Box::new({
            let barrier = barrier.clone();
            move || _ = barrier.wait()
        }),
        after: Box::new(move || {
            let other = std::thread::spawn({
                let barrier = barrier.clone();
                move || barrier.wait().is_leader()
            });
            assert!(barrier.wait().is_leader() != other.join().unwrap());
        }),
    }
}

/// A notification that comes later is kept.
fn notify(wait: fn(&Notify)) -> Call {
    let event = Arc::new(Notify::new());
    Call {
        wait: Box::new({
            let event = event.clone();
            move || wait(&event)
        }),
        after: Box::new(move || {
            assert!(!event.wait_timeout(Duration::ZERO));
            event.notify_one();
            assert!(event.wait_timeout(Duration::ZERO));
        }),
    }
}

/// The parker is gone: what gives it its token says nothing.
fn parker(wait: fn(&Parker)) -> Call {
    let parker = Parker::new();
    let unparker = parker.unparker().clone();
    Call {
        wait: Box::new(move || wait(&parker)),
        after: Box::new(move || unparker.unpark()),
    }
}

/// All permits are there, and nobody is in their way.
fn semaphore(permits: usize, wait: fn(&Arc<Semaphore>)) -> Call {
    let semaphore = Arc::new(Semaphore::new(permits));
    Call {
        wait: Box::new({
            let semaphore = semaphore.clone();
            move || wait(&semaphore)
        }),
        after: Box::new(move || {
            assert_eq!(semaphore.available_permits(), permits);
            semaphore.add_permits(1);
            assert!(semaphore.try_acquire_many(permits + 1).is_ok());
        }),
    }
}

/// The others are not waited for, and wait for nobody who has left.
fn wait_group() -> Call {
    let group = WaitGroup::new();
    let member = group.clone();
    Call {
        wait: Box::new(move || member.wait()),
        after: Box::new(move || group.wait()),
    }
}

/// `make` is given an initialiser that runs until the wait is over, and gives who runs it, who waits, and what holds in the end.
fn initialised(make: impl FnOnce(Part) -> [Part; 3]) -> Call {
    let (starts, started) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let [first, wait, check] = make(Box::new(move || {
        starts.send(()).expect("the row waits for it");
        let _ = released.recv();
    }));
    let first = std::thread::spawn(first);
    started.recv().expect("the initialiser runs");
    Call {
        wait,
        after: Box::new(move || {
            drop(release);
            first.join().expect("it is not interrupted");
            check();
        }),
    }
}

fn once(wait: fn(&Once)) -> Call {
    initialised(|initialiser| {
        let [first, waiting, last] = copies(Once::new());
        [
            Box::new(move || first.call_once(initialiser)),
            Box::new(move || wait(&waiting)),
            Box::new(move || assert!(last.is_completed())),
        ]
    })
}

fn once_lock(wait: fn(&OnceLock<u8>)) -> Call {
    initialised(|initialiser| {
        let [first, waiting, last] = copies(OnceLock::new());
        let make = move || {
            initialiser();
            7
        };
        [
            Box::new(move || _ = first.get_or_init(make)),
            Box::new(move || wait(&waiting)),
            Box::new(move || assert_eq!(last.get(), Some(&7))),
        ]
    })
}

fn lazy_lock(wait: fn(&Lazy)) -> Call {
    initialised(|initialiser| {
        let [first, waiting, last] = copies(Lazy::new(Box::new(move || {
            initialiser();
            7
        })));
        [
            Box::new(move || _ = Lazy::force(&first)),
            Box::new(move || wait(&waiting)),
            Box::new(move || assert_eq!(Lazy::get(&last), Some(&7))),
        ]
    })
}

fn copies<T>(shared: T) -> [Arc<T>; 3] {
    let shared = Arc::new(shared);
    [shared.clone(), shared.clone(), shared]
}
