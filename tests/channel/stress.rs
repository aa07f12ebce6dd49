//! Everything at once on channels, with 8 workers in both steal modes: coroutines and threads that send and receive in every
//! way, are cancelled, and clone and drop their ends meanwhile. What was sent is received once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use fastrand::Rng;
use withy::sync::channel::{Receiver, SendTimeoutError, Sender, TrySendError};
use withy::{timeout, yield_now};

use super::parcels::{CAPACITIES, Ledger, Parcel, channel_of};
use crate::rig::stress_rounds;
use crate::support::{LIMIT, runtime, within};

const ACTORS: usize = 6;
const PARCELS: usize = 300;

fn both_modes(what: &str, test: impl Fn(&withy::Runtime, u64)) {
    for full_stealing in [false, true] {
        for round in 0..stress_rounds() as u64 {
            let what = format!("{what}, round {round}, full stealing {full_stealing}");
            within(LIMIT, &what, || test(&runtime(8, full_stealing), round));
        }
    }
}

/// Sends a parcel in one of several ways until it is sent. It may be unwound in a wait: then it is lost on purpose.
fn send(sender: &Sender<Parcel>, mut parcel: Parcel, rng: &mut Rng) {
    loop {
        let limit = Duration::from_micros(rng.u64(0..100));
        parcel = match rng.u32(0..4) {
            0 => match sender.try_send(parcel) {
                Err(TrySendError::Full(parcel)) => parcel,
                sent => return sent.map_err(drop).expect("a receiver is there"),
            },
            1 => match sender.send_timeout(parcel, limit) {
                Err(SendTimeoutError::Timeout(parcel)) => parcel,
                sent => return sent.map_err(drop).expect("a receiver is there"),
            },
            2 => {
                let clone = sender.clone();
                return clone
                    .send(parcel)
                    .map_err(drop)
                    .expect("a receiver is there");
            }
            _ => {
                return sender
                    .send(parcel)
                    .map_err(drop)
                    .expect("a receiver is there");
            }
        };
    }
}

/// Receives in one of several ways until no sender is left.
fn receive(receiver: &Receiver<Parcel>, rng: &mut Rng) {
    let mut receiver = receiver.clone();
    loop {
        let limit = Duration::from_micros(rng.u64(0..100));
        let received = match rng.u32(0..6) {
            0 => receiver.try_recv().map_err(|error| error.is_disconnected()),
            1 => receiver
                .recv_timeout(limit)
                .map_err(|error| error.is_disconnected()),
            2 => match timeout(limit, || receiver.recv()) {
                Ok(received) => received.map_err(|_| true),
                Err(_) => Err(false),
            },
            3 => {
                receiver = receiver.clone();
                Err(false)
            }
            _ => receiver.recv().map_err(|_| true),
        };
        match received {
            Ok(parcel) => _ = parcel.open(),
            Err(true) => break,
            Err(false) => {}
        }
    }
}

/// Promises 29 and 41. Nobody is cancelled: all that was sent was received, though every other wait of the receivers is unwound.
#[test]
fn every_message_is_received_once() {
    both_modes("channels under stress", |runtime, round| {
        for capacity in CAPACITIES {
            let ledger = Ledger::new(ACTORS * PARCELS);
            let (sender, receiver) = channel_of::<Parcel>(capacity);
            let mut coroutines = Vec::new();
            let mut threads = Vec::new();
            for who in 0..ACTORS {
                let mut rng = Rng::with_seed(round * 100 + who as u64);
                let (sender, ledger) = (sender.clone(), ledger.clone());
                let sending = {
                    let mut rng = rng.fork();
                    move || {
                        for n in 0..PARCELS {
                            send(&sender, ledger.parcel(who * PARCELS + n), &mut rng);
                        }
                        drop(sender.clone());
                    }
                };
                let receiver = receiver.clone();
                let receiving = move || receive(&receiver, &mut rng);
                if who % 3 == 0 {
                    threads.push(thread::spawn(sending));
                    threads.push(thread::spawn(receiving));
                } else {
                    coroutines.push(runtime.spawn(sending));
                    coroutines.push(runtime.spawn(receiving));
                }
            }
            drop((sender, receiver));
            coroutines.into_iter().for_each(|c| c.join().unwrap());
            threads.into_iter().for_each(|t| t.join().unwrap());
            ledger.settle();
            assert_eq!(ledger.all_received(), ACTORS * PARCELS);
        }
    });
}

