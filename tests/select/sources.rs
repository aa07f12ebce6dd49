//! Arms that are no channels: joins, tokens, points in time; all sorts together, and against channels. Sockets alone are in
//! `sockets.rs`.

use std::io::{Read, Write};
use std::time::Duration;

use withy::sync::channel::{Select, Sender, after, at, bounded, never, tick, unbounded};
use withy::{CancelToken, Cancelled, JoinHandle, select};

use crate::rig::{each_runtime, stress_rounds, until};
use crate::support::sockets::pair;
use crate::support::{self, LIMIT, matrix};
use crate::{AGES, SHORT};

/// Promises 41 and 43. A join is chosen when the coroutine has ended, before and during the select; the result is its, also a panic.
#[test]
fn a_join_is_an_arm() {
    matrix(LIMIT, "selects that join", |case| {
        for (ends_first, panics) in [(true, false), (false, false), (true, true), (false, true)] {
            let (go, gone) = unbounded::<()>();
            let mut child = case.runtime.spawn(move || {
                let _ = gone.recv();
                if panics {
                    std::panic::resume_unwind(Box::new("ended"));
                }
                5
            });
            if ends_first {
                drop(go);
                until(|| child.is_finished());
                let joined = case.run(move || select! { join(child) -> result => result.ok() });
                assert_eq!(joined, (!panics).then_some(5));
                continue;
            }
            let joins = case.spawn(move || {
                select! {
                    recv(never::<()>()) -> _ => panic!(),
                    join(child) -> result => result.ok(),
                    default(AGES) => panic!(),
                }
            });
            drop(go);
            assert_eq!(joins.join(), (!panics).then_some(5));
        }
    });
}

/// A handle that was not chosen is as it was: it is not detached, can be cancelled, and joined again and again.
#[test]
fn a_join_that_loses_leaves_the_handle() {
    matrix(LIMIT, "joins that lose", |case| {
        let child = case.runtime.spawn(withy::park);
        case.run(move || {
            let mut child = child;
            for _ in 0..50 {
                select! {
                    join(child) -> _ => unreachable!("it is parked"),
                    recv(after(Duration::from_micros(10))) -> _ => {}
                }
            }
            select! {
                join(child) -> _ => panic!(),
                default => {
                    child.cancel();
                    assert!(child.join().unwrap_err().is::<Cancelled>());
                }
            }
        });
    });
}

/// An `Option` of a handle is emptied by the select that joins; the arm of none is never chosen. So it can stand in a loop.
#[test]
fn joins_stand_in_loops_as_options() {
    struct Pair {
        one: Option<JoinHandle<i32>>,
        other: Option<JoinHandle<i32>>,
    }
    matrix(LIMIT, "joins in loops", |case| {
        let (one, other) = (case.runtime.spawn(|| 1), case.runtime.spawn(|| 2));
        case.run(move || {
            let mut pair = Pair {
                one: Some(one),
                other: Some(other),
            };
            let mut sum = 0;
            while pair.one.is_some() || pair.other.is_some() {
                let mut by_reference = &mut pair.other;
                select! {
                    join(pair.one) -> n => sum += n.unwrap(),
                    join(by_reference) -> n => sum += n.unwrap(),
                }
            }
            assert_eq!(sum, 3);
            select! {
                join(pair.one) -> _ => panic!(),
                default(SHORT) => {}
            }
        });
        // Those of a scope, of a caller that is a coroutine or not.
        let sum = case.run(|| {
            withy::scope(|s| {
                let mut handles: Vec<_> = (0..4).map(|n| s.spawn(move || n)).collect();
                let mut sum = 0;
                while let Some(mut one) = handles.pop() {
                    select! { join(one) -> n => sum += n.unwrap() }
                }
                sum
            })
        });
        assert_eq!(sum, 6);
    });
}

/// A dynamic number of joins, each once.
#[test]
fn any_number_of_joins_can_be_waited_for() {
    matrix(LIMIT, "a select of many joins", |case| {
        let mut children: Vec<_> = (0..20)
            .map(|n| {
                case.runtime.spawn(move || {
                    (0..n % 4).for_each(|_| withy::yield_now());
                    n
                })
            })
            .collect();
        let sum = case.run(move || {
            let mut sum = 0;
            while !children.is_empty() {
                let index = {
                    let mut select = Select::new();
                    for child in &mut children {
                        select.join(child);
                    }
                    select.select().index()
                };
                let child = children.swap_remove(index);
                assert!(child.is_finished());
                sum += child.join().unwrap();
            }
            sum
        });
        assert_eq!(sum, 190);
        let mut child = case.runtime.spawn(|| ());
        let mut select = Select::new();
        select.join(&mut child);
        let cloned = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| select.clone()));
        assert!(cloned.is_err(), "two would wait for one coroutine");
    });
}

/// Promises 28 and 41. A token is chosen when it is cancelled, before and during the select; the caller is not unwound.
#[test]
fn a_token_is_an_arm() {
    matrix(LIMIT, "selects of tokens", |case| {
        let token = CancelToken::new();
        let waiters: Vec<_> = (0..6)
            .map(|n| {
                let (all, token) = (token.clone(), token.child());
                case.spawn(move || {
                    let silent = never::<()>();
                    if n % 2 == 0 {
                        select! {
                            recv(silent) -> _ => panic!(),
                            cancelled(token) => {}
                        }
                    } else {
                        let mut select = Select::new();
                        select.recv(&silent);
                        let index = select.cancelled(&token);
                        assert_eq!(select.select().index(), index);
                        assert_eq!(select.ready(), index);
                    }
                    withy::sleep(Duration::from_micros(1)); // not interrupted
                    select! { cancelled(all) => {} }
                })
            })
            .collect();
        token.cancel();
        waiters.into_iter().for_each(support::Caller::join);
    });
}

