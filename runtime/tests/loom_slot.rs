//! Models of the readiness words (`src/poll/README.md`): tick, announcement against delivery, baton and lobby,
//! interruption, close and new life.
//!
//! They include the files that ship, and put loom's atomics in the place of core's. The doc of each model names the
//! ordering or the recheck without which it fails; that was tried.

use std::ptr::NonNull;

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

mod atomic {
    pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};
}
mod model;

#[allow(dead_code)]
#[path = "../src/poll/lobby.rs"]
mod lobby;
#[allow(dead_code)]
#[path = "../src/poll/slot.rs"]
mod slot;

use lobby::{Lobby, Ticket, Withdraw};
use model::{Gate, with_preemptions};
use slot::{
    Announce, Beginning, Carried, Clear, EnterLobby, Retract, Signal, Slot, Snapshot, Waiter, Word,
};

const CALLERS: usize = 3;
const IDLE: Beginning = Beginning {
    ready: false,
    lobby: false,
    carried: Carried::NONE,
};
const OPTIMISTIC: Beginning = Beginning {
    ready: true,
    ..IDLE
};

/// A parking place with a sticky token, as the runtime has one per coroutine.
struct Parker {
    token: Mutex<bool>,
    condvar: Condvar,
}

impl Parker {
    fn new() -> Parker {
        Parker {
            token: Mutex::new(false),
            condvar: Condvar::new(),
        }
    }

    fn park(&self) {
        let mut token = self.token.lock().unwrap();
        while !*token {
            token = self.condvar.wait(token).unwrap();
        }
        *token = false;
    }

    fn unpark(&self) {
        *self.token.lock().unwrap() = true;
        self.condvar.notify_one();
    }
}

/// A descriptor: what the kernel has, the slot, the lobby of the read direction, and the callers.
struct Socket {
    gate: Gate,
    kernel: Mutex<u32>,
    slot: Slot,
    lobby: Mutex<Lobby<usize>>,
    parkers: Vec<Parker>,
}

impl Socket {
    fn new(read: Beginning) -> Arc<Socket> {
        let slot = Slot::new();
        slot.begin(1, read, IDLE);
        let parkers = (0..CALLERS).map(|_| Parker::new()).collect();
        Arc::new(Socket {
            gate: Gate::new(),
            kernel: Mutex::new(0),
            slot,
            lobby: Mutex::default(),
            parkers,
        })
    }

    /// Asked for anew before each step on it.
    fn word(&self) -> &Word {
        self.gate.pass();
        &self.slot.read
    }

    /// The system call.
    fn try_read(&self) -> bool {
        let mut bytes = self.kernel.lock().unwrap();
        let had = *bytes > 0;
        *bytes -= u32::from(had);
        had
    }

    /// Bytes come in, with one event for all of them.
    fn receive(&self, bytes: u32) {
        *self.kernel.lock().unwrap() += bytes;
        self.wake(self.word().deliver(Signal::READY));
    }

    fn wake(&self, waiter: Option<Waiter>) {
        if let Some(waiter) = waiter {
            self.parkers[caller_of(waiter)].unpark();
        }
    }

    /// Reads one byte, as `poll::visit` does; `patience` is after how many wake-ups it gives up.
    fn read(&self, me: usize, patience: u32) -> bool {
        let mut visit = Visit {
            socket: self,
            me,
            patience,
            ticket: None,
            responsible: false,
            expired: false,
        };
        let got = visit.run();
        visit.leave();
        got
    }
}

fn waiter(caller: usize) -> Waiter {
    NonNull::new(std::ptr::without_provenance_mut((caller + 1) * 16)).unwrap()
}

fn caller_of(waiter: Waiter) -> usize {
    waiter.as_ptr().addr() / 16 - 1
}

/// The steps of `poll::visit`, with patience in the place of the clock.
struct Visit<'a> {
    socket: &'a Socket,
    me: usize,
    patience: u32,
    ticket: Option<Ticket>,
    responsible: bool,
    expired: bool,
}

