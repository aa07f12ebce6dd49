//! Points in time as the runtime keeps them: one word, so that they fit an atomic and compare in an instruction.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// How far back moments reach; 500 of a word's 584 years are left.
const PAST: Duration = Duration::from_secs(84 * 365 * 24 * 60 * 60);

/// Nanoseconds since a point 84 years before the first use of time in this process: so a deadline that had passed then
/// already can be told, too.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Moment(u64);

impl Moment {
    /// No deadline.
    pub(crate) const NEVER: Moment = Moment(u64::MAX);

    #[inline]
    pub(crate) const fn from_ns(ns: u64) -> Moment {
        Moment(ns)
    }

    #[inline]
    pub(crate) fn ns(self) -> u64 {
        self.0
    }

    /// What the kernel's monotonic clock says.
    #[inline]
    pub(crate) fn real_now() -> Moment {
        Moment::from(Instant::now())
    }

    /// `duration` later; `NEVER` if that is beyond 500 years.
    #[inline]
    pub(crate) fn after(self, duration: Duration) -> Moment {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Moment(self.0.saturating_add(ns))
    }

    /// How long it is until then; `None` for `NEVER`.
    pub(crate) fn since(self, now: Moment) -> Option<Duration> {
        (self != Moment::NEVER).then(|| Duration::from_nanos(self.0.saturating_sub(now.0)))
    }

    /// As std has it; `None` for `NEVER`, and for what std's clock cannot tell.
    pub(crate) fn instant(self) -> Option<Instant> {
        if self == Moment::NEVER {
            return None;
        }
        base().checked_add(Duration::from_nanos(self.0))
    }
}

/// An instant before the base counts as the base: it has passed either way.
impl From<Instant> for Moment {
    #[inline]
    fn from(at: Instant) -> Moment {
        let since = at.saturating_duration_since(base());
        // 500 years after the base there is no deadline any more.
        Moment(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl From<Option<Instant>> for Moment {
    #[inline]
    fn from(at: Option<Instant>) -> Moment {
        at.map_or(Moment::NEVER, Moment::from)
    }
}

#[inline]
fn base() -> Instant {
    static BASE: OnceLock<Instant> = OnceLock::new();
    *BASE.get_or_init(|| {
        let now = Instant::now();
        now.checked_sub(PAST).unwrap_or(now)
    })
}
