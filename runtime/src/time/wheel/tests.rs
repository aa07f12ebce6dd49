//! The wheel against a sorted map, and what a map has not: laziness, `next`, memory.

mod model;

use std::io::{self, Write};
use std::process;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use fastrand::Rng;

use model::{Pair, check};

use super::*;

const TICK: u64 = 1 << TICK_BITS;
const SECOND: u64 = 1_000_000_000;

/// Ends the process in a minute unless dropped before: a wheel that is wrong may go round for ever.
fn time_limit() -> Sender<()> {
    let (guard, dropped) = mpsc::channel();
    let name = thread::current().name().map(str::to_owned);
    thread::spawn(move || {
        // Some compute for seconds, and for many more beside others.
        if dropped.recv_timeout(Duration::from_secs(240)) == Err(RecvTimeoutError::Timeout) {
            // Not `eprintln!`, which the test harness would capture and lose.
            let _ = writeln!(io::stderr(), "watchdog: {name:?} has not ended in 240 s");
            process::abort();
        }
    });
    guard
}

/// A deadline of any scale, often at a boundary of ticks, slots or levels, sometimes past.
fn some_deadline(rng: &mut Rng, now: u64) -> u64 {
    let bits = rng.u32(0..64);
    let scale = 1u64 << bits;
    match rng.u32(0..16) {
        0 => NEVER,
        1 => NEVER - 1 - rng.u64(0..3),
        2 => rng.u64(0..3),
        3 => now,
        4 => now.saturating_sub(rng.u64(0..scale)),
        5 => rng.u64(..),
        // The next multiple of a power of two, and its neighbours.
        6..=8 => (now | (scale - 1)).saturating_add(rng.u64(0..3)),
        9 => now.saturating_add(scale - 1 + rng.u64(0..3)),
        10 => now.saturating_add(rng.u64(0..SECOND)),
        11 => now.saturating_add(rng.u64(0..4 * TICK)),
        _ => now.saturating_add(rng.u64(0..scale)),
    }
}

/// How time goes on in a run.
#[derive(Clone, Copy)]
enum Clock {
    /// By leaps of all scales, and back at times.
    Leaps,
    /// To what `next` says, and no further.
    Next,
}

fn advance(pair: &mut Pair, clock: Clock, rng: &mut Rng) {
    let now = match clock {
        Clock::Leaps if rng.u32(0..8) == 0 => pair.now.saturating_sub(rng.u64(0..SECOND)),
        Clock::Leaps => {
            // A run would soon be at the end of time if leaps of all sizes were alike frequent.
            let bits = rng.u32(0..48).min(rng.u32(0..64));
            pair.now.saturating_add(rng.u64(0..1 << bits))
        }
        Clock::Next => match pair.wheel.next() {
            NEVER => pair.now,
            next => pair.now.max(next),
        },
    };
    let earliest = pair.earliest();
    if matches!(clock, Clock::Next) {
        assert!(now <= earliest.max(pair.now), "waits past {earliest}");
    }
    pair.now = now;
    if rng.u32(0..4) == 0 {
        // Leaves some where they are.
        for _ in 0..rng.u32(0..4) {
            pair.pop(now);
        }
        return;
    }
    let popped = pair.drain(now);
    if matches!(clock, Clock::Next) {
        let next = pair.wheel.next();
        assert!(next > now, "a busy loop at {now}, {popped} popped");
    }
}

