//! Channels under orders by chance: some thousands of them, each of which can be had again by its seed.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fastrand::Rng;
use withy::sync::channel::watch;
use withy::sync::channel::{broadcast, oneshot};
use withy::{Runtime, scope, sleep, timeout};

use super::parcels::{CAPACITIES, Ledger, Parcel, channel_of};
use crate::rig::{steal, stress_rounds};
use crate::support::{LIMIT, within};

/// Runs `test` once for each seed.
fn each_seed(what: &str, test: impl Fn(u64) + Sync) {
    within(10 * LIMIT, what, || {
        for seed in 0..200 * stress_rounds() as u64 {
            let runtime = Runtime::builder()
                .virtual_time()
                .seed(seed)
                .steal(steal(seed % 2 == 1))
                .build()
                .expect("a runtime can be built");
            runtime.run(|| test(seed));
        }
    });
}

/// Promise 29. Senders and receivers with limits, and unwound ones: nothing is lost, nothing comes twice, and what one receiver gets from
/// one sender is in order.
#[test]
fn nothing_is_lost_in_any_order() {
    each_seed("channels with seeds", |seed| {
        for capacity in CAPACITIES {
            let ledger = Ledger::new(60);
            let (sender, receiver) = channel_of::<Parcel>(capacity);
            let sent = AtomicUsize::new(0);
            scope(|s| {
                for who in 0..3_usize {
                    let (sender, ledger, sent) = (sender.clone(), &ledger, &sent);
                    s.spawn(move || {
                        let mut rng = Rng::with_seed(seed * 10 + who as u64);
                        for n in 0..20 {
                            let parcel = ledger.parcel(20 * who + n);
                            let limit = Duration::from_micros(rng.u64(0..50));
                            let ok = match rng.u32(0..4) {
                                0 => sender.try_send(parcel).is_ok(),
                                1 => sender.send_timeout(parcel, limit).is_ok(),
                                2 => timeout(limit, || sender.send(parcel).is_ok()) == Ok(true),
                                _ => sender.send_timeout(parcel, 20 * limit).is_ok(),
                            };
                            sent.fetch_add(usize::from(ok), Ordering::SeqCst);
                        }
                    });
                }
                for who in 0..3_u64 {
                    let receiver = &receiver;
                    s.spawn(move || {
                        let mut rng = Rng::with_seed(seed * 10 + 5 + who);
                        for _ in 0..20 {
                            let limit = Duration::from_micros(rng.u64(0..50));
                            let received = match rng.u32(0..4) {
                                0 => receiver.try_recv().ok(),
                                1 => receiver.recv_timeout(limit).ok(),
                                2 => timeout(limit, || receiver.recv().ok()).unwrap_or(None),
                                _ => {
                                    sleep(limit);
                                    None
                                }
                            };
                            if let Some(parcel) = received {
                                parcel.open();
                            }
                        }
                    });
                }
            });
            drop(sender);
            receiver.iter().for_each(|parcel| _ = parcel.open());
            drop(receiver);
            ledger.settle();
            // One that was taken from a sender which unwound counts as received only.
            assert!(ledger.all_received() >= sent.into_inner(), "seed {seed}");
        }
    });
}

/// `exchange.rs`: with one receiver at a time each sender's messages arrive in order, however often its wait is cut short.
#[test]
fn the_order_holds_though_the_receiver_is_interrupted() {
    each_seed("an interrupted receiver with seeds", |seed| {
        for capacity in CAPACITIES {
            let (sender, receiver) = channel_of(capacity);
            scope(|s| {
                for who in 0..3 {
                    let sender = sender.clone();
                    s.spawn(move || (0..10).for_each(|n| sender.send((who, n)).unwrap()));
                }
                drop(sender);
                let mut rng = Rng::with_seed(seed);
                let mut next = [0; 3];
                while next != [10; 3] {
                    let limit = Duration::from_nanos(rng.u64(0..20));
                    if let Ok(Ok((who, n))) = timeout(limit, || receiver.recv()) {
                        assert_eq!(n, next[who], "seed {seed}, sender {who}");
                        next[who] += 1;
                    }
                }
            });
        }
    });
}

/// Oneshots, a broadcast and a watch that are used at once.
#[test]
fn answers_news_and_values_reach_their_receivers() {
    each_seed("other channels with seeds", |seed| {
        let (news, _) = broadcast(4);
        let (value, seen) = watch(0);
        scope(|s| {
            let mut answers = Vec::new();
            for who in 0..4_u64 {
                let (mut receiver, mut seen) = (news.subscribe(), seen.clone());
                let (answer, question) = oneshot();
                answers.push(question);
                s.spawn(move || {
                    let mut last = *seen.wait_for(|&n| n >= who).unwrap();
                    while seen.changed().is_ok() {
                        let now = *seen.borrow_and_update();
                        assert!(now > last, "seed {seed}");
                        last = now;
                    }
                    let (mut received, mut lost) = (0, 0);
                    loop {
                        match receiver.recv() {
                            Ok(n) => {
                                assert_eq!(n, received + lost, "seed {seed}");
                                received += 1;
                            }
                            Err(broadcast::RecvError::Lagged(n)) => lost += n,
                            Err(broadcast::RecvError::Disconnected) => break,
                        }
                    }
                    answer.send((last, received + lost)).unwrap();
                });
            }
            drop(seen);
            s.spawn(move || (1..=20).for_each(|n| value.send_modify(|value| *value = n)));
            s.spawn(move || {
                for n in 0..20_u64 {
                    // Some may have gone, none of them before it has all.
                    let _ = news.send(n);
                    sleep(Duration::from_nanos(n % 3));
                }
            });
            for answer in answers {
                assert_eq!(answer.recv(), Ok((20, 20)), "seed {seed}");
            }
        });
    });
}
