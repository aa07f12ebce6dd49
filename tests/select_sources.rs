//! Arms that are no channels: joins, tokens, sockets, points in time; alone, together, and against channels.

mod rig;
mod support;

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rig::{each_runtime, stress_rounds, until};
use support::sockets::{narrow_pair, pair, reset};
use support::{LIMIT, matrix, within};
use withy::net::{TcpListener, TcpStream};
use withy::sync::channel::{Select, Sender, after, at, bounded, never, tick, unbounded};
use withy::{CancelToken, Cancelled, JoinHandle, select};

const SHORT: Duration = Duration::from_millis(2);
const AGES: Duration = Duration::from_secs(3600);

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

/// Promises 9, 18 and 41. Readiness to read is chosen when there are bytes, before and during the select, at the end, and after a reset;
/// nothing is read by it.
#[test]
fn a_readable_socket_is_an_arm() {
    matrix(LIMIT, "selects of readable sockets", |case| {
        let (mut ours, mut peer) = pair();
        let (step, steps) = unbounded::<i32>();
        let (looked, ready) = unbounded();
        let waiter = case.spawn(move || {
            select! {
                readable(ours) => panic!("nothing was sent"),
                default(SHORT) => looked.send(()).unwrap(),
            }
            for round in 0..20_u8 {
                // What comes by the channel is first said to be handled, then sent.
                let got = steps.recv().unwrap();
                if got == 0 {
                    withy::yield_now();
                }
                select! {
                    readable(ours) => {}
                    recv(never::<()>()) -> _ => panic!(),
                    default(AGES) => panic!(),
                }
                select! {
                    readable(&mut ours) => {}
                    default => panic!("it is ready as long as nothing is read"),
                }
                let mut byte = [0];
                assert_eq!(ours.read(&mut byte).unwrap(), 1);
                assert_eq!(byte[0], round);
            }
            // The end stays readable.
            for _ in 0..3 {
                select! { readable(ours) => {} }
            }
            assert_eq!(ours.read(&mut [0]).unwrap(), 0);
        });
        ready.recv().unwrap();
        for round in 0..20 {
            if round % 2 == 0 {
                peer.write_all(&[round]).unwrap();
                step.send(1).unwrap();
            } else {
                step.send(0).unwrap();
                peer.write_all(&[round]).unwrap();
            }
        }
        drop(peer);
        waiter.join();

        let (mut ours, peer) = pair();
        let waiter = case.spawn(move || {
            let mut select = Select::new();
            let index = select.readable(&ours);
            assert_eq!(select.select().index(), index);
            ours.read(&mut [0]).unwrap_err().kind()
        });
        reset(peer);
        assert_eq!(waiter.join(), std::io::ErrorKind::ConnectionReset);
    });
}

/// Readiness to write is chosen when there is room.
#[test]
fn a_writable_socket_is_an_arm() {
    matrix(LIMIT, "selects of writable sockets", |case| {
        let (ours, mut peer) = narrow_pair();
        ours.set_nonblocking(true).unwrap();
        let (full, is_full) = unbounded();
        let waiter = case.spawn(move || {
            let mut ours = ours;
            let mut written = 0;
            for _ in 0..10 {
                while let Ok(bytes) = ours.write(&[7; 4096]) {
                    written += bytes;
                }
                full.send(written).unwrap();
                select! {
                    writable(ours) => {}
                    readable(ours) => panic!("nobody sends"),
                    default(AGES) => panic!(),
                }
            }
            written
        });
        let mut read = 0;
        let mut buf = vec![0; 1 << 16];
        for _ in 0..10 {
            let written = is_full.recv().unwrap();
            while read < written {
                read += peer.read(&mut buf).unwrap();
            }
        }
        let written = waiter.join();
        while read < written {
            read += peer.read(&mut buf).unwrap();
        }
    });
}

/// A listener is readable when a connection is in the backlog.
#[test]
fn a_listener_is_an_arm() {
    matrix(LIMIT, "selects of listeners", |case| {
        let one = TcpListener::bind("127.0.0.1:0").unwrap();
        let two = TcpListener::bind("127.0.0.1:0").unwrap();
        let addrs = [one.local_addr().unwrap(), two.local_addr().unwrap()];
        let over = CancelToken::new();
        let server = case.spawn({
            let over = over.clone();
            move || {
                let mut accepted = [0; 2];
                loop {
                    select! {
                        readable(one) => { one.accept().unwrap(); accepted[0] += 1; }
                        readable(two) => { two.accept().unwrap(); accepted[1] += 1; }
                        cancelled(over) => break accepted,
                    }
                }
            }
        });
        let clients: Vec<_> = (0..20)
            .map(|n| std::net::TcpStream::connect(addrs[n % 2]).unwrap())
            .collect();
        // Closed by the server, which dropped it: so each was accepted.
        for mut client in clients {
            assert_eq!(client.read(&mut [0]).unwrap_or(0), 0);
        }
        over.cancel();
        assert_eq!(server.join(), [10, 10]);
    });
}

