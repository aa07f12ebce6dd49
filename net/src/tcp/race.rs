//! Connecting to whichever of several addresses answers first: Happy Eyeballs (RFC 8305).
//!
//! The addresses are tried in order, the families in turn (section 4 of the RFC). An attempt that is not over within a
//! quarter of a second, or fails, is joined by the next (section 5); the first to succeed wins, and the others are
//! closed. Sorting by source address (RFC 6724) and asking for AAAA and A at once (section 3) are the resolver's part.
//!
//! One caller waits for all attempts, by a select over their sockets: there is no coroutine, thread or timer for each. So
//! when it unwinds, all of them are closed on its way.

use std::error::Error;
use std::fmt::{self, Write};
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use std::vec;

use socket2::{Domain, SockAddr};
use withy_runtime::poll::{Direction, refuse_while_unwinding};
use withy_runtime::sync::channel::Select;
use withy_runtime::{now, yield_now};

use super::connect::{advance, connect, connected, fresh};
use crate::resolve::no_addresses;
use crate::socket::Socket;

/// The Connection Attempt Delay that RFC 8305 recommends (section 8).
const DELAY: Duration = Duration::from_millis(250);

/// Attempts under way. With that many the next address has to wait until one of them fails; none is given up, since the slow
/// one may be the one that works.
const IN_FLIGHT_MAX: usize = 8;

/// Addresses that are sorted and tried together. A longer list is taken in groups, so that an endless one needs no
/// endless memory.
const GROUP_MAX: usize = 64;

/// Attempts whose errors are told one by one.
const LISTED_MAX: usize = 8;

/// Connects to the first of `addrs` that answers. One address costs no more than [`connect`] does.
///
/// # Errors
/// That of the address that was tried last; of its kind, if there were several, with a text that tells of all.
pub(super) fn connect_any(mut addrs: impl Iterator<Item = SocketAddr>) -> io::Result<Socket> {
    let first = addrs.next().ok_or_else(no_addresses)?;
    let Some(second) = addrs.next() else {
        return connect(&first, None);
    };
    let mut addrs = [first, second].into_iter().chain(addrs);
    let mut failures = Failures::default();
    loop {
        let group: Vec<_> = addrs.by_ref().take(GROUP_MAX).collect();
        if group.is_empty() {
            return Err(failures.into_error());
        }
        if let Some(socket) = Race::among(group, &mut failures).run()? {
            return connected(socket);
        }
        // Refusals come without a wait: between groups others run, and a cancellation arrives.
        yield_now();
    }
}

/// The attempts of one group.
struct Race<'f> {
    untried: vec::IntoIter<SocketAddr>,
    /// Those that began first are first.
    in_flight: Vec<Attempt>,
    /// The next attempt begins then, or as soon as one has failed: `None`.
    next_at: Option<Instant>,
    failures: &'f mut Failures,
}

/// A handshake under way; closed when it is dropped.
struct Attempt {
    number: usize,
    addr: SocketAddr,
    socket: Socket,
}