/// Random calls, of which some make the wheel large and some make it small.
fn run(seed: u64, clock: Clock, calls: u32, entries_max: usize) {
    let mut rng = Rng::with_seed(seed);
    let mut pair = Pair::new();
    if rng.bool() {
        pair.now = rng.u64(..) >> rng.u32(0..64);
    }
    for _ in 0..calls {
        match rng.u32(0..16) {
            0..=2 if pair.keys.len() < entries_max => {
                let number = pair.insert();
                let deadline = some_deadline(&mut rng, pair.now);
                pair.set(number, deadline);
            }
            3 => {
                if let Some(number) = pair.some_number(&mut rng) {
                    pair.remove(number);
                }
            }
            4..=11 => {
                if let Some(number) = pair.some_number(&mut rng) {
                    let deadline = some_deadline(&mut rng, pair.now);
                    pair.set(number, deadline);
                }
            }
            12 if rng.u32(0..64) == 0 => {
                while let Some(number) = pair.some_number(&mut rng) {
                    pair.remove(number);
                }
            }
            _ => advance(&mut pair, clock, &mut rng),
        }
        pair.check_next();
        if rng.u32(0..16) == 0 {
            check(&pair.wheel);
        }
    }
}

#[test]
fn it_pops_what_a_sorted_map_would_whatever_the_leaps() {
    let _limit = time_limit();
    for seed in 0..1500 {
        run(seed, Clock::Leaps, 400, 8 << (seed % 5));
    }
}

#[test]
fn waiting_for_next_alone_is_never_late_and_never_busy() {
    let _limit = time_limit();
    for seed in 0..1500 {
        run(seed, Clock::Next, 400, 8 << (seed % 5));
    }
}

/// Until everything has been popped, by `next` alone, from deadlines of every scale.
#[test]
fn waiting_for_next_reaches_every_deadline() {
    let _limit = time_limit();
    for seed in 0..50 {
        let mut rng = Rng::with_seed(seed);
        let mut pair = Pair::new();
        for _ in 0..rng.usize(1..200) {
            let number = pair.insert();
            let deadline = some_deadline(&mut rng, 0);
            pair.set(number, deadline);
        }
        let mut waits = 0;
        while pair.wheel.next() != NEVER {
            pair.now = pair.now.max(pair.wheel.next());
            pair.drain(pair.now);
            pair.check_next();
            check(&pair.wheel);
            waits += 1;
            // One for each deadline, and one for each level of each slot that was crowded.
            assert!(waits <= 200 + 200 / LOOK_MAX * LEVELS);
        }
        assert!(pair.order.is_empty());
        assert_eq!(pair.drain(NEVER), 0);
        assert!(pair.wheel.is_empty());
    }
}

/// From 1 ns to the end of time: each boundary, its neighbours, seen from cursors at and around boundaries.
#[test]
fn a_deadline_at_a_boundary_is_due_at_its_nanosecond() {
    let _limit = time_limit();
    let around = |bits: u32| {
        let edge = 1u64 << bits;
        [edge - 1, edge, edge + 1]
    };
    let ends = [0, NEVER - 2, NEVER - 1];
    let instants: Vec<u64> = (0..64).flat_map(around).chain(ends).collect();
    for &begin in &instants {
        for &deadline in instants.iter().filter(|&&deadline| deadline >= begin) {
            let mut wheel = Wheel::new();
            assert!(wheel.pop_due(begin).is_none());
            let key = wheel.insert(7);
            wheel.set(key, deadline);
            assert_eq!(wheel.next(), deadline);
            if deadline > begin {
                assert_eq!(wheel.pop_due(deadline - 1), None, "{deadline} from {begin}");
                assert_eq!(wheel.next(), deadline);
                check(&wheel);
            }
            assert_eq!(wheel.pop_due(deadline), Some(&7), "{deadline} from {begin}");
            assert_eq!(wheel.next(), NEVER);
            assert!(wheel.is_empty());
        }
    }
}

