//! What a buffered reader has taken and its user has not read.

use std::io::{self, BufReader, Read, Write};

/// Writes the bytes that `reader` holds in its buffer to `writer`, and gives their number. Its stream is not read.
///
/// After this the stream behind the reader can be used directly: by [`copy_bidirectional`](super::copy_bidirectional), say. See
/// [the module](super#buffered-readers-and-writers) for an example.
///
/// # Cancellation
///
/// A blocking call: from a coroutine it may unwind, when that is cancelled or a timeout around it elapses. The reader still holds what no call of `write` has taken.
///
/// # Errors
///
/// The writer's; `WriteZero` if it takes nothing. `Interrupted` is retried. The reader still holds what was not written.
///
/// # Differences from std
///
/// std has no such function.
///
/// # Examples
///
/// ```
/// # mod withy { pub use withy_net as net; pub use withy_net::io; }
/// use std::io::{BufRead, BufReader};
///
/// # fn main() -> std::io::Result<()> {
/// let mut reader = BufReader::new(&b"a line\nand more"[..]);
/// reader.read_line(&mut String::new())?;
/// let mut rest = Vec::new();
/// assert_eq!(withy::io::write_buffered(&mut reader, &mut rest)?, 8);
/// assert_eq!(rest, b"and more");
/// assert!(reader.buffer().is_empty());
/// # Ok(())
/// # }
/// ```
pub fn write_buffered<R, W>(reader: &mut BufReader<R>, writer: &mut W) -> io::Result<usize>
where
    R: Read + ?Sized,
    W: Write + ?Sized,
{
    use std::io::BufRead;

    let mut written = 0;
    while !reader.buffer().is_empty() {
        match writer.write(reader.buffer()) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(some) => {
                reader.consume(some);
                written += some;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}
