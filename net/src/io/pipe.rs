//! Pipes: std's, but that waiting for them parks the coroutine.
//!
//! read(2) and write(2) have no flag for "do not wait", so the descriptors are `O_NONBLOCK` while withy owns them, and
//! what they were before when they are given away. Only `EAGAIN` says that a pipe is empty or full: a writer may have
//! come between a short read and its return.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::process::{ChildStderr, ChildStdin, ChildStdout, Stdio};

use rustix::pipe::{PipeFlags, pipe_with};
use withy_runtime::poll::{AsRegistration, Direction, Registration};

use crate::interop;
use crate::shell::{read_limits, write_limits};
use crate::socket::Socket;

/// Creates a pipe: what is written to the one end is read from the other.
///
/// The ends may be of different runtimes, threads and processes. Both are close-on-exec.
///
/// # Errors
///
/// If there are not two descriptors left, or the user has too many pipes (see pipe(7)).
///
/// # Examples
///
/// ```
/// # mod withy { pub use withy_net::io; }
/// use std::io::{Read, Write};
///
/// # fn main() -> std::io::Result<()> {
/// let (mut reader, mut writer) = withy::io::pipe()?;
/// writer.write_all(b"hello")?;
/// drop(writer);
/// let mut text = String::new();
/// reader.read_to_string(&mut text)?;
/// assert_eq!(text, "hello");
/// # Ok(())
/// # }
/// ```
pub fn pipe() -> io::Result<(PipeReader, PipeWriter)> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    Ok((
        PipeReader {
            socket: Socket::with_boundaries(reader),
        },
        PipeWriter {
            socket: Socket::with_boundaries(writer),
        },
    ))
}

/// The end of a pipe that is read from: [`std::io::PipeReader`], or a child's output, whose reads park the coroutine.
///
/// A read gives 0 once all writers are closed and all bytes are read. Several readers of one pipe queue; each byte goes
/// to one of them. `&PipeReader` reads, too.
///
/// # Differences from std
///
/// * Clones share one descriptor; see [`try_clone`](Self::try_clone).
/// * There are timeouts and deadlines.
/// * From a coroutine, reads may unwind: when it is cancelled, when a timeout around it elapses, and when its runtime
///   shuts down.
/// * The open file description is `O_NONBLOCK` while withy has it, and is put back into its mode when it is converted
///   to a descriptor or a type of std's. A process that has inherited this very end sees the mode, too; the pipe's
///   *other* end, which is what a child usually has, is not concerned.
///
/// # Examples
///
/// The output of a child:
///
/// ```
/// # mod withy { pub use withy_net::io; }
/// use std::io::Read;
/// use std::process::{Command, Stdio};
/// use withy::io::PipeReader;
///
/// # fn main() -> std::io::Result<()> {
/// let mut child = Command::new("echo").arg("hello").stdout(Stdio::piped()).spawn()?;
/// let mut output = PipeReader::from(child.stdout.take().expect("it is piped"));
/// let mut text = String::new();
/// output.read_to_string(&mut text)?;
/// assert_eq!(text, "hello\n");
/// child.wait()?;
/// # Ok(())
/// # }
/// ```
pub struct PipeReader {
    /// `Socket` is a descriptor that clones share, with its readiness; a pipe's differs by its system calls alone.
    socket: Socket,
}

