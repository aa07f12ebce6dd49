//! What bytes are in between the moment that they were taken and the moment that they are given: a pipe or a buffer.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::io::retry_on_intr;
use rustix::pipe::{SpliceFlags, splice};

use super::lane::End;
use super::pool::{self, PipeEnds};

/// What one splice asks for: more than any pipe of ours holds, so that the pipe is what limits it.
const SPLICE_BYTES_MAX: usize = 1 << 20;

/// Without `MORE`: the kernel would hold back a last piece for 200 ms, in the hope of more (golang/go#10948).
const FLAGS: SpliceFlags = SpliceFlags::MOVE.union(SpliceFlags::NONBLOCK);

/// A pipe of the pool. An empty one goes back there; one with bytes in it, which nobody will ever want, is closed.
pub(super) struct Pipe {
    ends: Option<PipeEnds>,
    bytes: usize,
}

impl Pipe {
    pub(super) fn take() -> Option<Pipe> {
        let ends = pool::take_pipe()?;
        Some(Pipe {
            ends: Some(ends),
            bytes: 0,
        })
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// From a descriptor that is `O_NONBLOCK`. `WouldBlock` is the descriptor's doing, since the pipe is empty.
    pub(super) fn fill(&mut self, from: BorrowedFd<'_>) -> io::Result<usize> {
        debug_assert_eq!(self.bytes, 0, "spliced into a pipe that is not empty");
        let into = &self.ends().write;
        let taken = retry_on_intr(|| splice(from, None, into, None, SPLICE_BYTES_MAX, FLAGS))?;
        self.bytes = taken;
        Ok(taken)
    }

    /// To a descriptor that is `O_NONBLOCK`. `WouldBlock` is the descriptor's doing, since the pipe is not empty.
    pub(super) fn drain(&mut self, to: BorrowedFd<'_>) -> io::Result<usize> {
        debug_assert_ne!(self.bytes, 0, "spliced from an empty pipe");
        let from = &self.ends().read;
        let given = retry_on_intr(|| splice(from, None, to, None, self.bytes, FLAGS))?;
        self.bytes -= given;
        Ok(given)
    }

    /// The same bytes in a buffer, for a destination that refuses to be spliced to.
    pub(super) fn into_buffer(mut self) -> io::Result<Buffer> {
        let mut bytes = vec![0; self.bytes];
        while self.bytes > 0 {
            let at = bytes.len() - self.bytes;
            let from = &self.ends().read;
            match retry_on_intr(|| rustix::io::read(from, &mut bytes[at..]))? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => self.bytes -= read,
            }
        }
        Ok(Buffer {
            end: bytes.len(),
            start: 0,
            bytes: bytes.into(),
        })
    }

    fn ends(&self) -> &PipeEnds {
        self.ends.as_ref().expect("they are taken by drop alone")
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        if let Some(ends) = self.ends.take()
            && self.bytes == 0
        {
            pool::give_pipe(ends);
        }
    }
}

/// A buffer of the pool, which has bytes in `start..end`.
pub(super) struct Buffer {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Buffer {
    pub(super) fn take() -> Buffer {
        Buffer {
            bytes: pool::take_buffer(),
            start: 0,
            end: 0,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.end - self.start
    }

    pub(super) fn fill(&mut self, from: &End<'_>) -> io::Result<usize> {
        self.fill_by(|room| from.read(room))
    }

    /// By a call that reads into the room that it is given.
    pub(super) fn fill_by(
        &mut self,
        read: impl FnOnce(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        debug_assert_eq!(self.bytes(), 0, "read into a buffer that is not empty");
        let taken = read(&mut self.bytes)?;
        (self.start, self.end) = (0, taken);
        Ok(taken)
    }

    pub(super) fn drain(&mut self, to: &End<'_>) -> io::Result<usize> {
        let given = to.write(self.rest())?;
        self.start += given;
        Ok(given)
    }

    /// All of it was given.
    pub(super) fn clear(&mut self) {
        self.start = self.end;
    }

    /// What has not been given yet.
    pub(super) fn rest(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        pool::give_buffer(std::mem::take(&mut self.bytes));
    }
}
