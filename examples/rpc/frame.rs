//! Frames: how messages are told apart in a stream of bytes.
//!
//! | bytes | what |
//! | --- | --- |
//! | 4 | length of the payload, most significant byte first |
//! | 1 | kind |
//! | 8 | number: of the call, or of the session |
//! | … | payload |

use std::io::{self, Read, Write};

use crate::buffers::{Buffer, Buffers};

/// The longest payload. What is longer is a mistake or an attack: nothing is allocated for it.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 1 << 20;

const HEADER_BYTES: usize = 4 + 1 + 8;

/// What a frame means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// The client's first, with the number of its session. The payload is numbers, too: that of the connection, and
    /// those of the calls whose answers it still wants.
    Hello = 1,
    Request = 2,
    Answer = 3,
    /// An answer too: a text that says why there is none.
    Failure = 4,
    /// The client has the answer, or wants it no more.
    Ack = 5,
    /// Somebody is there.
    Beat = 6,
}

impl Kind {
    fn from_byte(byte: u8) -> io::Result<Kind> {
        use Kind::{Ack, Answer, Beat, Failure, Hello, Request};
        [Hello, Request, Answer, Failure, Ack, Beat]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
            .ok_or_else(|| invalid(format!("got a frame of kind {byte}, expected 1 to 6")))
    }
}

pub(crate) struct Frame {
    pub(crate) kind: Kind,
    pub(crate) number: u64,
    pub(crate) payload: Buffer,
}

impl Frame {
    pub(crate) fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let length = u32::try_from(self.payload.len())
            .map_err(|_| invalid(format!("got {} bytes to send", self.payload.len())))?;
        to.write_all(&length.to_be_bytes())?;
        to.write_all(&[self.kind as u8])?;
        to.write_all(&self.number.to_be_bytes())?;
        to.write_all(&self.payload)
    }

    /// The next frame; an error at the end of the stream, which has to come between frames in an orderly goodbye.
    pub(crate) fn read(from: &mut impl Read, buffers: &Buffers) -> io::Result<Frame> {
        let mut header = [0; HEADER_BYTES];
        from.read_exact(&mut header)?;
        let [l0, l1, l2, l3, kind, number @ ..] = header;
        let kind = Kind::from_byte(kind)?;
        let length = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
        if length > PAYLOAD_BYTES_MAX {
            return Err(invalid(format!(
                "got a frame of {length} bytes, expected {PAYLOAD_BYTES_MAX} at most"
            )));
        }
        let mut payload = buffers.take();
        // Grows with what comes: what is only announced costs nothing.
        if from.take(length as u64).read_to_end(&mut payload)? < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let number = u64::from_be_bytes(number);
        Ok(Frame {
            kind,
            number,
            payload,
        })
    }
}

/// The error for a peer that does not keep to the protocol.
pub(crate) fn invalid(text: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text.into())
}
