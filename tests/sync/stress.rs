//! All locks at once, in two runtimes and plain threads that share them: holders that wait, waiters that are cancelled, time out or
//! give up at a limit of their own. What was taken is there again at the end, and nobody is left waiting.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fastrand::Rng;
use withy::sync::{Condvar, Mutex, Notify, OnceLock, RwLock, RwLockWriteGuard, Semaphore};
use withy::{Cancelled, Runtime};

use crate::rig::{self, stress_rounds};
use crate::support::{LIMIT, runtime, within};

const PERMITS: usize = 3;
const PLACES: usize = 2;
const ACTS: usize = 150;

struct World {
    /// Two numbers that are equal whenever nobody writes.
    pair: RwLock<[usize; 2]>,
    permits: Semaphore,
    /// A semaphore by hand.
    places: Mutex<usize>,
    freed: Condvar,
    cells: Vec<OnceLock<usize>>,
    made: AtomicUsize,
    /// Has a permit, or somebody holds it.
    baton: Notify,
}

impl World {
    fn new() -> Arc<World> {
        let world = World {
            pair: RwLock::default(),
            permits: Semaphore::new(PERMITS),
            places: Mutex::new(PLACES),
            freed: Condvar::new(),
            cells: (0..16).map(|_| OnceLock::new()).collect(),
            made: AtomicUsize::new(0),
            baton: Notify::new(),
        };
        world.baton.notify_one();
        Arc::new(world)
    }

    fn read(&self, rng: &mut Rng) {
        let guard = self.pair.read().unwrap();
        dally(rng);
        assert_eq!(guard[0], guard[1]);
    }

    fn write(&self, rng: &mut Rng) {
        let mut guard = self.pair.write().unwrap();
        let next = guard[0] + 1;
        // Whole again if it is interrupted in between.
        struct Whole<'a>(RwLockWriteGuard<'a, [usize; 2]>);
        impl Drop for Whole<'_> {
            fn drop(&mut self) {
                self.0[1] = self.0[0];
            }
        }
        guard[0] = next;
        if rng.bool() {
            let guard = Whole(guard);
            dally(rng);
            drop(guard);
        } else {
            guard[1] = next;
            let guard = RwLockWriteGuard::downgrade(guard);
            dally(rng);
            assert_eq!(*guard, [next; 2]);
        }
    }

    fn permits(&self, rng: &mut Rng) {
        let wanted = rng.usize(1..=PERMITS);
        let permit = match rng.u32(0..3) {
            0 => self.permits.acquire_many_timeout(wanted, short(rng)).ok(),
            1 => self.permits.try_acquire_many(wanted).ok(),
            _ => self.permits.acquire_many(wanted).ok(),
        };
        if permit.is_some() {
            dally(rng);
        }
    }

    fn place(&self, rng: &mut Rng) {
        struct Leave<'a>(&'a World);
        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                // A lock may unwind; a place must come back.
                withy::shield(|| *self.0.places.lock().unwrap() += 1);
                self.0.freed.notify_one();
            }
        }
        let mut places = self.places.lock().unwrap();
        if rng.bool() {
            let limit = short(rng);
            let waited = self
                .freed
                .wait_timeout_while(places, limit, |places| *places == 0);
            let (guard, result) = waited.unwrap();
            if result.timed_out() {
                return;
            }
            places = guard;
        } else {
            places = self
                .freed
                .wait_while(places, |places| *places == 0)
                .unwrap();
        }
        *places -= 1;
        let _leave = Leave(self);
        drop(places);
        dally(rng);
    }

    fn cell(&self, rng: &mut Rng) {
        let index = rng.usize(0..self.cells.len());
        let value = self.cells[index].get_or_init(|| {
            dally(rng);
            self.made.fetch_add(1, Ordering::Relaxed);
            index
        });
        assert_eq!(*value, index);
    }

    fn baton(&self, rng: &mut Rng) {
        struct Back<'a>(&'a Notify);
        impl Drop for Back<'_> {
            fn drop(&mut self) {
                self.0.notify_one();
            }
        }
        if rng.bool() {
            self.baton.wait();
        } else if !self.baton.wait_timeout(short(rng)) {
            return;
        }
        let _back = Back(&self.baton);
        dally(rng);
    }

    fn act(&self, rng: &mut Rng) {
        match rng.u32(0..7) {
            0 | 1 => self.read(rng),
            2 => self.write(rng),
            3 => self.permits(rng),
            4 => self.place(rng),
            5 => self.cell(rng),
            _ => self.baton(rng),
        }
    }

    fn run_actor(&self, seed: u64) {
        let mut rng = Rng::with_seed(seed);
        for _ in 0..ACTS {
            let mut inner = rng.fork();
            if rng.u32(0..3) == 0 {
                let _ = withy::timeout(short(&mut rng), || self.act(&mut inner));
            } else {
                self.act(&mut inner);
            }
        }
    }

    fn assert_whole(&self) {
        let pair = self.pair.try_write().expect("nobody holds it");
        assert_eq!(pair[0], pair[1]);
        assert_eq!(self.permits.available_permits(), PERMITS);
        assert!(format!("{:?}", self.permits).contains("waiting: false"));
        assert_eq!(*self.places.try_lock().expect("nobody holds it"), PLACES);
        assert!(self.baton.wait_timeout(Duration::ZERO), "it was given back");
        let made = self.cells.iter().filter(|cell| cell.get().is_some());
        assert_eq!(made.count(), self.made.load(Ordering::Relaxed));
    }
}

