//! From a file to a socket.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::sendfile;
use withy_runtime::poll::{AsRegistration, Direction, Registration};

use super::carrier::Buffer;
use super::lane::End;
use crate::interop;

/// What one call sends at most: others have their turn in between, however fast the socket is.
const PIECE_BYTES_MAX: usize = 256 << 10;

/// Sends `len` bytes of `file` from `offset` on to `socket` by sendfile(2), and gives the number of bytes that were sent: fewer only if the file
/// ends before.
///
/// The bytes go from the file's cache to the socket without a copy to the program. `file` is anything with a descriptor that can be mapped: a [`std::fs::File`] or a
/// `withy::fs::File`; its own position is neither used nor changed. Memory of the process does not grow with `len`; while the socket has no room the caller is
/// parked.
///
/// **The file part may block the worker**: what is not in the cache is read from the disk while the worker waits, in pieces of 256 KiB. For files
/// on slow disks read them by `withy::fs` (on threads made for that) and write what was read.
///
/// The descriptor of the socket becomes `O_NONBLOCK`, as [the module](super#splice) tells. Where sendfile(2) refuses, or might raise `SIGPIPE`, the bytes go through a buffer.
///
/// The socket's write timeout and write deadline limit its waits as they do those of `write`.
///
/// # Cancellation
///
/// A blocking call: from a coroutine it may unwind, when that is cancelled or a timeout around it elapses. A part of the bytes may have been sent.
///
/// # Errors
///
/// Those of pread(2) on the file, and of writes to the socket: `BrokenPipe`, `ConnectionReset`; `WouldBlock` and `TimedOut` past its limits. `InvalidInput` if there is no socket. A part of the
/// bytes may have been sent.
///
/// # Differences from std
///
/// std has no such function; its `io::copy` does the like for files and sockets of its own.
///
/// # Examples
///
/// ```
/// # mod withy { pub use withy_net as net; pub use withy_net::io; }
/// use std::io::Read;
/// use withy::net::{Shutdown, TcpListener, TcpStream};
///
/// # fn main() -> std::io::Result<()> {
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let mut client = TcpStream::connect(listener.local_addr()?)?;
/// let (server, _) = listener.accept()?;
///
/// let file = std::fs::File::open("Cargo.toml")?;
/// let len = file.metadata()?.len();
/// assert_eq!(withy::io::send_file(&file, 1, len, &server)?, len - 1);
/// server.shutdown(Shutdown::Write)?;
/// let mut received = String::new();
/// client.read_to_string(&mut received)?;
/// assert_eq!(received, std::fs::read_to_string("Cargo.toml")?[1..]);
/// # Ok(())
/// # }
/// ```
pub fn send_file<F, S>(file: &F, offset: u64, len: u64, socket: &S) -> io::Result<u64>
where
    F: AsFd + ?Sized,
    S: AsRegistration + ?Sized,
{
    let Some(registration) = socket.registration() else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "got nothing, expected a connected socket",
        ));
    };
    let mut sending = Sending {
        at: offset,
        end: offset.saturating_add(len),
        sendfile: interop::sigpipe_is_ignored(),
        to: End::new(registration)?,
    };
    while sending.at < sending.end {
        let sent = match sending.sendfile {
            true => sending.send(file, registration),
            false => sending.send_through_buffer(file, registration),
        };
        match sent {
            Ok(0) => break,
            Ok(sent) => sending.at += sent as u64,
            // The kernel does not do it for this sort of file, or into this sort of socket.
            Err(error)
                if sending.sendfile
                    && matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS)) =>
            {
                sending.sendfile = false;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(sending.at - offset)
}

struct Sending<'a> {
    at: u64,
    end: u64,
    /// Until the kernel refuses.
    sendfile: bool,
    to: End<'a>,
}

impl Sending<'_> {
    fn piece(&self) -> usize {
        usize::try_from(self.end - self.at)
            .map_or(PIECE_BYTES_MAX, |rest| rest.min(PIECE_BYTES_MAX))
    }

    fn send(&self, file: &(impl AsFd + ?Sized), registration: &Registration) -> io::Result<usize> {
        let mut at = self.at;
        registration.io(
            Direction::Write,
            |socket| Ok(sendfile(socket, file, Some(&mut at), self.piece())?),
            |_| false,
        )
    }

    fn send_through_buffer(
        &self,
        file: &(impl AsFd + ?Sized),
        registration: &Registration,
    ) -> io::Result<usize> {
        let mut buffer = Buffer::take();
        let piece = self.piece();
        buffer.fill_by(|room| {
            let asked = room.len().min(piece);
            Ok(rustix::io::retry_on_intr(|| {
                rustix::io::pread(file, &mut room[..asked], self.at)
            })?)
        })?;
        if buffer.rest().is_empty() {
            return Ok(0);
        }
        let sent = registration.io(
            Direction::Write,
            |_| self.to.write(buffer.rest()),
            |_| false,
        );
        buffer.clear();
        sent
    }
}
