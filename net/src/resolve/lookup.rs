//! Asking the system's resolver, for callers who must be able to leave before it answers.
//!
//! The resolver cannot be interrupted, so a question is a job of its own, which owns all it needs: a detached coroutine
//! that lends the resolver's call to the blocking pool. Who asks waits for the answer in a channel, and leaves when it
//! likes: cancelled, or past a limit. A job that has not begun yet is cancelled with it; one that has goes on to its
//! end, alone, and its answer falls into a closed channel.
//!
//! A resolver that hangs therefore collects jobs, and each holds a thread of the pool that files need, too. So at most
//! [`LOOKUPS_MAX`] are under way in the process; who comes then waits for a permit, and that wait can be left as well.
//! The permit is the job's, not the caller's: it comes back when the thread does.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::vec;

use withy_runtime::poll::{refuse_while_unwinding, wait_may_unwind};
use withy_runtime::sync::channel::{RecvTimeoutError, oneshot};
use withy_runtime::sync::{Permit, Semaphore};
use withy_runtime::{Builder, JoinHandle, blocking, now};

use super::{Addresses, Name};
use crate::interop;
use crate::options::zero_timeout;

/// An eighth of a pool's threads (512 by default).
const LOOKUPS_MAX: usize = 64;

static LOOKUPS: Semaphore = Semaphore::new(LOOKUPS_MAX);

/// What the resolver answers.
type Answer = io::Result<vec::IntoIter<SocketAddr>>;

/// The socket addresses of a host: what `addr.to_socket_addrs()` gives, but a coroutine that waits for the resolver is
/// parked, and can be cancelled.
///
/// Names (strings, and pairs of a string and a port) are looked up by the system's resolver (`getaddrinfo`: /etc/hosts, DNS and
/// what nsswitch.conf(5) says) on a thread of the blocking pool. Nothing is cached, nor are equal questions put
/// together. Addresses, also in text form, are given back without a question to anyone.
///
/// At most 64 lookups are under way in a process; further callers wait for their turn. A resolver that hangs thus
/// holds 64 threads of the pool and no more. A runtime with fewer
/// [`blocking_threads`](withy_runtime::RuntimeBuilder::blocking_threads) than that shares them all with its lookups.
///
/// On a plain thread this is a plain call of the resolver: no runtime is needed. Inside a `timeout`, or in a token's
/// region, the thread waits for the default runtime's pool instead, so that it can leave.
///
/// # Cancellation
///
/// A blocking call: from a coroutine it may unwind, when that is cancelled or a timeout around it elapses. It does so at
/// once: nobody waits for the resolver. A lookup that has begun goes on without its caller to its own end (glibc gives up
/// after some tens of seconds, see `timeout` and `attempts` in resolv.conf(5)) and holds its thread as long; so the
/// runtime's shutdown may find it still at work. Only if the runtime has no room for one more coroutine is the resolver waited for.
///
/// # Errors
///
/// Those of the resolver, as std's. `InvalidInput` if a name has no port. `TimedOut` in a coroutine that unwinds from a cancellation.
///
/// # Examples
///
/// ```
/// # mod withy { pub use withy_net as net; }
/// use withy::net::{Ipv4Addr, lookup_host};
///
/// # fn main() -> std::io::Result<()> {
/// let mut addrs = lookup_host("localhost:80")?;
/// assert!(addrs.any(|addr| addr.ip() == Ipv4Addr::LOCALHOST && addr.port() == 80));
/// # Ok(())
/// # }
/// ```
pub fn lookup_host<A: ToSocketAddrs>(
    addr: A,
) -> io::Result<impl Iterator<Item = SocketAddr> + use<A>> {
    super::addresses(&addr)
}

/// [`lookup_host`] that gives up after `timeout`, on plain threads too.
///
/// A plain thread waits for a thread of the default runtime's pool.
///
/// # Cancellation
///
/// A blocking call, as [`lookup_host`].
///
/// # Errors
///
/// `TimedOut` if there was no answer in time, `InvalidInput` if `timeout` is zero; otherwise as [`lookup_host`].
///
/// # Examples
///
/// ```
/// # mod withy { pub use withy_net as net; }
/// use std::time::Duration;
/// use withy::net::lookup_host_timeout;
///
/// # fn main() -> std::io::Result<()> {
/// let addrs = lookup_host_timeout(("localhost", 80), Duration::from_secs(30))?;
/// assert!(addrs.count() > 0);
/// # Ok(())
/// # }
/// ```
pub fn lookup_host_timeout<A: ToSocketAddrs>(
    addr: A,
    timeout: Duration,
) -> io::Result<impl Iterator<Item = SocketAddr> + use<A>> {
    if timeout.is_zero() {
        return Err(zero_timeout());
    }
    match interop::name_in(&addr) {
        Some(name) if !name.is_address() => {
            look_up(name, Some(timeout)).map(Addresses::<A::Iter>::LookedUp)
        }
        _ => addr.to_socket_addrs().map(Addresses::Given),
    }
}