impl Visit<'_> {
    fn run(&mut self) -> bool {
        loop {
            let mut seen = self.socket.word().load();
            if seen.is_ready() || self.expired {
                if self.socket.try_read() {
                    return true;
                }
                if self.expired {
                    return false;
                }
                match self.socket.word().clear(seen) {
                    Clear::Cleared(cleared) => seen = cleared,
                    Clear::Changed => continue,
                }
            }
            if seen.has_waiter() {
                self.wait_in_lobby(seen);
            } else {
                self.wait_in_word(seen);
            }
        }
    }

    fn wait_in_word(&mut self, seen: Snapshot) {
        let me = waiter(self.me);
        if self.socket.word().announce(seen, me) == Announce::Changed {
            return;
        }
        self.responsible = true;
        if self.lose_patience() {
            let (Retract::Retracted | Retract::Taken) = self.socket.word().retract(me);
            return;
        }
        while self.socket.word().holds(me) {
            self.socket.parkers[self.me].park();
        }
    }

    fn wait_in_lobby(&mut self, seen: Snapshot) {
        let mut lobby = self.socket.lobby.lock().unwrap();
        let ticket = *self.ticket.get_or_insert_with(|| lobby.ticket());
        if lobby.enter(self.socket.word(), seen, ticket, || self.me) == EnterLobby::Changed {
            return;
        }
        drop(lobby);
        self.responsible = false;
        if self.lose_patience() {
            let left = self.socket.lobby.lock().unwrap().withdraw(ticket);
            self.responsible = matches!(left, Withdraw::Called);
            return;
        }
        while self.socket.lobby.lock().unwrap().holds(ticket) {
            self.socket.parkers[self.me].park();
        }
        self.responsible = true;
    }

    fn lose_patience(&mut self) -> bool {
        self.expired = self.patience == 0;
        self.patience = self.patience.saturating_sub(1);
        self.expired
    }

    fn leave(&self) {
        let seen = self.socket.word().load();
        if !self.responsible || !seen.has_lobby() || seen.has_waiter() {
            return;
        }
        let called = self
            .socket
            .lobby
            .lock()
            .unwrap()
            .call(Some((self.socket.word(), seen)));
        if let Some(next) = called {
            self.socket.parkers[next].unpark();
        }
    }
}

const PATIENT: u32 = 100;

/// The word is READY, but there is nothing to read: the reader's `clear` must not wipe out the event that comes
/// between its system call and its `clear`.
///
/// Fails (the reader parks for ever) without the tick's increment in `Word::take`.
#[test]
fn an_event_between_system_call_and_clear_is_kept() {
    loom::model(|| {
        let socket = Socket::new(OPTIMISTIC);
        let reader = {
            let socket = Arc::clone(&socket);
            thread::spawn(move || assert!(socket.read(0, PATIENT)))
        };
        socket.receive(1);
        reader.join().unwrap();
    });
}

/// Two events, and a reader that needs a byte of each: neither is lost before or after an announcement, nor
/// between two of them.
///
/// Fails if `Word::announce` overwrites whatever came instead of the exact exchange.
#[test]
fn an_event_around_the_announcement_is_kept() {
    with_preemptions(2, || {
        let socket = Socket::new(IDLE);
        let reader = {
            let socket = Arc::clone(&socket);
            thread::spawn(move || {
                assert!(socket.read(0, PATIENT));
                assert!(socket.read(0, PATIENT));
            })
        };
        socket.receive(1);
        socket.receive(1);
        reader.join().unwrap();
    });
}

/// What a waiter did before it announced itself is seen by whoever takes it out.
///
/// Fails (loom: causality violation) with a relaxed exchange in `Word::announce`, or in `Word::update`.
#[test]
fn the_announcement_publishes_the_waiter() {
    loom::model(|| {
        let record = Arc::new(UnsafeCell::new(0));
        let slot = Arc::new(Slot::new());
        slot.begin(1, IDLE, IDLE);
        let parking = {
            let (slot, record) = (Arc::clone(&slot), Arc::clone(&record));
            thread::spawn(move || {
                let seen = slot.read.load();
                // SAFETY: before the announcement the record is this thread's alone.
                record.with_mut(|record| unsafe { *record = 7 });
                if !seen.is_ready() {
                    let _ = slot.read.announce(seen, waiter(0));
                }
            })
        };
        if slot.read.deliver(Signal::READY).is_some() {
            // SAFETY: the waiter was taken out of the word: the record is this thread's.
            record.with(|record| assert_eq!(unsafe { *record }, 7));
        }
        parking.join().unwrap();
    });
}

/// Two readers, two bytes, one event: the reader that the event wakes calls the other.
///
/// Fails (deadlock) if a caller that leaves does not call the next (`Visit::leave`), or if `Word::enter_lobby` does
/// not insist on the value that it has seen (a guest comes in when the waiter has gone).
#[test]
fn the_baton_goes_from_reader_to_reader() {
    with_preemptions(2, || {
        let socket = Socket::new(IDLE);
        let readers: Vec<_> = (0..2)
            .map(|me| {
                let socket = Arc::clone(&socket);
                thread::spawn(move || assert!(socket.read(me, PATIENT)))
            })
            .collect();
        socket.receive(2);
        readers
            .into_iter()
            .for_each(|reader| reader.join().unwrap());
    });
}

/// A reader that gives up while an event takes it out of the word passes the baton on.
///
/// Fails (deadlock) if a caller that has retracted, or has found itself taken, is not responsible.
#[test]
fn a_reader_that_gives_up_passes_the_baton() {
    with_preemptions(2, || {
        let socket = Socket::new(IDLE);
        let patient = {
            let socket = Arc::clone(&socket);
            thread::spawn(move || assert!(socket.read(0, PATIENT)))
        };
        let impatient = {
            let socket = Arc::clone(&socket);
            thread::spawn(move || {
                // What it got it puts back, event included, so that there is always a byte for the other.
                if socket.read(1, 0) {
                    socket.receive(1);
                }
            })
        };
        socket.receive(1);
        patient.join().unwrap();
        impatient.join().unwrap();
    });
}

