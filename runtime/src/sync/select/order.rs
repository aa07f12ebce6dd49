//! In which order a select looks at its arms.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use super::arm::Arm;
use crate::context;
use crate::scheduler::Random;

#[doc(hidden)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// By chance, all orders equally often.
    Fair,
    /// As they are written: the first that is ready is done.
    Biased,
}

impl Order {
    /// Puts the arms into the order in which they are looked at now.
    pub(super) fn arrange(self, arms: &mut [Arm<'_>]) {
        if arms.len() < 2 {
            return;
        }
        match self {
            Order::Fair => shuffle(arms, &Random::new(draw())),
            Order::Biased => arms.sort_unstable_by_key(|arm| arm.number),
        }
    }
}

/// Fisher and Yates.
fn shuffle<T>(items: &mut [T], random: &Random) {
    for last in (1..items.len()).rev() {
        items.swap(last, random.below(last + 1));
    }
}

/// A random number: of the worker's sequence, which is the same in each run of a program with a seed; or of the thread's.
#[inline(never)]
fn draw() -> u64 {
    thread_local! {
        /// Made at the first use: of most threads never.
        static CHANCE: Random = Random::new(RandomState::new().hash_one(0));
    }
    match context::current_worker() {
        Some(worker) => worker.draw(),
        None => CHANCE.with(Random::next),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Promise 43: each order of three comes about as often as any other.
    #[test]
    fn all_orders_are_equally_likely() {
        let random = Random::new(0);
        let mut counts = std::collections::BTreeMap::new();
        for _ in 0..6000 {
            let mut items = [0, 1, 2];
            shuffle(&mut items, &random);
            *counts.entry(items).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 6);
        assert!(
            counts.values().all(|count| (850..1150).contains(count)),
            "{counts:?}"
        );
    }

    /// What a thread draws differs from time to time, and is spread over all bits.
    #[test]
    fn what_is_drawn_is_spread() {
        let mut ones = [0; 64];
        for _ in 0..1000 {
            let drawn = draw();
            (0..64).for_each(|bit| ones[bit] += drawn >> bit & 1);
        }
        assert!(
            ones.iter().all(|ones| (380..620).contains(ones)),
            "{ones:?}"
        );
    }
}
