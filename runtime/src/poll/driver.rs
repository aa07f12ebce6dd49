//! A worker's epoll instance, and what turns its events into unparks.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Poll, Waker};
use parking_lot::Mutex;

use super::slab::{SlotSet, Token};
use super::slot::{Beginning, Signal, Waiter};
use super::wait::Batch;
use crate::atomic::{AtomicBool, AtomicU32, Ordering};
use crate::task::park::Unparker;

/// How many events one turn handles at most; what is left comes with the next.
const EVENTS_MAX: usize = 1024;

const READABLE: u32 =
    (libc::EPOLLIN | libc::EPOLLPRI | libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) as u32;
const WRITABLE: u32 = (libc::EPOLLOUT | libc::EPOLLHUP | libc::EPOLLERR) as u32;
const READ_HUNG_UP: u32 = (libc::EPOLLRDHUP | libc::EPOLLHUP) as u32;
const WRITE_HUNG_UP: u32 = libc::EPOLLHUP as u32;
const URGENT: u32 = libc::EPOLLPRI as u32;

/// The netpoller of one worker.
///
/// Only that worker calls [`turn`](Driver::turn), and the watchdog [`turn_for_owner`](Driver::turn_for_owner); any thread may
/// call the rest. Sockets outlive it without harm.
pub(crate) struct Driver {
    id: u32,
    poll: Poll,
    waker: Waker,
    slots: Arc<SlotSet>,
    /// Whether a descriptor was ever added: until then a worker that has work need not look for events.
    used: AtomicBool,
    /// Locked from before a batch of events is fetched until it is dispatched. Only the watchdog ever contends.
    batch: Mutex<Batch>,
}

impl Driver {
    /// # Errors
    /// If the process or the system is out of descriptors, or the kernel out of memory.
    pub(crate) fn new() -> io::Result<Arc<Driver>> {
        // Ids only tell drivers apart; 0 is no driver's. Should 2^32 drivers wrap them, a socket is re-homed late.
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), mio_token(Token::NONE))?;
        let batch = Mutex::new(Batch::with_capacity(EVENTS_MAX));
        Ok(Arc::new(Driver {
            id,
            poll,
            waker,
            slots: Arc::new(SlotSet::new(id)),
            used: AtomicBool::new(false),
            batch,
        }))
    }

    #[inline]
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// Whether events can come.
    #[inline]
    pub(crate) fn has_sources(&self) -> bool {
        self.used.load(Ordering::Relaxed)
    }

    pub(super) fn slots(&self) -> &Arc<SlotSet> {
        &self.slots
    }

    /// Waits until there is an event, a [`wake`](Driver::wake), a signal, or `timeout` has passed (zero: just looks),
    /// and unparks whom the events concern. Gives the number of events of sockets; so 0 after a mere `wake`.
    ///
    /// # Errors
    /// Those of epoll_wait(2) but EINTR: none that can happen with a live epoll instance.
    pub(crate) fn turn(&self, timeout: Option<Duration>) -> io::Result<usize> {
        let mut batch = self.batch.lock();
        // Under the batch lock, before the wait: every batch fetched so far is dispatched (README, G1).
        self.slots.recycle();
        batch.fetch(self.as_fd(), timeout)?;
        Ok(batch
            .events()
            .filter(|&(token, events)| dispatch(token, events))
            .count())
    }

    /// A [`turn`](Driver::turn) that does not wait, by another thread than the driver's worker, which is held by a coroutine.
    /// If the worker is back and has its own turn, this does nothing.
    ///
    /// # Errors
    /// As [`turn`](Driver::turn).
    pub(crate) fn turn_for_owner(&self) -> io::Result<()> {
        let Some(mut batch) = self.batch.try_lock() else {
            return Ok(());
        };
        self.slots.recycle();
        batch.fetch(self.as_fd(), Some(Duration::ZERO))?;
        let mut rung = false;
        for (token, events) in batch.events() {
            rung |= Token::from_bits(token) == Token::NONE;
            dispatch(token, events);
        }
        if rung {
            // It was for the worker, which may be about to wait for it (README, "Two callers of a turn").
            self.wake();
        }
        Ok(())
    }

    /// Ends the current [`turn`](Driver::turn), or else the next one, at once.
    pub(crate) fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            // An eventfd takes a write at any time; a worker that cannot be woken would hang silently.
            log::error!(target: "withy::poll", "a worker could not be woken: {error}");
        }
    }

    /// For shutdown: whoever waits on this driver is woken, and registers elsewhere; whoever comes later gets an
    /// error.
    pub(crate) fn close_all(&self) {
        self.slots.close_all(wake);
    }

    /// Adds a descriptor, for both directions and for priority data, edge-triggered.
    ///
    /// # Errors
    /// After [`close_all`](Driver::close_all); if the kernel is out of memory, the user out of watches (ENOSPC), or
    /// the descriptor is of a kind that is always ready (EPERM).
    pub(super) fn add(&self, fd: RawFd, read: Beginning, write: Beginning) -> io::Result<Token> {
        let token = self.slots.acquire(read, write)?;
        self.used.store(true, Ordering::Relaxed);
        let both = Interest::READABLE | Interest::WRITABLE | Interest::PRIORITY;
        match self
            .poll
            .registry()
            .register(&mut SourceFd(&fd), mio_token(token), both)
        {
            Ok(()) => Ok(token),
            Err(error) => {
                self.slots.retire(token);
                Err(error)
            }
        }
    }

    /// Deletes a descriptor that was added. Its slot is to be retired afterwards.
    pub(super) fn delete(&self, fd: RawFd) {
        if let Err(error) = self.poll.registry().deregister(&mut SourceFd(&fd)) {
            // Somebody has closed a descriptor that is not theirs.
            log::warn!(target: "withy::poll", "descriptor {fd} could not be deregistered: {error}");
        }
    }
}

impl AsFd for Driver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the epoll instance stays open as long as `poll`, which `self` owns.
        unsafe { BorrowedFd::borrow_raw(self.poll.as_raw_fd()) }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.close_all();
    }
}

/// mio hands the token to the kernel and back as it is; we read it from the kernel's own structure.
fn mio_token(token: Token) -> mio::Token {
    mio::Token(token.bits() as usize)
}

/// Hands one event to its slot; false if it was the waker's, or one of a life that is over.
#[inline]
fn dispatch(token: u64, events: u32) -> bool {
    let token = Token::from_bits(token);
    if token == Token::NONE {
        return false;
    }
    let slot = token.slot();
    if slot.generation() != token.generation() {
        return false;
    }
    if events & READABLE != 0 {
        let signal = Signal::READY
            .hung_up(events & READ_HUNG_UP != 0)
            .urgent(events & URGENT != 0);
        slot.read.deliver(signal).into_iter().for_each(wake);
    }
    if events & WRITABLE != 0 {
        let signal = Signal::READY.hung_up(events & WRITE_HUNG_UP != 0);
        slot.write.deliver(signal).into_iter().for_each(wake);
    }
    true
}

/// Wakes a waiter that was taken out of a word.
#[inline]
pub(super) fn wake(waiter: Waiter) {
    // SAFETY: a word owns the reference of the waiter that stands in it, and each of its transitions that takes the
    // waiter out takes it once.
    let waiter = unsafe { Unparker::from_raw(waiter) };
    waiter.unpark();
}
