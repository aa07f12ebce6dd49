//! Timeouts whose unwinding is caught, kept or never comes to a wait: the frame ends all the same.

use std::io::{self, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use withy::timeout;

use super::timeout_frames::{HOUR, MS};
use crate::rig::endings::OnDrop;
use crate::rig::{each_runtime, text_of, until};
use crate::support::sockets::pair;
use crate::support::{self, LIMIT, matrix, within};

/// Promise 53. A timeout that was swallowed and then left by a panic is over: I/O in destructors waits again.
#[test]
fn a_panic_out_of_a_timeout_ends_what_was_swallowed_in_it() {
    matrix(LIMIT, "panics after swallowed timeouts", |case| {
        case.run(|| {
            let (mut ours, mut peer) = pair();
            let panicked = catch_unwind(|| {
                let _ = timeout(Duration::ZERO, || {
                    assert!(catch_unwind(withy::park).is_err());
                    panic!("out of the timeout");
                });
            });
            assert_eq!(text_of(&*panicked.unwrap_err()), "out of the timeout");
            let writer = std::thread::spawn(move || {
                std::thread::sleep(5 * MS);
                peer.write_all(b"x").unwrap();
                peer
            });
            let mut outcome = None;
            let panicked = catch_unwind(AssertUnwindSafe(|| {
                let _reads = OnDrop(|| outcome = Some(ours.read(&mut [0; 1])));
                panic!("another");
            }));
            assert!(panicked.is_err());
            assert_eq!(outcome.expect("the destructor ran").unwrap(), 1);
            drop(writer.join());
        });
    });
}

/// Law 6. Code that swallows the unwinding meets it again at its next wait, also under a later frame of its own.
#[test]
fn what_is_swallowed_is_met_again() {
    matrix(LIMIT, "swallowed timeouts", |case| {
        case.run(|| {
            let mut met = 0;
            let ended = timeout(MS, || {
                for _ in 0..10 {
                    let payload = catch_unwind(withy::park).unwrap_err();
                    assert_eq!(text_of(&*payload), "a payload that is no text");
                    met += 1;
                }
                let _ = timeout(HOUR, withy::park);
            });
            assert!(ended.is_err());
            assert_eq!(met, 10);
            // Swallowed for good: the closure's value counts.
            let swallowed = timeout(Duration::ZERO, || catch_unwind(withy::park).is_err());
            assert_eq!(swallowed, Ok(true));
            withy::sleep(MS / 10);
        });
    });
}

/// Law 6. Who swallows it again and again cannot starve its neighbours.
#[test]
fn a_swallower_of_timeouts_does_not_starve_its_neighbour() {
    for full_stealing in [false, true] {
        within(LIMIT, "the neighbour of one that swallows", || {
            let runtime = support::runtime(1, full_stealing);
            let (stop, met) = (
                Arc::new(AtomicBool::new(false)),
                Arc::new(AtomicUsize::new(0)),
            );
            let swallower = runtime.spawn({
                let (stop, met) = (stop.clone(), met.clone());
                move || {
                    timeout(Duration::ZERO, || {
                        while !stop.load(Ordering::SeqCst) {
                            let _ = catch_unwind(withy::park);
                            met.fetch_add(1, Ordering::SeqCst);
                        }
                    })
                }
            });
            let counted = runtime.run(|| {
                until(|| met.load(Ordering::SeqCst) > 2);
                let before = met.load(Ordering::SeqCst);
                for _ in 0..1_000 {
                    withy::yield_now();
                }
                met.load(Ordering::SeqCst) - before
            });
            stop.store(true, Ordering::SeqCst);
            assert!(swallower.join().unwrap().is_ok());
            assert!((1..=2_000).contains(&counted), "{counted} in 1,000 runs");
        });
    }
}

/// Promise 27. Loops of calls that never block are cut short in a coroutine.
#[test]
fn loops_of_calls_that_never_block_are_cut_short() {
    each_runtime("busy loops", |runtime, label| {
        let (mut ready, mut peer) = pair();
        peer.write_all(b"x").unwrap();
        let (mut sink, mut drain) = pair();
        let drained = std::thread::spawn(move || io::copy(&mut drain, &mut io::sink()));
        runtime.run(move || {
            let ended = timeout(MS, || {
                loop {
                    withy::yield_now();
                }
            });
            assert!(ended.is_err(), "{label}");
            let ended = timeout(MS, || {
                loop {
                    ready.peek(&mut [0; 1]).unwrap();
                }
            });
            assert!(ended.is_err(), "{label}");
            let ended = timeout(MS, || {
                loop {
                    sink.write_all(b"x").unwrap();
                }
            });
            assert!(ended.is_err(), "{label}");
            // Under a deadline that has passed, too.
            ready.read_exact(&mut [0; 1]).unwrap();
        });
        drained.join().unwrap().unwrap();
    });
}

/// Law 6. A payload belongs to one frame: kept, and thrown again elsewhere, it is caught by none.
#[test]
fn a_payload_that_was_kept_is_nobodys() {
    matrix(LIMIT, "payloads out of place", |case| {
        let keep = || {
            let mut kept = None;
            let _ = timeout(Duration::ZERO, || kept = catch_unwind(withy::park).err());
            kept.expect("it has elapsed")
        };
        let kept = case.run(keep);
        // In another caller, and in a later frame of the same one.
        let elsewhere = case.run(move || {
            let own = keep();
            let through = |payload| {
                catch_unwind(AssertUnwindSafe(|| {
                    let _ = timeout(HOUR, || timeout(HOUR, || resume_unwind(payload)));
                    unreachable!("no frame of ours");
                }))
                .unwrap_err()
            };
            let same = [through(own), through(kept)];
            // And they were no interruption: nothing is left of them.
            withy::sleep(MS / 10);
            let (mut ours, mut peer) = pair();
            peer.write_all(b"x").unwrap();
            ours.read_exact(&mut [0; 1]).unwrap();
            same.iter()
                .all(|payload| text_of(&**payload) == "a payload that is no text")
        });
        assert!(elsewhere);
    });
}
