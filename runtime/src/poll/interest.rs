//! Where a descriptor is registered: its slot, and the move to another worker's driver.

use std::io;
use std::os::fd::RawFd;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::driver::{self, Driver};
use super::limits::Limits;
use super::lobby::Lobby;
use super::registration::Direction;
use super::slab::{SlotSet, Token};
use super::slot::{Beginning, Carried, Signal, Slot, Snapshot, Waiter, Word};
use crate::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::context;
use crate::task::park::Unparker;

/// After how many waits in a row on workers of other drivers a registration moves to the caller's.
const FOREIGN_WAITS_MAX: u32 = 8;

/// The registration of one descriptor, or none yet.
pub(super) struct Interest {
    /// The number of a descriptor that the owner of this keeps open, and drops later than this.
    fd: RawFd,
    /// The bits of the current slot's [`Token`].
    token: AtomicU64,
    /// Locked while `token` changes.
    place: Mutex<Place>,
    lanes: [Lane; 2],
}

/// Where the current slot belongs.
struct Place {
    driver: Weak<Driver>,
    /// `None` while there is no slot.
    slots: Option<Arc<SlotSet>>,
    /// Whether there has been a slot before, and so perhaps guests in the lobbies.
    moved: bool,
    carried: [Carried; 2],
}

/// What one direction has whatever its slot: the limits of a wait, and who waits beside the word.
#[derive(Default)]
pub(super) struct Lane {
    limits: Limits,
    /// How often [`Interest::make_ready`] was called. Written under the place's lock, and before the queue's is taken.
    wakes: AtomicU32,
    queue: Mutex<Option<Box<Queue>>>,
}

/// Allocated at the first use: most sockets never need it.
#[derive(Default)]
pub(super) struct Queue {
    pub(super) lobby: Lobby<Unparker>,
    /// Plain threads in poll(2), to be woken when the limits change, and by [`Interest::make_ready`].
    pub(super) threads: Lobby<Unparker>,
}

/// A word of the current slot, and the value that it had after it was the current slot's (`README.md`, G2).
#[derive(Clone, Copy)]
pub(super) struct View {
    pub(super) token: Token,
    pub(super) slot: &'static Slot,
    pub(super) word: &'static Word,
    pub(super) seen: Snapshot,
}

impl Interest {
    pub(super) fn new(fd: RawFd) -> Interest {
        Interest {
            fd,
            token: AtomicU64::new(Token::NONE.bits()),
            place: Mutex::new(Place {
                driver: Weak::new(),
                slots: None,
                moved: false,
                carried: [Carried::NONE; 2],
            }),
            lanes: Default::default(),
        }
    }

    #[inline]
    pub(super) fn lane(&self, direction: Direction) -> &Lane {
        &self.lanes[direction as usize]
    }

    /// The word of `direction`; none before the first registration, and while it is being moved.
    #[inline]
    pub(super) fn view(&self, direction: Direction) -> Option<View> {
        loop {
            // Acquire: the slot has begun the life that the token names.
            let token = Token::from_bits(self.token.load(Ordering::Acquire));
            if token == Token::NONE {
                return None;
            }
            let slot = token.slot();
            let word = word_of(slot, direction);
            let seen = word.load();
            // After the load. A word of a later life comes with a later generation, and with the news that this
            // token is gone: so this loop ends.
            if slot.generation() == token.generation() {
                return Some(View {
                    token,
                    slot,
                    word,
                    seen,
                });
            }
        }
    }

    /// Registers the descriptor with the caller's driver, for a caller that waits for `direction`, and for whom
    /// `stale` is the token that is no longer good. Nothing happens if it was replaced meanwhile.
    ///
    /// # Errors
    /// Those of `Driver::add`.
    #[cold]
    pub(super) fn register(&self, direction: Direction, stale: Token) -> io::Result<()> {
        let driver = context::with_driver(|driver| driver.map(Arc::clone)).ok_or_else(|| {
            io::Error::other("no netpoller on this thread: expected a coroutine's worker")
        })?;
        let mut place = self.place.lock();
        if self.token.load(Ordering::Relaxed) != stale.bits() {
            return Ok(());
        }
        self.leave(&mut place);
        let begin = |of: Direction| Beginning {
            // The direction that waits has seen EAGAIN, and ADD reports what has come since. The other may try. What
            // `make_ready` told has no event, so ADD does not tell it again: the caller may have tried before.
            ready: of != direction || self.lane(of).wakes() > 0,
            lobby: place.moved,
            carried: place.carried[of as usize],
        };
        let token = driver.add(self.fd, begin(Direction::Read), begin(Direction::Write))?;
        place.driver = Arc::downgrade(&driver);
        place.slots = Some(Arc::clone(driver.slots()));
        place.moved = true;
        // Release: pairs with the acquire in `view`.
        self.token.store(token.bits(), Ordering::Release);
        Ok(())
    }

