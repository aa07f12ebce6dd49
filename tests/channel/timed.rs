//! Channels of points in time: `after`, `at`, `tick`, `never`.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use withy::sync::channel::{
    Receiver, RecvTimeoutError, TryRecvError, after, at, never, tick, unbounded,
};
use withy::{CancelToken, now, scope, sleep, sleep_until, timeout, yield_now};

use super::parcels::MS;
use crate::rig::parties::in_virtual_time;
use crate::support::{self, LIMIT, matrix, within};

const HOUR: Duration = Duration::from_secs(3600);

/// Item 1: one message, at its nanosecond, with its instant; then none, and no end.
#[test]
fn after_gives_one_message_when_its_time_has_come() {
    in_virtual_time("after", || {
        let begin = now();
        let receiver = after(50 * MS);
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        sleep(50 * MS - Duration::from_nanos(1));
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        assert_eq!(receiver.recv(), Ok(begin + 50 * MS));
        assert_eq!(now(), begin + 50 * MS);
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        assert_eq!(receiver.recv_timeout(HOUR), Err(RecvTimeoutError::Timeout));
        assert_eq!(now(), begin + 50 * MS + HOUR);
    });
}

/// What waits in time is received late, with its own instant.
#[test]
fn at_keeps_its_message_until_it_is_received() {
    in_virtual_time("at", || {
        let instant = now() + 50 * MS;
        let receiver = at(instant);
        sleep(HOUR);
        assert_eq!(receiver.recv_timeout(Duration::ZERO), Ok(instant));
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    });
}

/// Bad input: an instant that has passed is there at once, as it is, however long ago; one beyond all time never comes.
#[test]
fn the_past_is_there_at_once_and_the_far_future_never() {
    in_virtual_time("the past", || {
        let ages = Duration::from_secs(60 * 60);
        let past = now().checked_sub(ages).unwrap_or_else(now);
        assert_eq!(at(past).recv(), Ok(past));
        assert_eq!(at(past).try_recv(), Ok(past));
        assert_eq!(after(Duration::ZERO).recv(), Ok(now()));
        for never in [after(Duration::MAX), tick(Duration::MAX), never()] {
            assert_eq!(never.try_recv(), Err(TryRecvError::Empty));
            assert_eq!(
                never.recv_timeout(1000 * HOUR),
                Err(RecvTimeoutError::Timeout)
            );
        }
    });
}

/// The shorter of the two waits ends it, and what is due at the deadline itself counts.
#[test]
fn a_timeout_ends_the_wait_at_its_own_time() {
    in_virtual_time("a timeout", || {
        let begin = now();
        for make in [after, tick] {
            let begin = now();
            let receiver = make(100 * MS);
            assert_eq!(
                receiver.recv_timeout(60 * MS),
                Err(RecvTimeoutError::Timeout)
            );
            assert_eq!(now(), begin + 60 * MS);
            let due = begin + 100 * MS;
            assert_eq!(receiver.recv_deadline(due), Ok(due));
            assert_eq!(now(), due);
        }
        assert_eq!(now(), begin + 200 * MS);
    });
}

/// A ticker that is waited for keeps step; one that is taken late begins anew, and what was between is left out.
#[test]
fn ticks_keep_step_and_late_ones_are_not_made_up_for() {
    in_virtual_time("ticks", || {
        let begin = now();
        let ticker = tick(100 * MS);
        for n in 1..=5 {
            assert_eq!(ticker.recv(), Ok(begin + n * 100 * MS));
            assert_eq!(now(), begin + n * 100 * MS);
        }
        // The next is due at 600, and taken at 1050: then one at 1150.
        sleep_until(begin + 1050 * MS);
        assert_eq!(ticker.try_recv(), Ok(begin + 600 * MS));
        assert_eq!(ticker.try_recv(), Err(TryRecvError::Empty));
        assert_eq!(ticker.recv(), Ok(begin + 1150 * MS));
        sleep_until(begin + 1300 * MS);
        assert_eq!(ticker.recv(), Ok(begin + 1250 * MS));
        assert_eq!(ticker.recv(), Ok(begin + 1400 * MS));
    });
}

/// A waiter that is woken late, since its worker was held, still gets its tick, and the one after it in step.
#[test]
fn who_is_woken_late_keeps_step() {
    for full_stealing in [false, true] {
        within(LIMIT, "a ticker on a worker that is held", || {
            let runtime = support::runtime(1, full_stealing);
            let keeps_step = |period: Duration| {
                let begin = now();
                let ticker = tick(period);
                let started = AtomicUsize::new(0);
                scope(|s| {
                    let waiter = s.spawn(|| {
                        started.store(1, Ordering::SeqCst);
                        [ticker.recv().unwrap(), ticker.recv().unwrap()]
                    });
                    while started.load(Ordering::SeqCst) == 0 {
                        yield_now();
                    }
                    // It waits, since it came in time. Else the machine was slow: again, with more time.
                    let in_time = now() < begin + period;
                    // It is due in the middle of this.
                    std::thread::sleep(period * 3 / 2);
                    let [first, second] = waiter.join().unwrap();
                    assert!(!in_time || second == first + period);
                    in_time
                })
            };
            let mut periods = (0..).map(|doublings| Duration::from_millis(10 << doublings));
            assert!(periods.any(|period| runtime.run(|| keeps_step(period))));
        });
    }
}

/// A period of zero has a message at any time, and lets others run all the same.
#[test]
fn a_ticker_without_a_period_does_not_keep_others_out() {
    in_virtual_time("no period", || {
        let ticker = tick(Duration::ZERO);
        let done = AtomicUsize::new(0);
        scope(|s| {
            s.spawn(|| {
                while done.load(Ordering::SeqCst) == 0 {
                    assert_eq!(ticker.recv(), Ok(now()));
                }
            });
            s.spawn(|| {
                while done.load(Ordering::SeqCst) == 0 {
                    assert_eq!(never::<()>().try_recv(), Err(TryRecvError::Empty));
                }
            });
            s.spawn(|| done.store(1, Ordering::SeqCst));
        });
    });
}

