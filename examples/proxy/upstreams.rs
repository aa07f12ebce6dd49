//! Where connections go: the upstream that has the fewest of those that seem to be well.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use withy::io::Copied;
use withy::net::TcpStream;

pub(crate) struct Upstreams {
    all: Vec<Upstream>,
    connect_timeout: Duration,
}

struct Upstream {
    address: SocketAddr,
    /// As far as is known: from the last connection, the proxy's own or one that was tried to see.
    is_well: AtomicBool,
    /// Connections now.
    open: AtomicUsize,
    /// Connections so far.
    taken: AtomicUsize,
    bytes_there: AtomicU64,
    bytes_back: AtomicU64,
}

/// A connection's place among those of an upstream. It leaves when it is dropped.
pub(crate) struct Place<'a>(&'a Upstream);

/// What an upstream has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) address: SocketAddr,
    pub(crate) connections: usize,
    pub(crate) bytes_there: u64,
    pub(crate) bytes_back: u64,
}

impl Upstreams {
    pub(crate) fn new(addresses: &[SocketAddr], connect_timeout: Duration) -> Upstreams {
        Upstreams {
            all: addresses
                .iter()
                .map(|&address| Upstream::new(address))
                .collect(),
            connect_timeout,
        }
    }

    /// A connection to the upstream with the fewest; to the next if that one does not take it, until all have been tried.
    ///
    /// # Errors
    /// That of the last.
    pub(crate) fn connect(&self) -> io::Result<(TcpStream, Place<'_>)> {
        let mut untried: Vec<_> = self.all.iter().collect();
        let mut last = io::Error::other("there is no upstream");
        while let Some(index) = best(&untried) {
            // In its place before it is connected, so that those who come meanwhile choose another.
            let place = Place::take(untried.swap_remove(index));
            match place.0.connect(self.connect_timeout) {
                Ok(stream) => {
                    place.0.taken.fetch_add(1, Ordering::Relaxed);
                    return Ok((stream, place));
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Looks at all of them, again and again: one that is down is noticed before a client has to wait for it, and one that is
    /// back gets connections again.
    pub(crate) fn watch(&self, interval: Duration) {
        loop {
            withy::sleep(interval);
            // All at once: none has to wait for the time limit of another.
            withy::scope(|scope| {
                for upstream in &self.all {
                    scope.spawn(|| upstream.connect(self.connect_timeout).map(drop));
                }
            });
        }
    }

    pub(crate) fn summary(&self) -> Vec<Summary> {
        self.all.iter().map(Upstream::summary).collect()
    }
}

/// The one with the fewest connections of those that are well; of all, if none is: an attempt shows more than the last look.
fn best(upstreams: &[&Upstream]) -> Option<usize> {
    let rank = |index: &usize| {
        let upstream: &Upstream = upstreams[*index];
        let is_well = upstream.is_well.load(Ordering::Relaxed);
        (!is_well, upstream.open.load(Ordering::Relaxed))
    };
    (0..upstreams.len()).min_by_key(rank)
}

/// Whether this side could not even ask, for want of a descriptor, of memory or of a port: no upstream is to blame.
fn is_our_own(error: &io::Error) -> bool {
    use libc::{EADDRNOTAVAIL, EMFILE, ENFILE, ENOBUFS, ENOMEM};
    matches!(
        error.raw_os_error(),
        Some(EADDRNOTAVAIL | EMFILE | ENFILE | ENOBUFS | ENOMEM)
    )
}

impl Upstream {
    fn new(address: SocketAddr) -> Upstream {
        Upstream {
            address,
            is_well: AtomicBool::new(true),
            open: AtomicUsize::new(0),
            taken: AtomicUsize::new(0),
            bytes_there: AtomicU64::new(0),
            bytes_back: AtomicU64::new(0),
        }
    }

    /// Connects, and notes whether that went well.
    fn connect(&self, timeout: Duration) -> io::Result<TcpStream> {
        let connected = TcpStream::connect_timeout(&self.address, timeout);
        if connected.as_ref().is_err_and(is_our_own) {
            return connected;
        }
        let is_well = connected.is_ok();
        if self.is_well.swap(is_well, Ordering::Relaxed) != is_well {
            match &connected {
                Ok(_) => log::warn!("{} is back", self.address),
                Err(error) => log::warn!("{} is down: {error}", self.address),
            }
        }
        connected
    }

    fn summary(&self) -> Summary {
        Summary {
            address: self.address,
            connections: self.taken.load(Ordering::Relaxed),
            bytes_there: self.bytes_there.load(Ordering::Relaxed),
            bytes_back: self.bytes_back.load(Ordering::Relaxed),
        }
    }
}

impl<'a> Place<'a> {
    fn take(upstream: &'a Upstream) -> Place<'a> {
        upstream.open.fetch_add(1, Ordering::Relaxed);
        Place(upstream)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.address
    }

    pub(crate) fn count(&self, copied: Copied) {
        self.0
            .bytes_there
            .fetch_add(copied.a_to_b, Ordering::Relaxed);
        self.0
            .bytes_back
            .fetch_add(copied.b_to_a, Ordering::Relaxed);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary {
            address,
            connections,
            bytes_there,
            bytes_back,
        } = self;
        write!(
            f,
            "{address}: {connections} connections, {bytes_there} bytes there, {bytes_back} back"
        )
    }
}
