//! `Semaphore` against a model: a number and a queue. Random operations in virtual time under many seeds.
//!
//! In each step the driver does some things at once, while nobody else runs: it gives back, adds, forgets, cancels; at most one new caller
//! comes. Then it waits until all is at rest, and looks whether all is as the model says: who has how much, who waits, what is left.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use withy::sync::{Closed, OwnedPermit, Semaphore, TryAcquireError};
use withy::{Cancelled, JoinHandle, Runtime, spawn, timeout};

use crate::rig::{stress_rounds, text_of};
use crate::support::{LIMIT, within};

/// A step of the driver takes so long; limits of callers end in the middle of one.
const STEP: Duration = Duration::from_micros(2);
const HALF: Duration = Duration::from_micros(1);
const STEPS: u64 = 60;

/// How a call ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ended {
    Granted,
    Late,
    Closed,
    Cancelled,
}

/// What a caller holds.
enum Held {
    Guard(OwnedPermit),
    /// The guard was forgotten.
    Number(usize),
}

type Caller = JoinHandle<(Ended, Option<Held>)>;

struct Waiter {
    id: u64,
    wanted: usize,
    /// The step in which its time ends.
    until: Option<u64>,
}

/// The semaphore as it should be.
struct Model {
    free: usize,
    queue: Vec<Waiter>,
    /// In this step: they have not run since.
    granted: Vec<Waiter>,
    cancelled: Vec<u64>,
    ended: BTreeMap<u64, (Ended, usize)>,
    closed: bool,
}

impl Model {
    fn grant(&mut self) {
        while let Some(first) = self.queue.first()
            && first.wanted <= self.free
        {
            self.free -= first.wanted;
            self.granted.push(self.queue.remove(0));
        }
    }

    fn add(&mut self, permits: usize) {
        self.free += permits;
        self.grant();
    }

    fn acquire(&mut self, waiter: Waiter) {
        if self.closed {
            self.ended.insert(waiter.id, (Ended::Closed, 0));
        } else if waiter.wanted == 0 {
            self.granted.push(waiter);
        } else {
            self.queue.push(waiter);
            self.grant();
        }
    }

    fn try_acquire(&mut self, wanted: usize) -> Result<(), TryAcquireError> {
        if self.closed {
            return Err(TryAcquireError::Closed);
        }
        if wanted > 0 && (!self.queue.is_empty() || wanted > self.free) {
            return Err(TryAcquireError::NoPermits);
        }
        self.free -= wanted;
        Ok(())
    }

    fn close(&mut self) {
        self.closed = true;
        for waiter in self.queue.drain(..) {
            self.ended.insert(waiter.id, (Ended::Closed, 0));
        }
    }

    /// Everybody runs: whoever was cancelled unwinds, and whoever was given something has it.
    fn rest(&mut self) {
        for id in std::mem::take(&mut self.cancelled) {
            self.queue.retain(|waiter| waiter.id != id);
            if let Some(at) = self.granted.iter().position(|waiter| waiter.id == id) {
                self.free += self.granted.remove(at).wanted;
            }
            self.ended.insert(id, (Ended::Cancelled, 0));
            self.grant();
        }
        for waiter in std::mem::take(&mut self.granted) {
            self.ended
                .insert(waiter.id, (Ended::Granted, waiter.wanted));
        }
    }

    fn time_passes(&mut self, step: u64) {
        let late = self.queue.extract_if(.., |one| one.until == Some(step));
        for waiter in late.collect::<Vec<_>>() {
            self.ended.insert(waiter.id, (Ended::Late, 0));
        }
        self.grant();
        self.rest();
    }
}

struct Driver {
    rng: Rng,
    semaphore: Arc<Semaphore>,
    model: Model,
    callers: BTreeMap<u64, Caller>,
    held: Vec<Held>,
    ids: u64,
}

impl Driver {
    fn new(seed: u64) -> Driver {
        let mut rng = Rng::with_seed(seed);
        let free = rng.usize(0..6);
        Driver {
            rng,
            semaphore: Arc::new(Semaphore::new(free)),
            model: Model {
                free,
                queue: Vec::new(),
                granted: Vec::new(),
                cancelled: Vec::new(),
                ended: BTreeMap::new(),
                closed: false,
            },
            callers: BTreeMap::new(),
            held: Vec::new(),
            ids: 0,
        }
    }

    fn run(mut self) {
        let start = withy::now();
        for step in 0..STEPS {
            for _ in 0..self.rng.u32(0..4) {
                self.change();
            }
            if self.rng.u32(0..3) > 0 {
                self.call(step);
            }
            self.model.rest();
            withy::sleep(Duration::from_nanos(1));
            self.compare(step);
            self.try_acquire();
            // Limits end halfway.
            withy::sleep_until(start + STEP * u32::try_from(step + 1).unwrap());
            self.model.time_passes(step);
            self.compare(step);
        }
        self.semaphore.close();
        self.model.close();
        self.model.rest();
        withy::sleep(STEP);
        self.compare(STEPS);
        assert!(self.callers.is_empty());
    }

    /// Something that takes effect at once, and lets nobody run.
    fn change(&mut self) {
        match self.rng.u32(0..20) {
            0..9 if !self.held.is_empty() => {
                let at = self.rng.usize(..self.held.len());
                self.give_back(at);
            }
            9 => {
                let n = self.rng.usize(0..4);
                self.semaphore.add_permits(n);
                self.model.add(n);
            }
            10 => {
                let n = self.rng.usize(0..4);
                let forgotten = n.min(self.model.free);
                self.model.free -= forgotten;
                assert_eq!(self.semaphore.forget_permits(n), forgotten);
            }
            11 if self.rng.u32(0..10) == 0 => {
                self.semaphore.close();
                self.model.close();
            }
            12.. => self.cancel(),
            _ => {}
        }
    }

