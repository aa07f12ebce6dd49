//! `Read` and `Write`, where the thing has them.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};

use withy_runtime::poll::Direction;

use super::thing::Pollable;

impl<T: Read> Read for Pollable<T> {
    /// Reads what is there, and waits while there is nothing.
    ///
    /// # Cancellation
    ///
    /// A blocking call: from a coroutine it may unwind, when that is cancelled or a timeout around it elapses. Nothing
    /// is lost.
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.read_with_mut(|io| io.read(buf))
    }

    /// As `read`, into several buffers.
    ///
    /// # Cancellation
    ///
    /// As `read`.
    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.read_with_mut(|io| io.read_vectored(bufs))
    }
}

impl<'a, T> Read for &'a Pollable<T>
where
    &'a T: Read,
{
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.with(Direction::Read, |mut io| io.read(buf))
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.with(Direction::Read, |mut io| io.read_vectored(bufs))
    }
}

impl<T: Write> Write for Pollable<T> {
    /// Writes what there is room for, and waits while there is none.
    ///
    /// # Cancellation
    ///
    /// A blocking call: from a coroutine it may unwind, when that is cancelled or a timeout around it elapses. Then
    /// nothing of `buf` was written.
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.write_with_mut(|io| io.write(buf))
    }

    /// As `write`, from several buffers.
    ///
    /// # Cancellation
    ///
    /// As `write`.
    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.write_with_mut(|io| io.write_vectored(bufs))
    }

    /// Flushes the thing, and waits while there is no room for what it keeps back.
    ///
    /// # Cancellation
    ///
    /// As `write`.
    fn flush(&mut self) -> io::Result<()> {
        self.write_with_mut(Write::flush)
    }
}

impl<'a, T> Write for &'a Pollable<T>
where
    &'a T: Write,
{
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.with(Direction::Write, |mut io| io.write(buf))
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.with(Direction::Write, |mut io| io.write_vectored(bufs))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.with(Direction::Write, |mut io| io.flush())
    }
}
