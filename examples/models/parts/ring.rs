//! A ring of slots between one producer and one consumer, as the LMAX Disruptor has it: slots are made once, and filled and read in
//! place; both sides count how far they have come, in sequences that never go back, and each waits behind the other's.
//!
//! ```text
//!    consumed        published
//!        v               v
//!  . . . 5 6 7 8 9 10 11 . . .      slot of a sequence: its low bits
//!        |-------------| |---->
//!         the consumer's  the producer's, up to consumed + slots
//! ```

use std::cell::UnsafeCell;

use super::atomic::{AtomicBool, AtomicU64, Ordering, fence};

/// On cache lines of its own: processors fetch them in pairs.
#[repr(align(128))]
#[derive(Default)]
struct Padded<T>(T);

/// Between one producer and one consumer, see [`Ring::split`].
pub(crate) struct Ring<T> {
    slots: Box<[UnsafeCell<T>]>,
    /// The producer's barrier: sequences below it may be read. Only the producer writes it.
    published: Padded<AtomicU64>,
    /// The consumer's barrier: sequences below it may be filled again. Only the consumer writes it.
    consumed: Padded<AtomicU64>,
}

// SAFETY: a slot is the producer's or the consumer's, never both's at a time: the two sequences say whose. So slots only
// change threads, for which `Send` is enough.
unsafe impl<T: Send> Sync for Ring<T> {}

impl<T> Ring<T> {
    /// `slots` is a power of two.
    pub(crate) fn new(slots: usize, slot: impl FnMut() -> T) -> Ring<T> {
        assert!(slots.is_power_of_two(), "got {slots} slots");
        Ring {
            slots: std::iter::repeat_with(slot)
                .map(UnsafeCell::new)
                .take(slots)
                .collect(),
            published: Padded::default(),
            consumed: Padded::default(),
        }
    }

    /// Its two ends. Exclusive: there is one of each.
    pub(crate) fn split(&mut self) -> (Producer<'_, T>, Consumer<'_, T>) {
        // Relaxed: exclusive, so that whoever had the ends before came before.
        let published = self.published.0.load(Ordering::Relaxed);
        let consumed = self.consumed.0.load(Ordering::Relaxed);
        let producer = Producer {
            ring: self,
            next: published,
            consumed,
        };
        let consumer = Consumer {
            ring: self,
            next: consumed,
            published,
        };
        (producer, consumer)
    }

    fn slot(&self, sequence: u64) -> *mut T {
        let mask = self.slots.len() as u64 - 1;
        let place = usize::try_from(sequence & mask).expect("it is less than the length");
        self.slots[place].get()
    }
}

pub(crate) struct Producer<'a, T> {
    ring: &'a Ring<T>,
    /// What is published next.
    next: u64,
    /// As it was when it was last looked at: the other's cache line is touched when it has to be, once for many slots.
    consumed: u64,
}

impl<T> Producer<'_, T> {
    /// The next slot, to be filled. None: the ring is full.
    pub(crate) fn claim(&mut self) -> Option<&mut T> {
        let slots = self.ring.slots.len() as u64;
        if self.next - self.consumed == slots {
            // Acquire: pairs with the consumer's release; its reading of the slot is over.
            self.consumed = self.ring.consumed.0.load(Ordering::Acquire);
            if self.next - self.consumed == slots {
                return None;
            }
        }
        // SAFETY: `next` is in consumed..consumed + slots and not published: no consumer touches its slot. There is one
        // producer, and the borrow of it keeps the slot from being claimed twice at a time.
        Some(unsafe { &mut *self.ring.slot(self.next) })
    }

    /// Lets the consumer see the slot that was claimed.
    ///
    /// # Panics
    /// If the ring is full.
    pub(crate) fn publish(&mut self) {
        let slots = self.ring.slots.len() as u64;
        assert!(self.next - self.consumed < slots, "published, not claimed");
        self.next += 1;
        // Release: what was written to the slot comes before.
        self.ring.published.0.store(self.next, Ordering::Release);
    }

    pub(crate) fn is_full(&mut self) -> bool {
        self.claim().is_none()
    }

    /// Whether all that was published was consumed: the consumer waits for nothing but more.
    pub(crate) fn is_drained(&mut self) -> bool {
        // Acquire: as in `claim`, which may take this for its own look.
        self.consumed = self.ring.consumed.0.load(Ordering::Acquire);
        self.consumed == self.next
    }
}

pub(crate) struct Consumer<'a, T> {
    ring: &'a Ring<T>,
    /// What is read next.
    next: u64,
    /// As it was when it was last looked at.
    published: u64,
}

impl<T> Consumer<'_, T> {
    /// The oldest slot that was published. None: there is none.
    pub(crate) fn peek(&mut self) -> Option<&mut T> {
        if self.next == self.published {
            // Acquire: pairs with the producer's release; the slot is filled.
            self.published = self.ring.published.0.load(Ordering::Acquire);
            if self.next == self.published {
                return None;
            }
        }
        // SAFETY: `next` is in consumed..published: the producer does not touch its slot until it is consumed. There is one
        // consumer, and the borrow of it keeps the slot from being given out twice at a time.
        Some(unsafe { &mut *self.ring.slot(self.next) })
    }

    /// Gives back the slot that was looked at.
    ///
    /// # Panics
    /// If there is none.
    pub(crate) fn consume(&mut self) {
        assert!(self.next < self.published, "consumed, not looked at");
        self.next += 1;
        // Release: reading the slot comes before.
        self.ring.consumed.0.store(self.next, Ordering::Release);
    }

    pub(crate) fn is_empty(&mut self) -> bool {
        self.peek().is_none()
    }
}

/// How one side waits for the other without spinning, and is woken without a system call while it does not wait.
///
/// The one who waits says so, and then looks again; the other publishes, and then looks whether anybody waits. Between the
/// two steps of each is a fence that is sequentially consistent: one of the fences comes first, so that at least one of them
/// sees what the other has done.
#[derive(Default)]
pub(crate) struct Sleeper {
    is_asleep: Padded<AtomicBool>,
}

impl Sleeper {
    /// From now on it is to be woken. The caller looks again before he sleeps.
    pub(crate) fn lie_down(&self) {
        self.is_asleep.0.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    pub(crate) fn get_up(&self) {
        self.is_asleep.0.store(false, Ordering::Relaxed);
    }

    /// After something was published, or consumed: wakes it if it sleeps.
    pub(crate) fn rouse(&self, wake: impl FnOnce()) {
        fence(Ordering::SeqCst);
        if self.is_asleep.0.load(Ordering::Relaxed)
            && self.is_asleep.0.swap(false, Ordering::Relaxed)
        {
            wake();
        }
    }
}
