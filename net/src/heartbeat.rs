//! Telling a peer that is gone from one that is silent.
//!
//! A connection whose peer has vanished without a word (power cut, network unplugged, a firewall that forgot it) stays
//! open: nothing comes, and what is sent is kept and sent again for a quarter of an hour. TCP's keepalive finds out
//! whether the peer's *kernel* is there; only an answer of the program says that the program is. So long-lived
//! protocols send beats.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

#[cfg(panic = "unwind")]
use withy_runtime::{Builder, CancelToken, scope};
use withy_runtime::{now, sleep_until};

/// Keeps the times of one connection's beats: when the next one is due, and when the peer counts as gone.
///
/// A beat is whatever the protocol has for it: an empty frame, a ping. This type knows nothing of frames; it is told
/// when something was [`sent`](Self::sent) and [`received`](Self::received) (each frame is as good as a beat), and
/// knows two points in time:
///
/// * `interval` after the last thing was sent, a beat is due;
/// * `limit` after the last thing was received, the peer is gone.
///
/// There are two ways to use it. [`watch`](Self::watch) does all of it, in a coroutine beside those that read and
/// write. Or a protocol that selects anyway adds an arm for [`next_due`](Self::next_due), and does what
/// [`due`](Self::due) says.
///
/// It is shared by reference, between threads, too; noting a time is one atomic store. Both peers need one; the `limit`
/// has to be longer than the other's `interval`, and better twice or three times as long, since beats may be late.
///
/// In [virtual time](withy_runtime::RuntimeBuilder::virtual_time) beats are, too.
///
/// # Examples
///
/// With [`select!`](withy_runtime::select):
///
/// ```
/// # mod withy { pub use withy_net as net; pub use withy_runtime::*; }
/// use std::time::Duration;
/// use withy::net::{Due, Heartbeat};
/// use withy::sync::channel;
///
/// # fn main() -> std::io::Result<()> {
/// # let (ask, requests) = channel::unbounded();
/// # ask.send("request").unwrap();
/// # drop(ask);
/// let heartbeat = Heartbeat::new(Duration::from_secs(10), Duration::from_secs(30));
/// loop {
///     withy::select! {
///         recv(requests) -> request => {
///             let Ok(request) = request else { break };
///             // … send it, and then:
///             heartbeat.sent();
/// #           assert_eq!(request, "request");
///         }
///         deadline(heartbeat.next_due()) => {
///             if heartbeat.due()? == Due::Beat {
///                 // … send a beat, and then:
///                 heartbeat.sent();
///             }
///         }
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Heartbeat {
    interval: Duration,
    limit: Duration,
    /// What the times below count from: the beginning.
    begun: Instant,
    /// Nanoseconds since then. Relaxed: a time orders nothing, and one that is seen late only makes for a beat too
    /// many.
    sent_ns: AtomicU64,
    received_ns: AtomicU64,
}

/// What [`Heartbeat::due`] has to be done.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[must_use]
pub enum Due {
    /// Nothing yet.
    Nothing,
    /// A beat is to be sent.
    Beat,
}

