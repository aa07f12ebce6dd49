//! Who runs an initialiser, who waits for that, and how it has ended; without what is initialised.
//!
//! ```text
//!  INCOMPLETE ──begin──▶ RUNNING ──▶ COMPLETE
//!       ▲                 │  │
//!       └──── unwound ────┘  └─────▶ POISONED ──begin, by force──▶ RUNNING
//! ```
//!
//! The progress changes under the queues' lock only. COMPLETE is said a second time by a flag that the fast path looks at.
//!
//! The initialiser is a user's: it runs outside the lock, and may park. What it unwinds with is caught and thrown on, so whether that
//! was a panic or an interruption is known for certain, whatever neighbours do (`task/interrupt.rs` can only infer it).
//!
//! # Nobody waits for nobody
//! [`CALLERS`] would run an initialiser of their own. *While the progress is INCOMPLETE and one waits, another one was woken and is
//! on its way.* An end that gives INCOMPLETE wakes the next. That one begins, or finds that somebody else has; and if it unwinds
//! instead, it wakes the next in turn. All other ends wake everybody, to look for themselves. [`WATCHERS`] only wait for the end:
//! they are woken by those.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use core::sync::atomic::{AtomicBool, Ordering};

use crate::context;
use crate::coroutine::unwind;
use crate::sync::waiters::{Access, Enter, Guarded, Left, Place, Waited};
use crate::task::park::Waiting;
use crate::time::Moment;

/// The queue of those who would run an initialiser.
const CALLERS: usize = 0;
/// The queue of those who would not.
const WATCHERS: usize = 1;

pub(super) struct RawOnce {
    complete: AtomicBool,
    progress: Guarded<Progress, (), 2>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    Incomplete,
    /// With the address of whose initialiser it is.
    Running(usize),
    Complete,
    Poisoned,
}

/// It is poisoned, and the caller does not use force.
pub(super) struct Poisoned;

/// What poisons.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Poisoning {
    /// Nothing: the next caller brings an initialiser of its own.
    Never,
    /// A panic. An interruption leaves it as it was before.
    ByPanic,
    /// Whatever unwinds: there is no second initialiser.
    ByAnything,
}

/// What a caller finds.
enum Found {
    Complete,
    Poisoned,
    /// It waits for itself.
    Itself,
    /// The initialiser is its own to run.
    Turn {
        poisoned: bool,
    },
}

impl RawOnce {
    pub(super) const fn new() -> RawOnce {
        RawOnce {
            complete: AtomicBool::new(false),
            progress: Guarded::new(Progress::Incomplete),
        }
    }

    #[inline]
    pub(super) fn is_complete(&self) -> bool {
        // Acquire: what the initialiser did.
        self.complete.load(Ordering::Acquire)
    }

    /// By its only owner, who has initialised, or failed to, without anybody's help.
    pub(super) fn end_exclusively(&mut self, complete: bool) {
        *self.complete.get_mut() = complete;
        *self.progress.get_mut() = if complete {
            Progress::Complete
        } else {
            Progress::Poisoned
        };
    }

    /// Runs `f`, which is told whether it was poisoned, unless that has been done; waits while another caller does.
    ///
    /// # Errors
    /// If it is poisoned and `force` is not set.
    #[cold]
    #[inline(never)]
    #[track_caller]
    pub(super) fn call(
        &self,
        force: bool,
        poisoning: Poisoning,
        f: &mut dyn FnMut(bool),
    ) -> Result<(), Poisoned> {
        // Before anything is taken: it may let others run, and unwind. Once in a while only, so there is no tally.
        context::consume_budget();
        let caller = Waiting::new().address();
        let poisoned = match self.begin(caller, force) {
            Found::Complete => return Ok(()),
            Found::Poisoned => return Err(Poisoned),
            Found::Itself => waits_for_itself(),
            Found::Turn { poisoned } => poisoned,
        };
        let before = match poisoned {
            true => Progress::Poisoned,
            false => Progress::Incomplete,
        };
        match catch_unwind(AssertUnwindSafe(|| f(poisoned))) {
            Ok(()) => {
                self.end(Progress::Complete);
                Ok(())
            }
            Err(payload) => {
                let poisons = poisoning.is_by(&*payload);
                self.end(if poisons { Progress::Poisoned } else { before });
                resume_unwind(payload)
            }
        }
    }

    fn begin(&self, caller: usize, force: bool) -> Found {
        loop {
            let waited = self.progress.wait(
                Moment::NEVER,
                |access| {
                    let before = *access.state;
                    match before {
                        Progress::Complete => Enter::Done(Found::Complete),
                        Progress::Poisoned if !force => Enter::Done(Found::Poisoned),
                        Progress::Running(by) if by == caller => Enter::Done(Found::Itself),
                        Progress::Running(_) => queue_in(CALLERS),
                        Progress::Incomplete | Progress::Poisoned => {
                            *access.state = Progress::Running(caller);
                            let poisoned = before == Progress::Poisoned;
                            Enter::Done(Found::Turn { poisoned })
                        }
                    }
                },
                |access, (), left| {
                    if left == Left::Woken && *access.state == Progress::Incomplete {
                        access.wake_next(CALLERS, |()| {});
                    }
                },
            );
            if let Waited::Done(found) = waited {
                return found;
            }
        }
    }

    /// The initialiser has ended.
    fn end(&self, progress: Progress) {
        self.progress.with(|access| {
            *access.state = progress;
            if progress == Progress::Complete {
                // Release: what the initialiser did.
                self.complete.store(true, Ordering::Release);
            }
            if progress == Progress::Incomplete {
                access.wake_next(CALLERS, |()| {});
            } else {
                wake_everybody(access);
            }
        });
    }

    /// Waits until it is complete.
    ///
    /// # Errors
    /// If it is poisoned and `force` is not set.
    #[cold]
    #[track_caller]
    pub(super) fn wait(&self, force: bool) -> Result<(), Poisoned> {
        context::consume_budget();
        let caller = Waiting::new().address();
        loop {
            let waited = self.progress.wait(
                Moment::NEVER,
                |access| match *access.state {
                    Progress::Complete => Enter::Done(Found::Complete),
                    Progress::Poisoned if !force => Enter::Done(Found::Poisoned),
                    Progress::Running(by) if by == caller => Enter::Done(Found::Itself),
                    _ => queue_in(WATCHERS),
                },
                // All were woken, or none: there is nothing to pass on.
                |_, (), _| {},
            );
            match waited {
                Waited::Done(Found::Complete) => return Ok(()),
                Waited::Done(Found::Poisoned) => return Err(Poisoned),
                Waited::Done(Found::Itself) => waits_for_itself(),
                Waited::Done(Found::Turn { .. }) => unreachable!("it does not ask for one"),
                Waited::Woken(()) | Waited::TimedOut(()) => {}
            }
        }
    }
}

impl Poisoning {
    fn is_by(self, payload: &(dyn Any + Send)) -> bool {
        match self {
            Poisoning::Never => false,
            Poisoning::ByPanic => !unwind::is_interruption(payload),
            Poisoning::ByAnything => true,
        }
    }
}

fn queue_in(queue: usize) -> Enter<Found, ()> {
    Enter::Wait {
        queue,
        place: Place::Back,
        payload: (),
    }
}

fn wake_everybody(access: &mut Access<'_, Progress, (), 2>) {
    access.wake_all(CALLERS, |()| {});
    access.wake_all(WATCHERS, |()| {});
}

#[cold]
#[track_caller]
fn waits_for_itself() -> ! {
    panic!("an initialiser waits for its own end: it must not use what it initialises")
}
