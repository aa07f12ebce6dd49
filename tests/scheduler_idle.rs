//! What a runtime without work costs.

mod rig;
mod support;

use std::io::Read;
use std::time::Duration;

use rig::process::{switches, threads_once_named};
use support::sockets::pair;
use support::{LIMIT, within};

/// Promise 36. Parked coroutines, a blocked reader and a far timer leave every worker asleep, and the
/// watchdog, too: their threads are not switched to once in a whole second.
#[test]
fn an_idle_runtime_never_wakes_up() {
    const TEST: &str = "an_idle_runtime_never_wakes_up";
    if !rig::child::alone(TEST, &[]) {
        return;
    }
    for workers in [1, 2, 8] {
        for full_stealing in [false, true] {
            within(LIMIT, "a quiet second", || {
                let name = format!("q{workers}{}", u8::from(full_stealing));
                let builder = withy::Runtime::builder()
                    .workers(workers)
                    .steal(rig::steal(full_stealing))
                    .name(&name);
                let runtime = builder.build().unwrap();
                let (mut ours, peer) = pair();
                let reader = runtime.spawn(move || ours.read(&mut [0; 1]));
                let parked: Vec<_> = (0..100).map(|_| runtime.spawn(withy::park)).collect();
                let _sleeper = runtime.spawn(|| withy::sleep(Duration::from_secs(3600)));
                let busy = runtime.spawn(|| (0..1000).for_each(|_| withy::yield_now()));
                busy.join().unwrap();

                let mut threads = threads_once_named(&format!("{name}-worker"), workers);
                threads.extend(threads_once_named(&format!("{name}-watchdog"), 1));
                let count = || threads.iter().map(|&thread| switches(thread)).sum::<u64>();
                // Surplus stacks may still be on their way back. A runtime that ticks never has a quiet second.
                loop {
                    let before = count();
                    std::thread::sleep(Duration::from_secs(1));
                    if count() == before {
                        break;
                    }
                }
                parked.iter().for_each(|waiter| waiter.coroutine().unpark());
                parked.into_iter().for_each(|waiter| waiter.join().unwrap());
                drop(peer);
                assert_eq!(reader.join().unwrap().unwrap(), 0);
            });
        }
    }
}

/// Promise 36. After a spike of coroutines, too, the workers come to rest.
#[test]
fn a_runtime_comes_to_rest_after_a_spike() {
    const TEST: &str = "a_runtime_comes_to_rest_after_a_spike";
    if !rig::child::alone(TEST, &[]) {
        return;
    }
    within(LIMIT * 2, "a quiet second after 5,000 coroutines", || {
        let runtime = withy::Runtime::builder()
            .workers(2)
            .name("spike")
            .build()
            .unwrap();
        let parked: Vec<_> = (0..5_000).map(|_| runtime.spawn(withy::park)).collect();
        parked.iter().for_each(|waiter| waiter.coroutine().unpark());
        parked.into_iter().for_each(|waiter| waiter.join().unwrap());
        let mut threads = threads_once_named("spike-worker", 2);
        threads.extend(threads_once_named("spike-watchdog", 1));
        let count = || threads.iter().map(|&thread| switches(thread)).sum::<u64>();
        loop {
            let before = count();
            std::thread::sleep(Duration::from_secs(1));
            if count() == before {
                break;
            }
        }
    });
}