/// Asks the system's resolver, for `limit` at most.
pub(super) fn look_up(name: Name<'_>, limit: Option<Duration>) -> Answer {
    log::trace!(target: "withy::net", "looking up {name:?}");
    if limit.is_none() && !wait_may_unwind() {
        return name.resolve();
    }
    let name = OwnedName::from(name);
    ask(&LOOKUPS, limit, move || name.borrow().resolve())
}

impl Name<'_> {
    /// Holds the thread until the resolver has answered.
    fn resolve(self) -> Answer {
        match self {
            Name::Joined(text) => text.to_socket_addrs(),
            Name::Pair(host, port) => (host, port).to_socket_addrs(),
        }
    }
}

/// A [`Name`] that can go to another thread, and outlive who asked.
#[derive(Clone)]
enum OwnedName {
    Joined(String),
    Pair(String, u16),
}

impl From<Name<'_>> for OwnedName {
    fn from(name: Name<'_>) -> OwnedName {
        match name {
            Name::Joined(text) => OwnedName::Joined(text.to_owned()),
            Name::Pair(host, port) => OwnedName::Pair(host.to_owned(), port),
        }
    }
}

impl OwnedName {
    fn borrow(&self) -> Name<'_> {
        match self {
            OwnedName::Joined(text) => Name::Joined(text),
            OwnedName::Pair(host, port) => Name::Pair(host, *port),
        }
    }
}

/// Has `resolve` run elsewhere, once there is a permit of `gate`, and waits for its answer.
fn ask(
    gate: &'static Semaphore,
    limit: Option<Duration>,
    resolve: impl FnOnce() -> Answer + Clone + Send + 'static,
) -> Answer {
    refuse_while_unwinding()?;
    let patience = Patience::new(limit);
    let permit = Arc::new(patience.acquire(gate)?);
    let (answer, question) = oneshot();
    let job = Builder::new().name("withy-lookup".to_owned()).spawn({
        let (permit, resolve) = (permit.clone(), resolve.clone());
        move || {
            blocking(move || {
                let _permit = permit;
                // If nobody waits for it any more it is nobody's.
                let _ = answer.send(resolve());
            });
        }
    });
    let _job = match job {
        Ok(job) => CancelOnDrop(job),
        // A runtime may have as many coroutines as it can: late is better than never.
        Err(_) if limit.is_none() => return blocking(resolve),
        Err(error) => return Err(error),
    };
    drop(permit);
    let answered = match patience.left() {
        Some(left) => question.recv_timeout(left),
        None => question.recv().map_err(Into::into),
    };
    match answered {
        Ok(answer) => answer,
        Err(RecvTimeoutError::Timeout) => Err(patience.over()),
        Err(RecvTimeoutError::Disconnected) => Err(io::Error::other(
            "the lookup was given up, since its runtime shuts down",
        )),
    }
}

/// How long a caller waits: for its permit and its answer together.
struct Patience {
    limit: Option<Duration>,
    /// `None` also if the limit is beyond what the clock can tell.
    deadline: Option<Instant>,
}

impl Patience {
    fn new(limit: Option<Duration>) -> Patience {
        let deadline = limit.and_then(|limit| now().checked_add(limit));
        Patience { limit, deadline }
    }

    fn left(&self) -> Option<Duration> {
        self.deadline
            .map(|deadline| deadline.saturating_duration_since(now()))
    }

    fn acquire(&self, gate: &'static Semaphore) -> io::Result<Permit<'static>> {
        let permit = match self.left() {
            Some(left) => gate.acquire_timeout(left),
            None => gate.acquire().map_err(Into::into),
        };
        // Nobody closes it, so there is one reason only.
        permit.map_err(|_| self.over())
    }

    fn over(&self) -> io::Error {
        let text = format!(
            "got no answer from the resolver within {:?}; it may be slow, or {LOOKUPS_MAX} other lookups hang",
            self.limit.unwrap_or(Duration::MAX)
        );
        io::Error::new(io::ErrorKind::TimedOut, text)
    }
}

/// A job that is nobody's any more need not begin. One that has begun cannot be stopped, and one that has ended takes
/// no notice. In a program that cannot unwind it begins all the same.
struct CancelOnDrop(
    #[cfg_attr(panic = "abort", expect(dead_code, reason = "held, to be detached"))] JoinHandle<()>,
);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        #[cfg(panic = "unwind")]
        self.0.cancel();
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
