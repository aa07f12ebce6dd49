//! The readiness words of one descriptor: pure transitions. States and proof are in `README.md` beside this file.

use core::ptr::{self, NonNull};

use crate::atomic::{AtomicU32, AtomicU64, Ordering};

const WAITER_BITS: u32 = 44;
const WAITER: u64 = (1 << WAITER_BITS) - 1;
const READY: u64 = 1 << WAITER_BITS;
const HUP: u64 = READY << 1;
const PRI: u64 = READY << 2;
const CLOSED: u64 = READY << 3;
const LOBBY: u64 = READY << 4;
/// The tick fills the bits above: one event more; it falls off the top when it wraps.
const TICK: u64 = READY << 5;

/// Waiters are 16-byte aligned and below 2^48.
const WAITER_SHIFT: u32 = 4;

/// Who waits: the address of an `Unparker` whose reference the word owns while it stands there.
pub(crate) type Waiter = NonNull<()>;

/// What one event says about one direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Signal(u64);

impl Signal {
    /// Try the system call.
    pub(crate) const READY: Signal = Signal(READY);

    /// Ready, and from now on short transfers prove nothing, because the peer has hung up.
    pub(crate) const fn hung_up(self, yes: bool) -> Signal {
        Signal(if yes { self.0 | HUP } else { self.0 })
    }

    /// Ready, and from now on short transfers prove nothing, because urgent data splits them.
    pub(crate) const fn urgent(self, yes: bool) -> Signal {
        Signal(if yes { self.0 | PRI } else { self.0 })
    }
}

/// How a word begins a life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Beginning {
    /// Worth a system call before the first event (which the registration itself causes if there is readiness).
    pub(crate) ready: bool,
    /// There may be guests from the life before.
    pub(crate) lobby: bool,
    /// What was known of the descriptor in the life before.
    pub(crate) carried: Carried,
}

/// HUP and PRI of a word, for the descriptor's next slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Carried(u64);

/// A value that a [`Word`] had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Snapshot(u64);

impl Carried {
    /// Nothing is known.
    pub(crate) const NONE: Carried = Carried(0);
}

impl Snapshot {
    #[inline]
    pub(crate) fn is_ready(self) -> bool {
        self.0 & READY != 0
    }

    #[inline]
    pub(crate) fn is_closed(self) -> bool {
        self.0 & CLOSED != 0
    }

    /// Whether guests may be in the lobby.
    #[inline]
    pub(crate) fn has_lobby(self) -> bool {
        self.0 & LOBBY != 0
    }

    /// Whether a short transfer proves that the kernel has nothing more.
    #[inline]
    pub(crate) fn trusts_short_transfers(self) -> bool {
        self.0 & (HUP | PRI) == 0
    }

    #[inline]
    pub(crate) fn has_waiter(self) -> bool {
        self.0 & WAITER != 0
    }

    pub(crate) fn carried(self) -> Carried {
        Carried(self.0 & (HUP | PRI))
    }

    #[inline]
    fn waiter(self) -> Option<Waiter> {
        let address = (self.0 & WAITER) << WAITER_SHIFT;
        NonNull::new(ptr::with_exposed_provenance_mut(address as usize))
    }
}

#[inline]
fn pack(waiter: Waiter) -> u64 {
    let address = waiter.as_ptr().expose_provenance() as u64;
    debug_assert_eq!(
        address & !(WAITER << WAITER_SHIFT),
        0,
        "waiter {address:#x} does not fit"
    );
    address >> WAITER_SHIFT
}

/// What [`Word::clear`] did.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Clear {
    /// The word is not ready any more; this is its value.
    Cleared(Snapshot),
    /// Something came since: look again.
    Changed,
}

/// What [`Word::announce`] did.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Announce {
    /// The word holds the waiter and its reference: park, then look whether it still does.
    Waiting,
    /// Something came since: the reference is the caller's as before; look again.
    Changed,
}

/// What [`Word::retract`] did.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Retract {
    /// The waiter was there: its reference is the caller's again.
    Retracted,
    /// Somebody took the waiter, with its reference, and wakes it or has done so.
    Taken,
}

/// What [`Word::enter_lobby`] did.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum EnterLobby {
    /// Whoever stands in the word will see LOBBY.
    Entered,
    /// Something came since: look again.
    Changed,
}

/// The readiness of one direction.
pub(crate) struct Word(AtomicU64);

impl Word {
    pub(crate) fn new() -> Word {
        Word(AtomicU64::new(CLOSED))
    }

    /// Acquire: pairs with the release of a new life (G2) and of `interrupt` (G3).
    #[inline]
    pub(crate) fn load(&self) -> Snapshot {
        Snapshot(self.0.load(Ordering::Acquire))
    }

    /// After `EAGAIN`, or a short transfer: not ready, provided that nothing came since `seen` was loaded.
    #[inline]
    pub(crate) fn clear(&self, seen: Snapshot) -> Clear {
        match self.exchange(seen.0, seen.0 & !READY) {
            true => Clear::Cleared(Snapshot(seen.0 & !READY)),
            false => Clear::Changed,
        }
    }

    /// Puts `me` into the word, provided that nothing came since `seen`, a value of an IDLE word, was loaded.
    #[inline]
    pub(crate) fn announce(&self, seen: Snapshot, me: Waiter) -> Announce {
        debug_assert_eq!(
            seen.0 & (READY | CLOSED | WAITER),
            0,
            "announced on {seen:x?}"
        );
        match self.exchange(seen.0, seen.0 | pack(me)) {
            true => Announce::Waiting,
            false => Announce::Changed,
        }
    }

    /// Whether `me`, which has announced itself here, has not been taken yet.
    #[inline]
    pub(crate) fn holds(&self, me: Waiter) -> bool {
        self.load().0 & WAITER == pack(me)
    }

