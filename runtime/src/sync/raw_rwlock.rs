//! The lock in an [`RwLock`](super::RwLock), without what it protects.
//!
//! # The word
//! ```text
//! bit  0     WRITER    a writer holds it
//! bit  1     WRITERS   the writers' queue is not empty
//! bit  2     READERS   the readers' queue is not empty
//! bit  3     WOKEN     one writer was woken to compete, and has not yet
//! bit  4     STARVING  the first writer in the queue has lost too often: the lock is handed over to it
//! bits 5..   how many readers hold it, in steps of READER
//! ```
//! 59 bits of readers do not overflow: to leak so many guards takes years, and so many waiters do not fit into memory.
//!
//! | who | comes in by an exchange that sees | else |
//! | --- | --- | --- |
//! | reader | neither WRITER nor WRITERS nor WOKEN | queues up with READERS, in an exchange that sees one of them |
//! | writer | neither WRITER nor a reader nor STARVING | queues up with WRITERS, in an exchange that sees one of them |
//!
//! Whoever holds it may give it up by one instruction at any time. The bits of those who wait change under the queues' lock only.
//!
//! # Who comes next
//! [`settle`](RawRwLock::settle) lets in whoever can come in, under the queues' lock. It is called by
//! 1. a writer that unlocks and sees READERS, or WRITERS without WOKEN. It keeps WRITER until then. All readers that wait
//!    are handed the lock. If there are none, the first writer is handed it if it is STARVING, and otherwise woken to compete for a lock
//!    that is free for any writer;
//! 2. a writer that downgrades and sees READERS: the same, and it is one of the readers;
//! 3. the last reader to unlock, if it sees somebody wait and nobody WOKEN. Its unlock left the lock free, so whatever holds it by now
//!    is left to that one's unlock. Otherwise as in 1, but first a writer: that is whom the readers wait for;
//! 4. whoever leaves: a waiter, a writer that was woken to compete, and what was handed the lock, which it gives up as above. If no
//!    writer is left to keep the readers out, all that wait are handed the lock, also beside readers that hold it.
//!
//! # No waiter is forgotten
//! *READERS comes with WRITER, WRITERS or WOKEN*, whenever the queues' lock is free. A reader that queues up has seen one of them in its
//! exchange. The last of them goes with an unlock (1: it sees READERS), or with the one that leaves (4): both let the readers
//! in. In between they turn into each other: WRITERS into WOKEN or, handed over, into WRITER; WOKEN into WRITER, or back into
//! WRITERS.
//!
//! *A writer that waits sees its predecessor go.* It has set WRITERS in an exchange that saw a holder (or STARVING, which is a writer
//! before it in the queue). The last unlock comes after it in the word's order and sees WRITERS. It settles, unless it sees WOKEN too. The
//! writer that is WOKEN comes under the queues' lock and ends that in one exchange: the lock was free and is its own, then its unlock
//! sees WRITERS; or there is a holder, whose unlock sees WRITERS without WOKEN. If it leaves instead, it settles (4).
//!
//! *A late settle does no harm* (3, 4): it looks at the word as it is by then. A lock that is held, or that one was woken for, it leaves alone.
//!
//! *STARVING comes with WRITERS and without WOKEN*: it is set by the writer that was WOKEN, in the exchange that ends that, so there is no other WOKEN, and nobody is woken until it
//! has gone; so its writer stays the first in the queue, too. Nobody else comes in: readers see WRITERS. Between the last reader's unlock and its settle
//! it is there without a holder.
//!
//! # Fairness (promise 42)
//! *A reader* waits for the readers that hold the lock when it comes, and for **one writer**: the first that unlocks, whichever that is, lets it in.
//! For that, *a writer that waits keeps new readers out*: it waits for the readers that hold the lock when it comes, and after each writer that goes first
//! for those that waited then. The price: while a writer that was woken has not come yet, since its worker is busy, readers wait although
//! nobody holds the lock. Among writers it is as with the mutex: a lock that is free is any writer's, past those in the queue. The first of these that has lost
//! for half a millisecond or 16 times is handed it (`raw_mutex.rs`): at the next unlock, or after the readers that wait then.
//!
//! # Orderings
//! Taking the lock acquires, giving it up releases. All changes of the word are read-modify-writes, so they carry on the
//! releases of all readers before them. `settle` acquires and releases: whom it hands the lock to knows by the node's WOKEN what it knows.