/// Promise 29. Coroutines are cancelled and replaced: what a sender was told to be sent is received, all else is dropped, each once.
#[test]
fn cancelled_actors_lose_and_double_nothing() {
    both_modes("cancelled actors", |runtime, round| {
        for capacity in CAPACITIES {
            let ledger = Ledger::new(ACTORS * PARCELS);
            let (sender, receiver) = channel_of::<Parcel>(capacity);
            let sent = Arc::new(AtomicUsize::new(0));
            let over = Arc::new(AtomicBool::new(false));
            let mut rng = Rng::with_seed(round);
            let senders: Vec<_> = (0..ACTORS)
                .map(|who| {
                    let (sender, ledger, sent) = (sender.clone(), ledger.clone(), sent.clone());
                    runtime.spawn(move || {
                        for n in 0..PARCELS {
                            let parcel = ledger.parcel(who * PARCELS + n);
                            if sender.send(parcel).is_ok() {
                                sent.fetch_add(1, Ordering::SeqCst);
                            }
                        }
                    })
                })
                .collect();
            drop(sender);
            let spawn_receiver = || {
                let receiver = receiver.clone();
                runtime.spawn(move || {
                    while let Ok(parcel) = receiver.recv() {
                        parcel.open();
                    }
                })
            };
            let mut receivers: Vec<_> = (0..ACTORS).map(|_| spawn_receiver()).collect();
            // One that is never cancelled, so that all ends.
            let last = {
                let (receiver, over) = (receiver.clone(), over.clone());
                runtime.spawn(move || {
                    while !over.load(Ordering::SeqCst) || !receiver.is_empty() {
                        while let Ok(parcel) = receiver.recv_timeout(Duration::from_micros(50)) {
                            parcel.open();
                        }
                        yield_now();
                    }
                })
            };
            for step in 0..20 {
                let victim = rng.usize(0..receivers.len());
                receivers[victim].cancel();
                let replaced = std::mem::replace(&mut receivers[victim], spawn_receiver());
                let _ = replaced.join();
                if step % 5 == 0 {
                    senders[rng.usize(0..ACTORS)].cancel();
                }
            }
            for actor in senders.into_iter().chain(receivers) {
                let _ = actor.join();
            }
            over.store(true, Ordering::SeqCst);
            last.join().unwrap();
            receiver.try_iter().for_each(|parcel| _ = parcel.open());
            drop(receiver);
            let (sent, received) = (sent.load(Ordering::SeqCst), ledger.all_received());
            assert!(received >= sent, "{received} of {sent} were received");
            // A cancelled sender has one message in its hands at most, taken or not.
            assert!(received <= sent + ACTORS);
            for id in 0..ACTORS * PARCELS {
                assert!(ledger.received(id) <= ledger.dropped(id) && ledger.dropped(id) <= 1);
            }
        }
    });
}

/// Promise 40. Ends that come and go: short channels, made and dropped in all orders by two sides at once.
#[test]
fn short_channels_end_in_every_order() {
    both_modes("short channels", |runtime, round| {
        for capacity in CAPACITIES {
            let ledger = Ledger::new(2 * PARCELS);
            let ends: Vec<_> = (0..PARCELS)
                .flat_map(|n| {
                    let mut rng = Rng::with_seed(round * 1000 + n as u64);
                    let (sender, receiver) = channel_of::<Parcel>(capacity);
                    let parcels = [ledger.parcel(2 * n), ledger.parcel(2 * n + 1)];
                    let (sends, receives) = (rng.usize(0..3), rng.usize(0..3));
                    let sending = runtime.spawn(move || {
                        for parcel in parcels.into_iter().take(sends) {
                            let _ = sender.send(parcel);
                        }
                    });
                    let receiving = runtime.spawn(move || {
                        for parcel in receiver.iter().take(receives) {
                            parcel.open();
                        }
                    });
                    match rng.bool() {
                        true => [sending, receiving],
                        false => [receiving, sending],
                    }
                })
                .collect();
            ends.into_iter().for_each(|end| end.join().unwrap());
            ledger.settle();
        }
    });
}