/// The end of a pipe that is written to: [`std::io::PipeWriter`], or a child's input, whose writes park the coroutine.
///
/// A write to a pipe whose readers are all closed fails with `BrokenPipe`; `SIGPIPE` is ignored in Rust programs (one
/// that has changed that is killed by the signal, as it would be with std: there is no flag against it, as sockets
/// have). Up to 4,096 bytes are written whole or not at all, so messages of several writers do not mix (pipe(7),
/// `PIPE_BUF`). `&PipeWriter` writes, too.
///
/// # Differences from std
///
/// Those of [`PipeReader`].
///
/// # Examples
///
/// The input of a child:
///
/// ```
/// # mod withy { pub use withy_net::io; }
/// use std::io::{Read, Write};
/// use std::process::{Command, Stdio};
/// use withy::io::{PipeReader, PipeWriter};
///
/// # fn main() -> std::io::Result<()> {
/// let mut child = Command::new("tr")
///     .args(["a-z", "A-Z"])
///     .stdin(Stdio::piped())
///     .stdout(Stdio::piped())
///     .spawn()?;
/// let mut input = PipeWriter::from(child.stdin.take().expect("it is piped"));
/// let mut output = PipeReader::from(child.stdout.take().expect("it is piped"));
/// input.write_all(b"loud")?;
/// drop(input);
/// let mut text = String::new();
/// output.read_to_string(&mut text)?;
/// assert_eq!(text, "LOUD");
/// child.wait()?;
/// # Ok(())
/// # }
/// ```
pub struct PipeWriter {
    socket: Socket,
}

impl PipeReader {
    /// Another handle to the same end.
    ///
    /// # Errors
    ///
    /// None today; the signature is std's.
    ///
    /// # Differences from std
    ///
    /// std duplicates the descriptor; here all clones share one, with its readiness and limits, and the last one closes
    /// it. Conversions out of withy duplicate while clones live, and leave the mode non-blocking, since the clones need
    /// that: so convert all clones before a child inherits one of them.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net::io; }
    /// use std::io::{Read, Write};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (mut reader, mut writer) = withy::io::pipe()?;
    /// let mut clone = reader.try_clone()?;
    /// writer.write_all(b"ab")?;
    /// let mut byte = [0];
    /// reader.read_exact(&mut byte)?;
    /// clone.read_exact(&mut byte)?;
    /// assert_eq!(&byte, b"b");
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_clone(&self) -> io::Result<PipeReader> {
        Ok(PipeReader {
            socket: self.socket.share(),
        })
    }

    read_limits!(
        socket,
        "reader",
        import: "use withy::io::pipe;",
        new: "let (reader, _writer) = pipe()?;",
        read: "std::io::Read::read(&mut &reader, &mut [0; 8])"
    );

    fn adopt(fd: OwnedFd) -> PipeReader {
        PipeReader { socket: adopt(fd) }
    }

    fn release(self) -> OwnedFd {
        release(self.socket)
    }
}

impl PipeWriter {
    /// Another handle to the same end; readers see the end of the stream when the last one is closed. What
    /// [`PipeReader::try_clone`] says holds here too.
    ///
    /// # Errors
    ///
    /// None today; the signature is std's.
    ///
    /// # Examples
    ///
    /// Both output streams of a child into one pipe:
    ///
    /// ```
    /// # mod withy { pub use withy_net::io; }
    /// use std::io::Read;
    /// use std::process::Command;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (mut reader, writer) = withy::io::pipe()?;
    /// let mut child = Command::new("sh")
    ///     .args(["-c", "echo out; echo err >&2"])
    ///     .stdout(writer.try_clone()?)
    ///     .stderr(writer)
    ///     .spawn()?;
    /// let mut text = String::new();
    /// reader.read_to_string(&mut text)?;
    /// assert_eq!(text, "out\nerr\n");
    /// child.wait()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_clone(&self) -> io::Result<PipeWriter> {
        Ok(PipeWriter {
            socket: self.socket.share(),
        })
    }

    write_limits!(
        socket,
        "writer",
        import: "use withy::io::pipe;",
        new: "let (_reader, writer) = pipe()?;"
    );

    fn adopt(fd: OwnedFd) -> PipeWriter {
        PipeWriter { socket: adopt(fd) }
    }

    fn release(self) -> OwnedFd {
        release(self.socket)
    }
}

/// Takes an end over. As a listener's, its descriptor has to be `O_NONBLOCK`, and whoever had it so already has calls
/// that do not wait.
fn adopt(fd: OwnedFd) -> Socket {
    Socket::with_boundaries(fd).adopted_listener()
}