impl<'f> Race<'f> {
    fn among(addrs: Vec<SocketAddr>, failures: &'f mut Failures) -> Race<'f> {
        Race {
            untried: interleaved(addrs).into_iter(),
            in_flight: Vec::new(),
            next_at: None,
            failures,
        }
    }

    /// The winner's socket; `None` if all have failed.
    ///
    /// # Errors
    /// If the caller must not wait.
    fn run(mut self) -> io::Result<Option<Socket>> {
        loop {
            let won = if let Some(addr) = self.next_to_try() {
                self.begin(addr)
            } else if self.in_flight.is_empty() {
                return Ok(None);
            } else if let Some(place) = self.wait()? {
                self.look_at(place)
            } else {
                None
            };
            if won.is_some() {
                return Ok(won);
            }
        }
    }

    /// The address that is to be tried now, if any is.
    fn next_to_try(&mut self) -> Option<SocketAddr> {
        if self.is_full() || self.next_at.is_some_and(|at| now() < at) {
            return None;
        }
        self.untried.next()
    }

    fn is_full(&self) -> bool {
        self.in_flight.len() == IN_FLIGHT_MAX
    }

    fn begin(&mut self, addr: SocketAddr) -> Option<Socket> {
        let number = self.failures.begin();
        self.next_at = None;
        let begun = fresh(Domain::for_address(addr)).and_then(|socket| {
            let attempt = Attempt {
                number,
                addr,
                socket,
            };
            let connects = attempt.advance()?;
            Ok((attempt, connects))
        });
        match begun {
            Ok((attempt, Handshake::Done)) => return Some(attempt.socket),
            Ok((attempt, Handshake::GoesOn)) => {
                self.in_flight.push(attempt);
                self.next_at = now().checked_add(DELAY);
            }
            Err(error) => self.failures.add(number, addr, error),
        }
        None
    }

    /// Waits for news of an attempt, and gives its place; `None` when it is time for the next one to begin.
    fn wait(&self) -> io::Result<Option<usize>> {
        refuse_while_unwinding()?;
        // Biased: of two that have connected, the better address.
        let mut select = Select::new_biased();
        for attempt in &self.in_flight {
            select.writable(attempt.socket.registration());
        }
        let next_at = self
            .next_at
            .filter(|_| !self.is_full() && self.untried.len() > 0);
        Ok(match next_at {
            Some(at) => select.ready_deadline(at).ok(),
            None => Some(select.ready()),
        })
    }

    fn look_at(&mut self, place: usize) -> Option<Socket> {
        let attempt = &self.in_flight[place];
        let outcome = match attempt.advance() {
            Ok(Handshake::Done) => return Some(self.in_flight.swap_remove(place).socket),
            Ok(Handshake::GoesOn) => attempt.wait_alone(),
            Err(error) => Err(error),
        };
        if let Err(error) = outcome {
            let failed = self.in_flight.remove(place);
            self.failures.add(failed.number, failed.addr, error);
            self.next_at = None;
        }
        None
    }
}

/// How far an attempt is.
enum Handshake {
    Done,
    GoesOn,
}

impl Attempt {
    fn advance(&self) -> io::Result<Handshake> {
        match advance(&self.socket.handle(), &SockAddr::from(self.addr)) {
            Ok(()) => Ok(Handshake::Done),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Handshake::GoesOn),
            Err(error) => Err(error),
        }
    }

    /// For one that the select calls ready and that is not: it could not be registered. A wait for it alone says why.
    #[cold]
    fn wait_alone(&self) -> io::Result<()> {
        let until = now().checked_add(DELAY);
        match self.socket.registration().wait(Direction::Write, until) {
            Err(error) if error.kind() != io::ErrorKind::TimedOut => Err(error),
            _ => Ok(()),
        }
    }
}

/// The families in turn, beginning with that of the first address; otherwise in order (RFC 8305, section 4, with a "First Address
/// Family Count" of 1).
fn interleaved(addrs: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_ipv6 = addrs.first().is_some_and(SocketAddr::is_ipv6);
    let mut sorted = Vec::with_capacity(addrs.len());
    let (firsts, seconds): (Vec<_>, Vec<_>) = addrs
        .into_iter()
        .partition(|addr| addr.is_ipv6() == first_is_ipv6);
    let mut seconds = seconds.into_iter();
    for first in firsts {
        sorted.push(first);
        sorted.extend(seconds.next());
    }
    sorted.extend(seconds);
    sorted
}

/// What has become of the attempts that have failed.
#[derive(Default)]
struct Failures {
    begun: usize,
    failed: usize,
    text: String,
    /// Of the attempt that began last, and its number.
    last: Option<(usize, io::Error)>,
}

impl Failures {
    /// The number of an attempt that begins.
    fn begin(&mut self) -> usize {
        self.begun += 1;
        self.begun
    }

    fn add(&mut self, number: usize, addr: SocketAddr, error: io::Error) {
        self.failed += 1;
        if self.failed <= LISTED_MAX {
            let separator = if self.failed == 1 { "" } else { "; " };
            // Writing to a string cannot fail.
            let _ = write!(self.text, "{separator}{addr}: {error}");
        }
        if self.last.as_ref().is_none_or(|(last, _)| *last < number) {
            self.last = Some((number, error));
        }
    }

    fn into_error(self) -> io::Error {
        let Some((_, last)) = self.last else {
            return no_addresses();
        };
        let mut text = format!(
            "could not connect to any of {} addresses: {}",
            self.failed, self.text
        );
        if self.failed > LISTED_MAX {
            let _ = write!(text, "; and {} more", self.failed - LISTED_MAX);
        }
        io::Error::new(last.kind(), AllFailed { text, last })
    }
}

/// What an error says that stands for several.
#[derive(Debug)]
struct AllFailed {
    text: String,
    last: io::Error,
}

impl fmt::Display for AllFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for AllFailed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.last)
    }
}

#[cfg(test)]
mod tests;
