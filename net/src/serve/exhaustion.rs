//! What an accept loop does when the system has no more: neither end, nor spin, nor let clients hang.
//!
//! At `EMFILE` accept(2) leaves the connection in the backlog, and the next call fails in the same way, so that a loop
//! that just goes on burns a core. Two remedies are known. Go's servers wait, 5 ms to 1 s: whoever is in the backlog is
//! served late, or hangs until its own timeout. libev and libuv keep a descriptor in reserve: they give it up,
//! accept, close the connection and take the reserve back, so that clients learn at once, but also those who would
//! have been served a moment later.
//!
//! This does the one, then the other. It waits first; a connection of this server that ends wakes it, as
//! nearly always frees a descriptor. Only when nothing could be accepted for the server's *patience* (1 s unless
//! changed) it turns away those who wait, and goes on doing so after each pause.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use libc::{
    EBADF, EFAULT, EHOSTDOWN, EHOSTUNREACH, EINVAL, EMFILE, ENETDOWN, ENETUNREACH, ENFILE, ENONET,
    ENOPROTOOPT, ENOTSOCK, EOPNOTSUPP, EPERM, EPROTO,
};
use withy_runtime::sync::{Notified, Notify};

/// Pauses between attempts: they double, from the first to the last.
const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Troubles with less than this between them are one episode, and are logged once.
const EPISODE_GAP: Duration = Duration::from_secs(10);

/// Connections that died in the backlog, in a row, for which the loop does not pause. Each takes one out of the
/// backlog, but a filter that answers every call in this way does not (law 8).
const DEAD_IN_A_ROW_MAX: u32 = 64;

/// What an error of accept(2) says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Trouble {
    /// One connection is broken; the next attempt may do better.
    Dead,
    /// No connection came in time.
    Nobody,
    /// Nobody gets a descriptor. The reserve helps.
    NoDescriptors,
    /// No memory, or what nobody has thought of: later it may work.
    Later,
    /// This listener will never accept again.
    Final,
}

impl Trouble {
    /// Linux passes pending network errors of the new socket on (accept(2), "Error handling"). `EOPNOTSUPP` is one of
    /// those on its list, but also what a socket says that cannot listen: the former has not been seen since Linux 2.2.
    pub(super) fn of(error: &io::Error) -> Trouble {
        match error.raw_os_error() {
            Some(EMFILE | ENFILE) => Trouble::NoDescriptors,
            Some(
                ENETDOWN | EPROTO | ENOPROTOOPT | EHOSTDOWN | ENONET | EHOSTUNREACH | ENETUNREACH
                | EPERM,
            ) => Trouble::Dead,
            Some(EBADF | EFAULT | EINVAL | ENOTSOCK | EOPNOTSUPP) => Trouble::Final,
            _ => match error.kind() {
                // The listener's accept timeout, or its non-blocking mode.
                io::ErrorKind::WouldBlock => Trouble::Nobody,
                // Its accept deadline, and settings of the server that nothing can be started with.
                io::ErrorKind::TimedOut | io::ErrorKind::InvalidInput => Trouble::Final,
                _ => Trouble::Later,
            },
        }
    }
}

/// Where acceptors wait for a descriptor, and who frees one says so. One for all loops of a server.
#[derive(Default)]
pub(super) struct Relief {
    /// Acceptors in trouble: without any, a connection's end costs one load.
    in_need: AtomicUsize,
    freed: Notify,
}

impl Relief {
    /// A connection was closed. SeqCst: the close comes before the look, and an acceptor that is counted tries again
    /// after that, so one of the two sees the other (but for the first attempt of an episode, and its pause is short).
    pub(super) fn descriptor_freed(&self) {
        if self.in_need.load(Ordering::SeqCst) > 0 {
            self.freed.notify_waiters();
        }
    }

    /// To be asked for before an attempt, so that no descriptor that is freed after it is missed.
    pub(super) fn watch(&self) -> Notified<'_> {
        self.freed.notified()
    }
}

