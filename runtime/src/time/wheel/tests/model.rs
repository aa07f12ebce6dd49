//! What a wheel must agree with: a sorted map, and its own invariants.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;

use crate::time::wheel::*;

/// A wheel and the sorted map it must agree with. An entry's value is its number.
pub(super) struct Pair {
    pub(super) wheel: Wheel<u32>,
    pub(super) keys: BTreeMap<u32, Key>,
    pub(super) deadlines: BTreeMap<u32, u64>,
    pub(super) order: BTreeSet<(u64, u32)>,
    pub(super) now: u64,
    pub(super) inserted: u32,
}

impl Pair {
    pub(super) fn new() -> Pair {
        Pair {
            wheel: Wheel::new(),
            keys: BTreeMap::new(),
            deadlines: BTreeMap::new(),
            order: BTreeSet::new(),
            now: 0,
            inserted: 0,
        }
    }

    pub(super) fn insert(&mut self) -> u32 {
        let number = self.inserted;
        self.inserted += 1;
        self.keys.insert(number, self.wheel.insert(number));
        number
    }

    pub(super) fn set(&mut self, number: u32, deadline: u64) {
        self.forget(number);
        if deadline != NEVER {
            self.deadlines.insert(number, deadline);
            self.order.insert((deadline, number));
        }
        self.wheel.set(self.keys[&number], deadline);
    }

    pub(super) fn remove(&mut self, number: u32) {
        self.forget(number);
        let key = self.keys.remove(&number).unwrap();
        assert_eq!(self.wheel.remove(key), number);
    }

    /// Takes the deadline out of the map, and says what it was.
    pub(super) fn forget(&mut self, number: u32) -> Option<u64> {
        let deadline = self.deadlines.remove(&number)?;
        self.order.remove(&(deadline, number));
        Some(deadline)
    }

    /// Pops one and says whether there was one. It must be due; and if there is none, nothing may be.
    pub(super) fn pop(&mut self, now: u64) -> bool {
        let Some(&number) = self.wheel.pop_due(now) else {
            let earliest = self.earliest();
            assert!(
                earliest > now || earliest == NEVER,
                "late: {earliest} at {now}"
            );
            return false;
        };
        let deadline = self.forget(number).expect("it had a deadline");
        assert!(deadline <= now, "early: {deadline} at {now}");
        true
    }

    pub(super) fn drain(&mut self, now: u64) -> u32 {
        let mut popped = 0;
        while self.pop(now) {
            popped += 1;
        }
        popped
    }

    pub(super) fn earliest(&self) -> u64 {
        self.order.first().map_or(NEVER, |&(deadline, _)| deadline)
    }

    pub(super) fn some_number(&self, rng: &mut Rng) -> Option<u32> {
        rng.choice(self.keys.keys()).copied()
    }

    pub(super) fn check_next(&self) {
        let next = self.wheel.next();
        assert!(next <= self.earliest(), "{next} > {}", self.earliest());
        if self.wheel.linked as usize <= LOOK_MAX {
            assert_eq!(next, self.earliest());
        }
        assert_eq!(self.wheel.live as usize, self.keys.len());
        assert!(self.wheel.linked as usize >= self.order.len());
        assert_eq!(self.wheel.is_empty(), self.wheel.linked == 0);
    }
}

/// The invariants that the module's text states.
pub(super) fn check(wheel: &Wheel<u32>) {
    let mut linked = 0;
    for number in 0..=Slot::DUE.0 {
        let slot = Slot(number);
        let is_due_list = slot == Slot::DUE;
        let entries: Vec<_> = wheel.ring(slot).collect();
        if !is_due_list {
            let bit = wheel.occupied[slot.level()] >> slot.index() & 1;
            assert_eq!(bit == 1, !entries.is_empty(), "the bit of {slot:?}");
        }
        if entries.is_empty() {
            continue;
        }
        let is_current = slot.level() == 0 && slot.index() as u64 == wheel.cursor % SLOTS as u64;
        assert!(
            is_due_list || is_current || wheel.start(slot) > wheel.cursor,
            "{slot:?} is behind the cursor"
        );
        for (at, entry) in entries.iter().enumerate() {
            assert_eq!(entry.slot, slot);
            assert!(entry.value.is_some());
            assert!(entry.deadline >= wheel.bound(slot), "{slot:?} is too late");
            let next = entries[(at + 1) % entries.len()];
            assert!(std::ptr::eq(wheel.entry(entry.next), next));
            assert!(std::ptr::eq(wheel.entry(next.prev), *entry));
        }
        linked += entries.len();
    }
    assert_eq!(linked, wheel.linked as usize);
    let mut free = 0;
    let mut index = wheel.free;
    while index != NIL {
        assert!(wheel.entry(index).value.is_none());
        index = wheel.entry(index).next;
        free += 1;
    }
    assert_eq!(wheel.live as usize + free, wheel.entries.len());
}