    fn give_back(&mut self, at: usize) {
        match self.held.swap_remove(at) {
            Held::Guard(mut guard) => {
                // In two portions, or not at all.
                if let Some(part) = guard.split(self.rng.usize(0..3)) {
                    let n = part.num_permits();
                    drop(part);
                    self.model.add(n);
                }
                let n = guard.num_permits();
                if self.rng.u32(0..6) == 0 {
                    return guard.forget();
                }
                drop(guard);
                self.model.add(n);
            }
            Held::Number(n) => {
                self.semaphore.add_permits(n);
                self.model.add(n);
            }
        }
    }

    /// One that waits, or was given its permits just now.
    fn cancel(&mut self) {
        let model = &self.model;
        let candidates: Vec<u64> = model
            .queue
            .iter()
            .chain(&model.granted)
            .map(|waiter| waiter.id)
            .filter(|id| !model.cancelled.contains(id))
            .collect();
        if let Some(&id) = self.rng.choice(&candidates) {
            self.callers[&id].cancel();
            self.model.cancelled.push(id);
        }
    }

    /// A new caller.
    fn call(&mut self, step: u64) {
        self.ids += 1;
        let id = self.ids;
        let wanted = self.rng.usize(0..5);
        let steps = self.rng.u64(0..8);
        let limit = HALF + STEP * u32::try_from(steps).unwrap();
        let semaphore = self.semaphore.clone();
        // Of two whose time ends at once, the one that leaves may let the other go, which has its permits then.
        let mut others = self.model.queue.iter();
        let sort = match others.any(|other| other.until == Some(step + steps)) {
            true => 0,
            false => self.rng.u32(0..3),
        };
        let caller = spawn(move || match sort {
            0 => acquired(semaphore.acquire_many_owned(wanted)),
            1 => match semaphore.acquire_many_timeout(wanted, limit) {
                Ok(permit) => {
                    permit.forget();
                    (Ended::Granted, Some(Held::Number(wanted)))
                }
                Err(TryAcquireError::NoPermits) => (Ended::Late, None),
                Err(TryAcquireError::Closed) => (Ended::Closed, None),
            },
            _ => match timeout(limit, || semaphore.acquire_many_owned(wanted)) {
                Ok(outcome) => acquired(outcome),
                Err(_) => (Ended::Late, None),
            },
        });
        self.callers.insert(id, caller);
        self.model.acquire(Waiter {
            id,
            wanted,
            until: (sort > 0).then_some(step + steps),
        });
    }

    fn try_acquire(&mut self) {
        let wanted = self.rng.usize(0..4);
        let outcome = self.semaphore.try_acquire_many_owned(wanted);
        let expected = self.model.try_acquire(wanted);
        assert_eq!(outcome.as_ref().map(drop).map_err(|e| *e), expected);
        if let Ok(guard) = outcome {
            self.held.push(Held::Guard(guard));
        }
    }

    /// All is at rest.
    fn compare(&mut self, step: u64) {
        let model = &mut self.model;
        assert_eq!(
            self.semaphore.available_permits(),
            model.free,
            "free in step {step}"
        );
        let waits = format!("{:?}", self.semaphore).contains("waiting: true");
        assert_eq!(waits, !model.queue.is_empty(), "waiters in step {step}");
        assert_eq!(self.semaphore.is_closed(), model.closed);
        let finished = |caller: &mut Caller| caller.is_finished();
        let finished: Vec<_> = self
            .callers
            .extract_if(.., |_, caller| finished(caller))
            .collect();
        for (id, caller) in finished {
            let (ended, held) = match caller.join() {
                Ok(ended) => ended,
                Err(payload) if payload.is::<Cancelled>() => (Ended::Cancelled, None),
                Err(payload) => panic!("{}", text_of(&*payload)),
            };
            let has = held.as_ref().map_or(0, |held| match held {
                Held::Guard(guard) => guard.num_permits(),
                Held::Number(number) => *number,
            });
            let expected = model.ended.remove(&id);
            assert_eq!(Some((ended, has)), expected, "caller {id} in step {step}");
            self.held.extend(held);
        }
        assert!(
            model.ended.is_empty(),
            "still wait in step {step}: {:?}",
            model.ended
        );
    }
}

fn acquired(outcome: Result<OwnedPermit, Closed>) -> (Ended, Option<Held>) {
    match outcome {
        Ok(guard) => (Ended::Granted, Some(Held::Guard(guard))),
        Err(Closed) => (Ended::Closed, None),
    }
}

/// Promise 29. Whatever is done in whatever order, the semaphore is as the model.
#[test]
fn a_semaphore_is_as_its_model() {
    for seed in 0..400 * stress_rounds() as u64 {
        within(LIMIT, &format!("the model with seed {seed}"), || {
            let runtime = Runtime::builder()
                .virtual_time()
                .seed(seed)
                .build()
                .expect("a runtime can be built");
            // What fails says which seed it was.
            let outcome = runtime.run(|| spawn(move || Driver::new(seed).run()).join());
            if let Err(payload) = outcome {
                panic!("seed {seed}: {}", text_of(&*payload));
            }
        });
    }
}
