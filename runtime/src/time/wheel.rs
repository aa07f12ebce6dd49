//! The timers of one worker as a data structure: a hierarchical wheel. No clock, no threads, no locks.
//!
//! A coroutine that has ever waited with a limit owns one *entry*, for as long as it lives. Its deadline is moved with
//! every call that has a limit, and hardly ever reached. So moving it must cost a store, and all else may cost a little.
//!
//! # Where an entry lies
//! Time is nanoseconds since some base; a tick is 2^16 of them (65.5 µs). Level 0 has 64 slots of one tick, and each
//! level above 64 slots of 64 times the length: eight levels are 16 + 8 × 6 = 64 bits, all of time. The *cursor* is the
//! tick the wheel has come to. An entry's level is the highest group of six bits in which its tick and the
//! cursor differ; its slot is what its tick has in that group. From this follows, until the cursor meets a slot's start:
//!
//! 1. Every occupied slot starts after the cursor, within the turn of its level that the cursor is in. There is no
//!    wrap-around, and cursor and slot number give a slot's start. The one exception is the *current* slot, level 0 at
//!    the cursor: it takes what is due within this tick or was due before, and `soonest` bounds it instead of a start.
//! 2. All of a level comes before all of the next one: the first occupied slot is the lowest bit of the lowest level that has
//!    any, however long nothing happened.
//! 3. A tick has one slot at a time. So equal deadlines stay in the order in which they were set (if none was moved lazily).
//!
//! # Lazy moves
//! **No entry's deadline is before its slot's bound** (start, or `soonest`) is all that is asked of a linked entry. A deadline
//! may therefore move anywhere behind that bound by a store, to [`NEVER`] too; only a move to before it relinks. When the
//! cursor comes to a slot, its entries are linked anew by the deadlines they have by then, and those without one
//! are unlinked. This costs a coroutine one move per slot length and level, whatever number of calls it makes.
//!
//! # Exact, though ticks are coarse
//! Ticks are rounded down and the deadlines within the current one compared, so a timer is neither early nor late by
//! a tick. The price is that the current slot is walked whenever `soonest` has come: each walk finds something due
//! (or a lower bound that was stale), and a worker does not come by often within 65 µs if it has many to wake.
//! What a walk finds goes to the *due list*, so that popping is O(1) whatever is left in the slot. A slot of a higher level is
//! first spread over the lower ones also when all of it is due: what was late is woken in the order of its ticks.
//!
//! # Memory
//! Entries lie in one array and link by index: a cascade walks memory that is dense, not one line in each of a thousand
//! stacks. An entry is 24 bytes and the value; freed ones are reused, last freed first. The array grows by doubling and is kept
//! until no entry is left, so the ceiling is twice the most entries that were there since. Then it is
//! given back if it has room for more than 1,024. The slots are 2 KiB a wheel.
//!
//! # Not bounded
//! Spreading a slot is one step, 10 to 20 ns an entry: 100,000 coroutines whose deadlines lie in one slot hold their worker for
//! a millisecond or two when it comes up. In pieces it would have to say "nothing due" before it knows.

#[cfg(test)]
mod cost;
#[cfg(test)]
mod tests;

/// The deadline that does not come.
pub(crate) const NEVER: u64 = u64::MAX;

/// Nanoseconds in a tick, as a power of two.
const TICK_BITS: u32 = 16;
/// Slots in a level, as a power of two.
const LEVEL_BITS: u32 = 6;
const SLOTS: usize = 1 << LEVEL_BITS;
const LEVELS: usize = ((u64::BITS - TICK_BITS) / LEVEL_BITS) as usize;

/// Entries that [`Wheel::next`] looks at.
const LOOK_MAX: usize = 16;
/// Room for so many entries is kept when none is left.
const KEPT_MAX: usize = 1024;

/// No entry.
const NIL: u32 = u32::MAX;

/// Names an entry, until it is removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Key(u32);

/// A list of entries: `level * 64 + index`, or one of the two below.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Slot(u16);

impl Slot {
    /// The due list.
    const DUE: Slot = Slot((LEVELS * SLOTS) as u16);
    /// In no list.
    const NONE: Slot = Slot(u16::MAX);

    fn new(level: usize, index: usize) -> Slot {
        Slot((level * SLOTS + index) as u16)
    }

    fn level(self) -> usize {
        usize::from(self.0) / SLOTS
    }

    fn index(self) -> usize {
        usize::from(self.0) % SLOTS
    }
}

struct Entry<T> {
    /// Means nothing in an unlinked entry, which has none.
    deadline: u64,
    /// Neighbours in the slot's ring. `next` of a free entry is the next free one.
    prev: u32,
    next: u32,
    slot: Slot,
    /// None in a free entry.
    value: Option<T>,
}

