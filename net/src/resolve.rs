//! From what the user gave to socket addresses.
//!
//! `getaddrinfo` blocks for as long as name servers please, so it must not run on a worker. Nor can just any
//! [`ToSocketAddrs`] be taken to another thread: std does not ask it to be `Send`, and neither may we. So the types for
//! which *std* looks names up (strings, and pairs of a string and a port) are recognised, and their text goes to another
//! thread (`lookup.rs`); every other type runs where it is. Those of std are addresses already; an implementation of the
//! user's own that looks names up itself holds its worker meanwhile, which the docs of `connect` say.

mod lookup;

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::vec;

use crate::interop;

pub use lookup::{lookup_host, lookup_host_timeout};

/// What std would look up, borrowed from the user's argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name<'a> {
    /// `"host:port"`
    Joined(&'a str),
    /// `("host", port)`
    Pair(&'a str, u16),
}

impl Name<'_> {
    /// Whether this is the text of an address, which std parses without a question to anyone.
    fn is_address(self) -> bool {
        match self {
            Name::Joined(text) => text.parse::<SocketAddr>().is_ok(),
            Name::Pair(host, _) => host.parse::<IpAddr>().is_ok(),
        }
    }
}

/// Calls `attempt` with each address until one succeeds; the error is that of the last attempt.
pub(crate) fn each_addr<A: ToSocketAddrs, T>(
    addr: A,
    attempt: impl FnMut(&SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    first(addresses(&addr)?, attempt)
}

/// The addresses that `addr` stands for. A name is looked up, and the wait for that may unwind.
pub(crate) fn addresses<A: ToSocketAddrs>(addr: &A) -> io::Result<Addresses<A::Iter>> {
    match interop::name_in(addr) {
        Some(name) if !name.is_address() => lookup::look_up(name, None).map(Addresses::LookedUp),
        _ => addr.to_socket_addrs().map(Addresses::Given),
    }
}

/// Addresses from either source: those that the user gave need no list of ours.
pub(crate) enum Addresses<I> {
    LookedUp(vec::IntoIter<SocketAddr>),
    Given(I),
}

impl<I: Iterator<Item = SocketAddr>> Iterator for Addresses<I> {
    type Item = SocketAddr;

    fn next(&mut self) -> Option<SocketAddr> {
        match self {
            Addresses::LookedUp(addrs) => addrs.next(),
            Addresses::Given(addrs) => addrs.next(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match self {
            Addresses::LookedUp(addrs) => addrs.size_hint(),
            Addresses::Given(addrs) => addrs.size_hint(),
        }
    }
}

fn first<T>(
    addrs: impl Iterator<Item = SocketAddr>,
    mut attempt: impl FnMut(&SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    let mut last_error = None;
    for addr in addrs {
        match attempt(&addr) {
            Ok(done) => return Ok(done),
            Err(error) => last_error = Some(error),
        }
    }
    Err(last_error.unwrap_or_else(no_addresses))
}

/// As std's.
pub(crate) fn no_addresses() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        "could not resolve to any addresses",
    )
}
