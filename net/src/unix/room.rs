//! Waiting for room at a receiver where the kernel tells nobody that there is some.
//!
//! A Unix datagram to a receiver whose queue is full, and a connection to a listener whose backlog is full, give
//! `EAGAIN`. The kernel remembers who is to be woken only if the sender is *connected* to the receiver
//! (`unix_dgram_peer_wake_me` in net/unix/af_unix.c). Any other sender is writable to poll(2), however full the receiver,
//! and even a send that fails is an event for it, as its buffer is freed again (`sock_wfree`): to wait for events would
//! be to spin. A connecting socket has no event either. std's calls block inside the kernel, on a queue of the receiver's
//! that has no descriptor. So here the call is made again after a pause, and again.
//!
//! Rejected: a second socket that is connected to the receiver, to be polled in the first one's place. It gives an event,
//! but costs a descriptor at the worst moment, and a receiver that is itself connected refuses it.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use withy_runtime::poll::{Direction, Registration, refuse_while_unwinding};

use crate::socket::Socket;

/// About what two context switches take: the receiver may well have made room meanwhile.
const PAUSE_MIN: Duration = Duration::from_micros(50);

/// A hundred calls in a second while somebody waits, and none otherwise; the most that a call is late.
const PAUSE_MAX: Duration = Duration::from_millis(10);

impl Socket {
    /// Does `op`, and again after a pause as often as it gives `WouldBlock`, within the limits of writing. The loop has
    /// no bound but those, as a wait for an event has none.
    pub(super) fn retry<T>(
        &self,
        mut op: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        let registration = self.registration();
        let mut pause = PAUSE_MIN;
        let mut began = None;
        loop {
            match registration.attempt(&mut op) {
                Err(error)
                    if error.kind() == io::ErrorKind::WouldBlock
                        && !registration.is_nonblocking() => {}
                outcome => return outcome,
            }
            refuse_while_unwinding()?;
            let now = withy_runtime::now();
            let began = *began.get_or_insert(now);
            let left = time_left(registration, began, now)?;
            withy_runtime::sleep(pause.min(left));
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}

/// How long a write that began then may still wait.
///
/// # Errors
///
/// Those of a wait whose limit has passed.
fn time_left(registration: &Registration, began: Instant, now: Instant) -> io::Result<Duration> {
    let mut left = Duration::MAX;
    if let Some(deadline) = registration.deadline(Direction::Write) {
        left = deadline.saturating_duration_since(now);
        if left.is_zero() {
            let text = "the deadline has passed";
            return Err(io::Error::new(io::ErrorKind::TimedOut, text));
        }
    }
    if let Some(timeout) = registration.timeout(Direction::Write) {
        left = left.min(timeout.saturating_sub(now - began));
        if left.is_zero() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
    }
    Ok(left)
}