fn short(rng: &mut Rng) -> Duration {
    Duration::from_micros(rng.u64(0..150))
}

/// Holds on for a while, by any sort of wait or none.
fn dally(rng: &mut Rng) {
    match rng.u32(0..8) {
        0 => withy::sleep(Duration::from_micros(rng.u64(0..50))),
        1..4 => withy::yield_now(),
        _ => {}
    }
}

fn round(runtimes: [&Runtime; 2], round: u64) {
    const OF_A_SORT: u64 = 5;
    let world = World::new();
    let actor = |number: u64| {
        let world = world.clone();
        move || world.run_actor(round * 1_000 + number)
    };
    let threads: Vec<_> = (0..OF_A_SORT)
        .map(|n| std::thread::spawn(actor(n)))
        .collect();
    let spawn = |n: u64| runtimes[n as usize % 2].spawn(actor(100 + n));
    let victims: Vec<_> = (0..2 * OF_A_SORT).map(spawn).collect();
    let others: Vec<_> = (10..10 + 2 * OF_A_SORT).map(spawn).collect();
    let mut rng = Rng::with_seed(round);
    for victim in &victims {
        std::thread::sleep(Duration::from_micros(rng.u64(0..800)));
        victim.cancel();
    }
    for thread in threads {
        thread.join().unwrap();
    }
    for other in others {
        other.join().unwrap();
    }
    for victim in victims {
        if let Err(payload) = victim.join() {
            assert!(payload.is::<Cancelled>(), "{}", rig::text_of(&*payload));
        }
    }
    world.assert_whole();
}

/// Promises 29, 41, 42 and 44. Two runtimes and plain threads share locks of every sort, and nothing is lost.
#[test]
fn stress_two_runtimes_and_threads_share_all_locks() {
    for workers in [1, 2, 8] {
        for modes in [[false, false], [false, true], [true, false], [true, true]] {
            let label = format!("{workers} and 2 workers, full stealing {modes:?}");
            let runtimes = [runtime(workers, modes[0]), runtime(2, modes[1])];
            for number in 0..stress_rounds() as u64 {
                within(LIMIT, &label, || {
                    round([&runtimes[0], &runtimes[1]], number)
                });
            }
        }
    }
}
