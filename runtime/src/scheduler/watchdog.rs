//! The watchdog: a thread that reports a coroutine that holds its worker, and serves what it can of that worker.
//!
//! It looks at what each worker shows ([`Watched`](super::watched::Watched)) about twice in the time that a coroutine
//! may hold one. When all workers have slept for a while it sleeps, too, until one of them wakes it.

use std::io;
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use super::idle::SleepFlag;
use super::inspect::{self, Crowd};
use super::thread_state::ThreadState;
use super::watched::Seen;
use super::{Remote, Shared};
use crate::atomic::Ordering;

pub(crate) const LIMIT_DEFAULT: Duration = Duration::from_millis(100);
/// When a hold is reported again; from there on after twice the time.
const AGAIN: Duration = Duration::from_secs(1);
/// Between two looks, at least; and between two services of a held worker in full stealing.
const LOOK_MIN: Duration = Duration::from_millis(1);
/// Looks at sleeping workers before the watchdog sleeps, too: it should not do so between any two requests.
const QUIET_LOOKS: u32 = 10;

/// What the workers know of their watchdog.
pub(crate) struct Watch {
    asleep: SleepFlag,
    /// Set by the watchdog before it sleeps for the first time, and by its starter before any worker can end.
    pub(crate) thread: OnceLock<Thread>,
    /// Why there is none.
    pub(crate) failure: OnceLock<io::Error>,
}

impl Watch {
    pub(crate) fn new() -> Watch {
        Watch {
            asleep: SleepFlag::new(),
            thread: OnceLock::new(),
            failure: OnceLock::new(),
        }
    }

    /// A worker, awake: the watchdog shall be, too.
    pub(crate) fn wake(&self) {
        if self.asleep.must_wake() {
            self.end_wait();
        }
    }

    /// Ends the watchdog's current or next wait; for the end of the runtime.
    pub(crate) fn end_wait(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}

/// What the watchdog remembers of one worker.
#[derive(Clone, Copy)]
struct Hold {
    seen: Option<Seen>,
    since: Instant,
    /// How long a hold may last before the next report.
    report_after: Duration,
    /// Turns that the worker had taken.
    turns: u32,
}

/// The watchdog's life: it ends when the workers have.
pub(crate) fn run(shared: &Arc<Shared>, limit: Duration) {
    let _ = shared.watch.thread.set(thread::current());
    let start = Hold {
        seen: None,
        since: Instant::now(),
        report_after: limit,
        turns: 0,
    };
    let mut holds = vec![start; shared.workers()];
    let mut quiet_looks = 0;
    while !shared.ending.all_exited(shared.workers()) {
        let mut serving = false;
        let mut quiet = true;
        for (index, hold) in holds.iter_mut().enumerate() {
            let unchanged = hold.look(&shared.remotes[index], limit);
            quiet &= unchanged && hold.seen.is_some_and(|seen| seen.current.is_none());
            if !shared.config.is_reproducible() {
                hold.look_at_turns(&shared.remotes[index]);
            }
            let held = hold.held();
            if held >= limit {
                serving |= serve(shared, index);
            }
            if held >= hold.report_after {
                hold.report(shared, index, held);
            }
        }
        quiet_looks = if quiet { quiet_looks + 1 } else { 0 };
        if quiet_looks > QUIET_LOOKS {
            sleep(shared);
            quiet_looks = 0;
        } else if serving {
            thread::park_timeout(LOOK_MIN);
        } else {
            thread::park_timeout((limit / 2).max(LOOK_MIN));
        }
    }
}

/// Waits until a worker wakes up. Announce first, look again second, wait third, as a worker does.
fn sleep(shared: &Shared) {
    shared.watch.asleep.set();
    if shared.remotes.iter().all(|remote| remote.watched.sleeps()) {
        thread::park();
    }
    shared.watch.asleep.clear();
}

impl Hold {
    /// Looks at the worker. True: it is still in the run or sleep that was seen last.
    fn look(&mut self, remote: &Remote, limit: Duration) -> bool {
        let seen = remote.watched.look();
        let unchanged = seen.is_some() && seen == self.seen;
        if !unchanged {
            *self = Hold {
                seen,
                since: Instant::now(),
                report_after: limit,
                ..*self
            };
        }
        remote.held.store(self.held() >= limit, Ordering::Relaxed);
        unchanged
    }

    /// A worker that is awake and has had no turn since the last look: its runs were short when it settled their number, and
    /// have become long all at once.
    fn look_at_turns(&mut self, remote: &Remote) {
        let turns = remote.due.taken();
        if turns == self.turns && !remote.watched.sleeps() {
            remote.due.demand();
        }
        self.turns = turns;
    }

    /// How long one run has lasted for certain.
    fn held(&self) -> Duration {
        match self.seen {
            Some(Seen {
                current: Some(_), ..
            }) => self.since.elapsed(),
            _ => Duration::ZERO,
        }
    }

    fn report(&mut self, shared: &Shared, index: usize, held: Duration) {
        let Some(seen) = self.seen else { return };
        self.report_after = self.report_after.saturating_mul(2).max(AGAIN);
        if !log::log_enabled!(target: "withy::watchdog", log::Level::Warn) {
            return;
        }
        let watched = &shared.remotes[index].watched;
        let state = ThreadState::of(watched.thread());
        let coroutine = inspect::running(&shared.remotes[index], seen);
        let behind = inspect::waiting_behind(shared, index, seen);
        if !watched.is_still(seen) {
            // It went on at the last moment.
            return;
        }
        let coroutine = coroutine.map_or_else(|| "(unreadable)".to_owned(), |it| it.to_string());
        log::warn!(
            target: "withy::watchdog",
            "coroutine {coroutine} has held worker {index} of runtime '{name}' for {held:.1?}: its thread {state}. {}. \
             Code that blocks its thread belongs into blocking, a long computation into compute or between calls of yield_now",
            text_of(behind.as_ref(), state),
            name = shared.config.name,
        );
    }
}

fn text_of(behind: Option<&Crowd>, state: ThreadState) -> String {
    let Some(behind) = behind else {
        return "Who waits behind it could not be read".to_owned();
    };
    if behind.count == 0 {
        return "No started coroutine waits behind it".to_owned();
    }
    let count = behind.count;
    let advice = if state.is_in_futex() {
        ". If one of them holds the std lock that it waits for, this is a deadlock for certain: use withy's locks"
    } else {
        ""
    };
    format!("{count} coroutine(s) that are ready wait behind it: {behind}{advice}")
}

/// Full stealing: does for a held worker what others can do, so that its movable coroutines go on elsewhere. False:
/// there is nothing to be done.
fn serve(shared: &Shared, index: usize) -> bool {
    if !shared.config.steal_started || shared.workers() == 1 {
        return false;
    }
    let remote = &shared.remotes[index];
    if remote.driver.has_sources()
        && let Err(error) = remote.driver.turn_for_owner()
    {
        log::error!(target: "withy::watchdog", "worker {index}'s netpoller failed: {error}");
    }
    // SAFETY: in full stealing any thread may; the wheel has a lock there.
    unsafe { remote.timers.fire(shared.clock.now()) };
    true
}