/// Promises 6 and 7. Selects and readers of one socket side by side: each byte to one, and whoever leaves, chosen otherwise or cancelled, lets
/// the next go.
#[test]
fn selects_and_readers_share_a_socket() {
    let rounds = 40 * stress_rounds();
    matrix(LIMIT, "a socket shared with selects", |case| {
        let (ours, mut peer) = pair();
        let got = Arc::new(AtomicUsize::new(0));
        let (kick, kicked) = bounded::<()>(0);
        let over = CancelToken::new();
        let callers: Vec<_> = (0..6)
            .map(|n| {
                let (mut ours, got) = (ours.try_clone().unwrap(), got.clone());
                let (kicked, over) = (kicked.clone(), over.clone());
                case.spawn(move || {
                    let mut byte = [0];
                    loop {
                        let read = match n % 3 {
                            0 => ours.read(&mut byte).unwrap(),
                            1 => select! {
                                readable(ours) => ours.read(&mut byte).unwrap(),
                                recv(kicked) -> _ => continue,
                                cancelled(over) => break,
                            },
                            _ => select! {
                                readable(ours) => ours.read(&mut byte).unwrap(),
                                recv(kicked) -> _ => continue,
                                default(Duration::from_micros(50)) => continue,
                            },
                        };
                        if read == 0 {
                            break;
                        }
                        got.fetch_add(1, Ordering::SeqCst);
                    }
                })
            })
            .collect();
        for round in 0..rounds {
            peer.write_all(&[1]).unwrap();
            if round % 2 == 0 {
                let _ = kick.try_send(());
            }
            // Each byte comes through, whoever was about to leave.
            until(|| got.load(Ordering::SeqCst) == round + 1);
        }
        over.cancel();
        drop(peer);
        callers.into_iter().for_each(support::Caller::join);
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

/// Law 5. In a destructor that runs because of a cancellation a socket is said to be ready, so that nobody waits for the world: the call that
/// follows says why. Channels are waited for as ever.
#[test]
fn a_select_in_a_destructor_does_not_wait_for_sockets() {
    struct Last(
        TcpStream,
        withy::sync::channel::Receiver<i32>,
        Arc<AtomicUsize>,
    );
    impl Drop for Last {
        fn drop(&mut self) {
            let message = select! { recv(self.1) -> message => message.unwrap() };
            self.2.fetch_add(message as usize, Ordering::SeqCst);
            select! { readable(self.0) => {} }
            let error = self.0.read(&mut [0]).unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
            self.2.fetch_add(1, Ordering::SeqCst);
        }
    }
    each_runtime("selects in destructors", |runtime, _| {
        let (ours, _peer) = pair();
        let (sender, receiver) = unbounded();
        let count = Arc::new(AtomicUsize::new(0));
        let last = Last(ours, receiver, count.clone());
        let victim = runtime.spawn(move || {
            let _last = last;
            withy::park();
        });
        runtime.run(withy::yield_now);
        victim.cancel();
        runtime.run(withy::yield_now);
        sender.send(10).unwrap();
        assert!(victim.join().unwrap_err().is::<Cancelled>());
        assert_eq!(count.load(Ordering::SeqCst), 11);
    });
}

/// A plain thread that waits in poll(2) for sockets is reached by everything else.
#[test]
fn a_thread_that_polls_is_woken_by_everything_else() {
    within(LIMIT, "a plain thread with sockets among its arms", || {
        for how in 0..5 {
            let (ours, mut peer) = pair();
            let (other, _keep) = pair();
            let (sender, receiver) = unbounded::<i32>();
            let token = CancelToken::new();
            let mut child = withy::spawn(withy::park);
            let parked = child.coroutine();
            let thread = std::thread::spawn({
                let token = token.clone();
                move || {
                    let chosen = select! {
                        readable(other) => 9,
                        recv(receiver) -> _ => 0,
                        cancelled(token) => 1,
                        readable(ours) => 2,
                        join(child) -> _ => 3,
                        recv(after(if how == 4 { SHORT } else { AGES })) -> _ => 4,
                    };
                    (chosen, other)
                }
            });
            // It sleeps, in poll(2) mostly.
            std::thread::sleep(SHORT);
            match how {
                0 => sender.send(1).unwrap(),
                1 => token.cancel(),
                2 => peer.write_all(b"x").unwrap(),
                3 => parked.unpark(),
                _ => {}
            }
            assert_eq!(thread.join().unwrap().0, how);
            parked.unpark();
        }
    });
}
