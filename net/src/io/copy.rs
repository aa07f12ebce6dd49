//! One direction, as std's `io::copy`.

use std::io::{self, Read, Write};

use withy_runtime::poll::{Direction, Registration};

use super::carrier::Buffer;
use super::lane::{End, Hint, Lane};
use crate::interop;

/// Copies the entire contents of a reader into a writer, as [`std::io::copy`], and gives the number of bytes.
///
/// It reads until the reader's end, which is not passed on: [`shutdown`](crate::TcpStream::shutdown) does that. Between two streams of withy
/// (given as they are, or as references to them) the bytes are [spliced](super#splice) if the kernel can; anything else goes through a buffer of 64 KiB, which is taken for as
/// long as the copy goes on.
///
/// The streams' timeouts and deadlines limit its waits as they do those of `read` and `write`.
///
/// # Cancellation
///
/// A blocking call: from a coroutine it may unwind, when that is cancelled or a timeout around it elapses. Nothing is copied twice; what was read and
/// not written yet (at most what a pipe holds, 2 MiB, or 64 KiB through the buffer) is lost, so neither stream can be used for the rest.
///
/// # Errors
///
/// The first of the reader's and the writer's; `Interrupted` is retried. As with std's, how much was copied before is not told:
/// [`copy_bidirectional`](super::copy_bidirectional) tells. `WouldBlock` if a stream's timeout passed, or if it is in non-blocking mode; then bytes may be lost as above.
///
/// # Examples
///
/// ```
/// # mod withy { pub use withy_net as net; pub use withy_net::io; }
/// use std::io::{Read, Write};
/// use withy::net::{Shutdown, TcpListener, TcpStream};
///
/// # fn main() -> std::io::Result<()> {
/// # let pair = || -> std::io::Result<(TcpStream, TcpStream)> {
/// #     let listener = TcpListener::bind("127.0.0.1:0")?;
/// #     let near = TcpStream::connect(listener.local_addr()?)?;
/// #     Ok((near, listener.accept()?.0))
/// # };
/// let (mut source, mut incoming) = pair()?;
/// let (mut outgoing, mut sink) = pair()?;
/// source.write_all(b"hello")?;
/// source.shutdown(Shutdown::Write)?;
///
/// assert_eq!(withy::io::copy(&mut incoming, &mut outgoing)?, 5);
/// outgoing.shutdown(Shutdown::Write)?;
/// let mut text = String::new();
/// sink.read_to_string(&mut text)?;
/// assert_eq!(text, "hello");
/// # Ok(())
/// # }
/// ```
pub fn copy<R, W>(reader: &mut R, writer: &mut W) -> io::Result<u64>
where
    R: Read + ?Sized,
    W: Write + ?Sized,
{
    let from = interop::registration_in(&*reader);
    let to = interop::registration_in(&*writer);
    match (from, to) {
        (Some(from), Some(to)) => copy_between(from, to),
        _ => copy_through_buffer(reader, writer),
    }
}

fn copy_between(from: &Registration, to: &Registration) -> io::Result<u64> {
    let mut lane = Lane::new(End::new(from)?, End::new(to)?);
    // Whether a transfer has emptied the source, or filled the destination, it cannot tell: the pipe may be what was short.
    loop {
        // Nobody asks poll(2) here: an edge that was seen in front of an urgent mark does not come again (L5).
        let taken = from.io(
            Direction::Read,
            |_| lane.fill(Hint::Readable),
            |_: &usize| false,
        )?;
        if taken == 0 {
            return Ok(lane.moved());
        }
        while !lane.is_empty() {
            to.io(Direction::Write, |_| lane.drain(), |_: &usize| false)?;
        }
    }
}

fn copy_through_buffer<R, W>(reader: &mut R, writer: &mut W) -> io::Result<u64>
where
    R: Read + ?Sized,
    W: Write + ?Sized,
{
    let mut buffer = Buffer::take();
    let mut copied = 0;
    loop {
        match buffer.fill_by(|room| reader.read(room)) {
            Ok(0) => return Ok(copied),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        writer.write_all(buffer.rest())?;
        copied += buffer.rest().len() as u64;
        buffer.clear();
    }
}
