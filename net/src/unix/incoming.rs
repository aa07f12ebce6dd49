use std::io;
use std::iter::FusedIterator;

use super::listener::UnixListener;
use super::stream::UnixStream;

/// An iterator that [accepts](UnixListener::accept) connections for ever; see [`UnixListener::incoming`].
#[must_use = "iterators are lazy and do nothing unless consumed"]
#[derive(Debug)]
pub struct Incoming<'a> {
    pub(super) listener: &'a UnixListener,
}

impl Iterator for Incoming<'_> {
    type Item = io::Result<UnixStream>;

    /// The next connection.
    ///
    /// # Cancellation
    ///
    /// As [`UnixListener::accept`].
    fn next(&mut self) -> Option<io::Result<UnixStream>> {
        Some(self.listener.accept().map(|(stream, _)| stream))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (usize::MAX, None)
    }
}

impl FusedIterator for Incoming<'_> {}
