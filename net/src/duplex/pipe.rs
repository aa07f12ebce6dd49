//! One direction of a stream in memory: bytes in a bounded buffer, and those who wait for them or for room.
//!
//! Readers wait while it is empty, writers while it is full, neither once it is closed. So others have to be woken by
//! a write to an empty pipe, a read from a full one, and the close.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::time::{Duration, Instant};

use withy_runtime::monitor::Monitor;
use withy_runtime::poll::{Clock, Limits, refuse_while_unwinding};

pub(super) struct Pipe {
    bytes: Monitor<Bytes>,
    /// What limits the waits of readers and of writers. Changed under the monitor's lock.
    readers: Limits,
    writers: Limits,
}

/// What was written and not read yet.
struct Bytes {
    queue: VecDeque<u8>,
    capacity: usize,
    /// Nothing is written any more, by either end's doing.
    closed: bool,
}

/// Who waits.
#[derive(Clone, Copy)]
pub(super) enum Side {
    Readers,
    Writers,
}

/// What an attempt came to that need not wait.
struct Done {
    result: io::Result<usize>,
    /// Whether somebody may wait for just this.
    is_news: bool,
}

impl Pipe {
    pub(super) fn new(capacity: usize) -> Pipe {
        Pipe {
            bytes: Monitor::new(Bytes {
                queue: VecDeque::new(),
                capacity,
                closed: false,
            }),
            readers: Limits::default(),
            writers: Limits::default(),
        }
    }

    pub(super) fn close(&self) {
        self.bytes.update(|bytes| bytes.closed = true);
    }

    /// As recv(2): an empty buffer waits for bytes as any other.
    pub(super) fn read(&self, nonblocking: bool, buf: &mut [u8]) -> io::Result<usize> {
        self.transfer(Side::Readers, nonblocking, |bytes| {
            bytes.take(|queue| {
                let len = peek(queue, buf);
                queue.drain(..len);
                len
            })
        })
    }

    /// As readv(2): slices without a byte give 0 without a look at the pipe.
    pub(super) fn read_vectored(
        &self,
        nonblocking: bool,
        bufs: &mut [IoSliceMut<'_>],
    ) -> io::Result<usize> {
        if bufs.iter().all(|buf| buf.is_empty()) {
            return Ok(0);
        }
        self.transfer(Side::Readers, nonblocking, |bytes| {
            bytes.take(|queue| {
                let mut read = 0;
                for buf in &mut *bufs {
                    let len = peek(queue, buf);
                    queue.drain(..len);
                    read += len;
                }
                read
            })
        })
    }

    pub(super) fn peek(&self, nonblocking: bool, buf: &mut [u8]) -> io::Result<usize> {
        self.transfer(Side::Readers, nonblocking, |bytes| {
            bytes.take(|queue| peek(queue, buf))
        })
    }

    pub(super) fn write(&self, nonblocking: bool, buf: &[u8]) -> io::Result<usize> {
        self.transfer(Side::Writers, nonblocking, |bytes| {
            bytes.put(&[IoSlice::new(buf)])
        })
    }

    /// As writev(2): slices without a byte give 0 without a look at the pipe.
    pub(super) fn write_vectored(
        &self,
        nonblocking: bool,
        bufs: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        if bufs.iter().all(|buf| buf.is_empty()) {
            return Ok(0);
        }
        self.transfer(Side::Writers, nonblocking, |bytes| bytes.put(bufs))
    }

    pub(super) fn set_timeout(&self, side: Side, timeout: Option<Duration>) {
        self.bytes
            .update(|_| self.limits(side).set_timeout(timeout));
    }

    pub(super) fn set_deadline(&self, side: Side, deadline: Option<Instant>) {
        self.bytes
            .update(|_| self.limits(side).set_deadline(deadline));
    }

    pub(super) fn limits(&self, side: Side) -> &Limits {
        match side {
            Side::Readers => &self.readers,
            Side::Writers => &self.writers,
        }
    }

    /// Attempts until there is no need to wait, or waiting is over.
    fn transfer(
        &self,
        side: Side,
        nonblocking: bool,
        mut attempt: impl FnMut(&mut Bytes) -> Option<Done>,
    ) -> io::Result<usize> {
        let done = match self.bytes.attempt(&mut attempt) {
            Some(done) => done,
            None if nonblocking => return Err(io::ErrorKind::WouldBlock.into()),
            None => {
                refuse_while_unwinding()?;
                self.wait(self.limits(side), attempt)?
            }
        };
        if done.is_news {
            self.bytes.update(|_| ());
        }
        done.result
    }

    fn wait(
        &self,
        limits: &Limits,
        mut attempt: impl FnMut(&mut Bytes) -> Option<Done>,
    ) -> io::Result<Done> {
        let mut clock = Clock::default();
        loop {
            let end = clock.end(limits);
            let waited = self
                .bytes
                .wait_until(end.and_then(|end| end.instant()), |bytes| {
                    let done = attempt(bytes);
                    // The limits have changed: wait on, with the new ones.
                    let stale = done.is_none() && clock.end(limits) != end;
                    (done.is_some() || stale).then_some(done)
                });
            match (waited, end) {
                (Some(Some(done)), _) => return Ok(done),
                (None, Some(end)) => return Err(end.error()),
                (Some(None), _) | (None, None) => {}
            }
        }
    }
}

impl Bytes {
    /// Reads by `take`, which says how many bytes it gave, unless there are none yet.
    fn take(&mut self, take: impl FnOnce(&mut VecDeque<u8>) -> usize) -> Option<Done> {
        if self.queue.is_empty() {
            return self.closed.then_some(Done {
                result: Ok(0),
                is_news: false,
            });
        }
        let was_full = self.room() == 0;
        let read = take(&mut self.queue);
        Some(Done {
            result: Ok(read),
            is_news: was_full && self.room() > 0,
        })
    }

    /// Writes as much as there is room for, unless there is none.
    fn put(&mut self, bufs: &[IoSlice<'_>]) -> Option<Done> {
        if self.closed {
            return Some(Done {
                result: Err(io::ErrorKind::BrokenPipe.into()),
                is_news: false,
            });
        }
        let asked = bufs.iter().map(|buf| buf.len());
        if self.room() == 0 && asked.clone().any(|len| len > 0) {
            return None;
        }
        let was_empty = self.queue.is_empty();
        let mut written = 0;
        for buf in bufs {
            let len = buf.len().min(self.room());
            self.queue.extend(&buf[..len]);
            written += len;
        }
        Some(Done {
            result: Ok(written),
            is_news: was_empty && written > 0,
        })
    }

    fn room(&self) -> usize {
        self.capacity - self.queue.len()
    }
}

/// Copies from the front of `queue` as much as fits.
fn peek(queue: &VecDeque<u8>, buf: &mut [u8]) -> usize {
    let len = buf.len().min(queue.len());
    let (front, back) = queue.as_slices();
    let split = front.len().min(len);
    buf[..split].copy_from_slice(&front[..split]);
    buf[split..len].copy_from_slice(&back[..len - split]);
    len
}