/// Gives a handle back, also from an unwinding.
struct Return(Option<JoinHandle<()>>, Sender<JoinHandle<()>>);

impl Drop for Return {
    fn drop(&mut self) {
        let _ = self.1.send(self.0.take().expect("it was given one"));
    }
}

/// Promises 28 and 29. Whatever it waits for, a cancelled select leaves all of it: others go on there.
#[test]
fn a_cancelled_select_leaves_everything() {
    each_runtime("cancelled selects of everything", |runtime, _| {
        for _ in 0..10 * stress_rounds() {
            let (sender, receiver) = bounded::<i32>(0);
            let (mut ours, mut peer) = pair();
            let token = CancelToken::new();
            let child = runtime.spawn(withy::park);
            let parked = child.coroutine();
            let (give, take) = unbounded();
            let mut child = Return(Some(child), give);
            let victim = runtime.spawn({
                let (sender, receiver, token) = (sender.clone(), receiver.clone(), token.clone());
                let ours = ours.try_clone().unwrap();
                move || {
                    select! {
                        recv(receiver) -> _ => panic!(),
                        send(sender, 1) -> _ => panic!(),
                        cancelled(token) => panic!(),
                        readable(ours) => panic!(),
                        join(child.0) -> _ => panic!(),
                        recv(after(AGES)) -> _ => panic!(),
                    }
                }
            });
            runtime.run(withy::yield_now);
            victim.cancel();
            assert!(victim.join().unwrap_err().is::<Cancelled>());
            let mut child = take.recv().unwrap();
            parked.unpark();
            select! { join(child) -> joined => joined.unwrap() }
            let pair = runtime.spawn(move || receiver.recv().unwrap());
            sender.send(3).unwrap();
            assert_eq!(pair.join().unwrap(), 3);
            peer.write_all(b"x").unwrap();
            let read = runtime.spawn(move || ours.read(&mut [0]).unwrap());
            assert_eq!(read.join().unwrap(), 1);
            token.cancel();
        }
    });
}

/// Promise 29. Exactly one of several sources that become ready at the same moment; the others lose nothing.
#[test]
fn of_sources_that_race_one_is_chosen() {
    let rounds = 60 * stress_rounds();
    matrix(LIMIT, "sources that race", |case| {
        let (sender, receiver) = unbounded::<i32>();
        let (quiet, _keep) = pair();
        for _ in 0..rounds {
            let (ours, mut peer) = pair();
            let token = CancelToken::new();
            let child = case.runtime.spawn({
                let (sender, token) = (sender.clone(), token.clone());
                move || {
                    peer.write_all(b"x").unwrap();
                    token.cancel();
                    sender.send(1).unwrap();
                    peer
                }
            });
            let receiver = receiver.clone();
            let quiet = quiet.try_clone().unwrap();
            case.run(move || {
                let silent = never();
                let mut child = Some(child);
                let mut chosen = [false; 4];
                while chosen.contains(&false) {
                    // What was chosen is replaced by what never is.
                    let socket = if chosen[1] { &quiet } else { &ours };
                    let token = if chosen[2] {
                        CancelToken::new()
                    } else {
                        token.clone()
                    };
                    let messages = if chosen[3] { &silent } else { &receiver };
                    let index = select! {
                        join(child) -> peer => {
                            peer.unwrap();
                            0
                        }
                        readable(socket) => {
                            assert_eq!((&*socket).read(&mut [0]).unwrap(), 1);
                            1
                        }
                        cancelled(token) => 2,
                        recv(messages) -> message => {
                            assert_eq!(message, Ok(1));
                            3
                        }
                    };
                    assert!(!std::mem::replace(&mut chosen[index], true));
                }
            });
        }
    });
}

/// Promises 22 and 27. Times: not early, the earlier one first, ticks in step; also beside channels that are shared.
#[test]
fn times_are_arms() {
    matrix(LIMIT, "selects of times", |case| {
        case.run(|| {
            let begin = withy::now();
            let (soon, sooner) = (begin + AGES, begin + SHORT);
            select! {
                recv(at(soon)) -> _ => panic!("the other is earlier"),
                recv(at(sooner)) -> at => assert_eq!(at, Ok(sooner)),
                default(AGES) => panic!(),
            }
            assert!(withy::now() >= sooner);
            select! {
                recv(after(AGES)) -> _ => panic!(),
                deadline(begin + 3 * SHORT) => assert!(withy::now() >= begin + 3 * SHORT),
            }
            let period = Duration::from_micros(300);
            let ticks = tick(period);
            let mut last = None;
            for _ in 0..10 {
                let now = select! {
                    recv(ticks) -> now => now.unwrap(),
                    recv(never::<()>()) -> _ => panic!(),
                };
                assert!(last.is_none_or(|last| now >= last + period));
                last = Some(now);
            }
        });
        // One point in time, many selects: one gets it.
        let once = after(SHORT);
        let late = withy::now() + 4 * SHORT;
        let selects: Vec<_> = (0..5)
            .map(|_| {
                let once = once.clone();
                case.spawn(move || {
                    select! {
                        recv(once) -> at => { at.unwrap(); 1 }
                        deadline(late) => 0,
                    }
                })
            })
            .collect();
        assert_eq!(
            selects.into_iter().map(support::Caller::join).sum::<i32>(),
            1
        );
    });
}