/// See the module.
pub(crate) struct Wheel<T> {
    /// The tick that the wheel has come to.
    cursor: u64,
    /// No deadline in the current slot is earlier. Means nothing while that is empty.
    soonest: u64,
    /// For each level, which slots hold entries.
    occupied: [u64; LEVELS],
    /// First entry of each slot's ring, and of the due list's.
    heads: [u32; LEVELS * SLOTS + 1],
    entries: Vec<Entry<T>>,
    /// First free entry.
    free: u32,
    /// Entries that are not free.
    live: u32,
    /// Entries that are in a list.
    linked: u32,
}

impl<T> Wheel<T> {
    pub(crate) fn new() -> Wheel<T> {
        Wheel {
            cursor: 0,
            soonest: NEVER,
            occupied: [0; LEVELS],
            heads: [NIL; LEVELS * SLOTS + 1],
            entries: Vec::new(),
            free: NIL,
            live: 0,
            linked: 0,
        }
    }

    /// A new entry, without a deadline.
    pub(crate) fn insert(&mut self, value: T) -> Key {
        let entry = Entry {
            deadline: NEVER,
            prev: NIL,
            next: NIL,
            slot: Slot::NONE,
            value: Some(value),
        };
        self.live += 1;
        let index = self.free;
        if index != NIL {
            self.free = self.entry(index).next;
            *self.entry_mut(index) = entry;
            return Key(index);
        }
        let index = self.entries.len() as u32;
        assert!(index < NIL, "fewer coroutines than 2^32 - 1 have a timer");
        self.entries.push(entry);
        Key(index)
    }

    /// Frees the entry.
    pub(crate) fn remove(&mut self, key: Key) -> T {
        let Key(index) = key;
        let entry = self.entry_mut(index);
        let value = entry.value.take().expect("the entry is not free");
        if entry.slot != Slot::NONE {
            self.unlink(index);
        }
        self.live -= 1;
        if self.live > 0 {
            self.entry_mut(index).next = self.free;
            self.free = index;
        } else {
            self.free = NIL;
            self.entries.clear();
            if self.entries.capacity() > KEPT_MAX {
                self.entries = Vec::new();
            }
        }
        value
    }

    /// Moves the entry's deadline, to the past also, or to [`NEVER`].
    #[inline]
    pub(crate) fn set(&mut self, key: Key, deadline: u64) {
        let entry = self.entry_mut(key.0);
        debug_assert!(entry.value.is_some(), "the entry is not free");
        entry.deadline = deadline;
        let slot = entry.slot;
        if slot == Slot::NONE {
            if deadline != NEVER {
                self.link(key.0);
            }
        } else if deadline < self.bound(slot) {
            self.unlink(key.0);
            self.link(key.0);
        }
    }

    /// An entry whose deadline is not after `now`. It has none from then on, and is still its owner's.
    ///
    /// `now` may be earlier than it was: that moves nothing back.
    pub(crate) fn pop_due(&mut self, now: u64) -> Option<&T> {
        let index = self.take_due(now)?;
        self.entry(index).value.as_ref()
    }

    /// When to look again: not after the earliest deadline, and equal to it if no more than 16 entries must be looked at.
    ///
    /// A time that is past means now, [`NEVER`] that nothing is set. Whoever waits until then and calls
    /// [`pop_due`](Self::pop_due) until there is none, gets one, or a later time from here.
    pub(crate) fn next(&self) -> u64 {
        let mut earliest = NEVER;
        let mut looks = LOOK_MAX;
        // An entry that was moved lazily may be due after those of slots that follow.
        for slot in self.occupied_slots() {
            let bound = self.bound(slot);
            if bound >= earliest {
                break;
            }
            for entry in self.ring(slot) {
                if looks == 0 {
                    return bound;
                }
                looks -= 1;
                earliest = earliest.min(entry.deadline);
            }
        }
        earliest
    }