use crate::atomic::{AtomicUsize, Ordering, spin_loop};
use crate::context;
use crate::sync::raw_mutex::Loser;
use crate::sync::waiters::{Access, Enter, Guarded, Left, Place, Waited};
use crate::time::Moment;

pub(super) const WRITER: usize = 1;
pub(super) const WRITERS: usize = 2;
pub(super) const READERS: usize = 4;
pub(super) const WOKEN: usize = 8;
pub(super) const STARVING: usize = 16;
pub(super) const READER: usize = 32;

/// Any of these keeps readers out. STARVING comes with WRITERS.
const NO_READERS: usize = WRITER | WRITERS | WOKEN;

/// Looks at a lock that is held on another core, before it is waited for.
const SPINS: u32 = 40;

pub(crate) struct RawRwLock {
    pub(super) word: AtomicUsize,
    pub(super) queues: Guarded<ReadersWaiting, Waiter, 2>,
}

type ReadersWaiting = usize;
type Queues<'a> = Access<'a, ReadersWaiting, Waiter, 2>;

/// What a waiter wants, and what it got.
pub(super) struct Waiter {
    want: Want,
    starving: bool,
    /// The lock is its own. A reader is not woken otherwise.
    handed_over: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Want {
    Read,
    Write,
}

/// What the caller of `settle` gives up.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ends {
    Writing,
    /// It goes on as a reader.
    WritingAlone,
    Nothing,
}

/// Who comes next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    /// All that wait.
    Readers,
    /// Handed the lock.
    Writer,
    /// Woken to compete.
    Competitor,
    Nobody,
}

impl RawRwLock {
    pub(crate) const fn new() -> RawRwLock {
        RawRwLock {
            word: AtomicUsize::new(0),
            queues: Guarded::new(0),
        }
    }

    #[inline]
    pub(crate) fn try_read(&self) -> bool {
        self.read_at_once() || self.try_take(Want::Read)
    }

    /// Waits until it is let in as a reader; it may unwind, and is none then.
    #[inline]
    pub(crate) fn read(&self) {
        if !self.read_at_once() {
            self.take_slowly(Want::Read);
        }
    }

    #[inline]
    fn read_at_once(&self) -> bool {
        let word = self.word.load(Ordering::Relaxed);
        // Acquire: what the last writer did.
        Want::Read.is_let_in(word)
            && self
                .word
                .compare_exchange(word, word + READER, Ordering::Acquire, Ordering::Relaxed)
                .is_ok()
    }

    #[inline]
    pub(crate) fn try_write(&self) -> bool {
        self.write_at_once() || self.try_take(Want::Write)
    }

    /// Waits until it is the writer; it may unwind, and is not then.
    #[inline]
    pub(crate) fn write(&self) {
        if !self.write_at_once() {
            self.take_slowly(Want::Write);
        }
    }

