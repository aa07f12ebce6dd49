//! From what the user gave to socket addresses, each of which is tried in turn.
//!
//! `getaddrinfo` blocks for as long as name servers please, so it must not run on a worker. Nor can just any
//! [`ToSocketAddrs`] be taken to another thread: std does not ask it to be `Send`, and neither may we. So the types for
//! which *std* looks names up (strings, and pairs of a string and a port) are recognised, and their text goes to the
//! blocking pool; every other type runs where it is. Those of std are addresses already; an implementation of the
//! user's own that looks names up itself holds its worker meanwhile, which the docs of `connect` say.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use withy_runtime::blocking;

use crate::interop;

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

    /// Asks the system's resolver on a thread of the blocking pool; meanwhile the caller is parked. A plain thread
    /// asks by itself.
    fn look_up(self) -> io::Result<std::vec::IntoIter<SocketAddr>> {
        log::trace!(target: "withy::net", "looking up {self:?}");
        blocking(|| match self {
            Name::Joined(text) => text.to_socket_addrs(),
            Name::Pair(host, port) => (host, port).to_socket_addrs(),
        })
    }
}

/// Calls `attempt` with each address until one succeeds; the error is that of the last attempt.
pub(crate) fn each_addr<A: ToSocketAddrs, T>(
    addr: A,
    attempt: impl FnMut(&SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    match interop::name_in(&addr) {
        Some(name) if !name.is_address() => first(name.look_up()?, attempt),
        _ => first(addr.to_socket_addrs()?, attempt),
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
    Err(last_error.unwrap_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            "could not resolve to any addresses",
        )
    }))
}
