//! What is known of what there is to be read from a socket, so that nobody asks the kernel in vain: a poller has told of it, and no
//! read since then was short. As nginx has it: a request costs one read, not a second one to hear that there is no more.

use std::io::{self, Read};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::parts::callbacks::ready;
use crate::parts::event_loop::Ready;

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Input {
    /// There may be something.
    is_ready: bool,
    /// A short read is not the last: of the end of the stream, and of what stands behind urgent data, one is told once, perhaps
    /// together with what comes before it.
    is_ending: bool,
}

impl Input {
    pub(crate) fn note(&mut self, told: Ready) {
        self.is_ready |= told.reads;
        self.is_ending |= told.is_ending;
    }

    pub(crate) fn is_ready(self) -> bool {
        self.is_ready
    }

    /// What is there, and fits; `None`: nothing, until the poller tells.
    pub(crate) fn read(
        &mut self,
        mut stream: &TcpStream,
        buf: &mut [u8],
    ) -> io::Result<Option<usize>> {
        if !self.is_ready {
            return Ok(None);
        }
        let got = ready(stream.read(buf))?;
        self.is_ready = got.is_some_and(|length| length == buf.len() || self.is_ending);
        Ok(got)
    }
}

/// Whether the socket has failed, of which a poller says so. It is asked: the word may be of one that had its place before.
pub(crate) fn has_failed(stream: &TcpStream, told: Ready) -> bool {
    told.is_broken && !matches!(stream.take_error(), Ok(None))
}

/// What was told of a socket, for whoever has the claim to it: to be added to before the claim is taken, and taken after that.
/// Relaxed throughout: the claim carries it over.
#[derive(Default)]
pub(crate) struct Told(AtomicU8);

const READS: u8 = 1;
const IS_ENDING: u8 = 2;
const IS_BROKEN: u8 = 4;

impl Told {
    pub(crate) fn add(&self, told: Ready) {
        let bit = |is_set, bit| if is_set { bit } else { 0 };
        let bits = bit(told.reads, READS)
            | bit(told.is_ending, IS_ENDING)
            | bit(told.is_broken, IS_BROKEN);
        self.0.fetch_or(bits, Ordering::Relaxed);
    }

    /// Everything since the last time, of the socket with that token.
    pub(crate) fn take(&self, token: usize) -> Ready {
        let bits = self.0.swap(0, Ordering::Relaxed);
        Ready {
            token,
            reads: bits & READS != 0,
            is_ending: bits & IS_ENDING != 0,
            is_broken: bits & IS_BROKEN != 0,
        }
    }
}