/// Gives an end away in its user's mode; clones that live need it non-blocking.
fn release(end: Socket) -> OwnedFd {
    end.release_listener()
}

/// The one way bytes move through a pipe, in either direction.
fn transfer(
    end: &Socket,
    direction: Direction,
    mut call: impl FnMut(BorrowedFd<'_>) -> rustix::io::Result<usize>,
) -> io::Result<usize> {
    end.registration()
        .io(direction, |fd| Ok(call(fd)?), |_| false)
}

impl Read for PipeReader {
    /// Reads what is there, and waits while there is nothing and somebody can still write.
    ///
    /// # Cancellation
    ///
    /// A blocking call: from a coroutine it may unwind, when that is cancelled or a timeout around it elapses. Nothing
    /// is lost: bytes that were not returned are still to be read.
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buf)
    }

    /// As `read`, into several buffers.
    ///
    /// # Cancellation
    ///
    /// As `read`.
    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&*self).read_vectored(bufs)
    }
}

impl Read for &PipeReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        transfer(&self.socket, Direction::Read, |fd| {
            rustix::io::read(fd, &mut *buf)
        })
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        transfer(&self.socket, Direction::Read, |fd| {
            rustix::io::readv(fd, bufs)
        })
    }
}

impl Write for PipeWriter {
    /// Writes what there is room for, and waits while there is none and somebody can still read.
    ///
    /// # Cancellation
    ///
    /// A blocking call: from a coroutine it may unwind, when that is cancelled or a timeout around it elapses. Then
    /// nothing of `buf` was written; but a `write_all` that unwinds may have written a part.
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&*self).write(buf)
    }

    /// As `write`, from several buffers.
    ///
    /// # Cancellation
    ///
    /// As `write`.
    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write_vectored(bufs)
    }

    /// Does nothing: a pipe keeps no bytes back.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for &PipeWriter {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        transfer(&self.socket, Direction::Write, |fd| {
            rustix::io::write(fd, buf)
        })
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        transfer(&self.socket, Direction::Write, |fd| {
            rustix::io::writev(fd, bufs)
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

interop::convert_descriptors!(PipeReader, std::io::PipeReader);
interop::convert_descriptors!(PipeWriter, std::io::PipeWriter);

/// Takes a child's output over.
impl From<ChildStdout> for PipeReader {
    fn from(output: ChildStdout) -> PipeReader {
        PipeReader::adopt(output.into())
    }
}

/// Takes a child's error output over.
impl From<ChildStderr> for PipeReader {
    fn from(output: ChildStderr) -> PipeReader {
        PipeReader::adopt(output.into())
    }
}

/// Takes a child's input over.
impl From<ChildStdin> for PipeWriter {
    fn from(input: ChildStdin) -> PipeWriter {
        PipeWriter::adopt(input.into())
    }
}

/// For a child to read from, in blocking mode if there are no clones.
impl From<PipeReader> for Stdio {
    fn from(end: PipeReader) -> Stdio {
        end.release().into()
    }
}

/// For a child to write to, in blocking mode if there are no clones.
impl From<PipeWriter> for Stdio {
    fn from(end: PipeWriter) -> Stdio {
        end.release().into()
    }
}

impl AsRegistration for PipeReader {
    fn registration(&self) -> Option<&Registration> {
        Some(self.socket.registration())
    }
}

impl AsRegistration for PipeWriter {
    fn registration(&self) -> Option<&Registration> {
        Some(self.socket.registration())
    }
}

/// As std's: the descriptor.
impl fmt::Debug for PipeReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PipeReader")
            .field(&self.as_raw_fd())
            .finish()
    }
}

/// As std's: the descriptor.
impl fmt::Debug for PipeWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PipeWriter")
            .field(&self.as_raw_fd())
            .finish()
    }
}

// As std's are: what a panic can leave half done is in the kernel, and there every call is whole.
impl UnwindSafe for PipeReader {}
impl RefUnwindSafe for PipeReader {}
impl UnwindSafe for PipeWriter {}
impl RefUnwindSafe for PipeWriter {}
