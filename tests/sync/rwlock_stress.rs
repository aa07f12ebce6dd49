//! Readers, writers and those who give up, at random: exclusion, nothing lost, nothing left behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use fastrand::Rng;
use withy::Cancelled;
use withy::sync::{RwLock, RwLockWriteGuard};

use crate::rig::{each_runtime, stress_rounds};
use crate::support::{Caller, Callers, Case, LIMIT, within};

const ACTORS: u64 = 12;
const ACTS: u64 = 400;

/// What is locked, and who is inside as they themselves say: -1 is a writer.
struct World {
    lock: RwLock<[u64; 2]>,
    inside: AtomicI64,
    writes: AtomicU64,
}

/// A part of `World::inside`, while it lives.
struct Inside<'a>(&'a AtomicI64, i64);

impl<'a> Inside<'a> {
    fn reader(inside: &'a AtomicI64) -> Inside<'a> {
        assert!(inside.fetch_add(1, Ordering::SeqCst) >= 0, "no writer");
        Inside(inside, 1)
    }

    fn writer(inside: &'a AtomicI64) -> Inside<'a> {
        assert_eq!(inside.fetch_sub(1, Ordering::SeqCst), 0, "nobody else");
        Inside(inside, -1)
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, Ordering::SeqCst);
    }
}

impl World {
    fn new() -> World {
        World {
            lock: RwLock::new([0; 2]),
            inside: AtomicI64::new(0),
            writes: AtomicU64::new(0),
        }
    }

    fn act(&self, rng: &mut Rng) {
        match rng.u32(..12) {
            0..5 => self.look(&self.lock.read().unwrap(), rng),
            5..7 => {
                if let Ok(guard) = self.lock.try_read() {
                    self.look(&guard, rng);
                }
            }
            7..9 => self.write(self.lock.write().unwrap(), rng),
            9 => {
                if let Ok(guard) = self.lock.try_write() {
                    self.write(guard, rng);
                }
            }
            _ => {
                // A deadline that comes at any point of a wait, or before or after it.
                let limit = Duration::from_nanos(rng.u64(..60_000));
                let writes = rng.bool();
                let _ = withy::timeout(limit, || match writes {
                    true => self.write(self.lock.write().unwrap(), rng),
                    false => self.look(&self.lock.read().unwrap(), rng),
                });
            }
        }
    }

    fn look(&self, value: &[u64; 2], rng: &mut Rng) {
        let _inside = Inside::reader(&self.inside);
        pause(rng);
        assert_eq!(value[0], value[1]);
    }

    fn write(&self, mut guard: RwLockWriteGuard<'_, [u64; 2]>, rng: &mut Rng) {
        let inside = Inside::writer(&self.inside);
        withy::shield(|| {
            guard[0] += 1;
            pause(rng);
            guard[1] += 1;
        });
        self.writes.fetch_add(1, Ordering::SeqCst);
        if rng.bool() {
            drop(inside);
            let written = *guard;
            let guard = RwLockWriteGuard::downgrade(guard);
            self.look(&guard, rng);
            assert_eq!(*guard, written);
        } else {
            pause(rng);
            // Before the guard.
            drop(inside);
        }
    }

    fn check(&self) {
        let writes = self.writes.load(Ordering::SeqCst);
        let value = *self.lock.try_write().expect("nobody is left inside");
        assert_eq!(value, [writes; 2]);
        assert_eq!(self.inside.load(Ordering::SeqCst), 0);
    }
}

/// Half of the sections are long.
fn pause(rng: &mut Rng) {
    match rng.u32(..4) {
        0 => withy::yield_now(),
        1 => withy::sleep(Duration::from_nanos(rng.u64(..20_000))),
        _ => {}
    }
}

/// Promises 29, 41 and 42. Everybody comes to the end of their acts, whoever gives up meanwhile, and each write is seen whole.
#[test]
fn readers_and_writers_that_give_up_at_random() {
    for round in 0..stress_rounds() {
        for full_stealing in [false, true] {
            for callers in [Callers::Coroutines, Callers::Mixed, Callers::Threads] {
                let seed = fastrand::u64(..);
                let what = format!(
                    "random acts (full stealing {full_stealing}, {callers:?}, round {round}, seed {seed})"
                );
                within(LIMIT, &what, || {
                    let case = Case::new(8, full_stealing, callers);
                    let world = Arc::new(World::new());
                    let actors: Vec<_> = (0..ACTORS)
                        .map(|n| {
                            let world = world.clone();
                            case.spawn(move || {
                                let mut rng = Rng::with_seed(seed ^ n);
                                for _ in 0..ACTS {
                                    world.act(&mut rng);
                                }
                            })
                        })
                        .collect();
                    actors.into_iter().for_each(Caller::join);
                    world.check();
                });
            }
        }
    }
}

/// Promise 29. Coroutines that are cancelled at any point, while they wait or when they were just given the lock, leave it to the others.
#[test]
fn readers_and_writers_that_are_cancelled_at_random() {
    for _ in 0..stress_rounds() {
        each_runtime("cancelled actors", |runtime, label| {
            let seed = fastrand::u64(..);
            let world = Arc::new(World::new());
            let spawn = |n: u64, acts: u64| {
                let world = world.clone();
                runtime.spawn(move || {
                    let mut rng = Rng::with_seed(seed ^ n);
                    for _ in 0..acts {
                        world.act(&mut rng);
                    }
                })
            };
            let survivors: Vec<_> = (0..4).map(|n| spawn(n, ACTS / 2)).collect();
            let mut rng = Rng::with_seed(!seed);
            for n in 0..60 {
                let victim = spawn(100 + n, u64::MAX);
                withy::sleep(Duration::from_nanos(rng.u64(..100_000)));
                victim.cancel();
                let payload = victim.join().unwrap_err();
                assert!(payload.is::<Cancelled>(), "{label}, seed {seed}");
            }
            for survivor in survivors {
                survivor.join().unwrap();
            }
            world.check();
        });
    }
}
