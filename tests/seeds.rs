//! Seeds: orders by chance that can be had again, and a protocol under thousands of them.

mod support;

use std::collections::{BTreeSet, VecDeque};
use std::io::{Read, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use support::sockets::pair;
use support::{LIMIT, within};
use withy::{Coroutine, Runtime, current, now, park, scope, sleep, timeout, yield_now};

const MS: Duration = Duration::from_millis(1);

fn seeded(seed: u64) -> Runtime {
    Runtime::builder()
        .virtual_time()
        .seed(seed)
        .build()
        .unwrap()
}

/// What runs when, in a crowd that yields, sleeps, parks, wakes each other and spawns.
fn trace(seed: Option<u64>) -> Vec<(u64, u32)> {
    let runtime = match seed {
        Some(seed) => seeded(seed),
        None => Runtime::builder().virtual_time().build().unwrap(),
    };
    runtime.run(|| {
        let start = now();
        let trace = Mutex::new(Vec::new());
        let note = |who| {
            let ns = (now() - start).as_nanos() as u64;
            trace.lock().unwrap().push((ns, who));
        };
        scope(|s| {
            let parked: Vec<_> = (0..5)
                .map(|i| {
                    s.spawn(move || {
                        park();
                        note(i);
                    })
                })
                .collect();
            for i in 10..15 {
                s.spawn(move || {
                    for step in 0..5 {
                        note(i);
                        yield_now();
                        sleep(Duration::from_nanos(step % 2));
                    }
                    s.spawn(move || note(10 * i)).join().unwrap();
                });
            }
            yield_now();
            parked.iter().for_each(|waiter| waiter.coroutine().unpark());
        });
        trace.into_inner().unwrap()
    })
}

/// The same seed gives the same order, run after run, and different seeds give many. Without a seed virtual time has
/// one order.
#[test]
fn a_seed_is_an_order() {
    within(LIMIT, "seeds", || {
        let traces: Vec<_> = (0..50).map(|seed| trace(Some(seed))).collect();
        for (seed, earlier) in traces.iter().enumerate() {
            assert_eq!(earlier, &trace(Some(seed as u64)), "seed {seed}");
        }
        let different: BTreeSet<_> = traces.iter().collect();
        assert!(
            different.len() > 40,
            "{} orders of 50 seeds",
            different.len()
        );
        assert!((0..20).all(|_| trace(None) == trace(None)));
    });
}

/// Chance picks from all that can run: of four that start together, each is first, each is last, under some seed. That
/// holds for new ones and for ones that were woken.
#[test]
fn every_runnable_coroutine_may_be_next() {
    within(LIMIT, "seeds", || {
        for woken in [false, true] {
            let mut seen = BTreeSet::new();
            for seed in 0..200 {
                let order = seeded(seed).run(|| {
                    let order = Mutex::new(Vec::new());
                    scope(|s| {
                        let all: Vec<_> = (0..4)
                            .map(|i| {
                                let order = &order;
                                s.spawn(move || {
                                    if woken {
                                        park();
                                    }
                                    order.lock().unwrap().push(i);
                                })
                            })
                            .collect();
                        sleep(MS);
                        all.iter().for_each(|one| one.coroutine().unpark());
                    });
                    order.into_inner().unwrap()
                });
                seen.insert(order);
            }
            assert_eq!(seen.len(), 24, "of 24 orders (woken: {woken})");
        }
    });
}

/// Calls that do not block let others run at random: a reader that finds data at each call is interrupted at different
/// places.
#[test]
fn calls_that_do_not_block_yield_by_chance() {
    within(LIMIT, "readers", || {
        let places: BTreeSet<_> = (0..20)
            .map(|seed| {
                seeded(seed).run(|| {
                    let (mut ours, mut peer) = pair();
                    peer.write_all(&[0; 100]).unwrap();
                    let reads = AtomicU32::new(0);
                    scope(|s| {
                        s.spawn(|| {
                            for _ in 0..100 {
                                ours.read_exact(&mut [0]).unwrap();
                                reads.fetch_add(1, Ordering::Relaxed);
                            }
                        });
                        let mut places = Vec::new();
                        while reads.load(Ordering::Relaxed) < 100 {
                            yield_now();
                            places.push(reads.load(Ordering::Relaxed));
                        }
                        places
                    })
                })
            })
            .collect();
        assert!(places.len() > 15, "{}", places.len());
    });
}

// ---- a protocol ----

/// A channel made of nothing but park and unpark.
struct Mailbox<T> {
    letters: Mutex<(VecDeque<T>, Option<Coroutine>)>,
}

impl<T> Mailbox<T> {
    fn new() -> Mailbox<T> {
        Mailbox {
            letters: Mutex::new((VecDeque::new(), None)),
        }
    }

    fn post(&self, letter: T) {
        let mut letters = self.letters.lock().unwrap();
        letters.0.push_back(letter);
        let reader = letters.1.take();
        drop(letters);
        if let Some(reader) = reader {
            reader.unpark();
        }
    }

    fn take(&self) -> T {
        loop {
            let mut letters = self.letters.lock().unwrap();
            if let Some(letter) = letters.0.pop_front() {
                return letter;
            }
            letters.1 = Some(current());
            drop(letters);
            park();
        }
    }
}

const LATENCY: Duration = Duration::from_millis(40);
const PATIENCE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(250);

/// One exchange: the server hears a request after the latency, and ignores the first `lost` of each client.
fn client(requests: &Mailbox<(usize, u32)>, answers: &Mailbox<u32>, who: usize) -> u32 {
    let mut attempt = 0;
    loop {
        sleep(LATENCY);
        requests.post((who, attempt));
        match timeout(PATIENCE, || answers.take()) {
            Ok(answer) => return answer,
            Err(_elapsed) => sleep(PAUSE),
        }
        attempt += 1;
    }
}

/// Clients that ask again after a timeout and a pause end at the nanosecond that arithmetic says, each one, in
/// whichever order chance has them run; and no order loses a wake-up.
#[test]
fn a_protocol_with_retries_keeps_its_times_under_every_seed() {
    const CLIENTS: usize = 6;
    within(LIMIT, "2,000 seeds", || {
        for seed in 0..2000 {
            seeded(seed).run(|| {
                let start = now();
                let requests = Mailbox::new();
                let answers: [Mailbox<u32>; CLIENTS] = std::array::from_fn(|_| Mailbox::new());
                scope(|s| {
                    let (requests, answers) = (&requests, &answers);
                    let server = s.spawn(move || {
                        loop {
                            let (who, attempt) = requests.take();
                            // Client `n` gets an answer to its attempt `n`, after as long as it takes.
                            if attempt as usize == who {
                                s.spawn(move || {
                                    sleep(LATENCY);
                                    answers[who].post(attempt);
                                });
                            }
                        }
                    });
                    let clients: Vec<_> = (0..CLIENTS)
                        .map(|who| {
                            s.spawn(move || {
                                let answer = client(requests, &answers[who], who);
                                let lost = who as u32;
                                assert_eq!(answer, lost);
                                let expected = lost * (LATENCY + PATIENCE + PAUSE) + 2 * LATENCY;
                                assert_eq!(now() - start, expected, "client {who}, seed {seed}");
                            })
                        })
                        .collect();
                    clients
                        .into_iter()
                        .for_each(|client| client.join().unwrap());
                    server.cancel();
                });
            });
        }
    });
}
