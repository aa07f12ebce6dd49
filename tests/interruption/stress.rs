//! Everything that can interrupt, at once and nested at random, over borrowed data: whatever ends whatever, nothing
//! leaves a borrow in use, nothing is left behind, and nothing hangs.

use std::cell::Cell;
use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fastrand::Rng;
use withy::net::{Duplex, duplex};
use withy::{CancelToken, Cancelled, Runtime, coroutine_local};

use crate::rig::stress_rounds;
use crate::support::{LIMIT, runtime, within};

type Data = [u64; 32];

const WHOLE: u64 = 0xabad_1dea;

coroutine_local! {
    static ACTS: Cell<u64> = const { Cell::new(0) };
}

/// A user of borrowed data: looks at it when it goes, and may wait then.
struct Borrower<'a> {
    data: &'a Data,
    waits: bool,
    living: &'a AtomicUsize,
}

impl<'a> Borrower<'a> {
    fn new(world: &'a World, data: &'a Data, waits: bool) -> Borrower<'a> {
        let living = &world.living;
        living.fetch_add(1, Ordering::SeqCst);
        Borrower {
            data,
            waits,
            living,
        }
    }

    fn look(&self) {
        assert!(
            self.data.iter().all(|&word| word == WHOLE),
            "the borrow is gone"
        );
    }
}

impl Drop for Borrower<'_> {
    fn drop(&mut self) {
        self.look();
        if self.waits {
            withy::shield(|| {
                withy::yield_now();
                withy::sleep(Duration::from_micros(50));
            });
        }
        self.look();
        self.living.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What the actors share.
struct World {
    other: Runtime,
    living: AtomicUsize,
}

struct Actor<'a> {
    world: &'a World,
    token: &'a CancelToken,
    stream: &'a Duplex,
}

impl Actor<'_> {
    /// A few acts, each on data of this stack.
    fn act(&self, seed: u64, depth: u32) {
        let mut rng = Rng::with_seed(seed);
        let data: Data = [WHOLE; 32];
        for _ in 0..rng.u32(1..=4) {
            let limit = Duration::from_micros(rng.u64(0..300));
            let waits = rng.u32(0..3) == 0;
            let seed = rng.u64(..);
            ACTS.set(ACTS.get() + 1);
            let _borrower = Borrower::new(self.world, &data, waits);
            let deeper = |n: u64| {
                let _borrower = Borrower::new(self.world, &data, waits);
                if depth > 0 {
                    self.act(seed ^ n, depth - 1);
                }
            };
            match rng.u32(0..12) {
                0..4 => self.end_early(rng.u32(0..4), &data, limit, &deeper),
                4..8 => self.have_children(rng.u32(0..4), &data, limit, waits, &deeper),
                8 => withy::blocking(|| {
                    let _borrower = Borrower::new(self.world, &data, false);
                    std::thread::sleep(limit / 4);
                }),
                9 => withy::compute(|| drop(Borrower::new(self.world, &data, false))),
                10 => withy::shield(|| deeper(7)),
                _ => {
                    let panicking = || {
                        let _borrower = Borrower::new(self.world, &data, waits);
                        deeper(8);
                        resume_unwind(Box::new("a panic without a word"));
                    };
                    let _ = catch_unwind(AssertUnwindSafe(panicking));
                }
            }
        }
    }

    fn end_early(&self, which: u32, data: &Data, limit: Duration, deeper: &dyn Fn(u64)) {
        match which {
            0 => {
                let _ = withy::timeout(limit, || {
                    deeper(1);
                    withy::sleep(limit * 2);
                });
            }
            1 => {
                let _ = self.token.run(|| {
                    deeper(2);
                    withy::sleep(limit);
                });
            }
            2 => {
                let _ = withy::timeout(limit, || {
                    self.world.other.run(|| {
                        let _borrower = Borrower::new(self.world, data, true);
                        withy::sleep(limit * 2);
                    });
                });
            }
            _ => {
                let _ = withy::timeout(limit, || {
                    let mut stream = self.stream;
                    let _ = stream.write(&[1; 5]);
                    let _ = stream.read(&mut [0; 8]);
                });
            }
        }
    }

    fn have_children(
        &self,
        which: u32,
        data: &Data,
        limit: Duration,
        waits: bool,
        deeper: &(dyn Fn(u64) + Sync),
    ) {
        let borrow = || Borrower::new(self.world, data, waits);
        match which {
            0 => withy::scope(|s| {
                for n in 0..3 {
                    s.spawn(move || deeper(n));
                }
            }),
            1 => {
                let _ = withy::try_scope(|s| {
                    s.spawn(|| {
                        deeper(1);
                        Ok(())
                    });
                    s.spawn(|| {
                        withy::sleep(limit);
                        Err::<(), u32>(5)
                    });
                    withy::sleep(limit);
                    Ok(())
                });
            }
            2 => {
                let token = self.token.child();
                withy::scope(|s| {
                    s.spawn(|| {
                        let _borrower = borrow();
                        token.cancel();
                    });
                    let _ = token.run(|| withy::park_timeout(limit));
                });
            }
            _ => withy::scope(|s| {
                let child = s.spawn(|| {
                    let _borrower = borrow();
                    withy::park_timeout(limit);
                });
                if waits {
                    child.cancel();
                }
                let _ = child.join();
            }),
        }
    }
}

/// Promises 27, 28, 53 and 55. Forty actors a round, some of them cancelled, their token too, and in half of the
/// rounds the runtime is shut down under them.
#[test]
fn stress_whatever_is_interrupted_leaves_nothing_in_use() {
    let mut rng = Rng::with_seed(1);
    for round in 0..2 * stress_rounds() {
        for workers in [1, 2, 8] {
            for full_stealing in [false, true] {
                let seed = rng.u64(..);
                let label = format!(
                    "round {round}: {workers} workers, full stealing {full_stealing}, seed {seed}"
                );
                within(LIMIT, &label, || storm(workers, full_stealing, seed));
            }
        }
    }
}

fn storm(workers: usize, full_stealing: bool, seed: u64) {
    let mut rng = Rng::with_seed(seed);
    let home = runtime(workers, full_stealing);
    let world = Arc::new(World {
        other: runtime(1, !full_stealing),
        living: AtomicUsize::new(0),
    });
    let token = CancelToken::new();
    let (left, right) = duplex(16);
    let (left, right) = (Arc::new(left), Arc::new(right));
    let actors: Vec<_> = (0..40)
        .map(|n| {
            let (world, token) = (world.clone(), token.child());
            let stream = if n % 2 == 0 { &left } else { &right }.clone();
            let seed = rng.u64(..);
            home.spawn(move || {
                let actor = Actor {
                    world: &world,
                    token: &token,
                    stream: &stream,
                };
                actor.act(seed, 3);
            })
        })
        .collect();
    std::thread::sleep(Duration::from_micros(rng.u64(0..5000)));
    actors
        .iter()
        .filter(|_| rng.u32(0..3) == 0)
        .for_each(|actor| actor.cancel());
    if rng.bool() {
        token.cancel();
    }
    if rng.bool() {
        home.shutdown(LIMIT).expect("everything unwinds");
    }
    for actor in actors {
        if let Err(payload) = actor.join() {
            assert!(
                payload.is::<Cancelled>(),
                "an actor ended by something else"
            );
        }
    }
    assert_eq!(world.living.load(Ordering::SeqCst), 0);
}
