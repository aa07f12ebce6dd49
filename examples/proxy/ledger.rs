//! What each connection has passed on, for the report at the end: of the last ones a line each, of all others their number.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use withy::io::{Copied, CopyCounters};

use crate::upstreams::Place;

/// Where connections are entered when they end.
pub(crate) struct Ledger {
    entries_max: usize,
    /// std's lock: it is held for a push, and never over a wait.
    book: Mutex<Book>,
}

#[derive(Default)]
pub(crate) struct Book {
    /// The last to end, and so all that were cut off, as far as there is room.
    pub(crate) entries: VecDeque<Entry>,
    /// Those before them.
    pub(crate) left_out: usize,
}

/// A connection that has ended.
pub(crate) struct Entry {
    client: SocketAddr,
    upstream: SocketAddr,
    end: Cow<'static, str>,
    pub(crate) copied: Copied,
}

/// A connection that goes on. It is entered when it is dropped: also where being cut off unwinds.
pub(crate) struct Account<'a> {
    ledger: &'a Ledger,
    client: SocketAddr,
    place: Place<'a>,
    pub(crate) counters: CopyCounters,
    /// How it has ended, unless it was cut off.
    pub(crate) end: Option<Cow<'static, str>>,
}

impl Ledger {
    pub(crate) fn new(entries_max: usize) -> Ledger {
        Ledger {
            entries_max,
            book: Mutex::default(),
        }
    }

    pub(crate) fn open<'a>(&'a self, client: SocketAddr, place: Place<'a>) -> Account<'a> {
        Account {
            ledger: self,
            client,
            place,
            counters: CopyCounters::new(),
            end: None,
        }
    }

    fn enter(&self, entry: Entry) {
        log::info!("{entry}");
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        book.entries.push_back(entry);
        if book.entries.len() > self.entries_max {
            book.entries.pop_front();
            book.left_out += 1;
        }
    }

    pub(crate) fn close(self) -> Book {
        self.book
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Account<'_> {
    fn drop(&mut self) {
        let copied = self.counters.read();
        self.place.count(copied);
        self.ledger.enter(Entry {
            client: self.client,
            upstream: self.place.address(),
            end: self.end.take().unwrap_or("was cut off".into()),
            copied,
        });
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} with {}: {}; {} bytes there, {} back",
            self.client, self.upstream, self.end, self.copied.a_to_b, self.copied.b_to_a
        )
    }
}

impl fmt::Display for Book {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for entry in &self.entries {
            writeln!(f, "{entry}")?;
        }
        match self.left_out {
            0 => Ok(()),
            more => writeln!(f, "and {more} connections that ended before these"),
        }
    }
}