/// From deadlines that were set in time, not moved, and drained at each look.
#[test]
fn ticks_are_in_order_and_equal_deadlines_in_the_order_they_were_set() {
    let _limit = time_limit();
    for seed in 0..50 {
        let mut rng = Rng::with_seed(seed);
        let mut wheel = Wheel::new();
        let mut now = 0;
        let mut popped: Vec<(u64, u32)> = Vec::new();
        for number in 0..2000 {
            // Coarse, so that many are equal, and of all levels that a leap can pass in one go.
            let scale = 1u64 << rng.u32(0..16);
            let deadline = now + 1 + rng.u64(0..=scale) * (5 * TICK / 3);
            let key = wheel.insert((deadline, number));
            wheel.set(key, deadline);
            if rng.u32(0..50) == 0 {
                now += rng.u64(0..SECOND);
                while let Some(&entry) = wheel.pop_due(now) {
                    popped.push(entry);
                }
            }
        }
        while let Some(&entry) = wheel.pop_due(NEVER) {
            popped.push(entry);
        }
        assert_eq!(popped.len(), 2000);
        assert!(popped.is_sorted_by_key(|&(deadline, _)| deadline >> TICK_BITS));
        popped.sort_by_key(|&(deadline, _)| deadline);
        let in_order = |pair: &[(u64, u32)]| pair[0].0 < pair[1].0 || pair[0].1 < pair[1].1;
        assert!(popped.windows(2).all(in_order));
    }
}

/// The one that pays for the wheel: a limit that each call moves later and takes back costs no relink.
#[test]
fn a_deadline_that_only_moves_later_relinks_nothing() {
    let _limit = time_limit();
    let mut wheel = Wheel::new();
    let key = wheel.insert(0);
    wheel.set(key, 30 * SECOND);
    let slot = wheel.entry(key.0).slot;
    for call in 0..10_000 {
        wheel.set(key, 30 * SECOND + call * 1000);
        assert_eq!(wheel.entry(key.0).slot, slot);
        wheel.set(key, NEVER);
        assert_eq!(wheel.entry(key.0).slot, slot);
        assert_eq!(wheel.next(), NEVER);
    }
    // Earlier than before, but not than the slot: a store as well.
    wheel.set(key, 30 * SECOND - 1);
    assert_eq!(wheel.entry(key.0).slot, slot);
    wheel.set(key, SECOND);
    assert_ne!(wheel.entry(key.0).slot, slot);
    assert_eq!(wheel.next(), SECOND);
}

#[test]
fn a_deadline_that_was_taken_back_is_unlinked_when_its_slot_comes() {
    let _limit = time_limit();
    let mut wheel = Wheel::new();
    for number in 0..100 {
        let key = wheel.insert(number);
        wheel.set(key, 30 * SECOND);
        wheel.set(key, NEVER);
    }
    // More than are looked at: the slot's start, which is in time.
    let next = wheel.next();
    assert!(next <= 30 * SECOND);
    assert!(!wheel.is_empty());
    assert_eq!(wheel.pop_due(next), None);
    assert!(wheel.is_empty());
    assert_eq!(wheel.next(), NEVER);
    check(&wheel);
}

#[test]
fn what_was_popped_can_be_set_again() {
    let _limit = time_limit();
    let mut wheel = Wheel::new();
    let key = wheel.insert('a');
    for deadline in [5, 5, 0, TICK, TICK - 1, SECOND, NEVER - 1, 3] {
        wheel.set(key, deadline);
        assert_eq!(wheel.pop_due(deadline), Some(&'a'));
        assert_eq!(wheel.pop_due(NEVER - 1), None);
    }
    assert!(wheel.is_empty());
    wheel.set(key, NEVER);
    assert!(wheel.is_empty());
    assert_eq!(wheel.remove(key), 'a');
}

/// A list that was found due and is then changed by its owners, before all of it is popped.
#[test]
fn a_deadline_may_move_between_two_pops() {
    let _limit = time_limit();
    let mut wheel = Wheel::new();
    let keys: Vec<Key> = (0..5).map(|number| wheel.insert(number)).collect();
    for &key in &keys {
        wheel.set(key, SECOND);
    }
    let now = SECOND + 1;
    assert_eq!(wheel.pop_due(now), Some(&0));
    wheel.set(keys[1], NEVER);
    wheel.set(keys[2], 2 * SECOND);
    assert_eq!(wheel.remove(keys[3]), 3);
    wheel.set(keys[0], 1);
    assert!(wheel.next() <= now);
    assert_eq!(wheel.pop_due(now), Some(&4));
    assert_eq!(wheel.pop_due(now), Some(&0));
    assert_eq!(wheel.pop_due(now), None);
    assert_eq!(wheel.next(), 2 * SECOND);
}

