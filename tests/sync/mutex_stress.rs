//! Locks under everything at once: holders that wait, waiters that are cancelled, time out or are ended by tokens, tries, panics;
//! coroutines and plain threads. Every section is counted, and none is lost or made twice.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fastrand::Rng;
use withy::sync::{Mutex, MutexGuard, TryLockError};
use withy::{CancelToken, Cancelled};

use crate::rig::{self, stress_rounds};
use crate::support::{self, LIMIT, matrix};

/// Two locks, each with a count of its sections under it, and one beside it.
struct World {
    locks: [Mutex<usize>; 2],
    sections: [AtomicUsize; 2],
    /// Who is inside.
    inside: [AtomicUsize; 2],
    token: CancelToken,
}

impl World {
    fn new() -> Arc<World> {
        Arc::new(World {
            locks: [const { Mutex::new(0) }; 2],
            sections: Default::default(),
            inside: Default::default(),
            token: CancelToken::new(),
        })
    }

    /// One section, in which the holder may wait, be interrupted, or panic.
    fn section(&self, lock: usize, mut guard: MutexGuard<'_, usize>, rng: &mut Rng) {
        struct Leave<'a>(&'a AtomicUsize);
        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                assert_eq!(self.0.swap(0, Ordering::Relaxed), 1, "two at once");
            }
        }
        assert_eq!(
            self.inside[lock].swap(1, Ordering::Relaxed),
            0,
            "two at once"
        );
        let _leave = Leave(&self.inside[lock]);
        // Both at once: from here on nothing is lost by an interruption.
        *guard += 1;
        self.sections[lock].fetch_add(1, Ordering::Relaxed);
        match rng.u32(0..16) {
            0 => withy::sleep(Duration::from_micros(rng.u64(0..50))),
            1..4 => withy::yield_now(),
            4 => resume_unwind(Box::new("a panic without a word")),
            // In one order only, so that there is no deadlock.
            5 if lock == 0 => {
                let inner = self.lock(1);
                self.section(1, inner, rng);
            }
            _ => {}
        }
    }

    fn lock(&self, lock: usize) -> MutexGuard<'_, usize> {
        self.locks[lock].lock().unwrap_or_else(|poisoned| {
            self.locks[lock].clear_poison();
            poisoned.into_inner()
        })
    }

    fn try_lock(&self, lock: usize) -> Option<MutexGuard<'_, usize>> {
        match self.locks[lock].try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn act(&self, rng: &mut Rng) {
        let lock = rng.usize(0..2);
        let limit = Duration::from_micros(rng.u64(0..100));
        let mut inner = rng.fork();
        let mut waits = || self.section(lock, self.lock(lock), &mut inner);
        match rng.u32(0..8) {
            0 => drop(withy::timeout(limit, waits)),
            1 => drop(self.token.run(waits)),
            2 => drop(withy::timeout(limit, || self.token.run(waits))),
            3 => withy::shield(waits),
            4 | 5 => {
                if let Some(guard) = self.try_lock(lock) {
                    self.section(lock, guard, &mut inner);
                }
            }
            _ => waits(),
        }
    }
}

/// What an actor does, with the panics of its sections caught. A cancellation ends it.
fn run_actor(world: &World, seed: u64, acts: usize) {
    let mut rng = Rng::with_seed(seed);
    for _ in 0..acts {
        let act = catch_unwind(AssertUnwindSafe(|| world.act(&mut rng)));
        if let Err(payload) = act
            && !payload.is::<&str>()
        {
            resume_unwind(payload);
        }
    }
}

/// Promises 29, 41 and 42. The counts under the locks and beside them are equal, both locks are free at the end, and all end.
#[test]
fn mutexes_lose_nothing() {
    const ACTORS: u64 = 12;
    const ACTS: usize = 200;
    matrix(LIMIT, "locks, holders and interruptions", |case| {
        for round in 0..stress_rounds() as u64 {
            let world = World::new();
            let actors: Vec<_> = (0..ACTORS)
                .map(|actor| {
                    let world = world.clone();
                    case.spawn(move || run_actor(&world, round * 1_000 + actor, ACTS))
                })
                .collect();
            // Coroutines that are cancelled, whoever the others are.
            let victims: Vec<_> = (0..ACTORS)
                .map(|victim| {
                    let world = world.clone();
                    let seed = round * 1_000 + 500 + victim;
                    case.runtime.spawn(move || run_actor(&world, seed, ACTS))
                })
                .collect();
            let mut rng = Rng::with_seed(round);
            for (n, victim) in victims.iter().enumerate() {
                std::thread::sleep(Duration::from_micros(rng.u64(0..500)));
                victim.cancel();
                if n == victims.len() / 2 {
                    world.token.cancel();
                }
            }
            actors.into_iter().for_each(support::Caller::join);
            for victim in victims {
                if let Err(payload) = victim.join() {
                    assert!(payload.is::<Cancelled>(), "{}", rig::text_of(&*payload));
                }
            }
            for lock in 0..2 {
                let counted = world.sections[lock].load(Ordering::Relaxed);
                let guard = world.try_lock(lock).expect("nobody holds it any more");
                assert_eq!(*guard, counted);
                assert!(counted > 0);
            }
        }
    });
}