    /// Gives the slot up, if there is one. Its waiters are woken and look for the next one.
    fn leave(&self, place: &mut Place) {
        let Some(slots) = place.slots.take() else {
            return;
        };
        let token = Token::from_bits(self.token.load(Ordering::Relaxed));
        // Before the slot is retired: whoever meets its next life knows that this one is over (README, G2).
        self.token.store(Token::NONE.bits(), Ordering::Release);
        for direction in [Direction::Read, Direction::Write] {
            let word = word_of(token.slot(), direction);
            word.close().into_iter().for_each(driver::wake);
            place.carried[direction as usize] = word.load().carried();
        }
        // Without its driver the epoll instance is gone, and nothing to be deleted from.
        if let Some(driver) = place.driver.upgrade() {
            driver.delete(self.fd);
        }
        slots.retire(token);
    }

    /// Notes that the caller is about to wait here, and moves the registration to the caller's driver if such waits
    /// were too often on other workers than the one that polls. True if it was moved: look again.
    ///
    /// # Errors
    /// Those of `Driver::add`.
    #[inline]
    pub(super) fn settle(&self, direction: Direction, view: View) -> io::Result<bool> {
        let here = context::with_driver(|driver| driver.map_or(0, |driver| driver.id()));
        if view.slot.note_wait(here) < FOREIGN_WAITS_MAX {
            return Ok(false);
        }
        self.register(direction, view.token)?;
        Ok(true)
    }

    /// Changes a limit, and wakes those who wait in that direction to look at it. `change` says whether it did.
    pub(super) fn change_limits(&self, direction: Direction, change: impl FnOnce(&Limits) -> bool) {
        self.change(direction, |lane| change(&lane.limits), Word::interrupt);
    }

    /// As an event would: whoever waits in `direction` tries again.
    pub(super) fn make_ready(&self, direction: Direction) {
        let count = |lane: &Lane| {
            lane.wakes.fetch_add(1, Ordering::Relaxed);
            true
        };
        self.change(direction, count, |word| word.deliver(Signal::READY));
    }

    /// How many wait in `direction`, in the word and beside it.
    #[cfg(test)]
    pub(super) fn waiting(&self, direction: Direction) -> usize {
        let view = self.view(direction);
        let in_word = view.is_some_and(|view| view.seen.has_waiter());
        let count = |queue: &mut Queue| {
            let beside = queue.lobby.handles().chain(queue.threads.handles());
            beside.count()
        };
        usize::from(in_word) + self.lane(direction).with_queue(count)
    }

    fn change(
        &self,
        direction: Direction,
        change: impl FnOnce(&Lane) -> bool,
        tell: impl FnOnce(&Word) -> Option<Waiter>,
    ) {
        let lane = self.lane(direction);
        // One change at a time.
        let place = self.place.lock();
        if !change(lane) {
            return;
        }
        // Under the lock a slot stays the current one. A caller that registers later sees the limits by this lock.
        if place.slots.is_some() {
            let token = Token::from_bits(self.token.load(Ordering::Relaxed));
            tell(word_of(token.slot(), direction))
                .into_iter()
                .for_each(driver::wake);
        }
        drop(place);
        lane.wake_queue();
    }
}

impl Drop for Interest {
    fn drop(&mut self) {
        self.leave(&mut self.place.lock());
    }
}

impl Lane {
    #[inline]
    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// For a caller that tries again if it has changed. Relaxed: one who looks under a lock that `make_ready` took later sees it.
    pub(super) fn wakes(&self) -> u32 {
        self.wakes.load(Ordering::Relaxed)
    }

    pub(super) fn with_queue<R>(&self, f: impl FnOnce(&mut Queue) -> R) -> R {
        f(self.queue.lock().get_or_insert_default())
    }

    /// Wakes all who wait beside the word, without taking them out.
    fn wake_queue(&self) {
        if let Some(queue) = &*self.queue.lock() {
            queue
                .lobby
                .handles()
                .chain(queue.threads.handles())
                .for_each(Unparker::unpark);
        }
    }
}

fn word_of(slot: &'static Slot, direction: Direction) -> &'static Word {
    match direction {
        Direction::Read => &slot.read,
        Direction::Write => &slot.write,
    }
}