/// Later than it was found due: `now` is allowed to go back.
#[test]
fn a_clock_that_goes_back_makes_nothing_early() {
    let _limit = time_limit();
    let mut wheel = Wheel::new();
    for (number, deadline) in [(0, SECOND), (1, SECOND + 5)] {
        let key = wheel.insert(number);
        wheel.set(key, deadline);
    }
    assert_eq!(wheel.pop_due(SECOND + 9), Some(&0));
    assert_eq!(wheel.pop_due(SECOND + 4), None);
    assert_eq!(wheel.pop_due(0), None);
    assert_eq!(wheel.next(), SECOND + 5);
    assert_eq!(wheel.pop_due(SECOND + 5), Some(&1));
}

#[test]
fn a_million_entries_leave_no_memory() {
    let _limit = time_limit();
    let mut rng = Rng::with_seed(1);
    let mut wheel = Wheel::new();
    // One at a time beside one that stays: room for two is enough.
    let stays = wheel.insert(0);
    for _ in 0..1_000_000 {
        let key = wheel.insert(0);
        wheel.set(key, 1 + rng.u64(0..SECOND));
        wheel.remove(key);
    }
    assert!(wheel.entries.capacity() <= 4);
    wheel.remove(stays);
    // Many at a time: as many as there were at most, rounded up, until they are gone.
    let mut keys = Vec::new();
    for round in 0..100 {
        for _ in 0..10_000 {
            let key = wheel.insert(0);
            wheel.set(key, 1 + rng.u64(0..SECOND));
            keys.push(key);
        }
        assert!(wheel.entries.capacity() <= 2 * 10_000);
        check(&wheel);
        rng.shuffle(&mut keys);
        // Round by round all but one are removed, then that one too.
        let left = usize::from(round % 2 == 0);
        for key in keys.drain(left..) {
            wheel.remove(key);
        }
        for key in keys.drain(..) {
            assert!(wheel.entries.capacity() >= 10_000);
            wheel.remove(key);
        }
        assert_eq!(wheel.entries.capacity(), 0);
        assert!(wheel.is_empty());
        assert_eq!(wheel.next(), NEVER);
    }
    // Little is kept, so that a worker with a timer now and then allocates once.
    let keys: Vec<Key> = (0..1000).map(|_| wheel.insert(0)).collect();
    for key in keys {
        wheel.remove(key);
    }
    assert!((1000..=KEPT_MAX).contains(&wheel.entries.capacity()));
}

#[test]
#[should_panic(expected = "the entry is not free")]
fn an_entry_is_removed_once() {
    let mut wheel = Wheel::new();
    let (first, _second) = (wheel.insert(1), wheel.insert(2));
    wheel.remove(first);
    wheel.remove(first);
}

/// `Entry` as the module's text has it.
#[test]
fn an_entry_is_24_bytes_and_its_value() {
    assert_eq!(size_of::<Entry<std::ptr::NonNull<u8>>>(), 32);
}

/// A worker fires a bounded number a turn: what is left must keep it from sleeping.
#[test]
fn what_is_due_and_was_not_popped_is_next() {
    let mut wheel = Wheel::new();
    let keys: Vec<Key> = (0..3).map(|n| wheel.insert(n)).collect();
    for &key in &keys {
        wheel.set(key, 5_000_000);
    }
    let late = wheel.insert(3);
    wheel.set(late, 9_000_000_000);
    assert!(wheel.pop_due(5_000_001).is_some());
    assert!(wheel.next() <= 5_000_001);
    while wheel.pop_due(5_000_001).is_some() {}
    assert_eq!(wheel.next(), 9_000_000_000);
}
