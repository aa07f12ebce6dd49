//! How long a call in one direction may wait: a timeout, which counts from the wait, and a deadline, which is a point
//! in time. They are shared by all who call in that direction, and can change while somebody waits.

use std::io;
use std::time::{Duration, Instant};

use crate::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::time::{self, Moment};

/// The timeout and the deadline of one direction.
///
/// The loads and stores order nothing. Whoever changes a limit afterwards wakes those who wait, by something that
/// orders: an exchange on their word, or their lock (`README.md`, G3). Changes that come at the same time are in
/// someone's order, by a lock of the caller's.
#[doc(hidden)]
#[derive(Default, Debug)]
pub struct Limits {
    /// Whether any is set: the one load of those who have none.
    any: AtomicBool,
    /// 0: none.
    timeout_ns: AtomicU64,
    /// A [`Moment`]'s nanoseconds; 0: none.
    deadline: AtomicU64,
}

impl Limits {
    /// The limit of a single wait. Durations beyond 500 years are none.
    #[must_use]
    pub fn timeout(&self) -> Option<Duration> {
        match self.timeout_ns.load(Ordering::Relaxed) {
            0 => None,
            ns => Some(Duration::from_nanos(ns)),
        }
    }

    /// The point in time at which every wait ends.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline_moment().instant()
    }

    fn deadline_moment(&self) -> Moment {
        match self.deadline.load(Ordering::Relaxed) {
            0 => Moment::NEVER,
            ns => Moment::from_ns(ns),
        }
    }

    /// True if that is a change: then those who wait must be woken. Zero is a nanosecond.
    #[must_use]
    pub fn set_timeout(&self, timeout: Option<Duration>) -> bool {
        let timeout_ns = timeout.map_or(0, |timeout| {
            u64::try_from(timeout.as_nanos().max(1)).unwrap_or(0)
        });
        self.replace(&self.timeout_ns, timeout_ns)
    }

    /// True if that is a change: then those who wait must be woken.
    #[must_use]
    pub fn set_deadline(&self, deadline: Option<Instant>) -> bool {
        let deadline = match Moment::from(deadline) {
            Moment::NEVER => 0,
            at => at.ns().max(1),
        };
        self.replace(&self.deadline, deadline)
    }

    fn replace(&self, limit: &AtomicU64, value: u64) -> bool {
        let changed = limit.swap(value, Ordering::Relaxed) != value;
        if changed {
            let timeout_ns = self.timeout_ns.load(Ordering::Relaxed);
            let deadline = self.deadline.load(Ordering::Relaxed);
            self.any
                .store(timeout_ns | deadline != 0, Ordering::Relaxed);
        }
        changed
    }
}

/// When a wait ends, and by which limit.
#[doc(hidden)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct End {
    at: Moment,
    by: By,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum By {
    Timeout,
    Deadline,
}

impl End {
    pub(super) fn at_deadline(at: Moment) -> End {
        let by = By::Deadline;
        End { at, by }
    }

    /// The point in time.
    #[must_use]
    pub fn instant(self) -> Option<Instant> {
        self.at.instant()
    }

    pub(super) fn moment(self) -> Moment {
        self.at
    }

    /// Whether it has come.
    #[must_use]
    pub fn has_passed(self) -> bool {
        time::moment() >= self.at
    }

    /// Whether there was no point in beginning to wait. A timeout begins with the wait.
    pub(super) fn was_over(self) -> bool {
        self.by == By::Deadline && self.has_passed()
    }

    /// What a call gives that has waited until then: `WouldBlock` after a timeout, as std has it on Linux, and
    /// `TimedOut` after a deadline.
    #[must_use]
    pub fn error(self) -> io::Error {
        match self.by {
            By::Timeout => io::ErrorKind::WouldBlock.into(),
            By::Deadline => io::Error::new(io::ErrorKind::TimedOut, "the deadline has passed"),
        }
    }
}

/// The limits of one call, as points in time: a timeout counts from the first look at it, or from its change.
#[doc(hidden)]
#[derive(Default, Debug)]
pub struct Clock {
    /// The timeout, and the point in time that was computed from it.
    armed: Option<(Duration, Moment)>,
}

impl Clock {
    /// When the call's wait ends as things are: the earlier of timeout and deadline.
    #[inline]
    pub fn end(&mut self, limits: &Limits) -> Option<End> {
        if !limits.any.load(Ordering::Relaxed) {
            return None;
        }
        self.earlier(limits)
    }

    fn earlier(&mut self, limits: &Limits) -> Option<End> {
        let timeout = limits
            .timeout()
            .map_or(Moment::NEVER, |timeout| self.after(timeout));
        let deadline = limits.deadline_moment();
        let (at, by) = match deadline <= timeout {
            true => (deadline, By::Deadline),
            false => (timeout, By::Timeout),
        };
        (at != Moment::NEVER).then_some(End { at, by })
    }

    fn after(&mut self, timeout: Duration) -> Moment {
        match self.armed {
            Some((armed, at)) if armed == timeout => at,
            _ => {
                let at = time::moment().after(timeout);
                self.armed = Some((timeout, at));
                at
            }
        }
    }
}
