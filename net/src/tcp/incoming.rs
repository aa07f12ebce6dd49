use std::io;
use std::iter::FusedIterator;

use super::listener::TcpListener;
use super::stream::TcpStream;

/// An iterator that [accepts](TcpListener::accept) connections for ever; see [`TcpListener::incoming`].
#[must_use = "iterators are lazy and do nothing unless consumed"]
#[derive(Debug)]
pub struct Incoming<'a> {
    pub(super) listener: &'a TcpListener,
}

impl Iterator for Incoming<'_> {
    type Item = io::Result<TcpStream>;

    /// The next connection.
    ///
    /// # Cancellation
    ///
    /// As [`TcpListener::accept`].
    fn next(&mut self) -> Option<io::Result<TcpStream>> {
        Some(self.listener.accept().map(|(stream, _)| stream))
    }
}

impl FusedIterator for Incoming<'_> {}