    /// Whether nothing is linked. Entries whose deadline was taken back may be, for a while.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.linked == 0
    }

    /// Unlinks the first entry that is due.
    fn take_due(&mut self, now: u64) -> Option<u32> {
        loop {
            if self.head(Slot::DUE) == NIL {
                self.advance(now);
            }
            let index = self.head(Slot::DUE);
            if index == NIL {
                return None;
            }
            self.unlink(index);
            // Its deadline may have been moved while it was in the list.
            match self.entry(index).deadline {
                NEVER => {}
                deadline if deadline <= now => return Some(index),
                _ => self.link(index),
            }
        }
    }

    /// Moves the cursor towards `now`, to the first slot that has something due, and that to the due list.
    fn advance(&mut self, now: u64) {
        while let Some(slot) = self.first_slot() {
            if self.bound(slot) > now {
                break;
            }
            // All before it is empty.
            self.cursor = self.start(slot);
            self.spread(slot, now);
            if self.head(Slot::DUE) != NIL {
                return;
            }
        }
        self.cursor = self.cursor.max(now >> TICK_BITS);
    }

    /// Links the entries of `slot`, at which the cursor is, anew.
    fn spread(&mut self, slot: Slot, now: u64) {
        let head = self.head(slot);
        let last = self.entry(head).prev;
        self.clear(slot);
        let mut index = head;
        loop {
            let entry = self.entry_mut(index);
            let next = entry.next;
            entry.slot = Slot::NONE;
            let deadline = entry.deadline;
            self.linked -= 1;
            if slot.level() == 0 && deadline <= now {
                self.push(Slot::DUE, index);
            } else if deadline != NEVER {
                self.link(index);
            }
            if index == last {
                return;
            }
            index = next;
        }
    }

    /// Links an unlinked entry where its deadline belongs.
    fn link(&mut self, index: u32) {
        let deadline = self.entry(index).deadline;
        let tick = (deadline >> TICK_BITS).max(self.cursor);
        // The set bits are for a tick that differs in nothing.
        let differing = (tick ^ self.cursor) | (SLOTS as u64 - 1);
        let level = differing.ilog2() / LEVEL_BITS;
        let group = (tick >> (level * LEVEL_BITS)) as usize % SLOTS;
        let slot = Slot::new(level as usize, group);
        if tick == self.cursor {
            let is_first = self.head(slot) == NIL;
            self.soonest = if is_first {
                deadline
            } else {
                deadline.min(self.soonest)
            };
        }
        self.push(slot, index);
    }

    /// Appends an unlinked entry to a ring.
    fn push(&mut self, slot: Slot, index: u32) {
        let head = self.head(slot);
        let (prev, next) = if head == NIL {
            self.heads[usize::from(slot.0)] = index;
            if slot != Slot::DUE {
                self.occupied[slot.level()] |= 1 << slot.index();
            }
            (index, index)
        } else {
            let last = self.entry(head).prev;
            self.entry_mut(last).next = index;
            self.entry_mut(head).prev = index;
            (last, head)
        };
        let entry = self.entry_mut(index);
        (entry.prev, entry.next, entry.slot) = (prev, next, slot);
        self.linked += 1;
    }

    /// Takes a linked entry out of its ring.
    fn unlink(&mut self, index: u32) {
        let entry = self.entry_mut(index);
        let (prev, next, slot) = (entry.prev, entry.next, entry.slot);
        entry.slot = Slot::NONE;
        self.linked -= 1;
        if next == index {
            return self.clear(slot);
        }
        self.entry_mut(prev).next = next;
        self.entry_mut(next).prev = prev;
        let head = &mut self.heads[usize::from(slot.0)];
        if *head == index {
            *head = next;
        }
    }

    /// Makes the ring of `slot` empty. What was in it is the caller's to link.
    fn clear(&mut self, slot: Slot) {
        self.heads[usize::from(slot.0)] = NIL;
        if slot != Slot::DUE {
            self.occupied[slot.level()] &= !(1 << slot.index());
        }
    }

    /// No deadline in `slot` is earlier, and none may be set to earlier without a relink.
    #[inline]
    fn bound(&self, slot: Slot) -> u64 {
        if slot == Slot::DUE {
            0
        } else if usize::from(slot.0) == self.cursor as usize % SLOTS {
            self.soonest
        } else {
            self.start(slot) << TICK_BITS
        }
    }

    /// The first tick of `slot`: the cursor's groups above the slot's level, and the slot's index.
    #[inline]
    fn start(&self, slot: Slot) -> u64 {
        let shift = slot.level() as u32 * LEVEL_BITS;
        let above = shift + LEVEL_BITS;
        (self.cursor >> above << above) | ((slot.index() as u64) << shift)
    }

    /// The occupied slot that is first in time.
    fn first_slot(&self) -> Option<Slot> {
        let level = self.occupied.iter().position(|&occupied| occupied != 0)?;
        Some(Slot::new(
            level,
            self.occupied[level].trailing_zeros() as usize,
        ))
    }

    /// The lists that have entries, in the order of time.
    fn occupied_slots(&self) -> impl Iterator<Item = Slot> {
        let due = (self.head(Slot::DUE) != NIL).then_some(Slot::DUE);
        let levels = self.occupied.iter().enumerate();
        let slots = levels.flat_map(|(level, &occupied)| {
            let mut left = occupied;
            std::iter::from_fn(move || {
                let index = (left != 0).then(|| left.trailing_zeros() as usize)?;
                left &= left - 1;
                Some(Slot::new(level, index))
            })
        });
        due.into_iter().chain(slots)
    }

    fn ring(&self, slot: Slot) -> impl Iterator<Item = &Entry<T>> {
        let head = self.head(slot);
        let first = (head != NIL).then_some(head);
        let indices = std::iter::successors(first, move |&index| {
            Some(self.entry(index).next).filter(|&next| next != head)
        });
        indices.map(|index| self.entry(index))
    }

    #[inline]
    fn head(&self, slot: Slot) -> u32 {
        self.heads[usize::from(slot.0)]
    }

    #[inline]
    fn entry(&self, index: u32) -> &Entry<T> {
        &self.entries[index as usize]
    }

    #[inline]
    fn entry_mut(&mut self, index: u32) -> &mut Entry<T> {
        &mut self.entries[index as usize]
    }
}
