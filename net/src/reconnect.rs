//! Connecting again and again, at intervals that spare a server which is in trouble.

use std::io;
use std::iter::FusedIterator;
use std::time::Duration;

use withy_runtime::sleep;

/// How chance spreads the delays of a [`Backoff`], so that clients which failed together do not come back together. The
/// names are those of the AWS architecture blog, "Exponential Backoff And Jitter".
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum Jitter {
    /// None: each delay is twice the last, up to the cap.
    None,
    /// Anything from zero up to what [`None`](Jitter::None) would give. The least load on the server, and the default.
    #[default]
    Full,
    /// Half of what [`None`](Jitter::None) would give, and anything from zero to the other half: never very short.
    Equal,
    /// Anything from the base up to three times the last delay, cut at the cap.
    Decorrelated,
}

/// Delays between attempts: exponential, up to a cap, spread by chance.
///
/// It is an endless iterator, unless [`attempts_max`](Self::attempts_max) ends it, and begins anew after
/// [`reset`](Self::reset).
///
/// # Examples
///
/// ```
/// # mod withy { pub use withy_net as net; }
/// use std::time::Duration;
/// use withy::net::{Backoff, Jitter};
///
/// let (base, cap) = (Duration::from_millis(100), Duration::from_secs(1));
/// let delays: Vec<_> = Backoff::new(base, cap).jitter(Jitter::None).take(5).collect();
/// assert_eq!(delays, [100, 200, 400, 800, 1000].map(Duration::from_millis));
///
/// assert!(Backoff::new(base, cap).take(100).all(|delay| delay <= cap));
/// ```
#[derive(Clone, Debug)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    jitter: Jitter,
    attempts_max: Option<u32>,
    random: fastrand::Rng,
    /// Delays that were given since the beginning, or the last reset.
    given: u32,
    /// What the next delay is reckoned from.
    last: Duration,
    /// Whether [`reconnect`] has made an attempt since then.
    tried: bool,
}

impl Backoff {
    /// Delays that begin at `base` and end at `cap`; if that is shorter, all are `cap`, and none for a cap of zero. A
    /// base of zero is a nanosecond, from which doubling gets somewhere.
    #[must_use]
    pub fn new(base: Duration, cap: Duration) -> Backoff {
        Backoff {
            base: base.max(Duration::from_nanos(1)).min(cap),
            cap,
            jitter: Jitter::default(),
            attempts_max: None,
            random: fastrand::Rng::new(),
            given: 0,
            last: Duration::ZERO,
            tried: false,
        }
    }

    /// How chance spreads the delays; [`Jitter::Full`] if this is not called.
    #[must_use]
    pub fn jitter(self, jitter: Jitter) -> Backoff {
        Backoff { jitter, ..self }
    }

    /// The number of attempts, from the beginning or a reset on: there is one delay fewer. Without a limit if this is
    /// not called; zero is one.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use std::time::Duration;
    /// use withy::net::Backoff;
    ///
    /// let backoff = Backoff::new(Duration::from_millis(1), Duration::from_secs(1)).attempts_max(4);
    /// assert_eq!(backoff.count(), 3);
    /// ```
    #[must_use]
    pub fn attempts_max(self, attempts: u32) -> Backoff {
        let attempts_max = Some(attempts);
        Backoff {
            attempts_max,
            ..self
        }
    }

    /// Makes chance repeatable: two with one seed give the same delays.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use std::time::Duration;
    /// use withy::net::Backoff;
    ///
    /// let backoff = || Backoff::new(Duration::from_millis(1), Duration::from_secs(1)).seed(7);
    /// assert!(backoff().take(20).eq(backoff().take(20)));
    /// ```
    #[must_use]
    pub fn seed(self, seed: u64) -> Backoff {
        let random = fastrand::Rng::with_seed(seed);
        Backoff { random, ..self }
    }

    /// Begins anew: the next delay is reckoned from `base`, all attempts are left, and [`reconnect`] makes the first
    /// one at once.
    pub fn reset(&mut self) {
        self.given = 0;
        self.last = Duration::ZERO;
        self.tried = false;
    }