    #[inline]
    fn write_at_once(&self) -> bool {
        // Acquire: what the last holders did.
        self.word
            .compare_exchange(0, WRITER, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    /// For a reader.
    #[inline]
    pub(crate) fn unlock_read(&self) {
        // Release: that it has read.
        let left = self.word.fetch_sub(READER, Ordering::Release) - READER;
        if left != 0 && left < READER {
            self.settle_after_last_reader(left);
        }
    }

    #[cold]
    fn settle_after_last_reader(&self, left: usize) {
        if left & WOKEN == 0 {
            self.queues
                .with(|queues| self.settle(queues, Ends::Nothing));
        }
    }

    /// For the writer.
    #[inline]
    pub(crate) fn unlock_write(&self) {
        // Release: what it did.
        if self
            .word
            .compare_exchange(WRITER, 0, Ordering::Release, Ordering::Relaxed)
            .is_err()
        {
            self.unlock_write_slowly();
        }
    }

    #[cold]
    fn unlock_write_slowly(&self) {
        let mut word = self.word.load(Ordering::Relaxed);
        while word & READERS == 0 && word & (WRITERS | WOKEN) != WRITERS {
            match self.word.compare_exchange_weak(
                word,
                word & !WRITER,
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(now) => word = now,
            }
        }
        self.queues
            .with(|queues| self.settle(queues, Ends::Writing));
    }

    /// For the writer: it is a reader then, and nobody has written in between.
    pub(crate) fn downgrade(&self) {
        let mut word = self.word.load(Ordering::Relaxed);
        while word & READERS == 0 {
            match self.word.compare_exchange_weak(
                word,
                word - WRITER + READER,
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(now) => word = now,
            }
        }
        self.queues
            .with(|queues| self.settle(queues, Ends::WritingAlone));
    }

    #[cold]
    fn try_take(&self, want: Want) -> bool {
        let mut word = self.word.load(Ordering::Relaxed);
        while want.is_let_in(word) {
            match self.word.compare_exchange_weak(
                word,
                word + want.hold(),
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
        false
    }

    #[cold]
    fn take_slowly(&self, want: Want) {
        if self.spin(want) {
            return;
        }
        let mut loser = Loser::new();
        loop {
            // Before the queues' lock: it reads the clock.
            let starving = loser.starves();
            let waited = self.queues.wait(
                Moment::NEVER,
                |queues| self.take_or_enter(queues, want, loser.woken, starving),
                |queues, waiter, left| self.leave(queues, waiter, left),
            );
            match waited {
                Waited::Woken(waiter) if !waiter.handed_over => loser.woken = true,
                Waited::Woken(_) | Waited::Done(()) => return,
                Waited::TimedOut(_) => unreachable!("there was no deadline"),
            }
        }
    }

    /// Holders on other cores may be about to unlock. One on this core is not.
    fn spin(&self, want: Want) -> bool {
        if context::current_worker().is_some_and(|worker| worker.is_alone()) {
            return self.try_take(want);
        }
        for _ in 0..SPINS {
            if self.try_take(want) {
                return true;
            }
            if self.word.load(Ordering::Relaxed) & (READERS | WRITERS) != 0 {
                return false;
            }
            spin_loop();
        }
        false
    }

    /// Under the queues' lock: takes the lock, or says how to wait for it.
    fn take_or_enter(
        &self,
        queues: &mut Queues<'_>,
        want: Want,
        woken: bool,
        starving: bool,
    ) -> Enter<(), Waiter> {
        let competes = if woken { WOKEN } else { 0 };
        let waits = want.waits() | if starving { STARVING } else { 0 };
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            let let_in = want.is_let_in(word);
            let rest = word & !competes;
            let next = if let_in {
                rest + want.hold()
            } else {
                rest | waits
            };
            // Acquire: what the last holders did.
            match self
                .word
                .compare_exchange_weak(word, next, Ordering::Acquire, Ordering::Relaxed)
            {
                Ok(_) if let_in => return Enter::Done(()),
                Ok(_) => break,
                Err(now) => word = now,
            }
        }
        if want == Want::Read {
            *queues.state += 1;
        }
        Enter::Wait {
            queue: want.queue(),
            place: if woken { Place::Front } else { Place::Back },
            payload: Waiter {
                want,
                starving,
                handed_over: false,
            },
        }
    }

    /// Under the queues' lock: gives up what the caller holds, and lets in whoever is next.
    pub(super) fn settle(&self, queues: &mut Queues<'_>, ends: Ends) {
        let mut word = self.word.load(Ordering::Relaxed);
        let next = loop {
            let rest = match ends {
                Ends::Writing => word - WRITER,
                Ends::WritingAlone => word - WRITER + READER,
                Ends::Nothing => word,
            };
            let next = Next::after(rest, ends);
            // Acquire: what the last holders did, for those who are handed the lock. Release: what we did.
            match self.word.compare_exchange_weak(
                word,
                next.change(rest, queues),
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => break next,
                Err(now) => word = now,
            }
        };
        // After the exchange: whoever is handed the lock may unlock it at once.
        next.wake(queues);
    }

    /// A waiter that unwinds.
    #[cold]
    fn leave(&self, queues: &mut Queues<'_>, waiter: &mut Waiter, left: Left) {
        let ends = match (waiter.want, left) {
            (Want::Read, Left::Queue) => {
                *queues.state -= 1;
                if *queues.state == 0 {
                    self.word.fetch_and(!READERS, Ordering::Relaxed);
                }
                // It has kept nobody out.
                return;
            }
            (Want::Read, Left::Woken) => {
                self.word.fetch_sub(READER, Ordering::Release);
                Ends::Nothing
            }
            (Want::Write, Left::Queue) => {
                let empty = if queues.is_empty(WRITING) { WRITERS } else { 0 };
                let starving = if waiter.starving { STARVING } else { 0 };
                self.word.fetch_and(!(empty | starving), Ordering::Relaxed);
                Ends::Nothing
            }
            (Want::Write, Left::Woken) if waiter.handed_over => Ends::Writing,
            (Want::Write, Left::Woken) => {
                self.word.fetch_and(!WOKEN, Ordering::Relaxed);
                Ends::Nothing
            }
        };
        self.settle(queues, ends);
    }
}

/// The queues of those who want to read, and to write.
pub(super) const READING: usize = 0;
pub(super) const WRITING: usize = 1;

impl Want {
    #[inline]
    fn is_let_in(self, word: usize) -> bool {
        match self {
            Want::Read => word & NO_READERS == 0,
            Want::Write => word & (WRITER | STARVING) == 0 && word < READER,
        }
    }

    /// What it adds to the word when it is let in.
    #[inline]
    fn hold(self) -> usize {
        match self {
            Want::Read => READER,
            Want::Write => WRITER,
        }
    }

    /// The bit of its queue.
    fn waits(self) -> usize {
        match self {
            Want::Read => READERS,
            Want::Write => WRITERS,
        }
    }

    fn queue(self) -> usize {
        match self {
            Want::Read => READING,
            Want::Write => WRITING,
        }
    }
}

impl Next {
    /// `rest`: the word without what `ends`.
    fn after(rest: usize, ends: Ends) -> Next {
        let is_free = rest & WRITER == 0 && rest < READER;
        if rest & READERS != 0 && (ends != Ends::Nothing || rest & NO_READERS == 0) {
            Next::Readers
        } else if is_free && rest & STARVING != 0 {
            Next::Writer
        } else if is_free && rest & (WRITERS | WOKEN) == WRITERS {
            Next::Competitor
        } else {
            Next::Nobody
        }
    }

    /// The word with it let in.
    fn change(self, rest: usize, queues: &Queues<'_>) -> usize {
        let last_writer = if queues.is_last(WRITING) { WRITERS } else { 0 };
        match self {
            Next::Readers => (rest & !READERS) + *queues.state * READER,
            Next::Writer => rest & !(STARVING | last_writer) | WRITER,
            Next::Competitor => rest & !last_writer | WOKEN,
            Next::Nobody => rest,
        }
    }

    fn wake(self, queues: &mut Queues<'_>) {
        match self {
            Next::Readers => {
                *queues.state = 0;
                queues.wake_all(READING, |reader| reader.handed_over = true);
            }
            Next::Writer => {
                queues.wake_next(WRITING, |writer| writer.handed_over = true);
            }
            Next::Competitor => {
                queues.wake_next(WRITING, |_| {});
            }
            Next::Nobody => {}
        }
    }
}