impl Heartbeat {
    /// Begins now, as if something was sent and received just before.
    ///
    /// # Panics
    ///
    /// If `interval` or `limit` is zero: beats would never end, or the peer would be gone at once.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use std::time::Duration;
    /// use withy::net::{Due, Heartbeat};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let heartbeat = Heartbeat::new(Duration::from_secs(10), Duration::from_secs(30));
    /// assert_eq!(heartbeat.due()?, Due::Nothing);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn new(interval: Duration, limit: Duration) -> Heartbeat {
        assert!(
            !interval.is_zero() && !limit.is_zero(),
            "got an interval of {interval:?} and a limit of {limit:?}, expected both above zero"
        );
        Heartbeat {
            interval,
            limit,
            begun: now(),
            sent_ns: AtomicU64::new(0),
            received_ns: AtomicU64::new(0),
        }
    }

    /// Notes that something was sent: the next beat is due an interval from now.
    pub fn sent(&self) {
        self.note(&self.sent_ns);
    }

    /// Notes that something was received: the peer is alive.
    pub fn received(&self) {
        self.note(&self.received_ns);
    }

    /// When there is something to be done, unless more is sent and received until then.
    #[must_use]
    pub fn next_due(&self) -> Instant {
        self.beat_at().min(self.gone_at())
    }

    /// What has to be done now.
    ///
    /// # Errors
    ///
    /// `TimedOut` if nothing was received for the limit: the peer is gone, or so slow that it may as well be.
    pub fn due(&self) -> io::Result<Due> {
        let now = now();
        if now >= self.gone_at() {
            return Err(self.gone());
        }
        match now >= self.beat_at() {
            true => Ok(Due::Beat),
            false => Ok(Due::Nothing),
        }
    }

    /// Sends beats by `beat` when they are due, until the peer is gone or a beat fails. It gives why it ended.
    ///
    /// It runs in a coroutine of its own, and wakes once an interval or so, however busy the connection is. What ends
    /// it is for the caller to pass on to those that read and write, which may be blocked: a
    /// [`try_scope`](withy_runtime::try_scope) around all of them, as below, or `shutdown` of the connection.
    ///
    /// # Errors
    ///
    /// It returns the error: `TimedOut` if nothing was received for the limit, also while a beat is stuck (half-open
    /// connections take what is written until their buffers are full), if that is so since an interval at least. Or
    /// what `beat` gave; and why a coroutine could not be started, for one keeps the time while a beat is sent.
    ///
    /// # Cancellation
    ///
    /// A blocking call: from a coroutine it may unwind, when that is cancelled or a timeout around it elapses. A beat
    /// that is cut short, by that or by the limit, may have been sent in part: the connection is of no use then.
    ///
    /// # Panics
    ///
    /// If `beat` does.
    ///
    /// # Examples
    ///
    /// A client whose server has gone silent:
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; pub use withy_runtime::*; }
    /// use std::io::{ErrorKind, Read, Write};
    /// use std::time::Duration;
    /// use withy::net::{Heartbeat, TcpListener, TcpStream};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// # let runtime = withy::Runtime::builder().build()?;
    /// # runtime.run(|| -> std::io::Result<()> {
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let connection = TcpStream::connect(listener.local_addr()?)?;
    /// let heartbeat = Heartbeat::new(Duration::from_millis(10), Duration::from_millis(30));
    /// let ended = withy::try_scope(|s| {
    ///     s.spawn(|| Err::<(), _>(heartbeat.watch(|| (&connection).write_all(&[0]))));
    ///     let mut frame = [0; 64];
    ///     loop {
    ///         // Cut short when the scope fails.
    ///         let n = (&connection).read(&mut frame)?;
    ///         heartbeat.received();
    ///         // … what was read
    /// #       let _ = n;
    ///     }
    /// });
    /// let error: std::io::Result<()> = ended;
    /// assert_eq!(error.unwrap_err().kind(), ErrorKind::TimedOut);
    /// # Ok(())
    /// # })
    /// # }
    /// ```
    pub fn watch(&self, mut beat: impl FnMut() -> io::Result<()>) -> io::Error {
        loop {
            sleep_until(self.next_due());
            match self.due() {
                Ok(Due::Nothing) => {}
                Ok(Due::Beat) => {
                    if let Err(error) = self.send(&mut beat) {
                        return error;
                    }
                }
                Err(gone) => return gone,
            }
        }
    }

    /// One beat, which is cut short when it is stuck and the peer is gone: but not within an interval, so that a peer
    /// that is just about to be heard of is not cut off for a moment without room.
    ///
    /// No deadline of the beat's can do it, for the peer may be heard while it is stuck: behind a large message that
    /// goes out, say.
    #[cfg(panic = "unwind")]
    fn send(&self, beat: &mut impl FnMut() -> io::Result<()>) -> io::Result<()> {
        let patient_until = after(now(), self.interval);
        let gone = CancelToken::new();
        let sent = scope(|s| {
            let watchman = Builder::new().spawn_scoped(s, || {
                loop {
                    let until = self.gone_at().max(patient_until);
                    if now() >= until {
                        return gone.cancel();
                    }
                    sleep_until(until);
                }
            })?;
            let sent = gone.run(beat);
            watchman.cancel();
            sent.unwrap_or_else(|_cut| Err(self.gone()))
        });
        sent?;
        self.sent();
        Ok(())
    }

    /// Nothing is cut short where nothing unwinds: there, `beat` has to have a limit of its own.
    #[cfg(not(panic = "unwind"))]
    fn send(&self, beat: &mut impl FnMut() -> io::Result<()>) -> io::Result<()> {
        beat()?;
        self.sent();
        Ok(())
    }

    fn gone(&self) -> io::Error {
        let text = format!(
            "got nothing from the peer for {:?}, it counts as gone",
            self.limit
        );
        io::Error::new(io::ErrorKind::TimedOut, text)
    }

    fn beat_at(&self) -> Instant {
        self.time_after(&self.sent_ns, self.interval)
    }

    fn gone_at(&self) -> Instant {
        self.time_after(&self.received_ns, self.limit)
    }

    fn note(&self, time: &AtomicU64) {
        let since = now().saturating_duration_since(self.begun);
        // 584 years are enough for a connection.
        time.store(
            u64::try_from(since.as_nanos()).unwrap_or(u64::MAX),
            Ordering::Relaxed,
        );
    }

    fn time_after(&self, time: &AtomicU64, wait: Duration) -> Instant {
        let since = Duration::from_nanos(time.load(Ordering::Relaxed));
        after(self.begun, since.saturating_add(wait))
    }
}

/// A wait beyond what the clock can tell is one of a century: that is never, too.
fn after(start: Instant, wait: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
    let end = start.checked_add(wait.min(CENTURY));
    end.unwrap_or(start)
}