    /// Twice the last one, without chance.
    fn exponential(&self) -> Duration {
        // A nanosecond doubled 64 times is beyond every cap that a clock can tell.
        let doubled = self.base.as_nanos().saturating_mul(1 << self.given.min(64));
        match u64::try_from(doubled) {
            Ok(ns) => Duration::from_nanos(ns).min(self.cap),
            Err(_) => self.cap,
        }
    }

    fn between(&mut self, from: Duration, to: Duration) -> Duration {
        let span = u64::try_from(to.saturating_sub(from).as_nanos()).unwrap_or(u64::MAX);
        from + Duration::from_nanos(self.random.u64(0..=span))
    }
}

impl Iterator for Backoff {
    type Item = Duration;

    /// The delay before the next attempt; none if that would be one too many.
    fn next(&mut self) -> Option<Duration> {
        if self
            .attempts_max
            .is_some_and(|max| self.given.saturating_add(1) >= max)
        {
            return None;
        }
        let exponential = self.exponential();
        let delay = match self.jitter {
            Jitter::None => exponential,
            Jitter::Full => self.between(Duration::ZERO, exponential),
            Jitter::Equal => self.between(exponential / 2, exponential),
            Jitter::Decorrelated => {
                let longest = self.last.max(self.base).saturating_mul(3);
                self.between(self.base, longest).min(self.cap)
            }
        };
        self.last = delay;
        self.given = self.given.saturating_add(1);
        Some(delay)
    }
}

impl FusedIterator for Backoff {}

/// Calls `connect` until it succeeds, and sleeps between attempts for as long as `backoff` says.
///
/// The first attempt comes at once. But if the same `backoff` has been used here before, and was not
/// [reset](Backoff::reset) since, it comes after a delay: a server that accepts connections and closes them at once
/// would be called in a hot loop otherwise. So reset it when a connection has proved good, by an answer for example,
/// and not when it was made.
///
/// `connect` makes whatever a connection is, a log-in included. An error that no repetition can mend is no error in
/// this sense: let `T` be a `Result` for it, and give `Ok(Err(error))`.
///
/// # Errors
///
/// The error of the last attempt, if `backoff` has an end.
///
/// # Cancellation
///
/// A blocking call, since it sleeps: from a coroutine it may unwind, when that is cancelled or a timeout around it
/// elapses. That ends the attempts, and what it costs otherwise is up to `connect`.
///
/// # Panics
///
/// If `connect` does.
///
/// # Examples
///
/// A client that is there as long as the program:
///
/// ```
/// # mod withy { pub use withy_net as net; pub use withy_runtime::*; }
/// use std::io::{self, Read};
/// use std::time::Duration;
/// use withy::net::{Backoff, TcpListener, TcpStream, reconnect};
///
/// # fn main() -> io::Result<()> {
/// # let listener = TcpListener::bind("127.0.0.1:0")?;
/// # let server = listener.local_addr()?;
/// # withy::spawn(move || for (i, stream) in listener.incoming().enumerate() {
/// #     if i > 0 { std::io::Write::write_all(&mut stream.unwrap(), b"!").unwrap(); }
/// # });
/// let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(5));
/// let answer = loop {
///     let mut connection = reconnect(&mut backoff, || TcpStream::connect(server))?;
///     let mut answer = [0];
///     match connection.read(&mut answer) {
///         Ok(0) => continue, // closed without a word: the next attempt waits
///         Ok(_) => {
///             backoff.reset();
///             break answer;
///         }
///         Err(error) => eprintln!("{error}, connecting again"),
///     }
/// };
/// assert_eq!(&answer, b"!");
/// # Ok(())
/// # }
/// ```
pub fn reconnect<T>(
    backoff: &mut Backoff,
    mut connect: impl FnMut() -> io::Result<T>,
) -> io::Result<T> {
    let mut failed = None;
    loop {
        if std::mem::replace(&mut backoff.tried, true) {
            match backoff.next() {
                Some(delay) => sleep(delay),
                None => return Err(failed.unwrap_or_else(no_attempt_left)),
            }
        }
        match connect() {
            Ok(connection) => return Ok(connection),
            Err(error) => failed = Some(error),
        }
    }
}

#[cold]
fn no_attempt_left() -> io::Error {
    io::Error::new(
        io::ErrorKind::TimedOut,
        "got a backoff whose attempts are used up, expected one with an attempt left; reset it when a connection has proved good",
    )
}
