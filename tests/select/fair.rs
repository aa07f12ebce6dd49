//! Whom a select chooses among those that are ready, counted with a fixed seed; and what it costs while it waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use withy::sync::channel::{Receiver, Select, after, at, bounded, never, unbounded};
use withy::{CancelToken, Runtime, select, select_biased};

use crate::rig;
use crate::rig::process::{switches, threads_once_named};
use crate::support::sockets::pair;
use crate::support::{LIMIT, within};

const ROUNDS: usize = 8000;

/// A runtime in which chance is the same in every run.
fn seeded() -> Runtime {
    Runtime::builder().virtual_time().seed(43).build().unwrap()
}

/// Each of those that were ready all the time was chosen about equally often: within a sixth of its share, which is seven standard
/// deviations of 8 arms, and more of fewer.
fn assert_even(counts: &[usize]) {
    let share = ROUNDS / counts.len();
    let even = |&count: &usize| share * 5 / 6 < count && count < share * 7 / 6;
    assert!(counts.iter().all(even), "{counts:?}");
}

/// Where the tests run: a coroutine of a runtime with a seed, and a plain thread, which has none.
fn everywhere(body: impl Fn() + Send + Sync + 'static) {
    let body = Arc::new(body);
    within(LIMIT, "counts of what was chosen", || {
        body();
        seeded().run(move || body());
    });
}

fn full_channels(number: usize) -> Vec<Receiver<usize>> {
    (0..number)
        .map(|index| {
            let (sender, receiver) = unbounded();
            (0..ROUNDS).for_each(|_| sender.send(index).unwrap());
            receiver
        })
        .collect()
}

/// Promise 43. Of k receivers with messages each is chosen as often as the others, whatever their order in memory and in the select.
#[test]
fn receivers_are_chosen_evenly() {
    everywhere(|| {
        for number in [2, 3, 5, 8] {
            let receivers = full_channels(number);
            let silent = never::<usize>();
            let mut counts = vec![0; number];
            let mut select = Select::new();
            for receiver in receivers.iter().rev() {
                // Those that are not ready change nothing.
                select.recv(&silent);
                select.recv(receiver);
            }
            for _ in 0..ROUNDS {
                let operation = select.select();
                let index = number - 1 - operation.index() / 2;
                assert_eq!(operation.recv(&receivers[index]), Ok(index));
                counts[index] += 1;
            }
            assert_even(&counts);
        }
    });
}

/// Promise 43. The macro, of receives, sends, times, tokens and joins; with a `default` that is never chosen.
#[test]
fn all_sorts_of_arms_are_chosen_evenly() {
    everywhere(|| {
        let (into, _keep) = unbounded();
        let receivers = full_channels(2);
        let token = CancelToken::new();
        token.cancel();
        let past = withy::now();
        let mut counts = [0; 6];
        for _ in 0..ROUNDS {
            let mut ended = withy::spawn(|| ());
            while !ended.is_finished() {
                withy::yield_now();
            }
            let index = select! {
                recv(receivers[0]) -> _ => 0,
                send(into, 0) -> _ => 1,
                recv(at(past)) -> _ => 2,
                cancelled(token) => 3,
                join(ended) -> _ => 4,
                recv(receivers[1]) -> _ => 5,
                default => panic!("all are ready"),
            };
            counts[index] += 1;
        }
        assert_even(&counts);
    });
}

/// Promise 43. `ready` and the select of a rendezvous, on both sides, look at random, too.
#[test]
fn watchers_and_rendezvous_are_even() {
    within(LIMIT, "counts of rendezvous", || {
        let receivers = full_channels(4);
        let mut select = Select::new();
        for receiver in &receivers {
            select.recv(receiver);
        }
        let mut counts = [0; 4];
        (0..ROUNDS).for_each(|_| counts[select.ready()] += 1);
        assert_even(&counts);

        seeded().run(|| {
            let pairs: Vec<_> = (0..4).map(|_| bounded::<()>(0)).collect();
            let counts: Vec<_> = (0..4).map(|_| AtomicUsize::new(0)).collect();
            let over = CancelToken::new();
            withy::scope(|s| {
                // One waits at each, always.
                for (index, (sender, receiver)) in pairs.iter().enumerate() {
                    let (count, over) = (&counts[index], &over);
                    s.spawn(move || {
                        loop {
                            if index % 2 == 0 {
                                select! { recv(receiver) -> _ => {}, cancelled(over) => break }
                            } else {
                                select! { send(sender, ()) -> _ => {}, cancelled(over) => break }
                            }
                            count.fetch_add(1, Ordering::Relaxed);
                        }
                    });
                }
                withy::yield_now();
                for _ in 0..ROUNDS {
                    select! {
                        send(pairs[0].0, ()) -> sent => sent.unwrap(),
                        recv(pairs[1].1) -> message => message.unwrap(),
                        send(pairs[2].0, ()) -> sent => sent.unwrap(),
                        recv(pairs[3].1) -> message => message.unwrap(),
                    }
                    // Until all wait again: with a seed one yield may not do.
                    (0..8).for_each(|_| withy::yield_now());
                }
                over.cancel();
            });
            let counts: Vec<_> = counts.into_iter().map(AtomicUsize::into_inner).collect();
            assert_eq!(counts.iter().sum::<usize>(), ROUNDS);
            let share = ROUNDS / 4;
            // Not always all of them wait, so this is less even.
            let even = |&count: &usize| share * 2 / 3 < count && count < share * 4 / 3;
            assert!(counts.iter().all(even), "{counts:?}");
        });
    });
}