/// The troubles of one accept loop.
pub(super) struct Troubles<'a> {
    relief: &'a Relief,
    patience: Duration,
    pause: Duration,
    /// When accepting first failed, if it has failed ever since.
    since: Option<Instant>,
    latest: Option<Instant>,
    dead_in_a_row: u32,
    reserve: Option<UnixDatagram>,
}

/// What the loop does next.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Remedy {
    /// Try again at once.
    GoOn,
    /// Wait, for so long at most.
    Pause(Duration),
    /// Turn away those who wait, then the same.
    Shed(Duration),
}

impl<'a> Troubles<'a> {
    pub(super) fn new(relief: &'a Relief, patience: Duration) -> Troubles<'a> {
        let mut troubles = Troubles {
            relief,
            patience,
            pause: PAUSE_MIN,
            since: None,
            latest: None,
            dead_in_a_row: 0,
            reserve: None,
        };
        troubles.take_reserve();
        troubles
    }

    /// A connection was accepted.
    #[inline]
    pub(super) fn are_over(&mut self) {
        self.dead_in_a_row = 0;
        if self.since.is_some() {
            self.recover();
        }
    }

    #[cold]
    fn recover(&mut self) {
        self.since = None;
        self.pause = PAUSE_MIN;
        self.relief.in_need.fetch_sub(1, Ordering::SeqCst);
        self.take_reserve();
    }

    /// Accepting has failed with `trouble`, one that is not final.
    pub(super) fn remedy(&mut self, trouble: Trouble, error: &io::Error) -> Remedy {
        if trouble == Trouble::Dead && self.dead_in_a_row < DEAD_IN_A_ROW_MAX {
            self.dead_in_a_row += 1;
            return Remedy::GoOn;
        }
        if trouble == Trouble::Nobody {
            // No trouble at all, however often: who comes next is not to wait for a long pause. But a listener in
            // non-blocking mode would spin without any.
            return Remedy::Pause(PAUSE_MIN);
        }
        let now = withy_runtime::now();
        if self.latest.is_none_or(|at| now >= at + EPISODE_GAP) {
            log::warn!(
                target: "withy::net",
                "cannot accept a connection: {error}; trying again until it works"
            );
        }
        self.latest = Some(now);
        let since = *self.since.get_or_insert_with(|| {
            self.relief.in_need.fetch_add(1, Ordering::SeqCst);
            now
        });
        let pause = self.pause;
        self.pause = (2 * pause).min(PAUSE_MAX);
        let impatient = now.duration_since(since) >= self.patience;
        match trouble == Trouble::NoDescriptors && impatient {
            true => Remedy::Shed(pause),
            false => Remedy::Pause(pause),
        }
    }

    /// Frees the reserve for the loop to accept with; false if there is none.
    pub(super) fn give_up_reserve(&mut self) -> bool {
        self.take_reserve();
        self.reserve.take().is_some()
    }

    /// An unbound socket: any descriptor would do, and this one needs no file system. Whoever cannot have it tries again
    /// later.
    pub(super) fn take_reserve(&mut self) {
        if self.reserve.is_none() {
            self.reserve = UnixDatagram::unbound().ok();
        }
    }
}

impl Drop for Troubles<'_> {
    fn drop(&mut self) {
        if self.since.is_some() {
            self.relief.in_need.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(number: i32) -> io::Error {
        io::Error::from_raw_os_error(number)
    }

    fn troubles(relief: &Relief, patience: Duration) -> Troubles<'_> {
        Troubles::new(relief, patience)
    }

    #[test]
    fn pauses_double_up_to_a_second_and_begin_anew() {
        let relief = Relief::default();
        let mut troubles = troubles(&relief, Duration::MAX);
        let mut pauses = Vec::new();
        for _ in 0..10 {
            match troubles.remedy(Trouble::Later, &error(libc::ENOMEM)) {
                Remedy::Pause(pause) => pauses.push(pause.as_millis()),
                other => panic!("got {other:?}"),
            }
        }
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 320, 640, 1_000, 1_000]);
        troubles.are_over();
        let first = troubles.remedy(Trouble::Later, &error(libc::ENOMEM));
        assert_eq!(first, Remedy::Pause(PAUSE_MIN));
    }

    #[test]
    fn impatience_sheds_where_a_descriptor_helps() {
        let relief = Relief::default();
        let mut troubles = troubles(&relief, Duration::ZERO);
        let first = troubles.remedy(Trouble::NoDescriptors, &error(libc::EMFILE));
        assert_eq!(first, Remedy::Shed(PAUSE_MIN));
        assert!(matches!(
            troubles.remedy(Trouble::Later, &error(libc::ENOBUFS)),
            Remedy::Pause(_)
        ));
    }

    #[test]
    fn the_dead_are_passed_over_but_not_for_ever() {
        let relief = Relief::default();
        let mut troubles = troubles(&relief, Duration::MAX);
        for _ in 0..DEAD_IN_A_ROW_MAX {
            let next = troubles.remedy(Trouble::Dead, &error(libc::EPROTO));
            assert_eq!(next, Remedy::GoOn);
        }
        let next = troubles.remedy(Trouble::Dead, &error(libc::EPROTO));
        assert_eq!(next, Remedy::Pause(PAUSE_MIN));
    }

    /// An accept timeout that has passed a hundred times leaves no long pause to those who come then.
    #[test]
    fn a_listener_that_nobody_came_to_is_in_no_trouble() {
        let relief = Relief::default();
        let mut troubles = troubles(&relief, Duration::ZERO);
        for _ in 0..100 {
            let error = io::ErrorKind::WouldBlock.into();
            let next = troubles.remedy(Trouble::of(&error), &error);
            assert_eq!(next, Remedy::Pause(PAUSE_MIN));
        }
        assert_eq!(relief.in_need.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn those_in_need_are_counted() {
        let relief = Relief::default();
        let in_need = || relief.in_need.load(Ordering::SeqCst);
        let mut one = troubles(&relief, Duration::MAX);
        for _ in 0..3 {
            let _ = one.remedy(Trouble::NoDescriptors, &error(libc::EMFILE));
            assert_eq!(in_need(), 1);
        }
        one.are_over();
        one.are_over();
        assert_eq!(in_need(), 0);
        let _ = one.remedy(Trouble::Later, &error(libc::ENOMEM));
        drop(one);
        assert_eq!(in_need(), 0);
    }

    #[test]
    fn a_freed_descriptor_ends_the_pause() {
        let relief = Relief::default();
        let mut troubles = troubles(&relief, Duration::MAX);
        relief.descriptor_freed();
        assert!(!relief.watch().wait_timeout(Duration::ZERO));
        let _ = troubles.remedy(Trouble::NoDescriptors, &error(libc::EMFILE));
        let watching = relief.watch();
        relief.descriptor_freed();
        assert!(watching.wait_timeout(Duration::ZERO));
        assert!(!relief.watch().wait_timeout(Duration::ZERO));
    }

    #[test]
    fn errors_are_told_apart() {
        let of = |number| Trouble::of(&error(number));
        assert_eq!(of(libc::ENFILE), Trouble::NoDescriptors);
        assert_eq!(of(libc::ENOBUFS), Trouble::Later);
        assert_eq!(of(libc::EIO), Trouble::Later);
        assert_eq!(of(libc::EPROTO), Trouble::Dead);
        assert_eq!(of(libc::EINVAL), Trouble::Final);
        let of = |kind: io::ErrorKind| Trouble::of(&kind.into());
        assert_eq!(of(io::ErrorKind::TimedOut), Trouble::Final);
        assert_eq!(of(io::ErrorKind::WouldBlock), Trouble::Nobody);
        assert_eq!(of(io::ErrorKind::OutOfMemory), Trouble::Later);
    }
}