/// Promises 29 and 41. Of several receivers, coroutines and threads, one gets each message; the others go on waiting.
#[test]
fn each_message_goes_to_one_receiver() {
    matrix(LIMIT, "tickers and timers with several receivers", |case| {
        let ticker = tick(MS);
        let once = after(3 * MS);
        let (got, all) = unbounded();
        let receivers: Vec<_> = (0..4)
            .map(|n| {
                let (ticker, once, got) = (ticker.clone(), once.clone(), got.clone());
                case.spawn(move || {
                    for _ in 0..3 {
                        got.send(ticker.recv().unwrap()).unwrap();
                    }
                    once.recv_timeout((5 + n) * MS).is_ok()
                })
            })
            .collect();
        let once_received = receivers
            .into_iter()
            .map(|receiver| receiver.join())
            .filter(|&got| got)
            .count();
        assert_eq!(once_received, 1);
        let mut ticks: Vec<Instant> = all.try_iter().collect();
        assert_eq!(ticks.len(), 12);
        ticks.sort();
        assert!(
            ticks.is_sorted_by(|a, b| *b >= *a + MS),
            "a tick was received twice, or too soon"
        );
    });
}

/// Promise 29. Whoever is cancelled or unwound by a timeout leaves the message to the others.
#[test]
fn an_interrupted_receiver_takes_nothing_with_it() {
    in_virtual_time("interrupted receivers", || {
        let begin = now();
        let receiver = after(50 * MS);
        assert!(timeout(20 * MS, || receiver.recv()).is_err());
        let token = CancelToken::new();
        scope(|s| {
            s.spawn(|| assert!(token.run(|| receiver.recv()).is_err()));
            sleep(20 * MS);
            token.cancel();
        });
        assert_eq!(receiver.recv(), Ok(begin + 50 * MS));
    });
}

/// As crossbeam-channel's: room for one, or for none where there is never a message.
#[test]
fn lengths_and_capacities_are_those_of_a_channel_for_one() {
    in_virtual_time("lengths", || {
        for make in [after, |duration| at(now() + duration), tick] {
            let receiver = make(50 * MS);
            assert_eq!(receiver.capacity(), Some(1));
            assert_eq!(lengths(&receiver), (0, true, false));
            sleep(50 * MS);
            assert_eq!(lengths(&receiver), (1, false, true));
            assert!(receiver.try_recv().is_ok());
            assert_eq!(lengths(&receiver), (0, true, false));
        }
        let never = never::<u8>();
        assert_eq!(never.capacity(), Some(0));
        assert_eq!(lengths(&never), (0, true, true));
    });
}

fn lengths<T>(receiver: &Receiver<T>) -> (usize, bool, bool) {
    (receiver.len(), receiver.is_empty(), receiver.is_full())
}

/// Clones are the same channel, all that is never is one, and nothing else is.
#[test]
fn clones_are_the_same_channel() {
    let (timer, ticker) = (after(MS), tick(MS));
    assert!(timer.same_channel(&timer.clone()) && ticker.same_channel(&ticker.clone()));
    assert!(!timer.same_channel(&after(MS)) && !ticker.same_channel(&tick(MS)));
    assert!(!timer.same_channel(&ticker));
    assert!(!timer.same_channel(&never()) && !timer.same_channel(&unbounded().1));
    assert!(never::<u8>().same_channel(&never()));
}

/// Iterators go on for ever where there is always a message again.
#[test]
fn tickers_are_iterators() {
    in_virtual_time("iterators", || {
        let begin = now();
        let ticks: Vec<_> = tick(10 * MS).into_iter().take(3).collect();
        assert_eq!(ticks, [begin + 10 * MS, begin + 20 * MS, begin + 30 * MS]);
        assert_eq!(after(MS).try_iter().count(), 0);
        assert_eq!(at(now()).try_iter().count(), 1);
    });
}

/// From a plain thread, by the kernel's clock: never early.
#[test]
fn plain_threads_wait_by_the_kernels_clock() {
    within(LIMIT, "timers on a plain thread", || {
        let begin = Instant::now();
        let fired = after(5 * MS).recv().unwrap();
        assert!(fired >= begin + 5 * MS && Instant::now() >= fired);
        // In step for who comes in time, which a thread that was kept from its core does not: then later, never early.
        let is_in_step = |_| {
            let ticker = tick(MS);
            let first = ticker.recv().unwrap();
            let second = ticker.recv().unwrap();
            assert!(second >= first + MS);
            second == first + MS
        };
        assert!((0..).any(is_in_step));
        assert_eq!(
            never::<()>().recv_timeout(2 * MS),
            Err(RecvTimeoutError::Timeout)
        );
        assert_eq!(
            never::<()>().recv_deadline(begin),
            Err(RecvTimeoutError::Timeout)
        );
    });
}

/// Two threads share one ticker: each tick goes to one.
#[test]
fn they_are_shared_whatever_the_clock() {
    let ticker = tick(MS);
    let seen = Mutex::new(Vec::new());
    within(LIMIT, "two runtimes with one ticker", || {
        std::thread::scope(|s| {
            for _ in 0..2 {
                s.spawn(|| {
                    withy::run(|| ());
                    seen.lock().unwrap().push(ticker.recv().unwrap());
                });
            }
        });
    });
    let seen = seen.into_inner().unwrap();
    assert_ne!(seen[0], seen[1]);
}