/// The biased one always takes the first.
#[test]
fn a_biased_select_takes_the_first() {
    everywhere(|| {
        let receivers = full_channels(3);
        for _ in 0..100 {
            select_biased! {
                recv(never::<()>()) -> _ => panic!(),
                recv(receivers[2]) -> _ => {}
                recv(receivers[0]) -> _ => panic!(),
                recv(receivers[1]) -> _ => panic!(),
            }
            let mut select = Select::new_biased();
            select.recv(&receivers[1]);
            select.recv(&receivers[0]);
            assert_eq!(select.try_ready(), Ok(0));
            let operation = select.clone().select();
            assert_eq!(operation.index(), 0);
            operation.recv(&receivers[1]).unwrap();
        }
    });
}

/// Promise 36. A select that waits costs nothing: no run of its coroutine, no switch of a worker or thread; and its coroutine runs once
/// to wait and once when it is chosen. Nobody was spawned for its arms.
#[test]
#[expect(clippy::too_many_lines, reason = "one scene, told in order")]
fn a_select_that_waits_costs_nothing() {
    if !rig::child::alone("fair::a_select_that_waits_costs_nothing", &[]) {
        return;
    }
    within(LIMIT * 2, "a quiet second of selects", || {
        let runs = Arc::new(AtomicUsize::new(0));
        let runtime = Runtime::builder()
            .name("select")
            .workers(2)
            .on_switch(|| (), {
                let runs = runs.clone();
                move |()| _ = runs.fetch_add(1, Ordering::SeqCst)
            })
            .build()
            .unwrap();
        let (sender, receiver) = unbounded::<i32>();
        let (full, _keep) = bounded::<i32>(0);
        let token = CancelToken::new();
        let (socket, _peer) = pair();
        let socket = Arc::new(socket);
        let far = Instant::now() + Duration::from_secs(3600);
        let wait = {
            let (receiver, token, socket) = (receiver.clone(), token.clone(), socket.clone());
            move |mut never_ends: withy::JoinHandle<()>| {
                select! {
                    recv(receiver) -> message => (message.unwrap(), never_ends),
                    send(full, 1) -> _ => panic!(),
                    cancelled(token) => panic!(),
                    readable(socket) => panic!(),
                    join(never_ends) -> _ => panic!(),
                    recv(after(Duration::from_secs(3600))) -> _ => panic!(),
                    deadline(far) => panic!(),
                }
            }
        };
        let handles = [runtime.spawn(withy::park), runtime.spawn(withy::park)];
        let [one, other] = handles;
        let live = || rig::process::tasks().len();
        let coroutine = runtime.spawn({
            let wait = wait.clone();
            move || wait(one)
        });
        let thread = std::thread::Builder::new()
            .name("waits".to_owned())
            .spawn(move || wait(other))
            .unwrap();
        let mut threads = threads_once_named("select-worker", 2);
        threads.extend(threads_once_named("waits", 1));
        let threads_before = live();
        let count = || threads.iter().map(|&thread| switches(thread)).sum::<u64>();
        // One that polls never has a quiet second.
        loop {
            let before = (count(), runs.load(Ordering::SeqCst));
            std::thread::sleep(Duration::from_secs(1));
            if (count(), runs.load(Ordering::SeqCst)) == before {
                break;
            }
        }
        assert_eq!(live(), threads_before);
        let before = runs.load(Ordering::SeqCst);
        sender.send(1).unwrap();
        sender.send(1).unwrap();
        let parked =
            [coroutine.join().unwrap(), thread.join().unwrap()].map(|(message, parked)| {
                assert_eq!(message, 1);
                parked
            });
        assert_eq!(runs.load(Ordering::SeqCst), before + 1, "runs to be chosen");
        for parked in parked {
            parked.coroutine().unpark();
            parked.join().unwrap();
        }
    });
}
