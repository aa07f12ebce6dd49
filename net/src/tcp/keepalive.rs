use std::io;
use std::time::Duration;

/// The kernel's `MAX_TCP_KEEPIDLE` and `MAX_TCP_KEEPINTVL`.
const SECS_MAX: u64 = 32_767;

/// The kernel's `MAX_TCP_KEEPCNT`.
const COUNT_MAX: u32 = 127;

/// When the kernel asks a silent peer whether it is still there, and when it gives the connection up.
///
/// A connection over which nothing comes for `idle` is sent a probe, and another after each `interval`. If `count` of them are
/// not answered the connection is over: reads and writes fail with `TimedOut`. An answer, or any other
/// segment from the peer, begins a new `idle`.
///
/// A probe is answered by the peer's *kernel*: it shows that the machine is up and reachable, not that the program makes
/// progress. And it is not sent while data of our own is not acknowledged: then retransmissions, and
/// [`user_timeout`](crate::TcpStream::set_user_timeout), decide.
///
/// Durations are whole seconds to the kernel; fractions are rounded up. See tcp(7), `TCP_KEEPIDLE`, `TCP_KEEPINTVL`,
/// `TCP_KEEPCNT`, and [RFC 9293, section 3.8.4](https://www.rfc-editor.org/rfc/rfc9293#section-3.8.4).
///
/// # Examples
///
/// ```
/// # mod withy { pub use withy_net as net; }
/// use std::time::Duration;
/// use withy::net::{Keepalive, TcpSocket};
///
/// # fn main() -> std::io::Result<()> {
/// let keepalive = Keepalive {
///     idle: Duration::from_secs(30),
///     interval: Duration::from_secs(10),
///     count: 3,
/// };
/// assert_eq!(keepalive.gives_up_after(), Duration::from_secs(60));
///
/// let socket = TcpSocket::v4()?;
/// socket.set_keepalive(Some(keepalive))?;
/// assert_eq!(socket.keepalive()?, Some(keepalive));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Keepalive {
    /// Silence before the first probe: 1 second to 32,767 (nine hours).
    pub idle: Duration,
    /// Time between probes: 1 second to 32,767.
    pub interval: Duration,
    /// Probes that may stay unanswered: 1 to 127.
    pub count: u32,
}

impl Keepalive {
    /// How long after the last sign of life the connection is over.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use std::time::Duration;
    /// use withy::net::Keepalive;
    ///
    /// let hours_2_11_minutes_15_seconds = Duration::from_secs(2 * 3600 + 11 * 60 + 15);
    /// assert_eq!(Keepalive::default().gives_up_after(), hours_2_11_minutes_15_seconds);
    /// ```
    #[must_use]
    pub fn gives_up_after(&self) -> Duration {
        let probing = self.interval.saturating_mul(self.count);
        self.idle.saturating_add(probing)
    }

    /// With whole seconds.
    ///
    /// # Errors
    /// `InvalidInput` for what the kernel would not take.
    pub(crate) fn in_kernels_units(self) -> io::Result<Keepalive> {
        let (idle, interval) = (secs(self.idle), secs(self.interval));
        let is_time = |secs| (1..=SECS_MAX).contains(&secs);
        if !is_time(idle) || !is_time(interval) || !(1..=COUNT_MAX).contains(&self.count) {
            let text = format!(
                "got {self:?}, expected times of 1 to {SECS_MAX} seconds and a count of 1 to {COUNT_MAX}"
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        Ok(Keepalive {
            idle: Duration::from_secs(idle),
            interval: Duration::from_secs(interval),
            count: self.count,
        })
    }
}

/// Rounded up.
fn secs(time: Duration) -> u64 {
    time.as_secs()
        .saturating_add(u64::from(time.subsec_nanos() > 0))
}

/// What the kernel has unless its settings (`net.ipv4.tcp_keepalive_*`) say otherwise: 2 hours, 75 seconds, 9 probes.
impl Default for Keepalive {
    fn default() -> Keepalive {
        Keepalive {
            idle: Duration::from_secs(7200),
            interval: Duration::from_secs(75),
            count: 9,
        }
    }
}