/// Three readers, three bytes, one event: a guest that was called calls the next.
///
/// Fails (deadlock) if a guest that was called is not responsible, or if `Lobby::call` drops LOBBY while guests are
/// left.
#[test]
fn the_baton_goes_through_the_lobby() {
    with_preemptions(1, || {
        let socket = Socket::new(IDLE);
        let spawn = |f: fn(&Socket, usize), me: usize| {
            let socket = Arc::clone(&socket);
            thread::spawn(move || f(&socket, me))
        };
        let reads: fn(&Socket, usize) = |socket, me| assert!(socket.read(me, PATIENT));
        // The event is the last thread's: without a preemption it finds one reader in the word and two in the lobby.
        let threads = [
            spawn(reads, 0),
            spawn(reads, 1),
            spawn(reads, 2),
            spawn(|socket, _| socket.receive(3), 0),
        ];
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
    });
}

/// A guest that gives up when it has just been called, and another behind it.
///
/// Fails (deadlock) if a guest whose `withdraw` says `Called` is not responsible.
#[test]
fn a_guest_that_gives_up_when_called_passes_the_baton() {
    with_preemptions(2, || {
        let socket = Socket::new(IDLE);
        let spawn = |me: usize, patience: u32| {
            let socket = Arc::clone(&socket);
            thread::spawn(move || socket.read(me, patience))
        };
        let readers = [spawn(0, PATIENT), spawn(1, 0), spawn(2, PATIENT)];
        socket.receive(3);
        let got = readers.map(|reader| reader.join().unwrap());
        assert!(got[0] && got[2]);
        assert_eq!(*socket.kernel.lock().unwrap(), u32::from(!got[1]));
    });
}

/// A timeout that is changed while a caller is about to wait: either the caller sees the new one, or it is woken.
///
/// Fails (the caller parks for ever) without the tick's increment in `Word::take`, or with a relaxed `Word::load`.
#[test]
fn a_changed_timeout_reaches_whoever_is_about_to_wait() {
    loom::model(|| {
        let socket = Socket::new(IDLE);
        let timeout = Arc::new(AtomicU64::new(0));
        let caller = {
            let (socket, timeout) = (Arc::clone(&socket), Arc::clone(&timeout));
            thread::spawn(move || {
                loop {
                    let seen = socket.word().load();
                    if timeout.load(Ordering::Relaxed) != 0 {
                        return;
                    }
                    if socket.word().announce(seen, waiter(0)) == Announce::Waiting {
                        while socket.word().holds(waiter(0)) {
                            socket.parkers[0].park();
                        }
                    }
                }
            })
        };
        timeout.store(1, Ordering::Relaxed);
        socket.wake(socket.word().interrupt());
        caller.join().unwrap();
    });
}

/// The slot passes to another descriptor while a caller of the old one is about to wait: the caller is woken by
/// `close`, or sees it, or sees that its token is gone. It never stands in the word of the new life.
///
/// Fails without the tick of `Word::take`, if `Word::begin` starts a new one, without the comparison of generations,
/// with a relaxed load in `Slot::generation`, and if the token is not withdrawn before the slot is retired.
#[test]
fn a_stale_caller_never_stands_in_the_next_life() {
    const NONE: u32 = u32::MAX;
    loom::model(|| {
        let socket = Socket::new(IDLE);
        // The generation of the slot's life that is this registration's.
        let token = Arc::new(AtomicU32::new(socket.slot.generation()));
        let caller = {
            let (socket, token) = (Arc::clone(&socket), Arc::clone(&token));
            thread::spawn(move || {
                loop {
                    let generation = token.load(Ordering::Acquire);
                    if generation == NONE {
                        return;
                    }
                    let seen = socket.word().load();
                    if socket.slot.generation() != generation {
                        // The token is gone by now: the release of the new life says so.
                        assert_eq!(token.load(Ordering::Acquire), NONE);
                        return;
                    }
                    if seen.is_closed() {
                        return;
                    }
                    if socket.word().announce(seen, waiter(0)) == Announce::Waiting {
                        while socket.word().holds(waiter(0)) {
                            socket.parkers[0].park();
                        }
                    }
                }
            })
        };
        token.store(NONE, Ordering::Release);
        socket.wake(socket.word().close());
        // Retired, recycled by the driver, and taken for another descriptor.
        socket.slot.begin(1, IDLE, IDLE);
        caller.join().unwrap();
        assert!(
            !socket.word().load().has_waiter(),
            "a stranger stands in the new life"
        );
    });
}