    /// Takes `me` out of the word, if it still stands there.
    pub(crate) fn retract(&self, me: Waiter) -> Retract {
        let me = pack(me);
        match self.update(|old| (old & WAITER == me).then_some(old & !WAITER)) {
            Some(_) => Retract::Retracted,
            None => Retract::Taken,
        }
    }

    /// An event: READY, and out with the waiter, who must be woken.
    #[inline]
    #[must_use]
    pub(crate) fn deliver(&self, signal: Signal) -> Option<Waiter> {
        self.take(|old| old | signal.0)
    }

    /// Out with the waiter, who must be woken to look at its deadline again; whoever is about to announce itself
    /// fails.
    #[must_use]
    pub(crate) fn interrupt(&self) -> Option<Waiter> {
        self.take(|old| old)
    }

    /// The slot is not the descriptor's any more: out with the waiter, who must be woken to look for the new one.
    #[must_use]
    pub(crate) fn close(&self) -> Option<Waiter> {
        self.take(|old| (old & !READY) | CLOSED)
    }

    /// Under the lobby's lock: tells the waiter in `seen` that someone is in the lobby, provided that nothing came
    /// since.
    pub(crate) fn enter_lobby(&self, seen: Snapshot) -> EnterLobby {
        debug_assert_ne!(seen.0 & WAITER, 0, "entered the lobby of {seen:x?}");
        match self.exchange(seen.0, seen.0 | LOBBY) {
            true => EnterLobby::Entered,
            false => EnterLobby::Changed,
        }
    }

    /// Under the lobby's lock: nobody is there. If something came since `seen` the flag stays, and costs the next
    /// caller that leaves a look.
    pub(crate) fn empty_lobby(&self, seen: Snapshot) {
        self.exchange(seen.0, seen.0 & !LOBBY);
    }

    /// A new life. Nobody but the driver that owns the slot may call this, on a retired slot.
    fn begin(&self, beginning: Beginning) {
        // The tick goes on from the life before, whose `close` has bumped it: no value of that life comes back.
        let tick = self.load().0 & !(TICK - 1);
        let ready = if beginning.ready { READY } else { 0 };
        let lobby = if beginning.lobby { LOBBY } else { 0 };
        // Release: who sees the new life sees its generation, and the registration's token gone (G2).
        self.0.store(
            tick | ready | lobby | beginning.carried.0,
            Ordering::Release,
        );
    }

    /// One tick more, and out with the waiter; acquire for what it published with its announcement, release for G3.
    #[inline]
    fn take(&self, flags: impl Fn(u64) -> u64) -> Option<Waiter> {
        let taken = self.update(|old| Some(flags(old & !WAITER).wrapping_add(TICK)));
        Snapshot(taken.unwrap_or_default()).waiter()
    }

    /// Applies `change` until it sticks or declines; gives the value before.
    #[inline]
    fn update(&self, change: impl Fn(u64) -> Option<u64>) -> Option<u64> {
        let mut old = self.0.load(Ordering::Relaxed);
        loop {
            let new = change(old)?;
            let done = self
                .0
                .compare_exchange_weak(old, new, Ordering::AcqRel, Ordering::Relaxed);
            match done {
                Ok(_) => return Some(old),
                Err(actual) => old = actual,
            }
        }
    }

    /// One exact exchange. Release: an announcement publishes the waiter, for the acquire in `take`.
    #[inline]
    fn exchange(&self, seen: u64, new: u64) -> bool {
        self.0
            .compare_exchange(seen, new, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }
}

/// The readiness of one registered descriptor: half a cache line, for its neighbours are mostly the same worker's.
#[repr(align(32))]
pub(crate) struct Slot {
    pub(crate) read: Word,
    pub(crate) write: Word,
    generation: AtomicU32,
    /// The driver that the slot belongs to.
    driver: AtomicU32,
    /// How many waits in a row were on workers of other drivers.
    foreign_waits: AtomicU32,
}

impl Slot {
    pub(crate) fn new() -> Slot {
        Slot {
            read: Word::new(),
            write: Word::new(),
            generation: AtomicU32::new(0),
            driver: AtomicU32::new(0),
            foreign_waits: AtomicU32::new(0),
        }
    }

    /// To be compared after a word was loaded (G2). Acquire: a later life's comes with the news that the
    /// registration's token is gone.
    #[inline]
    pub(crate) fn generation(&self) -> u32 {
        self.generation.load(Ordering::Acquire)
    }

    /// Begins a new life on `driver`, which owns this retired slot, and gives its generation.
    pub(crate) fn begin(&self, driver: u32, read: Beginning, write: Beginning) -> u32 {
        let generation = self.generation().wrapping_add(1);
        // Before the words, whose release carries it. Release of its own: pairs with the acquire in `generation`.
        self.generation.store(generation, Ordering::Release);
        self.driver.store(driver, Ordering::Relaxed);
        self.foreign_waits.store(0, Ordering::Relaxed);
        self.read.begin(read);
        self.write.begin(write);
        generation
    }

    /// Notes a wait on `driver`'s worker; gives how many in a row there were on workers of other drivers. The count
    /// is a hint: lost updates do no harm.
    #[inline]
    pub(crate) fn note_wait(&self, driver: u32) -> u32 {
        if self.driver.load(Ordering::Relaxed) == driver {
            if self.foreign_waits.load(Ordering::Relaxed) != 0 {
                self.foreign_waits.store(0, Ordering::Relaxed);
            }
            return 0;
        }
        let waits = self.foreign_waits.load(Ordering::Relaxed) + 1;
        self.foreign_waits.store(waits, Ordering::Relaxed);
        waits
    }
}
