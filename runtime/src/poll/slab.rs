//! Where slots live: type-stable memory for the whole process, and the set of slots that one driver uses.
//!
//! Chunks are never freed, so that whoever holds an old index reads a slot, if perhaps another's (`README.md`, G2). The
//! memory is bounded by the most descriptors that were registered at once, rounded up to a power of two: a driver
//! keeps what it once used for its own later registrations, and returns it when it and its last registration are gone.

use std::io;
use std::mem;
use std::sync::OnceLock;

use parking_lot::Mutex;

use super::slot::{Beginning, Slot, Waiter};
use crate::atomic::{AtomicBool, Ordering};

/// Slots of the first chunk; each further chunk has twice as many.
const FIRST_CHUNK: u64 = 256;
/// Enough for every index of 32 bits.
const CHUNKS_MAX: usize = 24;
/// How many slots a driver takes from the process at a time.
const BATCH: usize = 32;

static CHUNKS: [OnceLock<Box<[Slot]>>; CHUNKS_MAX] = [const { OnceLock::new() }; CHUNKS_MAX];
static FREE: Mutex<Free> = Mutex::new(Free {
    returned: Vec::new(),
    fresh: 0,
});

/// Slots that no driver has.
struct Free {
    returned: Vec<u32>,
    /// From this index on, slots have never been used.
    fresh: u32,
}

/// Names one life of one slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Token(u64);

impl Token {
    /// No slot: this index is never given out.
    pub(crate) const NONE: Token = Token(u64::MAX);

    pub(crate) const fn from_bits(bits: u64) -> Token {
        Token(bits)
    }

    pub(crate) const fn bits(self) -> u64 {
        self.0
    }

    #[inline]
    pub(crate) const fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }

    #[inline]
    pub(crate) fn slot(self) -> &'static Slot {
        slot(self.0 as u32)
    }

    const fn new(index: u32, generation: u32) -> Token {
        Token((generation as u64) << 32 | index as u64)
    }
}

/// The slot of an index that was given out.
#[inline]
fn slot(index: u32) -> &'static Slot {
    let place = u64::from(index) + FIRST_CHUNK;
    let doublings = place.ilog2() - FIRST_CHUNK.ilog2();
    let chunk_len = FIRST_CHUNK << doublings;
    let chunk = CHUNKS[doublings as usize].get_or_init(|| {
        (0..chunk_len)
            .map(|_| Slot::new())
            .collect::<Vec<_>>()
            .into_boxed_slice()
    });
    &chunk[(place - chunk_len) as usize]
}

/// The slots of one driver. Outlives the driver while registrations hold slots of it.
pub(crate) struct SlotSet {
    driver: u32,
    sets: Mutex<Sets>,
    /// Hint that `retired` is not empty, so that a turn without it takes no lock.
    has_retired: AtomicBool,
}

#[derive(Default)]
struct Sets {
    owned: Vec<u32>,
    free: Vec<u32>,
    retired: Vec<u32>,
    closed: bool,
}

impl SlotSet {
    pub(crate) fn new(driver: u32) -> SlotSet {
        SlotSet {
            driver,
            sets: Mutex::default(),
            has_retired: AtomicBool::new(false),
        }
    }

    /// A slot that begins a new life.
    ///
    /// # Errors
    /// After [`close_all`](SlotSet::close_all).
    pub(crate) fn acquire(&self, read: Beginning, write: Beginning) -> io::Result<Token> {
        let mut sets = self.sets.lock();
        if sets.closed {
            return Err(io::Error::other(
                "this runtime has shut down: its netpoller takes no sockets; use them in another runtime",
            ));
        }
        if sets.free.is_empty() {
            sets.grow();
        }
        let index = sets
            .free
            .pop()
            .ok_or_else(|| io::Error::from(io::ErrorKind::OutOfMemory))?;
        // Under the lock: a slot that `close_all` does not see yet is not closed by it.
        Ok(Token::new(
            index,
            slot(index).begin(self.driver, read, write),
        ))
    }

    /// Takes a slot back, whose descriptor has been deleted from the epoll instance. It is not used again before the
    /// next [`recycle`](SlotSet::recycle).
    pub(crate) fn retire(&self, token: Token) {
        self.sets.lock().retired.push(token.0 as u32);
        self.has_retired.store(true, Ordering::Release);
    }

    /// Between two batches of events: what was retired is free now (`README.md`, G1).
    #[inline]
    pub(crate) fn recycle(&self) {
        if self.has_retired.load(Ordering::Acquire) {
            self.has_retired.store(false, Ordering::Relaxed);
            let sets = &mut *self.sets.lock();
            sets.free.append(&mut sets.retired);
        }
    }

    /// Closes all words for good, and gives each waiter to `wake`.
    pub(crate) fn close_all(&self, mut wake: impl FnMut(Waiter)) {
        let mut sets = self.sets.lock();
        sets.closed = true;
        for &index in &sets.owned {
            let slot = slot(index);
            slot.read
                .close()
                .into_iter()
                .chain(slot.write.close())
                .for_each(&mut wake);
        }
    }
}

impl Sets {
    /// Takes slots from the process.
    fn grow(&mut self) {
        let mut process = FREE.lock();
        let returned = process.returned.len().saturating_sub(BATCH);
        self.free.extend(process.returned.drain(returned..));
        if self.free.is_empty() {
            let fresh = process.fresh;
            process.fresh = fresh.saturating_add(BATCH as u32);
            self.free.extend((fresh..process.fresh).rev());
        }
        self.owned.extend_from_slice(&self.free);
    }
}

impl Drop for SlotSet {
    /// Neither the driver nor a registration is left, so all slots are free or retired, and no batch is under way.
    fn drop(&mut self) {
        let owned = mem::take(&mut self.sets.get_mut().owned);
        FREE.lock().returned.extend(owned);
    }
}
