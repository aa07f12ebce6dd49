//! What every socket type has beside its bytes: addresses, blocking mode, timeouts, options.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use libc::c_int;
use socket2::{SockAddr, TcpKeepalive};
use withy_runtime::poll::{Direction, Registration};

use crate::interop::{self, Queue};
use crate::socket::Socket;
use crate::tcp::Keepalive;

impl Socket {
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        internet(&self.handle().local_addr()?)
    }

    pub(crate) fn peer_addr(&self) -> io::Result<SocketAddr> {
        internet(&self.handle().peer_addr()?)
    }

    /// A Unix socket's end has no event for a writer that waits for room (poll(2) reports neither `POLLOUT` nor
    /// `POLLHUP` after `SHUT_WR`), so those who wait are told here.
    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.handle().shutdown(how)?;
        if matches!(how, Shutdown::Write | Shutdown::Both) {
            self.registration().wake(Direction::Write);
        }
        Ok(())
    }

    /// The user's blocking mode, which all clones share and which the descriptor of a stream shows as `O_NONBLOCK`.
    pub(crate) fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        // A splice may need the descriptor's flag now (`io/lane.rs`, L6).
        self.registration().set_mode(nonblocking)
    }

    pub(crate) fn set_recv_buffer_size(&self, bytes: usize) -> io::Result<()> {
        self.handle().set_recv_buffer_size(buffer_size(bytes))
    }

    pub(crate) fn recv_buffer_size(&self) -> io::Result<usize> {
        self.handle().recv_buffer_size()
    }

    pub(crate) fn set_send_buffer_size(&self, bytes: usize) -> io::Result<()> {
        self.handle().set_send_buffer_size(buffer_size(bytes))
    }

    pub(crate) fn send_buffer_size(&self) -> io::Result<usize> {
        self.handle().send_buffer_size()
    }

    /// Of several settings, none is made if one of them is out of range.
    pub(crate) fn set_keepalive(&self, keepalive: Option<Keepalive>) -> io::Result<()> {
        let Some(keepalive) = keepalive else {
            return self.handle().set_keepalive(false);
        };
        let times = keepalive.in_kernels_units()?;
        let settings = TcpKeepalive::new()
            .with_time(times.idle)
            .with_interval(times.interval)
            .with_retries(times.count);
        self.handle().set_tcp_keepalive(&settings)
    }

    pub(crate) fn keepalive(&self) -> io::Result<Option<Keepalive>> {
        let handle = self.handle();
        if !handle.keepalive()? {
            return Ok(None);
        }
        Ok(Some(Keepalive {
            idle: handle.tcp_keepalive_time()?,
            interval: handle.tcp_keepalive_interval()?,
            count: handle.tcp_keepalive_retries()?,
        }))
    }

    /// Never shorter than asked: up to the next millisecond. Never none for some: not zero.
    pub(crate) fn set_user_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        let Some(timeout) = timeout else {
            return self.handle().set_tcp_user_timeout(None);
        };
        if timeout.is_zero() {
            return Err(zero_timeout());
        }
        let ms = timeout.as_nanos().div_ceil(1_000_000);
        // The kernel's is an int.
        let ms = u64::try_from(ms)
            .ok()
            .filter(|&ms| ms <= c_int::MAX as u64)
            .ok_or_else(|| {
                let text =
                    format!("got a user timeout of {timeout:?}, expected 24 days at most, or None");
                io::Error::new(io::ErrorKind::InvalidInput, text)
            })?;
        self.handle()
            .set_tcp_user_timeout(Some(Duration::from_millis(ms)))
    }

    pub(crate) fn user_timeout(&self) -> io::Result<Option<Duration>> {
        self.handle().tcp_user_timeout()
    }

    /// Up to the next second; the kernel goes on up to its next retransmission.
    pub(crate) fn set_defer_accept(&self, patience: Option<Duration>) -> io::Result<()> {
        let secs = match patience {
            None => 0,
            Some(patience) if patience.is_zero() => return Err(zero_timeout()),
            Some(patience) => {
                let secs = patience.as_nanos().div_ceil(1_000_000_000);
                c_int::try_from(secs).unwrap_or(c_int::MAX)
            }
        };
        interop::set_defer_accept(self.registration().fd(), secs)
    }

    pub(crate) fn defer_accept(&self) -> io::Result<Option<Duration>> {
        let secs = interop::defer_accept(self.registration().fd())?;
        let secs = u64::try_from(secs).unwrap_or(0);
        Ok((secs > 0).then(|| Duration::from_secs(secs)))
    }

    pub(crate) fn queued(&self, queue: Queue) -> io::Result<usize> {
        let bytes = interop::queued(self.registration().fd(), queue)?;
        // The kernel counts no fewer than none.
        Ok(usize::try_from(bytes).unwrap_or(0))
    }
}

/// The kernel's is an int, which must not turn out negative: it is lowered to the system's maximum anyhow.
fn buffer_size(bytes: usize) -> usize {
    bytes.min(c_int::MAX as usize)
}

/// An internet address, or the error that std gives for a socket of another family.
pub(crate) fn internet(addr: &SockAddr) -> io::Result<SocketAddr> {
    addr.as_socket().ok_or_else(|| {
        let text = format!(
            "got a socket address of family {}, expected an IPv4 or IPv6 one; was the descriptor that of an internet socket?",
            addr.family()
        );
        io::Error::new(io::ErrorKind::InvalidInput, text)
    })
}

/// Limits each wait in `direction`.
///
/// # Errors
///
/// `InvalidInput` if the limit is zero.
pub(crate) fn set_timeout(
    registration: &Registration,
    direction: Direction,
    timeout: Option<Duration>,
) -> io::Result<()> {
    if timeout.is_some_and(|timeout| timeout.is_zero()) {
        return Err(zero_timeout());
    }
    registration.set_timeout(direction, timeout);
    Ok(())
}

/// The error for a timeout that could only ever fail.
pub(crate) fn zero_timeout() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        "got a timeout of zero, expected a positive duration; set_nonblocking makes calls return at once",
    )
}
